"""The tiny study from nothing, and a second call of Snakemake, which makes again exactly what it
must.
"""

import json
import os
import re
import shutil

import pytest

from diffeode.provenance.receipt import failure_in

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

ONCE = {
    "collect": 1,
    "summarise": 1,
    "wilcoxon": 1,
    "failures": 1,
    "methods_section": 1,
    "verdict": 1,
}
DRAWN = {
    "dice_boxplot": 1,
    "dice_by_structure": 1,
    "regularity": 1,
    "significance": 1,
    "convergence": 1,
    "beside": 1,
}
STUDY_LEVEL = ONCE | DRAWN


def test_everything_is_there(untouched):
    for name in (
        "warp.nii.gz",
        "inverse_warp.nii.gz",
        "warped.nii.gz",
        "trace.tsv",
        "receipt.json",
    ):
        assert (untouched.unit("brief") / name).is_file()
    metrics = (
        untouched.path("results/studies/tiny/metrics.tsv").read_text(encoding="utf-8").splitlines()
    )
    assert (
        " ".join(metrics[0].split("\t"))
        == "experiment pair run fixed moving metric label label_name value"
    )
    assert {line.split("\t")[2] for line in metrics[1:]} == {"identity", "affine", "brief"}
    text = untouched.path("results/studies/tiny/methods.md").read_text(encoding="utf-8")
    assert "- Brief (brief): Neural ODE [" in text
    assert "levels.factors [2], levels.iterations [2]" in text
    assert "Chosen for this run: levels.factors, levels.iterations." in text
    assert (untouched.path("results/studies/tiny") / "references.bib").read_text().count("@") > 3
    assert "3 of 3" in untouched.path("results/studies/tiny/verdict.txt").read_text(
        encoding="utf-8"
    )


def test_logs_name_dataset_pair_run_and_seed(untouched):
    (log,) = untouched.path("results/logs/register/tiny").glob("*/brief.log")
    text = log.read_text(encoding="utf-8")
    for fact in ("'fixed_dataset': 'tiny'", f"pair: {log.parent.name}", "run: brief", "seed: 1"):
        assert fact in text


def test_rerun_is_a_no_op(untouched):
    assert untouched.planned() == {}


def test_moved_clone_stays_up_to_date(finished):
    moved = finished.root.with_name("elsewhere")
    finished.root.rename(moved)
    assert type(finished)(moved).planned() == {}


def test_touched_inputs_make_nothing_again(finished):
    for file in finished.path("results").rglob("receipt.json"):
        os.utime(file)
    assert finished.planned() == {}


def test_a_changed_parameter_makes_that_run_again(finished):
    finished.replace("config/methods/brief.yaml", "iterations: [2]", "iterations: [3]")
    assert finished.planned() == STUDY_LEVEL | {"register": 1, "evaluate": 1, "panel": 1}


def test_a_pair_more_adds_that_pair(finished):
    finished.replace("config/experiments/tiny.yaml", "pairs: 1", "pairs: 2")
    planned = finished.planned()
    assert {rule: planned[rule] for rule in ("prepare", "align", "register", "evaluate")} == {
        "prepare": 2,
        "align": 1,
        "register": 3,
        "evaluate": 3,
    }
    assert "cohort" not in planned


def test_a_run_more_adds_that_run(finished):
    finished.write("config/methods/briefer.yaml", "method: identity\n")
    finished.replace("config/config.yaml", "affine, brief]", "affine, brief, briefer]")
    planned = finished.planned()
    assert (planned["register"], planned["evaluate"]) == (1, 1)
    assert "align" not in planned


def test_an_edited_method_makes_its_runs_again(finished):
    finished.replace(
        "src/diffeode/methods/identity.py",
        "Registration(Affine(), Affine())",
        "Registration(Affine(), Affine(), trace=())",
    )
    planned = finished.planned()
    assert (planned["register"], planned["evaluate"]) == (1, 1)
    assert "prepare" not in planned


def test_comments_and_layout_make_nothing_again(finished):
    method = finished.path("src/diffeode/methods/identity.py")
    text = method.read_text(encoding="utf-8").replace('"""', '"""Reworded. ', 1)
    method.write_text(f"# a comment\n{text}\n\n# another\n", encoding="utf-8")
    script = finished.path("workflow/scripts/register.py")
    script.write_text(script.read_text(encoding="utf-8") + "# the end\n", encoding="utf-8")
    assert finished.planned() == {}


def test_an_edited_figure_makes_that_figure_again(finished):
    finished.replace("src/diffeode/figures/significance.py", "_CELL_IN = 0.42", "_CELL_IN = 0.43")
    assert finished.planned() == {"significance": 1, "verdict": 1}


def test_a_truncated_warp_is_made_again(finished):
    warp = finished.unit("identity") / "warp.nii.gz"
    whole = warp.read_bytes()
    warp.write_bytes(whole[: len(whole) // 2])
    dry = finished.snakemake("--dry-run")
    assert "identity has to be made again" in dry.stdout
    assert warp.stat().st_size == len(whole) // 2
    receipt = str((finished.unit("identity") / "receipt.json").relative_to(finished.root))
    run = finished.snakemake(receipt)
    assert run.returncode == 0, run.stdout
    assert warp.stat().st_size > len(whole) // 2
    assert "registering tiny" in run.stdout
    assert "preparing" not in run.stdout


@pytest.mark.parametrize("kept", [(0, 0.5), (0.5, 0)])
def test_truncated_tables_are_made_again(finished, kept):
    names = ("metrics/tiny/*/affine.tsv", "studies/tiny/tables/summary.md")
    tables = [file for name in names for file in finished.path("results").glob(name)]
    whole = [table.read_bytes() for table in tables]
    for table, content, share in zip(tables, whole, kept, strict=True):
        table.write_bytes(content[: int(share * len(content))])
    run = finished.snakemake(*(str(table.relative_to(finished.root)) for table in tables))
    assert run.returncode == 0, run.stdout
    assert [table.read_bytes() for table in tables] == whole


def test_a_failure_is_recorded_and_the_others_finish(finished):
    finished.write("src/diffeode/methods/giving_up.py", FAILING)
    finished.write("config/methods/hopeless.yaml", "method: giving-up\n")
    finished.replace("config/config.yaml", "affine, brief]", "affine, hopeless]")
    run = finished.snakemake()
    assert run.returncode != 0
    assert "1 of 3 registrations failed" in run.stdout
    assert "Traceback" not in run.stdout
    receipt = json.loads((finished.unit("hopeless") / "receipt.json").read_text(encoding="utf-8"))
    assert (receipt["status"], receipt["reason"]) == ("failed", "It is hopeless.")
    failures = (
        finished.path("results/studies/tiny/tables/failures.tsv")
        .read_text(encoding="utf-8")
        .splitlines()
    )
    assert [line.split("\t")[2:4] for line in failures] == [
        ["run", "reason"],
        ["hopeless", "It is hopeless."],
    ]
    assert finished.path(failures[1].split("\t")[4]).is_file()
    summary = finished.path("results/studies/tiny/tables/summary.tsv").read_text(encoding="utf-8")
    assert {line.split("\t")[1] for line in summary.splitlines()} == {
        "run",
        "identity",
        "affine",
        "hopeless",
    }
    assert not finished.path("results/studies/tiny/verdict.txt").exists()
    assert "failed last time (It is hopeless.)" in finished.snakemake("--dry-run").stdout
    again = finished.snakemake(
        str((finished.unit("hopeless") / "receipt.json").relative_to(finished.root))
    )
    assert "hopeless: failed and is shown as missing" in again.stdout


FAILING = """
from dataclasses import dataclass
from diffeode.errors import RegistrationError
from diffeode.registration.base import Method


@dataclass(frozen=True)
class GivingUp(Method):
    title = "Giving up"
    citation = "none"

    def register(self, pair, machine):
        raise RegistrationError("It is hopeless.")
"""


GPU = ("affine", "brief")


def test_a_gpu_goes_to_methods_that_can_use_one(finished, monkeypatch):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    assert finished.planned("--config", "gpu=1") == {}
    for run in GPU:
        shutil.rmtree(finished.unit(run))
    units = [
        str((finished.unit("identity").with_name(run) / "receipt.json").relative_to(finished.root))
        for run in GPU
    ]
    run = finished.snakemake(*units, "--config", "gpu=1")
    assert run.returncode == 0, run.stdout
    receipts = {
        name: json.loads((finished.unit(name) / "receipt.json").read_text()) for name in GPU
    }
    assert receipts["affine"]["status"] == "done"
    assert receipts["brief"]["status"] == "failed"
    assert receipts["brief"]["reason"].startswith("There is no device cuda here")


def test_a_job_that_fails_says_one_sentence(finished):
    finished.write("workflow/scripts/collect.py", MOONSTRUCK)
    run = finished.snakemake("results/studies/tiny/metrics.tsv", "--forcerun", "collect")
    assert run.returncode != 0
    assert run.stdout.count("the moon is full") == 1
    assert "Traceback" not in run.stdout
    (log,) = finished.path("results/logs").rglob("collect/*.log")
    assert "Traceback" in log.read_text(encoding="utf-8")


def test_a_scan_that_fails_says_one_sentence(finished):
    (source,) = finished.path("results/sources/tiny").rglob("sub-02_T1w.nii.gz")
    finished.write("config/experiments/broken.yaml", BROKEN)
    shutil.copytree(finished.path("results/sources/tiny"), finished.path("scans"))
    finished.write(
        "config/datasets/broken.yaml",
        "title: Broken\npopulation: nobody\nkind: bids\nroot: scans\n" + REST,
    )
    (scan,) = finished.path("scans").rglob(source.name)
    scan.write_bytes(scan.read_bytes()[:1000])
    unit = "results/prepared/broken/sub-02_T1w/receipt.json"
    run = finished.snakemake(unit, "--config", "experiments=[broken]")
    assert run.returncode == 0  # the study ends with an error, by its verdict
    assert "truncated or damaged" in failure_in(finished.path(unit))
    assert run.stdout.count("truncated or damaged") == 1
    assert "Traceback" not in run.stdout
    assert "Traceback" in finished.path("results/logs/prepare/broken/sub-02_T1w.log").read_text(
        encoding="utf-8"
    )


MOONSTRUCK = """\
from _job import job

with job(snakemake):
    raise ValueError("the moon is full")
"""
BROKEN = """\
title: Broken
fixed: {dataset: broken, modality: T2w}
moving: {dataset: broken, modality: T1w}
alignment: none
"""
REST = (
    "labels: virtual\nprepare: {bias: none, brain: nonzero, intensity: robust, spacing_mm: null}\n"
)


def test_a_study_that_was_killed_goes_on_where_it_was(untouched):
    resumed = untouched.path("console.txt").read_text(encoding="utf-8")
    assert "registering tiny" in resumed
    assert "preparing" not in resumed
    assert untouched.planned() == {}


def test_every_finished_job_is_counted_and_named_on_the_console(untouched):
    lines = untouched.path("console.txt").read_text(encoding="utf-8").splitlines()
    told = [re.match(r"\[(\d+)/(\d+)(, about .* left)?\] (.*)", line) for line in lines]
    told = [match.groups() for match in told if match]
    done, totals = [int(line[0]) for line in told], {int(line[1]) for line in told}
    (total,) = totals
    assert done == sorted(set(done))
    assert done[0] < done[-1] == total
    assert sum(len(line[3].split("; ")) for line in told) == total
    assert [bool(line[2]) for line in told] == [True] * (len(told) - 1) + [False]
