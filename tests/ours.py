"""The Neural ODE, set by dotted names."""

from collections.abc import Mapping, Sequence
from typing import Any

from diffeode.methods.neural_ode import NeuralODE
from diffeode.registration.knobs import changed


def neural_ode(*by: Mapping[str, Any]) -> NeuralODE:
    """Return the method with the settings of ``by``, such as ``{"flow.steps": 6}``, and defaults
    for all others; later ones win.
    """
    merged: dict[str, Any] = {}
    for one in by:
        merged |= one
    return changed(NeuralODE(), merged, "neural-ode")


def levels(factors: Sequence[float], iterations: Sequence[int]) -> dict[str, Any]:
    """Return the settings of these levels."""
    return {"levels.factors": list(factors), "levels.iterations": list(iterations)}
