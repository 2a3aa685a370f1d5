"""The one definition of a person: whom a scan shows, under whatever name a dataset lists it."""

from dataclasses import replace
from pathlib import Path

import pytest

from diffeode.datasets.pairs import PlannedPair, draw_pairs
from diffeode.datasets.person import (
    in_both,
    is_one_person,
    names_of_persons,
    person_of,
    person_of_file,
)
from diffeode.datasets.scan import Scan
from diffeode.datasets.selection import Selection, select
from diffeode.errors import InputError


def scan(
    dataset: str, subject: str, image: Path, root: Path | None = None, modality: str = "T1w"
) -> Scan:
    return Scan(dataset, subject, None, modality, image, None, None, None, root=root)


@pytest.fixture
def bids(tmp_path):
    """A BIDS folder of two persons, and by links: the folder, a person and a scan under other
    names.
    """
    for subject in ("01", "02"):
        (tmp_path / f"mine/sub-{subject}/anat").mkdir(parents=True)
        (tmp_path / f"mine/sub-{subject}/anat/sub-{subject}_T1w.nii.gz").touch()
    (tmp_path / "folder").symlink_to(tmp_path / "mine")
    (tmp_path / "person").mkdir()
    (tmp_path / "person/sub-71").symlink_to(tmp_path / "mine/sub-01")
    (tmp_path / "scan/sub-81/anat").mkdir(parents=True)
    (tmp_path / "scan/sub-81/anat/sub-81_T1w.nii.gz").symlink_to(
        tmp_path / "mine/sub-01/anat/sub-01_T1w.nii.gz"
    )
    return tmp_path


UNDER_ANOTHER_NAME = {
    "folder": ("folder", "01", "folder/sub-01/anat/sub-01_T1w.nii.gz"),
    "person": ("person", "71", "person/sub-71/anat/sub-01_T1w.nii.gz"),
    "scan": ("scan", "81", "scan/sub-81/anat/sub-81_T1w.nii.gz"),
    "the same files at another resolution": ("coarse", "01", "mine/sub-01/anat/sub-01_T1w.nii.gz"),
}


@pytest.mark.parametrize("order", [1, -1])
def test_a_person_has_one_name_in_all_datasets(bids, order):
    """Two scans of different datasets show one person because a third has traces of both."""
    mine, other = (
        scan("mine", n, bids / f"mine/sub-{n}/anat/sub-{n}_T1w.nii.gz") for n in ("01", "02")
    )
    linked = [scan(d, s, bids / path) for d, s, path in UNDER_ANOTHER_NAME.values()]
    again = scan("mine", "01", bids / "nowhere.nii.gz", modality="T2w")
    scans = [mine, other, *linked, again][::order]
    names = names_of_persons(scans)
    assert [name == "mine/02" for name in names] == [one is other for one in scans]
    assert len(set(names)) == 2
    if order == 1:
        assert names[0] == "mine/01"


@pytest.mark.parametrize("way", UNDER_ANOTHER_NAME)
def test_a_person_is_known_again_under_another_name(bids, way):
    dataset, subject, path = UNDER_ANOTHER_NAME[way]
    other = scan(dataset, subject, bids / path)
    mine = {
        name: scan("mine", name, bids / f"mine/sub-{name}/anat/sub-{name}_T1w.nii.gz")
        for name in ("01", "02")
    }
    assert is_one_person(mine["01"], other)
    assert not is_one_person(mine["02"], other)
    with pytest.raises(InputError, match="same person on both sides"):
        PlannedPair(mine["01"], other)
    assert [pair.fixed.subject for pair in draw_pairs(list(mine.values()), [other], "all", 0)] == [
        "02"
    ]
    left = select(
        list(mine.values()), Selection("T1w"), split=None, seed=0, side="moving", apart_from=[other]
    )
    assert [each.subject for each in left] == ["02"]
    assert in_both(map(person_of, mine.values()), [person_of(other)]) == ["mine/01"]
    assert in_both([person_of_file(other.image)], map(person_of, mine.values()))


def test_two_datasets_on_one_flat_folder_show_the_same_persons(tmp_path):
    """IXI and OASIS-3 lie on disk in this way, without a folder for each person."""
    first = scan("ixi", "012", tmp_path / "IXI-T1/IXI012-Guys-T1.nii.gz", tmp_path)
    again = scan("ixi-coarse", "012", tmp_path / "IXI-T2/IXI012-Guys-T2.nii.gz", tmp_path, "T2w")
    (tmp_path / "link").symlink_to(tmp_path)
    linked = scan(
        "linked", "012", tmp_path / "link/IXI-T1/IXI012-Guys-T1.nii.gz", tmp_path / "link"
    )
    assert is_one_person(first, again)
    assert is_one_person(first, linked)
    assert not is_one_person(first, replace(again, subject="013"))
    assert not is_one_person(first, replace(again, root=tmp_path / "elsewhere"))


def test_contrasts_and_visits_of_a_person_are_of_one_person(tmp_path):
    one = scan("mine", "01", tmp_path / "a/01_t1.nii.gz")
    assert is_one_person(
        one, replace(one, modality="T2w", session="02", image=tmp_path / "b/01_t2.nii.gz")
    )


def test_a_file_in_no_person_s_folder_is_refused(tmp_path):
    with pytest.raises(
        InputError, match="lies in no folder sub-<name>, which would tell whom it shows"
    ):
        person_of_file(tmp_path / "IXI012-Guys-T1.nii.gz")


def test_a_folder_above_the_data_is_nobody():
    assert (
        person_of_file(Path("/home/sub-user/data/sub-01/anat/sub-01_T1w.nii.gz")).name
        == "data/sub-01"
    )
