"""What is made again after a change: every row of the table in docs/workflow.md, by the jobs that
are planned.
"""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from ellipsoids import DATASET, LABELS, write_landmarks, write_person

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

REPOSITORY = Path(__file__).resolve().parents[2]
_EXPERIMENT = """\
title: Ellipsoids
fixed: {dataset: folder, modality: T2w}
moving: {dataset: folder, modality: T1w}
alignment: none
pairs: config/hand.tsv
seed: 2
"""
_STUDY = """\
study: ageing
title: A study that ages
experiments: [given]
runs: [identity, weighted]
ours: weighted
seed: 1
results: results
panels: 0
"""
_RUN = """\
method: neural-ode
title: Weighted
parameters: {levels: {factors: [2], iterations: [1]}, weight_map: stiff.nii.gz}
"""
_PAIRS = "fixed\tmoving\nsub-01_T2w\tsub-02_T1w\nsub-01_T2w\tsub-03_T1w\n"
_LONG_AGO_S = 1_500_000_000


def write_weight_map(path: Path, value: float) -> None:
    stiffness = np.full((16, 16, 16), value, dtype=np.float32)
    nib.save(nib.Nifti1Image(stiffness, np.diag([8.0, 8.0, 8.0, 1.0])), path)


@pytest.fixture(scope="module")
def _aged(tmp_path_factory, copied):
    """Three prepared scans, two pairs that are given by hand, two runs; everything made."""
    clone = copied(tmp_path_factory.mktemp("ageing") / "clone")
    for subject, radius in (("01", 4), ("02", 5), ("03", 6)):
        write_person(clone.path("scans"), subject, radius)
        write_landmarks(clone.path("scans"), subject, radius)
    clone.write(
        "scans/participants.tsv", "participant_id\tgroup\nsub-01\ta\nsub-02\ta\nsub-03\tb\n"
    )
    clone.write("config/datasets/folder.yaml", DATASET)
    clone.write("config/labels/ellipsoid.tsv", LABELS)
    clone.write("config/hand.tsv", _PAIRS)
    clone.write("config/experiments/given.yaml", _EXPERIMENT)
    clone.write("config/methods/weighted.yaml", _RUN)
    clone.write("config/config.yaml", _STUDY)
    write_weight_map(clone.path("stiff.nii.gz"), 1)
    run = clone.snakemake()
    assert run.returncode == 0, run.stdout
    return clone


@pytest.fixture
def aged(_aged, tmp_path):
    """A clone for one test, in which the study is finished."""
    shutil.copytree(_aged.root, tmp_path / "clone")
    return type(_aged)(tmp_path / "clone")


# ------------------------------------------------------------------------------------------ changes


def older(clone, relative: str) -> None:
    """Give a file an older time than everything made from it, as ``cp -p`` and ``rsync -a`` can."""
    os.utime(clone.path(relative), (_LONG_AGO_S, _LONG_AGO_S))


def replace_by_older(relative: str, other: str) -> Callable:
    def change(clone) -> None:
        shutil.copy(clone.path(other), clone.path(relative))
        older(clone, relative)

    return change


def edit(relative: str, old: str, new: str) -> Callable:
    def change(clone) -> None:
        clone.replace(relative, old, new)
        older(clone, relative)

    return change


def forget(clone) -> None:
    shutil.rmtree(clone.path(".snakemake"))


def edit_and_forget(relative: str, old: str, new: str) -> Callable:
    def change(clone) -> None:
        edit(relative, old, new)(clone)
        forget(clone)

    return change


def change_the_weight_map(clone) -> None:
    write_weight_map(clone.path("stiff.nii.gz"), 2)
    older(clone, "stiff.nii.gz")


def flip_a_byte(file: Path) -> None:
    content = bytearray(file.read_bytes())
    content[len(content) // 2] ^= 1
    file.write_bytes(content)


def flip_a_byte_of_a_warp(clone) -> None:
    flip_a_byte(warp(clone))


def warp(clone) -> Path:
    return clone.path("results/registrations/given/sub-01_T2w__sub-02_T1w/identity/warp.nii.gz")


def change_receipt(**entries) -> Callable:
    def change(clone) -> None:
        receipt = warp(clone).with_name("receipt.json")
        content = json.loads(receipt.read_text(encoding="utf-8")) | entries
        receipt.write_text(
            json.dumps({k: v for k, v in content.items() if v is not None}), encoding="utf-8"
        )

    return change


def truncate_a_table_and_lose_the_seals(clone) -> None:
    table = clone.path("results/studies/ageing/metrics.tsv")
    table.write_bytes(table.read_bytes()[:-100])
    shutil.rmtree(clone.path("results/.seals"))


def remove_a_prepared_scan(clone) -> None:
    shutil.rmtree(clone.path("results/prepared/folder/sub-02_T1w"))


def copy_without_times(clone) -> None:
    for file in sorted(clone.path("results").rglob("*"), reverse=True):
        os.utime(file)
    for file in clone.path("scans").rglob("*"):
        os.utime(file)
    forget(clone)


def add_a_person(clone) -> None:
    write_person(clone.path("scans"), "04", 4.5)
    clone.write("config/hand.tsv", _PAIRS + "sub-01_T2w\tsub-04_T1w\n")


def reword(clone) -> None:
    method = clone.path("src/diffeode/methods/identity.py")
    text = method.read_text(encoding="utf-8").replace('"""', '"""Reworded. ', 1)
    method.write_text(f"# a comment\n{text}\n\n# another\n", encoding="utf-8")


_IDENTITY = "src/diffeode/methods/identity.py"
_HARNESS = "src/diffeode/registration/harness.py"
_UNIT = {"register": 1, "evaluate": 1}
_RUN_AGAIN = {"register": 2, "evaluate": 2}
_SCAN_AGAIN = {"prepare": 1, "align": 1, "register": 2, "evaluate": 2}
_TABLES_ALONE = {"summarise": 1, "wilcoxon": 1}

CHANGES = {
    "a scan": (
        replace_by_older(
            "scans/sub-02/anat/sub-02_T1w.nii.gz", "scans/sub-03/anat/sub-03_T1w.nii.gz"
        ),
        _SCAN_AGAIN,
    ),
    "a label map": (
        replace_by_older(
            "scans/sub-02/anat/sub-02_dseg.nii.gz", "scans/sub-03/anat/sub-03_dseg.nii.gz"
        ),
        _SCAN_AGAIN,
    ),
    "landmarks": (
        replace_by_older(
            "scans/sub-02/anat/sub-02_landmarks.tsv", "scans/sub-03/anat/sub-03_landmarks.tsv"
        ),
        _SCAN_AGAIN,
    ),
    "a person's group in `participants.tsv`": (
        edit("scans/participants.tsv", "sub-02\ta", "sub-02\tb"),
        _SCAN_AGAIN,
    ),
    "a person more": (add_a_person, _SCAN_AGAIN),
    "a given `pairs.tsv`": (
        edit("config/hand.tsv", "sub-01_T2w\tsub-02_T1w", "sub-02_T2w\tsub-03_T1w"),
        _SCAN_AGAIN,
    ),
    "how a dataset is prepared": (
        edit("config/datasets/folder.yaml", "spacing_mm: null", "spacing_mm: 10"),
        {"prepare": 3, "align": 2, "register": 4, "evaluate": 4},
    ),
    "a table of structures": (
        edit("config/labels/ellipsoid.tsv", "Ellipsoid", "Egg"),
        {"evaluate": 4},
    ),
    "a parameter of a run": (
        edit("config/methods/weighted.yaml", "iterations: [1]", "iterations: [2]"),
        _RUN_AGAIN,
    ),
    "weights or another file that a run reads": (change_the_weight_map, _RUN_AGAIN),
    "the seed of a study": (
        edit("config/config.yaml", "seed: 1", "seed: 2"),
        {"prepare": 3, "align": 2, "register": 4, "evaluate": 4},
    ),
    "the seed of an experiment": (
        edit("config/experiments/given.yaml", "seed: 2", "seed: 3"),
        {"align": 2, "register": 4, "evaluate": 4},
    ),
    "the code of a method": (
        edit(_IDENTITY, "Affine(), Affine())", "Affine(), Affine(), trace=())"),
        _RUN_AGAIN,
    ),
    "the code that runs methods": (
        edit(_HARNESS, "_SAMPLING_PERIOD_S = 0.02", "_SAMPLING_PERIOD_S = 0.03"),
        {"register": 4, "evaluate": 4},
    ),
    "the code of a figure": (
        edit("src/diffeode/figures/significance.py", "_CELL_IN = 0.42", "_CELL_IN = 0.43"),
        {"significance": 1},
    ),
    "a function that nothing uses": (
        edit(
            "src/diffeode/files/io.py",
            "import annotations",
            "import annotations\n\ndef unused():\n    return 1",
        ),
        {},
    ),
    "the title of the study": (edit("config/config.yaml", "that ages", "that aged"), _TABLES_ALONE),
    "comments, docstrings or layout": (reword, {}),
    "threads, GPUs, memory or time limits": (
        edit("config/config.yaml", "panels: 0", "panels: 0\ntime_limit_minutes: 5"),
        {},
    ),
    "times of files, or `.snakemake` is lost": (copy_without_times, {}),
    "`.snakemake` is lost, then a parameter": (
        edit_and_forget("config/methods/weighted.yaml", "iterations: [1]", "iterations: [2]"),
        _RUN_AGAIN,
    ),
    "a finished file, by one byte": (flip_a_byte_of_a_warp, _UNIT),
    "a prepared scan is lost": (remove_a_prepared_scan, _SCAN_AGAIN),
    "a receipt, by hand": (change_receipt(outputs={}), _UNIT),
    "a receipt lacks what it was made from": (
        change_receipt(made_from=None, receipt_sha256=None),
        _UNIT,
    ),
    "seals are lost": (truncate_a_table_and_lose_the_seals, {"evaluate": 4, "collect": 1}),
}
"""Rows of the table: what changes, and the jobs that have to be planned for it."""

_FOLLOWING = {"collect", "summarise", "wilcoxon", "failures", "methods_section", "verdict"}
_FOLLOWING |= {
    "dice_boxplot",
    "dice_by_structure",
    "regularity",
    "significance",
    "beside",
    "coronal_overview",
    "draw_pairs",
    "experiments",
}


def rows_of_the_docs() -> list[str]:
    text = (REPOSITORY / "docs" / "workflow.md").read_text(encoding="utf-8")
    table = text.split("## What is made again")[1].split("\n## ")[0]
    return [
        row.split("|")[1].strip() for row in re.findall(r"^\|.*\|$", table, flags=re.MULTILINE)
    ][2:]


def test_every_row_of_the_docs_is_tried():
    assert rows_of_the_docs() == list(CHANGES)


@pytest.mark.parametrize("row", CHANGES)
def test_a_change_makes_again_what_hangs_on_it(aged, row):
    change, expected = CHANGES[row]
    change(aged)
    planned = aged.planned()
    following = _FOLLOWING - expected.keys() if expected else set()
    assert {rule: count for rule, count in planned.items() if rule not in following} == expected
    assert bool(planned) == bool(expected)


def test_a_scan_that_was_replaced_is_named_and_then_made_anew(aged):
    CHANGES["a scan"][0](aged)
    sentence = "1 prepared scans (folder sub-02_T1w): scans/sub-02/anat/sub-02_T1w.nii.gz changed"
    assert sentence in aged.status()
    before = warp(aged).with_name("warped.nii.gz").read_bytes()
    run = aged.snakemake()
    assert run.returncode == 0, run.stdout
    assert (
        "sub-02_T1w has to be made again: scans/sub-02/anat/sub-02_T1w.nii.gz changed."
        in run.stdout
    )
    assert warp(aged).with_name("warped.nii.gz").read_bytes() != before
    assert aged.planned() == {}


def test_a_byte_that_was_flipped_without_a_trace_is_found_by_verifying(aged):
    file = warp(aged)
    before = file.stat()
    flip_a_byte(file)
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))
    report = aged.status("--verify", fails=True)
    name = file.relative_to(aged.root)
    assert (
        f"Files that are not as they were made:\n  {name.with_name('receipt.json')}: {name} has "
        "changed" in report
    )
    assert aged.planned()["register"] == 1
    run = aged.snakemake()
    assert run.returncode == 0, run.stdout
    assert "Every file is as it was made." in aged.status("--verify")


def test_what_is_stale_is_kept_until_it_is_made_again(aged):
    CHANGES["a parameter of a run"][0](aged)
    receipts = sorted(aged.path("results/registrations").rglob("receipt.json"))
    run = aged.snakemake("results/prepared/folder/sub-02_T1w/receipt.json")
    assert run.returncode == 0, run.stdout
    assert sorted(aged.path("results/registrations").rglob("receipt.json")) == receipts
    assert aged.planned()["register"] == 2
