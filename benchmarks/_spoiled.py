"""Pairs of real and virtual scans, coarse enough to be registered in seconds, and ways to spoil
them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from _cases import inverted
from scipy import ndimage
from scipy.spatial.transform import Rotation

from diffeode.datasets.virtual import make_cohort
from diffeode.evaluation.anatomy import brain_width_mm
from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, warp_labels
from diffeode.prepare.brain import nonzero, without_negatives
from diffeode.prepare.resolution import resample_brain

CHOICE, REPORT = "choice", "report"
"""Names of the half of the data on which thresholds were chosen, and of the half on which they are
judged.
"""

_SPACING_MM = {"albert": 3.5, "mouse": 0.5}
_ADULT_MM = 5.0
_VIRTUAL_SEED = 7
_BLOCK_MM = 24.0
_SLAB_SHARE = 0.18
_SHARE = 4


@dataclass(frozen=True, eq=False)
class Brain:
    """A skull-stripped scan with its stored intensities, and its labels, on one coarse grid."""

    image: Image
    labels: Labels


@dataclass(frozen=True, eq=False)
class Case:
    """A pair to register.

    Attributes:
        part: ``CHOICE`` or ``REPORT``.
        fixed_name, moving_name: person and contrast of the two scans.
        kind: ``clean``, or the way in which it was spoiled.
        overrides: hyper-parameters that differ from the run's, by dotted names.
        alignment: an alignment of :func:`diffeode.prepare.pair.align_pair`, or ``plain``, which
            takes ANTs' affine whatever it is.
        foreign: whether the two scans have no anatomy in common, so that no map is right.
        whole_labels: the labels of the moving scan before some of its slices were taken away.
        at_desk: whether the images are prepared as ``diffeode register`` prepares images of
            anything. Then ``alignment`` is one of its kinds of start.
        landmarks: of slices, voxel coordinates of the same points in both, ``(N, 3)`` each; they
            take the place of labels.
    """

    part: str
    dataset: str
    fixed_name: str
    moving_name: str
    fixed: Brain
    moving: Brain
    kind: str = "clean"
    overrides: dict[str, object] | None = None
    alignment: str = "affine"
    foreign: bool = False
    whole_labels: Labels | None = None
    at_desk: bool = False
    landmarks: tuple[np.ndarray, np.ndarray] | None = None


# -------------------------------------------------------------------------------------------- scans

_PAIRS = (
    (CHOICE, "virtual", "01 T2w", "03 T1w"),
    (CHOICE, "virtual", "02 T2w", "05 T1w"),
    (CHOICE, "virtual", "04 T1w", "06 T1w"),
    (CHOICE, "albert", "01 T2w", "02 T1w"),
    (CHOICE, "albert", "03 T2w", "04 T1w"),
    (CHOICE, "albert", "05 T2w", "06 T1w"),
    (CHOICE, "albert", "06 T1w", "01 T2w"),
    (CHOICE, "oasistrt", "01 T1w", "02 T1w"),
    (CHOICE, "oasistrt", "03 T1w", "01 T1w"),
    (CHOICE, "ixi2mm", "IXI013 T1w", "IXI014 T1w"),
    (CHOICE, "ixi2mm", "IXI015 T1w", "IXI013 T1w"),
    (CHOICE, "openms", "07 T2w", "07 T1w"),
    (REPORT, "albert", "07 T2w", "08 T1w"),
    (REPORT, "albert", "09 T2w", "10 T1w"),
    (REPORT, "albert", "10 T2w", "07 T1w"),
    (REPORT, "albert", "08 T1w", "09 T2w"),
    (REPORT, "oasistrt", "04 T1w", "05 T1w"),
    (REPORT, "oasistrt", "06 T1w", "04 T1w"),
    (REPORT, "ixi2mm", "IXI033 T1w", "IXI034 T1w"),
    (REPORT, "ixi2mm", "IXI039 T1w", "IXI033 T1w"),
    (REPORT, "neuriteoasis", "0001 T1w", "0002 T1w"),
    (REPORT, "openms", "26 T2w", "26 T1w"),
    (REPORT, "stroke", "01 T2w", "01 T1w"),
    (REPORT, "mouse", "01", "02"),
    (REPORT, "mouse", "03", "04"),
)
"""The pairs: part, dataset, fixed and moving scan."""


def clean_cases(data: Path, scratch: Path) -> list[Case]:
    """Return the pairs of all datasets that lie in ``data``.

    The virtual cohort is made in ``scratch`` unless it is there.
    """
    virtual = scratch / "virtual"
    if not (virtual / "receipt.json").is_file():
        make_cohort(virtual, 6, _ADULT_MM, _VIRTUAL_SEED)
    roots = {name: data / name for _, name, *_ in _PAIRS} | {"virtual": virtual}
    read: dict[tuple[str, str], Brain] = {}
    cases = []
    for part, dataset, *names in _PAIRS:
        if roots[dataset].is_dir():
            for name in names:
                read.setdefault((dataset, name), _read(roots[dataset], dataset, name))
            cases.append(Case(part, dataset, *names, *(read[dataset, name] for name in names)))
    return cases


def _read(root: Path, dataset: str, name: str) -> Brain:
    person, _, modality = name.partition(" ")
    folder = root / f"sub-{person}" / ("" if dataset == "mouse" else "anat")
    image = io.read_image(folder / f"sub-{person}_{modality or 'image'}.nii.gz")
    drawn = folder / f"sub-{person}_dseg.nii.gz"
    labels = io.read_labels(drawn) if drawn.is_file() else None
    if dataset == "ixi2mm":
        image = Image(np.where(labels.data > 0, image.data, 0), image.grid)
    if dataset == "mouse":
        mask = io.read_labels(folder / f"sub-{person}_mask.nii.gz").data > 0
        image = Image(np.where(mask, image.data, 0), image.grid)
    image = without_negatives(image, name)
    grid = image.grid.resample(_SPACING_MM.get(dataset, _ADULT_MM))
    coarse, _ = resample_brain(image, nonzero(image, name), grid)
    return Brain(coarse, warp_labels(labels, Affine(), grid) if labels else _blocks(coarse))


def _blocks(image: Image) -> Labels:
    """Return blocks of space within the brain as labels.

    They serve two scans of one person, who did not move between them.
    """
    numbers = np.floor(image.grid.points_mm() / _BLOCK_MM).astype(int) % 5
    blocks = 1 + numbers @ np.array([1, 5, 25])
    return Labels(np.where(image.data > 0, blocks, 0), image.grid)


# ----------------------------------------------------------------------------------------- spoiling


def spoiled_cases(clean: list[Case]) -> Iterator[Case]:
    """Yield each pair clean, and spoiled in a quarter of the ways.

    Which quarter depends on the pair's position, so that every way meets several datasets.
    """
    for number, case in enumerate(clean):
        yield case
        for place, (kind, spoil) in enumerate(SPOILERS.items()):
            if place % _SHARE == number % _SHARE:
                yield replace(spoil(case, clean), kind=kind)


def _turned(axis: str, degrees: float) -> Callable[[Case, list[Case]], Case]:
    turn = Rotation.from_euler(axis, degrees, degrees=True).as_matrix()
    return lambda case, clean: _with_header(case, turn)


def _not_searched(kind: str) -> Callable[[Case, list[Case]], Case]:
    """Return a spoiler as ``kind``, whose pair is aligned without searching for a start."""
    return lambda case, clean: replace(SPOILERS[kind](case, clean), alignment="plain")


def _mirrored(axis: int) -> Callable[[Case, list[Case]], Case]:
    flip = np.eye(3)
    flip[axis, axis] = -1
    return lambda case, clean: _with_header(case, flip)


def _scaled(factor: float) -> Callable[[Case, list[Case]], Case]:
    return lambda case, clean: _with_header(case, factor * np.eye(3))


def _with_header(case: Case, linear: np.ndarray) -> Case:
    """Return the pair with ``linear (3, 3)`` applied to the header of the moving scan."""
    matrix = np.eye(4)
    matrix[:3, :3] = linear
    grid = case.moving.image.grid
    other = Grid(grid.shape, matrix @ grid.affine)
    return replace(
        case,
        moving=Brain(Image(case.moving.image.data, other), Labels(case.moving.labels.data, other)),
    )


def _shifted(case: Case, clean: list[Case], share: float = 1.0) -> Case:
    """Return the pair with the moving scan's header shifted to the front and up, each by ``share``
    of the brain's width.
    """
    grid, width = case.moving.image.grid, brain_width_mm(case.moving.image)
    affine = grid.affine.copy()
    affine[1:3, 3] += share * width
    other = Grid(grid.shape, affine)
    return replace(
        case,
        moving=Brain(Image(case.moving.image.data, other), Labels(case.moving.labels.data, other)),
    )


def _unaligned(case: Case, clean: list[Case]) -> Case:
    """Return the pair shifted by a quarter of the brain's width, to be registered unaligned."""
    return replace(_shifted(case, clean, 0.25), alignment="none")


def _with_outliers(value: float, share: float) -> Callable[[Case, list[Case]], Case]:
    def spoil(case: Case, clean: list[Case]) -> Case:
        data = case.moving.image.data.copy()
        brain = np.flatnonzero(data > 0)
        data.flat[
            np.random.default_rng(0).choice(brain, int(share * len(brain)), replace=False)
        ] = value
        return _with_moving(case, data)

    return spoil


def _noisy(case: Case, clean: list[Case]) -> Case:
    """Return the pair with noise in the moving scan, three times as strong as its contrast."""
    data = case.moving.image.data
    brain = data > 0
    noise = np.random.default_rng(1).normal(0, 3 * data[brain].std(), data.shape)
    return _with_moving(case, np.where(brain, np.maximum(data + noise, 1e-3 * data.max()), 0))


def _noise(case: Case, clean: list[Case]) -> Case:
    """Return the pair with smooth noise in the outline of the moving brain instead of the brain."""
    data = case.moving.image.data
    noise = ndimage.gaussian_filter(np.random.default_rng(2).normal(size=data.shape), 1.5)
    noise = 1 + (noise - noise.min()) / np.ptp(noise)
    return replace(_with_moving(case, np.where(data > 0, noise, 0)), foreign=True)


def _ball(case: Case, clean: list[Case]) -> Case:
    """Return the pair with a ball of smooth noise for the moving scan."""
    grid = case.moving.image.grid
    middle, half = (np.array(grid.shape) - 1) / 2, 0.42 * min(np.array(grid.shape) * grid.spacing)
    inside = np.linalg.norm((grid.voxels() - middle) * grid.spacing, axis=-1) < half
    noise = ndimage.gaussian_filter(np.random.default_rng(3).normal(size=grid.shape), 2)
    noise = 1 + (noise - noise.min()) / np.ptp(noise)
    return replace(_with_moving(case, np.where(inside, noise, 0)), foreign=True)


def _other_species(case: Case, clean: list[Case]) -> Case:
    """Return the pair with a mouse for the moving person, or a person for the moving mouse.

    The brain is scaled to the width of the one that it replaces.
    """
    others = [c for c in clean if (c.dataset == "mouse") != (case.dataset == "mouse")] or clean
    other, own = others[-1].moving, case.moving.image
    widths = [brain_width_mm(image) for image in (own, other.image)]
    grid = Grid(
        other.image.grid.shape, np.diag([*[widths[0] / widths[1]] * 3, 1]) @ other.image.grid.affine
    )
    labels = Labels(np.zeros(grid.shape), grid)
    return replace(case, moving=Brain(Image(other.image.data, grid), labels), foreign=True)


def _inverted(case: Case, clean: list[Case]) -> Case:
    return _with_moving(case, inverted(case.moving.image).data)


def _with_moving(case: Case, data: np.ndarray) -> Case:
    return replace(case, moving=Brain(Image(data, case.moving.image.grid), case.moving.labels))


def _slab(side: str, axis: int, share: float = _SLAB_SHARE) -> Callable[[Case, list[Case]], Case]:
    """Return a spoiler that keeps only some slices of one scan's brain.

    Args:
        side: ``fixed`` or ``moving``.
        axis: the stored axis along which slices are cut away.
        share: the share of the brain's extent along the axis that is kept.
    """

    def spoil(case: Case, clean: list[Case]) -> Case:
        brain = getattr(case, side)
        occupied = np.flatnonzero(
            brain.image.data.any(axis=tuple(a for a in range(3) if a != axis))
        )
        length = max(5, round(share * len(occupied)))
        first = occupied[0] + (len(occupied) - length) // 2
        return replace(
            case,
            whole_labels=case.moving.labels,
            **{side: _cut(brain, axis, first, first + length)},
        )

    return spoil


def _half(case: Case, clean: list[Case]) -> Case:
    """Return the pair with only the middle half of the moving brain, along its third axis."""
    return _slab("moving", 2, 0.5)(case, clean)


def _cut(brain: Brain, axis: int, first: int, last: int) -> Brain:
    lower, upper = np.zeros(3, dtype=int), np.array(brain.image.grid.shape)
    lower[axis], upper[axis] = first, last
    window = tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))
    grid = brain.image.grid.crop(lower, upper)
    return Brain(Image(brain.image.data[window], grid), Labels(brain.labels.data[window], grid))


def _loose(case: Case, clean: list[Case]) -> Case:
    """Return the pair for a run with hardly any regularisation, in which folds are allowed."""
    return replace(
        case, overrides={"penalties.gradient.weight": 0.002, "diffeomorphic": "penalised"}
    )


SPOILERS: dict[str, Callable[[Case, list[Case]], Case]] = {
    "turned 90 x": _turned("x", 90),
    "turned 90 y": _turned("y", -90),
    "turned 90 z": _turned("z", 90),
    "turned 180 x": _turned("x", 180),
    "turned 180 y": _turned("y", 180),
    "turned 180 z": _turned("z", 180),
    "tipped 45": _turned("xyz", (45, 0, 0)),
    "turned oddly": _turned("xyz", (130, 40, -70)),
    "mirrored left-right": _mirrored(0),
    "mirrored front-back": _mirrored(1),
    "shifted": _shifted,
    "unaligned": _unaligned,
    "outliers": _with_outliers(1e6, 0.005),
    "outliers low": _with_outliers(-2e4, 0.009),
    "noisy": _noisy,
    "noise in a brain's outline": _noise,
    "ball of noise": _ball,
    "other species": _other_species,
    "inverted": _inverted,
    "scaled by 2": _scaled(2.0),
    "scaled by 0.6": _scaled(0.6),
    "fixed slab axis 3": _slab("fixed", 2),
    "fixed slab axis 1": _slab("fixed", 0),
    "moving slab axis 3": _slab("moving", 2),
    "moving slab axis 2": _slab("moving", 1),
    "moving half": _half,
    "loose": _loose,
}
SPOILERS |= {
    f"{kind}, not searched": _not_searched(kind)
    for kind in (
        *(
            "turned 90 x",
            "turned 90 y",
            "turned 90 z",
            "turned 180 x",
            "turned 180 y",
            "turned 180 z",
        ),
        *("turned oddly", "fixed slab axis 3"),
    )
}
