"""Studies, datasets and experiments: their YAML files, read and checked before any work begins."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml
from jsonschema import Draft202012Validator
from jsonschema.exceptions import ValidationError

from diffeode.datasets.listing import list_dataset
from diffeode.datasets.pairs import PlannedPair, draw_pairs, pairs_drawn_before
from diffeode.datasets.scan import ANATOMICAL, Scan
from diffeode.datasets.selection import (
    Draw,
    Person,
    ScanKey,
    Selection,
    Split,
    person_of,
    read_exclusions,
    select,
    without_excluded,
)
from diffeode.errors import InputError
from diffeode.evaluation.labels import read_label_table
from diffeode.methods.runs import Run, load_run, run_names
from diffeode.names import nearest
from diffeode.prepare.recipe import Recipe
from diffeode.training.pairs import require_no_test_person

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_RAW_HEADS = {"brain": "mindgrab", "bias": "n4", "template": "icbm152"}
_KINDS = {"object": "a block of keys", "array": "a list", "string": "a word", "integer": "a whole number"}
_KINDS |= {"number": "a number", "boolean": "true or false", "null": "null"}


@dataclass(frozen=True)
class Dataset:
    """Where scans come from (``config/datasets/<name>.yaml``).

    Attributes:
        kind: ``bids``, ``oasis3``, ``ixi``, ``folder``, or ``virtual`` for a cohort made here.
        root: the folder of the scans.
        labels: table of the structures to evaluate, or None where there are no labels.
        recipe: how its scans are prepared.
        cohort: ``persons``, ``spacing_mm`` and ``seed`` of a virtual cohort.
        layout: where its files lie in ``root`` (:func:`diffeode.datasets.listing.list_dataset`).
        about: ``source``, ``licence``, ``citation`` and ``access``, how to get it, where they are said.
        excluded: names of scans that are never used (:func:`diffeode.datasets.selection.without_excluded`).
        split: who is there to train on and who to test on, or None.
    """

    name: str
    title: str
    population: str
    kind: str
    root: Path
    labels: Path | None
    recipe: Recipe
    cohort: dict[str, Any] = field(default_factory=dict)
    layout: dict[str, Any] = field(default_factory=dict)
    about: dict[str, str] = field(default_factory=dict)
    excluded: frozenset[str] = frozenset()
    split: Split | None = None

    def scans(self, modality: str | None = None) -> list[Scan]:
        """Every scan of ``modality``, or of all it has a use for, that is not excluded.

        Those of a virtual cohort need not exist yet.

        Raises:
            InputError: the dataset is not there, or its scans or tables are unusable; the message says what to do.
        """
        return without_excluded(self._listed(modality), self.excluded)

    def _listed(self, modality: str | None) -> list[Scan]:
        if self.kind == "virtual":
            from diffeode.datasets.virtual import planned_scans

            return planned_scans(self.name, self.root, self.cohort["persons"])
        if "access" in self.about and not self.root.is_dir():
            raise InputError(f"Dataset {self.name} has no folder {self.root}: {self.about['access']}")
        modalities = (modality,) if modality else tuple(self.layout.get("scans", ("T1w", "T2w")))
        return list_dataset(self.name, self.kind, self.root, modalities, self.layout)

    def t1w_of(self, scan: Scan) -> Scan:
        """The T1w of the visit on which ``scan`` was made.

        Raises:
            InputError: there is none.
        """
        found = self._t1w_of_visit.get((scan.subject, scan.session))
        if found is None:
            raise InputError(
                f"{scan.id} of dataset {self.name} has no {ANATOMICAL} of the same visit, which its preparation needs "
                "(through: t1w, or labels: meshnet); add it, leave the person out, or choose through: direct."
            )
        return found

    def helpers_of(self, scan: Scan) -> list[Scan]:
        """The other scans that preparing ``scan`` needs: the T1w of its visit, or none.

        Raises:
            InputError: the T1w is needed and missing, or cannot lend its labels to another space.
        """
        if self.recipe.borrows_labels(scan) and not self.recipe.places:
            raise InputError(
                f"Dataset {self.name} labels its {ANATOMICAL} scans (labels: meshnet), and {scan.id} can borrow them "
                "only in a common space; set template: icbm152 under prepare."
            )
        needed = self.recipe.leans_on_t1w(scan) or self.recipe.borrows_labels(scan)
        return [self.t1w_of(scan)] if needed else []

    @cached_property
    def _t1w_of_visit(self) -> dict[tuple[str, str | None], Scan]:
        return {(scan.subject, scan.session): scan for scan in self.scans(ANATOMICAL)}


@dataclass(frozen=True)
class Side:
    """The scans on one side of the pairs: of a dataset, those that a selection chooses."""

    dataset: Dataset
    selection: Selection

    def scans(
        self,
        side: str,
        seed: int,
        kept: Collection[ScanKey] = (),
        spared: Collection[Person] = (),
        apart_from: Iterable[Scan] = (),
    ) -> list[Scan]:
        """The scans chosen (:func:`diffeode.datasets.selection.select`)."""
        scans = self.dataset.scans(self.selection.modality)
        self._require_contrast({scan.subject for scan in scans})
        return select(
            scans,
            self.selection,
            split=self.dataset.split,
            seed=seed,
            side=side,
            kept=kept,
            spared=spared,
            apart_from=apart_from,
        )

    def _require_contrast(self, subjects: set[str]) -> None:
        """Say which of the persons asked for were scanned, but not in this side's contrast."""
        absent = {subject.removeprefix("sub-") for subject in self.selection.subjects or ()} - subjects
        others = {scan.subject: scan.modality for scan in self.dataset.scans()} if absent else {}
        lacking = sorted(absent & others.keys())
        if lacking:
            names = ", ".join(f"sub-{subject}" for subject in lacking)
            has = f"{others[lacking[0]]} but no {self.selection.modality}"
            raise InputError(
                f"Dataset {self.dataset.name} has {has} of {names}; add it, or leave out who lacks it (subjects: ...)."
            )


@dataclass(frozen=True)
class Experiment:
    """Fixed and moving scans and how they are paired and aligned (``config/experiments/<name>.yaml``).

    Attributes:
        alignment: ``affine`` or ``none``.
        grids: ``resample`` or ``refuse``, where a pair's grids differ and ``alignment`` is none.
        pairs: drawn when the file is read.
        seed: of the drawing and of the alignment.
    """

    name: str
    title: str
    fixed: Side
    moving: Side
    alignment: str
    grids: str
    pairs: tuple[PlannedPair, ...]
    seed: int

    @property
    def persons(self) -> set[str]:
        """Everybody in its pairs, ``<dataset's folder>/<subject>``: a person is the same at every resolution."""
        return {_person_on_disk(scan) for pair in self.pairs for scan in (pair.fixed, pair.moving)}

    @property
    def labels(self) -> Path | None:
        """The table of structures both sides are labelled with, or None."""
        fixed, moving = self.fixed.dataset.labels, self.moving.dataset.labels
        return fixed if fixed == moving else None

    @property
    def population(self) -> str:
        """Who was scanned."""
        return " and ".join(dict.fromkeys(side.dataset.population for side in (self.fixed, self.moving)))


@dataclass(frozen=True)
class Study:
    """Experiments x runs (``config/<name>.yaml``).

    Attributes:
        ours: the run the statistics put against the others, or None where it is not among ``runs``.
        seed: of every registration.
        results: the folder everything is written to.
        panels: pairs per experiment that are shown as panels.
        time_limit_minutes: how long one registration may take where its run says nothing else; None: for ever.
        tools: folders that are searched for programs before PATH.
        training: whose pairs the runs are trained on that need it, or None where none does; nobody in it is registered.
    """

    name: str
    title: str
    experiments: tuple[Experiment, ...]
    runs: tuple[Run, ...]
    ours: str | None
    seed: int
    results: Path
    panels: int
    time_limit_minutes: float | None = None
    tools: tuple[Path, ...] = ()
    training: Experiment | None = None

    @property
    def drawn(self) -> tuple[Experiment, ...]:
        """Every experiment whose pairs are made: those studied, and the one to train on."""
        return (*self.experiments, self.training) if self.training else self.experiments

    def experiment(self, name: str) -> Experiment:
        """The experiment called ``name``."""
        return next(e for e in self.drawn if e.name == name)

    def trained_runs(self) -> list[Run]:
        """The runs to be trained first."""
        return [run for run in self.runs if run.is_trained_first]

    def run(self, name: str) -> Run:
        """The run called ``name``."""
        return next(r for r in self.runs if r.name == name)

    def time_limit(self, name: str) -> float | None:
        """Minutes that one registration by the run called ``name`` may take; None: for ever."""
        return self.run(name).time_limit_minutes or self.time_limit_minutes

    def datasets(self) -> dict[str, Dataset]:
        """Every dataset in use, by name."""
        sides = (side for e in self.drawn for side in (e.fixed, e.moving))
        return {side.dataset.name: side.dataset for side in sides}

    def scans(self) -> dict[tuple[str, str], Scan]:
        """Every scan in use, by its dataset's name and its own."""
        used = (scan for e in self.drawn for pair in e.pairs for scan in (pair.fixed, pair.moving))
        return {(scan.dataset, scan.id): scan for scan in used}

    def prepared_scans(self) -> dict[tuple[str, str], Scan]:
        """Every scan to be prepared: those in use, and those that preparing them needs."""
        datasets = self.datasets()
        helpers = [other for scan in self.scans().values() for other in datasets[scan.dataset].helpers_of(scan)]
        return self.scans() | {(other.dataset, other.id): other for other in helpers}

    def units(self) -> list[tuple[str, str, str]]:
        """Every unit of work: experiment, pair and run."""
        return [(e.name, pair.id, run.name) for e in self.experiments for pair in e.pairs for run in self.runs]


def load_dataset(name: str, repository: Path) -> Dataset:
    """The dataset in ``config/datasets/<name>.yaml``; a virtual one lies under ``results``.

    Raises:
        InputError: there is none of that name, or its file has an unknown, missing or misspelt key.
    """
    return _Reader(Path(repository)).dataset(name, Path("results"))


def load_study(source: Path | str | Mapping[str, Any], repository: Path) -> Study:
    """The study in a file, or in a mapping of the same keys, with all that it names.

    Args:
        repository: where ``config`` and ``workflow/schemas`` lie, and what relative paths of datasets start from.

    Raises:
        InputError: an unknown, missing or misspelt key, or a run, dataset, experiment, label table, subject, group or
            parameter there is not; the message names the nearest one.
    """
    reader = _Reader(Path(repository))
    if isinstance(source, Mapping):
        return reader.study(dict(source), "The study's configuration")
    return reader.study(_read_yaml(Path(source)), str(source))


@dataclass(frozen=True)
class _Reader:
    """Reads the files under ``repository``; ``given`` stands for files there are not, by kind and name."""

    repository: Path
    given: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)

    def study(self, content: Any, where: str) -> Study:
        self.check(content, "study", where)
        if "bids" in content:
            return self.study_of_bids(content, where)
        results = Path(content["results"])
        names = content["experiments"]
        runs = tuple(load_run(name) for name in content["runs"])
        experiments = tuple(self.experiment(name, results) for name in names)
        return Study(
            name=content["study"],
            title=content["title"],
            experiments=experiments,
            runs=runs,
            ours=_ours(content["ours"], content["runs"], where),
            seed=content["seed"],
            results=results,
            panels=content.get("panels", 1),
            time_limit_minutes=content.get("time_limit_minutes"),
            tools=tuple(self.repository / expand(folder, where) for folder in content.get("tools", ())),
            training=self.training(content.get("training"), runs, experiments, results, where),
        )

    def training(
        self, name: str | None, runs: tuple[Run, ...], experiments: tuple[Experiment, ...], results: Path, where: str
    ) -> Experiment | None:
        untrained = [run.name for run in runs if run.is_trained_first]
        if not untrained:
            return None
        if name is None:
            raise InputError(
                f"{where} has runs that are trained first ({', '.join(untrained)}); name the experiment to train on by "
                "the key training."
            )
        training = self.experiment(name, results)
        require_no_test_person(training.persons, (person for e in experiments for person in e.persons))
        return training

    def study_of_bids(self, content: dict[str, Any], where: str) -> Study:
        """The study's runs on a BIDS folder in place of its experiments: every T1w to every T2w of another person."""
        root = os.path.abspath(content["bids"])
        name = _bids_description(Path(root)).get("Name") or Path(root).name
        title = f"{name}, T1w to T2w"
        sides = {side: {"dataset": "bids", "modality": m} for side, m in (("fixed", "T2w"), ("moving", "T1w"))}
        given = {
            ("datasets", "bids"): {"kind": "bids", "root": root},
            ("experiments", "bids"): {"title": title, **sides, "alignment": "affine", "seed": content["seed"]},
        }
        rest = {key: value for key, value in content.items() if key != "bids"}
        return replace(self, given=given).study(
            rest | {"study": "bids", "title": title, "experiments": ["bids"]}, where
        )

    def experiment(self, name: str, results: Path) -> Experiment:
        content, where = self.named("experiments", name)
        self.check(content, "experiment", where)
        fixed, moving = (self.side(content[key], results) for key in ("fixed", "moving"))
        seed = content.get("seed", 0)
        before = pairs_drawn_before(results / "pairs" / name / "pairs.tsv", seed)
        kept_fixed, kept_moving = ({pair[side] for pair in before} for side in (0, 1))
        disjoint = content.get("disjoint", False)
        spared = {person_of(key) for key in kept_moving} if disjoint else set()
        fixed_scans = fixed.scans("fixed", seed, kept_fixed, spared)
        moving_scans = moving.scans("moving", seed, kept_moving, apart_from=fixed_scans if disjoint else ())
        pairs = draw_pairs(fixed_scans, moving_scans, self.how(content.get("pairs", "all")), seed, before)
        return Experiment(
            name=name,
            title=content["title"],
            fixed=fixed,
            moving=moving,
            alignment=content["alignment"],
            grids=content.get("grids", "resample"),
            pairs=tuple(pairs),
            seed=seed,
        )

    def side(self, content: dict[str, Any], results: Path) -> Side:
        return Side(
            dataset=self.dataset(content["dataset"], results),
            selection=Selection(
                modality=content["modality"],
                subjects=_words(content.get("subjects")),
                groups=_words(content.get("group")),
                part=content.get("split"),
                sessions=content.get("sessions", "all"),
                draw=_draw(content.get("draw")),
            ),
        )

    def dataset(self, name: str, results: Path) -> Dataset:
        content, where = self.named("datasets", name)
        self.check(content, "dataset", where)
        virtual = content["kind"] == "virtual"
        root = results / "sources" / name if virtual else self.repository / expand(content["root"], where)
        about = _bids_description(root) if content["kind"] == "bids" else {}
        return Dataset(
            name=name,
            title=content.get("title") or about.get("Name") or name,
            population=content.get("population", "participants"),
            kind=content["kind"],
            root=root,
            labels=self.label_table(content.get("labels"), where),
            recipe=self.recipe(content.get("prepare") or _default_preparation(about), where),
            cohort=content.get("cohort", {}),
            layout={key: content[key] for key in ("scans", "label_maps", "demographics") if key in content},
            about={key: content[key] for key in ("source", "licence", "citation", "access") if key in content},
            excluded=read_exclusions(self.repository / content["exclude"]) if "exclude" in content else frozenset(),
            split=_split(content.get("split")),
        )

    def recipe(self, content: dict[str, Any], where: str) -> Recipe:
        template = content.get("template", "none")
        if not isinstance(template, str):
            paths = {contrast: str(self.repository / expand(path, where)) for contrast, path in template.items()}
            content = {**content, "template": paths}
        try:
            return Recipe(**content)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None

    def label_table(self, name: str | None, where: str) -> Path | None:
        if name is None:
            return None
        folder = self.repository / "config" / "labels"
        path = folder / f"{name}.tsv"
        if not path.is_file():
            known = (table.stem for table in folder.glob("*.tsv"))
            raise InputError(f"{where} names label table {name!r}, which config/labels has not{nearest(name, known)}.")
        read_label_table(path)
        return path

    def how(self, pairs: str | int) -> str | int | Path:
        return pairs if isinstance(pairs, int) or pairs == "all" else self.repository / pairs

    def named(self, kind: str, name: str) -> tuple[Any, str]:
        """Content and shown path of ``config/<kind>/<name>.yaml``."""
        if (kind, name) in self.given:
            return self.given[kind, name], f"{kind.removesuffix('s')} {name!r}"
        folder = self.repository / "config" / kind
        if not (folder / f"{name}.yaml").is_file():
            known = (file.stem for file in folder.glob("*.yaml"))
            raise InputError(f"There is no {kind.removesuffix('s')} {name!r}{nearest(name, known)}.")
        return _read_yaml(folder / f"{name}.yaml"), f"config/{kind}/{name}.yaml"

    def check(self, content: Any, schema: str, where: str) -> None:
        path = self.repository / "workflow" / "schemas" / f"{schema}.schema.yaml"
        errors = list(Draft202012Validator(_read_yaml(path)).iter_errors(content))
        if errors:
            raise InputError(f"{where} {_sentence(min(errors, key=_rank))}.")


def _person_on_disk(scan: Scan) -> str:
    """Who was scanned, by the folder of the scans: two datasets that prepare one folder otherwise show one person."""
    folder = next((f for f in scan.image.absolute().parents if f.name == f"sub-{scan.subject}"), None)
    return str(folder) if folder else "/".join(scan.person)


def expand(text: str, where: str) -> str:
    """``text`` with ``${NAME}`` and ``${NAME:-default}`` replaced from the environment; empty counts as unset.

    Raises:
        InputError: a variable without a default is not set.
    """

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        found = os.environ.get(name) or default
        if found is None:
            raise InputError(f"{where} needs the environment variable {name}, which is not set.")
        return found

    return _VARIABLE.sub(value, text)


def _bids_description(root: Path) -> dict[str, Any]:
    """What a BIDS folder says of itself; empty where it says nothing."""
    path = root / "dataset_description.json"
    if not path.is_file():
        return {}
    try:
        return dict(json.loads(path.read_text(encoding="utf-8")))
    except (ValueError, TypeError):
        raise InputError(f"{path} is not valid JSON; repair or remove it.") from None


def _default_preparation(description: dict[str, Any]) -> dict[str, Any]:
    """For scans of which no more is known than what their BIDS folder says: raw ones are whole heads."""
    return dict(_RAW_HEADS) if description.get("DatasetType") == "raw" else {}


def _ours(name: str, runs: Iterable[str], where: str) -> str | None:
    if name not in run_names():
        raise InputError(
            f"{where} puts run {name!r} against the others, but there is none{nearest(name, run_names())}."
        )
    return name if name in runs else None


def _words(given: str | list[str] | None) -> tuple[str, ...] | None:
    return (given,) if isinstance(given, str) else tuple(given) if given else None


def _draw(given: int | dict[str, Any] | None) -> Draw | None:
    return Draw(persons=given) if isinstance(given, int) else Draw(**given) if given else None


def _split(given: dict[str, Any] | None) -> Split | None:
    always = frozenset(given.get("always_test", ())) if given else frozenset()
    return Split(given["test"], given["seed"], always) if given else None


def _read_yaml(path: Path) -> Any:
    try:
        return yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"There is no file {path}.") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise InputError(f"{path} is not valid YAML: {' '.join(str(error).split())}.") from None


def _rank(error: ValidationError) -> tuple[bool, int]:
    """Misspelt keys first: they explain the missing ones."""
    return error.validator != "additionalProperties", len(error.absolute_path)


def _sentence(error: ValidationError) -> str:
    place = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "not":
        return f"has the key {place!r}, which its kind has no use for"
    of_place = f" under {place}" if place else ""
    if error.validator == "additionalProperties":
        known = error.schema["properties"]
        key = next(key for key in error.instance if key not in known)
        return f"has an unknown key {key!r}{of_place}{nearest(key, known)}"
    if error.validator == "required":
        key = next(key for key in error.validator_value if key not in error.instance)
        return f"lacks the key {key!r}{of_place}"
    if error.validator == "enum":
        return f"has {place}: {error.instance!r}{nearest(error.instance, error.validator_value)}"
    if error.validator == "type":
        kinds = [error.validator_value] if isinstance(error.validator_value, str) else error.validator_value
        return f"has {place or 'content'}: {error.instance!r}, which is not {' or '.join(_KINDS[k] for k in kinds)}"
    return f"has {place}: {error.instance!r}, which is not allowed ({error.message})"


def require_writable(folder: Path) -> None:
    """Raise :class:`InputError` where ``folder``, or the one it would be made in, cannot be written."""
    there = next(f for f in (folder.absolute(), *folder.absolute().parents) if f.exists())
    if not there.is_dir():
        raise InputError(f"Cannot write results to {folder}: {there} is a file; name another folder (results: ...).")
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(
            f"Cannot write results to {folder}: no permission in {there}; name another folder (results: ...)."
        )
