"""The process that works: its limits, threads and surroundings."""
