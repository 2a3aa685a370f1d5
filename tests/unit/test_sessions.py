"""Which sessions of a person are taken."""

import itertools
import random
import shutil
from pathlib import Path

import pandas as pd
import pytest
import yaml
from trees import OASIS3_FIXED, write_oasis3

from diffeode.datasets.scan import Scan
from diffeode.datasets.sessions import ACROSS_GROUPS, of_sessions
from diffeode.study.files import load_study

REPOSITORY = Path(__file__).resolve().parents[2]


def scan(subject, session, group):
    image = Path(f"/{subject}/{session}")
    return Scan("set", subject, session, "T2w", image, None, None, group)


def taken(*scans):
    return {s.subject: (s.session, s.group) for s in of_sessions(scans, ACROSS_GROUPS)}


def test_a_person_gives_way_to_another_who_was_never_in_another_group():
    scans = [
        scan("a", "d1", "healthy"),
        scan("a", "d2", "dementia"),
        scan("b", "d1", "healthy"),
    ]
    assert taken(*scans) == {"a": ("d2", "dementia"), "b": ("d1", "healthy")}


def test_the_earlier_sessions_are_taken_where_there_is_a_choice():
    scans = [scan(p, f"d{day}", g) for p in "ab" for day, g in ((9, "healthy"), (10, "dementia"))]
    found = taken(*scans)
    assert sorted(found.values()) == [("d10", "dementia"), ("d9", "healthy")]
    alone = [scan("a", "d10", "healthy"), scan("a", "d9", "healthy"), scan("a", "d11", None)]
    assert taken(*alone) == {"a": ("d9", "healthy")}


def test_who_adds_no_group_has_the_first_session():
    scans = [scan("a", "d1", "healthy"), scan("b", "d1", None), scan("b", "d2", "healthy")]
    assert taken(*scans) == {"a": ("d1", "healthy"), "b": ("d1", None)}
    nameless = [scan("a", "d2", None), scan("a", "d1", None)]
    assert taken(*nameless) == {"a": ("d1", None)}


@pytest.mark.parametrize("seed", range(20))
def test_no_other_choice_of_sessions_is_in_more_groups(seed):
    """Every choice of one session a person is tried."""
    draw = random.Random(seed)
    scans = [
        scan(person, f"d{day}", draw.choice(["healthy", "mild", "severe", None]))
        for person in "abcd"
        for day in range(draw.randint(1, 3))
    ]
    draw.shuffle(scans)
    choices = itertools.product(*([s for s in scans if s.subject == p] for p in "abcd"))
    most = max(len({s.group for s in choice} - {None}) for choice in choices)
    found = taken(*scans)
    assert sorted(found) == list("abcd")
    assert len({group for _, group in found.values()} - {None}) == most
    assert found == taken(*reversed(scans))


@pytest.fixture
def study(tmp_path, monkeypatch):
    """Reads a study whose fixed persons are the paper's, on made-up OASIS-3 in ``tmp_path``."""
    write_oasis3(tmp_path / "oasis3", 30, seed=2)
    monkeypatch.setenv("OASIS3", str(tmp_path / "oasis3"))
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    shutil.copytree(REPOSITORY / "workflow" / "schemas", tmp_path / "workflow" / "schemas")
    content = {
        "title": "One",
        "fixed": {
            "dataset": "oasis3",
            "modality": "T2w",
            "subjects": OASIS3_FIXED,
            "sessions": "across_groups",
        },
        "moving": {"dataset": "oasis3", "modality": "T1w", "sessions": "first"},
        "alignment": "none",
        "disjoint": True,
    }
    (tmp_path / "config" / "experiments" / "one.yaml").write_text(yaml.safe_dump(content))
    one = {"study": "one", "title": "One", "experiments": ["one"], "runs": ["identity"]}
    one |= {"ours": "identity", "seed": 1, "results": "results"}
    return lambda: load_study(one, tmp_path).experiments[0]


def test_five_persons_of_five_groups_are_no_concern(study):
    assert set(study().fixed_groups.values()) == {1}
    assert len(study().fixed_groups) == 5
    assert study().concern == ""


def test_a_study_says_where_its_fixed_persons_span_fewer_groups(study, tmp_path):
    path = tmp_path / "oasis3" / "OASIS3_UDSb4_cdr.csv"
    table = pd.read_csv(path)
    table.loc[table["OASISID"] == OASIS3_FIXED[4], "CDRTOT"] = 0
    table.to_csv(path, index=False)
    assert study().fixed_groups["healthy"] == 2
    assert study().concern.startswith(
        "The 5 fixed persons of experiment one are in 4 groups (dementia 1, healthy 2,"
    )
