"""Everything that uses antspyx: its images, its affine files, its threads and its seed.

ANTs uses LPS millimetres and writes an affine as ``y = M (p - c) + c + t``, with a centre ``c`` and
a translation ``t``. This module turns it into one RAS matrix.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from diffeode.errors import InputError, RegistrationError, first_line
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.plane import is_slice, plane_itk_frame
from diffeode.geometry.space import Grid, flip_matrix_ras_lps
from diffeode.geometry.transform import Affine
from diffeode.names import readable

if TYPE_CHECKING:
    from ants import ANTsImage


_UNKNOWN = 0
_threads: int | None = _UNKNOWN if "ants" in sys.modules else None
"""The number of threads that ITK keeps in this process: None before its first use here, and
``_UNKNOWN`` where others had loaded it before this module, and may have used it. (Our harness and
our jobs load it ahead, after this module, and do not use it.)
"""


def load_ants(threads: int, seed: int = 0) -> ModuleType:
    """Return the ``ants`` module, set to ``threads`` ITK threads and the random ``seed``.

    ITK reads its number of threads once in a process, before its first filter, so the first call
    decides on it. :func:`keeps_other_threads` tells whether another number holds.
    """
    global _threads
    if _threads is None:
        _threads = threads
        os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(threads)
    import ants

    # registration() takes its seed only from here. on=True would also force a single thread, and
    # the seed 0 would mean the clock.
    ants.config.set_ants_deterministic(on=False, seed_value=seed or 1)
    return ants


def keeps_other_threads(threads: int) -> bool:
    """Return whether ITK would use another number than ``threads`` in this process, because it
    keeps the number of its first use. What ANTs finds depends on it.
    """
    return _threads not in (None, threads)


def to_ants(image: Image | Labels) -> ANTsImage:
    """Return ``image`` as an ANTs image of float32.

    A slice becomes a 2-D image in plane coordinates (:mod:`diffeode.geometry.plane`).

    Raises:
        InputError: the grid is sheared, which ITK cannot represent.
    """
    import ants

    data = image.data.astype(np.float32)
    if is_slice(image.grid):
        frame, data = plane_itk_frame(image.grid, "ANTs"), data[..., 0]
    else:
        frame = image.grid.itk_frame("ANTs")
    return ants.from_numpy(
        data,
        origin=tuple(frame.origin),
        spacing=tuple(frame.spacing),
        direction=frame.direction,
    )


def from_ants(ants_image: ANTsImage, grid: Grid) -> Image:
    """Return ``ants_image`` on ``grid``, which is the grid of the image that it was made from."""
    return Image(ants_image.numpy(), grid)


def affine_from_ants(path: Path | str) -> Affine:
    """Return the affine in an ANTs ``*GenericAffine.mat`` file, fixed to moving, RAS mm.

    Raises:
        InputError: the file is missing or holds no 3-D affine.
    """
    return Affine(flip_matrix_ras_lps(_matrix_from_ants(path, 3)))


def plane_matrix_from_ants(path: Path | str) -> np.ndarray:
    """Return the matrix ``(3, 3)`` of plane coordinates in an ANTs ``*GenericAffine.mat`` file of
    two slices, fixed to moving.

    Raises:
        InputError: the file is missing or holds no 2-D affine.
    """
    return _matrix_from_ants(path, 2)


def _matrix_from_ants(path: Path | str, axes: int) -> np.ndarray:
    """Return the homogeneous matrix ``(axes + 1, axes + 1)`` of an affine, in the file's frame."""
    if not Path(path).is_file():
        raise InputError(f"There is no affine file {path}.")
    columns = _columns_of_mat(path)
    name = next((name for name in columns if "Transform_" in name), "nothing")
    parameters, centre = (columns.get(key, np.empty(0)) for key in (name, "fixed"))
    if parameters.size != axes * (axes + 1) or centre.size != axes:
        raise InputError(
            f"{path} holds no {axes}-D affine ({readable(name)} with {parameters.size} parameters)."
        )
    if not np.isfinite([*parameters, *centre]).all():
        raise InputError(f"{path} holds no {axes}-D affine (a number is not finite).")
    matrix, linear = np.eye(axes + 1), parameters[: axes**2].reshape(axes, axes)
    matrix[:axes, :axes] = linear
    matrix[:axes, axes] = parameters[axes**2 :] + centre - linear @ centre
    return matrix


def _columns_of_mat(path: Path | str) -> dict[str, np.ndarray]:
    """Return the columns of numbers in a file of MATLAB 4, as which ANTs writes a transform.

    ANTs' own reader ends the process where such a file is damaged. It also rounds the numbers to
    single precision, which is done here too, so that results stay what they were.
    """
    from scipy.io import loadmat

    try:
        content = loadmat(path)
        with np.errstate(over="ignore", invalid="ignore"):
            return {
                name: np.ravel(value).astype(np.float32).astype(np.float64)
                for name, value in content.items()
                if not name.startswith("__")
            }
    except Exception as error:  # a damaged file breaks the reader in any way
        raise InputError(f"{path} cannot be read as a transform ({first_line(error)}).") from None


@contextmanager
def ants_registration(
    fixed: Image, moving: Image, type_of_transform: str, threads: int, seed: int, **settings: Any
) -> Iterator[dict[str, list[str]]]:
    """Run ``ants.registration`` and yield its result.

    The files of the transforms that the result names are removed when the block ends.

    Args:
        settings: further arguments of ``ants.registration``.

    Raises:
        InputError: the grid of an image is sheared, which ITK cannot represent.
        RegistrationError: ANTs gave up.
    """
    ants = load_ants(threads, seed)
    with tempfile.TemporaryDirectory(prefix="diffeode-ants-") as folder:
        try:
            found = ants.registration(
                to_ants(fixed),
                to_ants(moving),
                type_of_transform=type_of_transform,
                outprefix=f"{folder}/",
                **settings,
            )
        except RuntimeError as error:
            raise RegistrationError(f"ANTs {type_of_transform} gave up ({error}).") from None
        yield found
