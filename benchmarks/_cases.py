"""The pairs that all runs get: they are read, prepared, aligned once, and kept in a folder."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from scipy import ndimage

from diffeode.files import io
from diffeode.files.checked_yaml import read_mapping
from diffeode.geometry.image import Image, Labels, bounding_box
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine
from diffeode.prepare.pair import align_pair
from diffeode.prepare.recipe import Recipe
from diffeode.prepare.registry import scaling_tool
from diffeode.prepare.scan import prepare_image
from diffeode.prepare.side import align_sides, prepared_side
from diffeode.provenance.receipt import damage, read_receipt, write_receipt
from diffeode.provenance.source import code_hash
from diffeode.registration.harness import Task
from diffeode.units.pair import PairUnit

REPOSITORY = Path(__file__).resolve().parents[1]
_ALBERT = REPOSITORY / "config" / "datasets" / "albert.yaml"
SEED = 2512
"""The seed of the alignment and of every registration, as in the studies."""

NEURITE_CROP = ((0, 8, 15), (160, 200, 159))
"""Lower and upper corner of the box, 160 x 192 x 144 voxels, once the axes are in the order left,
anterior, inferior.
"""
_NEURITE_AXES = (0, 2, 1)
_NEURITE_SMOOTHING_VOX = 0.7
_INVERSION_POWER = 0.7
_BRAIN_MARGIN_VOX = 8
_ICBM152 = "tpl-MNI152_res-1"
_LEAST_IN_BRAIN = 1e-3
"""The least intensity in the brain, as in :func:`diffeode.prepare.intensity.robust`, because the
brain is what is above zero.
"""

_IMAGES = ("fixed", "moving", "moving_scan")
_LABELS = ("fixed_labels", "moving_labels")
_COUNTS = "counts.nii.gz"

Volume = TypeVar("Volume", Image, Labels)
Maker = Callable[[Path, Path], "Case"]
"""A function that makes a pair from the folders of the fixed and the moving scan, which are
``sub-<s>/anat`` or the folder of a template, or from their files.
"""


@dataclass(frozen=True, eq=False)
class Case(Task):
    """A pair as all runs get it, and the labels by which results are judged.

    Runs of our own method leave out the voxels that do not count; others compare all.

    Attributes:
        fixed_labels, moving_labels: the label maps on the grids on which they were drawn.
    """

    fixed_labels: Labels
    moving_labels: Labels


def ensure_case(make: Maker, fixed: Path, moving: Path, folder: Path) -> Path:
    """Return ``folder`` with the pair in it.

    The pair is made unless it lies there whole, made by today's code from today's scans.

    Raises:
        InputError: a scan is missing or unusable.
        RegistrationError: the affine alignment failed.
    """
    about = {"code": _case_code(), "sources": _stamps((fixed, moving))}
    receipt = folder / "receipt.json"
    if damage(receipt) or any(
        read_receipt(receipt).get(key) != value for key, value in about.items()
    ):
        _write_case(folder, make(fixed, moving), about)
    return folder


def _case_code() -> str:
    """Return a hash of the code and the recipe that make pairs."""
    scaling = scaling_tool(_albert_recipe().intensity).module
    modules = (f"diffeode.prepare.{name}" for name in ("pair", "scan", "side"))
    code = code_hash(Path(__file__), *modules, scaling)
    return hashlib.sha256((code + _ALBERT.read_text(encoding="utf-8")).encode()).hexdigest()


def _albert_recipe() -> Recipe:
    return Recipe(**read_mapping(_ALBERT)["prepare"])


def case_digest(folder: Path) -> str:
    """Return twelve hexadecimal digits that change with any file of the pair in ``folder``.

    They do not depend on the code that made it.
    """
    outputs = read_receipt(folder / "receipt.json")["outputs"]
    contents = {name: file["sha256"] for name, file in outputs.items()}
    return hashlib.sha256(json.dumps(contents, sort_keys=True).encode()).hexdigest()[:12]


def read_case(folder: Path) -> Case:
    """Return the pair in ``folder``."""
    images = {name: io.read_image(folder / f"{name}.nii.gz") for name in _IMAGES}
    labels = {name: io.read_labels(folder / f"{name}.nii.gz") for name in _LABELS}
    known = folder / _COUNTS
    counts = io.read_labels(known).data > 0 if known.is_file() else None
    return Case(moving_to_scan=PairUnit(folder).moving_to_scan(), counts=counts, **images, **labels)


def _write_case(folder: Path, case: Case, about: dict[str, object]) -> None:
    for name in _IMAGES:
        io.write_image(folder / f"{name}.nii.gz", getattr(case, name))
    for name in _LABELS:
        io.write_labels(folder / f"{name}.nii.gz", getattr(case, name))
    alignment = PairUnit(folder).moving_to_scan_file
    io.write_affine(alignment, case.moving_to_scan)
    files = [*(f"{name}.nii.gz" for name in (*_IMAGES, *_LABELS)), alignment.name]
    (folder / _COUNTS).unlink(missing_ok=True)
    if case.counts is not None:
        io.write_labels(folder / _COUNTS, Labels(case.counts, case.fixed.grid))
        files.append(_COUNTS)
    write_receipt(folder, files, about)


def _stamps(folders: Sequence[Path]) -> list[str]:
    """Return name and size of every scan, by which a change is noticed wherever the scans lie."""
    return [
        f"{file.name} {file.stat().st_size}"
        for folder in folders
        for file in ([folder] if folder.is_file() else sorted(folder.glob("*.nii.gz")))
    ]


# ----------------------------------------------------------------------------------------- newborns


def albert(fixed: Path, moving: Path) -> Case:
    """Make a pair of newborns, T1w to T2w on the native grid, as ``config/albert.yaml`` does."""
    return _of_newborns(fixed, "T2w", moving)


def albert_t1w(fixed: Path, moving: Path) -> Case:
    """Make a pair of newborns, T1w to T1w: the pair of :func:`albert` in one contrast."""
    return _of_newborns(fixed, "T1w", moving)


def _of_newborns(fixed: Path, modality: str, moving: Path) -> Case:
    recipe = _albert_recipe()
    return _aligned(
        _prepared(fixed, modality, recipe),
        _prepared(moving, "T1w", recipe),
        _drawn(fixed),
        _drawn(moving),
    )


# ----------------------------------------------------------------------------- adults, one contrast


def neurite_full(fixed: Path, moving: Path) -> Case:
    """Make a pair of adults, T1w to T1w at 1 mm, of scans that come aligned and normalised."""
    images = [cropped_neurite(_read(folder, "T1w")) for folder in (fixed, moving)]
    labels = [cropped_neurite(_drawn(folder)) for folder in (fixed, moving)]
    return _as_they_are(*images, *labels)


def neurite_half(fixed: Path, moving: Path) -> Case:
    """Make the pair of :func:`neurite_full` with every second voxel, after a little smoothing."""
    full = neurite_full(fixed, moving)
    return _as_they_are(
        halved(full.fixed),
        halved(full.moving_scan),
        halved(full.fixed_labels),
        halved(full.moving_labels),
    )


def neurite_whole(fixed: Path, moving: Path) -> Case:
    """Make the pair of :func:`neurite_full` without cropping, 160 x 192 x 224 voxels."""
    return _as_they_are(_read(fixed, "T1w"), _read(moving, "T1w"), _drawn(fixed), _drawn(moving))


def cropped_neurite(volume: Volume) -> Volume:
    """Return a scan or label map in the axes and the box of NODEO's evaluation, 160 x 192 x 144."""
    ordered = _reordered(volume, _NEURITE_AXES)
    return _crop(ordered, *(np.array(corner) for corner in NEURITE_CROP))


def halved(volume: Volume) -> Volume:
    """Return every second voxel, beginning with the first; scans are smoothed by 0.7 voxels
    before.
    """
    is_scan = isinstance(volume, Image)
    data = ndimage.gaussian_filter(volume.data, _NEURITE_SMOOTHING_VOX) if is_scan else volume.data
    affine = volume.grid.affine @ np.diag([2.0, 2.0, 2.0, 1.0])
    thinned = data[::2, ::2, ::2]
    return type(volume)(thinned, Grid(thinned.shape, affine))


# --------------------------------------------------------------------------------- adults, inverted


def oasistrt_inverted(fixed: Path, moving: Path) -> Case:
    """Make a pair of adults, inverted T1w to T1w at 1 mm, prepared, cropped to the brain and
    aligned.
    """
    image, scan = (_around_brain(_prepared(folder, "T1w", Recipe())) for folder in (fixed, moving))
    return _aligned(image, inverted(scan), _drawn(fixed), _drawn(moving))


def inverted(image: Image) -> Image:
    """Return ``1 - (I / max)^0.7`` in the brain, background 0: bright becomes dark, but not
    linearly.
    """
    turned = 1 - (image.data / image.data.max()) ** _INVERSION_POWER
    return Image(np.where(image.data > 0, np.maximum(turned, _LEAST_IN_BRAIN), 0), image.grid)


def _around_brain(image: Image) -> Image:
    return _crop(image, *bounding_box(image.data > 0, _BRAIN_MARGIN_VOX))


# ---------------------------------------------------------------------------- adults, to a template


def oasistrt_to_icbm152(fixed: Path, moving: Path) -> Case:
    """Make a pair of an adult's T1w and the T2w of the ICBM152 template, at 1 mm.

    The labels of the template were fused from those of all 20 adults.
    """
    return _to_template(fixed, "T2w", moving)


def oasistrt_to_icbm152_t1w(fixed: Path, moving: Path) -> Case:
    """Make a pair of an adult's T1w and the T1w of the ICBM152 template, at 1 mm: the pair of
    :func:`oasistrt_to_icbm152` in one contrast.
    """
    return _to_template(fixed, "T1w", moving)


def _to_template(fixed: Path, modality: str, moving: Path) -> Case:
    return _aligned(
        _template(fixed, modality, None),
        _around_brain(_prepared(moving, "T1w", Recipe())),
        _template_labels(fixed),
        _drawn(moving),
    )


def _template(folder: Path, modality: str, spacing_mm: float | None) -> Image:
    scan = io.read_image(folder / f"{_ICBM152}_desc-brain_{modality}.nii.gz")
    recipe = Recipe(spacing_mm=spacing_mm)
    return _around_brain(
        prepare_image(scan, _ICBM152, intensity=recipe.intensity, spacing_mm=spacing_mm)[0]
    )


def _template_labels(folder: Path) -> Labels:
    return io.read_labels(folder / f"{_ICBM152}_atlas-OASISTRT20_dseg.nii.gz")


# ---------------------------------------------------------------------------------- as at the desk


def mouse(fixed: Path, moving: Path) -> Case:
    """Make a pair of mouse brains, of one contrast, as the desk does."""
    files = [folder / f"{folder.name}_{{}}.nii.gz" for folder in (fixed, moving)]
    images, labels = (
        [Path(str(file).format(kind)) for file in files] for kind in ("image", "dseg")
    )
    return _as_at_the_desk(images, labels)


def hippocampus(fixed: Path, moving: Path) -> Case:
    """Make a pair of crops about the hippocampus of adults, T1w, as the desk does."""
    images = (fixed, moving)
    return _as_at_the_desk(images, [file.parents[1] / "labels" / file.name for file in images])


def _as_at_the_desk(images: Sequence[Path], labels: Sequence[Path]) -> Case:
    fixed, moving = (prepared_side(io.read_image(path), path.name) for path in images)
    aligned = align_sides(fixed, moving, "affine", threads=1, seed=SEED)
    return Case(
        fixed.image,
        aligned.image,
        moving.image,
        aligned.to_scan,
        *map(io.read_labels, labels),
        counts=aligned.counts,
    )


# ---------------------------------------------------------------------------------- what they share


def _read(folder: Path, modality: str) -> Image:
    return io.read_image(folder / f"{folder.parent.name}_{modality}.nii.gz")


def _drawn(folder: Path) -> Labels:
    return io.read_labels(folder / f"{folder.parent.name}_dseg.nii.gz")


def _prepared(folder: Path, modality: str, recipe: Recipe) -> Image:
    scan, name = _read(folder, modality), f"{folder.parent.name} {modality}"
    return prepare_image(scan, name, intensity=recipe.intensity, spacing_mm=recipe.spacing_mm)[0]


def _aligned(fixed: Image, scan: Image, fixed_labels: Labels, moving_labels: Labels) -> Case:
    moving, to_scan = align_pair(fixed, scan, "affine", "resample", threads=1, seed=SEED)
    return Case(fixed, moving, scan, to_scan, fixed_labels, moving_labels)


def _as_they_are(fixed: Image, moving: Image, fixed_labels: Labels, moving_labels: Labels) -> Case:
    return Case(fixed, moving, moving, Affine(), fixed_labels, moving_labels)


def _reordered(volume: Volume, axes: tuple[int, int, int]) -> Volume:
    """Return the same volume in the same place, with the array's axes in another order."""
    affine = volume.grid.affine[:, [*axes, 3]]
    data = volume.data.transpose(axes)
    return type(volume)(data, Grid(data.shape, affine))


def _crop(volume: Volume, lower: np.ndarray, upper: np.ndarray) -> Volume:
    window = tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))
    return type(volume)(volume.data[window], volume.grid.crop(lower, upper))


# ------------------------------------------------------------------------------------- reduced size


def albert_at(spacing_mm: float) -> Maker:
    """As :func:`albert`, on isotropic voxels of that size."""
    recipe = replace(_albert_recipe(), spacing_mm=spacing_mm)

    def make(fixed: Path, moving: Path) -> Case:
        images = _prepared(fixed, "T2w", recipe), _prepared(moving, "T1w", recipe)
        return _aligned(*images, _drawn(fixed), _drawn(moving))

    return make


def albert_scan_at(folder: Path, modality: str, spacing_mm: float) -> Image:
    """Return a newborn's scan, prepared as in :func:`albert_at`."""
    return _prepared(folder, modality, replace(_albert_recipe(), spacing_mm=spacing_mm))


def oasistrt_to_icbm152_at(spacing_mm: float) -> Maker:
    """As :func:`oasistrt_to_icbm152`, on isotropic voxels of that size."""
    recipe = Recipe(spacing_mm=spacing_mm)

    def make(fixed: Path, moving: Path) -> Case:
        images = (
            _template(fixed, "T2w", spacing_mm),
            _around_brain(_prepared(moving, "T1w", recipe)),
        )
        return _aligned(*images, _template_labels(fixed), _drawn(moving))

    return make
