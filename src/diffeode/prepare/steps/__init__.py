"""The tools of preparation, one file each: its record ``TOOL`` and its function
(``docs/preparation.md``).
"""
