"""The process in which work is done: its time limit, its threads, and what it inherits."""
