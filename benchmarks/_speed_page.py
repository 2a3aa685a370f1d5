"""The Markdown page of the speed benchmark."""

from __future__ import annotations

from pathlib import Path

from _tables import Row, Table, markdown_table, measured_on, write_page

from diffeode.statistics.export import MISSING

_REFERENCES = ("nodeo-reference", "nodeo-reference-malloc")
_WITHOUT_REFERENCE = "The reference NODEO was not measured: no checkout was named (`--nodeo`)."


def write_speed_page(table: Table, path: Path) -> None:
    """Write ``speed.md``: an iteration, a whole pair and memory, for every measured size."""
    parts = {"iteration": _iterations, "pair": _pairs, "memory": _memory}
    measured = dict.fromkeys((row["measure"], row["shape"]) for row in table.rows)
    chosen = sorted(measured, key=lambda pair: (list(parts).index(pair[0]), pair[1]))
    sections = []
    for measure, shape in chosen:
        rows = [row for row in table.rows if (row["measure"], row["shape"]) == (measure, shape)]
        sections.append(parts[measure](shape, rows))
    write_page(path, "Speed and memory", [*sections, _ending(table.rows)])


def _iterations(shape: str, rows: list[Row]) -> str:
    """Return the section on an iteration: its CPU seconds, and how many times as long the reference
    takes.
    """
    headings = [
        "run",
        "CPU s an iteration",
        "reference / this",
        "reference with tuned malloc / this",
        "peak MB",
    ]
    costs = {row["run"]: row for row in rows}
    lines = []
    for row in rows:
        ratios = [_ratio(costs.get(reference), row) for reference in _REFERENCES]
        seconds, memory = _number(row, "cpu_seconds", 3), _number(row, "peak_memory_mb", 0)
        lines.append([f"`{row['run']}`", seconds, *ratios, memory])
    absent = (
        "" if any(reference in costs for reference in _REFERENCES) else f"\n{_WITHOUT_REFERENCE}\n"
    )
    how = "Median CPU seconds of an iteration at the finest level, on the whole grid, one thread."
    return f"## One iteration, {shape}\n\n{how}\n\n{markdown_table(headings, lines)}{absent}"


def _pairs(shape: str, rows: list[Row]) -> str:
    """Return the section on a whole registration, without imports, beside two other tools."""
    costs = {row["run"]: row for row in rows}
    headings = [
        "run",
        "CPU s",
        "wall s",
        "CPU: this / ConvexAdam",
        "CPU: this / ANTs SyN",
        "peak MB",
    ]
    lines = []
    for row in rows:
        seconds = [_number(row, column, 1) for column in ("cpu_seconds", "seconds")]
        ratios = [_ratio(row, costs.get(peer)) for peer in ("convexadam", "ants-syn")]
        lines.append([f"`{row['run']}`", *seconds, *ratios, _number(row, "peak_memory_mb", 0)])
    how = (
        "One registration from the aligned pair to the map, one thread; imports, reading and "
        "writing excluded."
    )
    return f"## A whole pair, {shape}\n\n{how}\n\n{markdown_table(headings, lines)}"


def _memory(shape: str, rows: list[Row]) -> str:
    """Return the section on the peak memory of shortened runs."""
    lines = [[f"`{row['run']}`", _number(row, "peak_memory_mb", 0)] for row in rows]
    how = (
        "Peak resident memory of the process with few iterations, which take as much of it as many."
    )
    return f"## Memory, {shape}\n\n{how}\n\n{markdown_table(['run', 'peak MB'], lines)}"


def _ending(rows: list[Row]) -> str:
    failures = [
        f"- {row['measure']} of {row['run']} failed: {row['failed']}\n"
        for row in rows
        if row["failed"]
    ]
    return f"{measured_on(rows)} Command: `python benchmarks/speed.py`.\n{''.join(failures)}"


def _number(row: Row, column: str, decimals: int) -> str:
    return f"{float(row[column]):.{decimals}f}" if row.get(column) else MISSING


def _ratio(above: Row | None, below: Row | None) -> str:
    """Return the CPU seconds of one row over those of the other."""
    if not (above and below and above.get("cpu_seconds") and below.get("cpu_seconds")):
        return MISSING
    return f"{float(above['cpu_seconds']) / float(below['cpu_seconds']):.2f}"
