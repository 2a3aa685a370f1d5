"""Which finished files of a study are damaged, failed or stale.

The judgement rests on receipts and seals, which lie beside the files. Snakemake's own memory takes
no part in it, so results that were copied or restored from a backup are judged like any others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any, final

from diffeode.errors import DamagedFileError
from diffeode.provenance.checksums import Checksums, Record
from diffeode.provenance.origin import departure
from diffeode.provenance.receipt import RECEIPT, damage_of, origin_in, read_receipt, records_in
from diffeode.provenance.removal import lacking
from diffeode.provenance.seals import broken_seal, failure_sealed, origin_of_sealed

_NOT_THERE = "which the unit does not hold (removed to save space, or never written)"


class Kind(Enum):
    """How a finished file is wrong."""

    DAMAGED = "damaged"
    FAILED = "failed"
    STALE = "stale"
    REDUCED = "lacks files that are asked for"
    DERIVED = "made from what is made again"


@final
@dataclass(frozen=True)
class Complaint:
    """The reason why a file has to be made again."""

    kind: Kind
    reason: str


@final
@dataclass(frozen=True, eq=False)
class Planned:
    """A file of the study's plan, and the inputs and parameters of the job that would make it.

    Attributes:
        inputs: paths of the files that the job would read, in the order of its rule.
        parameters: the parameters that the rule would give to the job.
        holds: names of the files that a unit has to hold, because the study keeps them.
        reads: by the receipt of a unit from which files may be removed, the names of the files in
            that unit that the job reads.
    """

    file: Path
    inputs: Sequence[str]
    parameters: Mapping[str, Any]
    holds: Sequence[str] = ()
    reads: Mapping[str, Sequence[str]] = field(default_factory=dict)

    @property
    def is_unit(self) -> bool:
        """Return whether the file is the receipt of a unit."""
        return self.file.name == RECEIPT

    @cached_property
    def receipt(self) -> dict[str, Any] | None:
        """Return the content of the receipt, which is read once; None where it is no receipt."""
        try:
            return read_receipt(self.file)
        except DamagedFileError:
            return None

    def origin(self, results: Path) -> dict[str, Any] | None:
        """Return what the file was made from, or None where that is not known."""
        if not self.is_unit:
            return origin_of_sealed(self.file, results)
        return origin_in(self.receipt) if self.receipt else None


def flat(paths: Any) -> list[str]:
    """Return every path in a path, or in a mapping or sequence of paths, in order."""
    if isinstance(paths, str | Path):
        return [str(paths)]
    parts = paths.values() if isinstance(paths, Mapping) else paths
    return [path for part in parts for path in flat(part)]


def complaints(
    plan: Sequence[Planned],
    results: Path,
    checksums: Checksums,
    forced: Callable[[Path], bool] = lambda file: False,
) -> dict[Path, Complaint]:
    """Return every file of ``plan`` that is there and has to be made again, and why.

    Args:
        plan: every file of the study, in any order.
        results: the folder that all files lie in.
        forced: whether the user asked for a file to be made again in any case.
    """
    ordered = _in_order_of_work(plan)
    wanted: dict[str, Complaint] = {}
    while True:
        found, renewed = _complaints(ordered, wanted, results, checksums, forced)
        more = _removed_and_read(ordered, renewed)
        if not more:
            return found
        wanted |= more


def _complaints(
    ordered: Sequence[Planned],
    wanted: Mapping[str, Complaint],
    results: Path,
    checksums: Checksums,
    forced: Callable[[Path], bool],
) -> tuple[dict[Path, Complaint], set[str]]:
    """Return the complaints about the files of a plan, and the names of all files to be made.

    Args:
        wanted: complaints about units whose removed files are read again, by their receipts.
    """
    found: dict[Path, Complaint] = {}
    renewed: set[str] = set()
    for planned in ordered:
        name, is_there = str(planned.file), planned.file.exists()
        complaint = _complaint(planned, renewed, results, checksums) if is_there else None
        complaint = complaint or wanted.get(name)
        if complaint:
            found[planned.file] = complaint
        if complaint or not is_there or forced(planned.file):
            renewed.add(name)
    return found, renewed


def _removed_and_read(ordered: Sequence[Planned], renewed: set[str]) -> dict[str, Complaint]:
    """Return a complaint about each unit that would not be made again, although files were removed
    from it that a job reads.
    """
    units = {str(planned.file): planned for planned in ordered if planned.is_unit}
    found: dict[str, Complaint] = {}
    for planned in ordered:
        if str(planned.file) not in renewed:
            continue
        for name, files in planned.reads.items():
            unit = units.get(name)
            if unit is None or name in renewed or not unit.receipt:
                continue
            lost = lacking(unit.file.parent, unit.receipt["outputs"], files)
            if lost:
                reason = f"a table or figure to be made needs {', '.join(lost)}, {_NOT_THERE}"
                found[name] = Complaint(Kind.REDUCED, reason)
    return found


def files_to_compare(plan: Iterable[Planned], results: Path) -> Iterator[tuple[Path | str, Record]]:
    """Yield every file whose checksum the judgement of ``plan`` may need, and the record of it."""
    for planned in plan:
        if not planned.file.exists():
            continue
        records = records_in(planned.receipt) if planned.is_unit and planned.receipt else {}
        yield from ((planned.file.parent / name, record) for name, record in records.items())
        yield from (
            (record["path"], record)
            for record in (planned.origin(results) or {"inputs": []})["inputs"]
        )


def _in_order_of_work(plan: Sequence[Planned]) -> list[Planned]:
    """Return the plan in an order in which every file comes after the files that it is made of."""
    by_name = {str(planned.file): planned for planned in plan}
    sorter: TopologicalSorter[str] = TopologicalSorter()
    for name, planned in by_name.items():
        sorter.add(name, *(path for path in planned.inputs if path in by_name))
    return [by_name[name] for name in sorter.static_order()]


def _complaint(
    planned: Planned, renewed: set[str], results: Path, checksums: Checksums
) -> Complaint | None:
    """Return what is wrong with a file that exists, or None. The worst fault is looked for
    first.
    """
    wrong = _of_unit(planned, checksums) if planned.is_unit else _of_sealed(planned.file, results)
    if wrong:
        return wrong
    if not renewed.isdisjoint(planned.inputs):
        return Complaint(Kind.DERIVED, "their inputs are made again")
    origin = planned.origin(results)
    if origin is None:
        return Complaint(Kind.STALE, "it is not known what they were made from")
    reason = departure(origin, planned.inputs, planned.parameters, checksums)
    if reason:
        return Complaint(Kind.STALE, reason)
    reason = _what_is_not_kept(planned)
    return Complaint(Kind.REDUCED, reason) if reason else None


def _what_is_not_kept(planned: Planned) -> str | None:
    """Return why a unit holds less than the study keeps, or None where it holds all of that."""
    if not planned.holds or not planned.receipt:
        return None
    lost = lacking(planned.file.parent, planned.receipt["outputs"], planned.holds)
    if not lost:
        return None
    return f"the study keeps {', '.join(lost)}, {_NOT_THERE}"


def _of_unit(planned: Planned, checksums: Checksums) -> Complaint | None:
    content = planned.receipt
    if content is None:
        return Complaint(Kind.DAMAGED, f"{planned.file} is missing or damaged")
    if content.get("status") == "failed":
        return Complaint(Kind.FAILED, f"it failed last time ({content.get('reason')})")
    reason = damage_of(planned.file, content, checksums)
    return Complaint(Kind.DAMAGED, reason) if reason else None


def _of_sealed(file: Path, results: Path) -> Complaint | None:
    if reason := broken_seal(file, results):
        return Complaint(Kind.DAMAGED, reason)
    if reason := failure_sealed(file, results):
        return Complaint(Kind.FAILED, f"it failed last time ({reason})")
    return None
