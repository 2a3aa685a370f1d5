"""The unit of the accuracy benchmark, one run on one pair, and the identity of its code."""

from __future__ import annotations

import hashlib
import json
import re
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from _comparisons import Comparison

from diffeode.errors import InputError
from diffeode.provenance.software import registering_versions
from diffeode.provenance.source import code_hash
from diffeode.registration.knobs import as_parameters
from diffeode.registration.registry import method_module
from diffeode.registration.runs import Run, load_run

KEYS = ("fixed", "moving", "run")
"""Columns that tell the rows of a task apart."""
STAMPS = ("code", "pair")
"""Columns with the identity of the run's code and of the pair's files, by which a row was
measured.
"""
_HERE = Path(__file__).resolve().parent


@dataclass(frozen=True)
class Unit:
    """One registration to measure."""

    comparison: Comparison
    table: str
    fixed: str
    moving: str
    run: str
    threads: int

    @property
    def pair(self) -> tuple[str, str, str]:
        """The task, the fixed and the moving scan."""
        return self.comparison.name, self.fixed, self.moving

    def row(self, pair: str) -> dict[str, object]:
        """Return the first columns of its row.

        Args:
            pair: the :func:`_cases.case_digest` of its pair, or empty where there is no pair.
        """
        return {
            "task": self.table,
            "fixed": self.fixed,
            "moving": self.moving,
            "run": self.run,
            "threads": self.threads,
            "code": run_code(self.run, self.threads),
            "pair": pair,
        }


def run_code(name: str, threads: int) -> str:
    """Return twelve hexadecimal digits of everything but the pair that can change a row.

    This is the code, the settings and the versions of software.
    """
    run = load_run(name)
    parts = [
        _code_behind(run.method, "_register.py"),
        run.parameters,
        threads,
        registering_versions(),
        *run.build().reads().values(),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


def changed_run_code(run: Run, threads: int) -> str:
    """Return the digits of :func:`run_code` for a run with changed settings; all settings count."""
    method = run.build()
    parts = [
        _code_behind(run.method),
        as_parameters(method, whole=True),
        threads,
        registering_versions(),
        *method.reads().values(),
    ]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()[:12]


@cache
def _code_behind(method: str, *scripts: str) -> str:
    """Return a hash of the code that registers and evaluates, and of ``scripts`` of this folder."""
    modules = (
        method_module(method),
        "diffeode.registration.harness",
        "diffeode.evaluation.evaluate",
    )
    return code_hash(*modules, *(_HERE / name for name in ("_judged.py", *scripts)))


def subjects_of(text: str) -> tuple[str, ...]:
    """Return the subjects that ``text`` lists by numbers and ranges; leading zeros are kept.

    >>> subjects_of("01-03,07")
    ('01', '02', '03', '07')

    Raises:
        InputError: a part of ``text`` is neither a number nor a range.
    """
    found: list[str] = []
    for part in text.split(","):
        match = re.fullmatch(r"(\d+)(?:-(\d+))?", part.strip())
        if not match:
            raise InputError(f"Subjects are {part!r}; give numbers as 07,08 or 01-06.")
        first, last = match[1], match[2] or match[1]
        found += [str(number).zfill(len(first)) for number in range(int(first), int(last) + 1)]
    return tuple(dict.fromkeys(found))
