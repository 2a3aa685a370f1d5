"""The interface of methods, and how methods are found, named, run and described."""
