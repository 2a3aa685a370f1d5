"""A clone with a tiny study whose methods get into trouble, but only in a job of Slurm.

Each start of a registration is written to ``starts.txt``: the method, Slurm's job, its node, the
memory and time that Slurm has given it, and the array that it is a task of.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml
from clones import EXPERIMENT, copy_files, tiny_dataset
from loopback import Loopback

_PATIENCE_S = 400
# tests that run in the background ignore interrupts, and their processes would inherit that
_INTERRUPTIBLE = ("env", "--default-signal=INT")

METHODS = ("affine", "gated", "hungry", "slow", "lost")
TABLES = ("metrics.tsv", "tables/summary.tsv", "tables/wilcoxon.tsv")
"""The tables of the study that a run on this machine makes for comparison."""
_STUDY = f"""\
study: tiny
title: Tiny study
experiments: [tiny]
runs: [{", ".join(METHODS)}]
ours: affine
seed: 1
results: results
panels: 0
"""
_SMALL = {"mem_mb": "1300 * attempt", "runtime": "10 * attempt"}
_METHOD = '''
import os
import re
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from diffeode.geometry.transform import Affine
from diffeode.registration.base import Method, Registration

ROOT = Path(__file__).resolve().parents[3]


@dataclass(frozen=True)
class {title}(Method):
    title = "{title}"
    citation = "none"

    def register(self, pair, machine):
        if "SLURM_JOB_ID" in os.environ:
            starts = note_start()
            {trouble}
        return Registration(Affine(), Affine())


def note_start():
    """Write down this start, and return how many there have been."""
    job = os.environ["SLURM_JOB_ID"]
    told = subprocess.run(["scontrol", "-o", "show", "job", job], capture_output=True, text=True)
    facts = dict(re.findall(r"(\\w+)=(\\S*)", told.stdout))
    memory, limit = facts["MinMemoryNode"], facts["TimeLimit"]
    node, array = os.environ["SLURMD_NODENAME"], facts.get("ArrayJobId", "{alone}")
    with (ROOT / "starts.txt").open("a") as file:
        print("{name}", job, node, memory, limit, array, file=file, flush=True)
    lines = (ROOT / "starts.txt").read_text().splitlines()
    return sum(line.startswith("{name} ") for line in lines)
'''
_NOTING = """

import json
import os
import tempfile

with open({file!r}, "w") as noted:
    json.dump({{**os.environ, "temporary": tempfile.gettempdir()}}, noted)
"""
ALONE = "alone"
"""Stands for the array of a job that is a task of none."""
_TROUBLES = {
    "gated": """while not (ROOT / "gate").exists():
                time.sleep(0.2)""",
    "hungry": """if starts == 1:
                filled = bytearray(1_200_000_000)
                time.sleep(600)""",
    "slow": """if starts == 1:
                time.sleep(600)""",
    "lost": """if starts == 1:
                time.sleep(600)""",
}


@dataclass(frozen=True)
class Start:
    """A start of a registration in a job of Slurm.

    Attributes:
        array: the number of the array of Slurm that the job is a task of, or :data:`ALONE`.
    """

    method: str
    job: str
    node: str
    memory: str
    limit: str
    array: str


class Clone:
    """A copy of the repository's files with the tiny study.

    Args:
        root: its folder, which is made.
        troubled: the methods that get into trouble; the others end at once.
    """

    def __init__(
        self, root: Path, cluster: Loopback, troubled: Iterable[str] = tuple(_TROUBLES)
    ) -> None:
        self.root, self._cluster = root, cluster
        self._runs: list[Run] = []
        copy_files(root)
        self._write("config/datasets/tiny.yaml", tiny_dataset(persons=2))
        self._write("config/experiments/tiny.yaml", EXPERIMENT)
        self._write("config/config.yaml", _STUDY)
        for name, trouble in _TROUBLES.items():
            code = _METHOD.format(
                name=name,
                title=name.title(),
                trouble=trouble if name in troubled else "",
                alone=ALONE,
            )
            self._write(f"src/diffeode/methods/{name}.py", code)
            self._write(f"config/methods/{name}.yaml", f"method: {name}\n")
        self.write_profile("test")

    def write_profile(self, name: str, **resources: str) -> None:
        """Write the profile for Slurm with short waits and small requests.

        Args:
            resources: more resources that every job asks for.
        """
        small = _SMALL | resources
        rules = {rule: dict(small) for rule in ("prepare", "align", "register")}
        # the job whose node is lost is alone there, so that nobody has to wait for the others
        rules["register"]["slurm_extra"] = (
            "'--prefer=second' if wildcards.run == 'lost' else '--prefer=first'"
        )
        self._write_profile(name, "slurm", small, rules)

    def write_profile_of_arrays(self, name: str) -> None:
        """Write the profile for arrays in the same way; all registrations ask for the same."""
        rules = {rule: dict(_SMALL) for rule in ("prepare", "align", "register")}
        self._write_profile(name, "slurm-array", _SMALL, rules)

    def _write_profile(
        self, name: str, of: str, default: dict[str, str], rules: dict[str, dict[str, str]]
    ) -> None:
        text = self.path(f"workflow/profiles/{of}/config.yaml").read_text(encoding="utf-8")
        profile = yaml.safe_load(text) | {
            "default-resources": default,
            "set-resources": rules,
            "slurm-init-seconds-before-status-checks": 1,
            "seconds-between-status-checks": 1,
            "latency-wait": 5,
        }
        self._write(f"workflow/profiles/{name}/config.yaml", yaml.safe_dump(profile))

    def start(self, *arguments: str, profile: str = "test") -> Run:
        """Start Snakemake with a profile for Slurm; what it says goes to a file."""
        arguments = (*arguments, "--workflow-profile", f"workflow/profiles/{profile}")
        self._runs.append(Run(self, self._cluster, arguments))
        return self._runs[-1]

    def note_surroundings(self, script: str) -> Path:
        """Let a script of the workflow write down the variables of its process and its folder for
        temporary files; return the file, which is JSON.
        """
        file = self.root / f"{script}.json"
        relative = f"workflow/scripts/{script}.py"
        text = self.path(relative).read_text(encoding="utf-8")
        self._write(relative, text + _NOTING.format(file=str(file)))
        return file

    def close(self) -> None:
        """Kill every run that has not ended."""
        for run in self._runs:
            run.kill()

    def environment(self) -> dict[str, str]:
        """Return the variables of Snakemake's process."""
        left_out = ("PYTHONPATH", "PYTHONDONTWRITEBYTECODE")
        own = {key: value for key, value in os.environ.items() if key not in left_out}
        return own | self._cluster.environment | {"OMP_NUM_THREADS": "1"}

    def starts(self, method: str) -> list[Start]:
        """Return the starts of a method, in their order."""
        file = self.root / "starts.txt"
        lines = file.read_text(encoding="utf-8").splitlines() if file.is_file() else []
        return [
            start for start in (Start(*line.split()) for line in lines) if start.method == method
        ]

    def unit(self, method: str) -> str:
        """Return the path of the receipt of a method's registration of the one pair."""
        return f"results/registrations/tiny/sub-02_T2w__sub-01_T1w/{method}/receipt.json"

    def path(self, relative: str) -> Path:
        return self.root / relative

    def _write(self, relative: str, text: str) -> None:
        path = self.root / relative
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")


class Run:
    """A run of Snakemake in a process of its own."""

    def __init__(self, clone: Clone, cluster: Loopback, arguments: tuple[str, ...]) -> None:
        self._cluster = cluster
        self._console = clone.root / f"console-{time.monotonic_ns()}.txt"
        with self._console.open("w") as console:
            self.process = subprocess.Popen(
                [*_INTERRUPTIBLE, sys.executable, "-m", "snakemake", *arguments],
                cwd=clone.root,
                env=clone.environment(),
                stdin=subprocess.DEVNULL,
                stdout=console,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )

    @property
    def said(self) -> str:
        """What it has said so far."""
        return self._console.read_text(encoding="utf-8", errors="replace")

    def wait_until(self, is_so: Callable[[], object], what: str) -> None:
        """Wait until something is so while this runs."""
        end = time.monotonic() + _PATIENCE_S
        while not is_so():
            queue = self._cluster.queue()
            assert self.process.poll() is None, f"It ended before {what}:\n{self.said}"
            assert time.monotonic() < end, f"Waited in vain until {what}:\n{self.said}\n{queue}"
            time.sleep(0.2)

    def interrupt(self) -> None:
        """Interrupt it as Ctrl-C does, and wait for its end."""
        self.process.send_signal(signal.SIGINT)
        self.process.wait(60)

    def kill(self) -> None:
        """Kill it, and leave the lock of a process that is gone."""
        self.process.kill()
        self.process.wait()

    def end(self) -> int:
        """Wait for its end and return the exit code."""
        return self.process.wait(_PATIENCE_S)
