"""One page with every table and figure of the papers: what they report, what was found here, on
which data, and whether each claim holds.

What the page shows is described in a file (``config/pages/paper.yaml``): studies under short names,
and items in the order of the papers, each with the files of a study and the claims to judge.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import jinja2
import numpy as np
import pandas as pd

from diffeode.errors import InputError
from diffeode.files.checked_yaml import read_mapping
from diffeode.files.io import write_text
from diffeode.files.presence import require_file
from diffeode.files.tables import read_words
from diffeode.statistics.reported import SOURCES, read_reported

SIGNIFICANT = 0.05
"""The level of arXiv 2512.22689, section IV-D."""
_TEMPLATE = Path(__file__).with_name("paper_page.html")
_TABLE = re.compile(r"<table.*?</table>", re.DOTALL)
_KINDS = {".png": "png", ".svg": "svg+xml"}


@final
@dataclass(frozen=True)
class Results:
    """What a study left in its folder.

    Attributes:
        title: of the study.
        folder: ``results/studies/<name>``.
        command: what runs the study.
    """

    title: str
    folder: Path
    command: str

    @property
    def there(self) -> bool:
        """Whether the study has been run."""
        return (self.folder / "metrics.tsv").is_file()

    def table(self, name: str) -> pd.DataFrame:
        """Return a table of the study as texts.

        Raises:
            InputError: the study has no such table, or the file is damaged.
        """
        return read_words(self.folder / "tables" / f"{name}.tsv")


@final
@dataclass(frozen=True)
class Verdict:
    """A claim of a paper and what was found of it.

    Attributes:
        claim: the claim, in words.
        outcome: ``holds``, ``does not hold`` or ``not tested``.
        why: the numbers behind it, as a sentence.
    """

    claim: str
    outcome: str
    why: str


def write_paper_page(description: Path, repository: Path, small: bool, out: Path) -> None:
    """Write the page that ``description`` describes to ``out``, with everything in one file.

    Studies that have not been run are named, and the command that runs them.

    Args:
        description: the page's file.
        repository: the folder that holds ``config`` and ``results``.
        small: whether the studies at a reduced size are shown.

    Raises:
        InputError: the description or a file of a study is missing or unusable.
    """
    content = read_mapping(description)
    studies = {
        name: _results(repository / files["small" if small else "full"], repository)
        for name, files in content["studies"].items()
        if ("small" if small else "full") in files
    }
    reported = read_reported(repository / "config" / "reported.tsv")
    items = [_item(item, studies, reported) for item in content["items"]]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    size = content["sizes"]["small" if small else "full"]
    write_text(out, template.render(title=content["title"], size=size, items=items))


def _results(study: Path, repository: Path) -> Results:
    require_file(study, "study")
    content = read_mapping(study)
    folder = repository / content["results"] / "studies" / content["study"]
    shown = study.relative_to(repository)
    command = f"snakemake --workflow-profile workflow/profiles/default --configfile {shown}"
    return Results(content["title"], folder, command)


def _item(
    item: Mapping[str, Any], studies: Mapping[str, Results], reported: pd.DataFrame
) -> dict[str, Any]:
    """Return what the template shows of one item."""
    results = studies.get(item["study"])
    head = {
        "title": item["title"],
        "source": SOURCES[item["source"]],
        "caption": item["caption"],
        "reported": _said(reported, item["source"], item["places"]),
        "missing": _why_missing(results),
    }
    if head["missing"] or results is None:
        return {**head, "study": "", "tables": [], "figures": [], "verdicts": []}
    return {
        **head,
        "study": results.title,
        "tables": [_html_table(results.folder, name) for name in item.get("tables", ())],
        "figures": _figures(results.folder, item.get("figures", ())),
        "verdicts": [judge(claim, results) for claim in item.get("claims", ())],
    }


def _why_missing(results: Results | None) -> str:
    if results is None:
        return "There is no study of it at this size."
    return "" if results.there else f"It has not been run yet: {results.command}"


def _said(reported: pd.DataFrame, source: str, places: Sequence[str]) -> list[dict[str, str]]:
    """Return the reported numbers of some places, as words."""
    rows = reported[(reported["source"] == source) & reported["place"].isin(places)]
    return [_number_in_words(row) for row in rows.to_dict("records")]


def _number_in_words(row: Mapping[str, Any]) -> dict[str, str]:
    words = (row["method"], row["experiment"], row["settings"], row["metric"])
    spread = "" if np.isnan(row["spread"]) else f" ± {row['spread']:g}"
    unit = f" {row['unit']}" if row["unit"] else ""
    return {"what": ", ".join(filter(None, words)), "value": f"{row['value']:g}{spread}{unit}"}


def _html_table(folder: Path, name: str) -> dict[str, str]:
    page = folder / "tables" / f"{name}.html"
    require_file(page, "table")
    found = _TABLE.search(page.read_text(encoding="utf-8"))
    if found is None:
        raise InputError(f"{page} holds no table; have the study make it again.")
    return {"name": name, "html": found[0]}


def _figures(folder: Path, patterns: Sequence[str]) -> list[dict[str, str]]:
    """Return the figures that fit ``patterns``; the address of each holds the whole picture."""
    found = []
    for pattern in patterns:
        files = sorted((folder / "figures").glob(pattern))
        if not files:
            raise InputError(f"{folder}/figures has no {pattern}; have the study make it again.")
        found += [
            {
                "name": str(file.relative_to(folder / "figures").with_suffix("")),
                "address": f"data:image/{_KINDS[file.suffix]};base64,"
                + base64.b64encode(file.read_bytes()).decode(),
            }
            for file in files
        ]
    return found


# ------------------------------------------------------------------------------------------- claims


def judge(claim: Mapping[str, Any], results: Results) -> Verdict:
    """Return whether a claim holds in the results of a study.

    A claim has a ``text`` and one of

    - ``greater: {run: R, than: [S, ...]}``: the Dice of ``R`` is greater than that of each ``S`` in
      every experiment: the largest p of the right-sided Wilcoxon tests lies under
      :data:`SIGNIFICANT`;
    - ``at_most: {metric: M, runs: [R, ...], value: V}``: the mean of ``M`` is at most ``V`` in
      every experiment;
    - ``steady: {metric: M, runs: [R, ...], within: V}``: in every experiment the means of ``M`` of
      these runs differ by at most ``V``.

    Raises:
        InputError: the claim is of no such kind, or a table is missing.
    """
    for kind, test in (("greater", _greater), ("at_most", _at_most), ("steady", _steady)):
        if kind in claim:
            outcome, why = test(claim[kind], results)
            return Verdict(claim["text"], outcome, why)
    raise InputError(
        f"The claim {claim['text']!r} says no test; give it greater, at_most or steady."
    )


def _greater(test: Mapping[str, Any], results: Results) -> tuple[str, str]:
    table = results.table("wilcoxon_largest_p")
    rows = table[(table["run"] == test["run"]) & table["other"].isin(test["than"])]
    absent = [other for other in test["than"] if other not in set(rows["other"])]
    p = pd.to_numeric(rows["p"], errors="coerce")
    if rows.empty or p.isna().all():
        return "not tested", _not_compared(test["run"], absent or list(rows["other"]))
    said = "; ".join(
        f"{other}: p = {value:.2g}" if np.isfinite(value) else f"{other}: too few pairs"
        for other, value in zip(rows["other"], p, strict=True)
    )
    left_out = f" {_not_compared(test['run'], absent)}" if absent else ""
    outcome = "holds" if (p < SIGNIFICANT).all() else "does not hold"
    return outcome, f"Largest p over the experiments: {said}.{left_out}"


def _not_compared(run: str, others: Sequence[str]) -> str:
    return f"{run} was not compared with {', '.join(others)} here."


def _at_most(test: Mapping[str, Any], results: Results) -> tuple[str, str]:
    means = _means(test, results)
    if means.empty:
        return "not tested", f"{', '.join(test['runs'])} did not run here."
    worst = means.max()
    outcome = "holds" if worst <= test["value"] else "does not hold"
    return outcome, f"The largest mean is {worst:.4g}; the claim's limit is {test['value']:g}."


def _steady(test: Mapping[str, Any], results: Results) -> tuple[str, str]:
    means = _means(test, results)
    if len(means) < 2:
        return "not tested", f"Fewer than two of {', '.join(test['runs'])} ran here."
    spread = means.groupby(level="experiment").agg(lambda values: values.max() - values.min())
    outcome = "holds" if spread.max() <= test["within"] else "does not hold"
    return outcome, (
        f"The means differ by at most {spread.max():.4g} in an experiment; the claim's limit is "
        f"{test['within']:g}."
    )


def _means(test: Mapping[str, Any], results: Results) -> pd.Series:
    """Return the means of a metric by experiment and run.

    A run may be named by a pattern, in which a star stands for any characters.
    """
    table = results.table("summary").set_index(["experiment", "run"])
    column = f"{test['metric']}_mean"
    if column not in table:
        raise InputError(f"The study {results.title} has no metric {test['metric']!r}.")
    means = pd.to_numeric(table[column], errors="coerce").dropna()
    names = means.index.get_level_values("run")
    wanted = "|".join(re.escape(run).replace(r"\*", ".*") for run in test["runs"])
    return means[names.str.fullmatch(wanted)]
