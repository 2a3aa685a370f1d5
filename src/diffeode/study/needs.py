"""What a study needs of the machine: datasets, programs, weights and packages, and what of it is
missing.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

from diffeode.errors import InputError
from diffeode.files.checked_yaml import read_mapping
from diffeode.prepare.needs import missing
from diffeode.prepare.registry import all_tools
from diffeode.registration.runs import obstacles
from diffeode.study.descriptors import descriptor_of
from diffeode.study.files import parts_of_study
from diffeode.study.model import Dataset

KINDS = ("dataset", "preparation", "run")
"""The kinds of needs, in the order of a study's work."""


@final
@dataclass(frozen=True)
class Need:
    """One thing that a study uses.

    Attributes:
        kind: one of :data:`KINDS`.
        name: the name of the dataset, of the step and its tool, or of the run.
        problem: what is missing and what to do, as a sentence; empty where it can work here.
    """

    kind: str
    name: str
    problem: str


def needs_of(study: Path, repository: Path) -> list[Need]:
    """Return everything that the study in the file ``study`` needs, in the order of its work.

    Nothing is started to find out. Scans need not be there, and weights that the study trains do
    not count.

    Raises:
        InputError: the study's file, or one that it names, has an unknown key or value.
    """
    datasets, runs = parts_of_study(study, repository)
    results = Path(read_mapping(study)["results"])
    described = {run.name for run in runs if descriptor_of(run, repository, results)}
    return [
        *(Need("dataset", dataset.name, _scans_missing(dataset)) for dataset in datasets),
        *_templates(datasets),
        *_tools(datasets),
        *(Need("run", run.name, "".join(obstacles([run], provided=described))) for run in runs),
    ]


def merged(needs: Iterable[Need]) -> list[Need]:
    """Return each of ``needs`` once, sorted by kind in the order of a study's work.

    What has a name in several studies is here where no study lacks anything of it, and has every
    problem that one of them has with it.
    """
    problems: defaultdict[tuple[str, str], dict[str, None]] = defaultdict(dict)
    for need in needs:
        problems[need.kind, need.name] |= {need.problem: None} if need.problem else {}
    return [
        Need(kind, name, " ".join(found))
        for wanted in KINDS
        for (kind, name), found in problems.items()
        if kind == wanted
    ]


def _scans_missing(dataset: Dataset) -> str:
    try:
        scans = dataset.scans()
    except InputError as error:
        return str(error)
    return "" if scans else f"Dataset {dataset.name} has no scans in {dataset.root}."


def _templates(datasets: list[Dataset]) -> Iterator[Need]:
    """Yield the user's own templates."""
    for dataset in datasets:
        template = dataset.recipe.template
        for contrast, path in {} if isinstance(template, str) else template.items():
            absent = f"Dataset {dataset.name} names the template {path}, but there is no such file."
            problem = "" if Path(path).is_file() else absent
            yield Need("preparation", f"template of {dataset.name}, {contrast}", problem)


def _tools(datasets: list[Dataset]) -> Iterator[Need]:
    """Yield the tools of preparation that some dataset chooses and that need something."""
    for tool in all_tools():
        chosen = any(getattr(d.recipe, tool.step, None) == tool.name for d in datasets)
        if chosen and (tool.program or tool.weights):
            problem = missing(tool.step, tool.name) or ""
            yield Need("preparation", f"{tool.step}: {tool.name}", problem)
