"""The numbers that papers report, and how they stand beside ours.

``config/reported.tsv`` holds every number that survives in arXiv 2512.22689 (``paper``), in a
summary of it (``summary``), on its authors' poster (``poster``) and in arXiv 2108.03443
(``nodeo``). They were measured by others on other scans: tables show them in a column of their own,
and no mean, test or figure uses them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Collection, Mapping
from pathlib import Path

import numpy as np
import pandas as pd

from diffeode.errors import InputError, first_line
from diffeode.evaluation.catalogue import METRICS
from diffeode.files.presence import require_file
from diffeode.names import nearest, short

COLUMNS = (
    *("source", "place", "experiment", "method", "run", "settings"),
    *("metric", "unit", "value", "spread", "n"),
)
"""The columns of the table.

``method`` is the method's name in the paper, ``run`` the name of our run, ``settings`` what the row
varies (``steps=2;iterations=250``) or how the number is meant, ``spread`` the standard deviation
and ``n`` the number of pairs. Empty means that the paper does not say it.
"""

SOURCES: Mapping[str, str] = {
    "paper": "arXiv 2512.22689",
    "summary": "summary of arXiv 2512.22689",
    "poster": "poster",
    "nodeo": "arXiv 2108.03443",
}
"""The name of each source in tables."""

OTHER_NUMBERS: Mapping[str, str] = {
    "age_years": "Age of a person",
    "barrier": "Penalty-barrier epsilon",
    "batch": "Batch size",
    "bins": "Number of bins",
    "control_spacing_mm": "Distance of control points",
    "epochs": "Number of epochs",
    "evaluations": "Evaluations of the network in an iteration",
    "field_tesla": "Field strength",
    "groups": "Number of groups",
    "halving": "Factor of the network's one halving",
    "halvings": "Number of halvings of the network",
    "iterations": "Number of iterations",
    "learning_rate": "Learning rate",
    "levels": "Number of resolution levels",
    "methods": "Number of methods",
    "pairs": "Number of pairs",
    "parameters_per_voxel": "Number of parameters over the number of voxels",
    "patch": "Side of a patch",
    "persons": "Number of persons",
    "scans": "Number of scans",
    "size_voxels": "Number of voxels along an axis",
    "slice_interval": "Interval between slices",
    "spacing_mm": "Size of a voxel",
    "step_size": "Step size of the solver",
    "steps": "Number of steps of the solver",
    "structures": "Number of structures",
    "temperature": "Temperature",
    "token_length": "Length of a descriptor",
    "window_voxels": "Side of the window of the local correlation",
}
"""Titles of the numbers that a row may hold besides our metrics: counts and settings."""

_KEY = ["source", "place", "experiment", "method", "settings", "metric"]


def read_reported(path: Path | str) -> pd.DataFrame:
    """Return the table of reported numbers: :data:`COLUMNS`, with ``value``, ``spread`` and ``n``
    as numbers.

    Raises:
        InputError: the file is missing or no table, a column is missing, a source or metric is
            unknown, a value is no number, a spread or count is negative, a unit is not that of the
            metric, or two rows say the same of the same thing.
    """
    require_file(path, "table of reported numbers")
    try:
        table = pd.read_csv(path, sep="\t", dtype=str, keep_default_na=False)
    except (pd.errors.ParserError, pd.errors.EmptyDataError, UnicodeDecodeError) as error:
        raise InputError(
            f"{path} is not a table of tab-separated columns ({first_line(error)})."
        ) from None
    for column in COLUMNS:
        if column not in table:
            raise InputError(f"{path} has no column {column!r}{nearest(column, table.columns)}.")
    table = table[list(COLUMNS)]
    _require_known(table, "source", SOURCES, path)
    _require_known(table, "metric", {*METRICS, *OTHER_NUMBERS}, path)
    _require_units(table, path)
    _require_once(table, path)
    for column, may_be_empty in (("value", False), ("spread", True), ("n", True)):
        table = table.assign(**{column: _numbers(table[column], path, may_be_empty)})
    return table


def require_known_runs(reported: pd.DataFrame, runs: Collection[str], path: Path | str) -> None:
    """Refuse a table whose column ``run`` holds a name that is neither empty nor among ``runs``.

    Raises:
        InputError: there is such a name; it would stand beside no number of ours.
    """
    _require_known(reported, "run", {*runs, ""}, path)


def comparable(reported: pd.DataFrame) -> pd.DataFrame:
    """Return the rows of our metrics in the metrics' own units; an overlap of 75.64 % becomes
    0.7564.
    """
    rows = reported[reported["metric"].isin(METRICS)]
    percent = (rows["metric"] == "dice") & (rows["unit"] == "%")
    scale = np.where(percent, 0.01, 1.0)
    return rows.assign(
        value=rows["value"] * scale,
        spread=rows["spread"] * scale,
        unit=rows["unit"].mask(percent, ""),
    ).reset_index(drop=True)


def beside(
    table: pd.DataFrame, reported: pd.DataFrame, metric: str, column: str = "reported"
) -> pd.DataFrame:
    """Return ``table`` with one more column: the reported values of ``metric``.

    A cell lists every value that is reported for the row's run in the row's experiment, each with
    its source; it is empty where there is none.

    Args:
        table: a table with the columns ``experiment run ...``.
        reported: the table of :func:`read_reported`.
    """
    rows = comparable(reported)
    said = rows[(rows["metric"] == metric) & (rows["run"] != "") & (rows["experiment"] != "")]
    sentences: dict[tuple[str, str], list[str]] = defaultdict(list)
    for row in said.to_dict("records"):
        sentences[row["experiment"], row["run"]].append(_sentence(row))
    units = zip(table["experiment"], table["run"], strict=True)
    return table.assign(**{column: ["; ".join(sentences.get(unit, ())) for unit in units]})


def as_settings(text: str) -> dict[str, str]:
    """Return ``steps=2;iterations=250`` as a mapping, empty where the text names no values."""
    parts = [part.partition("=") for part in text.split(";")]
    return {name: value for name, sign, value in parts if sign}


def shown_number(metric: str, value: float, spread: float = float("nan")) -> str:
    """Return a number as a table shows it, with its standard deviation where there is one.

    A reported overlap of 68.75 % keeps its fourth digit.
    """
    decimals = METRICS[metric].decimals if metric in METRICS else None

    def text(number: float) -> str:
        if decimals is None:
            return f"{number:.3g}"
        goes_on = abs(round(number, decimals) - number) > 1e-9
        ends_there = abs(round(number, decimals + 1) - number) < 1e-9
        return f"{number:.{decimals + (goes_on and ends_there)}f}"

    return text(value) if np.isnan(spread) else f"{text(value)} ± {text(spread)}"


def _sentence(row: Mapping[str, object]) -> str:
    number = shown_number(str(row["metric"]), float(row["value"]), float(row["spread"]))  # type: ignore[arg-type]
    settings = f", {row['settings']}" if row["settings"] else ""
    return f"{number} ({SOURCES[str(row['source'])]}, {row['place']}{settings})"


def _require_known(table: pd.DataFrame, column: str, known: Collection[str], path: object) -> None:
    for row, word in enumerate(table[column], start=2):
        if word not in known:
            raise InputError(
                f"Line {row} of {path} has the unknown {column} "
                f"{short(word)}{nearest(word, known)}."
            )


def _require_units(table: pd.DataFrame, path: object) -> None:
    for row, (metric, unit) in enumerate(zip(table["metric"], table["unit"], strict=True), start=2):
        if metric not in METRICS:
            continue
        allowed = {METRICS[metric].unit, *(("%",) if metric == "dice" else ())}
        if unit not in allowed:
            raise InputError(
                f"Line {row} of {path} gives {metric} in {short(unit)}; it is given in "
                f"{' or '.join(repr(word) for word in sorted(allowed))}."
            )


def _require_once(table: pd.DataFrame, path: object) -> None:
    again = table.duplicated(_KEY)
    if again.any():
        row = int(np.flatnonzero(again)[0])
        what = ", ".join(word for word in table.loc[row, _KEY] if word)
        raise InputError(f"Line {row + 2} of {path} repeats an earlier line ({what}).")


def _numbers(texts: pd.Series, path: object, may_be_empty: bool) -> pd.Series:
    numbers = pd.to_numeric(texts.where(texts != "", "nan"), errors="coerce")
    finite = np.isfinite(numbers) & (numbers >= 0)
    wrong = ~(finite | ((texts == "") & may_be_empty))
    if wrong.any():
        row = int(np.flatnonzero(wrong)[0])
        raise InputError(
            f"Line {row + 2} of {path} has the {texts.name} {short(texts[row])}; a number that is "
            "not negative is needed."
        )
    return numbers
