"""Tables of landmarks: named points of a scan."""

from __future__ import annotations

from pathlib import Path

import pandas as pd

from diffeode.files import io
from diffeode.files.tables import NAME, NUMBER, read_table

_COLUMNS = {"name": NAME, "x": NUMBER, "y": NUMBER, "z": NUMBER}


def read_landmarks(path: Path) -> pd.DataFrame:
    """Return named points, columns ``name x y z``, RAS mm.

    Raises:
        InputError: a name is there twice, a coordinate is no finite number, or the table cannot be
            read (:func:`diffeode.files.tables.read_table`).
    """
    return read_table(path, _COLUMNS, "table of landmarks", unique=["name"])


def write_landmarks(path: Path, landmarks: pd.DataFrame) -> None:
    """Write ``landmarks`` as :func:`read_landmarks` returns them.

    Raises:
        InputError: the folder cannot be written.
    """
    with io.written_whole(path) as temporary:
        landmarks.to_csv(temporary, sep="\t", index=False)
