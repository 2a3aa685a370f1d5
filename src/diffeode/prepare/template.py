"""Templates, and the affine map from a template to a scan that is brought into its space."""

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
# The scales that a map may have along any direction: along an axis, newborns' brains are half as
# large as ICBM152.
_SCALES = (0.4, 1.7)
_COARSE_MM = 4.0
_STARTS_DEGREES = ((30, 0, 0), (-30, 0, 0), (0, 30, 0), (0, -30, 0), (0, 0, 30), (0, 0, -30))


@final
@dataclass(frozen=True, eq=False)
class Template:
    """A skull-stripped template, cropped around the brain.

    Its voxels are cubes, its intensities lie in [0, 1], and its background is exactly 0.

    Attributes:
        images: the images by modality, all on one grid: ``T1w``, and ``T2w`` where there is one.
        mask: the brain, ``(X, Y, Z)`` bool.
    """

    name: str
    images: dict[str, Image]
    mask: np.ndarray

    @property
    def grid(self) -> Grid:
        """The grid of all images, on which scans are brought."""
        return self.images["T1w"].grid

    def like(self, modality: str) -> Image:
        """Return the image of the same contrast as a scan of ``modality``; the T1w where there is
        none.
        """
        return self.images.get(modality, self.images["T1w"])

    def on(self, grid: Grid) -> dict[str, Image]:
        """Return the images on another grid of cubic voxels in the template's space."""
        if grid.matches(self.grid):
            return self.images
        return {
            name: Image(antialiased(image.data, image.grid, grid), grid)
            for name, image in self.images.items()
        }


def chosen_template(choice: str | dict[str, str]) -> Template:
    """Return the template that a recipe chooses.

    Args:
        choice: a template's name, or the paths of a user's template: ``t1w`` and, where there is
            one, ``t2w``.

    Raises:
        InputError: a file is unusable.
        KeyError: there is no template of that name. A recipe's choices are checked when it is read.
    """
    tool = find_tool("template", choice)
    if tool is not None:
        return tool.function()
    return given(**{contrast: Path(path) for contrast, path in choice.items()})


def given(t1w: Path, t2w: Path | None = None) -> Template:
    """Return a user's template.

    Args:
        t1w: file of the skull-stripped T1w.
        t2w: file of the T2w on the same grid, where there is one.

    Raises:
        InputError: a file is unusable or empty, or the two lie on different grids.
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
    """Return the template, cropped to the brain and at least 5 mm around it.

    The sizes of its grid are the smallest multiples of 16 voxels that hold this. The grid may reach
    beyond that of ``images``, which can end at the brain.

    Args:
        images: the images by modality, on one grid, 0 outside the brain.
        mask: the brain, ``(X, Y, Z)`` bool.
        shown: what messages call each image; by default the template's name and the contrast.
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
    """Return the affine map from points of ``template`` to points of ``scan``, RAS mm.

    ANTs finds its 12 parameters by Mattes mutual information, starting from the centres of mass.
    Where that does not find the anatomy, the search starts again from a map that is found at 4 mm,
    where rotations by 30 degrees are tried as well. Where the scan fits the template better without
    any map, the identity is returned.

    Args:
        scan: the skull-stripped scan on its own grid; its header may tell any orientation.
        modality: the scan's contrast, which is aligned with the template's image of that contrast
            or, where there is none, with its T1w.
        name: what messages call the scan.

    Raises:
        InputError: the scan does not fit the template: its size is wrong, the brains overlap too
            little, or it fits as well upside down.
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
    """Return the affine map from points of ``template`` to points of ``scan``, RAS mm, by way of
    the T1w of the same visit.

    The scan and the T1w show one head, so a rigid map between them is enough.

    Args:
        scan, t1w: the two skull-stripped scans, each on its own grid.
        modality: the scan's contrast, which is compared with the template's image of that contrast
            or, where there is none, with its T1w.
        template_to_t1w: the map of the T1w, from :func:`align_to_template`.
        name: what messages call the scan.

    Raises:
        InputError: the scan does not fit the template; it may show another person.
        RegistrationError: ANTs gave up.
    """
    moving, head = (_canonical(without_outliers(image, image.data > 0)) for image in (scan, t1w))
    rigid = rigid_registration(head, moving, threads, seed)
    found = Affine(rigid.matrix @ template_to_t1w.matrix)
    _Fit.of(moving, template, modality, name).require(found)
    return found


def overlap(template_to_scan: Affine, template: Template, scan: Image) -> float:
    """Return the Dice coefficient of the template's brain and the scan's brain (``scan > 0``), on
    the template's grid.
    """
    points = scan.grid.to_voxel(template_to_scan(template.grid.points_mm()))
    brain = sample((scan.data > 0).astype(np.uint8), points, order=0) > 0
    return float(2 * (brain & template.mask).sum() / (brain.sum() + template.mask.sum()))


# ------------------------------------------------------------------------------------- the template


def _with_cubic_voxels(image: Image, name: str) -> Image:
    """Return ``image``; where its voxels are no cubes, resampled to cubes of their smallest
    side.
    """
    smallest = float(image.grid.spacing.min())
    if np.allclose(image.grid.spacing, smallest, rtol=1e-3):
        return image
    return resample_brain(image, nonzero(image, name), image.grid.resample(smallest))[0]


def _box(data: np.ndarray, corner: np.ndarray, size: np.ndarray) -> np.ndarray:
    """Return ``data`` in the box of ``size`` voxels from ``corner`` on, 0 where it ends before."""
    box = np.zeros(size, dtype=data.dtype)
    low, high = np.maximum(corner, 0), np.minimum(corner + size, data.shape)
    source = tuple(slice(first, last) for first, last in zip(low, high, strict=True))
    shifted = zip(low - corner, high - corner, strict=True)
    box[tuple(slice(first, last) for first, last in shifted)] = data[source]
    return box


# ------------------------------------------------------------------------------------ the alignment


def _canonical(image: Image) -> Image:
    """Return ``image`` with its array axes turned to right, anterior, superior.

    So the result does not depend on how the scan is stored.
    """
    orientation = nib.io_orientation(image.grid.affine)
    affine = image.grid.affine @ nib.orientations.inv_ornt_aff(orientation, image.grid.shape)
    turned = nib.apply_orientation(image.data, orientation)
    return Image(turned, Grid(turned.shape, affine))


@final
@dataclass(frozen=True, eq=False)
class _Fit:
    """Judges, at 4 mm, whether an affine lays the anatomy of a scan on the template's, and not only
    its outline.

    Dice cannot tell, for brains overlap by 0.82 to 0.92 however they are turned. The mutual
    information of images without slow drifts can: at the right place ``NMI - 1`` is at least 1.7
    times what it is after half a turn about an axis (3.6 times in adults); where only the outlines
    met, it is at most 1.2 times.

    Attributes:
        scan: the scan on its own grid, its axes in canonical order.
        name: what messages call the scan.
        fixed, moving: the template and the scan at 4 mm, in [0, 1].
        fixed_detail, moving_detail: the same two without slow drifts of intensity, which a coil
            leaves and which any two brains share.
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
        """Return the judge of the skull-stripped ``scan`` and ``template``.

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
        """Return the best affine that is found at 4 mm, from the centres of mass and, where that
        fails, from several rotations as well.
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
        """Return the rank of ``affine``; the greatest is best.

        Affines under which the two brains overlap rank above others, then those under which the
        details match better. The overlap comes first, because where a newborn's brain covers only a
        third of an adult's, its outline alone raises the match as much as details do.
        """
        return self._overlap(affine) >= _LEAST_DICE, self.match(affine)

    def match(self, affine: Affine) -> float:
        """Return the normalised mutual information under ``affine`` over the template's brain, less
        1: 0 for independent images.
        """
        fixed, warped = self.fixed_detail, warp_image(self.moving_detail, affine, self.fixed.grid)
        return normalised_mutual_information(warped.data, fixed.data, fixed.data > 0) - 1

    def met(self, affine: Affine) -> bool:
        """Return whether :meth:`match` is clearly better under ``affine`` than after the best of
        three half turns.
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
    """Return ``image`` divided by its local mean within the brain (Gaussian, 20 mm), scaled to [0,
    1].
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
    """Yield rotations that bring the centres of mass together."""
    here, there = _centre_of_mass_mm(fixed), _centre_of_mass_mm(moving)
    for degrees in _STARTS_DEGREES:
        matrix = np.eye(4)
        matrix[:3, :3] = Rotation.from_euler("xyz", degrees, degrees=True).as_matrix()
        matrix[:3, 3] = there - matrix[:3, :3] @ here
        yield Affine(matrix)


def _centre_of_mass_mm(image: Image) -> np.ndarray:
    brain = np.argwhere(image.data > 0)
    return image.grid.to_world(np.average(brain, axis=0, weights=image.data[tuple(brain.T)]))
