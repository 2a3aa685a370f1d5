"""Everything that touches antspyx: its images, its affine files, its threads and its seed.

ANTs lives in LPS millimetres and writes an affine as ``y = M (p - c) + c + t``; here both become
one RAS matrix.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from diffeode.errors import InputError, RegistrationError
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid, flip_matrix_ras_lps
from diffeode.geometry.transform import Affine

if TYPE_CHECKING:
    from ants import ANTsImage


def load_ants(threads: int, seed: int = 0) -> ModuleType:
    """The ``ants`` module, using ``threads`` ITK threads and random ``seed``.

    ITK reads its number of threads once in the life of a process, before its first filter: the
    first call decides.
    """
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(threads)
    import ants

    # registration() takes its seed only from here; on=True would also force a single thread, and 0
    # means the clock.
    ants.config.set_ants_deterministic(on=False, seed_value=seed or 1)
    return ants


def to_ants(image: Image | Labels) -> ANTsImage:
    """``image`` as an ANTs image of float32.

    Raises:
        InputError: the grid is sheared, which ITK cannot represent.
    """
    import ants

    frame = image.grid.itk_frame("ANTs")
    return ants.from_numpy(
        image.data.astype(np.float32),
        origin=tuple(frame.origin),
        spacing=tuple(frame.spacing),
        direction=frame.direction,
    )


def from_ants(ants_image: ANTsImage, grid: Grid) -> Image:
    """``ants_image`` on ``grid``, the grid of the image it was made from."""
    return Image(ants_image.numpy(), grid)


def affine_from_ants(path: Path | str) -> Affine:
    """The affine in an ANTs ``*GenericAffine.mat`` file as one RAS matrix, fixed to moving.

    Raises:
        InputError: the file is missing or holds no 3-D affine.
    """
    import ants

    if not Path(path).is_file():
        raise InputError(f"There is no affine file {path}.")
    transform = ants.read_transform(str(path))
    parameters = np.asarray(transform.parameters, dtype=np.float64)
    if parameters.size != 12:
        raise InputError(
            f"{path} holds no 3-D affine ({transform.type} with {parameters.size} parameters)."
        )
    centre = np.asarray(transform.fixed_parameters, dtype=np.float64)
    lps = np.eye(4)
    lps[:3, :3] = parameters[:9].reshape(3, 3)
    lps[:3, 3] = parameters[9:] + centre - lps[:3, :3] @ centre
    return Affine(flip_matrix_ras_lps(lps))


@contextmanager
def ants_registration(
    fixed: Image, moving: Image, type_of_transform: str, threads: int, seed: int, **settings: Any
) -> Iterator[dict[str, list[str]]]:
    """What ``ants.registration`` returns; the transform files it names last as long as the block.

    Args:
        settings: passed on to ``ants.registration``.

    Raises:
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
