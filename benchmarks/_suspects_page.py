"""The page of the verdict's benchmark: how many good and spoiled registrations are called right."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path

from _spoiled import CHOICE, REPORT
from _tables import Row, markdown_table, measured_on, write_page

from diffeode.evaluation import verdict

SIGNS = (
    *(
        "brain_overlap",
        "anatomical_match",
        "anatomical_match_before",
        "anatomical_margin",
        "anatomical_margin_before",
    ),
    *("alignment_stretch", "displacement_share", "sdlogj", "folds_percent"),
)
LEAST_SHARE = 0.6
"""The least share of the clean pair's Dice that a good registration reaches."""
_PARTS = {
    CHOICE: "on which the thresholds were chosen (newborns 01 to 06, virtual persons, adults)",
    REPORT: "on which they were not (newborns 07 to 10, other adults, mice)",
}


def write_suspects_page(rows: Sequence[Row], path: Path) -> None:
    """Write the page with the tables of ``rows``, judged by today's thresholds."""
    sections = [
        "Pairs are registered clean, and spoiled in the ways of `benchmarks/_spoiled.py`. The "
        "tables show what the verdict (`diffeode.evaluation.verdict`), which sees no labels, "
        "calls these registrations.\n",
        f"A registration is *good* where its mean Dice is at least {LEAST_SHARE:g} times that of "
        "the clean pair. All others are *spoiled*, and so is every one between two scans that have "
        "no anatomy in common. Many spoiled pairs end well, because outliers are clipped and "
        "turned heads are found; these count as good. *Not searched* means that the pair was "
        "aligned by ANTs alone, without a search for another start. `openms` and `stroke` have no "
        "labels: there the T1w and the T2w of one person lie on each other, and blocks of space "
        "stand for labels. Where slices were cut away, Dice is taken where the moving scan was "
        "seen.\n",
        "The scans have voxels of 3.5 mm (newborns), 5 mm (adults) and 0.5 mm (mice). The run is "
        "`node` with two levels, 30 and 20 iterations.\n",
    ]
    for part, words in _PARTS.items():
        mine = [row for row in rows if row["part"] == part]
        sections += [f"## Pairs {words}\n", _confusion(mine), _missed(mine, rows)]
    sections += [
        "## By kind of spoiling, both halves\n",
        _by(rows, lambda row: row["kind"], "kind"),
    ]
    sections += ["## By dataset, both halves\n", _by(rows, lambda row: row["dataset"], "dataset")]
    sections += [f"{measured_on(rows)} Command: `python benchmarks/suspects.py`.\n"]
    write_page(path, "Registrations that went wrong, and whether they say so", sections)


def is_good(row: Row, rows: Sequence[Row]) -> bool:
    """Return whether a registration is good by its labels."""
    if row["refused"] or row["foreign"] == "1":
        return False
    clean_rows = (other for other in rows if other["kind"] == "clean")
    clean = next(other for other in clean_rows if _pair_of(other) == _pair_of(row))
    return float(row["dice"]) >= LEAST_SHARE * float(clean["dice"])


def _pair_of(row: Row) -> tuple[str, ...]:
    return row["part"], row["dataset"], row["fixed"], row["moving"]


def is_suspect(row: Row) -> bool:
    """Return whether the verdict calls the registration suspect; a refused pair counts as such."""
    return bool(row["refused"]) or verdict.judge(signs_of(row)).suspect


def signs_of(row: Row) -> dict[str, float]:
    """Return the measures that the verdict judges by."""
    return {name: float(row[name]) if row[name] else math.nan for name in SIGNS}


def _confusion(rows: Sequence[Row]) -> str:
    lines = []
    for truth in (True, False):
        mine = [row for row in rows if is_good(row, rows) == truth]
        suspect = sum(map(is_suspect, mine))
        right = len(mine) - suspect if truth else suspect
        share = f"{100 * right / len(mine):.0f} %" if mine else ""
        name = "good" if truth else "spoiled"
        lines.append([name, str(len(mine)), str(len(mine) - suspect), str(suspect), share])
    return markdown_table(
        ["truth", "registrations", "called fine", "called suspect", "called right"], lines
    )


def _missed(part: Sequence[Row], rows: Sequence[Row]) -> str:
    wrong = [row for row in part if is_good(row, rows) == is_suspect(row)]
    lines = [
        [
            f"{row['dataset']} {row['fixed']} ← {row['moving']}, {row['kind']}",
            "good" if is_good(row, rows) else "spoiled",
            f"{float(row['dice'] or 0):.2f}",
            "; ".join(verdict.judge(signs_of(row)).reasons) or "nothing",
        ]
        for row in wrong
    ]
    return "Called wrong:\n\n" + markdown_table(
        ["pair", "truth", "Dice", "what was suspicious"], lines
    )


def _by(rows: Sequence[Row], key: Callable[[Row], str], heading: str) -> str:
    lines = []
    for value in dict.fromkeys(map(key, rows)):
        mine = [row for row in rows if key(row) == value]
        cells = [value]
        for truth in (True, False):
            of_truth = [row for row in mine if is_good(row, rows) == truth]
            right = sum(is_suspect(row) != truth for row in of_truth)
            cells.append(f"{right} of {len(of_truth)}" if of_truth else "")
        lines.append(cells)
    return markdown_table([heading, "good, called fine", "spoiled, called suspect"], lines)
