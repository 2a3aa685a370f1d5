"""One job aligns several pairs, or registers and evaluates them, each as if it were alone."""

import json
import re
import shutil
from typing import NamedTuple

import pytest

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

UNITS = "results/registrations/tiny"
PAIRS = "results/pairs/tiny"
METRICS = "results/studies/tiny/metrics.tsv"
"""What hangs on every registration and every evaluation; figures and tables hang on it."""
RUNS = "[identity, brief]"
ONE_BY_ONE = ("--config", "pairs_per_job=1")
KILLED_ONCE = """
import os, signal
from dataclasses import dataclass
from pathlib import Path
from diffeode.geometry.transform import Affine
from diffeode.registration.base import Method, Registration

MARK = Path({mark!r})


@dataclass(frozen=True)
class Fragile(Method):
    title = "Fragile"
    citation = "none"

    def register(self, pair, machine):
        if not MARK.exists():
            MARK.touch()
            os.kill(os.getpid(), signal.SIGKILL)
        return Registration(Affine(), Affine())
"""
TROUBLE = """

def write_aligned_pair(fixed, moving, folder, *given, _whole=write_aligned_pair, **named):
    import os, signal

    if folder.name == {pair!r} and Path("trouble").exists():
        Path("trouble").unlink()
        os.kill(os.getpid(), signal.SIGKILL)
    _whole(fixed, moving, folder, *given, **named)
"""


class Joined(NamedTuple):
    """A study to which a second pair came, and what was there before.

    Attributes:
        said: what the run that made the second pair said.
        receipt: the receipt of the first pair's run ``brief``, before.
        aligned: the receipt of the first pair, before, by its name.
    """

    clone: object
    said: str
    receipt: dict
    aligned: dict


def ask_for_two_pairs(clone):
    """Let the study register two pairs with two of its runs, and show none of them one by one."""
    clone.replace("config/experiments/tiny.yaml", "pairs: 1", "pairs: 2")
    clone.replace("config/config.yaml", "[identity, affine, brief]", RUNS)
    clone.replace("config/config.yaml", "panels: 1", "panels: 0")


@pytest.fixture
def two_pairs(finished):
    """The finished study, in which a second pair is now asked for."""
    ask_for_two_pairs(finished)
    return finished


@pytest.fixture(scope="module")
def joined(untouched, tmp_path_factory):
    """The study in which the second pair was made, for tests that only read."""
    clone = copy_of(untouched, tmp_path_factory.mktemp("joined"))
    ask_for_two_pairs(clone)
    (receipt,) = receipts(clone, "brief")
    aligned = alignments(clone)
    run = clone.snakemake(METRICS)
    assert run.returncode == 0, run.stdout
    return Joined(clone, run.stdout, receipt, aligned)


@pytest.fixture
def both_pairs(joined, tmp_path):
    """A clone for one test, in which both pairs are made."""
    return copy_of(joined.clone, tmp_path)


def copy_of(clone, folder):
    shutil.copytree(clone.root, folder / "clone")
    return type(clone)(folder / "clone")


def jobs(said, rule="register"):
    """Return how many jobs of a rule a run of Snakemake, which printed ``said``, started."""
    table = said.split("Job stats:")[1].split("total")[0]
    return int(re.search(rf"^{rule} +(\d+)$", table, flags=re.MULTILINE)[1])


def receipts(clone, run):
    """Return the receipts of all pairs of a run, in the order of their names."""
    files = sorted(clone.path(UNITS).glob(f"*/{run}/receipt.json"))
    return [json.loads(file.read_text(encoding="utf-8")) for file in files]


def done(clone, run=""):
    """Return what the last job of a run, or the last job that aligned, did with the two pairs,
    sorted.
    """
    table = (clone.path("results/chunks/tiny") / run / "0001-0002.tsv").read_text(encoding="utf-8")
    return sorted(line.split("\t")[1] for line in table.splitlines()[1:])


def alignments(clone):
    """Return the receipts of all pairs by their names."""
    files = clone.path(PAIRS).glob("*/receipt.json")
    return {file.parent.name: json.loads(file.read_text(encoding="utf-8")) for file in files}


def row(report, stage):
    """Return the counts of a stage: of, done, missing, stale, failed."""
    (line,) = [line for line in report.splitlines() if line.startswith(f"  {stage}  ")]
    return line.removeprefix(f"  {stage}").split()


def kill_once_while_aligning(clone, pair):
    """Let the process that aligns ``pair`` be killed once."""
    module = clone.path("src/diffeode/prepare/pair.py")
    text = module.read_text(encoding="utf-8") + TROUBLE.format(pair=pair)
    module.write_text(text, encoding="utf-8")
    clone.path("trouble").touch()


def test_a_new_pair_joins_a_chunk_whose_other_pair_is_left_alone(joined):
    clone = joined.clone
    ahead = "Ahead: alignments: 1, registrations: 2, evaluations: 2, jobs for these: 3."
    assert ahead in joined.said
    assert (jobs(joined.said), jobs(joined.said, "align")) == (2, 1)
    assert done(clone) == ["aligned", "kept"]
    assert alignments(clone).items() >= joined.aligned.items()
    assert done(clone, "brief") == ["kept", "registered"]
    assert joined.receipt in receipts(clone, "brief")
    assert len(receipts(clone, "brief")) == 2
    assert clone.planned(METRICS) == {}
    assert clone.planned(METRICS, *ONE_BY_ONE) == {}


def test_other_code_of_the_evaluation_evaluates_both_pairs_and_registers_none(both_pairs, joined):
    evaluation = both_pairs.path("src/diffeode/evaluation/evaluate.py")
    evaluation.write_text(
        evaluation.read_text(encoding="utf-8").replace('{"failed": 1.0}', '{"failed": 2.0 - 1.0}'),
        encoding="utf-8",
    )
    planned = both_pairs.planned()
    assert ("register" in planned, planned["evaluate"]) == (False, 4)
    run = both_pairs.snakemake(METRICS)
    assert run.returncode == 0, run.stdout
    assert done(both_pairs, "brief") == ["evaluated", "evaluated"]
    assert joined.receipt in receipts(both_pairs, "brief")


def test_one_pair_of_a_chunk_is_made_alone_where_a_job_may_hold_one(two_pairs):
    assert two_pairs.planned(*ONE_BY_ONE)["register"] == 2
    run = two_pairs.snakemake("results/studies/tiny/tables/failures.tsv", *ONE_BY_ONE)
    assert run.returncode == 0, run.stdout
    assert jobs(run.stdout) == 2
    tables = two_pairs.path("results/chunks/tiny/brief").glob("*.tsv")
    assert {file.stem for file in tables} <= {"0001-0001", "0002-0002"}
    assert len(receipts(two_pairs, "brief")) == 2


def test_forced_registrations_are_made_again_and_forgotten_only_when_done(both_pairs):
    before = receipts(both_pairs, "identity")
    planned = both_pairs.planned("--forcerun", "register")
    assert (planned["register"], planned["evaluate"]) == (4, 4)
    assert receipts(both_pairs, "identity") == before
    run = both_pairs.snakemake(METRICS, "--forcerun", "register")
    assert run.returncode == 0, run.stdout
    assert done(both_pairs, "identity") == ["registered", "registered"]
    assert both_pairs.planned(METRICS) == {}


@pytest.mark.parametrize("retries", [0, 1])
def test_a_pair_whose_process_is_killed_costs_that_pair_and_is_tried_again(two_pairs, retries):
    mark = str(two_pairs.path("killed"))
    two_pairs.write("src/diffeode/methods/fragile.py", KILLED_ONCE.format(mark=mark))
    two_pairs.write("config/methods/fragile.yaml", "method: fragile\n")
    two_pairs.replace("config/config.yaml", RUNS, "[identity, fragile]")
    two_pairs.replace("config/config.yaml", "ours: brief", "ours: fragile")
    run = two_pairs.snakemake("results/studies/tiny/tables/failures.tsv", "--retries", str(retries))
    assert run.returncode == 0, run.stdout
    found = receipts(two_pairs, "fragile")
    states = sorted(receipt["status"] for receipt in found)
    assert states == (["done", "done"] if retries else ["done", "failed"])
    if retries:
        assert done(two_pairs, "fragile") == ["kept", "registered"]
        assert "1 of 2 pairs could not be worked on" in run.stdout
    else:
        (reason,) = (receipt["reason"] for receipt in found if receipt["status"] == "failed")
        assert reason.startswith("It was killed (SIGKILL)")
        assert "failed and is shown as missing: It was killed" in run.stdout


def test_pairs_are_aligned_again_where_that_is_asked_for(two_pairs):
    (first,) = alignments(two_pairs)
    planned = two_pairs.planned("--forcerun", "align")
    assert (planned["align"], planned["register"]) == (2, 4)
    receipt = f"{PAIRS}/{first}/receipt.json"
    run = two_pairs.snakemake(receipt, "--forcerun", "align")
    assert run.returncode == 0, run.stdout
    assert done(two_pairs) == ["aligned", "aligned"]
    shutil.rmtree(two_pairs.path(f"{PAIRS}/{first}"))
    run = two_pairs.snakemake(receipt)
    assert run.returncode == 0, run.stdout
    assert done(two_pairs) == ["aligned", "kept"]
    assert "registering tiny" not in run.stdout


def test_a_pair_that_cannot_be_aligned_costs_that_pair_alone(two_pairs):
    (lost,) = alignments(two_pairs)
    kill_once_while_aligning(two_pairs, lost)
    run = two_pairs.snakemake()
    assert run.returncode != 0
    told = f"align tiny {lost}: failed, and so do its registrations: It was killed (SIGKILL)"
    (line,) = [line for line in run.stdout.splitlines() if line.startswith(told)]
    assert line.endswith(f"(log: results/logs/align/tiny/{lost}.log)")
    assert "2 of 4 registrations failed" in run.stdout
    assert "Traceback" not in run.stdout
    failed = [name for name, receipt in alignments(two_pairs).items() if "status" in receipt]
    assert (failed, len(alignments(two_pairs))) == ([lost], 2)
    assert [file.name for file in two_pairs.path(f"{PAIRS}/{lost}").iterdir()] == ["receipt.json"]
    for name in ("identity", "brief"):
        found = receipts(two_pairs, name)
        (failed,) = [receipt for receipt in found if receipt["status"] == "failed"]
        assert (failed["pair"], len(found)) == (lost, 2)
        assert failed["reason"].startswith("The pair could not be aligned: It was killed")
    report = two_pairs.status()
    assert row(report, "aligned pairs") == ["2", "1", "-", "-", "1"]
    assert f"aligned pairs: tiny {lost}: it failed last time (It was killed" in report
    run = two_pairs.snakemake()
    assert run.returncode == 0, run.stdout
    assert done(two_pairs) == ["aligned", "kept"]
    assert done(two_pairs, "brief") == ["kept", "registered"]
    assert two_pairs.planned() == {}


def test_a_pair_whose_process_is_killed_is_aligned_again_with_more_memory(two_pairs):
    (first,) = alignments(two_pairs)
    kill_once_while_aligning(two_pairs, first)
    run = two_pairs.snakemake("results/studies/tiny/tables/failures.tsv", "--retries", "1")
    assert run.returncode == 0, run.stdout
    assert "1 of 2 pairs could not be worked on" in run.stdout
    assert done(two_pairs) == ["aligned", "kept"]
    assert [receipt["status"] for receipt in receipts(two_pairs, "brief")] == ["done", "done"]


def test_every_pair_has_a_log_of_its_own(joined):
    clone = joined.clone
    logs = sorted(clone.path("results/logs/register/tiny").glob("*/brief.log"))
    assert len(logs) == 2
    for log in logs:
        text = log.read_text(encoding="utf-8")
        assert f"pair: {log.parent.name}" in text
        assert "100 % level 2" in text
        assert text.count("register tiny") == 1
    logs = sorted(clone.path("results/logs/align/tiny").glob("*.log"))
    assert [log.stem for log in logs] == sorted(alignments(clone))
    for log in logs:
        text = log.read_text(encoding="utf-8")
        assert text.startswith(f"align tiny {log.stem}\n  experiment: tiny\n")
        assert "'seed': 2" in text
        assert clone.path(f"results/benchmarks/align/tiny/{log.stem}.tsv").is_file()
