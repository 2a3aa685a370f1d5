"""Transforms of FSL: the formula, and numbers that fslpy gives on grids of five kinds.

The numbers were computed by fslpy 3.29.1 (``toFlirt`` and ``toFnirt``), which is not installed
here.
"""

import nibabel as nib
import numpy as np
import pytest
from scipy.spatial.transform import Rotation

from diffeode.errors import InputError
from diffeode.files.fsl import (
    DISPLACEMENT_FIELD,
    fnirt_displacements,
    read_flirt,
    to_fsl_mm,
    write_flirt,
    write_fnirt,
)
from diffeode.geometry.space import Grid, apply_matrix
from diffeode.geometry.transform import Affine, densify


def placed(directions, shape, sizes, origin):
    affine = np.eye(4)
    affine[:3, :3] = np.array(directions, float) @ np.diag(sizes)
    affine[:3, 3] = origin
    return Grid(shape, affine)


OBLIQUE = Rotation.from_euler("xyz", [17, -23, 31], degrees=True).as_matrix()
GRIDS = {
    "LAS": placed(np.diag([-1, 1, 1]), (8, 9, 7), (2, 1.5, 3), (7, -8, -9)),
    "RAS": placed(np.eye(3), (8, 9, 7), (2, 1.5, 3), (-7, -8, -9)),
    "PSR": placed([[0, 0, 1], [-1, 0, 0], [0, 1, 0]], (6, 7, 8), (2.5, 2, 1.5), (-5, 6, -6)),
    "oblique": placed(OBLIQUE, (8, 7, 9), (1.5, 2, 2.5), (-4, -6, -8)),
    "oblique, mirrored": placed(OBLIQUE @ np.diag([-1, 1, 1]), (8, 7, 9), (2, 2, 2), (5, -6, -8)),
}
MOVING = GRIDS["PSR"]
TURN = np.eye(4)
TURN[:3, :3] = Rotation.from_euler("xyz", [8, -5, 12], degrees=True).as_matrix() * 1.1
TURN[:3, 3] = 3, -2, 1


@pytest.mark.parametrize("grid", GRIDS.values(), ids=GRIDS)
def test_fsl_measures_from_the_first_voxel_with_a_radiological_first_axis(grid):
    """The index times the voxel size, and the first axis reversed where the determinant is above
    0.
    """
    voxels = np.array([[0, 0, 0], [1, 2, 3], [5, 1, 4.5]], float)
    expected = voxels * grid.spacing
    if np.linalg.det(grid.affine) > 0:
        expected[:, 0] = (grid.shape[0] - 1) * grid.spacing[0] - expected[:, 0]
    found = apply_matrix(to_fsl_mm(grid), grid.to_world(voxels))
    np.testing.assert_allclose(found, expected, atol=1e-9)


@pytest.mark.parametrize("fixed", GRIDS.values(), ids=GRIDS)
def test_a_field_of_fnirt_leads_from_the_fixed_voxel_to_the_moving_one(fixed):
    """``applywarp --rel``: the place in FSL's mm of the reference plus the displacement is the
    place in FSL's mm of the input.
    """
    field = fnirt_displacements(Affine(TURN), fixed, MOVING)
    at = (2, 3, 4)
    here = apply_matrix(to_fsl_mm(fixed), fixed.to_world(np.array(at, float)))
    there = apply_matrix(np.linalg.inv(to_fsl_mm(MOVING)), here + field[at])
    np.testing.assert_allclose(there, Affine(TURN)(fixed.to_world(np.array(at, float))), atol=1e-4)


_SAME = [
    [0.188291386, -0.079232493, -0.885841322, 13.135026943],
    [-0.878278565, 0.12603955, -0.197957254, 15.727609705],
    [0.140069257, 0.896818, -0.050441643, 2.005253085],
    [0, 0, 0, 1],
]
FSLPY = {
    "LAS": (_SAME, [7.544463, 5.509286, -0.12915]),
    "RAS": (_SAME, [2.911459, 4.934058, -6.560358]),
    "PSR": (
        [
            [0.878278565, -0.12603955, 0.197957254, -1.727609705],
            [0.140069257, 0.896818, -0.050441643, -0.994746915],
            [-0.188291386, 0.079232493, 0.885841322, -1.135026943],
            [0, 0, 0, 1],
        ],
        [1.70945, 1.248379, 2.83234],
    ),
    "oblique": (
        [
            [0.51022501, -0.472685982, -0.585392746, 5.283617907],
            [-0.519386575, 0.290477467, -0.687245737, 11.976187652],
            [0.54438431, 0.720164621, -0.107027678, -4.834917069],
            [0, 0, 0, 1],
        ],
        [7.395949, 3.558978, -8.52149],
    ),
    "oblique, mirrored": (
        [
            [0.510225013, -0.472685976, -0.585392745, 1.884857797],
            [-0.519386587, 0.290477484, -0.687245721, 17.290283252],
            [0.544384301, 0.720164614, -0.107027674, -3.307573009],
            [0, 0, 0, 1],
        ],
        [11.849652, -1.324629, -1.573948],
    ),
}
"""By grid: FLIRT's matrix, and the displacement of FNIRT at voxel 2, 3, 4."""


@pytest.mark.parametrize("name", GRIDS)
def test_both_are_those_of_fslpy(name, tmp_path):
    matrix, displacement = FSLPY[name]
    fixed = GRIDS[name]
    write_flirt(tmp_path / "flirt.mat", Affine(TURN), fixed, MOVING)
    np.testing.assert_allclose(np.loadtxt(tmp_path / "flirt.mat"), matrix, atol=1e-6)
    back = read_flirt(tmp_path / "flirt.mat", fixed, MOVING)
    np.testing.assert_allclose(back.matrix, TURN, atol=1e-9)
    write_fnirt(tmp_path / "warp.nii.gz", densify(Affine(TURN), fixed), fixed, MOVING)
    image = nib.load(tmp_path / "warp.nii.gz")
    assert image.shape == (*fixed.shape, 3)
    assert int(image.header["intent_code"]) == DISPLACEMENT_FIELD
    assert [int(image.header[f"{form}_code"]) for form in ("sform", "qform")] == [1, 1]
    assert image.header.get_xyzt_units()[0] == "mm"
    np.testing.assert_allclose(image.affine, fixed.affine, atol=1e-5)
    np.testing.assert_allclose(image.get_fdata()[2, 3, 4], displacement, atol=1e-4)


@pytest.mark.parametrize("text", ["1 2 3", "nothing", "\n".join(["0 0 0 0"] * 4)])
def test_a_matrix_that_is_none_is_refused_in_one_sentence(tmp_path, text):
    (tmp_path / "flirt.mat").write_text(text)
    with pytest.raises(
        InputError, match=r"flirt\.mat does not hold .*[^.]\); give a matrix that FLIRT"
    ):
        read_flirt(tmp_path / "flirt.mat", MOVING, MOVING)
