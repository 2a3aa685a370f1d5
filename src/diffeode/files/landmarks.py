"""Tables of landmarks: named points of a scan."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from diffeode.files import io
from diffeode.files.tables import NAME, NUMBER, read_table

_COLUMNS = {"name": NAME, "x": NUMBER, "y": NUMBER, "z": NUMBER}


def read_landmarks(path: Path) -> pd.DataFrame:
    """Named points, columns ``name x y z``, RAS mm.

    Raises:
        InputError: a name comes twice or a coordinate is no finite number, or as
            :func:`diffeode.files.tables.read_table`.
    """
    return read_table(path, _COLUMNS, "table of landmarks", unique=["name"])


def write_landmarks(path: Path, landmarks: pd.DataFrame) -> None:
    """Write what :func:`read_landmarks` reads."""
    with io.written_whole(path) as temporary:
        landmarks.to_csv(temporary, sep="\t", index=False)
