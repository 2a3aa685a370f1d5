"""The tables of registrations through the visits of ageing persons: the measures of every person,
way and time, and their means over persons.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from statistics import mean, stdev

import pandas as pd

from diffeode.files.io import write_text
from diffeode.files.tables import ID, NUMBER_OR_EMPTY, TEXT, Kind, one_of, read_table
from diffeode.statistics.export import MISSING

TITLES = {
    "before": "Before registration",
    "free": "One flow, free in time",
    "periodic": "One flow, periodic in time",
    "stationary": "One flow, stationary",
    "pairs": "Each visit by itself",
    "truth": "Truth",
}
"""Titles of the ways to register, in the order in which they are shown."""
REGISTERED = ("free", "periodic", "stationary", "pairs")
"""The ways that look at the scans."""
ALL_TIMES = "all"
"""The value of the column ``time`` in the row of a whole trajectory."""
_COUNTS = ("landmarks", "structures")
_AT_TIMES = (
    "ventricles_ml",
    "cdr",
    "ventricles_true_ml",
    "tre_mm",
    "tre_max_mm",
    "dice",
    "folds_percent",
    "min_jacobian",
    *_COUNTS,
)
_OF_TRAJECTORIES = (
    "visit_speed_mm",
    "visit_acceleration_mm",
    "speed_mm",
    "acceleration_mm",
    "squared_change_mm2",
    "cpu_seconds",
)
COLUMNS: Mapping[str, Kind] = {
    "person": ID,
    "way": one_of(*TITLES),
    "time": TEXT,
    **dict.fromkeys((*_AT_TIMES, *_OF_TRAJECTORIES), NUMBER_OR_EMPTY),
}
"""The columns of the table of every person, way and time. ``time`` is a fraction of the whole time,
or :data:`ALL_TIMES`. Volumes are of the lateral ventricles; folds are by one-sided differences, in
percent of the eroded brain. ``landmarks`` and ``structures`` are the numbers of those over which
``tre_mm`` and ``dice`` are means. Speeds are in mm per unit time and accelerations in mm per
squared unit time, from visit to visit, and, where nothing else is said, from step to step of the
solver.
"""
_SHOWN_AT_VISITS = {
    "tre_mm": ("TRE (mm)", 2),
    "tre_max_mm": ("largest TRE (mm)", 2),
    "dice": ("Dice", 3),
    "volume_error_ml": ("error of the lateral ventricles (ml)", 1),
    "folds_percent": ("|J| ≤ 0, one-sided (% of eroded brain)", 2),
    "min_jacobian": ("minimum |J|", 2),
}
_SHOWN_OF_TRAJECTORIES = {
    "visit_speed_mm": ("speed", 2),
    "visit_acceleration_mm": ("acceleration", 2),
    "speed_mm": ("speed, steps", 2),
    "acceleration_mm": ("acceleration, steps", 2),
    "squared_change_mm2": ("change of the velocity", 2),
    "cpu_seconds": ("CPU time (s)", 1),
}
"""Heading and number of decimals of each column that is shown."""


def write_visits(path: Path | str, rows: Iterable[Mapping[str, object]]) -> None:
    """Write ``rows`` with the columns :data:`COLUMNS` as TSV; a missing value is an empty cell.

    Raises:
        InputError: the folder cannot be written.
    """
    table = pd.DataFrame(list(rows), columns=list(COLUMNS))
    table["time"] = [at if isinstance(at, str) else f"{at:g}" for at in table["time"]]
    text = table.to_csv(sep="\t", index=False, float_format="%.6g", lineterminator="\n")
    write_text(Path(path), text)


def read_visits(path: Path | str) -> pd.DataFrame:
    """Return the table that :func:`write_visits` has written; other columns are left out.

    The table of a benchmark may lack the columns ``landmarks`` and ``structures``.

    Raises:
        InputError: the file is missing or no such table.
    """
    return read_table(path, COLUMNS, "table of the visits", optional=_COUNTS)


def judged_by(table: pd.DataFrame) -> str:
    """Return a sentence that says over how many landmarks and structures the errors are means."""
    landmarks, structures = (_range(table[name].dropna()) for name in _COUNTS)
    return (
        f"The target registration error is a mean over {landmarks} landmarks, and Dice is a mean "
        f"over {structures} structures."
    )


def _range(numbers: pd.Series) -> str:
    least, most = int(numbers.min()), int(numbers.max())
    return f"{least}" if least == most else f"{least} to {most}"


def by_visit(table: pd.DataFrame) -> pd.DataFrame:
    """Return mean and SD over persons of every measure, one row for each way and visit.

    ``volume_error_ml`` is the volume of the lateral ventricles by the determinants of the map,
    minus that of the true labels.
    """
    visits = table[table["tre_mm"].notna()].copy()
    visits["volume_error_ml"] = visits["ventricles_ml"] - visits["ventricles_true_ml"]
    return _over_persons(visits, ["way", "time"], _SHOWN_AT_VISITS)


def by_trajectory(table: pd.DataFrame) -> pd.DataFrame:
    """Return mean and SD over persons of the smoothness of trajectories, one row for each way."""
    whole = table[(table["time"] == ALL_TIMES) & (table["way"] != "before")]
    return _over_persons(whole, ["way"], _SHOWN_OF_TRAJECTORIES)


def shown(means: pd.DataFrame) -> pd.DataFrame:
    """Return the table of :func:`by_visit` or :func:`by_trajectory` as text under headings."""
    columns = {name: means[name] for name in ("way", "time") if name in means}
    columns["way"] = columns["way"].map(TITLES)
    headings = {**_SHOWN_AT_VISITS, **_SHOWN_OF_TRAJECTORIES}
    for name, (heading, decimals) in headings.items():
        if f"{name}_mean" in means:
            both = zip(means[f"{name}_mean"], means[f"{name}_sd"], strict=True)
            columns[heading] = [_as_text(center, spread, decimals) for center, spread in both]
    return pd.DataFrame(columns)


def _over_persons(table: pd.DataFrame, keys: list[str], measures: Iterable[str]) -> pd.DataFrame:
    """Return ``measure_mean`` and ``measure_sd`` of each group of rows, ways in their order."""
    rows = []
    for way in TITLES:
        mine = table[table["way"] == way]
        for values, group in mine.groupby(keys, sort=False):
            row: dict[str, object] = dict(zip(keys, values, strict=True))
            row["persons"] = group["person"].nunique()
            for measure in measures:
                found = group[measure].dropna().tolist()
                row[f"{measure}_mean"] = mean(found) if found else float("nan")
                row[f"{measure}_sd"] = stdev(found) if len(found) > 1 else float("nan")
            rows.append(row)
    return pd.DataFrame(rows)


def _as_text(center: float, spread: float, decimals: int) -> str:
    if pd.isna(center):
        return MISSING
    text = f"{center:.{decimals}f}"
    return text if pd.isna(spread) else f"{text} ± {spread:.{decimals}f}"
