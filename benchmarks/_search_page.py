"""The page of the search: what was chosen, how the best did, and what each parameter does."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

from _search_plan import (
    HELD_OUT,
    KEYS,
    MOST_FOLDS_PERCENT,
    REFERENCE,
    SEED,
    TAUGHT,
    VARIANTS,
    Parameter,
    Rung,
    SearchCase,
    Standing,
    Variant,
    chosen,
    entrants,
    finished_rungs,
    standings,
    tried_settings,
)
from _tables import Row, Table, markdown_table, measured_on, write_page
from scipy.stats import spearmanr

_SHOWN = 5
"""The number of settings of the first rung that are shown."""


def write_search_page(results: Path) -> None:
    """Write ``search.md`` from the tables in ``results``, without variants that have no table."""
    sections = [_introduction()]
    for variant in VARIANTS.values():
        rows = Table(results / f"search_{variant.name}.tsv", KEYS).rows
        if rows:
            sections += _sections(variant, rows)
    write_page(results / "search.md", "The numbers that the paper's text lost", sections)


def _introduction() -> str:
    return (
        "The text of arXiv 2512.22689 that we have does not hold the values of the weights of the "
        "three penalties, of the barrier, of the operator's alpha and power, and of the size of "
        "the patches. They were searched for once, on development pairs: T1w to T2w of newborns "
        "(ALBERTs) 01 to 06, Dice of 27 labels, and T1w of the adult 03 of OASIS-TRT-20 to "
        "ICBM152's T2w, Dice of 89 labels. No newborn of 07 to 10 and none of the four adults of "
        "the accuracy benchmark is among them.\n\n"
        f"**Settings.** Points of a scrambled Sobol sequence (seed {SEED}) in the ranges below, to "
        f"three digits, and as number {REFERENCE} the values of NODEO's code with Beg's operator "
        "and a patch of 5 voxels. The rest of a run is as its file in `config/methods` says.\n\n"
        "**Rule.** A setting is eligible where the percentage of voxels of the whole image with "
        f"|J| ≤ 0, in the mean over the pairs of a rung, is at most {MOST_FOLDS_PERCENT:g}. "
        "Eligible settings rank by mean Dice over the pairs of the rung, the others below them by "
        f"their folds. The best go on to the next rung, and so does number {REFERENCE} where the "
        "rung says so; the best of the last rung is chosen.\n\n"
        "Weights of the magnitude and widths of patches are in voxels of the grid that is "
        "registered on, so they mean less and more millimetres on coarser ones; alpha is in "
        "squared widths of the grid, the other weights have no unit. Rows with every pair: "
        "`search_<variant>.tsv`. Command: `python benchmarks/search.py`.\n"
    )


def _sections(variant: Variant, rows: Sequence[Row]) -> list[str]:
    done = finished_rungs(variant, rows)
    sections = [f"## {_titled(variant)}\n"]
    if variant.training:
        sections.append(_about_training(variant))
    sections.append(_ranges(variant))
    if done == len(variant.rungs):
        sections.append(_choice(variant, rows))
    else:
        sections.append(_unfinished(variant, rows, done))
    sections += [_rung(variant, rows, index) for index in range(done)]
    if done:
        sections.append(_effects(variant, rows))
    sections.append(measured_on(rows) + "\n")
    return sections


def _titled(variant: Variant) -> str:
    if variant.training:
        return f"The training of the descriptor, `config/descriptors/{variant.training}.yaml`"
    return f"Neural ODE ({variant.name.upper()}), `{variant.run}`"


def _about_training(variant: Variant) -> str:
    return (
        "The text has lost these numbers of the descriptor's training, too: the learning rate, the "
        "numbers of steps, of places that a step compares and of control points of the map of "
        "intensities, and the probabilities of that map and of an inversion. For each setting, a "
        f"descriptor is trained on the T1w and the T2w of newborns {TAUGHT[0]} to {TAUGHT[-1]} at "
        f"a third of the resolution; {HELD_OUT} of them is held out to choose the best step. What "
        f"is not searched is as `{variant.training}.yaml` says. Then `{variant.run}` registers two "
        "newborns who are not among them, with these weights, and the rule above judges the "
        f"result. Number {REFERENCE} has the values that the file had when the search began.\n\n"
        "The number of steps is not searched; each rung sets it. Few steps may favour a high "
        f"learning rate, so later rungs train longer and always try number {REFERENCE}. All "
        "trainings have one seed. Nobody measured what another seed changes, so a small difference "
        "between two settings may mean nothing.\n"
    )


def _unfinished(variant: Variant, rows: Sequence[Row], index: int) -> str:
    """Say how far the search is, which has finished the rungs before ``index``."""
    there, wanted = tried_settings(variant, rows, index), entrants(variant, rows, index)
    return (
        f"**The search is not finished.** On rung {index + 1} of {len(variant.rungs)} "
        f"({variant.rungs[index].name}), {len(there)} of {len(wanted)} settings were tried. Until "
        f"it is finished, the {_kind(variant)} has the values of number {REFERENCE}.\n"
    )


def _kind(variant: Variant) -> str:
    return "training" if variant.training else "run"


def _ranges(variant: Variant) -> str:
    lines = [
        [parameter.name, f"`{parameter.knob}`", _range(parameter), f"{parameter.reference:g}"]
        for parameter in variant.parameters
    ]
    heads = ("parameter", f"setting of the {_kind(variant)}", "range", f"number {REFERENCE}")
    return f"{variant.settings} settings.\n\n" + markdown_table(heads, lines)


def _range(parameter: Parameter) -> str:
    if parameter.choices:
        return "one of " + ", ".join(f"{choice:g}" for choice in parameter.choices)
    scale = "logarithmic" if parameter.logarithmic else "linear"
    return f"{parameter.low:g} to {parameter.high:g}, {scale}"


def _choice(variant: Variant, rows: Sequence[Row]) -> str:
    best = chosen(variant, rows)
    values = ", ".join(f"{name} {value:g}" for name, value in variant.setting(best.setting).items())
    text = (
        f"**Chosen: number {best.setting}** ({values}): Dice {best.dice:.4f} on the last rung, "
        f"{best.folds_percent:.2g} % folds"
    )
    others = {s.setting: s for s in standings(rows, variant.rungs[-1])}
    reference = others.get(REFERENCE)
    if reference is None or best.setting == REFERENCE:
        return text + ".\n"
    return text + f"; number {REFERENCE} {reference.dice:.4f}, {reference.folds_percent:.2g} %.\n"


def _rung(variant: Variant, rows: Sequence[Row], index: int) -> str:
    rung = variant.rungs[index]
    tried = set(entrants(variant, rows, index))
    ranked = [standing for standing in standings(rows, rung) if standing.setting in tried]
    shown = [s for place, s in enumerate(ranked) if place < _SHOWN or s.setting == REFERENCE]
    names = [parameter.name for parameter in variant.parameters]
    heads = ("place", "setting", *names, *map(_case_named, rung.cases), "mean", "folds (%)")
    lines = [_line(variant, rows, rung, ranked.index(s) + 1, s) for s in shown]
    words = f"### {rung.name.capitalize()}\n\n{len(ranked)} settings; Dice of each pair, and means."
    return f"{words}\n\n{markdown_table(heads, lines)}"


def _case_named(case: SearchCase) -> str:
    who = "newborns" if case.task == "albert" else "adult"
    pair = f"{case.moving} to {case.fixed}"
    warped = ", tokens warped" if case.descriptor == "warped" else ""
    descent = f"{case.iterations} iterations at {case.learning_rate:g}"
    trained = f", {case.training_steps} steps of training" if case.training_steps else ""
    return f"{who} {pair}, {case.spacing_mm:.3g} mm, {descent}{warped}{trained}"


def _line(
    variant: Variant, rows: Sequence[Row], rung: Rung, place: int, standing: Standing
) -> list[str]:
    values = [f"{value:g}" for value in variant.setting(standing.setting).values()]
    dice = [
        f"{found.dice:.4f}"
        for case in rung.cases
        for found in standings(rows, Rung("", (case,), 1))
        if found.setting == standing.setting
    ]
    return [
        str(place),
        str(standing.setting),
        *values,
        *dice,
        f"{standing.dice:.4f}",
        f"{standing.folds_percent:.2g}",
    ]


# ------------------------------------------------------------------------------------- sensitivity


def _effects(variant: Variant, rows: Sequence[Row]) -> str:
    """What each parameter does on the first rung, whatever the others are."""
    found = {s.setting: s for s in standings(rows, variant.rungs[0]) if s.setting != REFERENCE}
    drawn = [found[number] for number in sorted(found)]
    lines = []
    for parameter in variant.parameters:
        values = [variant.setting(standing.setting)[parameter.name] for standing in drawn]
        lines += _effect(parameter, values, drawn)
    heads = (
        "parameter",
        "values",
        "settings",
        "Dice, mean",
        "Dice, best",
        "folds (%), mean",
        "rank",
    )
    return (
        "### What each parameter does\n\nOn the first rung, settings grouped by the values of one "
        "parameter while all others vary. Rank: Spearman's rank correlation of the parameter with "
        "Dice over all settings.\n\n" + markdown_table(heads, lines)
    )


def _effect(
    parameter: Parameter, values: Sequence[float], drawn: Sequence[Standing]
) -> list[list[str]]:
    rho = f"{spearmanr(values, [s.dice for s in drawn]).statistic:+.2f}"
    lines = []
    for words, holds in _groups(parameter):
        group = [s for value, s in zip(values, drawn, strict=True) if holds(value)]
        if group:
            lines.append(
                [
                    parameter.name,
                    words,
                    str(len(group)),
                    f"{statistics.fmean(s.dice for s in group):.4f}",
                    f"{max(s.dice for s in group):.4f}",
                    f"{statistics.fmean(s.folds_percent for s in group):.2g}",
                    rho,
                ]
            )
    return lines


def _groups(parameter: Parameter) -> list[tuple[str, object]]:
    """Return, for each choice or each quarter of the range, its name and a function that says
    whether a value belongs to it.
    """
    if parameter.choices:
        return [(f"{c:g}", lambda value, c=c: value == c) for c in parameter.choices]
    edges = [parameter.at(quarter / 4) for quarter in range(5)]
    edges[-1] = float("inf")
    return [
        (
            f"{low:g} to {min(high, parameter.high):g}",
            lambda value, low=low, high=high: low <= value < high,
        )
        for low, high in pairwise(edges)
    ]
