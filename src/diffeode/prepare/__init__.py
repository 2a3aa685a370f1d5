"""From a scan as it was acquired to a pair that is ready for registration."""
