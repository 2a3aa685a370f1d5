"""The page of the verdict's benchmark: how many good and spoiled registrations are called right."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from _spoiled import CHOICE, REPORT
from _tables import Row, markdown_table, measured_on, write_page

from diffeode.evaluation import verdict

SIGNS = (
    *(
        "overlap",
        "anatomical_match",
        "anatomical_match_before",
        "anatomical_margin",
        "anatomical_margin_before",
        "faces_percent",
    ),
    *("alignment_stretch", "displacement_share", "motion_distance", "sdlogj", "folds_percent"),
)
LEAST_SHARE, LEAST_SHARE_OF_ANYTHING = 0.6, 0.8
"""The least share of the clean pair's Dice that a good registration reaches, of stripped brains as
a study prepares them, and of images as ``diffeode register`` prepares them.
"""
GOOD, HALFWAY, SPOILED = "good", "halfway", "spoiled"
_PARTS = {
    CHOICE: "on which the thresholds were chosen (newborns 01 to 06, virtual persons, adults)",
    REPORT: "on which they were not (newborns 07 to 10, other adults, mice)",
}
_PARTS_OF_ANYTHING = {
    CHOICE: "on which the thresholds were chosen",
    REPORT: "on which they were not",
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
        "`node` with two levels, 30 and 20 iterations. `motion_distance` is missing in rows "
        "that were measured before it was there; such a row is judged without it.\n",
    ]
    brains = [row for row in rows if not is_at_desk(row)]
    for part, words in _PARTS.items():
        mine = [row for row in brains if row["part"] == part]
        sections += [f"## Pairs of brains {words}\n", _confusion(mine, rows), _missed(mine, rows)]
    sections += ["## Brains by kind of spoiling, both halves\n", _by(brains, rows, "kind")]
    sections += ["## Brains by dataset, both halves\n", _by(brains, rows, "dataset")]
    sections += _sections_of_anything([row for row in rows if is_at_desk(row)], rows)
    sections += [f"{measured_on(rows)} Command: `python benchmarks/suspects.py`.\n"]
    write_page(path, "Registrations that went wrong, and whether they say so", sections)


def _sections_of_anything(mine: Sequence[Row], rows: Sequence[Row]) -> list[str]:
    """Return the sections on the rows ``mine``, which are pairs of images of anything."""
    if not mine:
        return []
    sections = [
        "## Images of anything\n",
        "These pairs are prepared and aligned as `diffeode register` does: crops of hippocampi and "
        "of newborns' brains, which are full of tissue; whole heads of mice and of persons; "
        "stained slices; and brains, whose headers were turned or shifted. *Start trusted* means "
        "that the registration started from the positions in the headers (`--init identity`), *as "
        "it lies* that these were not changed. Of slices, the share of landmarks that end within "
        "2 % of the diagonal stands for Dice. `openms heads` have blocks of space for labels. The "
        "least margin of crops was lowered from 5 to 3.5 when it called good crops of newborns 07 "
        "and 08 suspect; a least match of crops took its place for noise. The numbers of these "
        "newborns are no untouched test of the two.\n",
        f"A registration is *good* where its Dice is at least {LEAST_SHARE_OF_ANYTHING:g} times "
        f"that of the clean pair, *spoiled* where it is less than {LEAST_SHARE:g} times that, or "
        "where the two images have nothing in common, and *halfway* between, where a start that is "
        "wrong leads to a part of the way; either verdict suits that.\n",
    ]
    for part, words in _PARTS_OF_ANYTHING.items():
        half = [row for row in mine if row["part"] == part]
        datasets = ", ".join(dict.fromkeys(row["dataset"] for row in half))
        sections += [f"### Pairs {words}\n", f"Measured so far: {datasets}.\n"]
        sections += [_confusion(half, rows), _missed(half, rows)]
    return [
        *sections,
        "### Anything by kind of spoiling, both halves\n",
        _by(mine, rows, "kind"),
        "### Anything by dataset, both halves\n",
        _by(mine, rows, "dataset"),
    ]


def is_at_desk(row: Row) -> bool:
    """Return whether a pair was prepared as ``diffeode register`` prepares images of anything."""
    return row.get("at_desk") == "1"


def truth_of(row: Row, rows: Sequence[Row]) -> str:
    """Return whether a registration is ``GOOD``, ``HALFWAY`` or ``SPOILED`` by its labels."""
    if row["refused"] or row["foreign"] == "1":
        return SPOILED
    clean_rows = (other for other in rows if other["kind"] == "clean")
    clean = next(other for other in clean_rows if _pair_of(other) == _pair_of(row))
    share = float(row["dice"]) / float(clean["dice"])
    if share >= (LEAST_SHARE_OF_ANYTHING if is_at_desk(row) else LEAST_SHARE):
        return GOOD
    return HALFWAY if share >= LEAST_SHARE else SPOILED


def is_good(row: Row, rows: Sequence[Row]) -> bool:
    """Return whether a registration is good by its labels."""
    return truth_of(row, rows) == GOOD


def _pair_of(row: Row) -> tuple[str, ...]:
    return row["part"], row["dataset"], row["fixed"], row["moving"]


def is_suspect(row: Row) -> bool:
    """Return whether the verdict calls the registration suspect; a refused pair counts as such."""
    return bool(row["refused"]) or verdict.judge(signs_of(row)).suspect


def signs_of(row: Row) -> dict[str, float]:
    """Return the measures that the verdict judges by."""
    return {name: float(row.get(name) or "nan") for name in SIGNS}


def _confusion(part: Sequence[Row], rows: Sequence[Row]) -> str:
    lines = []
    for truth in (GOOD, HALFWAY, SPOILED):
        mine = [row for row in part if truth_of(row, rows) == truth]
        suspect = sum(map(is_suspect, mine))
        right = len(mine) - suspect if truth == GOOD else suspect
        share = f"{100 * right / len(mine):.0f} %" if mine and truth != HALFWAY else ""
        if mine or truth != HALFWAY:
            lines.append([truth, str(len(mine)), str(len(mine) - suspect), str(suspect), share])
    return markdown_table(
        ["truth", "registrations", "called fine", "called suspect", "called right"], lines
    )


def _missed(part: Sequence[Row], rows: Sequence[Row]) -> str:
    wrong = [row for row in part if truth_of(row, rows) == (GOOD if is_suspect(row) else SPOILED)]
    lines = [
        [
            f"{row['dataset']} {row['fixed']} ← {row['moving']}, {row['kind']}",
            truth_of(row, rows),
            f"{float(row['dice'] or 0):.2f}",
            "; ".join(verdict.judge(signs_of(row)).reasons) or "nothing",
        ]
        for row in wrong
    ]
    return "Called wrong:\n\n" + markdown_table(
        ["pair", "truth", "Dice", "what was suspicious"], lines
    )


def _by(part: Sequence[Row], rows: Sequence[Row], column: str) -> str:
    lines = []
    for value in dict.fromkeys(row[column] for row in part):
        cells = [value]
        for truth in (GOOD, SPOILED):
            mine = [row for row in part if row[column] == value and truth_of(row, rows) == truth]
            right = sum(is_suspect(row) != (truth == GOOD) for row in mine)
            cells.append(f"{right} of {len(mine)}" if mine else "")
        lines.append(cells)
    return markdown_table([column, "good, called fine", "spoiled, called suspect"], lines)
