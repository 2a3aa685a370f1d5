"""The plan of a study of a BIDS folder: its scans, its pairs and the study's file."""

from __future__ import annotations

import tempfile
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import yaml

from diffeode.bids_app.folders import described_source, require_out
from diffeode.bids_app.label_maps import (
    structures,
    structures_in_both,
    with_label_maps,
)
from diffeode.bids_app.names import require_distinct_descs
from diffeode.bids_app.pairing import pairs_of
from diffeode.bids_app.request import AUTO, Request
from diffeode.bids_app.tasks import OTHER_PERSONS, SAME_PERSON, TEMPLATE, Task
from diffeode.bids_app.template import TEMPLATE_DATASET, Target, target_of
from diffeode.bids_app.visits import DATASET, usable_scans
from diffeode.datasets.bids import DESCRIPTION
from diffeode.datasets.listed import write_list
from diffeode.datasets.pairs import PlannedPair
from diffeode.datasets.scan import Scan
from diffeode.errors import InputError
from diffeode.evaluation.labels import COLUMNS as LABEL_COLUMNS
from diffeode.evaluation.labels import SUBSET, read_label_table
from diffeode.files import io
from diffeode.files.tables import read_words, write_rows
from diffeode.names import nearest, readable
from diffeode.prepare.brain import stripped_brain_or_none
from diffeode.prepare.needs import missing
from diffeode.prepare.recipe import recipe_choices
from diffeode.registration.runs import Run, obstacles
from diffeode.study.files import load_study, require_nameable, study_paths
from diffeode.study.runs import read_runs

STUDY, SCANS, PAIRS, LABELS, LEFT_OUT = (
    "study.yaml",
    "scans.tsv",
    "pairs.tsv",
    "labels.tsv",
    "left_out.tsv",
)
WORK = "work"
"""Name of the folder of the workflow's files in the folder of the results."""
_SHOWN = 5
_PANELS = 3
"""Number of pairs that the report shows one by one."""
_HEADS = {"brain": "mindgrab", "bias": "n4"}


@final
@dataclass(frozen=True)
class Plan:
    """What a request leads to.

    Attributes:
        description: the content of the folder's ``dataset_description.json``.
        pairs: the pairs that are registered.
        runs: the runs, our default first.
        left_out: what is wrong with the visits and persons that are left out, by their names.
        unusable: those of ``left_out`` that have a scan which cannot be used; others lack one.
        notes: sentences that the user should read.
        recipe: how the scans are prepared (``prepare`` of a dataset).
        target: the template, where everyone is registered to one.
        structures: the rows of the label table that is made here; empty where none is.
        faulty_labels: what is wrong with the label maps that cannot be used, by the names of their
            scans.
    """

    request: Request
    description: Mapping[str, Any]
    pairs: tuple[PlannedPair, ...]
    runs: tuple[Run, ...]
    left_out: Mapping[str, str]
    notes: tuple[str, ...]
    recipe: Mapping[str, Any]
    target: Target | None
    structures: tuple[Mapping[str, Any], ...]
    unusable: Collection[str] = ()
    faulty_labels: Mapping[str, str] = field(default_factory=dict)

    @property
    def scans(self) -> list[Scan]:
        """Every scan of the folder that is in a pair, each once."""
        used = (scan for pair in self.pairs for scan in (pair.fixed, pair.moving))
        of_folder = {scan.id: scan for scan in used if scan.dataset == DATASET}
        return [of_folder[name] for name in sorted(of_folder)]

    @property
    def source_name(self) -> str:
        """The name of the BIDS folder, for titles."""
        return readable(self.description.get("Name", "") or self.request.source.resolve().name)

    @property
    def title(self) -> str:
        """The title of the study."""
        template = self.target.title if self.target else ""
        request = self.request
        task = request.task.title.format(
            moving=request.moving, fixed=request.fixed, template=template
        )
        return f"{self.source_name}: {task}"

    def run(self, name: str) -> Run:
        """Return the run called ``name``."""
        return next(run for run in self.runs if run.name == name)

    def summary(self) -> list[str]:
        """Return lines that tell what will be registered, and who is left out."""
        persons = len({scan.subject for scan in self.scans})
        lines = [
            f"{self.title}: {_counted(len(self.pairs), 'pair')} of "
            f"{_counted(persons, 'participant')}, registered by "
            f"{', '.join(run.name for run in self.runs)}.",
            self._about_labels(),
        ]
        lines += [f"Left out: {name}: {reason}" for name, reason in sorted(self.left_out.items())]
        lines += [
            f"Without Dice for {scan}: {why}" for scan, why in sorted(self.faulty_labels.items())
        ]
        return [*lines, *self.notes]

    def _about_labels(self) -> str:
        """Return a sentence about the label maps by which Dice is measured."""
        labelled = sum(
            1 for scan in self.scans if scan.labels and scan.id not in self.faulty_labels
        )
        if self.target and not self.target.labels:
            return (
                "The template has no label map, so Dice is not measured; --template-labels names "
                "that of one's own template."
            )
        if not labelled:
            return "No scan has a label map, so Dice is not measured."
        template = "The template and " if self.target else ""
        return f"{template}{labelled} of {len(self.scans)} scans have a label map for Dice."

    def content(self, folder: Path) -> dict[str, Any]:
        """Return the study's file, whose tables lie in ``folder``."""
        task, request = self.request.task.name, self.request
        datasets = {DATASET: self._dataset(folder)}
        if self.target:
            label_table = self._label_table(folder)
            datasets[TEMPLATE_DATASET] = self.target.dataset(folder, label_table)
        fixed = TEMPLATE_DATASET if self.target else DATASET
        experiment = {
            "title": self.title,
            "fixed": {"dataset": fixed, "modality": request.fixed},
            "moving": {"dataset": DATASET, "modality": request.moving},
            "alignment": "affine",
            "persons": "same" if request.task.of_one_person else "different",
            "pairs": str(folder / PAIRS),
            "seed": request.seed,
        }
        return {
            "study": task,
            "title": self.title,
            "experiments": [task],
            "runs": [run.name for run in self.runs],
            "ours": self.runs[0].name,
            "seed": request.seed,
            "results": WORK,
            "panels": _PANELS,
            "gpu": request.gpu,
            "own": {"datasets": datasets, "experiments": {task: experiment}},
        }

    def write(self, folder: Path, made_by: str) -> Path:
        """Write the study's file and its tables to ``folder``, and return the study's file.

        Args:
            made_by: the command line, which the file tells.
        """
        if self.target:
            self.target.write(folder)
        source = self.request.source
        write_list(folder / SCANS, source, self.scans)
        rows = [{"fixed": pair.fixed.id, "moving": pair.moving.id} for pair in self.pairs]
        write_rows(folder / PAIRS, ["fixed", "moving"], rows)
        left_out = [{"name": name, "reason": why} for name, why in sorted(self.left_out.items())]
        write_rows(folder / LEFT_OUT, ["name", "reason"], left_out)
        if self.structures:
            columns = [column for column in LABEL_COLUMNS if column != SUBSET]
            write_rows(folder / LABELS, columns, self.structures)
        text = yaml.safe_dump(self.content(folder), sort_keys=False, allow_unicode=True, width=100)
        io.write_text(folder / STUDY, f"# Written by: {readable(made_by)}\n{text}")
        return folder / STUDY

    def _dataset(self, folder: Path) -> dict[str, Any]:
        any_labels = any(scan.labels for scan in self.scans)
        return {
            "title": self.source_name,
            "kind": "listed",
            "root": str(self.request.source),
            "table": str(folder / SCANS),
            "labels": self._label_table(folder) if any_labels else None,
            "prepare": dict(self.recipe),
            **({"are_scans": True} if self.request.are_scans else {}),
            **self._about(),
        }

    def _about(self) -> dict[str, str]:
        """Return what the folder's description tells for the section on methods."""
        keys = {"source": "DatasetDOI", "licence": "License"}
        told = {key: self.description.get(name) for key, name in keys.items()}
        return {key: readable(text) for key, text in told.items() if text and isinstance(text, str)}

    def _label_table(self, folder: Path) -> str | None:
        """Return the table of the structures: a name of ``config/labels``, or a path."""
        if self.structures:
            return str(folder / LABELS)
        given = self.request.labels
        return str(Path(given).absolute()) if given and given.endswith(".tsv") else given


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def plan_of(request: Request, repository: Path) -> Plan:
    """Return the plan of what is asked for. Nothing is written.

    Args:
        repository: the folder of the workflow.

    Raises:
        InputError: a folder, a name or a choice cannot be used, or nothing is left to register.
    """
    description = described_source(request.source)
    require_out(request.source, request.out)
    runs = _runs(request)
    _require_contrasts(request)
    target = target_of(request)
    contrasts = [request.moving] if target else [request.fixed, request.moving]
    scans, left_out, unusable = usable_scans(request, list(dict.fromkeys(contrasts)))
    pairs, lacking = pairs_of(
        request.task,
        scans,
        request.moving,
        request.fixed,
        template=target.scan if target else None,
        one_session=request.sessions is None,
        count=request.pairs,
        kept=_drawn_before(request),
        seed=request.seed,
    )
    left_out = {**left_out, **lacking}
    if not pairs:
        raise InputError(_why_no_pairs(request, scans, left_out))
    pairs, faulty_labels, notes = _with_labels(request, pairs)
    recipe, about = _recipe(request, pairs)
    rows, apart = _structures(request, pairs)
    plan = Plan(
        request=request,
        description=description,
        pairs=tuple(pairs),
        runs=runs,
        left_out=left_out,
        notes=(*_about_description(request, description), *notes, *apart, *about),
        recipe=recipe,
        target=target,
        structures=tuple(rows),
        unusable=unusable,
        faulty_labels=faulty_labels,
    )
    _require_sound(plan, repository)
    return plan


def _about_description(request: Request, description: Mapping[str, Any]) -> list[str]:
    if description:
        return []
    return [
        f"{request.source} has no {DESCRIPTION}, which BIDS asks for; the scans are read anyway."
    ]


def _runs(request: Request) -> tuple[Run, ...]:
    runs, _ = read_runs(list(dict.fromkeys(request.runs)), "The command line")
    require_distinct_descs(runs)
    trained = [run.name for run in runs if run.is_trained_first]
    if trained:
        raise InputError(
            f"Run {trained[0]} is trained before it registers, and a study of a BIDS folder cannot "
            "say on whom; write a study with train_on (config/README.md), or name another run."
        )
    if faults := obstacles(runs):
        raise InputError(faults[0])
    return runs


def _require_contrasts(request: Request) -> None:
    for contrast in (request.moving, request.fixed):
        if not (contrast.isascii() and contrast.isalnum()):
            raise InputError(f"{contrast!r} is no contrast; give a BIDS suffix such as T1w.")
    if request.moving == request.fixed and request.task == SAME_PERSON:
        raise InputError(
            f"Task {request.task.name} registers two contrasts of one session, and both sides are "
            f"{request.moving}; name another --fixed-modality or --moving-modality."
        )
    _require_template_task("--template", request.template, request.task)
    _require_template_task("--template-labels", request.template_labels, request.task)


def _require_template_task(option: str, given: Path | None, task: Task) -> None:
    if given and task != TEMPLATE:
        raise InputError(
            f"{option} is for the task {TEMPLATE.name}; add --task {TEMPLATE.name}, or leave it "
            "out."
        )


def _drawn_before(request: Request) -> set[str]:
    """Return the names of the pairs that an earlier run of the same task registered."""
    try:
        rows = read_words(request.code / PAIRS)
        return {f"{row.fixed}__{row.moving}" for row in rows.itertuples()}
    except (InputError, AttributeError):  # there was none, and the pairs are drawn anew
        return set()


def _why_no_pairs(request: Request, scans: Sequence[Scan], left_out: Mapping[str, str]) -> str:
    reasons = [f"{name}: {why}" for name, why in sorted(left_out.items())]
    more = f"; and {len(reasons) - _SHOWN} more" if len(reasons) > _SHOWN else ""
    shown = f" ({'; '.join(reason.rstrip('.') for reason in reasons[:_SHOWN])}{more})"
    persons = sorted({scan.subject for scan in scans})
    if request.task == OTHER_PERSONS and len(persons) == 1:
        return (
            f"Task {request.task.name} needs two participants or more, and only "
            f"sub-{persons[0]} is left{shown if reasons else ''}; name more participants."
        )
    return (
        f"Nothing is left to register by task {request.task.name}{shown if reasons else ''}; add "
        "scans, or choose other participants, sessions or contrasts."
    )


def _with_labels(
    request: Request, pairs: Sequence[PlannedPair]
) -> tuple[list[PlannedPair], dict[str, str], list[str]]:
    """Return the pairs whose scans have their label maps, and what
    :func:`diffeode.bids_app.label_maps.with_label_maps` says of others.

    Raises:
        InputError: as that function; or the template has a label map and no scan one to compare.
    """
    every = {
        scan.key: scan
        for pair in pairs
        for scan in (pair.fixed, pair.moving)
        if scan.dataset == DATASET
    }
    labelled, faults, notes = with_label_maps(request, every.values())
    if request.template_labels:
        _require_any_labels(labelled, faults)
    by_key = {scan.key: scan for scan in labelled}
    sides = [[by_key.get(scan.key, scan) for scan in (pair.fixed, pair.moving)] for pair in pairs]
    paired = [PlannedPair(*both, request.task.of_one_person) for both in sides]
    return paired, faults, notes


def _require_any_labels(scans: Sequence[Scan], faults: Mapping[str, str]) -> None:
    """Raise :class:`InputError` where no scan has a label map that can be used."""
    if any(scan.labels and scan.id not in faults for scan in scans):
        return
    reasons = [f"{name}: {why.rstrip('.')}" for name, why in sorted(faults.items())]
    raise InputError(
        "--template-labels is compared with label maps of the scans, and no scan has one that can "
        f"be used{f' ({reasons[0]})' if reasons else ''}; add them (docs/bids.md), or leave "
        "--template-labels out."
    )


def _structures(
    request: Request, pairs: Sequence[PlannedPair]
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the rows of the label table, and sentences about structures that are not in it."""
    if request.labels is not None:
        return [], []
    if request.template_labels:
        return structures_in_both(pairs[0].fixed, [pair.moving for pair in pairs])
    return structures(scan for pair in pairs for scan in (pair.fixed, pair.moving)), []


def _recipe(request: Request, pairs: Sequence[PlannedPair]) -> tuple[dict[str, Any], list[str]]:
    """Return how scans are prepared, and sentences about what was chosen for the user."""
    known = recipe_choices()["brain"]
    notes = []
    if request.brain != AUTO:
        if request.brain not in known:
            raise InputError(
                f"There is no tool {request.brain!r} that finds brains"
                f"{nearest(request.brain, (AUTO, *known))}."
            )
        recipe = {"brain": request.brain}
        if request.brain not in ("nonzero", "labels"):
            recipe["bias"] = "n4"
    elif head := _whole_head(pairs):
        recipe = dict(_HEADS)
        notes.append(
            f"{head.id} shows a whole head, so brains are found by {recipe['brain']} and the bias "
            f"field is removed by {recipe['bias']}; --brain chooses another tool."
        )
    else:
        recipe = {"brain": "nonzero"}
    for step, choice in recipe.items():
        if why := missing(step, choice):
            raise InputError(why)
    if request.spacing_mm is not None:
        recipe["spacing_mm"] = request.spacing_mm
    return recipe, notes


def _whole_head(pairs: Sequence[PlannedPair]) -> Scan | None:
    """Return the first scan of a contrast that shows a whole head, or None where the first scans of
    all contrasts come skull-stripped.
    """
    of_contrast: dict[str, dict[str, Scan]] = {}
    for pair in pairs:
        for scan in (pair.fixed, pair.moving):
            if scan.dataset == DATASET:
                of_contrast.setdefault(scan.modality, {})[scan.id] = scan
    return next(filter(None, map(_head_among, of_contrast.values())), None)


def _head_among(scans: Mapping[str, Scan]) -> Scan | None:
    """Return the first scan that can be read, where it shows a whole head; else None.

    What is wrong with the others is said when they are prepared.
    """
    for scan in scans.values():
        with suppress(InputError):
            return scan if stripped_brain_or_none(io.read_image(scan.image)) is None else None
    return None


def _require_sound(plan: Plan, repository: Path) -> None:
    """Raise :class:`InputError` where the workflow would refuse the study."""
    with tempfile.TemporaryDirectory() as folder:
        plan.write(Path(folder), "a check")
        study = load_study(plan.content(Path(folder)), repository)
        _require_table_of_template(plan, study.experiments[0].labels)
        out = plan.request.out
        require_nameable(study_paths(replace(study, results=out / WORK)))


def _require_table_of_template(plan: Plan, table: Path | None) -> None:
    """Raise :class:`InputError` where the label map of the template has no structure of ``table``,
    the label table of the study.
    """
    labels = plan.target.labels if plan.target else None
    if labels is None or table is None:
        return
    wanted = read_label_table(table)["id"].to_numpy()
    if not np.isin(io.read_labels(labels).data, wanted).any():
        raise InputError(
            f"The label map {labels} of the template holds none of the structures of "
            f"{plan.request.labels} (--labels); name the table of its atlas, or leave --labels out."
        )
