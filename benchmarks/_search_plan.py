"""The plan of the search for the paper's lost numbers: parameters, settings, rungs, and the rule by
which it chooses.

Nothing here registers anything, so the choice can be made again from the tables alone.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path

from _cases import Maker, albert_at, oasistrt_to_icbm152_at
from _comparisons import Comparison, comparison_named
from _tables import Row
from scipy.stats import qmc

SEED = 2512
"""The seed with which settings are drawn."""
MOST_FOLDS_PERCENT = 0.01
"""A setting is eligible where at most this percentage of all voxels of the image folds, in the mean
over its pairs.
"""
_SIGNIFICANT_DIGITS = 3
REFERENCE = 0
"""The number of the setting that takes NODEO's values, Beg's operator and a patch of 5 voxels; of
the descriptor's training, the one that takes the values with which the search began.
"""
TAUGHT = ("01", "02", "03", "04")
"""The newborns on whom the descriptor is trained; one of them is held out to choose its best step.
"""
HELD_OUT = 1
"""The number of them that are held out."""


@dataclass(frozen=True)
class Parameter:
    """One of the lost numbers.

    Attributes:
        name: its column in the tables.
        knob: its dotted name among the settings of the method or of the descriptor's training.
        reference: its value in the setting number ``REFERENCE``.
        low, high: the ends of the range that is searched.
        logarithmic: whether the range is searched on a logarithmic scale.
        choices: the values that are searched instead of a range.
    """

    name: str
    knob: str
    reference: float
    low: float = 0.0
    high: float = 0.0
    logarithmic: bool = True
    choices: tuple[float, ...] = ()

    def at(self, fraction: float) -> float:
        """Return the value at ``fraction`` in [0, 1) of the range, to three significant digits."""
        if self.choices:
            return self.choices[int(fraction * len(self.choices))]
        if self.logarithmic:
            value = self.low * (self.high / self.low) ** fraction
        else:
            value = self.low + (self.high - self.low) * fraction
        return float(f"{value:.{_SIGNIFICANT_DIGITS}g}")

    def holds(self, value: float) -> bool:
        """Return whether the search can choose ``value``."""
        if self.choices:
            return value in self.choices
        return self.low <= value <= self.high


@dataclass(frozen=True)
class SearchCase:
    """One development pair at one size.

    Attributes:
        task: the name of a comparison (:mod:`_comparisons`), which says who was scanned and which
            labels count.
        iterations: the number of iterations of the registration.
        learning_rate: the learning rate of the registration; the paper's is 0.005, with 300
            iterations.
        descriptor: the descriptor of the moving image: ``recomputed`` on each warped image, or made
            once and ``warped``, which is quicker where a network makes it.
        training_steps: the number of steps for which the descriptor is trained before; 0 where the
            run's own descriptor is used.
    """

    task: str
    fixed: str
    moving: str
    spacing_mm: float
    iterations: int
    learning_rate: float = 0.005
    descriptor: str = "recomputed"
    training_steps: int = 0

    @property
    def comparison(self) -> Comparison:
        """The task itself."""
        return comparison_named(self.task)

    @property
    def maker(self) -> Maker:
        """The function that prepares the pair."""
        return _MAKERS[self.task](self.spacing_mm)

    @property
    def folder(self) -> str:
        """The path of its prepared pair in the folder of a benchmark's work."""
        return f"{self.task}-{self.spacing_mm:g}mm/{self.fixed}__{self.moving}"

    def scans(self, data: Path) -> list[Path]:
        """Return the folders of the fixed and of the moving scan."""
        template, persons = self.comparison.template, data / self.comparison.folder
        return [
            data / name if name == template else persons / f"sub-{name}" / "anat"
            for name in (self.fixed, self.moving)
        ]

    @property
    def columns(self) -> dict[str, object]:
        """The columns of a row that say which case it is of."""
        trained = {_TRAINING_STEPS: self.training_steps} if self.training_steps else {}
        return {
            "task": self.task,
            "fixed": self.fixed,
            "moving": self.moving,
            "spacing_mm": f"{self.spacing_mm:g}",
            "iterations": self.iterations,
            "learning_rate": f"{self.learning_rate:g}",
            "descriptor": self.descriptor,
            **trained,
        }

    @property
    def changes(self) -> dict[str, object]:
        """The settings that the case changes in a run, by their dotted names."""
        warped = {"similarity.descriptor.moving": "warped"} if self.descriptor == "warped" else {}
        return {
            "levels.iterations": [self.iterations],
            "descent.learning_rate": self.learning_rate,
            **warped,
        }


@dataclass(frozen=True)
class Rung:
    """One round of the search: the cases on which the remaining settings are tried.

    Attributes:
        keep: the number of the best settings that go on to the next rung, or are candidates where
            there is no further rung.
        reference: whether the reference is tried too where it is not among the best.
    """

    name: str
    cases: tuple[SearchCase, ...]
    keep: int
    reference: bool = True


@dataclass(frozen=True)
class Variant:
    """One of the paper's variants, or the training of its descriptor.

    Attributes:
        run: the named run whose parameters are changed, or by which a trained descriptor is judged.
        settings: the number of settings that are drawn, beside the reference.
        training: the name of the training in ``config/descriptors`` whose settings are changed;
            empty where those of the run are.
    """

    name: str
    run: str
    parameters: tuple[Parameter, ...]
    settings: int
    rungs: tuple[Rung, ...]
    training: str = ""

    @property
    def keys(self) -> tuple[str, ...]:
        """The columns that tell the rows of its table apart."""
        return (*KEYS, _TRAINING_STEPS) if self.training else KEYS

    def setting(self, number: int) -> dict[str, float]:
        """Return the values of setting ``number``, by the name of the parameter."""
        if number == REFERENCE:
            return {parameter.name: parameter.reference for parameter in self.parameters}
        fractions = _fractions(len(self.parameters), self.settings)[number - 1]
        return {
            parameter.name: parameter.at(fraction)
            for parameter, fraction in zip(self.parameters, fractions, strict=True)
        }

    def changes(self, number: int) -> dict[str, float]:
        """Return the values of setting ``number``, by the dotted names of
        :attr:`Parameter.knob`.
        """
        values = self.setting(number)
        return {parameter.knob: values[parameter.name] for parameter in self.parameters}


@cache
def _fractions(dimensions: int, count: int) -> tuple[tuple[float, ...], ...]:
    """Return the first ``count`` points of a scrambled Sobol sequence in the unit cube."""
    sampler = qmc.Sobol(dimensions, rng=SEED)
    points = sampler.random_base2(math.ceil(math.log2(count)))
    return tuple(map(tuple, points[:count].tolist()))


# -------------------------------------------------------------------------------------- the choice


@dataclass(frozen=True)
class Standing:
    """The means of a setting over the cases of a rung.

    Attributes:
        folds_percent: the percentage of all voxels with ``|J| <= 0``.
    """

    setting: int
    dice: float
    folds_percent: float

    @property
    def eligible(self) -> bool:
        """Whether it folds rarely enough."""
        return self.folds_percent <= MOST_FOLDS_PERCENT

    @property
    def rank(self) -> tuple[float, ...]:
        """Sorts settings, the best first: eligible ones by Dice, then the others by folds."""
        return (0, -self.dice, self.setting) if self.eligible else (1, self.folds_percent)


def standings(rows: Iterable[Row], rung: Rung) -> list[Standing]:
    """Return the settings that have a row for every case of ``rung``, the best first.

    Args:
        rows: the rows of one variant.
    """
    found: dict[int, dict[SearchCase, Row]] = {}
    cases = {_key(case.columns): case for case in rung.cases}
    for row in rows:
        case = cases.get(_key(row))
        if case and not row.get("failed"):
            found.setdefault(int(row["setting"]), {})[case] = row
    whole = {number: by for number, by in found.items() if len(by) == len(rung.cases)}
    return sorted((_standing(number, by.values()) for number, by in whole.items()), key=_rank)


def _rank(standing: Standing) -> tuple[float, ...]:
    return standing.rank


def _standing(number: int, rows: Iterable[Row]) -> Standing:
    rows = list(rows)
    dice = statistics.fmean(float(row["dice"]) for row in rows)
    folds = statistics.fmean(float(row["folds_percent"]) for row in rows)
    return Standing(number, dice, folds)


def entrants(variant: Variant, rows: Sequence[Row], index: int) -> list[int]:
    """Return the settings that are tried on rung ``index``, in that order."""
    if index == 0:
        return list(range(variant.settings + 1))
    before, rung = variant.rungs[index - 1], variant.rungs[index]
    tried = set(entrants(variant, rows, index - 1))
    ranked = [place.setting for place in standings(rows, before) if place.setting in tried]
    best = ranked[: before.keep]
    return best if REFERENCE in best or not rung.reference else [*best, REFERENCE]


def chosen(variant: Variant, rows: Sequence[Row]) -> Standing:
    """Return the best setting of the last rung.

    Args:
        rows: the rows of a finished search of ``variant``.
    """
    tried = set(entrants(variant, rows, len(variant.rungs) - 1))
    return next(s for s in standings(rows, variant.rungs[-1]) if s.setting in tried)


def finished_rungs(variant: Variant, rows: Sequence[Row]) -> int:
    """Return the number of rungs, from the first on, that have a row for each registration, where a
    failed one counts, too.
    """
    for index in range(len(variant.rungs)):
        if tried_settings(variant, rows, index) != entrants(variant, rows, index):
            return index
    return len(variant.rungs)


def tried_settings(variant: Variant, rows: Sequence[Row], index: int) -> list[int]:
    """Return the settings of rung ``index`` that have a row for each of its cases, where a failed
    one counts, too.
    """
    there = {(int(row["setting"]), _key(row)) for row in rows}
    cases = [_key(case.columns) for case in variant.rungs[index].cases]
    return [
        number
        for number in entrants(variant, rows, index)
        if all((number, case) in there for case in cases)
    ]


def finished(variant: Variant, rows: Sequence[Row]) -> bool:
    """Return whether the search is at its end."""
    return finished_rungs(variant, rows) == len(variant.rungs)


def number_of_run(variant: Variant, rows: Sequence[Row]) -> int:
    """Return the number of the setting that the named run or training has: the chosen one, or the
    reference as long as the search is not finished.
    """
    return chosen(variant, rows).setting if finished(variant, rows) else REFERENCE


def _key(columns: Row | dict[str, object]) -> tuple[str, ...]:
    steps = str(columns.get(_TRAINING_STEPS, ""))
    return (*(str(columns[name]) for name in CASE_COLUMNS), steps)


CASE_COLUMNS = (
    *("task", "fixed", "moving", "spacing_mm"),
    *("iterations", "learning_rate", "descriptor"),
)
KEYS = ("variant", "setting", *CASE_COLUMNS)
"""Columns that tell the rows of a search apart."""
_TRAINING_STEPS = "training_steps"
"""The column that a table has besides where descriptors are trained."""


# ------------------------------------------------------------------------------------ what is tried


def _operator(name: str, reference: float, **searched: object) -> Parameter:
    return Parameter(name, f"velocity.kernel.operator.{name}", reference, **searched)


def _common(gradients: tuple[float, float]) -> tuple[Parameter, ...]:
    """Return the lost numbers that all variants have.

    Args:
        gradients: the range of the weight of the gradient, which depends on the size of the
            similarity.
    """
    return (
        Parameter("jacobian", "penalties.jacobian.weight", 2.5, 0.03, 30),
        Parameter("barrier", "penalties.jacobian.barrier", 0.5, 0.02, 0.5, logarithmic=False),
        Parameter("gradient", "penalties.gradient.weight", 0.05, *gradients),
        Parameter("magnitude", "penalties.magnitude.weight", 7e-9, 1e-9, 1e-3),
        _operator("alpha", 0.0025, low=1e-5, high=1e-2),
        _operator("power", 2, choices=(1, 2, 3)),
    )


_PATCH = Parameter("patch", "similarity.local_mutual_information.patch", 5, choices=(3, 5, 7, 9))

_MAKERS = {"albert": albert_at, "oasistrt-to-icbm152": oasistrt_to_icbm152_at}
_newborns = partial(SearchCase, "albert")
_adult = partial(SearchCase, "oasistrt-to-icbm152", "icbm152")
HALF_MM, THIRD_MM = 1.71875, 2.578125
"""Twice the voxel of the newborns, as the studies at half resolution have it, and three times."""

_HURRIED = {"iterations": 100, "learning_rate": 0.015}
"""A third of the paper's iterations at three times its learning rate."""

_THIRD = (_newborns("01", "02", THIRD_MM, **_HURRIED),)
_WITH_ADULT = (*_THIRD, _adult("03", 3.5, **_HURRIED))
_HALF = (_newborns("03", "04", HALF_MM, 300), _adult("03", 3, 150))


def _rungs(many: int, few: int) -> tuple[Rung, ...]:
    return (
        Rung("a third of the size", _THIRD, many),
        Rung("with an adult", _WITH_ADULT, few),
        Rung("half the size", _HALF, 1),
    )


_CL_RUNGS = (
    Rung(
        "warped tokens",
        (_newborns("01", "02", THIRD_MM, **_HURRIED, descriptor="warped"),),
        3,
    ),
    Rung("recomputed tokens", (_newborns("01", "02", THIRD_MM, **_HURRIED),), 2),
    Rung("another pair", (_newborns("03", "04", THIRD_MM, **_HURRIED),), 1, reference=False),
)
"""The rungs of ``cl``. Its iteration takes thirteen times as long, so they have fewer cases."""

_ALBERT_THIRD = (
    Parameter("control_points", "recipe.control_points", 5, choices=(3, 4, 5, 7, 9)),
    Parameter("shift", "recipe.shift", 0.9, 0.5, 1, logarithmic=False),
    Parameter("inversion", "recipe.inversion", 0.5, 0, 1, logarithmic=False),
    Parameter("locations", "recipe.locations", 1024, choices=(256, 512, 1024, 2048, 4096)),
    Parameter("training_rate", "settings.learning_rate", 7e-4, 1e-4, 1e-2),
)
"""The lost numbers of the descriptor's training, but for that of its steps, which the rungs set."""


def _both_ways(training_steps: int) -> tuple[SearchCase, ...]:
    """Return the pairs of two newborns, each once the fixed one, who are no :data:`TAUGHT`."""
    newborns = partial(_newborns, spacing_mm=THIRD_MM, **_HURRIED, training_steps=training_steps)
    return newborns("05", "06"), newborns("06", "05")


_DESCRIPTOR_RUNGS = (
    Rung("warped tokens", (replace(_both_ways(30)[0], descriptor="warped"),), 10),
    Rung("recomputed tokens of both pairs", _both_ways(90), 2),
    Rung("the whole training", _both_ways(300), 1),
)
"""The rungs of ``descriptor``. The last one trains for as many steps as albert-third.yaml."""

VARIANTS = {
    variant.name: variant
    for variant in (
        Variant("mind", "paper-mind", _common((2e-2, 5)), 40, _rungs(12, 3)),
        Variant("lmi", "paper-lmi", (*_common((1e-1, 30)), _PATCH), 40, _rungs(10, 2)),
        Variant("cl", "paper-cl", _common((2e-3, 0.5)), 40, _CL_RUNGS),
        Variant("descriptor", "paper-cl", _ALBERT_THIRD, 40, _DESCRIPTOR_RUNGS, "albert-third"),
    )
}
"""The variants by name, in the order in which they are searched."""
