"""Scans in the space of a template: the template, cropped, and the affine map from it to a scan."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

import nibabel as nib
import numpy as np
from scipy import ndimage
from scipy.spatial.transform import Rotation

from diffeode.errors import InputError
from diffeode.evaluation.similarity import normalised_mutual_information
from diffeode.files import io
from diffeode.geometry.image import Image, bounding_box, sample
from diffeode.geometry.resample import antialiased
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, warp_image
from diffeode.prepare.affine import affine_registration, rigid_registration
from diffeode.prepare.brain import nonzero, without_negatives
from diffeode.prepare.intensity import robust, without_outliers
from diffeode.prepare.registry import find_tool
from diffeode.prepare.resolution import resample_brain

_MARGIN_MM = 5.0
_SIZE_STEP = 16
_LEAST_DICE = 0.80
_LEAST_GAIN = 1.4
_DRIFT_MM = 20.0
# Newborns are half as large as ICBM152 along an axis.
_SCALES = (0.4, 1.7)
_COARSE_MM = 4.0
_STARTS_DEGREES = ((30, 0, 0), (-30, 0, 0), (0, 30, 0), (0, -30, 0), (0, 0, 30), (0, 0, -30))


@final
@dataclass(frozen=True, eq=False)
class Template:
    """A skull-stripped template with cubic voxels, in [0, 1] with background exactly 0, cropped
    about the brain.

    Attributes:
        images: by modality, ``T1w`` always and ``T2w`` where there is one, all on one grid.
        mask: its brain, ``(X, Y, Z)`` bool.
    """

    name: str
    images: dict[str, Image]
    mask: np.ndarray

    @property
    def grid(self) -> Grid:
        """Where scans are brought to."""
        return self.images["T1w"].grid

    def like(self, modality: str) -> Image:
        """The image to align a scan of ``modality`` with: of the same contrast, else the T1w."""
        return self.images.get(modality, self.images["T1w"])

    def on(self, grid: Grid) -> dict[str, Image]:
        """The images on another grid of cubic voxels in the template's space."""
        if grid.matches(self.grid):
            return self.images
        return {
            name: Image(antialiased(image.data, image.grid, grid), grid)
            for name, image in self.images.items()
        }


def chosen_template(choice: str | dict[str, str]) -> Template:
    """The template that a recipe names, or that of the paths ``t1w`` and, where there is one,
    ``t2w``.

    Raises:
        InputError: a file is unusable.
        KeyError: there is no template of that name; recipes are checked when they are read.
    """
    tool = find_tool("template", choice)
    if tool is not None:
        return tool.function()
    return given(**{contrast: Path(path) for contrast, path in choice.items()})


def given(t1w: Path, t2w: Path | None = None) -> Template:
    """A user's template: a skull-stripped T1w and, where there is one, its T2w on the same grid.

    Raises:
        InputError: a file is unusable, not skull-stripped (empty), or the two lie on different
            grids.
    """
    files = {"T1w": t1w} | ({"T2w": t2w} if t2w else {})
    images = {
        modality: without_negatives(io.read_image(file), str(file))
        for modality, file in files.items()
    }
    if t2w and not images["T2w"].grid.matches(images["T1w"].grid):
        raise InputError(
            f"The templates {t1w} and {t2w} lie on different grids; give a pair in one space."
        )
    images = {
        modality: _with_cubic_voxels(image, str(files[modality]))
        for modality, image in images.items()
    }
    name = Path(t1w).name.partition(".")[0]
    return cropped_template(
        name, images, nonzero(images["T1w"], str(t1w)), {m: str(file) for m, file in files.items()}
    )


def cropped_template(
    name: str, images: dict[str, Image], mask: np.ndarray, shown: dict[str, str] | None = None
) -> Template:
    """The template on the smallest grid whose sizes are multiples of 16, at least 5 mm around the
    brain.

    The grid may reach beyond the template's own, which can end at the brain.

    Args:
        shown: what messages call each image; the template's name and its contrast where not given.
    """
    shown = shown or {modality: f"{name} {modality}" for modality in images}
    grid = images["T1w"].grid
    lower, upper = bounding_box(mask)
    margin = np.ceil(_MARGIN_MM / grid.spacing).astype(int)
    size = _SIZE_STEP * np.ceil((upper - lower + 2 * margin) / _SIZE_STEP).astype(int)
    corner = lower - (size - (upper - lower)) // 2
    grid = grid.crop(corner, corner + size)
    brain = _box(mask, corner, size)
    cut = {
        modality: Image(_box(image.data, corner, size), grid) for modality, image in images.items()
    }
    scaled = {modality: robust(image, brain, shown[modality]) for modality, image in cut.items()}
    return Template(name, scaled, brain)


def align_to_template(
    scan: Image, template: Template, modality: str, name: str, threads: int, seed: int
) -> Affine:
    """Points of ``template`` to points of ``scan``, RAS mm: 12 parameters, by ANTs with Mattes
    mutual information.

    Begins from the centres of mass and, where that does not find the anatomy, at 4 mm, where
    rotations by 30 degrees are tried as well. A scan that lies on the template better as it is
    stays there.

    Args:
        scan: skull-stripped, on its own grid, in any orientation that its header tells.
        modality: the scan's contrast; without a template of it, the T1w serves.
        name: what messages call the scan.

    Raises:
        InputError: the scan does not come to lie on the template: out of scale, too little overlap,
            or no better than turned upside down.
        RegistrationError: ANTs gave up.
    """
    moving = _canonical(without_outliers(scan, scan.data > 0))
    fit = _Fit.of(moving, template, modality, name)
    found = affine_registration(template.like(modality), moving, threads, seed)
    if not fit.met(found):
        start = fit.best_start(threads, seed)
        found = affine_registration(template.like(modality), moving, threads, seed, start)
    best = max(Affine(), found, key=fit.rank)
    fit.require(best)
    return best


def align_through_t1w(
    scan: Image,
    t1w: Image,
    template: Template,
    modality: str,
    template_to_t1w: Affine,
    name: str,
    threads: int,
    seed: int,
) -> Affine:
    """Points of ``template`` to points of ``scan``, RAS mm, by way of the T1w of the same person
    and session.

    Args:
        scan, t1w: skull-stripped, each on its own grid; the T1w's head is moved rigidly onto the
            scan's.
        modality: the scan's contrast, such as T2w; without a template of it, it is compared with
            the T1w.
        template_to_t1w: of the T1w, from :func:`align_to_template`.
        name: what messages call the scan.

    Raises:
        InputError: the scan does not come to lie on the template; it may be another person's.
        RegistrationError: ANTs gave up.
    """
    moving, head = (_canonical(without_outliers(image, image.data > 0)) for image in (scan, t1w))
    rigid = rigid_registration(head, moving, threads, seed)
    found = Affine(rigid.matrix @ template_to_t1w.matrix)
    _Fit.of(moving, template, modality, name).require(found)
    return found


def overlap(template_to_scan: Affine, template: Template, scan: Image) -> float:
    """Dice coefficient of the template's brain and the scan's, ``(scan > 0)``, on the template's
    grid.
    """
    points = scan.grid.to_voxel(template_to_scan(template.grid.points_mm()))
    brain = sample((scan.data > 0).astype(np.uint8), points, order=0) > 0
    return float(2 * (brain & template.mask).sum() / (brain.sum() + template.mask.sum()))


# ------------------------------------------------------------------------------------- the template


def _with_cubic_voxels(image: Image, name: str) -> Image:
    """``image``, resampled at its smallest voxel side where its sides differ."""
    smallest = float(image.grid.spacing.min())
    if np.allclose(image.grid.spacing, smallest, rtol=1e-3):
        return image
    return resample_brain(image, nonzero(image, name), image.grid.resample(smallest))[0]


def _box(data: np.ndarray, corner: np.ndarray, size: np.ndarray) -> np.ndarray:
    """``data`` in the box of ``size`` voxels from ``corner`` on, 0 where it has none."""
    box = np.zeros(size, dtype=data.dtype)
    low, high = np.maximum(corner, 0), np.minimum(corner + size, data.shape)
    inside, source = (
        tuple(slice(a, b) for a, b in zip(low - o, high - o, strict=True)) for o in (corner, 0)
    )
    box[inside] = data[source]
    return box


# ------------------------------------------------------------------------------------ the alignment


def _canonical(image: Image) -> Image:
    """``image`` with its array axes turned to right, anterior, superior: how it is stored must not
    matter.
    """
    orientation = nib.io_orientation(image.grid.affine)
    affine = image.grid.affine @ nib.orientations.inv_ornt_aff(orientation, image.grid.shape)
    turned = nib.apply_orientation(image.data, orientation)
    return Image(turned, Grid(turned.shape, affine))


@final
@dataclass(frozen=True, eq=False)
class _Fit:
    """Whether an affine lays the anatomy of a scan, and not only its outline, on the template's, at
    4 mm.

    Brains overlap by Dice 0.82 to 0.92 however they are turned. Mutual information of images
    without slow drifts tells: at the right place ``NMI - 1`` is 1.7 times and more what it is after
    half a turn about an axis (3.6 times in adults); where only outlines met, 1.2 times and less.

    Attributes:
        scan: canonical, on its own grid.
        fixed, moving: the template and the scan at 4 mm, in [0, 1].
        fixed_detail, moving_detail: the same without slow drifts, which a coil leaves and any two
            brains share.
    """

    template: Template
    scan: Image
    name: str
    fixed: Image
    moving: Image
    fixed_detail: Image
    moving_detail: Image

    @classmethod
    def of(cls, scan: Image, template: Template, modality: str, name: str) -> _Fit:
        """Of ``scan``, skull-stripped, on ``template``.

        Raises:
            InputError: the scan is empty or constant.
        """
        fixed, _ = resample_brain(
            template.like(modality), template.mask, template.grid.resample(_COARSE_MM)
        )
        moving = robust(
            *resample_brain(scan, nonzero(scan, name), scan.grid.resample(_COARSE_MM)), name
        )
        return cls(
            template,
            scan,
            name,
            fixed,
            moving,
            _detail(fixed, template.name),
            _detail(moving, name),
        )

    def best_start(self, threads: int, seed: int) -> Affine:
        """The affine, found at 4 mm, from the centres of mass and where that fails from several
        rotations as well.
        """
        found = affine_registration(self.fixed, self.moving, threads, seed)
        if self.met(found):
            return found
        starts = _rotations(self.fixed, self.moving)
        others = [
            affine_registration(self.fixed, self.moving, threads, seed, start) for start in starts
        ]
        return max([found, *others], key=self.rank)

    def rank(self, affine: Affine) -> tuple[bool, float]:
        """What orders affines: those that lay brain on brain first, whose details then match best.

        Where a newborn's brain covers a third of an adult's, the outline alone makes up for
        details.
        """
        return self._overlap(affine) >= _LEAST_DICE, self.match(affine)

    def match(self, affine: Affine) -> float:
        """Normalised mutual information under ``affine`` over the template's brain, 0 for
        independent images.
        """
        fixed, warped = self.fixed_detail, warp_image(self.moving_detail, affine, self.fixed.grid)
        return normalised_mutual_information(warped.data, fixed.data, fixed.data > 0) - 1

    def met(self, affine: Affine) -> bool:
        """Whether :meth:`match` is clearly better under ``affine`` than after the best of three
        half turns.
        """
        turned = (Affine(affine.matrix @ turn) for turn in self._half_turns())
        return self.match(affine) > _LEAST_GAIN * max(map(self.match, turned))

    def require(self, affine: Affine) -> None:
        """Raise :class:`InputError` where ``affine`` cannot be right."""
        reason = self._fault(affine)
        if reason:
            raise InputError(
                f"{self.name} does not look like a brain that lies as template "
                f"{self.template.name} does: {reason}; check the skull stripping, and orientation "
                "and voxel size in the header."
            )

    def _fault(self, affine: Affine) -> str | None:
        scales = np.linalg.svd(affine.matrix[:3, :3], compute_uv=False)
        dice = self._overlap(affine)
        if np.linalg.det(affine.matrix[:3, :3]) < 0:
            return "it would have to be mirrored"
        if scales.min() < _SCALES[0] or scales.max() > _SCALES[1]:
            return f"it would have to be scaled by {scales.min():.2f} to {scales.max():.2f}"
        if dice < _LEAST_DICE:
            return f"the two brains overlap by Dice {dice:.2f} only, not {_LEAST_DICE:.2f}"
        if not self.met(affine):
            return "turned upside down or back to front it would fit as well"
        return None

    def _overlap(self, affine: Affine) -> float:
        return overlap(affine, self.template, self.scan)

    def _half_turns(self) -> Iterator[np.ndarray]:
        centre = self.fixed.grid.to_world(np.argwhere(self.fixed.data > 0).mean(axis=0))
        for axis in np.eye(3):
            turn = np.eye(4)
            turn[:3, :3] = 2 * np.outer(axis, axis) - np.eye(3)
            turn[:3, 3] = centre - turn[:3, :3] @ centre
            yield turn


def _detail(image: Image, name: str) -> Image:
    """``image`` divided by its mean over the brain about each voxel (Gaussian, 20 mm), in
    [0, 1].
    """
    brain = image.data > 0
    sigma = _DRIFT_MM / image.grid.spacing
    mean = ndimage.gaussian_filter(image.data, sigma) / np.maximum(
        ndimage.gaussian_filter(brain * 1.0, sigma), 1e-6
    )
    return robust(
        Image(np.where(brain, image.data / np.where(brain, mean, 1), 0), image.grid), brain, name
    )


def _rotations(fixed: Image, moving: Image) -> Iterator[Affine]:
    """Rotations about the centres of mass, which they join."""
    here, there = _centre_of_mass_mm(fixed), _centre_of_mass_mm(moving)
    for degrees in _STARTS_DEGREES:
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
        matrix[:3, 3] = there - matrix[:3, :3] @ here
        yield Affine(matrix)


def _centre_of_mass_mm(image: Image) -> np.ndarray:
    brain = np.argwhere(image.data > 0)
    return image.grid.to_world(np.average(brain, axis=0, weights=image.data[tuple(brain.T)]))
