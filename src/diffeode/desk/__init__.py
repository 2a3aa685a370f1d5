"""Registering and training "at a desk": one call reads the user's files and writes its results.

The workflow does the same work by its rules.
"""

DEFAULT_RUN = "node"
"""The run that registers where none is named."""
