"""What is registered through the visits of ageing persons, and how (the key ``longitudinal`` of a
study).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

from diffeode.datasets.virtual_ageing import RATINGS
from diffeode.errors import InputError
from diffeode.methods.neural_ode import NeuralODE
from diffeode.methods.neural_ode.timing import require_settings, stops_of
from diffeode.registration.knobs import build

_LEAST_TIMES = 3


@final
@dataclass(frozen=True)
class Design:
    """The persons, their visits, the grids and the settings of all ways to register them.

    Attributes:
        persons: numbers of virtual persons
            (:func:`diffeode.datasets.virtual_ageing.ageing_person`).
        seed: the seed of the persons and of their scans.
        times: the times of the visits, three or more, as fractions of the whole time.
        spacing_mm: the voxel size of the scans, mm.
        labels_mm: the voxel size of the labels, on which maps are judged, mm.
        knots: the number of knots of the free velocity, and of the periodic one, whose last knot is
            its first.
        parameters: the parameters of the method ``neural-ode`` that differ from its defaults, of
            all ways alike.
    """

    persons: tuple[int, ...]
    seed: int
    times: tuple[float, ...]
    spacing_mm: float
    labels_mm: float
    knots: int
    parameters: Mapping[str, Any]

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> Design:
        """Return the design of a mapping that :attr:`content` holds, or the study's file."""
        lists = {name: tuple(content[name]) for name in ("persons", "times")}
        return cls(**{**content, **lists})

    @property
    def content(self) -> dict[str, Any]:
        """All values by the keys of the study's file."""
        lists = {"persons": list(self.persons), "times": list(self.times)}
        return {**vars(self), **lists, "parameters": dict(self.parameters)}

    def method(self, knots: int) -> NeuralODE:
        """Return the method with a velocity of ``knots`` knots.

        Raises:
            InputError: a parameter is unknown, or has a value of the wrong type or out of range.
        """
        velocity = {**self.parameters.get("velocity", {}), "knots": knots}
        parameters = {**self.parameters, "velocity": velocity}
        method: NeuralODE = build(NeuralODE, parameters, "neural-ode")
        return method


def read_design(content: Mapping[str, Any], where: str) -> Design:
    """Return what the key ``longitudinal`` of a study says.

    Args:
        content: the value of the key, which fits the study's schema.
        where: the file or the configuration that holds ``content``, for messages.

    Raises:
        InputError: a time is none of a virtual person's, there are fewer than three, or they do not
            rise from 0; or the parameters fit no flow through these times.
    """
    design = Design.of(content)
    _require_visits(design.times, where)
    try:
        if "knots" in design.parameters.get("velocity", {}):
            raise InputError(
                "Parameter velocity.knots is given, and each way has its own; leave it out, and "
                "give the number of knots of the free and the periodic velocity by the key knots."
            )
        stops_of(design.method(1), design.times)
        require_settings(design.method(1), periodic=False)
        require_settings(design.method(design.knots), periodic=True)
    except InputError as error:
        raise InputError(f"{where}, longitudinal: {error}") from None
    return design


def _require_visits(times: tuple[float, ...], where: str) -> None:
    known = ", ".join(f"{time:g}" for time in RATINGS)
    fits = len(times) >= _LEAST_TIMES and times[0] == 0 and set(times) <= RATINGS.keys()
    if not fits or list(times) != sorted(set(times)):
        raise InputError(
            f"{where} has longitudinal: times {list(times)}; give {_LEAST_TIMES} or more of the "
            f"times {known} at which virtual persons are scanned, rising from 0."
        )
