"""Where something else lies in the place of a file, every reader and every command says so in one
sentence.
"""

import os
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from diffeode.cli import main
from diffeode.datasets.bids import list_scans
from diffeode.datasets.pairs import draw_pairs
from diffeode.descriptors.learned import weights_file
from diffeode.errors import InputError
from diffeode.evaluation.labels import read_label_table
from diffeode.files import io
from diffeode.files.checked_yaml import read_yaml
from diffeode.files.fsl import read_flirt
from diffeode.files.landmarks import read_landmarks
from diffeode.files.points import read_points
from diffeode.files.presence import lies_at, require_file, why_no_file, without_hidden
from diffeode.files.series import read_series
from diffeode.files.tables import read_words
from diffeode.files.transforms import read_transform
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.registration.registry import make_method
from diffeode.weights.checkpoint import read_checkpoint


def _link(path: Path, target: str) -> None:
    path.symlink_to(target)


def _link_to_folder(path: Path) -> None:
    (path.parent / "elsewhere").mkdir()
    path.symlink_to("elsewhere")


PLACES: dict[str, tuple[Callable[[Path], None], str]] = {
    "nothing": (lambda path: None, "There (is|are) no"),
    "a folder": (lambda path: path.mkdir(), "is a folder"),
    "a broken link": (
        lambda path: _link(path, "nowhere"),
        "is a link to nowhere, which is not there",
    ),
    "an annexed file": (
        lambda path: _link(path, "../.git/annex/objects/Xy/key"),
        r"is a link to \S*annex\S*, whose content is not here; fetch it first \(git annex get\)",
    ),
    "a link to itself": (lambda path: _link(path, path.name), "is a link to"),
    "a link to a folder": (_link_to_folder, "is a link to a folder"),
    "a pipe": (os.mkfifo, "is a pipe or a device"),
    "an unlocked annexed file": (
        lambda path: path.write_text("/annex/objects/MD5E-s1--0.nii.gz\n"),
        r"only points to its content, which is not here; fetch it first \(git annex get\)",
    ),
    "a pointer of Git LFS": (
        lambda path: path.write_text("version https://git-lfs.github.com/spec/v1\noid sha256:0\n"),
        r"fetch it first \(git lfs pull\)",
    ),
}
_GRID = Grid((2, 2, 2), np.eye(4))
READERS: dict[str, tuple[str, Callable[[Path], object]]] = {
    "scan": ("scan.nii.gz", io.read_image),
    "label map": ("labels.nii", io.read_labels),
    "displacement": ("warp.nii.gz", io.read_displacement),
    "affine": ("affine.txt", io.read_affine),
    "transform": ("affine.tfm", read_transform),
    "series": ("bold.nii.gz", read_series),
    "points": ("points.csv", read_points),
    "landmarks of Slicer": ("points.mrk.json", read_points),
    "matrix of FLIRT": ("flirt.mat", lambda path: read_flirt(path, _GRID, _GRID)),
    "settings": ("study.yaml", read_yaml),
    "table": ("people.csv", read_words),
    "label table": ("labels.tsv", read_label_table),
    "landmarks": ("landmarks.tsv", read_landmarks),
    "pairs": ("pairs.tsv", lambda path: draw_pairs([], [], path, 0)),
    "weights": ("best.safetensors", lambda path: read_checkpoint(path, "any", 1)),
    "descriptor": ("best.safetensors", lambda path: weights_file(str(path))),
}


@pytest.mark.parametrize("reader", READERS.values(), ids=READERS)
@pytest.mark.parametrize("place", PLACES.values(), ids=PLACES)
def test_every_reader_says_what_lies_there(tmp_path, reader, place):
    (name, read), (lay, said) = reader, place
    folder = tmp_path / "folder"
    folder.mkdir()
    lay(folder / name)
    with pytest.raises(InputError, match=said) as error:
        read(folder / name)
    assert name in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("place", [p for p in PLACES if p != "nothing"])
def test_a_trained_method_says_it_of_its_weights(tmp_path, place):
    lay, said = PLACES[place]
    lay(tmp_path / "best.safetensors")
    lacking = make_method("voxelmorph", {"weights": str(tmp_path / "best.safetensors")}).lacking()
    with pytest.raises(InputError, match=said):
        raise InputError(lacking)


def test_an_empty_name_is_called_so():
    with pytest.raises(InputError, match="name of a file is empty"):
        require_file("")


def test_a_folder_that_must_not_be_entered_is_not_called_missing(monkeypatch, tmp_path):
    def denied(path: Path) -> bool:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "is_file", denied)
    assert (
        why_no_file(tmp_path / "scan.nii.gz")
        == f"{tmp_path}/scan.nii.gz cannot be reached (Permission denied)"
    )


def test_a_file_is_no_reason(tmp_path):
    (tmp_path / "file").write_bytes(b"/annexed")
    (tmp_path / "large").write_bytes(b"/annex/objects/" + bytes(100_000))
    (tmp_path / "link").symlink_to("file")
    assert [why_no_file(tmp_path / name) for name in ("file", "large", "link")] == [None] * 3


def test_a_broken_link_lies_there(tmp_path):
    (tmp_path / "link").symlink_to("nowhere")
    assert lies_at(tmp_path / "link")
    assert not lies_at(tmp_path / "nowhere")


def test_hidden_names_are_left_out():
    paths = [Path("b/x.nii"), Path("._a/x.nii"), Path("b/._x.nii"), Path("b/.x.nii")]
    assert without_hidden(paths) == [Path("._a/x.nii"), Path("b/x.nii")]


@pytest.mark.parametrize("name", ["participants.tsv", "sub-01/anat/sub-01_landmarks.tsv"])
def test_what_goes_with_scans_is_not_ignored_where_its_link_is_broken(tmp_path, name):
    """Otherwise groups or landmarks that were not downloaded would be missing silently."""
    (tmp_path / "sub-01" / "anat").mkdir(parents=True)
    (tmp_path / "sub-01" / "anat" / "sub-01_T1w.nii.gz").touch()
    (tmp_path / name).symlink_to(".git/annex/objects/key")

    def listed_and_read() -> None:
        (scan,) = list_scans("study", tmp_path)
        read_landmarks(scan.landmarks)

    with pytest.raises(InputError, match=r"link to \S*annex"):
        listed_and_read()


@pytest.fixture
def scan(tmp_path) -> Path:
    inside = np.linalg.norm(np.indices((16, 16, 16)) - 7.5, axis=0) < 6
    data = np.where(inside, np.random.default_rng(0).uniform(100, 900, inside.shape), 0)
    io.write_image(tmp_path / "scan.nii.gz", Image(data, Grid(data.shape, np.diag([8.0, 8, 8, 1]))))
    return tmp_path / "scan.nii.gz"


@pytest.mark.parametrize("place", [p for p in PLACES if p != "nothing"])
@pytest.mark.parametrize("side", [0, 1])
def test_a_registration_says_it_of_the_right_scan(tmp_path, scan, capsys, place, side):
    lay, said = PLACES[place]
    lay(tmp_path / "other.nii.gz")
    pair = [str(scan)] * 2
    pair[side] = str(tmp_path / "other.nii.gz")
    assert main(["register", *pair, "-o", str(tmp_path / "out"), "--method", "identity"]) == 2
    with pytest.raises(InputError, match=rf"other.nii.gz .*{said}"):
        raise InputError(capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("side", [0, 1])
def test_a_sheared_scan_is_named(tmp_path, scan, capsys, side):
    image = io.read_image(scan)
    sheared = image.grid.affine.copy()
    sheared[0, 1] = 4.0
    nifti = nib.Nifti1Image(image.data.astype(np.float32), sheared)
    nifti.set_sform(sheared, 1)
    nib.save(nifti, tmp_path / "sheared.nii.gz")
    pair = [str(scan)] * 2
    pair[side] = str(tmp_path / "sheared.nii.gz")
    assert main(["register", *pair, "-o", str(tmp_path / "out"), "--method", "affine"]) == 2
    said = capsys.readouterr().err
    assert "sheared.nii.gz" in said
    assert "perpendicular" in said
    assert "/scan.nii.gz" not in said
