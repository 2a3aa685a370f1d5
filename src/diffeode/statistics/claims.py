"""Judge the claims of the papers by the tables of a study."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
import pandas as pd

from diffeode.errors import InputError
from diffeode.evaluation.catalogue import METRICS
from diffeode.statistics.results import Results

SIGNIFICANT = 0.05
"""The level of significance. Section IV-D of arXiv 2512.22689 has one, whose value is lost."""
_WORST_LAST = ("not tested", "holds", "holds in part", "is not shown", "does not hold")


@final
@dataclass(frozen=True)
class Verdict:
    """A claim of a paper and what was found of it.

    Attributes:
        claim: the claim, in words.
        outcome: ``holds``; ``holds in part``, where some of the methods were not compared, or not
            in every experiment; ``is not shown``, where a test of it is not significant; ``does
            not hold``; or ``not tested``.
        why: the numbers behind it, as a sentence.
    """

    claim: str
    outcome: str
    why: str


def with_stand_ins(
    claim: Mapping[str, Any], stands_in: Mapping[str, str], results: Results
) -> Mapping[str, Any]:
    """Return ``claim`` with each run that did not run replaced by the run that stands in for it."""
    ran = set(results.table("summary")["run"])
    absent = {run: other for run, other in stands_in.items() if run not in ran}

    def renamed(value: Any) -> Any:
        if isinstance(value, list):
            return [renamed(part) for part in value]
        return absent.get(value, value) if isinstance(value, str) else value

    return {
        kind: {key: renamed(value) for key, value in test.items()}
        if isinstance(test, Mapping)
        else test
        for kind, test in claim.items()
    }


def judge(claim: Mapping[str, Any], results: Results) -> Verdict:
    """Return whether a claim holds in the results of a study.

    A claim has a ``text`` and one of

    - ``greater: {run: R, than: [S, ...]}``: the Dice of ``R``, or of each of several, is greater
      than that of each ``S`` (of a list, those that ran) in every experiment: the largest p of the
      right-sided Wilcoxon tests lies under :data:`SIGNIFICANT`. It does not hold where the reverse
      test of an ``S`` is significant in an experiment, and is not shown where neither is so, be it
      in one experiment while another one has too few pairs for a test; it holds in part where all
      tests that there are show it and an experiment has too few pairs;
    - ``not_greater: {run: R, than: [S, ...]}``: in no experiment is the right-sided test of ``R``,
      or of one of several, against an ``S`` significant. This says that nothing shows ``R`` to be
      more accurate, and not that both are alike;
    - ``at_most: {metric: M, runs: [R, ...], value: V}``: the mean of ``M`` is at most ``V`` in
      every experiment;
    - ``steady: {metric: M, runs: [R, ...], within: V}``: in every experiment the means of ``M`` of
      these runs differ by at most ``V``.

    A claim that holds for all that was measured holds in part where a run has no value in an
    experiment of the study.

    Raises:
        InputError: the claim is of no such kind, or a table is missing.
    """
    for kind, test in _TESTS.items():
        if kind in claim:
            outcome, why = test(claim[kind], results)
            return Verdict(claim["text"], outcome, why)
    *kinds, last = _TESTS
    raise InputError(
        f"The claim {claim['text']!r} says no test; give it {', '.join(kinds)} or {last}."
    )


def _greater(test: Mapping[str, Any], results: Results) -> tuple[str, str]:
    return _of_each_run(_one_greater, test, results)


def _not_greater(test: Mapping[str, Any], results: Results) -> tuple[str, str]:
    return _of_each_run(_one_not_greater, test, results)


_Others = Sequence[str | list[str]]
"""The runs that a run is compared with; of a list, those that ran."""


def _of_each_run(
    judged: Callable[[str, _Others, Results], tuple[str, str]],
    test: Mapping[str, Any],
    results: Results,
) -> tuple[str, str]:
    """Return the worst outcome of the claim's runs, each of which ``judged`` judges alone."""
    runs = test["run"] if isinstance(test["run"], list) else [test["run"]]
    outcomes, sentences = zip(*(judged(run, test["than"], results) for run in runs), strict=True)
    worst = max(outcomes, key=_WORST_LAST.index)
    in_part = worst == "holds" and "not tested" in outcomes
    return "holds in part" if in_part else worst, " ".join(sentences)


def _one_greater(run: str, than: _Others, results: Results) -> tuple[str, str]:
    rows, absent = _tests_of(run, than, results.table("wilcoxon_largest_p"))
    p = pd.to_numeric(rows["p"], errors="coerce")
    tested = p.notna()
    every = results.table("summary")["experiment"].nunique()
    in_all = rows["experiments"].astype(int) == every
    if rows.empty:
        return "not tested", _not_compared(run, absent, results)
    said = [
        _p_in_words(other, n, value, results)
        for other, n, value in zip(rows["other"], rows["n"], p, strict=True)
    ]
    fewer = [
        f"{_title(row['other'], results)} was compared in {row['experiments']} of the {every} "
        "experiments."
        for row in rows[~in_all].to_dict("records")
    ]
    why = (
        f"Largest p of {_title(run, results)} over the experiments, n the least number of pairs in "
        f"one of them: {'; '.join(said)}."
    )
    beaten_by = _better_somewhere(run, list(rows["other"]), results)
    # Their largest p is not known, because an experiment has too few pairs.
    elsewhere = _tests([run], list(rows.loc[~tested, "other"]), results)
    in_others = [_test_in_words(test, results) for test in elsewhere]
    why += "".join(f" {sentence}" for sentence in (*fewer, *beaten_by, *in_others))
    why += f" {_not_compared(run, absent, results)}" if absent else ""
    if not tested.any() and not beaten_by and not elsewhere:
        return "not tested", why
    if beaten_by:
        return "does not hold", why
    if max([*p[tested], *(test["p"] for test in elsewhere)]) >= SIGNIFICANT:
        return "is not shown", why
    return ("holds" if (tested & in_all).all() and not absent else "holds in part"), why


def _one_not_greater(run: str, than: _Others, results: Results) -> tuple[str, str]:
    rows, absent = _tests_of(run, than, results.table("wilcoxon"))
    if rows.empty:
        return "not tested", _not_compared(run, absent, results)
    every = results.table("summary")["experiment"].nunique()
    said, shown, tested = [], [], []
    for other, of_other in rows.groupby("other", sort=False):
        p = pd.to_numeric(of_other["p"], errors="coerce")
        least = of_other.loc[p.idxmin()] if p.notna().any() else of_other.iloc[0]
        said.append(_p_in_words(other, least["n"], p.min(), results))
        shown += _better_somewhere(other, [run], results)
        tested.append(p.notna().sum())
    why = (
        f"Smallest p of {_title(run, results)} over the experiments, n the number of pairs there: "
        f"{'; '.join(said)}."
    )
    why += "".join(f" {sentence}" for sentence in shown)
    why += f" {_not_compared(run, absent, results)}" if absent else ""
    if not any(tested):
        return "not tested", why
    if shown:
        return "does not hold", why
    return ("holds" if min(tested) == every and not absent else "holds in part"), why


def _tests_of(run: str, than: _Others, tests: pd.DataFrame) -> tuple[pd.DataFrame, list[str]]:
    """Return the tests of ``run`` against ``than``, and those of ``than`` that have none."""
    rows = tests[tests["run"] == run]
    known = set(rows["other"])
    named = [[name] if isinstance(name, str) else name for name in than]
    absent = [names[0] for names in named if not known & set(names)]
    return rows[rows["other"].isin([name for names in named for name in names])], absent


def _p_in_words(other: str, n: str, p: float, results: Results) -> str:
    said = f"p = {p:.2g}" if np.isfinite(p) else "too few pairs for a test"
    return f"{_title(other, results)}: {said}, n = {n}"


def _better_somewhere(run: str, others: Sequence[str], results: Results) -> list[str]:
    """Return a sentence for each of ``others`` whose Dice is significantly greater than that of
    ``run`` in an experiment.
    """
    return [
        f"{_title(test['run'], results)} is more accurate on {_where(test, results)}."
        for test in _tests(others, [run], results)
        if test["p"] < SIGNIFICANT
    ]


def _test_in_words(test: Mapping[str, Any], results: Results) -> str:
    found = "is" if test["p"] < SIGNIFICANT else "is not shown to be"
    return (
        f"{_title(test['run'], results)} {found} more accurate than "
        f"{_title(test['other'], results)} on {_where(test, results)}."
    )


def _tests(runs: Sequence[str], others: Sequence[str], results: Results) -> list[dict[str, Any]]:
    """Return the rows of the tests of ``runs`` against ``others`` for which pairs sufficed."""
    table = results.table("wilcoxon")
    rows = table[table["run"].isin(runs) & table["other"].isin(others)]
    return (
        rows.assign(p=pd.to_numeric(rows["p"], errors="coerce"))
        .dropna(subset="p")
        .to_dict("records")
    )


def _where(test: Mapping[str, Any], results: Results) -> str:
    return f"{_title(test['experiment'], results)} (p = {test['p']:.2g}, n = {test['n']})"


def _title(name: str, results: Results) -> str:
    return results.titles.get(name, name)


def _titles(names: Sequence[str], results: Results) -> str:
    return ", ".join(_title(name, results) for name in names)


def _not_compared(run: str, others: Sequence[str], results: Results) -> str:
    return f"{_title(run, results)} was not compared with {_titles(others, results)} here."


def _at_most(test: Mapping[str, Any], results: Results) -> tuple[str, str]:
    means, lacking = _means(test, results)
    if means.empty:
        return "not tested", f"{_titles(test['runs'], results)} did not run here."
    experiment, run = means.idxmax()
    largest = f"{means.max():.4g}{_unit(test)}"
    if len(means) > 1 and means.nunique() == 1:
        said = f"Each of the {len(means)} means is {largest}"
    else:
        said = (
            f"The largest mean is {largest}, that of {_title(run, results)} on "
            f"{_title(experiment, results)} (n = {_counts(results)[experiment, run]})"
        )
    why = f"{said}; the claim's limit is {test['value']:g}."
    return _measured(means.max() <= test["value"], why, lacking)


def _steady(test: Mapping[str, Any], results: Results) -> tuple[str, str]:
    means, lacking = _means(test, results)
    if means.groupby(level="experiment").size().max() < 2 or means.empty:
        return "not tested", f"Fewer than two of {_titles(test['runs'], results)} ran here."
    spread = means.groupby(level="experiment").agg(lambda values: values.max() - values.min())
    widest = spread.idxmax()
    n = [_counts(results)[unit] for unit in means.index if unit[0] == widest]
    why = (
        f"The means of {len(n)} runs differ by at most {spread.max():.4g}{_unit(test)}, on "
        f"{_title(widest, results)} (n = {min(n, key=int)}); the claim's limit is "
        f"{test['within']:g}."
    )
    return _measured(spread.max() <= test["within"], why, lacking)


_TESTS = {
    "greater": _greater,
    "not_greater": _not_greater,
    "at_most": _at_most,
    "steady": _steady,
}
"""The kinds of claims, see :func:`judge`."""


def _measured(holds: bool, why: str, lacking: Sequence[str]) -> tuple[str, str]:
    """Return the outcome of a claim about means, and the numbers behind it.

    Args:
        holds: whether the claim holds for all means that there are.
        lacking: the runs that have no mean, and where.
    """
    if lacking:
        why += f" There is no mean of {', '.join(lacking)}."
    if not holds:
        return "does not hold", why
    return ("holds in part" if lacking else "holds"), why


def _unit(test: Mapping[str, Any]) -> str:
    unit = METRICS[test["metric"]].unit if test["metric"] in METRICS else ""
    return f" {unit}" if unit else ""


def _counts(results: Results) -> Mapping[tuple[str, str], str]:
    """Return the number of registered pairs of each experiment and run."""
    table = results.table("summary")
    return dict(zip(zip(table["experiment"], table["run"], strict=True), table["n"], strict=True))


def _means(test: Mapping[str, Any], results: Results) -> tuple[pd.Series, list[str]]:
    """Return the means of a metric by experiment and run, and a clause for each that is missing.

    A run may be named by a pattern, in which a star stands for any characters.
    """
    table = results.table("summary").set_index(["experiment", "run"])
    column = f"{test['metric']}_mean"
    if column not in table:
        raise InputError(f"The study {results.title} has no metric {test['metric']!r}.")
    means = pd.to_numeric(table[column], errors="coerce")
    names = means.index.get_level_values("run")
    patterns = {run: re.escape(run).replace(r"\*", ".*") for run in test["runs"]}
    wanted = means[names.str.fullmatch("|".join(patterns.values()))]
    lacking = [
        _title(run, results)
        for run, pattern in patterns.items()
        if not names.str.fullmatch(pattern).any()
    ]
    lacking += [
        f"{_title(run, results)} on {_title(experiment, results)}"
        for experiment, run in wanted[wanted.isna()].index
    ]
    return wanted.dropna(), lacking
