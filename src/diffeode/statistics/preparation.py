"""The page for looking through the prepared scans of a dataset: numbers, flags and pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from urllib.parse import quote

import pandas as pd

from diffeode.evaluation.preparation import flag
from diffeode.files.io import write_text

_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5em; color: #222; max-width: 75em; }
section { border-top: 1px solid #ddd; padding: 0.8em 0; }
h2 { font-size: 1em; margin: 0; }
img { width: 100%; max-width: 60em; display: block; margin-top: 0.5em; }
.numbers { color: #6b6b6b; margin: 0.2em 0; font-variant-numeric: tabular-nums; }
.flags { color: #b2182b; margin: 0.2em 0; }
"""

_IN_WORDS = {
    "volume_ml": "brain {:.0f} ml",
    "overlap": "overlap with the template {:.3f}",
    "nmi": "NMI with the template {:.4f}",
    "t1w_correlation": "correlation with the T1w template {:+.2f}",
    "ventricle_ratio": "ventricles {:.2f} times as bright as the white matter",
    "edge_percent": "{:.2f} % of the brain at the edge of the field of view",
}


def gather(rows: Sequence[Mapping[str, object]], adults: bool) -> pd.DataFrame:
    """Return the table of one dataset, with a column ``flags``.

    The scans with the most flags come first; scans with as many flags stay in the given order.

    Args:
        rows: the measurements of each scan (:func:`diffeode.evaluation.preparation.measure`).
        adults: as for :func:`diffeode.evaluation.preparation.flag`.
    """
    table = flag(pd.DataFrame(rows), adults)
    count = table["flags"].map(lambda flags: flags.count(";") + bool(flags))
    return table.loc[count.sort_values(ascending=False, kind="stable").index].reset_index(drop=True)


def write_preparation(
    table: pd.DataFrame, pictures: Mapping[str, str], folder: Path, caption: str
) -> None:
    """Write ``folder/preparation.tsv`` and ``folder/index.html``.

    Args:
        table: the result of :func:`gather`.
        pictures: address of each scan's picture, relative to ``folder``; browsers load a picture
            when it is scrolled to.
        caption: a line on the data and the population.

    Raises:
        InputError: the folder cannot be written.
    """
    text = table.to_csv(sep="\t", index=False, float_format="%.6g", lineterminator="\n")
    write_text(folder / "preparation.tsv", text)
    sections = [_section(row, pictures.get(row["scan"])) for _, row in table.iterrows()]
    flagged = int((table["flags"] != "").sum())
    head = '<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n'
    head += f"<title>Prepared scans</title>\n<style>{_STYLE}</style>\n"
    count = f"{len(table)} scans, {flagged} of them flagged."
    write_text(
        folder / "index.html",
        f"{head}<p>{escape(caption)}</p>\n<p>{count}</p>\n{''.join(sections)}</html>\n",
    )


def _section(row: pd.Series, picture: str | None) -> str:
    scan, flags = escape(row["scan"]), escape(row["flags"])
    warning = f'<p class="flags">{flags}</p>\n' if flags else ""
    image = (
        f'<img loading="lazy" src="{quote(picture)}" alt="{scan}">\n'
        if picture
        else "<p>No picture.</p>\n"
    )
    return (
        f"<section>\n<h2>{scan}</h2>\n<p "
        f'class="numbers">{_numbers(row)}</p>\n{warning}{image}</section>\n'
    )


def _numbers(row: pd.Series) -> str:
    known = [
        pattern.format(row[name]) for name, pattern in _IN_WORDS.items() if pd.notna(row[name])
    ]
    return escape(", ".join([row["modality"], *known]))
