"""Our files mean the same to ANTs and to SimpleITK as to us, on a part of a real scan at its native
resolution.

The map is a smooth deformation of up to 6 mm followed by a far from trivial affine, on the scan's
own axes (LAS, a newborn) and on oblique ones with anisotropic voxels.
"""

from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
from scipy import ndimage
from scipy.spatial.transform import Rotation

from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import (
    Affine,
    DisplacementField,
    densify,
    invert,
    warp_image,
    warp_labels,
)
from diffeode.programs.ants_bridge import load_ants

SAME_LABELS = 0.999
SAME_INTENSITY = 1e-3
INNER = (slice(24, 96), slice(44, 124), slice(15, 85))
"""The part of the scan that is resampled, voxels; the origin lies in its middle."""
AFFINE = Affine(
    np.array(
        [[1.06, 0.08, -0.03, 4.0], [-0.05, 0.93, 0.06, -6.5], [0.02, -0.04, 1.1, 3.0], [0, 0, 0, 1]]
    )
)


@dataclass(frozen=True)
class Files:
    """The files on disk, and the same scan, labels and maps as our objects."""

    folder: Path
    image: Image
    labels: Labels
    fixed_grid: Grid
    warp: DisplacementField
    inverse_warp: DisplacementField

    def ours(self, which):
        transform, grid = self.map_and_grid(which)
        return warp_image(self.image, transform, grid).data, warp_labels(
            self.labels, transform, grid
        ).data

    def map_and_grid(self, which):
        return {
            "warp": (self.warp, self.fixed_grid),
            "inverse_warp": (self.inverse_warp, self.image.grid),
        }[which]

    def path(self, name):
        return str(self.folder / f"{name}.nii.gz")


def las(grid: Grid) -> Grid:
    assert np.sign(np.diag(grid.affine)[:3]).tolist() == [-1, 1, 1]
    return grid


def oblique(grid: Grid) -> Grid:
    """The same array turned by three angles, its voxels stretched by different factors."""
    turned = np.eye(4)
    turned[:3, :3] = Rotation.from_euler("xyz", [17, -23, 31], degrees=True).as_matrix()
    return Grid(grid.shape, turned @ grid.affine @ np.diag([1.3, 0.9, 1.1, 1]))


def smooth_map(grid: Grid, size_mm: float) -> DisplacementField:
    noise = np.random.default_rng(5).normal(size=(3, *(n // 4 + 1 for n in grid.shape)))
    coarse = ndimage.gaussian_filter(noise, (0, 3, 3, 3))
    zoomed = [ndimage.zoom(c, np.array(grid.shape) / c.shape, order=1) for c in coarse]
    field = np.stack(zoomed, axis=-1)
    return DisplacementField(field * (size_mm / np.linalg.norm(field, axis=-1).max()), grid)


@pytest.fixture(scope="module", params=[las, oblique])
def files(request, data_root, tmp_path_factory) -> Files:
    anat = data_root / "albert" / "sub-01" / "anat"
    scan, dseg = (
        io.read_image(anat / "sub-01_T1w.nii.gz").cropped(INNER),
        io.read_labels(anat / "sub-01_dseg.nii.gz").data[INNER],
    )
    grid = request.param(scan.grid)
    image, labels = Image(scan.data, grid), Labels(dseg, grid)
    fixed_grid = grid.crop(np.array([3, 5, 7]), np.array(grid.shape) - [2, 0, 4])
    warp = densify(smooth_map(fixed_grid, 6.0).then(AFFINE), fixed_grid)
    inverse = invert(warp, grid, iterations=8)
    folder = tmp_path_factory.mktemp(request.param.__name__)
    io.write_image(folder / "image.nii.gz", image)
    io.write_labels(folder / "labels.nii.gz", labels)
    io.write_image(folder / "fixed.nii.gz", Image(fixed_grid.voxels()[..., 0], fixed_grid))
    io.write_displacement(folder / "warp.nii.gz", warp)
    io.write_displacement(folder / "inverse_warp.nii.gz", inverse)
    return Files(folder, image, labels, fixed_grid, warp, inverse)


def by_ants(files: Files, which: str):
    """Image and labels resampled by ``antsApplyTransforms`` itself, from the files."""
    ants = load_ants(threads=1)
    reference = ants.image_read(files.path("fixed" if which == "warp" else "image"))
    image, labels = ants.image_read(files.path("image")), ants.image_read(files.path("labels"))
    warp = [files.path(which)]
    return (
        ants.apply_transforms(reference, image, warp, interpolator="linear").numpy(),
        ants.apply_transforms(reference, labels, warp, interpolator="nearestNeighbor").numpy(),
    )


def by_simpleitk(files: Files, which: str):
    """The same by SimpleITK's ``DisplacementFieldTransform``."""
    reference = sitk.ReadImage(files.path("fixed" if which == "warp" else "image"))
    warp = sitk.DisplacementFieldTransform(
        sitk.ReadImage(files.path(which), sitk.sitkVectorFloat64)
    )
    image, labels = sitk.ReadImage(files.path("image")), sitk.ReadImage(files.path("labels"))
    resampled = (
        sitk.Resample(image, reference, warp, sitk.sitkLinear, 0.0),
        sitk.Resample(labels, reference, warp, sitk.sitkNearestNeighbor, 0),
    )
    return tuple(sitk.GetArrayFromImage(r).transpose(2, 1, 0) for r in resampled)


@pytest.mark.parametrize("which", ["warp", "inverse_warp"])
@pytest.mark.parametrize("tool", [by_ants, by_simpleitk])
def test_other_tools_resample_as_we_do(files, tool, which):
    their_image, their_labels = tool(files, which)
    our_image, our_labels = ours(files, which)
    assert (our_labels > 0).mean() > 0.1
    assert (our_labels == their_labels).mean() >= SAME_LABELS
    brain = our_labels > 0
    assert (our_labels == their_labels)[brain].mean() >= SAME_LABELS
    transform, grid = files.map_and_grid(which)
    inside = points_inside(files.image.grid, transform(grid.points_mm()))
    assert inside.mean() > 0.5
    difference = np.abs(our_image - their_image) / np.ptp(files.image.data)
    assert difference[inside].max() < SAME_INTENSITY


@cache
def ours(files, which):
    return files.ours(which)


def points_inside(grid, points_mm):
    voxels = grid.to_voxel(points_mm)
    return np.logical_and(voxels >= 0, voxels <= np.array(grid.shape) - 1).all(axis=-1)


def test_the_map_is_not_a_trivial_one(files):
    """The labels move far enough for the comparison to notice a flipped axis or a transposed
    matrix.
    """
    unmoved = warp_labels(files.labels, Affine(), files.fixed_grid).data
    _, moved = ours(files, "warp")
    assert (unmoved == moved).mean() < 0.9


def test_displacement_read_back_is_the_field_written(files):
    for which in ("warp", "inverse_warp"):
        field, _ = files.map_and_grid(which)
        back = io.read_displacement(files.path(which))
        np.testing.assert_array_equal(back.displacement_mm, field.displacement_mm)
        assert back.grid.matches(field.grid, 1e-4)


def test_inverse_warp_undoes_the_warp(files):
    points = files.fixed_grid.points_mm()[ours(files, "warp")[1] > 0]
    error = np.linalg.norm(files.inverse_warp(files.warp(points)) - points, axis=-1)
    assert error.mean() < 0.02
    assert np.quantile(error, 0.99) < 0.1


@pytest.mark.parametrize("tool", ["ants", "simpleitk"])
def test_affine_file_sends_points_where_ours_does(tmp_path, tool):
    path = str(tmp_path / "affine.txt")
    io.write_itk_affine(path, AFFINE)
    points = np.random.default_rng(0).uniform(-60, 60, (20, 3))
    transform = load_ants(1).read_transform(path) if tool == "ants" else sitk.ReadTransform(path)
    apply = transform.apply_to_point if tool == "ants" else transform.TransformPoint
    lps = np.array([-1.0, -1.0, 1.0])
    theirs = np.array([apply(tuple(p * lps)) for p in points]) * lps
    np.testing.assert_allclose(theirs, AFFINE(points), atol=1e-4)


def test_ants_own_warp_file_means_to_us_what_it_means_to_ants(files, tmp_path):
    """This field was written by ANTs, so a change of sign in both our writer and our reader would
    show here.
    """
    ants = load_ants(threads=1)
    reference = ants.image_read(files.path("fixed"))
    vectors = np.zeros((*reference.shape, 3), np.float32)
    vectors[..., :] = (3.0, -5.0, 8.0)
    written = ants.from_numpy(
        vectors, reference.origin, reference.spacing, reference.direction, has_components=True
    )
    ants.image_write(written, str(tmp_path / "theirs.nii.gz"))
    warp = io.read_displacement(tmp_path / "theirs.nii.gz")
    np.testing.assert_allclose(warp.displacement_mm[4, 5, 6], (-3.0, 5.0, 8.0))
    theirs = ants.apply_transforms(
        reference,
        ants.image_read(files.path("labels")),
        [str(tmp_path / "theirs.nii.gz")],
        interpolator="nearestNeighbor",
    ).numpy()
    assert (warp_labels(files.labels, warp, files.fixed_grid).data == theirs).mean() >= SAME_LABELS
