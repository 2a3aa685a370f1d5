"""The Markdown page of the accuracy benchmark."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from _comparisons import COMPARISONS, Comparison, comparison_named
from _tables import (
    Row,
    Table,
    markdown_table,
    mean_and_sd,
    mean_percentage,
    measured_on,
    median,
    numbers,
    write_page,
)
from _units import KEYS, STAMPS, run_code

from diffeode.registration.runs import load_run, run_names

_COLUMNS = (
    "HD95 (mm)",
    "|J| ≤ 0, central (%)",
    "|J| ≤ 0, one-sided (%)",
    "NDV (%)",
    "SD of log|J|",
    "CPU s",
    "MB",
)
_NOTE = (
    "Mean ± SD over pairs. |J| and NDV: of the fixed brain, without the affine. CPU seconds (one "
    "registration, imports excluded) and peak memory of its process: medians."
)
_MARK = "†"
_AGED = (
    f"\n{_MARK} measured with other code or versions than today's, or on other files of a pair "
    "than another run.\n"
)


def write_accuracy_page(results: Path) -> None:
    """Write ``accuracy.md`` from all tables ``accuracy_*.tsv`` in ``results``."""
    paths = {path.stem.removeprefix("accuracy_"): path for path in results.glob("accuracy_*.tsv")}
    order = list(COMPARISONS)
    names = sorted(paths, key=lambda name: (order.index(name.partition("_")[0]), name))
    write_page(
        results / "accuracy.md",
        "Accuracy",
        [section(name, Table(paths[name], KEYS, STAMPS)) for name in names],
    )


def section(name: str, table: Table) -> str:
    """Return the section of a task: a table with a line for each run, and where it was measured."""
    task, _, subjects = name.partition("_")
    comparison = comparison_named(task)
    runs = list(dict.fromkeys(row["run"] for row in table.rows))
    mixed = _mixed(table.rows)
    lines = []
    for run in runs:
        of_run = [row for row in table.rows if row["run"] == run]
        lines.append(_line(run, of_run, comparison, mixed))
    columns = ["run", "pairs", *map(_dice_heading, comparison.scores), *_COLUMNS]
    whom = f", subjects {subjects.replace('-', ', ')}" if subjects else ""
    option = f" --subjects {subjects.replace('-', ',')}" if subjects else ""
    paragraphs = (
        f"## {name}",
        f"{comparison.title}. Population: {comparison.population}{whom}.",
        markdown_table(columns, lines) + _AGED * any(_MARK in line[0] for line in lines),
        _on_common_pairs(table.rows, next(iter(comparison.scores))),
        f"{_NOTE} {measured_on(table.rows)} Command: `python benchmarks/accuracy.py "
        f"{task}{option}`.",
        _failures(table),
    )
    return "\n\n".join(text.strip() for text in paragraphs if text) + "\n"


def _on_common_pairs(rows: list[Row], score: str) -> str:
    """Return a sentence for each run that has fewer pairs than another: the mean score of all runs
    on its pairs, because means over different pairs cannot be compared.
    """
    found: dict[str, dict[tuple[str, str], float]] = {}
    for row in rows:
        if not row["failed"] and row.get(score):
            found.setdefault(row["run"], {})[row["fixed"], row["moving"]] = float(row[score])
    most = max(map(len, found.values()), default=0)
    sentences = []
    for run, mine in found.items():
        if len(mine) < most:
            means = [
                f"`{other}` {np.mean([theirs[pair] for pair in mine]):.4f}"
                for other, theirs in found.items()
                if mine.keys() <= theirs.keys()
            ]
            sentences.append(
                f"`{run}` has {len(mine)} of the {most} pairs. {_dice_heading(score)}, on these: "
                f"{', '.join(means)}."
            )
    return "\n\n".join(sentences)


def _mixed(rows: list[Row]) -> set[tuple[str, str]]:
    """Return the pairs ``(fixed, moving)`` whose rows by today's code come from different files."""
    digests: dict[tuple[str, str], set[str]] = {}
    for row in rows:
        if not _is_old(row):
            digests.setdefault((row["fixed"], row["moving"]), set()).add(row["pair"])
    return {pair for pair, found in digests.items() if len(found) > 1}


def _is_old(row: Row) -> bool:
    return row["run"] not in run_names() or row["code"] != run_code(row["run"], int(row["threads"]))


def _line(
    run: str, rows: list[Row], comparison: Comparison, mixed: set[tuple[str, str]]
) -> list[str]:
    good = [row for row in rows if not row["failed"]]
    return [
        _title(run, rows, mixed),
        str(len(good)),
        *(mean_and_sd(numbers(good, score), 4) for score in comparison.scores),
        mean_and_sd(numbers(good, "hd95_mm"), 2),
        *(
            mean_percentage(numbers(good, f"{column}_percent"))
            for column in ("folds_central", "folds_onesided", "ndv")
        ),
        mean_and_sd(numbers(good, "sdlogj"), 3),
        median(numbers(good, "cpu_seconds"), 1),
        median(numbers(good, "peak_memory_mb"), 0),
    ]


def _title(run: str, rows: list[Row], mixed: set[tuple[str, str]]) -> str:
    """Return the run's title and name.

    A mark follows where a row belongs to other code than today's, or to a pair of ``mixed``.
    """
    if run not in run_names():
        return f"`{run}` {_MARK}"
    aged = any(_is_old(row) or (row["fixed"], row["moving"]) in mixed for row in rows)
    return f"{load_run(run).title} (`{run}`){f' {_MARK}' if aged else ''}"


def _dice_heading(score: str) -> str:
    count, _, which = score.removeprefix("dice").partition("_")
    return f"Dice, {count} {which + ' ' if which else ''}labels"


def _failures(table: Table) -> str:
    return "".join(
        f"- {row['run']} failed on {row['fixed']}/{row['moving']}: {row['failed']}\n"
        for row in table.rows
        if row["failed"]
    )
