"""The study's tidy table: one row for each experiment, pair, run, metric and label.

A failed registration has one row, with the metric ``failed``. Where a pair or label has no value,
means leave it out; they never count it as zero.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import pandas as pd

from diffeode.errors import DamagedFileError, InputError
from diffeode.evaluation.catalogue import ROW
from diffeode.files.io import write_text
from diffeode.files.tables import NUMBER_OR_EMPTY, TEXT, read_table

UNIT = ("experiment", "pair", "run", "fixed", "moving")
COLUMNS = (*UNIT, *ROW)


def collect(paths: Iterable[Path]) -> pd.DataFrame:
    """Return the files of metrics as one tidy table, in the given order.

    Args:
        paths: files ``.../<experiment>/<fixed>__<moving>/<run>.tsv``.

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
    """Write the rows of one registration or of a study as TSV; a missing value is an empty cell.

    Raises:
        InputError: the folder cannot be written.
    """
    write_text(path, table.to_csv(sep="\t", index=False, lineterminator="\n"))


def failed_row() -> pd.DataFrame:
    """Return the one row of a pair that was not registered, or could not be evaluated."""
    return pd.DataFrame([("failed", "", "", 1.0)], columns=list(ROW))


def whole_image(metrics: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Return the values of ``metric`` over the whole image, without missing ones.

    The columns are ``experiment pair run value``.
    """
    chosen = metrics[
        (metrics["metric"] == metric) & (metrics["label"] == "") & metrics["value"].notna()
    ]
    return chosen[["experiment", "pair", "run", "value"]].reset_index(drop=True)


def mean_dice(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the mean Dice over the labels of each registered pair.

    The columns are ``experiment pair run value``.
    """
    return whole_image(metrics, "dice")


def counts(metrics: pd.DataFrame) -> pd.DataFrame:
    """Return the numbers of pairs by experiment and run, in the order of first appearance.

    The index is ``experiment run``. The columns are ``pairs``, the pairs of the experiment; ``n``,
    the registered ones; ``suspect``, those of ``n`` that the verdict calls suspect; ``failed``; and
    ``missing``, the pairs that have no row of this run.
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


def missing_pairs(pairs: pd.Series, values: pd.DataFrame) -> pd.Series:
    """Return how many of ``pairs`` have no value, by experiment and run.

    Args:
        pairs: number of pairs of the experiment, by experiment and run (:func:`counts`).
        values: from :func:`whole_image`.
    """
    found = values.groupby(["experiment", "run"]).size()
    return pairs - found.reindex(pairs.index, fill_value=0)


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
    kinds = {column: NUMBER_OR_EMPTY if column == "value" else TEXT for column in columns}
    try:
        table = read_table(path, kinds, "table of metrics")
    except InputError as error:
        reason = str(error).removesuffix(".")
        raise DamagedFileError(
            f"{path} is missing, empty or no table of metrics ({reason}); remove it and run again."
        ) from None
    if table.empty:
        raise DamagedFileError(
            f"{path} is missing, empty or no table of metrics (it has no rows); "
            "remove it and run again."
        )
    return table.astype({"value": float})
