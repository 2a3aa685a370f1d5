"""Rigid and affine alignment by ANTs: every pair starts from it, and every scan that is brought to
a template.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from diffeode.files.io import write_itk_affine
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.transform import Affine
from diffeode.process.fresh import in_new_process
from diffeode.programs.ants_bridge import (
    affine_from_ants,
    ants_registration,
    keeps_other_threads,
    to_ants,
)

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
    return ants_alignment("Affine", fixed, moving, threads, seed, start)


def rigid_registration(fixed: Image, moving: Image, threads: int, seed: int) -> Affine:
    """Return the rigid map from points of ``fixed`` to points of ``moving``, RAS mm.

    It is found as in :func:`affine_registration`, but rotates and translates only. It suits two
    scans of one head.

    Raises:
        RegistrationError: ANTs gave up.
        InputError: a grid is sheared.
    """
    return ants_alignment("Rigid", fixed, moving, threads, seed)


def ants_alignment(
    kind: str,
    fixed: Image,
    moving: Image,
    threads: int,
    seed: int,
    start: Affine | None = None,
    fixed_counts: np.ndarray | None = None,
    moving_counts: np.ndarray | None = None,
) -> Affine:
    """Return the map of a ``kind`` that ANTs finds, as :func:`affine_registration` does.

    Where this process used ANTs with another number of threads before, a new process finds it, so
    that the map does not depend on what was done before.

    Args:
        kind: ``Affine``, ``Similarity`` or ``Rigid``.
        fixed_counts, moving_counts: the voxels of either image that are compared, ``(X, Y, Z)``
            bool; None: all of them.

    Raises:
        RegistrationError: ANTs gave up.
        InputError: a grid is sheared.
    """
    asked = (kind, fixed, moving, threads, seed, start, fixed_counts, moving_counts)
    if keeps_other_threads(threads):
        return in_new_process(_alignment_here, *asked)
    return _alignment_here(*asked)


def _alignment_here(
    kind: str,
    fixed: Image,
    moving: Image,
    threads: int,
    seed: int,
    start: Affine | None,
    fixed_counts: np.ndarray | None,
    moving_counts: np.ndarray | None,
) -> Affine:
    masks = {
        name: to_ants(Labels(counts, image.grid))
        for name, counts, image in (
            ("mask", fixed_counts, fixed),
            ("moving_mask", moving_counts, moving),
        )
        if counts is not None
    }
    with (
        _starting_from(start) as settings,
        ants_registration(
            fixed, moving, kind, threads, seed, aff_metric="mattes", **settings, **masks
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
