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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from diffeode.errors import InputError
from diffeode.evaluation.catalogue import METRICS
from diffeode.files.checked_yaml import read_mapping
from diffeode.files.io import write_text
from diffeode.files.pictures import read_picture
from diffeode.files.presence import require_file
from diffeode.statistics.claims import Verdict, judge, with_stand_ins
from diffeode.statistics.reported import OTHER_NUMBERS, SOURCES, read_reported
from diffeode.statistics.results import Results, rows_under_titles

CLAIMS = "claims.tsv"
"""Name of the table of all claims."""
_TEMPLATE = Path(__file__).with_name("paper_page.html")
_TABLE = re.compile(r"<table.*?</table>", re.DOTALL)
_ABOVE = re.compile(r"<p>(.*?)</p>", re.DOTALL)
_WIDEST = 6
"""The most columns of a table of reported numbers; more would not fit on the page."""
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
    claims = [with_stand_ins(claim, item.get("stands_in", {}), results) for claim in claims]
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
    for (title, row), keep in zip(rows_under_titles(table), kept, strict=True):
        if keep:
            rows += [row] if title in ("", before) else [title, row]
            before = title
    body = "\n".join(rows)
    return re.sub(
        "<tbody>.*</tbody>", lambda _: f"<tbody>\n{body}\n</tbody>", table, flags=re.DOTALL
    )


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
