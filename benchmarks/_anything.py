"""Pairs of images that show anything, registered as ``diffeode register`` registers them, and ways
to spoil the images and the starts: crops of hippocampi, whole heads of mice and persons, slices of
tissue, and brains whose start is trusted.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import numpy as np
from _spoiled import CHOICE, REPORT, SPOILERS, Brain, Case
from scipy import ndimage
from scipy.spatial.transform import Rotation

from diffeode.evaluation.anatomy import brain_width_mm, placed
from diffeode.files import io
from diffeode.files.slices import read_slice
from diffeode.geometry.image import Image, Labels, bounding_box
from diffeode.geometry.plane import is_slice
from diffeode.geometry.resample import antialiased, coarser_slice
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, warp_labels
from diffeode.prepare.foreground import found_foreground
from diffeode.prepare.slices import prepare_slice

_HEADS_MM, _MOUSE_MM, _CROPS_MM, _PICTURES = 5.0, 0.3, 1.5, 3
"""Voxel sizes of heads and of crops of newborns, and the factor by which pixels are coarser."""
_CROPPED = 0.45
"""Share of a newborn's brain, along each axis, that a crop shows."""
_BLOCK_MM = 24.0
_PIECES = 6
"""Number of pieces along each axis of an image whose pieces are shuffled."""

_PAIRS = (
    (CHOICE, "hippocampus", "001", "003"),
    (CHOICE, "hippocampus", "004", "006"),
    (CHOICE, "hippocampus", "007", "008"),
    (CHOICE, "mouse heads", "01", "02"),
    (CHOICE, "newborn crops", "01 T2w", "02 T1w"),
    (CHOICE, "ixi heads", "IXI013", "IXI014"),
    (CHOICE, "ixi heads", "IXI015", "IXI013"),
    (CHOICE, "openms heads", "01 T2W", "01 T1W"),
    (CHOICE, "stained slices", "cd31", "prospc"),
    (CHOICE, "stained slices", "cc10", "cd31"),
    (REPORT, "hippocampus", "011", "014"),
    (REPORT, "hippocampus", "015", "017"),
    (REPORT, "mouse heads", "03", "04"),
    (REPORT, "ixi heads", "IXI033", "IXI034"),
    (REPORT, "ixi heads", "IXI039", "IXI033"),
    (REPORT, "openms heads", "03 T2W", "03 T1W"),
    (REPORT, "stained slices", "he", "ki67"),
    (REPORT, "stained slices", "ki67", "he"),
    (REPORT, "newborn crops", "07 T2w", "08 T1w"),
)
"""The pairs: part, dataset, fixed and moving image. No image is in both halves."""
BRAINS = {
    ("albert", "01 T2w"),
    ("oasistrt", "01 T1w"),
    ("albert", "07 T2w"),
    ("oasistrt", "04 T1w"),
}
"""Dataset and fixed scan of the pairs of brains whose start is trusted."""


def cases_of_anything(data: Path, brains: list[Case]) -> Iterator[Case]:
    """Yield the pairs whose images lie in ``data``, clean and spoiled.

    Every pair is registered clean and from the headers as they are; it meets every start that is
    wrong, and half of the other ways to spoil it. Which half depends on its position.

    Args:
        brains: the clean pairs of brains, of which some meet the wrong starts.
    """
    clean = [case for case in _clean_cases(data)]
    for number, case in enumerate(clean):
        yield case
        for place, (kind, spoil) in enumerate(SPOILERS_OF_ANYTHING.items()):
            if kind in STARTS or place % 2 == number % 2:
                yield replace(spoil(case, clean), kind=kind)
    for case in brains:
        if (case.dataset, case.fixed_name) in BRAINS:
            whole = replace(case, at_desk=True)
            for kind, spoil in STARTS.items():
                yield replace(spoil(whole, brains), kind=kind)


def _clean_cases(data: Path) -> Iterator[Case]:
    for part, dataset, *names in _PAIRS:
        read, folder = _READERS[dataset]
        if (data / folder).is_dir():
            found = [read(data / folder, name) for name in names]
            marks = [points for _, points in found]
            yield Case(
                part,
                dataset,
                *names,
                *(image for image, _ in found),
                at_desk=True,
                landmarks=None if marks[0] is None else (marks[0], marks[1]),
            )


# ------------------------------------------------------------------------------------------- images

Read = tuple[Brain, np.ndarray | None]
"""An image with its labels, and its landmarks, voxel coordinates ``(N, 3)``."""


def _hippocampus(folder: Path, name: str) -> Read:
    file = f"hippocampus_{name}.nii.gz"
    return Brain(
        io.read_image(folder / "images" / file), io.read_labels(folder / "labels" / file)
    ), None


def _mouse(folder: Path, name: str) -> Read:
    stem = folder / f"sub-{name}" / f"sub-{name}"
    labels = io.read_labels(Path(f"{stem}_dseg.nii.gz"))
    return _coarse(io.read_image(Path(f"{stem}_image.nii.gz")), labels, _MOUSE_MM), None


def _ixi(folder: Path, name: str) -> Read:
    stem = folder / f"sub-{name}" / "anat" / f"sub-{name}"
    labels = io.read_labels(Path(f"{stem}_dseg.nii.gz"))
    return _coarse(io.read_image(Path(f"{stem}_T1w.nii.gz")), labels, _HEADS_MM), None


def _openms(folder: Path, name: str) -> Read:
    """Return a head with blocks of space as labels: one person's scans lie on each other."""
    person, contrast = name.split()
    image = io.read_image(folder / f"patient{person}" / f"study2_{contrast}.nii.gz")
    blocks = 1 + np.floor(image.grid.points_mm() / _BLOCK_MM).astype(int) % 5 @ [1, 5, 25]
    shown = image.data > 0.1 * np.percentile(image.data, 99.5)
    return _coarse(image, Labels(np.where(shown, blocks, 0), image.grid), _HEADS_MM), None


def _newborn_crop(folder: Path, name: str) -> Read:
    """Return the middle of a newborn's brain, which is full of tissue."""
    person, contrast = name.split()
    stem = folder / f"sub-{person}" / "anat" / f"sub-{person}"
    image = io.read_image(Path(f"{stem}_{contrast}.nii.gz"))
    labels = io.read_labels(Path(f"{stem}_dseg.nii.gz"))
    lower, upper = bounding_box(image.data > 0)
    middle, half = (lower + upper) / 2, _CROPPED * (upper - lower) / 2
    first, last = (middle - half).astype(int), (middle + half).astype(int)
    box = tuple(slice(a, b) for a, b in zip(first, last, strict=True))
    grid = image.grid.crop(first, last)
    return _coarse(Image(image.data[box], grid), Labels(labels.data[box], grid), _CROPS_MM), None


def _picture(folder: Path, name: str) -> Read:
    image = read_slice(folder / f"{name}.jpg").image
    points = np.loadtxt(folder / f"{name}.csv", delimiter=",", skiprows=1)[:, 1:3]
    small = coarser_slice(image, (_PICTURES, _PICTURES))
    places = np.column_stack([points, np.zeros(len(points))])
    voxels = small.grid.to_voxel(image.grid.to_world(places))
    return Brain(small, Labels(np.zeros(small.grid.shape), small.grid)), voxels


_READERS: dict[str, tuple[Callable[[Path, str], Read], str]] = {
    "hippocampus": (_hippocampus, "hippocampus"),
    "mouse heads": (_mouse, "mouse"),
    "ixi heads": (_ixi, "ixi2mm"),
    "openms heads": (_openms, "openms-raw"),
    "newborn crops": (_newborn_crop, "albert"),
    "stained slices": (_picture, "histology/lung-lesion"),
}


def _coarse(image: Image, labels: Labels, spacing_mm: float) -> Brain:
    grid = image.grid.resample(spacing_mm)
    coarse = Image(antialiased(image.data, image.grid, grid), grid)
    return Brain(coarse, warp_labels(labels, Affine(), grid))


# ----------------------------------------------------------------------------------------- spoiling


def _moved(case: Case, change: Affine) -> Case:
    """Return the pair with ``change`` applied to the header of the moving image."""
    grid = case.moving.image.grid
    other = Grid(grid.shape, change.matrix @ grid.affine)
    image, labels = case.moving.image.data, case.moving.labels.data
    return replace(case, moving=Brain(Image(image, other), Labels(labels, other)))


def _about_centre(case: Case, linear: np.ndarray) -> Affine:
    centre = case.moving.image.grid.centre_mm
    return placed(linear, centre, centre)


def _turned(degrees: float, alignment: str, axis: str = "x") -> Callable[[Case, list[Case]], Case]:
    """Return a spoiler that turns the moving image about its centre, slices in their plane."""

    def spoil(case: Case, clean: list[Case]) -> Case:
        around = "z" if is_slice(case.fixed.image.grid) else axis
        turn = Rotation.from_euler(around, degrees, degrees=True).as_matrix()
        return replace(_moved(case, _about_centre(case, turn)), alignment=alignment)

    return spoil


def _shifted(share: float) -> Callable[[Case, list[Case]], Case]:
    """Return a spoiler that shifts the moving image by ``share`` of its width."""

    def spoil(case: Case, clean: list[Case]) -> Case:
        grid = case.moving.image.grid
        flat = is_slice(grid)
        sides = np.array(grid.shape) * grid.spacing
        width = np.sqrt(np.prod(sides[:2])) if flat else brain_width_mm(case.moving.image)
        change = np.eye(4)
        change[: 2 if flat else 3, 3] = (
            np.array([0.6, 0.8, 0.0])[: 2 if flat else 3] * share * width
        )
        return replace(_moved(case, Affine(change)), alignment="identity")

    return spoil


def _as_it_lies(case: Case, clean: list[Case]) -> Case:
    return replace(case, alignment="identity")


def _mirrored(case: Case, clean: list[Case]) -> Case:
    return _moved(case, _about_centre(case, np.diag([-1.0, 1.0, 1.0])))


def _with_moving(case: Case, data: np.ndarray) -> Case:
    moving = Brain(Image(data, case.moving.image.grid), case.moving.labels)
    return replace(case, moving=moving, foreign=True)


def _noise(case: Case, clean: list[Case]) -> Case:
    """Return the pair with smooth noise for all that the moving image shows."""
    image = case.moving.image
    data, flat = image.data, is_slice(image.grid)
    sigma = [0 if n == 1 else 1.5 for n in data.shape]
    noise = ndimage.gaussian_filter(np.random.default_rng(2).normal(size=data.shape), sigma)
    noise = (noise - noise.min()) / np.ptp(noise)
    low, high = np.percentile(data, (1, 99))
    shown = prepare_slice(image, "a slice").tissue if flat else found_foreground(image)
    dark, bright = (0.1, 0.8) if flat else (0.2, 0.9)
    values = low + (dark + (bright - dark) * noise) * (high - low)
    return _with_moving(case, np.where(shown, values, data))


def _shuffled(case: Case, clean: list[Case]) -> Case:
    """Return the pair with pieces of the moving image in random order."""
    data = case.moving.image.data
    steps = [max(1, n // _PIECES) for n in data.shape]
    corners = list(
        product(*(range(0, n - s + 1, s) for n, s in zip(data.shape, steps, strict=True)))
    )
    pieces = [
        tuple(slice(c, c + s) for c, s in zip(corner, steps, strict=True)) for corner in corners
    ]
    shuffled = data.copy()
    for here, there in enumerate(np.random.default_rng(4).permutation(len(pieces))):
        shuffled[pieces[here]] = data[pieces[there]]
    return _with_moving(case, shuffled)


def _other_anatomy(case: Case, clean: list[Case]) -> Case:
    """Return the pair with an image of something else, as wide as the moving image.

    Of slices, it is a slice of a head.
    """
    flat = is_slice(case.moving.image.grid)
    wanted = "hippocampus" if "heads" in case.dataset else "ixi heads"
    other = next((c for c in clean if c.dataset == wanted), clean[-1]).moving.image
    if flat:
        data = other.data[:, :, other.data.shape[2] // 2][..., None]
        factors = np.array(case.moving.image.data.shape) / data.shape
        return _with_moving(case, ndimage.zoom(data, factors, order=1))
    ratio = np.cbrt(
        np.prod(np.array(case.moving.image.grid.shape) * case.moving.image.grid.spacing)
    )
    ratio /= np.cbrt(np.prod(np.array(other.grid.shape) * other.grid.spacing))
    centre = case.moving.image.grid.centre_mm
    grid = Grid(
        other.grid.shape,
        placed(ratio * np.eye(3), other.grid.centre_mm, centre).matrix @ other.grid.affine,
    )
    moving = Brain(Image(other.data, grid), Labels(np.zeros(grid.shape), grid))
    return replace(case, moving=moving, foreign=True)


def _loose(case: Case, clean: list[Case]) -> Case:
    return SPOILERS["loose"](case, clean)


STARTS: dict[str, Callable[[Case, list[Case]], Case]] = {
    "as it lies": _as_it_lies,
    "turned 20, start trusted": _turned(20, "identity"),
    "turned 35, start trusted": _turned(35, "identity"),
    "shifted a quarter, start trusted": _shifted(0.25),
}
"""Starts from the positions in the headers."""
SPOILERS_OF_ANYTHING: dict[str, Callable[[Case, list[Case]], Case]] = STARTS | {
    "turned 90": _turned(90, "affine"),
    "turned 180": _turned(180, "affine"),
    "turned 60, start trusted": _turned(60, "identity"),
    "mirrored": _mirrored,
    "shuffled": _shuffled,
    "smooth noise": _noise,
    "other anatomy": _other_anatomy,
    "loose": _loose,
    "turned 35 about z, start trusted": _turned(35, "identity", "z"),
    "shifted far, start trusted": _shifted(0.5),
}
