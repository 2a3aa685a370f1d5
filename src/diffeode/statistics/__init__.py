"""Statistics: summaries, tests and finished tables, made from the study's tidy table."""
