"""Transforms in the formats of AFNI, FreeSurfer, FSL and X5: the definitions, and what another
reader made of the same map.

The numbers were computed by nitransforms 25.1.0, which is not installed here. It also read the
files that are written here: matrices of AFNI, warps of AFNI and X5 came back to the last bit, and
affines of FreeSurfer to 1e-7, because it reads them in single precision.
"""

import sys
import types

import nibabel as nib
import numpy as np
import pytest
from test_fsl import GRIDS, MOVING, TURN

import diffeode as de
from diffeode.desk.converting import read_in_format, write_in_format
from diffeode.files import afni
from diffeode.files.fsl import read_fnirt, to_fsl_mm, write_fnirt
from diffeode.files.linear import read_linear, read_lta
from diffeode.geometry.space import Grid, apply_matrix
from diffeode.geometry.transform import Affine, DisplacementField

LPS = np.array([-1.0, -1.0, 1.0])
PLUMB = [name for name in GRIDS if not name.startswith("oblique")]
AFFINE = de.Transform.from_matrix(TURN)
OF_NITRANSFORMS = (
    "# 3dvolreg matrices (DICOM-to-DICOM, row-by-row):\n"
    "1.07187\t-0.239528\t0.0610344\t-3\t0.227833\t1.06272\t0.169484\t2\t-0.0958713\t-0.152508\t"
    "1.08515\t1\n"
)
LTA_OF_NITRANSFORMS = """\
# LTA file created by NiTransforms
type      = 1
nxforms   = 1
mean      = 0.0000 0.0000 0.0000
sigma     = 1.0000
1 4 4
8.858413216383443e-01 1.882913855126746e-01 7.923249340696195e-02 -2.360173687296646e+00
-1.979572542797166e-01 8.782785652845747e-01 1.260395502667313e-01 2.224389343141568e+00
-5.044164299269575e-02 -1.400692574947179e-01 8.968179997908223e-01 -1.025631585802171e+00
0.000000000000000e+00 0.000000000000000e+00 0.000000000000000e+00 1.000000000000000e+00
src volume info
valid = 1  # volume info valid
"""


def bent(grid):
    return DisplacementField(np.sin(grid.points_mm() / 9 + [0, 1, 2]), grid)


# --------------------------------------------------------------------------------------------- AFNI


@pytest.mark.parametrize("name", PLUMB)
def test_a_matrix_of_afni_leads_from_base_to_source_in_dicom_mm(name, tmp_path):
    path = tmp_path / "turn.aff12.1D"
    assert write_in_format(path, "afni", AFFINE, GRIDS[name], MOVING) == []
    numbers = np.loadtxt(path).reshape(3, 4)
    point = np.array([4.0, -3.0, 2.0])
    there = numbers[:, :3] @ (point * LPS) + numbers[:, 3]
    np.testing.assert_allclose(there * LPS, Affine(TURN)(point), atol=1e-9)
    theirs = [float(n) for n in OF_NITRANSFORMS.splitlines()[1].split()]
    np.testing.assert_allclose(numbers.ravel(), theirs, rtol=1e-5)
    back = read_in_format(path, "afni", GRIDS[name], MOVING)
    np.testing.assert_allclose(back.matrix, TURN, atol=1e-12)


def test_matrices_that_others_wrote_are_read(tmp_path):
    (tmp_path / "theirs.aff12.1D").write_text(OF_NITRANSFORMS)
    found = afni.read_matrix(tmp_path / "theirs.aff12.1D")
    np.testing.assert_allclose(found.matrix, TURN, atol=1e-5)
    (tmp_path / "theirs.lta").write_text(LTA_OF_NITRANSFORMS)
    found = read_lta(tmp_path / "theirs.lta", GRIDS["LAS"], MOVING)
    np.testing.assert_allclose(found.matrix, TURN, atol=1e-12)


def test_a_warp_of_afni_holds_dicom_mm(tmp_path):
    grid, path = GRIDS["PSR"], tmp_path / "warp.nii.gz"
    whole = de.Transform(bent(grid))
    (note,) = write_in_format(path, "afni", whole)
    assert "--moving" in note
    image = nib.load(path)
    assert image.shape == (*grid.shape, 1, 3)
    np.testing.assert_allclose(image.affine, grid.affine, atol=1e-6)
    np.testing.assert_allclose(
        image.get_fdata()[2, 3, 4, 0], bent(grid).displacement_mm[2, 3, 4] * LPS, atol=1e-6
    )
    image.header["intent_code"] = 0  # 3dQwarp writes none
    image.header.extensions.append(nib.nifti1.Nifti1Extension(4, b"<AFNI_attributes/>"))
    nib.save(image, tmp_path / "theirs.nii.gz")
    back = read_in_format(tmp_path / "theirs.nii.gz", "afni")
    np.testing.assert_array_equal(back.mapping.displacement_mm, bent(grid).displacement_mm)


# --------------------------------------------------------------------------------------- FreeSurfer


@pytest.mark.parametrize("name", GRIDS)
def test_an_lta_leads_from_its_source_to_its_destination(name, tmp_path):
    """``mri_vol2vol --mov MOVING --targ FIXED --lta FILE``: the source is the moving image."""
    path = tmp_path / "turn.lta"
    assert write_in_format(path, "freesurfer", AFFINE, GRIDS[name], MOVING) == []
    lines = path.read_text().splitlines()
    begin = lines.index("1 4 4") + 1
    matrix = np.array([[float(n) for n in line.split()] for line in lines[begin : begin + 4]])
    np.testing.assert_allclose(matrix, np.linalg.inv(TURN), atol=1e-12)
    assert lines[0].startswith("type      = 1")
    for side, grid in (("src", MOVING), ("dst", GRIDS[name])):
        start = lines.index(f"{side} volume info")
        info = dict(line.split("=", 1) for line in lines[start + 1 : start + 9])
        numbers = {
            key.strip(): np.array([float(n) for n in value.split()])
            for key, value in info.items()
            if key.strip() not in ("valid", "filename")
        }
        axes = np.stack([numbers[f"{axis}ras"] for axis in "xyz"], axis=1) * numbers["voxelsize"]
        np.testing.assert_allclose(axes, grid.affine[:3, :3], atol=1e-12)
        first = numbers["cras"] - axes @ (numbers["volume"] / 2)
        np.testing.assert_allclose(first, grid.affine[:3, 3], atol=1e-9)
    back = read_in_format(path, "freesurfer", GRIDS[name], MOVING)
    np.testing.assert_allclose(back.matrix, TURN, atol=1e-12)


def lta_of_voxels(path, fixed, moving):
    """Write ``TURN`` as the LTA that leads from voxels of ``moving`` to voxels of ``fixed``."""
    write_in_format(path, "freesurfer", AFFINE, fixed, moving)
    lines = path.read_text().splitlines()
    begin = lines.index("1 4 4") + 1
    matrix = np.linalg.inv(fixed.affine) @ np.linalg.inv(TURN) @ moving.affine
    lines[begin : begin + 4] = [" ".join(f"{v:.17g}" for v in row) for row in matrix]
    path.write_text("\n".join(["type      = 0", *lines[1:]]) + "\n")


@pytest.mark.parametrize("name", GRIDS)
def test_an_lta_of_voxels_leads_between_the_voxels_of_its_own_images(name, tmp_path):
    """FreeSurfer registers a conformed copy of a scan, whose voxels are not those of the scan."""
    path, given = tmp_path / "turn.lta", Grid((9, 8, 7), np.diag([3.0, 2.0, 4.0, 1.0]))
    lta_of_voxels(path, GRIDS[name], MOVING)
    for fixed, moving in ((GRIDS[name], MOVING), (given, MOVING), (GRIDS[name], given)):
        np.testing.assert_allclose(read_lta(path, fixed, moving).matrix, TURN, atol=1e-9)


@pytest.mark.parametrize("kind", [0, 1])
def test_an_lta_between_images_that_are_exchanged_is_refused(kind, tmp_path):
    path, fixed = tmp_path / "turn.lta", GRIDS["LAS"]
    if kind == 0:
        lta_of_voxels(path, fixed, MOVING)
    else:
        write_in_format(path, "freesurfer", AFFINE, fixed, MOVING)
    with pytest.raises(de.InputError, match=r"turn.lta .*exchange the two images"):
        read_lta(path, MOVING, fixed)


def test_an_lta_of_several_transforms_is_refused(tmp_path):
    path = tmp_path / "turn.lta"
    write_in_format(path, "freesurfer", AFFINE, GRIDS["LAS"], MOVING)
    path.write_text(path.read_text().replace("nxforms   = 1", "nxforms   = 2"))
    with pytest.raises(de.InputError, match="it holds 2 transforms; give an LTA of one"):
        read_lta(path, GRIDS["LAS"], MOVING)


def test_an_xfm_of_mni_is_refused(tmp_path):
    """It holds RAS mm and leads from moving to fixed; ITK would read neither so."""
    path = tmp_path / "talairach.xfm"
    path.write_text(
        "MNI Transform File\n\nTransform_Type = Linear;\nLinear_Transform =\n"
        "1 0 0 10\n0 1 0 20\n0 0 1 30;\n"
    )
    with pytest.raises(de.InputError, match=r"lta_convert --inmni makes of an \.xfm"):
        read_linear(path, GRIDS["LAS"], MOVING)


# ---------------------------------------------------------------------------------------------- FSL


@pytest.mark.parametrize("name", GRIDS)
@pytest.mark.parametrize("absolute", [False, True])
def test_fields_of_fsl_are_read_relative_and_absolute(name, absolute, tmp_path):
    fixed, path = GRIDS[name], tmp_path / "warp.nii.gz"
    whole = de.Transform(Affine(TURN)) @ de.Transform(bent(fixed))
    write_fnirt(path, whole.mapping, fixed, MOVING)
    if absolute:
        image = nib.load(path)
        here = apply_matrix(to_fsl_mm(fixed), fixed.points_mm())
        data = (image.get_fdata() + here).astype(np.float32)
        nib.save(nib.Nifti1Image(data, image.affine, image.header), path)
    found = read_fnirt(path, MOVING)
    points = fixed.points_mm()
    np.testing.assert_allclose(found(points), whole.mapping(points), atol=1e-4)
    back = read_in_format(path, "fsl", fixed, MOVING)
    np.testing.assert_array_equal(back.mapping.displacement_mm, found.displacement_mm)


# ---------------------------------------------------------------------------------- X5 and refusals


def test_x5_is_written_by_nitransforms(tmp_path, monkeypatch):
    written = {}

    class Theirs:
        def __init__(self, content, is_deltas=None):
            self.content = content
            written["is_deltas"] = is_deltas

        def to_x5(self):
            return self.content

    def to_filename(path, nodes):
        written["nodes"] = nodes
        path.write_bytes(b"X5")

    modules = {
        "nitransforms": {},
        "nitransforms.linear": {"Affine": Theirs},
        "nitransforms.nonlinear": {"DenseFieldTransform": Theirs},
        "nitransforms.io": {},
        "nitransforms.io.x5": {"to_filename": to_filename},
    }
    for name, content in modules.items():
        module = types.ModuleType(name)
        module.__dict__.update(content)
        monkeypatch.setitem(sys.modules, name, module)
    write_in_format(tmp_path / "turn.x5", "x5", AFFINE)
    np.testing.assert_array_equal(written["nodes"][0], TURN)
    assert (tmp_path / "turn.x5").read_bytes() == b"X5"
    grid = GRIDS["LAS"]
    write_in_format(tmp_path / "bent.x5", "x5", de.Transform(bent(grid)))
    np.testing.assert_array_equal(written["nodes"][0].get_fdata(), bent(grid).displacement_mm)
    assert written["is_deltas"] is True
    monkeypatch.delattr(Theirs, "to_x5")
    with pytest.raises(de.InputError, match="writes no X5"):
        write_in_format(tmp_path / "none.x5", "x5", AFFINE)
    monkeypatch.setitem(sys.modules, "nitransforms.linear", None)
    with pytest.raises(de.InputError, match="pip install nitransforms"):
        write_in_format(tmp_path / "none.x5", "x5", AFFINE)
    assert not (tmp_path / "none.x5").exists()


def node(**changed):
    """A node of an X5 file as nitransforms reads it, of a field on the oblique grid."""
    grid = GRIDS["oblique"]
    domain = types.SimpleNamespace(
        grid=True, size=grid.shape, mapping=grid.affine, coordinates="cartesian"
    )
    about = {
        **{"type": "nonlinear", "subtype": "densefield", "representation": "displacements"},
        **{"dimension_kinds": ["space"] * 3 + ["vector"], "array_length": 1, "domain": domain},
        "transform": bent(grid).displacement_mm,
    }
    return types.SimpleNamespace(**about | changed)


def matrix_node(**changed):
    about = {"type": "linear", "subtype": "affine", "representation": "matrix", "transform": TURN}
    return node(**about | changed)


@pytest.fixture
def x5(tmp_path, monkeypatch):
    """Return the transform of an X5 file with some nodes, which a stand-in for nitransforms
    reads.
    """

    def read(*nodes):
        def from_filename(path):
            if not nodes:
                raise TypeError("Input file is not HDF5.")
            return list(nodes)

        for name in ("nitransforms", "nitransforms.io", "nitransforms.io.x5"):
            module = types.ModuleType(name)
            module.from_filename = from_filename
            monkeypatch.setitem(sys.modules, name, module)
        (tmp_path / "a.x5").touch()
        return read_in_format(tmp_path / "a.x5", "x5")

    return read


def test_x5_is_read_as_nitransforms_maps_points(x5):
    """Of the files that are written here, nitransforms 25.1 itself made the same points at all
    voxels to 3e-7 mm, on each of GRIDS.
    """
    grid = GRIDS["oblique"]
    points, moved = grid.points_mm(), bent(grid)(grid.points_mm())
    np.testing.assert_allclose(x5(node()).map(points), moved, atol=1e-9)
    positions = node(representation="deformations", transform=moved)
    np.testing.assert_allclose(x5(positions).map(points), moved, atol=1e-9)
    assert x5(node()).grid.matches(grid)
    np.testing.assert_array_equal(x5(matrix_node()).matrix, TURN)
    np.testing.assert_array_equal(x5(matrix_node(domain=None)).matrix, TURN)


@pytest.mark.parametrize(
    ("nodes", "said"),
    [
        ([], "is no readable X5 file"),
        ([node(), matrix_node()], "holds 2 transforms, whose order X5 does not settle"),
        ([node(subtype="bspline")], "of kind nonlinear bspline; only an affine and a dense"),
        ([node(type="composite", subtype=None)], "of kind composite None"),
        ([node(dimension_kinds=["space"] * 2 + ["vector"])], "only an affine and a dense field"),
        ([node(domain=None)], "does not say on which grid"),
        ([node(transform=np.zeros((2, 2, 2, 3)))], "another shape than that grid"),
        ([node(representation="velocities")], "holds a field of velocities"),
        ([node(transform=np.full((8, 7, 9, 3), np.nan))], "no numbers"),
        ([matrix_node(transform=np.stack([TURN] * 3), array_length=3)], "a series of matrices"),
        ([matrix_node(transform=np.zeros((4, 4)))], "no affine that can be inverted"),
    ],
)
def test_x5_that_is_not_understood_is_refused(x5, nodes, said):
    with pytest.raises(de.InputError, match=said):
        x5(*nodes)


def test_without_nitransforms_or_a_file_x5_is_refused(tmp_path, monkeypatch):
    with pytest.raises(de.InputError, match="There is no transform"):
        read_in_format(tmp_path / "a.x5", "x5")
    (tmp_path / "a.x5").touch()
    monkeypatch.setitem(sys.modules, "nitransforms.io.x5", None)
    with pytest.raises(de.InputError, match="pip install nitransforms h5py"):
        read_in_format(tmp_path / "a.x5", "x5")


@pytest.mark.parametrize(
    ("name", "form", "grids", "said"),
    [
        ("x.aff12.1D", "afni", ("oblique", "PSR"), "The fixed scan is oblique"),
        ("x.aff12.1D", "afni", ("PSR", "oblique"), "The moving scan is oblique"),
        ("x.nii.gz", "afni", ("oblique, mirrored", None), "The fixed scan is oblique"),
        ("x.txt", "afni", ("LAS", "PSR"), "end it in .aff12.1D"),
        ("x.lta", "freesurfer", ("LAS", None), "give both scans"),
        ("x.m3z", "freesurfer", ("LAS", "PSR"), "mri_warp_convert"),
        ("x.txt", "x5", (None, None), "end it in .x5"),
        ("x.nii", "spm", (None, None), "There is no format 'spm' to write"),
        ("x.vtk", "itk", (None, None), "is no name for a transform"),
    ],
)
def test_what_a_format_cannot_hold_is_refused(name, form, grids, said, tmp_path):
    fixed, moving = (grid and GRIDS[grid] for grid in grids)
    with pytest.raises(de.InputError, match=said):
        write_in_format(tmp_path / name, form, AFFINE, fixed, moving)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "form"), [("x.aff12.1D", "afni"), ("x.lta", "freesurfer"), ("x.mat", "fsl")]
)
def test_a_map_that_bends_is_no_matrix(name, form, tmp_path):
    whole = de.Transform(bent(GRIDS["LAS"]))
    with pytest.raises(de.InputError, match=r"is no affine; .*\.nii\.gz"):
        write_in_format(tmp_path / name, form, whole, GRIDS["LAS"], MOVING)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("name", "text", "form"),
    [
        ("x.aff12.1D", "1 2 3", "afni"),
        ("x.aff12.1D", OF_NITRANSFORMS * 2, "afni"),
        ("x.aff12.1D", "\n".join(["0 0 0 0"] * 3), "afni"),
        ("x.nii.gz", "", "afni"),
        ("x.nii.gz", "", "fsl"),
    ],
)
def test_files_that_hold_none_are_refused_by_their_names(name, text, form, tmp_path):
    (tmp_path / name).write_text(text)
    with pytest.raises(de.InputError, match=name):
        read_in_format(tmp_path / name, form, GRIDS["LAS"], MOVING)
    with pytest.raises(de.InputError, match="nowhere"):
        read_in_format(tmp_path / f"nowhere{name[1:]}", form, GRIDS["LAS"], MOVING)


def test_parameters_of_afni_are_no_matrix(tmp_path):
    """3dAllineate saves 12 numbers either way; the head tells which."""
    parameters = tmp_path / "x.1D"
    parameters.write_text("# 3dAllineate parameters:\n# x-shift y-shift\n" + "1 " * 12)
    with pytest.raises(de.InputError, match=r"x\.1D holds parameters .* -1Dmatrix_save"):
        read_in_format(parameters, "afni", GRIDS["LAS"], MOVING)


def test_scans_and_coefficients_are_no_fields(tmp_path):
    grid = Grid((6, 5, 4), np.eye(4))
    nib.save(nib.Nifti1Image(np.ones(grid.shape, np.float32), grid.affine), tmp_path / "s.nii.gz")
    for form, program in (("afni", "3dQwarp"), ("fsl", "FSL")):
        with pytest.raises(de.InputError, match=rf"s\.nii\.gz is no .*; give a .* {program} wrote"):
            read_in_format(tmp_path / "s.nii.gz", form, grid, grid)
    write_fnirt(tmp_path / "c.nii.gz", bent(grid), grid, grid)
    image = nib.load(tmp_path / "c.nii.gz")
    image.header["intent_code"] = 2007
    nib.save(image, tmp_path / "c.nii.gz")
    with pytest.raises(de.InputError, match="fnirtfileutils"):
        read_in_format(tmp_path / "c.nii.gz", "fsl", grid, grid)
