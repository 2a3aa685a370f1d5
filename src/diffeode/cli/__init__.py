"""The program ``diffeode``: each command calls the library, as the workflow does.

Heavy packages are imported inside the commands, so that help appears at once.
"""

from diffeode.cli.main import main

__all__ = ["main"]
