"""Which scans stand on a side: named, split or drawn; and who stays when other persons come and
go.
"""

import hashlib
from collections import Counter
from pathlib import Path

import pytest
from hypothesis import given, reject, settings
from hypothesis import strategies as st

from diffeode.datasets.exclusions import read_exclusions
from diffeode.datasets.pairs import draw_pairs, pairs_drawn_before, pairs_table
from diffeode.datasets.scan import Scan
from diffeode.datasets.selection import (
    Draw,
    Selection,
    Split,
    person_named,
    select,
    without_excluded,
)
from diffeode.errors import InputError

GROUPS = (
    "healthy",
    "suspected dementia",
    "mild cognitive impairment",
    "dementia",
    "severe dementia",
)


def scan(
    subject: str, modality: str = "T1w", session: str | None = None, group: str | None = None
) -> Scan:
    return Scan("study", subject, session, modality, Path("image.nii.gz"), None, None, group)


def persons(count: int, modality: str = "T1w") -> list[Scan]:
    """Return persons; person n has group n modulo 5."""
    return [scan(f"{n:03d}", modality, group=GROUPS[n % 5]) for n in range(1, count + 1)]


def chosen(
    scans, *, split=None, seed=0, side="fixed", kept=(), apart_from=(), modality="T1w", **selection
):
    return select(
        scans,
        Selection(modality, **selection),
        split=split,
        seed=seed,
        side=side,
        kept=kept,
        apart_from=apart_from,
    )


def subjects(scans) -> set[str]:
    return {scan.subject for scan in scans}


# ------------------------------------------------------------------------------------------ drawing


def test_a_draw_is_of_persons_and_does_not_depend_on_their_order():
    everybody = [scan(f"{n:03d}", session=s) for n in range(40) for s in ("a", "b")]
    drawn = chosen(everybody, draw=Draw(7))
    assert drawn == chosen(everybody[::-1], draw=Draw(7))
    assert len(subjects(drawn)) == 7
    assert Counter(s.session for s in drawn) == {"a": 7, "b": 7}
    assert subjects(drawn) != subjects(chosen(everybody, draw=Draw(7), seed=1))
    assert subjects(drawn) != subjects(chosen(everybody, draw=Draw(7), side="moving"))


def test_a_draw_is_the_same_on_every_machine():
    by_hash = sorted(
        subjects(persons(100)), key=lambda s: hashlib.sha256(f"2512 fixed {s}".encode()).digest()
    )
    assert subjects(chosen(persons(100), draw=Draw(5), seed=2512)) == set(by_hash[:5])


def test_by_name_the_first_are_drawn_and_numbers_count_by_value():
    everybody = [scan(name) for name in ("HC10", "HC9", "HC1", "BP2")]
    assert subjects(chosen(everybody, draw=Draw(3, order="name"))) == {"BP2", "HC1", "HC9"}


def test_strata_have_as_many_as_asked():
    drawn = chosen(persons(100), draw=Draw(per_group=3))
    assert Counter(s.group for s in drawn) == dict.fromkeys(GROUPS, 3)
    drawn = chosen(persons(100), groups=("healthy", "dementia"), draw=Draw(per_group=2))
    assert Counter(s.group for s in drawn) == {"healthy": 2, "dementia": 2}


def test_a_person_is_drawn_for_one_group_only():
    getting_worse = [scan(f"{n}", session=g[:2], group=g) for n in range(5) for g in GROUPS]
    drawn = chosen(getting_worse, groups=GROUPS, draw=Draw(per_group=1))
    assert len(subjects(drawn)) == 5
    assert {s.group for s in drawn} == set(GROUPS)


def test_an_empty_group_says_which_and_how_many_were_found():
    everybody = [*(s for s in persons(10) if s.group != "severe dementia"), scan("x")]
    sentence = (
        "in group 'severe dementia' to draw 1.*found dementia 2, healthy 2, mild cognitive "
        "impairment 2, no group 1, suspected dementia 2;"
    )
    with pytest.raises(InputError, match=sentence):
        chosen(everybody, groups=GROUPS, draw=Draw(per_group=1))


def test_a_draw_from_nobody_who_has_a_group():
    with pytest.raises(InputError, match="no scan says its group"):
        chosen([scan("a"), scan("b")], draw=Draw(per_group=1))


def test_more_persons_than_there_are():
    with pytest.raises(
        InputError, match="6 persons are to be drawn from dataset study, but 5 are left"
    ):
        chosen(persons(5), draw=Draw(6))


@pytest.mark.parametrize("numbers", [{}, {"persons": 1, "per_group": 1}])
def test_a_draw_has_one_number(numbers):
    with pytest.raises(InputError, match="give one of the two"):
        Draw(**numbers)


@pytest.mark.parametrize(("which", "expected"), [("first", "d9"), ("last", "d1200"), ("all", None)])
def test_sessions_of_a_person(which, expected):
    visits = [scan("a", session=s, group="healthy") for s in ("d1200", "d9", "d250")]
    found = [s.session for s in chosen(visits, sessions=which)]
    assert found == [expected] if expected else sorted(found) == ["d1200", "d250", "d9"]


def test_the_first_session_in_a_group():
    visits = [scan("a", session="d1", group="healthy"), scan("a", session="d2", group="dementia")]
    assert [s.session for s in chosen(visits, groups=("dementia",), sessions="first")] == ["d2"]


# ---------------------------------------------------------------------------------- who is left out


def test_unknown_subject_group_and_modality_are_named():
    for selection, sentence in [
        ({"subjects": ("001", "0002")}, "subject '0002'; did you mean '002'"),
        ({"groups": ("demented",)}, "group 'demented'; did you mean 'dementia'"),
        ({"modality": "T2w"}, "modality 'T2w'; did you mean 'T1w'"),
    ]:
        with pytest.raises(InputError, match=sentence):
            chosen(persons(10), **selection)


def test_the_sides_of_a_disjoint_experiment_share_nobody():
    fixed = chosen(persons(12), draw=Draw(5))
    moving = chosen(persons(12), side="moving", draw=Draw(7), apart_from=fixed)
    assert subjects(fixed) | subjects(moving) == subjects(persons(12))
    with pytest.raises(InputError, match=r"8 persons .* but 7 are left"):
        chosen(persons(12), side="moving", draw=Draw(8), apart_from=fixed)
    with pytest.raises(InputError, match=r"Subjects 001 are named on both .* on one side only"):
        chosen(persons(12), side="moving", subjects=("001", "002"), apart_from=[scan("001")])


def test_exclusions_name_persons_visits_or_scans(tmp_path):
    table = tmp_path / "bad.tsv"
    table.write_text(
        "# made up\nscan\treason\nsub-001\tmoved\n002_ses-b\tcut off\nsub-003_ses-a_T2w\tghost\n"
    )
    everything = [
        scan(p, m, v) for p in ("001", "002", "003") for v in ("a", "b") for m in ("T1w", "T2w")
    ]
    left = {s.id for s in without_excluded(everything, read_exclusions(table))}
    assert {s.id for s in everything} - left == {
        *("sub-001_ses-a_T1w", "sub-001_ses-a_T2w", "sub-001_ses-b_T1w", "sub-001_ses-b_T2w"),
        *("sub-002_ses-b_T1w", "sub-002_ses-b_T2w", "sub-003_ses-a_T2w"),
    }


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("scan\n001\n", "has no column 'reason'"),
        ("scan\treason\n001\tmoved\n002\t\n", "has '' in line 3, column 'reason'; give a name"),
        ("", "is not a table"),
    ],
)
def test_an_unusable_list_of_exclusions(tmp_path, text, sentence):
    (tmp_path / "bad.tsv").write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_exclusions(tmp_path / "bad.tsv")
    with pytest.raises(InputError, match=r"no list of excluded scans .*absent\.tsv"):
        read_exclusions(tmp_path / "absent.tsv")


def test_no_exclusions(tmp_path):
    (tmp_path / "none.tsv").write_text("# nothing yet\nscan\treason\n")
    assert without_excluded(persons(3), read_exclusions(tmp_path / "none.tsv")) == persons(3)


# -------------------------------------------------------------------------------- training and test

HALF = Split(0.5, seed=3, always_test=frozenset({"001", "002", "003", "004"}))


def test_a_split_parts_persons_and_keeps_named_ones_to_test():
    parts = {
        part: subjects(chosen(persons(400), split=HALF, part=part)) for part in ("train", "test")
    }
    assert not parts["train"] & parts["test"]
    assert parts["train"] | parts["test"] == subjects(persons(400))
    assert HALF.always_test <= parts["test"]
    assert 160 < len(parts["train"]) < 240
    assert parts["train"] != subjects(chosen(persons(400), split=Split(0.5, seed=4), part="train"))


@pytest.mark.parametrize(("fraction", "part"), [(0.0, "train"), (1.0, "test")])
def test_a_split_into_one_part(fraction, part):
    assert chosen(persons(50), split=Split(fraction, 0), part=part) == persons(50)


def test_a_part_of_a_dataset_without_a_split():
    with pytest.raises(InputError, match="the test persons of dataset study, which has no split"):
        chosen(persons(5), part="test")


def test_a_person_named_for_the_other_part():
    training = next(s.subject for s in persons(50) if HALF.part(s) == "train")
    with pytest.raises(
        InputError, match=f"Subjects {training} of dataset study are named as test persons"
    ):
        chosen(persons(50), split=HALF, part="test", subjects=(training, "001"))


# ---------------------------------------------------------------------------------------- who stays

names = st.sets(st.integers(0, 400), min_size=12, max_size=40)


def as_scans(numbers, modality):
    return [scan(f"{n:03d}", modality, group=GROUPS[n % 2]) for n in sorted(numbers)]


def planned(numbers, how, seed, kept=frozenset()):
    """Pairs of four drawn fixed and five other drawn moving persons, as an experiment draws
    them.
    """
    fixed = select(
        as_scans(numbers, "T2w"),
        Selection("T2w", draw=Draw(4)),
        split=None,
        seed=seed,
        side="fixed",
        kept={pair[0] for pair in kept},
        spared={person_named(pair[1]) for pair in kept},
    )
    moving = select(
        as_scans(numbers, "T1w"),
        Selection("T1w", draw=Draw(5)),
        split=None,
        seed=seed,
        side="moving",
        kept={pair[1] for pair in kept},
        apart_from=fixed,
    )
    return {pair.key for pair in draw_pairs(fixed, moving, how, seed, kept)}


@settings(deadline=None, max_examples=50)
@given(names, st.sets(st.integers(0, 400)), st.sampled_from(["all", 7]), st.integers(0, 9))
def test_whoever_comes_later_displaces_no_pair(there, coming, how, seed):
    before = planned(there, how, seed)
    assert planned(there | coming, how, seed, kept=before) == before


@settings(deadline=None, max_examples=50)
@given(names, st.data(), st.integers(0, 9))
def test_whoever_leaves_takes_their_own_pairs_along_and_no_others(there, data, seed):
    before = planned(there, 7, seed)
    leaving = data.draw(st.sampled_from(sorted(there)))
    with_them = {pair for pair in before if ("study", f"{leaving:03d}") in map(person_named, pair)}
    after = planned(there - {leaving}, 7, seed, kept=before)
    assert len(after) == 7
    assert before - with_them <= after


@settings(deadline=None, max_examples=30)
@given(names, st.integers(0, 9))
def test_a_draw_from_nothing_depends_on_who_is_there_alone(there, seed):
    assert planned(sorted(there), 7, seed) == planned(sorted(there, reverse=True), 7, seed)
    assert planned(there, 7, seed, kept=planned(there, 7, seed)) == planned(there, 7, seed)


def visits(persons, least=0):
    """Lists of a person's number, a day and the group of that day."""
    return st.lists(
        st.tuples(persons, st.integers(1, 3), st.sampled_from(GROUPS[:3])), min_size=least
    )


@settings(deadline=None, max_examples=50)
@given(visits(st.integers(0, 30), 1), visits(st.integers(31, 60)), st.integers(0, 9))
def test_drawing_again_by_group_draws_the_same(before, later, seed):
    """Jobs on a cluster read a study again after its pairs were written, and must find the same
    ones.

    A person who came in the meantime is not drawn for a group that is complete.
    """

    def drawn(there, kept=()):
        scans = {(n, day): scan(f"{n}", session=f"{day}", group=group) for n, day, group in there}
        selection = Selection("T1w", sessions="first", draw=Draw(per_group=1))
        return select([*scans.values()], selection, split=None, seed=seed, side="fixed", kept=kept)

    try:
        first = drawn(before)
    except InputError as error:
        if "not counting those drawn for groups before it" not in str(error):
            raise
        reject()
    kept = [s.key for s in first]
    assert drawn(before, kept) == first
    known = {s.group for s in first}
    assert drawn([*before, *(visit for visit in later if visit[2] in known)], kept) == first


@settings(deadline=None, max_examples=30)
@given(names, st.integers(0, 400))
def test_nobody_changes_side_when_others_come(there, other):
    split = Split(0.3, seed=1)
    parts = {s.subject: split.part(s) for s in as_scans(there, "T1w")}
    with_other = as_scans(there | {other}, "T1w")
    for part in ("train", "test"):
        if part in parts.values():
            now = subjects(chosen(with_other, split=split, part=part))
            assert {s for s, p in parts.items() if p == part} <= now


def test_what_was_written_down_is_read_again(tmp_path):
    pairs = draw_pairs(persons(5, "T2w"), persons(5), 6, seed=3)
    table = tmp_path / "pairs.tsv"
    pairs_table(pairs, 3).to_csv(table, sep="\t", index=False)
    assert pairs_drawn_before(table, 3) == {pair.key for pair in pairs}
    assert pairs_drawn_before(table, 4) == frozenset()
    table.write_bytes(table.read_bytes()[:-20])
    assert len(pairs_drawn_before(table, 3)) == 5
    for unreadable in ("", "fixed\tmoving\nsub-001_T2w\tsub-002_T1w\n", "\0\1"):
        table.write_text(unreadable)
        assert pairs_drawn_before(table, 3) == frozenset()
    assert pairs_drawn_before(tmp_path / "absent.tsv", 3) == frozenset()
