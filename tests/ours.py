"""The Neural ODE, set by dotted names."""

from collections.abc import Mapping, Sequence
from typing import Any

from diffeode.methods.neural_ode import NeuralODE
from diffeode.registration.knobs import changed


def neural_ode(*by: Mapping[str, Any]) -> NeuralODE:
    """At its defaults, but for what ``by`` says, such as ``{"flow.steps": 6}``; what comes last
    holds.
    """
    merged: dict[str, Any] = {}
    for one in by:
        merged |= one
    return changed(NeuralODE(), merged, "neural-ode")


def levels(factors: Sequence[float], iterations: Sequence[int]) -> dict[str, Any]:
    """What sets these levels."""
    return {"levels.factors": list(factors), "levels.iterations": list(iterations)}
