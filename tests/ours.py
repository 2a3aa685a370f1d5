"""The Neural ODE, set by dotted names."""

from collections.abc import Mapping, Sequence
from typing import Any

from diffeode.methods.neural_ode import NeuralODE
from diffeode.registration.knobs import changed


def neural_ode(*by: Mapping[str, Any]) -> NeuralODE:
    """Return the method with its defaults, changed as ``by`` says, such as ``{"flow.steps": 6}``;
    the last value of a name holds.
    """
    merged: dict[str, Any] = {}
    for one in by:
        merged |= one
    return changed(NeuralODE(), merged, "neural-ode")


def levels(factors: Sequence[float], iterations: Sequence[int]) -> dict[str, Any]:
    """Return the settings for these levels."""
    return {"levels.factors": list(factors), "levels.iterations": list(iterations)}
