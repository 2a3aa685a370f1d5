"""Where scans come from, and which of them are paired."""
