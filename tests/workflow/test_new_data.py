"""Persons of a BIDS folder come, leave and are scanned again: which results are made again, and
which stay.
"""

import shutil
from pathlib import Path

import pytest
from ellipsoids import DATASET, LABELS, write_person

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

_EXPERIMENT = """\
title: Ellipsoids
fixed: {{dataset: folder, modality: T2w}}
moving: {{dataset: folder, modality: T1w}}
alignment: none
pairs: {pairs}
seed: 2
"""
_STUDY = """\
study: growing
title: A growing study
experiments: [every, few]
runs: [identity]
ours: identity
seed: 1
results: results
panels: 0
"""


@pytest.fixture(scope="module")
def _grown(tmp_path_factory, copied):
    """Three persons; all six pairs in one experiment, three drawn in the other; everything made."""
    clone = copied(tmp_path_factory.mktemp("growing") / "clone")
    for subject, radius in (("01", 4), ("02", 5), ("03", 6)):
        write_person(clone.path("scans"), subject, radius)
    clone.write("config/datasets/folder.yaml", DATASET)
    clone.write("config/labels/ellipsoid.tsv", LABELS)
    clone.write("config/experiments/every.yaml", _EXPERIMENT.format(pairs="all"))
    clone.write("config/experiments/few.yaml", _EXPERIMENT.format(pairs=3))
    clone.write("config/config.yaml", _STUDY)
    run = clone.snakemake()
    assert run.returncode == 0, run.stdout
    return clone


@pytest.fixture
def grown(_grown, tmp_path):
    """A clone for one test, in which the growing study is finished."""
    shutil.copytree(_grown.root, tmp_path / "clone")
    return type(_grown)(tmp_path / "clone")


def units(clone) -> dict[Path, int]:
    """Return the times at which the receipts of scans, pairs and registrations were written."""
    results = clone.path("results")
    return {
        file.relative_to(results): file.stat().st_mtime_ns for file in results.rglob("receipt.json")
    }


def of_pairs(planned: dict[str, int]) -> dict[str, int]:
    return {rule: planned.get(rule, 0) for rule in ("prepare", "align", "register", "evaluate")}


def drawn(clone, experiment: str) -> list[str]:
    table = (
        clone.path(f"results/pairs/{experiment}/pairs.tsv").read_text(encoding="utf-8").splitlines()
    )
    return [row.split("\t")[0] for row in table[1:]]


def test_a_person_more_adds_their_pairs_and_displaces_none(grown):
    before, few = units(grown), drawn(grown, "few")
    write_person(grown.path("scans"), "04", 4.5)
    assert of_pairs(grown.planned()) == {"prepare": 2, "align": 6, "register": 6, "evaluate": 6}
    assert drawn(grown, "few") == few
    run = grown.snakemake()
    assert run.returncode == 0, run.stdout
    after = units(grown)
    assert {unit: after[unit] for unit in before} == before
    assert all("sub-04" in str(unit) for unit in after.keys() - before.keys())
    assert len(drawn(grown, "every")) == 12
    assert drawn(grown, "few") == few
    assert grown.planned() == {}


def test_without_the_list_of_pairs_a_person_more_would_displace_some(grown):
    """So the test above could fail."""
    write_person(grown.path("scans"), "04", 4.5)
    grown.path("results/pairs/few/pairs.tsv").unlink()
    assert of_pairs(grown.planned("--config", "experiments=[few]"))["align"] > 0


def test_a_person_less_leaves_the_tables_and_nothing_else_is_made_again(grown):
    before = units(grown)
    shutil.rmtree(grown.path("scans/sub-03"))
    only = ("--config", "experiments=[every]")
    assert of_pairs(grown.planned(*only)) == {
        "prepare": 0,
        "align": 0,
        "register": 0,
        "evaluate": 0,
    }
    run = grown.snakemake(*only)
    assert run.returncode == 0, run.stdout
    metrics = grown.path("results/studies/growing/metrics.tsv").read_text(encoding="utf-8")
    assert "sub-02_T2w__sub-01_T1w" in metrics
    assert "sub-03" not in metrics
    assert units(grown) == before


def test_a_draw_fills_up_for_a_person_who_leaves(grown):
    staying = [pair for pair in drawn(grown, "few") if "sub-03" not in pair]
    write_person(grown.path("scans"), "04", 4.5)
    shutil.rmtree(grown.path("scans/sub-03"))
    planned = grown.planned("--config", "experiments=[few]")
    assert of_pairs(planned)["register"] == 3 - len(staying)


def test_a_scan_replaced_makes_again_what_hangs_on_it(grown):
    grown.path("scans/sub-01/anat/sub-01_T1w.nii.gz").unlink()
    write_person(grown.path("elsewhere"), "01", 4.2)
    shutil.copy2(
        grown.path("elsewhere/sub-01/anat/sub-01_T1w.nii.gz"),
        grown.path("scans/sub-01/anat/sub-01_T1w.nii.gz"),
    )
    few = sum(pair.endswith("sub-01_T1w") for pair in drawn(grown, "few"))
    hanging = 2 + few
    assert of_pairs(grown.planned()) == {
        "prepare": 1,
        "align": hanging,
        "register": hanging,
        "evaluate": hanging,
    }
    report = grown.status()
    assert (
        "1 prepared scans (folder sub-01_T1w): scans/sub-01/anat/sub-01_T1w.nii.gz changed"
        in report
    )
    assert f"{hanging} registrations" in report


def test_pairs_given_by_hand_ignore_what_was_drawn(grown):
    grown.write("config/hand.tsv", "fixed\tmoving\nsub-01_T2w\tsub-02_T1w\n")
    grown.write("config/experiments/few.yaml", _EXPERIMENT.format(pairs="config/hand.tsv"))
    run = grown.snakemake("results/pairs/few/pairs.tsv")
    assert run.returncode == 0, run.stdout
    assert drawn(grown, "few") == ["sub-01_T2w__sub-02_T1w"]
