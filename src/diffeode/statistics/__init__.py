"""The tidy table in; summaries, tests and finished tables out."""
