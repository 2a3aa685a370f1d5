"""Registering and training "at a desk": one call reads the user's files and writes its results.

The workflow does the same work by its rules.
"""

DEFAULT_RUN, DEFAULT_RUN_OF_SLICES = "node", "node-2d"
"""The runs that register volumes and slices where none is named."""
