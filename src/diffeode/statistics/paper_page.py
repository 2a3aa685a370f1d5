"""One page with every table and figure of the papers: what they report, what was found here, on
which data, and whether each claim holds.

What the page shows is described in a file (``config/pages/paper.yaml``): studies under short names,
and items in the order of the papers, each with the files of a study and the claims to judge. An
item's ``data`` says on which data its files rest where that is not the study's experiments. Its
``stands_in: {R: S}`` says that a study without a run R has it as its run S, by which a claim on R
is judged there.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from html import unescape
from pathlib import Path
from typing import Any, final

import jinja2
import numpy as np
import pandas as pd

from diffeode.errors import InputError
from diffeode.evaluation.catalogue import METRICS
from diffeode.files.checked_yaml import read_mapping
from diffeode.files.io import write_text
from diffeode.files.pictures import read_picture
from diffeode.files.presence import require_file
from diffeode.files.tables import read_words
from diffeode.statistics.reported import OTHER_NUMBERS, SOURCES, read_reported

CLAIMS = "claims.tsv"
"""Name of the table of all claims."""
SIGNIFICANT = 0.05
"""The level of significance. Section IV-D of arXiv 2512.22689 has one, whose value is lost."""
_TEMPLATE = Path(__file__).with_name("paper_page.html")
_TABLE = re.compile(r"<table.*?</table>", re.DOTALL)
_ABOVE = re.compile(r"<p>(.*?)</p>", re.DOTALL)
_ROW = re.compile(r"<tr.*?</tr>", re.DOTALL)
_CELL = re.compile(r"<t[hd][^>]*>(.*?)</t[hd]>", re.DOTALL)
_WIDEST = 6
"""The most columns of a table of reported numbers; more would not fit on the page."""
_WORST_LAST = ("not tested", "holds", "holds in part", "is not shown", "does not hold")
_PRINT_PX = 2
"""Pixels of a figure across one pixel of the page, where each is about as wide as in print."""
_FIGURES = {
    "beside": "Methods side by side, in the coronal plane half way through the fixed brain: the "
    "scans, borders of the fixed scan over them, the maps' grids and volume changes",
    "coronal_overview": "Fixed scans, the coronal slice half way through each brain",
    "dice_boxplot": "Mean Dice over structures, one point a pair; boxes show median and quartiles",
    "dice_by_structure": "Dice of each structure; marks are medians over pairs, thick lines span "
    "quartiles, thin lines the 5 % to 95 % quantiles",
    "longitudinal": "Volume of the lateral ventricles over time: labels of the first visit times "
    "the determinant of the map to each time, and the volume of the true labels",
    "plane_boundary": "Registrations in the plane with and without a fixed border: moving, fixed "
    "and warped picture, determinant (folds are yellow) and grid; the slice is of the first pair",
    "plane_regularisation": "Registrations in the plane with and without kernel and Jacobian term: "
    "warped picture, grid, determinant, and where the determinant is not positive (yellow)",
    "regularity": "Mean Dice against folds (% of grid) and against time; bars are one "
    "standard deviation over pairs to either side",
    "significance": "Largest p over the experiments: is the Dice of the row's method greater than "
    "that of the column's?",
    "sweeps": "Dice against folds, and both against the setting; points are medians over pairs, "
    "bands span quartiles",
}
"""What each figure shows, by the first part of its path."""


@final
@dataclass(frozen=True)
class Results:
    """What a study left in its folder.

    Attributes:
        title: the title of the study.
        folder: ``results/studies/<name>``.
        command: the command that runs the study.
        known: titles of methods by the names of their runs, for those that the study has not.
    """

    title: str
    folder: Path
    command: str
    known: Mapping[str, str] = field(default_factory=dict)

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

    @cached_property
    def titles(self) -> dict[str, str]:
        """Titles of experiments and methods by their names.

        The rows of ``summary.html`` hold the titles, and those of ``summary.tsv`` the names.
        """
        names = self.table("summary")
        shown = [
            (*_CELL.findall(title), *_CELL.findall(row))
            for title, row in _rows_under_titles(self.page("summary"))
        ]
        found = dict(self.known)
        if len(shown) != len(names):
            return found
        for (experiment, run), cells in zip(
            names[["experiment", "run"]].itertuples(index=False), shown, strict=True
        ):
            found |= {experiment: unescape(cells[0]), run: unescape(cells[1])}
        return found

    @property
    def data(self) -> str:
        """The experiments, each with its number of pairs."""
        pairs = self.table("summary").groupby("experiment", sort=False)["pairs"].first()
        return "; ".join(
            f"{self.titles.get(name, name)}, {_pairs(number)}" for name, number in pairs.items()
        )

    def page(self, name: str) -> str:
        """Return the page of a table as HTML.

        Raises:
            InputError: the study has no such page.
        """
        file = self.folder / "tables" / f"{name}.html"
        require_file(file, "table")
        return file.read_text(encoding="utf-8")


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


def write_paper_page(
    description: Path, repository: Path, small: bool, out: Path, titles: Mapping[str, str]
) -> None:
    """Write the page that ``description`` describes to ``out``, with everything in one file, and
    beside it the claims and what was found of each, as the table ``claims.tsv``.

    Studies that have not been run are named, and the command that runs them.

    Args:
        description: the page's file.
        repository: the folder that holds ``config`` and ``results``.
        small: whether the studies at a reduced size are shown.
        titles: titles of methods by the names of their runs, for methods that a claim names and
            that did not run.

    Raises:
        InputError: the description or a file of a study is missing or unusable.
    """
    content = read_mapping(description)
    studies = {
        name: _results(repository / files["small" if small else "full"], repository, titles)
        for name, files in content["studies"].items()
        if ("small" if small else "full") in files
    }
    reported = read_reported(repository / "config" / "reported.tsv")
    items = [_item(item, studies, reported) for item in content["items"]]
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    verdicts = [
        (place, item["study"], verdict)
        for place, item in enumerate(items, 1)
        for verdict in item["verdicts"]
    ]
    size = content["sizes"]["small" if small else "full"]
    write_text(
        out, template.render(title=content["title"], size=size, items=items, verdicts=verdicts)
    )
    _write_claims(verdicts, items, out.with_name(CLAIMS))


def _write_claims(
    verdicts: Sequence[tuple[int, str, Verdict]], items: Sequence[Mapping[str, Any]], path: Path
) -> None:
    rows = [
        (items[place - 1]["title"], verdict.claim, verdict.outcome, verdict.why, study)
        for place, study, verdict in verdicts
    ]
    table = pd.DataFrame(rows, columns=["item", "claim", "found", "why", "study"])
    write_text(path, table.to_csv(sep="\t", index=False, lineterminator="\n"))


def _results(study: Path, repository: Path, titles: Mapping[str, str]) -> Results:
    require_file(study, "study")
    content = read_mapping(study)
    folder = repository / content["results"] / "studies" / content["study"]
    shown = study.relative_to(repository)
    command = f"snakemake --workflow-profile workflow/profiles/default --configfile {shown}"
    return Results(content["title"], folder, command, titles)


def _item(
    item: Mapping[str, Any], studies: Mapping[str, Results], reported: pd.DataFrame
) -> dict[str, Any]:
    """Return what the template shows of one item."""
    results = studies.get(item["study"])
    missing, claims = _why_missing(results), item.get("claims", ())
    head = {
        "title": item["title"],
        "source": SOURCES[item["source"]],
        "caption": item["caption"],
        "missing": missing,
    }
    titles = {} if missing or results is None else results.titles
    head["reported"] = _said(reported, item["source"], item["places"], titles)
    if missing or results is None:
        untested = [Verdict(claim["text"], "not tested", missing) for claim in claims]
        return {**head, "study": "", "tables": [], "figures": [], "verdicts": untested}
    claims = [_with_stand_ins(claim, item.get("stands_in", {}), results) for claim in claims]
    return {
        **head,
        "study": results.title,
        "data": item.get("data", results.data),
        "tables": [
            _html_table(results, name, item.get("runs", ())) for name in item.get("tables", ())
        ],
        "figures": _figures(results, item.get("figures", ())),
        "verdicts": [judge(claim, results) for claim in claims],
    }


def _why_missing(results: Results | None) -> str:
    if results is None:
        return "There is no study of it at this size."
    return "" if results.there else f"It has not been run yet: {results.command}"


def _said(
    reported: pd.DataFrame, source: str, places: Sequence[str], titles: Mapping[str, str]
) -> dict[str, Any]:
    """Return the reported numbers of some places as a table: ``columns``, and ``rows`` of a text
    and a cell for each column; empty where there are none.
    """
    rows = reported[(reported["source"] == source) & reported["place"].isin(places)]
    cells: dict[str, dict[str, str]] = {}
    for row in rows.to_dict("records"):
        experiment = titles.get(row["experiment"], row["experiment"])
        n = "" if np.isnan(row["n"]) else f"n = {row['n']:.0f}"
        method = row["method"].replace("ours", "the authors' method")
        settings = row["settings"].replace("=", " ").replace(";", ", ")
        what = ", ".join(filter(None, (method, experiment, settings, n))) or row["place"]
        cells.setdefault(what, {})[_heading(row["metric"])] = _number_in_words(row)
    columns = list(dict.fromkeys(heading for numbers in cells.values() for heading in numbers))
    if len(columns) > _WIDEST:
        return {
            "columns": ["Reported"],
            "rows": [(what, [_in_one_cell(numbers)]) for what, numbers in cells.items()],
        }
    return {
        "columns": columns,
        "rows": [
            (what, [numbers.get(heading, "") for heading in columns])
            for what, numbers in cells.items()
        ],
    }


def _in_one_cell(numbers: Mapping[str, str]) -> str:
    return "; ".join(f"{heading}: {number}" for heading, number in numbers.items())


def _heading(metric: str) -> str:
    return METRICS[metric].title if metric in METRICS else OTHER_NUMBERS[metric]


def _number_in_words(row: Mapping[str, Any]) -> str:
    spread = "" if np.isnan(row["spread"]) else f" ± {row['spread']:g}"
    unit = f" {row['unit']}" if row["unit"] else ""
    return f"{row['value']:g}{spread}{unit}"


def _html_table(results: Results, name: str, runs: Sequence[str]) -> dict[str, str]:
    """Return a table of the study and what stands above it.

    Args:
        runs: the runs whose rows the summary shows; empty for all.
    """
    page = results.page(name)
    found, above = _TABLE.search(page), _ABOVE.search(page)
    if found is None:
        raise InputError(
            f"{results.folder}/tables/{name}.html holds no table; have the study make it again."
        )
    # The title of the study and its population stand above the item already.
    caption = re.sub(r"^.*?\)\. ", "", above[1], count=1) if above else ""
    table = found[0]
    if runs and name == "summary":
        there = results.table(name)["run"]
        table = _of_runs(table, [run in runs for run in there])
        if left_out := there.nunique() - there[there.isin(runs)].nunique():
            caption += (
                f" {left_out} other runs of the study are left out; bold is best of all runs."
            )
    return {"name": name, "html": table, "caption": caption}


def _of_runs(table: str, kept: Sequence[bool]) -> str:
    """Return ``table`` with the rows that are ``kept`` alone, and the titles above them."""
    rows, before = [], ""
    for (title, row), keep in zip(_rows_under_titles(table), kept, strict=True):
        if keep:
            rows += [row] if title in ("", before) else [title, row]
            before = title
    body = "\n".join(rows)
    return re.sub(
        "<tbody>.*</tbody>", lambda _: f"<tbody>\n{body}\n</tbody>", table, flags=re.DOTALL
    )


def _rows_under_titles(table: str) -> list[tuple[str, str]]:
    """Return the rows below the head of a table of a study, each after the row that holds the title
    of its experiment; that is empty where the experiments have a column.
    """
    title, found = "", []
    for row in _ROW.findall(table)[1:]:
        if row.startswith('<tr class="experiment">'):
            title = row
        else:
            found.append((title, row))
    return found


def _figures(results: Results, patterns: Sequence[str]) -> list[dict[str, str | int]]:
    """Return the figures that fit ``patterns``, which are PNG files, each with its width in pixels
    of the page; the address of each holds the whole picture.
    """
    found: list[dict[str, str | int]] = []
    folder = results.folder / "figures"
    for pattern in patterns:
        files = sorted(folder.glob(pattern))
        if not files:
            raise InputError(f"{folder} has no {pattern}; have the study make it again.")
        found += [
            {
                "caption": _caption(file.relative_to(folder).with_suffix(""), results),
                "width": len(read_picture(file).values) // _PRINT_PX,
                "address": "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode(),
            }
            for file in files
        ]
    return found


def _caption(figure: Path, results: Results) -> str:
    """Return in words what a figure shows, and of which experiment and pair."""
    kind, *of_experiment = figure.parts
    words = [_FIGURES.get(kind, kind)]
    if of_experiment:
        words.append(results.titles.get(of_experiment[0], of_experiment[0]))
    if len(of_experiment) > 1:
        fixed, _, moving = of_experiment[1].partition("__")
        words.append(f"{moving} to {fixed}")
    return " ".join(word if word.endswith("?") else f"{word}." for word in words)


def _pairs(number: Any) -> str:
    return f"{number} pair{'' if str(number) == '1' else 's'}"


# ------------------------------------------------------------------------------------------- claims


def _with_stand_ins(
    claim: Mapping[str, Any], stands_in: Mapping[str, str], results: Results
) -> Mapping[str, Any]:
    """Return ``claim`` on the runs that stand in for those that the study has not."""
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
      in one experiment while another one has too few pairs for a test;
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
    not_shown = _not_shown_somewhere(run, list(rows.loc[~tested, "other"]), results)
    why += "".join(f" {sentence}" for sentence in (*fewer, *beaten_by, *not_shown))
    why += f" {_not_compared(run, absent, results)}" if absent else ""
    if not tested.any() and not beaten_by and not not_shown:
        return "not tested", why
    if beaten_by:
        return "does not hold", why
    if not_shown or (p[tested] >= SIGNIFICANT).any():
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


def _not_shown_somewhere(run: str, others: Sequence[str], results: Results) -> list[str]:
    """Return a sentence for each experiment in which a test of ``run`` against one of ``others`` is
    not significant.
    """
    return [
        f"{_title(run, results)} is not shown to be more accurate than "
        f"{_title(test['other'], results)} on {_where(test, results)}."
        for test in _tests([run], others, results)
        if test["p"] >= SIGNIFICANT
    ]


def _tests(runs: Sequence[str], others: Sequence[str], results: Results) -> list[dict[str, Any]]:
    """Return the rows of the tests of ``runs`` against ``others``; p is NaN where pairs are too
    few.
    """
    table = results.table("wilcoxon")
    rows = table[table["run"].isin(runs) & table["other"].isin(others)]
    return rows.assign(p=pd.to_numeric(rows["p"], errors="coerce")).to_dict("records")


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
