"""Measure what a study costs beside the methods: planning, the start of a job, and each pair; see
README.md.

Nothing is registered while a study is planned, so its scans need not exist. To see what a pair
costs, the run ``identity``, whose method takes no time, registers small virtual scans. Another
commit is measured beside in the same call, on the same machine in the same hour; of it only the
smaller study is planned, because a plan may take it ten minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from _command import add_results, explains_errors
from _comparisons import REPOSITORY
from _machine import provenance
from _overhead_page import write_overhead_page
from _tables import Table

TODAY = "today"
KEYS = ("what", "pairs", "runs", "pairs_per_job", "commit")
_RUNS = ("identity", "affine", "ants-syn", "convexadam", "greedy", "node")
_RUNS += ("node-mind", "node-ngf", "node-ncc", "node-nmi", "node-lmi", "node-mono")
_PLANS = (300, 3000)
_REGISTERED = 20
_NOT_PASSED_ON = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
"""Variables that would show another package, or have every job compile what it imports."""
_CHUNKS = (1, 5, 20)
_DATASET = """\
title: Virtual persons
kind: virtual
labels: virtual
prepare: {{bias: none, brain: nonzero, intensity: robust, spacing_mm: null}}
cohort: {{persons: {persons}, spacing_mm: 6.0, seed: 7}}
"""
_EXPERIMENT = """\
title: Pairs
fixed: {{dataset: scale, modality: T2w}}
moving: {{dataset: scale, modality: T1w}}
alignment: none
pairs: {pairs}
seed: 1
"""
_STUDY = """\
study: scale
title: A study whose overhead is measured
experiments: [scale]
runs: [{runs}]
ours: {ours}
seed: 1
results: results
panels: 0
"""


@dataclass(frozen=True)
class Clone:
    """A clone of the repository at one commit, with a study of virtual persons.

    Attributes:
        commit: the name of the commit; ``today`` for the one that is checked out here.
    """

    root: Path
    commit: str

    @property
    def chunks(self) -> bool:
        """Return whether this commit knows the key ``pairs_per_job``."""
        schema = self.root / "workflow" / "schemas" / "study.schema.yaml"
        return "pairs_per_job" in schema.read_text(encoding="utf-8")

    def study(
        self, pairs: int, runs: Sequence[str], pairs_per_job: int, ours: str = "identity"
    ) -> None:
        """Write the study's files."""
        persons = 2
        while persons * (persons - 1) < pairs:
            persons += 1
        files = {
            "datasets/scale.yaml": _DATASET.format(persons=persons),
            "experiments/scale.yaml": _EXPERIMENT.format(pairs=pairs),
            "config.yaml": _STUDY.format(runs=", ".join(runs), ours=ours),
        }
        if self.chunks:
            files["config.yaml"] += f"pairs_per_job: {pairs_per_job}\n"
        for name, text in files.items():
            (self.root / "config" / name).write_text(text, encoding="utf-8")

    def snakemake(self, *arguments: str, cores: int = 1) -> Costs:
        """Run Snakemake here and return what it cost, with all its jobs."""
        profile = ["--workflow-profile", "workflow/profiles/default", "--cores", str(cores)]
        command = [sys.executable, "-m", "snakemake", *arguments, *profile]
        return _cost_of(command, self.root)

    def start_of_job(self, job: str) -> Costs:
        """Start Snakemake for one job as a job of Slurm does, but run nothing."""
        options = ("--dry-run", "--quiet", "all", "--mode", "remote", "--force", "--cores", "1")
        command = [sys.executable, "-m", "snakemake", *options, "--target-jobs", job]
        return _cost_of(command, self.root)


@dataclass(frozen=True)
class Costs:
    """CPU seconds of a command and of all that it started, its largest process, MB, and its
    words.
    """

    cpu_seconds: float
    peak_memory_mb: float
    said: str


@explains_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing, write the table and its page, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--before", help="another commit to measure beside, such as a tag")
    add_results(parser)
    options = parser.parse_args(arguments)
    table = Table(options.results / "overhead.tsv", KEYS, stamps=("date",))
    for commit in filter(None, (options.before, TODAY)):
        with cloned(commit) as clone:
            for row in measured(clone, table):
                table.put(row)
                print(json.dumps(row), flush=True)
    write_overhead_page(table.rows, options.results / "overhead.md")
    return 0


def measured(clone: Clone, table: Table) -> Iterator[dict[str, object]]:
    """Yield a row for each measurement that ``table`` lacks."""
    chunks = _CHUNKS if clone.chunks else (1,)
    about = {"commit": clone.commit, **provenance()}
    for pairs in _PLANS if clone.commit == TODAY else _PLANS[:1]:
        for size in chunks:
            keys = {"what": "plan", "pairs": pairs, "runs": len(_RUNS), "pairs_per_job": size}
            if not table.has(keys | about):
                yield keys | planned(clone, pairs, size) | about
    for size in chunks:
        keys = {"what": "pair", "pairs": _REGISTERED, "runs": 1, "pairs_per_job": size}
        if not table.has(keys | about):
            yield keys | registered(clone, size) | about


def planned(clone: Clone, pairs: int, pairs_per_job: int) -> dict[str, object]:
    """Return what a dry run of a study costs, and what the start of one of its jobs costs."""
    clone.study(pairs, _RUNS, pairs_per_job)
    plan = clone.snakemake("--dry-run", "--quiet", "rules")
    start = clone.start_of_job("draw_pairs:experiment=scale")
    jobs = next(line for line in plan.said.splitlines() if line.startswith("total "))
    return {
        "jobs": int(jobs.split()[1]),
        "cpu_seconds": plan.cpu_seconds,
        "peak_memory_mb": plan.peak_memory_mb,
        "start_cpu_seconds": start.cpu_seconds,
    }


def registered(clone: Clone, pairs_per_job: int) -> dict[str, object]:
    """Return what registering and evaluating one pair costs beside its method.

    Scans and pairs are prepared before. The plan, which is made once for all pairs, is taken off.
    """
    clone.study(_REGISTERED, ["identity"], pairs_per_job)
    shutil.rmtree(clone.root / "results", ignore_errors=True)
    pairs = [f"results/pairs/scale/{pair}/receipt.json" for pair in _pairs(clone)]
    clone.snakemake(*pairs, "--quiet", "all")
    target = "results/studies/scale/metrics.tsv"
    plan = clone.snakemake(target, "--dry-run", "--quiet", "all")
    whole = clone.snakemake(target, "--quiet", "all")
    receipts = list(clone.root.glob("results/registrations/scale/*/identity/receipt.json"))
    if len(receipts) != _REGISTERED:
        raise RuntimeError(f"{len(receipts)} of {_REGISTERED} pairs are registered: {whole.said}")
    method = sum(json.loads(receipt.read_text())["cpu_seconds"] for receipt in receipts)
    beside = whole.cpu_seconds - plan.cpu_seconds - method
    return {
        "jobs": -(-_REGISTERED // pairs_per_job) if clone.chunks else 2 * _REGISTERED,
        "cpu_seconds": beside / _REGISTERED,
        "peak_memory_mb": whole.peak_memory_mb,
        "start_cpu_seconds": "",
    }


def _pairs(clone: Clone) -> list[str]:
    clone.snakemake("results/pairs/scale/pairs.tsv", "--quiet", "all")
    table = (clone.root / "results" / "pairs" / "scale" / "pairs.tsv").read_text(encoding="utf-8")
    return [line.split("\t")[0] for line in table.splitlines()[1:]]


@contextmanager
def cloned(commit: str) -> Iterator[Clone]:
    """Yield a clone at ``commit``, or at the commit that is checked out here."""
    with tempfile.TemporaryDirectory(prefix="diffeode-overhead-") as folder:
        root = Path(folder) / "clone"
        clone = ["git", "clone", "--quiet", "--no-checkout", str(REPOSITORY), str(root)]
        subprocess.run(clone, check=True)
        revision = "HEAD" if commit == TODAY else commit
        subprocess.run(["git", "-C", str(root), "checkout", "--quiet", revision], check=True)
        yield Clone(root, commit)


def _cost_of(command: list[str], folder: Path) -> Costs:
    environment = {name: value for name, value in os.environ.items() if name not in _NOT_PASSED_ON}
    with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
        running = subprocess.Popen(
            command,
            cwd=folder,
            env=environment | {"OMP_NUM_THREADS": "1"},
            stdout=said,
            stderr=subprocess.STDOUT,
        )
        _, status, used = os.wait4(running.pid, 0)
        said.seek(0)
        words = said.read()
    if status:
        raise RuntimeError(f"{' '.join(command)} failed: {words}")
    return Costs(round(used.ru_utime + used.ru_stime, 2), round(used.ru_maxrss / 1000, 1), words)


if __name__ == "__main__":
    sys.exit(main())
