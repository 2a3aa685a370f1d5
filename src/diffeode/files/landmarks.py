"""Tables of landmarks: named points of a scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd

from diffeode.errors import InputError
from diffeode.files import io
from diffeode.files.presence import require_file

_COLUMNS = ("name", "x", "y", "z")


def read_landmarks(path: Path) -> pd.DataFrame:
    """Named points, columns ``name x y z``, RAS mm.

    Raises:
        InputError: missing, without one of the columns, with a name twice or a coordinate that is
            not a finite number.
    """
    require_file(path, "table of landmarks")
    try:
        table = pd.read_csv(path, sep="\t", dtype={"name": str})
        coordinates = table[["x", "y", "z"]].to_numpy(dtype=np.float64)
        repeated = table["name"].duplicated().any()
    except (KeyError, ValueError):
        raise InputError(
            f"{path} is no table of landmarks; give tab-separated columns name, x, y, z with "
            "numbers in mm."
        ) from None
    if repeated or not np.isfinite(coordinates).all():
        raise InputError(
            f"{path} has a landmark twice or one without finite coordinates; repair that row."
        )
    return table[list(_COLUMNS)]


def write_landmarks(path: Path, landmarks: pd.DataFrame) -> None:
    """Write what :func:`read_landmarks` reads."""
    with io.written_whole(path) as temporary:
        landmarks.to_csv(temporary, sep="\t", index=False)
