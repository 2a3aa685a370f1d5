"""The command line: one pair at a desk, by the library that the workflow uses.

Heavy packages are imported inside the commands, so that help appears at once.
"""

from diffeode.cli.main import main

__all__ = ["main"]
