"""The parts of a study: datasets, the two sides of its pairs, experiments and runs."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffeode.datasets.listing import list_dataset
from diffeode.datasets.pairs import PlannedPair
from diffeode.datasets.person import Person, person_of
from diffeode.datasets.scan import ANATOMICAL, Scan
from diffeode.datasets.selection import (
    PersonKey,
    ScanKey,
    Selection,
    Split,
    select,
    without_excluded,
)
from diffeode.datasets.sessions import ACROSS_GROUPS
from diffeode.errors import InputError
from diffeode.prepare.recipe import Recipe
from diffeode.registration.runs import Run
from diffeode.study.descriptors import TrainedDescriptor
from diffeode.study.runs import Sweep
from diffeode.study.shown import Shown

if TYPE_CHECKING:
    from diffeode.longitudinal.design import Design


@dataclass(frozen=True)
class Dataset:
    """A dataset: where its scans lie and how they are prepared (``config/datasets/<name>.yaml``).

    Attributes:
        kind: ``bids``, ``oasis3``, ``ixi``, ``folder``, or ``virtual`` for a cohort made here.
        root: the folder of the scans.
        root_as_given: the root as the dataset's file has it, before the environment variables in it
            are replaced.
        root_variables: the names of these variables.
        labels: table of the structures to evaluate; None where label maps are not used.
        recipe: how its scans are prepared.
        cohort: ``persons``, ``spacing_mm`` and ``seed`` of a virtual cohort.
        layout: where its files lie in ``root`` (:func:`diffeode.datasets.listing.list_dataset`).
        about: those of ``source``, ``licence``, ``citation`` and ``access`` (how to get the
            dataset) that its file gives.
        excluded: names of scans that are never used
            (:func:`diffeode.datasets.selection.without_excluded`).
        split: which persons are trained on and which are tested on; None where nobody is trained
            on.
        orientation: the orientation of its scans where their headers do not tell it
            (:func:`diffeode.files.headers.grid_of`), or None.
        are_scans: whether its files, and the template of its recipe, are scans even where their
            values look like those of a label map, which cannot be used otherwise.
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
    orientation: str | None = None
    are_scans: bool = False
    root_as_given: str = field(default="", repr=False, compare=False)
    root_variables: tuple[str, ...] = field(default=(), repr=False, compare=False)
    _lists: dict[str | None, list[Scan]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    """Scans that were listed before, by contrast, with the excluded ones."""

    def scans(self, modality: str | None = None) -> list[Scan]:
        """Return every scan of ``modality`` that is not excluded, or of all contrasts without it.

        The scans of a virtual cohort need not exist yet.

        Raises:
            InputError: the dataset is missing, or its scans or tables are unusable; the message
                says what to do.
        """
        return without_excluded(self.with_excluded(modality), self.excluded)

    def with_excluded(self, modality: str | None = None) -> list[Scan]:
        """Return what :meth:`scans` returns, and the excluded scans besides.

        Raises:
            InputError: as for :meth:`scans`.
        """
        if modality not in self._lists:
            self._lists[modality] = [
                replace(scan, orientation=self.orientation, root=self.root)
                for scan in self._listed(modality)
            ]
        return list(self._lists[modality])

    def _listed(self, modality: str | None) -> list[Scan]:
        if self.kind == "virtual":
            from diffeode.datasets.virtual import planned_scans

            return planned_scans(self.name, self.root, self.cohort["persons"])
        how = self._how_to_set_the_root()
        if how and not self.root.is_dir():
            raise InputError(f"Dataset {self.name} has no folder {self.root}{how}")
        modalities = (modality,) if modality else tuple(self.layout.get("scans", ("T1w", "T2w")))
        return list_dataset(
            self.name, self.kind, self.root, modalities, self.layout, self.labels is not None
        )

    @property
    def is_looked_at(self) -> bool:
        """Return whether a scan is refused that looks like a label map; what was made here is not
        looked at.
        """
        return not self.are_scans and self.kind != "virtual"

    def _how_to_set_the_root(self) -> str:
        """Return the end of a sentence that tells how to get the scans, or which environment
        variables lead to them; empty where the dataset's file tells neither.
        """
        if "access" in self.about:
            return f": {self.about['access']}"
        if not self.root_variables:
            return ""
        return (
            f"; set {' and '.join(self.root_variables)} so that {self.root_as_given} becomes the "
            "folder where its scans lie."
        )

    def t1w_of(self, scan: Scan) -> Scan:
        """Return the T1w of the visit on which ``scan`` was made.

        Raises:
            InputError: that visit has no T1w.
        """
        found = self._t1w_of_visit.get((scan.subject, scan.session))
        if found is None:
            raise InputError(
                f"{scan.id} of dataset {self.name} has no {ANATOMICAL} of the same visit, which "
                "its preparation needs (through: t1w, or labels: meshnet); add it, leave the "
                "person out, or choose through: direct."
            )
        return found

    def helpers_of(self, scan: Scan) -> list[Scan]:
        """Return the other scans that the preparation of ``scan`` needs: its visit's T1w, or none.

        Raises:
            InputError: the T1w is needed and missing, or its labels are in another space, or the
                brain is found by a label map and the scan has none.
        """
        if self.recipe.borrows_labels(scan) and not self.recipe.places:
            raise InputError(
                f"Dataset {self.name} labels its {ANATOMICAL} scans (labels: meshnet), and "
                f"{scan.id} can borrow them only in a common space; set template: icbm152 under "
                "prepare."
            )
        if self.recipe.strips_by_labels and scan.labels is None:
            raise InputError(
                f"Dataset {self.name} finds brains by label maps (brain: labels), and {scan.id} "
                "has none; add it, leave the person out, or choose another tool."
            )
        needed = self.recipe.leans_on_t1w(scan) or self.recipe.borrows_labels(scan)
        return [self.t1w_of(scan)] if needed else []

    @cached_property
    def _t1w_of_visit(self) -> dict[tuple[str, str | None], Scan]:
        return {(scan.subject, scan.session): scan for scan in self.scans(ANATOMICAL)}


@dataclass(frozen=True)
class Side:
    """The scans on one side of the pairs: those that a selection chooses from a dataset."""

    dataset: Dataset
    selection: Selection

    def scans(
        self,
        side: str,
        seed: int,
        kept: Collection[ScanKey] = (),
        spared: Collection[PersonKey] = (),
        apart_from: Iterable[Scan] = (),
    ) -> list[Scan]:
        """Return the chosen scans (:func:`diffeode.datasets.selection.select`)."""
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
        """Raise :class:`InputError` where a person asked for by name lacks this contrast."""
        absent = {
            subject.removeprefix("sub-") for subject in self.selection.subjects or ()
        } - subjects
        others = {scan.subject: scan.modality for scan in self.dataset.scans()} if absent else {}
        lacking = sorted(absent & others.keys())
        if lacking:
            names = ", ".join(f"sub-{subject}" for subject in lacking)
            has = f"{others[lacking[0]]} but no {self.selection.modality}"
            raise InputError(
                f"Dataset {self.dataset.name} has {has} of {names}; add it, or leave out who lacks "
                "it (subjects: ...)."
            )


@dataclass(frozen=True)
class Experiment:
    """Fixed and moving scans and how they are paired and aligned
    (``config/experiments/<name>.yaml``).

    Attributes:
        alignment: ``affine`` or ``none``.
        grids: what is done where the grids of a pair differ and ``alignment`` is ``none``:
            ``resample`` or ``refuse``.
        pairs: the pairs, which are drawn when the file is read.
        seed: seed of the drawing and of the alignment.
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
    def scans(self) -> list[Scan]:
        """All scans in its pairs, each once."""
        used = (scan for pair in self.pairs for scan in (pair.fixed, pair.moving))
        return list({scan.key: scan for scan in used}.values())

    @property
    def persons(self) -> set[Person]:
        """All persons in its pairs."""
        return {person_of(scan) for scan in self.scans}

    @property
    def fixed_groups(self) -> dict[str, int]:
        """The number of fixed scans in each group; scans of unknown group are left out."""
        fixed = {pair.fixed.key: pair.fixed for pair in self.pairs}.values()
        return dict(sorted(Counter(scan.group for scan in fixed if scan.group).items()))

    @property
    def concern(self) -> str:
        """What is not as a user will expect it, in sentences; else empty."""
        return " ".join(filter(None, [self._too_few_groups(), self._differing_tables()]))

    def _differing_tables(self) -> str:
        """Return a sentence where the two sides have different label tables, so that nothing is
        measured by labels; else an empty text.
        """
        tables = [side.dataset.labels for side in (self.fixed, self.moving)]
        if tables[0] == tables[1] or None in tables:
            return ""
        return (
            f"Experiment {self.name} measures no Dice, because its sides have different label "
            f"tables ({tables[0]} and {tables[1]}). Give both datasets one table where their "
            "labels are the same."
        )

    def _too_few_groups(self) -> str:
        """Return a sentence where the fixed persons are in fewer groups than asked for; else an
        empty text.
        """
        persons = len({pair.fixed.person for pair in self.pairs})
        if self.fixed.selection.sessions != ACROSS_GROUPS or len(self.fixed_groups) == persons:
            return ""
        found = ", ".join(f"{group} {count}" for group, count in self.fixed_groups.items())
        return (
            f"The {persons} fixed persons of experiment {self.name} are in "
            f"{len(self.fixed_groups)} groups ({found or 'none is known'}), not in one each: no "
            "choice of their sessions spans more. Name other persons where that matters."
        )

    @property
    def labels(self) -> Path | None:
        """The label table of both sides, or None where they differ or have none."""
        fixed, moving = self.fixed.dataset.labels, self.moving.dataset.labels
        return fixed if fixed == moving else None

    @property
    def population(self) -> str:
        """The population of both sides, in words."""
        return " and ".join(
            dict.fromkeys(side.dataset.population for side in (self.fixed, self.moving))
        )


@dataclass(frozen=True)
class Study:
    """A study: every run registers every pair of every experiment (``config/<name>.yaml``).

    Attributes:
        ours: the run that statistics compare with the others; None where it is not among ``runs``.
        seed: seed of every registration.
        results: the folder to which everything is written.
        panels: the number of pairs of each experiment that are shown one by one.
        pairs_per_job: the largest number of pairs that one job aligns, or registers and evaluates
            with one run.
        time_limit_minutes: the longest time that one registration may take where its run sets no
            limit; None: no limit.
        gpu: the number of GPUs, 0 or 1, for a registration or a training whose method can use one.
        strict: 1 where suspect registrations make the study fail in the end, as failed ones do;
            else 0.
        keep: which files stay of a registration after it was evaluated and drawn: ``all``,
            ``maps``, ``velocity`` or ``numbers`` (:data:`diffeode.units.registration.KEPT`).
        fields: how maps are written: ``float32``, as they are, or ``rounded``
            (:data:`diffeode.units.registration.FIELDS`).
        tools: folders in which programs are looked for before PATH.
        shown: the runs and structures that figures show where not everything fits.
        sweeps: the sweeps, whose runs differ in the value of a setting; all are among ``runs``.
        train_on: by the name of each of ``experiments``, the experiment whose pairs the runs are
            trained on that need it; empty where no run does. Nobody is in both.
        taught_on: by the name of each descriptor that is trained on prepared scans for a run, the
            experiment of these scans. No person in it is registered.
        descriptors: the descriptors that are trained for a run, on these scans or on files.
        longitudinal: which virtual persons are registered through their visits, and how; None where
            the study registers pairs alone.
    """

    name: str
    title: str
    experiments: tuple[Experiment, ...]
    runs: tuple[Run, ...]
    ours: str | None
    seed: int
    results: Path
    panels: int
    pairs_per_job: int = 5
    time_limit_minutes: float | None = None
    gpu: int = 0
    strict: int = 0
    keep: str = "all"
    fields: str = "float32"
    tools: tuple[Path, ...] = ()
    shown: Shown = field(default_factory=Shown)
    sweeps: tuple[Sweep, ...] = ()
    train_on: Mapping[str, Experiment] = field(default_factory=dict)
    taught_on: Mapping[str, Experiment] = field(default_factory=dict)
    descriptors: tuple[TrainedDescriptor, ...] = ()
    longitudinal: Design | None = None

    @property
    def trainings(self) -> tuple[Experiment, ...]:
        """Every experiment that runs are trained on, each once."""
        return tuple({e.name: e for e in self.train_on.values()}.values())

    @property
    def drawn(self) -> tuple[Experiment, ...]:
        """Every experiment whose pairs are made: the registered ones and those to train on."""
        return tuple({e.name: e for e in (*self.experiments, *self.trainings)}.values())

    def experiment(self, name: str) -> Experiment:
        """Return the experiment called ``name``."""
        return next(e for e in self.drawn if e.name == name)

    def trained_runs(self) -> list[Run]:
        """Return the runs that have to be trained before they register."""
        return [run for run in self.runs if run.is_trained_first]

    def run(self, name: str) -> Run:
        """Return the run called ``name``."""
        return next(r for r in self.runs if r.name == name)

    def keep_meanwhile(self, experiment: str, pair: str) -> str:
        """Return which files stay of the registrations of a pair once they were evaluated.

        The pairs that are shown one by one keep everything until their figures have been drawn.
        """
        return "all" if (experiment, pair) in self.shown_pairs() else self.keep

    def shown_pairs(self) -> list[tuple[str, str]]:
        """Return experiment and pair of the pairs that are shown one by one: the first ones of each
        experiment.
        """
        return [(e.name, pair.id) for e in self.experiments for pair in e.pairs[: self.panels]]

    def time_limit(self, name: str) -> float | None:
        """Return the minutes that one registration by the run ``name`` may take; None: no limit."""
        return self.run(name).time_limit_minutes or self.time_limit_minutes

    def gpus(self, name: str) -> int:
        """Return the number of GPUs that a registration or a training of the run ``name`` takes."""
        return self.gpu if self.run(name).can_use_gpu else 0

    def sides(self) -> list[Side]:
        """Return both sides of every experiment whose scans are used."""
        return [side for e in self._used for side in (e.fixed, e.moving)]

    def datasets(self) -> dict[str, Dataset]:
        """Return every dataset in use, by name."""
        return {side.dataset.name: side.dataset for side in self.sides()}

    def scans(self) -> dict[tuple[str, str], Scan]:
        """Return every scan in use, by the names of its dataset and of itself."""
        used = (scan for e in self._used for scan in e.scans)
        return {(scan.dataset, scan.id): scan for scan in used}

    @property
    def _used(self) -> tuple[Experiment, ...]:
        """Every experiment whose scans are used: the drawn ones and those of descriptors."""
        return (*self.drawn, *self.taught_on.values())

    def prepared_scans(self) -> dict[tuple[str, str], Scan]:
        """Return every scan to prepare: those in use, and those that preparing them needs."""
        datasets = self.datasets()
        helpers = [
            other
            for scan in self.scans().values()
            for other in datasets[scan.dataset].helpers_of(scan)
        ]
        return self.scans() | {(other.dataset, other.id): other for other in helpers}

    def units(self) -> list[tuple[str, str, str]]:
        """Return every registration: the names of its experiment, pair and run."""
        return [
            (e.name, pair.id, run.name)
            for e in self.experiments
            for pair in e.pairs
            for run in self.runs
        ]
