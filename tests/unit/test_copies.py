"""Copies of one image under two names in a dataset are found, and as little as possible is read."""

import os
from pathlib import Path

import pytest

from diffeode.datasets import copies
from diffeode.datasets.copies import copies_among
from diffeode.datasets.scan import Scan

ONE = b"a" * 100_000 + b"one" + b"a" * 100_000
OTHER = ONE.replace(b"one", b"two")
LATE = ONE[:-1] + b"b"
"""Equal to ONE in its size and its middle."""


@pytest.fixture
def scan(tmp_path):
    """Write a file, and return it as the scan of a person."""

    def write(person: str, content: bytes, modality="T1w", dataset="heads") -> Scan:
        image = tmp_path / dataset / f"sub-{person}_{modality}.nii"
        image.parent.mkdir(exist_ok=True)
        image.write_bytes(content)
        return Scan(dataset, person, None, modality, image, None, None, None)

    return write


def test_copies_are_named_in_one_sentence_a_group(scan):
    scans = [
        scan("01", ONE),
        scan("02", OTHER),
        scan("03", ONE),
        scan("04", OTHER, "T2w"),
        scan("05", ONE),
        scan("06", LATE),
        scan("07", ONE + b"a"),
    ]
    sentences = copies_among(scans)
    assert [sentence.partition(" are copies")[0] for sentence in sentences] == [
        "The files of sub-01_T1w and sub-03_T1w and sub-05_T1w in dataset heads",
        "The files of sub-02_T1w and sub-04_T2w in dataset heads",
    ]


def test_two_datasets_may_share_an_image(scan):
    assert copies_among([scan("01", ONE), scan("01", ONE, dataset="template")]) == []


def test_files_that_are_not_there_or_empty_are_no_copies(scan, tmp_path):
    folder = scan("01", ONE)
    folder.image.unlink()
    folder.image.mkdir()
    missing = scan("02", ONE)
    missing.image.unlink()
    nowhere = scan("03", ONE)
    nowhere.image.unlink()
    nowhere.image.symlink_to(tmp_path / "nowhere")
    scans = [folder, missing, nowhere, scan("04", ONE), scan("05", b""), scan("06", b"")]
    assert copies_among(scans) == []


def test_a_link_to_the_file_of_another_person_is_a_copy(scan):
    one, other = scan("01", ONE), scan("02", b"")
    other.image.unlink()
    os.link(one.image, other.image)
    assert len(copies_among([one, other])) == 1


def test_only_files_that_are_alike_in_size_and_middle_are_read_whole(scan, monkeypatch):
    read: list[Path] = []

    def noted(path):
        read.append(path)
        return "it"

    monkeypatch.setattr(copies, "sha256", noted)
    scans = [scan("01", ONE), scan("02", OTHER), scan("03", ONE + b"a"), scan("04", LATE)]
    copies_among(scans)
    assert read == [scans[0].image, scans[3].image]
