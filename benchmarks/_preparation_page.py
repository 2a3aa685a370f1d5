"""The Markdown page of the benchmark of preparation."""

from __future__ import annotations

from pathlib import Path

from _cases import REPOSITORY
from _tables import Row, Table, markdown_table, mean_and_sd, measured_on, numbers, write_page

from diffeode.evaluation.labels import read_label_table

_STRUCTURES = REPOSITORY / "config" / "labels" / "meshnet.tsv"


def write_preparation_page(tables: dict[str, Table], path: Path) -> None:
    """Write ``preparation.md``: brains scan by scan, structures over scans, and costs."""
    rows = [row for table in tables.values() for row in table.rows]
    sections = [
        _brain(_measured(tables["brain"])),
        _segmentation(_measured(tables["segmentation"])),
        _ending(rows),
    ]
    write_page(path, "Preparation", sections)


def _measured(table: Table) -> list[Row]:
    return [row for row in table.rows if not row["failed"]]


def _brain(rows: list[Row]) -> str:
    headings = [
        "scan",
        "who",
        "threads",
        "Dice",
        "found ml",
        "reference ml",
        "missed ml",
        "added ml",
        *_COSTS,
    ]
    lines = []
    for row in rows:
        name, dice = f"`{row['scan']}`", f"{float(row['dice']):.3f}"
        volumes = [f"{float(row[volume]):.0f}" for volume in _VOLUMES]
        lines.append([name, row["population"], row["threads"], dice, *volumes, *_costs(row)])
    how = (
        "MeshNet mindgrab against the labels' outline (IXI: all DLMUSE labels; a skull-stripped "
        "scan: its voxels above zero)."
    )
    return f"## Skull stripping\n\n{how}\n\n{markdown_table(headings, lines)}"


def _segmentation(rows: list[Row]) -> str:
    structures = read_label_table(_STRUCTURES)
    groups: dict[str, list[Row]] = {}
    for row in rows:
        groups.setdefault(row["population"], []).append(row)
    lines = []
    for number, name in zip(structures["id"], structures["name"], strict=True):
        dice = [numbers(group, f"dice_{number}") for group in groups.values()]
        lines.append([name, *(mean_and_sd(values, 3) for values in dice)])
    headings = ["structure", *(f"{len(group)}: {who}" for who, group in groups.items())]
    costs = [[f"`{row['scan']}`", row["threads"], *_costs(row)] for row in rows]
    how = (
        "MeshNet subcortical against labels that come with the scans (OASIS-TRT-20: manual, "
        "without cerebral white matter; whole head: FreeSurfer's aseg), left and right together: "
        "Dice, mean ± SD."
    )
    tables = [markdown_table(headings, lines), markdown_table(["scan", "threads", *_COSTS], costs)]
    return f"## Segmentation\n\n{how}\n\n" + "\n".join(tables)


_VOLUMES = ("found_ml", "reference_ml", "missed_ml", "added_ml")
_COSTS = ("CPU s", "wall s", "peak MB")


def _costs(row: Row) -> list[str]:
    return [f"{float(row[name]):.0f}" for name in ("cpu_seconds", "seconds", "peak_memory_mb")]


def _ending(rows: list[Row]) -> str:
    failures = [f"- {row['scan']} failed: {row['failed']}\n" for row in rows if row["failed"]]
    return f"{measured_on(rows)} Command: `python benchmarks/preparation.py`.\n{''.join(failures)}"
