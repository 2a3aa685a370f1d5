"""Choose pairs: which fixed scan is registered with which moving scan."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from diffeode.datasets.person import is_one_person
from diffeode.datasets.scan import Scan
from diffeode.datasets.selection import ScanKey, digest
from diffeode.errors import InputError
from diffeode.files.presence import why_no_file
from diffeode.files.tables import NAME, read_table, read_words
from diffeode.names import nearest, short

_COLUMNS = ("pair", "fixed", "moving", "fixed_dataset", "moving_dataset", "seed")

PairKey = tuple[ScanKey, ScanKey]
"""The fixed and the moving scan of a pair."""


@dataclass(frozen=True)
class PlannedPair:
    """A fixed and a moving scan, of two persons or of one.

    Attributes:
        of_one_person: whether both scans show one person.

    Raises:
        InputError: both scans show one person and ``of_one_person`` denies it, or the other way
            round; or they are one scan.
    """

    fixed: Scan
    moving: Scan
    of_one_person: bool = False

    def __post_init__(self) -> None:
        one_person = is_one_person(self.fixed, self.moving)
        if self.of_one_person and not one_person:
            raise InputError(
                f"Pair {self.id} has two persons, and the pairs are to be of one person "
                "(persons: same); pair two scans of one person."
            )
        if self.of_one_person and self.fixed.key == self.moving.key:
            raise InputError(f"Pair {self.id} has one scan on both sides; pair two scans.")
        if one_person and not self.of_one_person:
            raise InputError(
                f"Pair {self.id} has the same person on both sides (sub-{self.fixed.subject} of "
                f"{self.fixed.dataset}); pair scans of different persons."
            )

    @property
    def id(self) -> str:
        """The pair's name, ``<fixed scan>__<moving scan>``."""
        return f"{self.fixed.id}__{self.moving.id}"

    @property
    def key(self) -> PairKey:
        """The key of the pair, which is unique over all datasets."""
        return self.fixed.key, self.moving.key

    @property
    def persons(self) -> frozenset[str]:
        """The names of both persons, ``<dataset>/<person>``."""
        return frozenset("/".join(scan.person) for scan in (self.fixed, self.moving))


def draw_pairs(
    fixed: Sequence[Scan],
    moving: Sequence[Scan],
    how: str | int | Path,
    seed: int,
    kept: Collection[PairKey] = (),
    of_one_person: bool = False,
) -> list[PlannedPair]:
    """Return pairs of different persons, or pairs of one person, sorted by name.

    Args:
        how: ``"all"``; the number of pairs to draw with ``seed``; or the path of a table with the
            columns ``fixed`` and ``moving``, which names the scans of each pair.
        kept: pairs that were drawn before. They are drawn first, so that new pairs only fill up the
            number.
        of_one_person: whether the two scans of a pair are to show one person and not two.

    Raises:
        InputError: there is no pair, or more pairs are asked for than there are; or the table is
            missing, lacks a column, names an unknown scan, names a pair twice, or puts one person
            on both sides (or two, with ``of_one_person``).
    """
    if isinstance(how, int) and not isinstance(how, bool):
        return _drawn(_all_pairs(fixed, moving, of_one_person), how, seed, set(kept), of_one_person)
    if str(how) == "all":
        return _all_pairs(fixed, moving, of_one_person)
    return _by_hand(fixed, moving, Path(how), of_one_person)


def pairs_table(pairs: Sequence[PlannedPair], seed: int) -> pd.DataFrame:
    """Return the table of the pairs, columns ``pair fixed moving fixed_dataset moving_dataset
    seed``.
    """
    rows = [
        (p.id, p.fixed.id, p.moving.id, p.fixed.dataset, p.moving.dataset, str(seed)) for p in pairs
    ]
    return pd.DataFrame(rows, columns=list(_COLUMNS))


def pairs_drawn_before(table: Path, seed: int) -> frozenset[PairKey]:
    """Return the pairs in a :func:`pairs_table` that were drawn with this ``seed``.

    There are none where the file ``table`` is missing. Of a table that was cut, whole rows count.
    """
    try:
        rows = read_words(table)
    except InputError:  # the pairs are drawn and written down anew, whatever lies there
        return frozenset()
    if tuple(rows.columns) != _COLUMNS:
        return frozenset()
    of_seed = rows[rows["seed"] == str(seed)]
    return frozenset(
        ((r.fixed_dataset, r.fixed), (r.moving_dataset, r.moving)) for r in of_seed.itertuples()
    )


def _all_pairs(
    fixed: Sequence[Scan], moving: Sequence[Scan], of_one_person: bool
) -> list[PlannedPair]:
    pairs = [
        PlannedPair(f, m, of_one_person)
        for f in fixed
        for m in moving
        if is_one_person(f, m) == of_one_person and f.key != m.key
    ]
    if not pairs:
        whom = "one person" if of_one_person else "two different persons"
        raise InputError(
            f"No pairs are left: {len(fixed)} fixed and {len(moving)} moving scans, and none of "
            f"{whom}; choose more subjects."
        )
    return sorted(pairs, key=lambda pair: pair.id)


def _whom(of_one_person: bool) -> str:
    return "one person" if of_one_person else "different persons"


def _drawn(
    pairs: list[PlannedPair], count: int, seed: int, kept: set[PairKey], of_one_person: bool
) -> list[PlannedPair]:
    """Return ``count`` pairs: first those that were drawn before, then those whose hashed names
    come first.
    """
    if not 1 <= count <= len(pairs):
        raise InputError(
            f"{count} pairs are asked for, but there are {len(pairs)} of {_whom(of_one_person)}; "
            f"ask for 1 to {len(pairs)}."
        )
    ranked = sorted(pairs, key=lambda pair: (pair.key not in kept, digest(seed, pair.id)))
    return sorted(ranked[:count], key=lambda pair: pair.id)


def _by_hand(
    fixed: Sequence[Scan], moving: Sequence[Scan], path: Path, of_one_person: bool
) -> list[PlannedPair]:
    if reason := why_no_file(path, "table of pairs"):
        raise InputError(f"{reason}; give 'all', a number, or an existing file.")
    table = read_table(path, {"fixed": NAME, "moving": NAME}, "table of pairs")
    pairs = [
        PlannedPair(
            _named(row.fixed, fixed, "fixed", path),
            _named(row.moving, moving, "moving", path),
            of_one_person,
        )
        for row in table.itertuples()
    ]
    names = [pair.id for pair in pairs]
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise InputError(f"{path} lists pair {repeated[0]} twice; keep one row.")
    if not pairs:
        raise InputError(f"No pairs are left: {path} has no rows; add one per pair.")
    return sorted(pairs, key=lambda pair: pair.id)


def _named(name: str, scans: Sequence[Scan], side: str, path: Path) -> Scan:
    by_name = {scan.id: scan for scan in scans}
    if name not in by_name:
        raise InputError(
            f"{path} names {short(name)}, which is no {side} scan of the "
            f"experiment{nearest(name, by_name)}."
        )
    return by_name[name]
