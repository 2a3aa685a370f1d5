"""The table of a study's scans that cannot be used, and of those without usable labels."""

from __future__ import annotations

from pathlib import Path
from typing import Any, final

import pandas as pd

from diffeode.files.tables import read_words

STEPS_FOR_METRICS = ("labels", "landmarks", "segment")
"""Steps that metrics alone need: a scan in which one of them fails is registered all the same."""


@final
class UnusableScans:
    """What ``unusable_scans.tsv`` says: a row for each scan that could not be prepared, with the
    first step that failed, and one for each label map and table of landmarks that was left out.

    Args:
        path: the table.

    Raises:
        InputError: it cannot be read.
    """

    def __init__(self, path: Path | str) -> None:
        rows = read_words(Path(path))
        for_metrics = rows["step"].isin(STEPS_FOR_METRICS)
        self.scans: list[Any] = _named(rows[~for_metrics])
        """Rows of scans whose pairs could not be registered."""
        self.without_metrics: list[Any] = _named(rows[for_metrics])
        """Rows of scans whose pairs were registered and lack metrics of labels or landmarks."""


def _named(rows: pd.DataFrame) -> list[Any]:
    return list(rows.itertuples())
