"""Write a table as an HTML page, for the report."""

from __future__ import annotations

from html import escape
from pathlib import Path

import pandas as pd

from diffeode.files.io import write_text
from diffeode.statistics.export import as_shown

_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5em; color: #222; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25em 0.8em; text-align: left; white-space: nowrap; }
th, td { border-bottom: 1px solid #ddd; }
thead th { white-space: normal; vertical-align: bottom; border-bottom: 1.5px solid #222; }
thead th { position: sticky; top: 0; background: white; }
"""


def write_page(frame: pd.DataFrame, path: Path, caption: str) -> None:
    """Write ``frame`` to ``path`` as HTML, with ``caption`` above.

    Numbers and headings are those of :func:`diffeode.statistics.export.as_shown`.

    Raises:
        InputError: the folder cannot be written.
    """
    shown = as_shown(frame)
    table = shown.to_html(index=False, border=0) if len(shown) else "<p>No rows.</p>"
    head = f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<style>{_STYLE}</style>\n'
    write_text(path, f"{head}<p>{escape(caption)}</p>\n{table}\n</html>\n")
