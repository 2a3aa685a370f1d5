"""What files were made from: checksums, receipts, seals, identities of code, what is stale."""
