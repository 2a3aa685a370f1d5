"""Align a pair: bring two prepared scans onto one grid, where a registration starts."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from diffeode.errors import InputError
from diffeode.geometry.image import Image
from diffeode.geometry.transform import Affine, warp_image
from diffeode.names import nearest
from diffeode.prepare.search import searched_affine
from diffeode.prepare.together import Aligned, Side, brought_together
from diffeode.provenance.software import preparing_versions
from diffeode.units.pair import PairUnit
from diffeode.units.scan import ScanUnit

_ALIGNMENTS = ("affine", "none")
_GRIDS = ("resample", "refuse")


def align_pair(
    fixed: Image, moving: Image, alignment: str, grids: str, threads: int, seed: int
) -> tuple[Image, Affine]:
    """Return ``moving`` on the grid of ``fixed``, and the map that took it there.

    The map sends points of the aligned scan to points of ``moving`` as it was given, RAS mm.

    Args:
        alignment: ``affine`` registers the pair by :func:`searched_affine`; ``none`` trusts the
            headers.
        grids: what ``none`` does where the two grids differ: ``resample`` the moving scan, or
            ``refuse`` the pair.

    Raises:
        InputError: a choice is unknown, the grids differ and are refused, or the moving brain lies
            outside the fixed grid.
        RegistrationError: the affine alignment failed.
    """
    _require_choices(fixed, moving, alignment, grids)
    if alignment == "none" and fixed.grid.matches(moving.grid):
        return moving, Affine()
    to_scan = searched_affine(fixed, moving, threads, seed) if alignment == "affine" else Affine()
    aligned = warp_image(moving, to_scan, fixed.grid)
    if not aligned.data.any():
        raise InputError(
            "The moving brain lies wholly outside the fixed scan's grid; set alignment: affine, or "
            "check the headers."
        )
    return aligned, to_scan


def _require_choices(fixed: Image, moving: Image, alignment: str, grids: str) -> None:
    _require_known("alignment", alignment, _ALIGNMENTS)
    _require_known("grids", grids, _GRIDS)
    if alignment == "none" and grids == "refuse" and not fixed.grid.matches(moving.grid):
        raise InputError(
            f"The two scans lie on different grids ({fixed.grid.shape} and {moving.grid.shape} "
            "voxels, or elsewhere in space) and the experiment refuses that; set grids: "
            "resample, or alignment: affine."
        )


def write_aligned_pair(
    fixed: Path,
    moving: Path,
    folder: Path,
    alignment: str,
    grids: str,
    threads: int,
    seed: int,
    provenance: dict[str, Any] | None = None,
) -> None:
    """Align two prepared scans and write the unit of the pair to ``folder``.

    Args:
        fixed, moving: folders of the units of the two scans.
        alignment, grids, threads, seed: as for :func:`align_pair`.
        provenance: further entries of the receipt.

    Raises:
        InputError: as :func:`align_pair`.
        DamagedFileError: a prepared scan is not what its receipt says.
    """
    units = ScanUnit(fixed), ScanUnit(moving)
    prepared = [unit.require_intact() for unit in units]
    sides = [_side(unit, content) for unit, content in zip(units, prepared, strict=True)]
    aligned = _aligned(*sides, alignment, grids, threads, seed)
    about = {
        "fixed": prepared[0].get("scan"),
        "moving": prepared[1].get("scan"),
        "alignment": alignment,
        "grids": grids,
        "software": preparing_versions(),
    }
    content = {**(provenance or {}), **about, "seed": seed, "threads": threads}
    fixed_image = sides[0].image
    PairUnit(folder).write(fixed_image, aligned.image, aligned.affine, content, aligned.counts)


def _side(unit: ScanUnit, content: dict[str, Any]) -> Side:
    """Return a prepared scan as one side of a pair; ``content`` is that of its receipt."""
    return Side(unit.image(), cut_off=content.get("cut_off", False))


def _aligned(
    fixed: Side, moving: Side, alignment: str, grids: str, threads: int, seed: int
) -> Aligned:
    """Return the moving side on the grid of the fixed one, by :func:`align_pair` unless a field of
    view cuts off what an image shows; then nothing beyond it counts.
    """
    if not (fixed.cut_off or moving.cut_off):
        return Aligned(
            *align_pair(fixed.image, moving.image, alignment, grids, threads, seed), counts=None
        )
    _require_choices(fixed.image, moving.image, alignment, grids)
    images = fixed.image, moving.image
    if alignment == "affine":
        return brought_together(fixed, moving, searched_affine(*images, threads, seed))
    if fixed.image.grid.matches(moving.image.grid):
        return Aligned(moving.image, Affine(), counts=None)
    return brought_together(fixed, moving, Affine())


def write_failed_pair(folder: Path, reason: str, provenance: dict[str, Any]) -> None:
    """Write the receipt of a pair that could not be aligned, and remove what was written of it.

    Args:
        folder: the folder of the pair's unit.
        reason: the sentence that tells why.
        provenance: further entries of the receipt.
    """
    unit = PairUnit(folder)
    for file in (*unit.files, unit.counts_file):
        file.unlink(missing_ok=True)
    unit.write_failure(reason, {**provenance, "software": preparing_versions()})


def _require_known(key: str, value: str, known: tuple[str, ...]) -> None:
    if value not in known:
        raise InputError(f"An experiment's {key} cannot be {value!r}{nearest(value, known)}.")
