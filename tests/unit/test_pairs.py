"""Which fixed scan is registered with which moving scan."""

from pathlib import Path

import pytest

from diffeode.datasets.pairs import PlannedPair, draw_pairs, pairs_table
from diffeode.datasets.scan import Scan
from diffeode.errors import InputError


def scans(modality: str, count: int, dataset: str = "study") -> list[Scan]:
    return [
        Scan(dataset, f"{n:02d}", None, modality, Path("image.nii.gz"), None, None, None)
        for n in range(1, count + 1)
    ]


def test_all_pairs_are_of_different_persons():
    pairs = draw_pairs(scans("T2w", 4), scans("T1w", 4), "all", seed=0)
    assert len(pairs) == 12
    assert all(pair.fixed.subject != pair.moving.subject for pair in pairs)
    assert pairs[0].id == "sub-01_T2w__sub-02_T1w"


def test_one_subject_number_in_two_datasets_is_two_persons():
    pairs = draw_pairs(scans("T2w", 2, "here"), scans("T1w", 2, "there"), "all", seed=0)
    assert len(pairs) == 4


def test_a_draw_depends_on_its_seed_and_not_on_the_order_of_scans():
    fixed, moving = scans("T2w", 6), scans("T1w", 6)
    drawn = [pair.id for pair in draw_pairs(fixed, moving, 7, seed=1)]
    assert len(set(drawn)) == 7
    assert drawn == [pair.id for pair in draw_pairs(fixed[::-1], moving[::-1], 7, seed=1)]
    assert drawn != [pair.id for pair in draw_pairs(fixed, moving, 7, seed=2)]


def test_a_smaller_draw_is_part_of_a_larger_one():
    fixed, moving = scans("T2w", 6), scans("T1w", 6)
    few, many = ({p.id for p in draw_pairs(fixed, moving, count, seed=3)} for count in (5, 9))
    assert few < many


def test_table_of_pairs():
    table = pairs_table(
        draw_pairs(scans("T2w", 1, "here"), scans("T1w", 1, "there"), "all", seed=0), seed=3
    )
    assert table.to_dict("records") == [
        {
            "pair": "sub-01_T2w__sub-01_T1w",
            "fixed": "sub-01_T2w",
            "moving": "sub-01_T1w",
            "fixed_dataset": "here",
            "moving_dataset": "there",
            "seed": "3",
        }
    ]


def test_no_pairs_left():
    with pytest.raises(InputError, match="No pairs are left: 1 fixed and 1 moving scans"):
        draw_pairs(scans("T2w", 1), scans("T1w", 1), "all", seed=0)


@pytest.mark.parametrize("count", [0, -1, 13])
def test_more_or_fewer_pairs_than_there_are(count):
    with pytest.raises(
        InputError, match=f"^{count} pairs are asked for, but there are 12 .*ask for 1 to 12"
    ):
        draw_pairs(scans("T2w", 4), scans("T1w", 4), count, seed=0)


def test_pair_of_one_person():
    with pytest.raises(InputError, match=r"same person on both sides .sub-01 of study"):
        PlannedPair(scans("T2w", 1)[0], scans("T1w", 1)[0])


def by_hand(folder: Path, text: str) -> list[PlannedPair]:
    (folder / "pairs.tsv").write_text(text)
    return draw_pairs(scans("T2w", 3), scans("T1w", 3), folder / "pairs.tsv", seed=0)


def test_pairs_by_hand(tmp_path):
    pairs = by_hand(
        tmp_path, "note\tfixed\tmoving\nx\tsub-03_T2w\tsub-01_T1w\ny\tsub-01_T2w\tsub-02_T1w\n"
    )
    assert [pair.id for pair in pairs] == ["sub-01_T2w__sub-02_T1w", "sub-03_T2w__sub-01_T1w"]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("fixed\tmoving\nsub-01_T2w\tsub-01_T1w\n", "same person on both sides"),
        (
            "fixed\tmoving\nsub-01_T2w\tsub-2_T1w\n",
            "'sub-2_T1w', which is no moving scan .*did you mean 'sub-02_T1w'",
        ),
        ("fixed\tmoving\nsub-01_T1w\tsub-02_T1w\n", "'sub-01_T1w', which is no fixed scan"),
        ("fixed\tmoving\nsub-01_T2w\n", r"too few cells in line 2 \(1 for 2 columns\)"),
        (
            "fixed\tmoving\n" + 2 * "sub-01_T2w\tsub-02_T1w\n",
            "lists pair sub-01_T2w__sub-02_T1w twice",
        ),
        ("fixed\tmoving\n", "No pairs are left: .*pairs.tsv has no rows"),
        ("fixed\nsub-01_T2w\n", "has no column 'moving'"),
        ("", "is not a table"),
    ],
)
def test_unusable_table_by_hand(tmp_path, text, message):
    with pytest.raises(InputError, match=message):
        by_hand(tmp_path, text)


def test_missing_table(tmp_path):
    with pytest.raises(InputError, match=r"There is no table of pairs .*absent.tsv"):
        draw_pairs(scans("T2w", 2), scans("T1w", 2), tmp_path / "absent.tsv", seed=0)


def test_pairs_of_one_person():
    pairs = draw_pairs(scans("T2w", 3), scans("T1w", 3), "all", seed=0, of_one_person=True)
    assert [pair.id for pair in pairs] == [f"sub-0{n}_T2w__sub-0{n}_T1w" for n in (1, 2, 3)]
    few = draw_pairs(scans("T2w", 3), scans("T1w", 3), 2, seed=0, of_one_person=True)
    assert len(few) == 2
    with pytest.raises(InputError, match="4 pairs are asked for, but there are 3 of one person"):
        draw_pairs(scans("T2w", 3), scans("T1w", 3), 4, seed=0, of_one_person=True)


def test_a_scan_is_no_pair_with_itself():
    with pytest.raises(InputError, match=r"No pairs are left: .* none of one person"):
        draw_pairs(scans("T1w", 3), scans("T1w", 3), "all", seed=0, of_one_person=True)
    with pytest.raises(InputError, match="one scan on both sides"):
        PlannedPair(scans("T1w", 1)[0], scans("T1w", 1)[0], of_one_person=True)


def test_two_persons_where_one_is_asked_for():
    with pytest.raises(InputError, match="two persons, and the pairs are to be of one person"):
        PlannedPair(scans("T2w", 2)[0], scans("T1w", 2)[1], of_one_person=True)
