"""Statistics: summaries, tests and finished tables, all made from the study's tidy table."""
