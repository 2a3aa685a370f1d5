"""Rigid and affine alignment by ANTs: every pair starts from it, and every scan that is brought to
a template.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diffeode.files.io import write_itk_affine
from diffeode.geometry.image import Image
from diffeode.geometry.transform import Affine
from diffeode.programs.ants_bridge import affine_from_ants, ants_registration

CITATION = (
    "Avants, Tustison, Song, Cook, Klein, Gee. A reproducible evaluation of ANTs similarity "
    "metric performance in brain image registration. NeuroImage 54(3), 2011."
)


def affine_registration(
    fixed: Image, moving: Image, threads: int, seed: int, start: Affine | None = None
) -> Affine:
    """Return the affine map from points of ``fixed`` to points of ``moving``, RAS mm.

    ANTs finds it on four levels, with Mattes mutual information (:data:`CITATION`). The images may
    lie on different grids and have different contrasts.

    Args:
        start: the map that the search starts from, RAS mm; by default the translation that brings
            the two centres of mass together.

    Raises:
        RegistrationError: ANTs gave up.
        InputError: a grid is sheared.
    """
    return _registration("Affine", fixed, moving, threads, seed, start)


def rigid_registration(fixed: Image, moving: Image, threads: int, seed: int) -> Affine:
    """Return the rigid map from points of ``fixed`` to points of ``moving``, RAS mm.

    It is found as in :func:`affine_registration`, but rotates and translates only. It suits two
    scans of one head.

    Raises:
        RegistrationError: ANTs gave up.
        InputError: a grid is sheared.
    """
    return _registration("Rigid", fixed, moving, threads, seed, None)


def _registration(
    kind: str, fixed: Image, moving: Image, threads: int, seed: int, start: Affine | None
) -> Affine:
    with (
        _starting_from(start) as settings,
        ants_registration(
            fixed, moving, kind, threads, seed, aff_metric="mattes", **settings
        ) as found,
    ):
        return affine_from_ants(found["fwdtransforms"][0])


@contextmanager
def _starting_from(start: Affine | None) -> Iterator[dict[str, list[str]]]:
    if start is None:
        yield {}
        return
    with tempfile.TemporaryDirectory(prefix="diffeode-start-") as folder:
        path = Path(folder) / "start.txt"
        write_itk_affine(path, start)
        yield {"initial_transform": [str(path)]}
