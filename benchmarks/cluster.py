"""Simulate a large study on a Slurm cluster on this machine, and measure what it costs beside its
methods; see README.md.

The study has 300 pairs and 12 runs. Its method sleeps for a moment and finds no deformation, so
what is measured are planning, submitting, starting, aligning by headers, reading, writing and
evaluating. Scans have voxels of 12 mm, so that the last three cost little. Every measurement plans
the whole study and registers a part of it, or all of it (``--whole``). The cluster is that of
``make test-cluster`` and needs what that needs.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import yaml
from _cluster_page import write_cluster_page
from _command import add_results, explains_errors
from _comparisons import REPOSITORY
from _machine import provenance
from _tables import Table
from overhead import TODAY, Clone, cloned

from diffeode.errors import InputError, RegistrationError

sys.path.append(str(REPOSITORY / "tests" / "cluster"))
from loopback import Loopback, obstacle

KEYS = ("pairs_per_job", "pairs", "runs")


class Part(NamedTuple):
    """How many pairs a job holds, how many pairs are registered, and with how many runs."""

    pairs_per_job: int
    pairs: int
    runs: int


_PAIRS, _RUNS = 300, 12
_PARTS = (Part(1, 4, 3), Part(5, 20, 3), Part(20, 40, 3))
_WHOLE = Part(20, _PAIRS, _RUNS)
_JOBS_AT_ONCE = 3
_METHOD = '''"""Finds no deformation, and takes a moment."""

import time
from dataclasses import dataclass

from diffeode.geometry.transform import Affine
from diffeode.registration.base import Method, Registration


@dataclass(frozen=True)
class Sleeping(Method):
    title = "Sleeping"
    citation = "none"

    def register(self, pair, machine):
        time.sleep(0.05)
        return Registration(Affine(), Affine())
'''
# the parent of this script is the process of Slurm that waited for a job's script or its step
_NOTE_TIMES = """\
#!/bin/sh
echo "$SLURM_JOB_ID $(cut -d ' ' -f 16,17 /proc/$PPID/stat)" >> {table}
"""


@explains_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Measure what is missing, write the table and its page, and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--whole", action="store_true", help="run the whole study, too, which takes long"
    )
    add_results(parser)
    options = parser.parse_args(arguments)
    table = Table(options.results / "cluster.tsv", KEYS, stamps=("date",))
    asked = (*_PARTS, _WHOLE) if options.whole else _PARTS
    about = provenance()
    missing = [part for part in asked if not table.has(part._asdict() | about)]
    if missing:
        with cloned(TODAY) as clone, cluster(clone.root.parent / "slurm") as loopback:
            study = Study(clone, loopback)
            study.prepare()
            for part in missing:
                row = table.put(part._asdict() | study.measured(part) | about)
                print(json.dumps(row), flush=True)
    write_cluster_page(table.rows, options.results / "cluster.md")
    return 0


@contextmanager
def cluster(folder: Path) -> Iterator[Loopback]:
    """Yield a cluster of two nodes that notes the CPU time of every script and step of a job.

    Raises:
        InputError: no cluster can be set up here.
    """
    if reason := obstacle():
        raise InputError(f"No cluster can be set up here: {reason}.")
    folder.mkdir()
    note = folder / "note-times"
    note.write_text(_NOTE_TIMES.format(table=folder / "times"), encoding="utf-8")
    note.chmod(0o755)
    loopback = Loopback(folder, f"TaskEpilog={note}\n")
    try:
        loopback.start()
        yield loopback
    finally:
        loopback.stop()


@dataclass(frozen=True)
class Study:
    """The study in a clone, and the cluster that it runs on."""

    clone: Clone
    cluster: Loopback

    def prepare(self) -> None:
        """Write the study and prepare its scans on this machine."""
        names = [f"sleeping-{number:02d}" for number in range(1, _RUNS + 1)]
        self.clone.study(_PAIRS, names, _WHOLE.pairs_per_job, ours=names[0])
        dataset = self.clone.root / "config" / "datasets" / "scale.yaml"
        text = dataset.read_text(encoding="utf-8")
        dataset.write_text(text.replace("spacing_mm: null", "spacing_mm: 12"), encoding="utf-8")
        method = self.clone.root / "src" / "diffeode" / "methods" / "sleeping.py"
        method.write_text(_METHOD, encoding="utf-8")
        for name in names:
            run = self.clone.root / "config" / "methods" / f"{name}.yaml"
            run.write_text(f"method: sleeping\ntitle: {name.title()}\n", encoding="utf-8")
        self._write_profile()
        self.clone.snakemake("results/pairs/scale/pairs.tsv", "--quiet", "all")
        scans = {scan for pair in self.pairs() for scan in pair.split("__")}
        prepared = (f"results/prepared/scale/{scan}/receipt.json" for scan in sorted(scans))
        self.clone.snakemake(*prepared, "--quiet", "all")

    def pairs(self) -> list[str]:
        """Return the names of the pairs, in their order."""
        table = self.clone.root / "results" / "pairs" / "scale" / "pairs.tsv"
        return [line.split("\t")[0] for line in table.read_text(encoding="utf-8").splitlines()[1:]]

    def measured(self, part: Part) -> dict[str, object]:
        """Align and register a part of the study, and return what that cost.

        Raises:
            RegistrationError: the study failed.
        """
        results = self.clone.root / "results"
        for name in ("registrations", "metrics", "chunks", "studies"):
            shutil.rmtree(results / name, ignore_errors=True)
        for pair in self.pairs():
            shutil.rmtree(results / "pairs" / "scale" / pair, ignore_errors=True)
        names = [f"sleeping-{number:02d}" for number in range(1, part.runs + 1)]
        wanted = [(pair, name) for pair in self.pairs()[: part.pairs] for name in names]
        units = [f"results/registrations/scale/{pair}/{name}/receipt.json" for pair, name in wanted]
        targets = [] if part == _WHOLE else units
        times = self.cluster.state / "times"
        times.unlink(missing_ok=True)
        began = time.monotonic()
        plan, memory = self._run(*targets, "--config", f"pairs_per_job={part.pairs_per_job}")
        receipts = [
            json.loads((self.clone.root / unit).read_text(encoding="utf-8")) for unit in units
        ]
        if any(receipt["status"] != "done" for receipt in receipts):
            raise RegistrationError("A registration of the simulated study failed.")
        method = sum(receipt["cpu_seconds"] for receipt in receipts)
        of_rule, jobs = self._times_of_rules(times)
        return {
            "registrations": len(units),
            "jobs": sum(jobs.values()),
            "minutes": (time.monotonic() - began) / 60,
            "controller_cpu_seconds": plan,
            "controller_memory_mb": memory,
            "align_jobs": jobs["align"],
            "align_cpu_seconds": of_rule["align"],
            "register_jobs": jobs["register"],
            "register_cpu_seconds": of_rule["register"],
            "other_cpu_seconds": of_rule["other"],
            "cpu_seconds_a_registration": (of_rule["register"] - method) / len(units),
            "cpu_seconds_an_alignment": of_rule["align"] / part.pairs,
        }

    def _write_profile(self) -> None:
        """Write the profile for Slurm with small requests and short waits, as for one machine."""
        profiles = self.clone.root / "workflow" / "profiles"
        text = (profiles / "slurm" / "config.yaml").read_text(encoding="utf-8")
        small = {"mem_mb": "2000 * attempt", "runtime": "60 * attempt"}
        profile = yaml.safe_load(text) | {
            "default-resources": small,
            "set-resources": {"align": small, "register": small},
            "jobs": _JOBS_AT_ONCE,
            "slurm-init-seconds-before-status-checks": 2,
            "seconds-between-status-checks": 2,
            "latency-wait": 5,
        }
        (profiles / "simulated").mkdir()
        path = profiles / "simulated" / "config.yaml"
        path.write_text(yaml.safe_dump(profile), encoding="utf-8")

    def _run(self, *arguments: str) -> tuple[float, float]:
        """Run Snakemake on the cluster; return the CPU seconds and the largest memory, MB, of its
        own process and those that it waited for.
        """
        profile = ("--workflow-profile", "workflow/profiles/simulated")
        environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
        with tempfile.TemporaryFile("w+", encoding="utf-8") as said:
            running = subprocess.Popen(
                [sys.executable, "-m", "snakemake", *arguments, *profile],
                cwd=self.clone.root,
                env=environment | self.cluster.environment | {"OMP_NUM_THREADS": "1"},
                stdin=subprocess.DEVNULL,
                stdout=said,
                stderr=subprocess.STDOUT,
            )
            try:
                _, status, used = os.wait4(running.pid, 0)
            except KeyboardInterrupt:
                running.kill()
                raise
            said.seek(0)
            words = said.read()
        if status:
            raise RegistrationError(f"The simulated study failed: {words}")
        return used.ru_utime + used.ru_stime, used.ru_maxrss / 1000

    def _times_of_rules(self, times: Path) -> tuple[dict[str, float], dict[str, int]]:
        """Return the CPU seconds and the number of jobs of Slurm, by ``align``, ``register`` and
        ``other``.
        """
        seconds, jobs = defaultdict(float), defaultdict(set)
        rule_of = self._rules_of_jobs()
        ticks = os.sysconf("SC_CLK_TCK")
        for line in times.read_text(encoding="utf-8").splitlines():
            job, user, system = line.split()
            seconds[rule_of[job]] += (int(user) + int(system)) / ticks
            jobs[rule_of[job]].add(job)
        return seconds, defaultdict(int, {rule: len(found) for rule, found in jobs.items()})

    def _rules_of_jobs(self) -> dict[str, str]:
        """Return what each job of Slurm did, by its number."""
        journal = self.clone.root / "results" / ".slurm-jobs.tsv"
        found = {}
        for line in journal.read_text(encoding="utf-8").splitlines():
            job, file = line.split("\t")
            parts = Path(file).parts
            in_chunk = {4: "align", 5: "register"}.get(len(parts)) if "chunks" in parts else None
            found[job] = in_chunk or "other"
        return found


if __name__ == "__main__":
    sys.exit(main())
