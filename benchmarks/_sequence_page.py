"""The page of the sequences: one flow through all visits beside registrations of pairs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from _tables import Row, markdown_table, mean_and_sd, measured_on, numbers, write_page

from diffeode.statistics.longitudinal import ALL_TIMES, REGISTERED, TITLES

_INTRODUCTION = """\
**Data: virtual persons; nobody was scanned.** Persons {persons} of the virtual cohort
([docs/virtual-cohort.md](../../docs/virtual-cohort.md)) at the clinical dementia ratings 0, 0.5, 1,
2 and 3, called the times 0, 0.25, 0.5, 0.75 and 1. The person stays the same; from time to time the
fluid spaces grow, under maps that are known. Each visit is a T1w scan at 5 mm with noise, bias
field and scale of its own. What holds here need not hold for people, who age otherwise and are
scanned more finely.

Settings were chosen on person 01 among some twenty, by the landmark error of the stationary and the
free flow. Nothing was chosen for pairs, which see the noise of one visit only: heavier penalties
might serve them better.

The page answers whether one time-dependent flow through all visits registers them as well as
registrations of pairs do, what a velocity that is periodic in time (the same at times 0 and 1) or
stationary loses, and how smooth the trajectories are. All ways have the same similarity (local
correlation), penalties, iterations and solver. The velocity of a flow is penalised over the whole
time: what a flow moves within a quarter of the time costs four times what it costs a pair. The free
flow has a velocity at each visit, linear in between; the periodic one has that of time 0 again at
time 1.
"""
_TRAJECTORY = """\
Means over the brain's voxels and over time. *Speed* and *acceleration*, mm per unit time and mm per
squared unit time, from visit to visit for all, so that they compare with the truth, and from step
to step of the solver (8 steps) for the flows; the unit of time is the whole. *Change*: mean squared
derivative of the velocity in time at a fixed place, mm² per unit time to the fourth. *CPU seconds*
are of all visits of one person, on one thread. *Folds*: the most folded voxels of any person at any
visit, in percent of the eroded brain, by one-sided differences.
"""


def write_sequence_page(rows: Sequence[Row], path: Path) -> None:
    """Write the tables of ``rows`` and what follows from them."""
    numbers_of_persons = dict.fromkeys(int(row["person"]) for row in rows)
    persons = ", ".join(f"{number:02d}" for number in numbers_of_persons)
    sections = [
        _INTRODUCTION.format(persons=persons),
        "## Target registration error, mm\n",
        "Mean over 82 landmarks, mean ± SD over persons.\n",
        by_time(rows, "tre_mm", 2),
        "## Dice\n",
        "Mean over 27 structures, judged at 2 mm; the truth does not reach 1, since labels are "
        "resampled by nearest neighbour.\n",
        by_time(rows, "dice", 3),
        "## Trajectories\n",
        _TRAJECTORY,
        trajectories(rows),
        "## Volume of the lateral ventricles\n",
        "![Volume over time](sequence.png)\n\nThe labels of time 0 times the Jacobian determinant "
        "of the map to each time, against the volume of the true labels; the curves of the flows "
        "run through every step of the solver. What the true maps show when they are read on the "
        "grid of the scans is the most that can be found there. Error at each visit, ml, mean ± SD "
        "over persons:\n",
        volume_errors(rows),
        "## What was found\n",
        findings(rows),
        f"{measured_on(rows)} Command: `python benchmarks/sequence.py`.\n",
    ]
    write_page(path, "One flow through the visits of an ageing person", sections)


def measured(rows: Sequence[Row]) -> list[Row]:
    """Return the rows of single times."""
    return [row for row in rows if row["time"] != ALL_TIMES]


def by_time(rows: Sequence[Row], column: str, decimals: int) -> str:
    """Return a table of ``column``, with a line for each way and a column for each visit."""
    times = _visits(rows)
    lines = []
    for way in TITLES:
        found = [numbers(_of(rows, way, at), column) for at in times]
        lines.append([TITLES[way], *(mean_and_sd(values, decimals) for values in found)])
    return markdown_table(["way", *(f"time {at}" for at in times)], lines)


def trajectories(rows: Sequence[Row]) -> str:
    """Return the table of speed, acceleration, change, folds and seconds."""
    columns = (
        ("visit_speed_mm", 2),
        ("visit_acceleration_mm", 2),
        ("speed_mm", 2),
        ("acceleration_mm", 2),
        ("squared_change_mm2", 2),
        ("cpu_seconds", 1),
    )
    lines = []
    for way in (*REGISTERED, "truth"):
        whole = _of(rows, way, ALL_TIMES)
        folds = max(numbers([row for row in rows if row["way"] == way], "folds_percent"))
        cells = (mean_and_sd(numbers(whole, column), decimals) for column, decimals in columns)
        lines.append([TITLES[way], *cells, f"{folds:.2g}"])
    headings = ("speed", "acceleration", "speed, steps", "acceleration, steps", "change")
    return markdown_table(["way", *headings, "CPU seconds", "folds, %"], lines)


def volume_errors(rows: Sequence[Row]) -> str:
    """Return the table of volumes by Jacobian determinants, minus the true volumes."""
    times = _visits(rows)
    lines = []
    for way in ("before", *REGISTERED, "truth"):
        errors = [_volume_errors_ml(_of(rows, way, at)) for at in times]
        lines.append([TITLES[way], *(mean_and_sd(found, 1) for found in errors)])
    return markdown_table(["way", *(f"time {at}" for at in times)], lines)


def _volume_errors_ml(rows: Sequence[Row]) -> list[float]:
    return [float(row["ventricles_ml"]) - float(row["ventricles_true_ml"]) for row in rows]


def findings(rows: Sequence[Row]) -> str:
    """Return sentences that compare the means over persons and visits."""
    error, dice, bent = (
        _means(rows, column) for column in ("tre_mm", "dice", "visit_acceleration_mm")
    )
    grown = {way: _growth_found(rows, way) for way in (*REGISTERED, "truth")}
    lines = [
        f"The error over all persons and visits is {error['before']:.2f} mm before registration, "
        f"{_listed(error, '.2f')}.",
        f"Mean Dice is {dice['before']:.3f} before registration, {_listed(dice, '.3f')}; under the "
        f"true maps it is {dice['truth']:.3f}.",
        f"The acceleration from visit to visit is {_listed(bent, '.2f')}; the true one is "
        f"{bent['truth']:.2f} mm per squared unit time.",
        f"Of the growth of the lateral ventricles until time 1 the maps show, in percent, "
        f"{_listed(grown, '.0f')}; the true maps, read on the grid of the scans, show "
        f"{grown['truth']:.0f}.",
        "Three persons are too few for a test: differences of one SD say nothing.",
    ]
    return "".join(f"- {line}\n" for line in lines)


def _listed(values: Mapping[str, float], form: str) -> str:
    return ", ".join(f"{values[way]:{form}} with {_quoted(way)}" for way in REGISTERED)


def _quoted(way: str) -> str:
    return f'"{TITLES[way]}"'


def _growth_found(rows: Sequence[Row], way: str) -> float:
    """Return the percentage of the true growth until the last visit that the maps show, as a mean
    over persons.
    """
    last = _visits(rows)[-1]
    shares = [
        (float(row["ventricles_ml"]) - float(rest["ventricles_ml"]))
        / (float(row["ventricles_true_ml"]) - float(rest["ventricles_ml"]))
        for row, rest in zip(_of(rows, way, last), _of(rows, "before", last), strict=True)
    ]
    return 100 * sum(shares) / len(shares)


def _means(rows: Sequence[Row], column: str) -> dict[str, float]:
    return {way: _mean(rows, way, column) for way in TITLES}


def _mean(rows: Sequence[Row], way: str, column: str) -> float:
    values = numbers([row for row in rows if row["way"] == way], column)
    return sum(values) / len(values)


def _visits(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row["time"] for row in measured(rows) if row.get("tre_mm")))


def _of(rows: Sequence[Row], way: str, at: str) -> list[Row]:
    return [row for row in rows if row["way"] == way and row["time"] == at]
