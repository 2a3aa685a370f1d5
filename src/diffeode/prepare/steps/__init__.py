"""The tools of preparation. Every file holds one tool: its record ``TOOL`` and its function
(``docs/preparation.md``).
"""
