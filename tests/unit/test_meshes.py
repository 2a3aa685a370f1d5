"""Surfaces in GIFTI files: what is read and moved, and what is refused."""

import nibabel as nib
import numpy as np
import pytest
from nibabel.gifti import GiftiDataArray, GiftiImage
from surfaces import SCANNER, TALAIRACH, TRIANGLES, UNKNOWN, VERTICES, write_surface

from diffeode.cli.main import main
from diffeode.errors import DamagedFileError, InputError
from diffeode.files import io
from diffeode.files.points import read_points
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, densify

GRID = Grid((12, 13, 14), np.array([[-2.0, 0, 0, 10], [0, 2, 0, -10], [0, 0, 2, -9], [0, 0, 0, 1]]))
OF_FREESURFER = {"VolGeomC_R": "2.5", "VolGeomC_A": "-3", "VolGeomC_S": "7"}


def volume(vertices, triangles):
    a, b, c = (vertices[triangles[:, corner]] for corner in range(3))
    return np.einsum("ij,ij->i", a, np.cross(b, c)).sum() / 6


@pytest.fixture
def warp(tmp_path):
    """A map that stretches by 1.5 along y and shifts."""
    affine = Affine(np.array([[1, 0, 0, 1.5], [0, 1.5, 0, -2], [0, 0, 1, 0.5], [0, 0, 0, 1.0]]))
    io.write_displacement(tmp_path / "warp.nii.gz", densify(affine, GRID))
    return tmp_path / "warp.nii.gz"


def test_vertices_go_where_points_go_and_triangles_stay(tmp_path, warp):
    surface = write_surface(tmp_path / "lh.surf.gii")
    out = tmp_path / "moved.surf.gii"
    assert main(["points", str(warp), str(surface), "-o", str(out)]) == 0
    moved = nib.load(out)
    points, triangles = (
        moved.get_arrays_from_intent(kind)[0]
        for kind in ("NIFTI_INTENT_POINTSET", "NIFTI_INTENT_TRIANGLE")
    )
    np.testing.assert_allclose(points.data, VERTICES * [1, 1.5, 1] + [1.5, -2, 0.5], atol=1e-4)
    np.testing.assert_array_equal(triangles.data, TRIANGLES)
    assert volume(points.data, triangles.data) == pytest.approx(
        1.5 * volume(VERTICES, TRIANGLES), rel=1e-4
    )
    assert (points.coordsys.dataspace, points.coordsys.xformspace) == (SCANNER, SCANNER)
    assert points.meta["AnatomicalStructurePrimary"] == "CortexLeft"


def test_vertices_become_a_table_in_the_frame_that_is_asked_for(tmp_path, warp):
    surface = write_surface(tmp_path / "lh.surf.gii")
    out = tmp_path / "moved.csv"
    words = ["points", str(warp), str(surface), "-o", str(out), "--output-frame", "lps"]
    assert main(words) == 0
    moved = read_points(out, "lps")
    expected = (VERTICES * [1, 1.5, 1] + [1.5, -2, 0.5]) * [-1, -1, 1]
    np.testing.assert_allclose(moved.coordinates, expected, atol=1e-4)
    assert moved.names == ("1", "2", "3", "4")


def test_a_surface_that_says_how_it_lies_in_the_scanner_is_brought_there(tmp_path):
    xform = np.array([[0, -1, 0, 4], [1, 0, 0, 5], [0, 0, 1, 6], [0, 0, 0, 1.0]])
    surface = write_surface(
        tmp_path / "lh.gii", spaces=(UNKNOWN, SCANNER), xform=xform, meta=OF_FREESURFER
    )
    x, y, z = VERTICES.T
    found = read_points(surface).coordinates
    np.testing.assert_allclose(found, np.stack([4 - y, 5 + x, 6 + z], axis=1))


def test_a_surface_in_a_known_space_is_read_as_it_is_stored(tmp_path):
    xform = np.diag([2.0, 2, 2, 1])
    surface = write_surface(tmp_path / "lh.gii", spaces=(SCANNER, TALAIRACH), xform=xform)
    np.testing.assert_array_equal(read_points(surface).coordinates, VERTICES)


def test_a_surface_in_a_frame_of_freesurfer_alone_is_refused_unless_the_user_says_ras(tmp_path):
    surface = write_surface(tmp_path / "lh.gii", spaces=(UNKNOWN, TALAIRACH), meta=OF_FREESURFER)
    with pytest.raises(InputError, match="mris_convert --to-scanner"):
        read_points(surface)
    np.testing.assert_array_equal(read_points(surface, "ras").coordinates, VERTICES)
    plain = write_surface(tmp_path / "plain.gii", spaces=(UNKNOWN, UNKNOWN))
    np.testing.assert_array_equal(read_points(plain).coordinates, VERTICES)


@pytest.mark.parametrize("frame", ["lps", "voxel"])
def test_a_surface_has_no_other_frame_than_ras(tmp_path, frame):
    with pytest.raises(InputError, match="RAS mm, not"):
        read_points(write_surface(tmp_path / "lh.gii"), frame)


def test_points_of_no_surface_are_written_as_none(tmp_path, warp, capsys):
    table, out = tmp_path / "points.csv", tmp_path / "moved.gii"
    table.write_text("x,y,z\n1,2,3\n")
    assert main(["points", str(warp), str(table), "-o", str(out)]) == 2
    assert "no vertices" in capsys.readouterr().err
    assert not out.exists()


def test_a_vertex_outside_of_the_map_is_refused_by_its_number(tmp_path, warp, capsys):
    far = VERTICES.copy()
    far[2] = [0, 900, 0]
    surface, out = write_surface(tmp_path / "lh.gii", far), tmp_path / "moved.gii"
    assert main(["points", str(warp), str(surface), "-o", str(out)]) == 2
    said = capsys.readouterr().err
    assert "points 3 at (0.0, 900.0, 0.0)" in said
    assert "--allow-outside" in said
    assert not out.exists()


def spoiled(path):
    array = GiftiDataArray(np.zeros(4, np.float32), "NIFTI_INTENT_SHAPE", "NIFTI_TYPE_FLOAT32")
    nib.save(GiftiImage(darrays=[array]), path)


def truncated(path):
    whole = write_surface(path).read_bytes()
    path.write_bytes(whole[: len(whole) // 2])


def of_another_kind(path):
    path.write_text("x,y,z\n1,2,3\n")


def with_a_corner_that_is_not_there(path):
    write_surface(path, triangles=TRIANGLES + 1)


def with_a_vertex_that_is_nan(path):
    write_surface(path, vertices=np.where(VERTICES == 6, np.nan, VERTICES).astype(np.float32))


@pytest.mark.parametrize(
    ("spoil", "error", "words"),
    [
        (spoiled, InputError, "0 sets of vertices and 0 of triangles"),
        (truncated, DamagedFileError, "cannot be read as a surface"),
        (of_another_kind, DamagedFileError, "cannot be read as a surface"),
        (with_a_corner_that_is_not_there, DamagedFileError, "belong to no surface"),
        (with_a_vertex_that_is_nan, InputError, "NaN or infinite"),
    ],
)
def test_what_is_no_whole_surface_is_refused(tmp_path, spoil, error, words):
    path = tmp_path / "lh.surf.gii"
    spoil(path)
    with pytest.raises(error, match=words):
        read_points(path)
