"""What a study's figures show of its runs and structures (the key ``figures`` of a study)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from diffeode.errors import InputError
from diffeode.evaluation.labels import read_label_table, structure_name
from diffeode.names import nearest
from diffeode.registration.runs import load_run, run_names


@final
@dataclass(frozen=True)
class Shown:
    """The runs and structures that figures show where not everything fits.

    Attributes:
        runs: the runs whose Dice is drawn by structure and that are shown side by side on one pair;
            empty for all.
        structures: the structures that are drawn, in their order; empty for all.
        plane: the run whose method registers shapes and a slice of a brain in the plane, or None.
    """

    runs: tuple[str, ...] = ()
    structures: tuple[str, ...] = ()
    plane: str | None = None


def read_shown(
    content: Mapping[str, Any], runs: Collection[str], tables: Iterable[Path], where: str
) -> Shown:
    """Return what the key ``figures`` of a study says.

    Args:
        content: value of the key, which fits the study's schema.
        runs: names of the study's runs.
        tables: the label tables of the study's experiments.
        where: what ``content`` comes from, for messages.

    Named runs that the study leaves out, as by ``--config runs=[...]``, are not drawn. Structures
    count only where there is a label table to look them up in.

    Raises:
        InputError: a run is neither a named one nor one of the study's, a structure is in none of
            the label tables, or the run in the plane is not of the method ``neural-ode``.
    """
    _require_plane(content.get("plane"), where)
    for name in content.get("runs", ()):
        if name not in {*run_names(), *runs}:
            raise InputError(
                f"{where} draws the run {name!r} (figures: runs), which is none of its "
                f"runs{nearest(name, runs)}."
            )
    structures = content.get("structures", ())
    tables = set(tables)
    if structures and tables:
        known = {
            structure_name(name)
            for table in set(tables)
            for name in read_label_table(table)["name"]
        }
        for name in structures:
            if name not in known:
                raise InputError(
                    f"{where} draws the structure {name!r} (figures: structures), which is in none "
                    f"of its label tables{nearest(name, known)}."
                )
    drawn = (name for name in content.get("runs", ()) if name in runs)
    return Shown(tuple(drawn), tuple(structures), content.get("plane"))


def _require_plane(name: str | None, where: str) -> None:
    if name is None:
        return
    if name not in run_names():
        raise InputError(
            f"{where} registers in the plane by the run {name!r} (figures: plane), which there is "
            f"not{nearest(name, run_names())}."
        )
    method = load_run(name).method
    if method != "neural-ode":
        raise InputError(
            f"{where} registers in the plane by the run {name} (figures: plane), whose method "
            f"{method} takes no pictures in the plane; name a run of neural-ode."
        )
