"""One flow through the visits of a virtual person who ages, beside registrations of pairs."""
