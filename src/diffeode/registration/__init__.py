"""What every method is, and how methods are found, named, run and described."""
