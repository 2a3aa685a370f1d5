"""The runs and structures that a study's figures show (the key ``figures`` of a study)."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from diffeode.errors import InputError
from diffeode.evaluation.labels import read_label_table, structure_name
from diffeode.names import nearest, short
from diffeode.registration.runs import Run, load_run, run_names

_OURS = "neural-ode"
_OF_RUNS = ("runs", "models")
"""The keys that hold names of runs."""


@final
@dataclass(frozen=True)
class Shown:
    """The runs and structures that figures show where not everything fits.

    Attributes:
        runs: the runs whose Dice is drawn by structure and that are shown side by side on one pair;
            empty for all.
        structures: the structures that are drawn, in their order; empty for all.
        plane: the run whose method registers shapes and a slice of a brain in the plane, or None.
        models: the runs whose representations of the velocity are compared in a table, in its
            order; empty for no such table.
    """

    runs: tuple[str, ...] = ()
    structures: tuple[str, ...] = ()
    plane: str | None = None
    models: tuple[str, ...] = ()


def read_shown(
    content: Mapping[str, Any],
    runs: Sequence[Run],
    tables: Iterable[Path],
    where: str,
    all_runs: bool = True,
) -> Shown:
    """Return what the key ``figures`` of a study says.

    Runs that the study leaves out are not drawn. Structures count only where there is a label table
    to look them up in.

    Args:
        content: the value of the key, which fits the study's schema.
        runs: the study's runs.
        tables: the label tables of the study's experiments.
        where: the file or the configuration that holds ``content``, for messages.
        all_runs: whether ``runs`` are the runs of the study's file, and not those that
            ``--config runs=[...]`` puts in their place.

    Raises:
        InputError: a run is neither a named one nor one of the study's, although these are all that
            the file has; a structure is in none of the label tables; or the run in the plane, or a
            run whose model is shown, is not of the method ``neural-ode``.
    """
    _require_plane(content.get("plane"), where)
    by_name = {run.name: run for run in runs}
    shown = {key: _among(content.get(key, ()), key, by_name, where, all_runs) for key in _OF_RUNS}
    for name in shown["models"]:
        if by_name[name].method != _OURS:
            raise InputError(
                f"{where} compares the model of the run {name} (figures: models), whose method "
                f"{by_name[name].method} optimises no velocity; name runs of {_OURS}."
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
    return Shown(structures=tuple(structures), plane=content.get("plane"), **shown)


def _among(
    names: Iterable[str], key: str, runs: Collection[str], where: str, all_runs: bool
) -> tuple[str, ...]:
    """Return those of ``names`` that are among ``runs``."""
    known = {*run_names(), *runs}
    for name in names:
        if all_runs and name not in known:
            raise InputError(
                f"{where} draws the run {short(name)} (figures: {key}), which is none of its "
                f"runs{nearest(name, runs)}."
            )
    return tuple(name for name in names if name in runs)


def _require_plane(name: str | None, where: str) -> None:
    if name is None:
        return
    if name not in run_names():
        raise InputError(
            f"{where} registers in the plane by the run {name!r} (figures: plane), but there is no "
            f"such run{nearest(name, run_names())}."
        )
    method = load_run(name).method
    if method != _OURS:
        raise InputError(
            f"{where} registers in the plane by the run {name} (figures: plane), whose method "
            f"{method} takes no pictures in the plane; name a run of {_OURS}."
        )
