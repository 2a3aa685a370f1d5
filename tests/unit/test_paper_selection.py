"""The papers' experiments on made-up OASIS-3 and IXI, some hundred persons each."""

import shutil
from collections import Counter
from pathlib import Path

import pytest
import yaml
from trees import IXI_FIXED, OASIS3_FIXED, write_ixi, write_oasis3

from diffeode.errors import InputError
from diffeode.study.files import load_study
from diffeode.study.model import Study

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
GROUPS = [
    "healthy",
    "suspected dementia",
    "mild cognitive impairment",
    "dementia",
    "severe dementia",
]


@pytest.fixture(scope="module")
def trees(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("trees")
    write_oasis3(root / "oasis3", 200, seed=11)
    write_ixi(root / "ixi", 200, seed=12)
    return root


@pytest.fixture
def repository(tmp_path, trees, monkeypatch) -> Path:
    """A copy of the configuration and schemas, with the made-up scans."""
    monkeypatch.setenv("OASIS3", str(trees / "oasis3"))
    monkeypatch.setenv("IXI", str(trees / "ixi"))
    monkeypatch.chdir(tmp_path)
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    shutil.copytree(REPOSITORY / "workflow" / "schemas", tmp_path / "workflow" / "schemas")
    return tmp_path


def paper(repository: Path) -> Study:
    return load_study(repository / "config" / "paper.yaml", repository)


def rewrite(path: Path, side: str | None = None, **changes) -> None:
    """Change keys of a file, or of one side of an experiment; None removes a key."""
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    block = content[side] if side else content
    block |= changes
    for key in [key for key, value in changes.items() if value is None]:
        del block[key]
    path.write_text(yaml.safe_dump(content), encoding="utf-8")


def test_a_hundred_pairs_of_the_papers_fixed_persons(repository):
    fixed = {"oasis3-oasis3": OASIS3_FIXED, "ixi-oasis3": OASIS3_FIXED, "ixi-ixi": IXI_FIXED}
    for experiment in paper(repository).experiments:
        of_fixed = Counter(pair.fixed.subject for pair in experiment.pairs)
        of_moving = Counter(pair.moving.subject for pair in experiment.pairs)
        assert of_fixed == dict.fromkeys(fixed[experiment.name], 20)
        assert set(of_moving.values()) == {5}
        assert not of_fixed.keys() & of_moving.keys()
        assert {(p.fixed.modality, p.moving.modality) for p in experiment.pairs} == {("T2w", "T1w")}


def test_everybody_is_there_to_test_on_or_to_train_on_at_the_first_session(repository):
    study = paper(repository)
    registered = {
        scan.key
        for e in study.experiments
        for pair in e.pairs
        for scan in (pair.fixed, pair.moving)
    }
    assert registered < study.scans().keys()
    sessions = {scan.subject: [] for scan in study.scans().values()}
    for dataset in study.datasets().values():
        for scan in dataset.scans():
            if scan.subject in sessions:
                sessions[scan.subject].append((scan.modality, scan.session or ""))
    for scan in study.scans().values():
        part = study.datasets()[scan.dataset].split.part(scan)
        assert part == ("test" if scan.key in registered else "train")
        assert (scan.session or "") == min(
            s for modality, s in sessions[scan.subject] if modality == scan.modality
        )


def test_a_fixed_person_who_is_not_there_is_named(repository):
    names = ["OAS30088", "OAS30273", "OAS39999"]
    rewrite(repository / "config" / "experiments" / "oasis3-oasis3.yaml", "fixed", subjects=names)
    with pytest.raises(InputError, match="dataset oasis3 has subject 'OAS39999'"):
        paper(repository)


def test_a_fixed_person_left_to_training_is_named(repository):
    rewrite(repository / "config" / "datasets" / "ixi.yaml", split={"test": 0.2, "seed": 2512})
    with pytest.raises(InputError, match="named as test persons, which they are not"):
        paper(repository)


def test_fixed_persons_drawn_over_the_five_ratings(repository):
    path = repository / "config" / "experiments" / "oasis3-oasis3.yaml"
    rewrite(path, "fixed", subjects=None, group=GROUPS, draw={"per_group": 1})
    (experiment, *_) = paper(repository).experiments
    fixed = {pair.fixed.person: pair.fixed.group for pair in experiment.pairs}
    assert sorted(fixed.values()) == sorted(GROUPS)
    assert len(experiment.pairs) == 100


def test_an_empty_rating_says_how_many_there_are_of_each(repository):
    excluded = "scan\treason\n" + "".join(
        f"{name}\tin this test\n" for name in _of_group(repository, GROUPS[-1])
    )
    (repository / "config" / "exclusions" / "oasis3.tsv").write_text(excluded, encoding="utf-8")
    path = repository / "config" / "experiments" / "oasis3-oasis3.yaml"
    rewrite(path, "fixed", subjects=None, group=GROUPS, draw={"per_group": 1})
    with pytest.raises(
        InputError, match=r"in group 'severe dementia' to draw 1.*found dementia \d+, healthy \d+"
    ):
        paper(repository)


def _of_group(repository: Path, group: str) -> list[str]:
    scans = paper(repository).datasets()["oasis3"].scans()
    return sorted({scan.subject for scan in scans if scan.group == group})


def test_an_excluded_person_is_never_drawn(repository):
    drawn = next(pair.moving.subject for pair in paper(repository).experiments[2].pairs)
    path = repository / "config" / "exclusions" / "ixi.tsv"
    path.write_text(path.read_text(encoding="utf-8") + f"{drawn}\tghosting\n", encoding="utf-8")
    after = {scan.subject for scan in paper(repository).scans().values()}
    assert drawn not in after
    assert [len(experiment.pairs) for experiment in paper(repository).experiments] == [
        100,
        100,
        100,
    ]
