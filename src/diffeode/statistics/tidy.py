"""The study's tidy table: one row for each experiment, pair, run, metric and label.

A failed pair has one row ``failed``. A pair or a label that has no value enters no mean; it never
counts as zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from diffeode.errors import DamagedFileError, InputError
from diffeode.evaluation.catalogue import ROW
from diffeode.files.io import write_text

UNIT = ("experiment", "pair", "run", "fixed", "moving")
COLUMNS = (*UNIT, *ROW)
_WORDS = {column: str for column in COLUMNS if column != "value"}


def collect(paths: Iterable[Path]) -> pd.DataFrame:
    """Return the files ``.../<experiment>/<fixed>__<moving>/<run>.tsv`` as one tidy table, in the
    order given.

    Raises:
        DamagedFileError: a file is missing, empty or no table of metrics.
        InputError: there are no files.
    """
    frames = [_read_unit(Path(path)) for path in paths]
    if not frames:
        raise InputError("There are no metrics to collect; the study has no pair or no run.")
    return pd.concat(frames, ignore_index=True)


def read_tidy(path: Path | str) -> pd.DataFrame:
    """Return the study's table as :func:`collect` made it.

    Raises:
        DamagedFileError: the file is missing or empty, or has other columns.
    """
    return _read(Path(path), COLUMNS)


def write_tidy(path: Path | str, table: pd.DataFrame) -> None:
    """Write the rows of a unit or of a study as TSV, whole; a missing value is an empty cell.

    Raises:
        InputError: the folder cannot be written.
    """
    write_text(path, table.to_csv(sep="\t", index=False, lineterminator="\n"))


def whole_image(metrics: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return ``metric`` of the whole image: columns ``experiment pair run value``.

    Missing values are left out.
    """
    chosen = metrics[
        (metrics["metric"] == metric) & (metrics["label"] == "") & metrics["value"].notna()
    ]
    return chosen[["experiment", "pair", "run", "value"]].reset_index(drop=True)


def mean_dice(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the mean Dice over labels of each registered pair: columns ``experiment pair run
    value``.
    """
    return whole_image(metrics, "dice")


def counts(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the numbers of pairs for each experiment and run.

    The columns are ``pairs`` (of the experiment), ``n`` (registered), ``suspect`` (of the
    registered ones), ``failed`` and ``missing``. The index is ``experiment run``, in the order of
    first appearance.
    """
    suspect = (metrics["metric"] == "suspect") & (metrics["value"] > 0)
    units = metrics.assign(failed=metrics["metric"] == "failed", suspect=suspect)
    units = units.groupby(["experiment", "run", "pair"], sort=False)[["failed", "suspect"]].any()
    by_run = units.groupby(level=["experiment", "run"], sort=False)
    failed, suspect = by_run["failed"].sum(), by_run["suspect"].sum()
    table = pd.DataFrame(
        {"n": by_run.size() - failed, "suspect": suspect, "failed": failed}
    ).astype(int)
    pairs = metrics.groupby("experiment")["pair"].nunique()
    table.insert(0, "pairs", table.index.get_level_values("experiment").map(pairs))
    table["missing"] = table["pairs"] - table["n"] - table["failed"]
    return table


def _read_unit(path: Path) -> pd.DataFrame:
    rows = _read(path, ROW)
    experiment, pair, run = path.parts[-3], path.parts[-2], path.stem
    fixed, _, moving = pair.partition("__")
    for position, (column, value) in enumerate(
        zip(UNIT, (experiment, pair, run, fixed, moving), strict=True)
    ):
        rows.insert(position, column, value)
    return rows


def _read(path: Path, columns: tuple[str, ...]) -> pd.DataFrame:
    try:
        table = pd.read_csv(
            path, sep="\t", dtype=_WORDS, keep_default_na=False, na_values={"value": [""]}
        )
        table = table.astype({"value": float})[list(columns)]
    except (OSError, ValueError, KeyError):
        table = pd.DataFrame()
    if table.empty:
        raise DamagedFileError(
            f"{path} is missing, empty or no table of metrics; remove it and run again."
        )
    return table
