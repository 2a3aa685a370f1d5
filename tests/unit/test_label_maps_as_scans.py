"""A label map in place of a scan is refused wherever nobody says that it is a scan."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from bids_folders import write_visit

from diffeode.desk.training import persons_of_files, train_at_desk
from diffeode.errors import InputError
from diffeode.prepare.recognised import require_scan
from diffeode.registration.base import Machine
from diffeode.registration.runs import Run
from diffeode.study.model import Dataset


def test_a_training_refuses_a_label_map_before_it_prepares_anything(tmp_path):
    """Before, a network was trained on ids."""
    scans, maps = [], []
    for person in ("01", "02", "03", "04"):
        anat = write_visit(tmp_path / "scans", person, suffixes=("T1w", "dseg"))
        scans.append(anat / f"sub-{person}_T1w.nii.gz")
        maps.append(anat / f"sub-{person}_dseg.nii.gz")
    run = Run("mine", "voxelmorph", "Mine", {"steps": 1})
    with pytest.raises(InputError, match=r"sub-01_dseg.nii.gz looks like a label map .* by --are"):
        train_at_desk(run, persons_of_files(maps, scans, [], []), tmp_path / "out", Machine())
    assert not list((tmp_path / "out").rglob("image.nii.gz"))


def test_a_scan_is_taken():
    values = np.random.default_rng(0).uniform(0, 1, (12, 12, 12))
    require_scan(values, "it", "a word")
    with pytest.raises(InputError, match=r"^it looks like .* say that this is one, by a word\.$"):
        require_scan((values > 0.5).astype(np.float32), "it", "a word")


@pytest.mark.parametrize(
    ("kind", "are_scans", "looked_at"),
    [("bids", False, True), ("bids", True, False), ("virtual", False, False)],
)
def test_scans_of_a_dataset_are_looked_at_unless_it_says_what_they_are(kind, are_scans, looked_at):
    about = {"title": "it", "population": "them", "root": Path("it"), "labels": None}
    dataset = Dataset("it", kind=kind, recipe=None, are_scans=are_scans, **about)
    assert dataset.is_looked_at == looked_at
