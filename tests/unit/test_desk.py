"""Training by the command line: from scans to weights to a registered pair."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from diffeode.cli import main
from diffeode.desk import preparing, training
from diffeode.errors import InputError
from diffeode.files import io
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.provenance.receipt import require_intact

GRID = Grid((26, 28, 24), np.diag([4.0, 4.0, 4.0, 1.0]))
RUN = """\
method: voxelmorph
title: Brief
parameters: {steps: 2, interval: 1, window: 5}
"""


@pytest.fixture
def scans(tmp_path):
    """Four persons' scans of two contrasts, with unequal texture."""
    radius = np.linalg.norm(
        (GRID.voxels() - (np.array(GRID.shape) - 1) / 2) / (0.35 * np.array(GRID.shape)), axis=-1
    )
    files = {"T1w": [], "T2w": []}
    for person in range(1, 5):
        noise = torch.rand(1, 1, 9, 10, 9, generator=torch.Generator().manual_seed(person))
        values = 0.2 + 0.8 * F.interpolate(noise, GRID.shape, mode="trilinear")[0, 0].numpy()
        for modality, contrast in (("T1w", values), ("T2w", 1.2 - values)):
            path = (
                tmp_path / "bids" / f"sub-0{person}" / "anat" / f"sub-0{person}_{modality}.nii.gz"
            )
            io.write_image(path, Image(np.where(radius < 1, contrast, 0), GRID))
            files[modality].append(path)
    return files


@pytest.fixture
def brief(tmp_path, monkeypatch):
    """A named run of two steps, beside the others."""
    from diffeode.registration import runs

    folder = tmp_path / "runs"
    folder.mkdir()
    (folder / "brief.yaml").write_text(RUN)
    (folder / "identity.yaml").write_text("method: identity\n")
    monkeypatch.setattr(runs, "runs_folder", lambda: folder)
    return "brief"


def test_scans_become_weights_that_register(scans, brief, tmp_path, capfd):
    out = tmp_path / "trained"
    lists = ["--fixed", *map(str, scans["T2w"]), "--moving", *map(str, scans["T1w"])]
    assert (
        main(["train", brief, "-o", str(out), *lists, "--init", "identity", "--threads", "1"]) == 0
    )
    receipt = require_intact(out / "receipt.json")
    assert receipt["pairs"] == 12
    assert receipt["persons"] == [f"desk/000{n}" for n in range(1, 5)]
    assert (out / "curves.png").stat().st_size > 1000
    assert not (out / "pairs").exists()

    registered = tmp_path / "registered"
    pair = [
        str(scans["T2w"][0]),
        str(scans["T1w"][1]),
        "-o",
        str(registered),
        "--method",
        brief,
        "--init",
        "identity",
    ]
    capfd.readouterr()
    assert main(["register", *pair]) == 2
    assert "run 'diffeode train'" in capfd.readouterr().err
    weights = out / "weights.safetensors"
    assert main(["register", *pair, "--weights", str(weights)]) == 0
    assert json.loads((registered / "metrics.json").read_text())["parameters"]["weights"] == str(
        weights
    )


def test_a_dataset_gives_the_persons_who_have_both_scans(scans, tmp_path):
    scans["T1w"][3].unlink()
    persons = training.persons_of_dataset(tmp_path / "bids", "T2w", "T1w", None)
    assert [person.name for person in persons] == ["bids/01", "bids/02", "bids/03"]
    assert {(p.fixed.modality, p.moving.modality) for p in persons} == {("T2w", "T1w")}
    assert [
        p.name for p in training.persons_of_dataset(tmp_path / "bids", "T2w", "T1w", ["02"])
    ] == ["bids/02"]


def test_the_first_visit_of_a_person_is_that_of_the_smallest_number(scans, tmp_path):
    root = tmp_path / "bids"
    for session in ("10", "9"):
        for modality, files in scans.items():
            name = f"sub-05_ses-{session}_{modality}.nii.gz"
            path = root / "sub-05" / f"ses-{session}" / "anat" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.symlink_to(files[0])
    (person,) = training.persons_of_dataset(root, "T2w", "T1w", ["05"])
    assert (person.fixed.session, person.moving.session) == ("9", "9")


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["identity", "--fixed", "a", "--moving", "b"], "needs no training"),
        (["brief", "--fixed", "a", "b", "--moving", "c"], "--moving has 1 files and --fixed has 2"),
        (
            ["brief", "--fixed", "a", "b", "--moving", "c", "d", "--fixed-labels", "e"],
            "--fixed-labels has 1 files",
        ),
        (
            ["brief", "--fixed", "a", "b", "--moving", "c", "d"],
            "at least two more; give 4 persons or more",
        ),
        (["brief", "--bids", "nowhere"], "has no folder"),
        (["brief", "--bids", "x", "--fixed", "a"], "give either --bids or"),
        (["brief", "--bids", "x", "--fixed-labels", "a"], "with --bids, label maps are those"),
        (["brief", "--bids", "x", "--moving-labels", "a"], "with --bids, label maps are those"),
        (
            ["brief", "--fixed", "a", "b", "--moving", "c", "d", "--subjects", "01"],
            "--subjects chooses persons of a BIDS dataset",
        ),
        *(
            (
                ["brief", "--fixed", "a", "b", "--moving", "c", "d", f"--{side}-modality", "FLAIR"],
                "--fixed-modality and --moving-modality choose scans of a BIDS dataset",
            )
            for side in ("fixed", "moving")
        ),
        (
            ["brief", "--fixed", "a", "b", "--moving", "c", "./c"],
            "--moving has one scan for two persons (c and c)",
        ),
    ],
)
@pytest.mark.usefixtures("brief")
def test_what_cannot_be_trained_on_is_said_in_a_sentence(arguments, sentence, tmp_path, capfd):
    assert main(["train", *arguments, "-o", str(tmp_path / "out")]) == 2
    said = capfd.readouterr().err
    assert sentence in said
    assert len(said.strip().splitlines()) == 1


@pytest.mark.usefixtures("brief")
def test_interrupted_training_says_how_to_go_on(tmp_path, capfd, monkeypatch):
    def interrupted(*arguments, are_scans):
        raise KeyboardInterrupt

    monkeypatch.setattr(training, "train_at_desk", interrupted)
    assert (
        main(["train", "brief", "--fixed", "a", "--moving", "b", "-o", str(tmp_path / "out")])
        == 130
    )
    said = capfd.readouterr().err
    assert said == "diffeode: interrupted; the same command goes on from the last checkpoint\n"


@pytest.mark.parametrize("other", ["a.nii", "../here/a.nii", "link.nii"])
def test_a_scan_is_listed_for_one_person(tmp_path, monkeypatch, other):
    """Before, two persons were one, and the network was trained on copies."""
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    Path("a.nii").touch()
    Path("link.nii").symlink_to("a.nii")
    one, two = [Path("a.nii"), Path("b.nii")], [Path("a.nii"), Path(other)]
    for fixed, moving, what in ((two, one, "--fixed"), (one, two, "--moving")):
        with pytest.raises(InputError, match=rf"^{what} has one scan for two persons \(a.nii and"):
            training.persons_of_files(fixed, moving, [], [])
    assert len(training.persons_of_files(one, one, [], [])) == 2


def test_a_label_map_is_given_or_made():
    with pytest.raises(InputError, match=r"^A label map is given .*, and meshnet is to make"):
        preparing.prepare_scan("scan.nii", labels="meshnet", given_labels="labels.nii")


def test_lists_name_persons_by_their_place():
    files = [Path("a.nii"), Path("b.nii")]
    with pytest.raises(InputError):
        training.persons_of_files(files, files[:1], [], [])
    first, second = training.persons_of_files(files, files, [], files)
    assert first.name != second.name
    assert (first.fixed.labels, second.moving.labels) == (None, files[1])
