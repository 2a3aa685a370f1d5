"""Registration of two pictures in the plane, by which arXiv 2108.03443 illustrates its method
(section 3.3).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from diffeode.errors import InputError
from diffeode.registration.runs import Run

SETTINGS: Mapping[str, Any] = {
    "similarity": {"squared_difference": {"weight": 5.0}},
    "penalties.gradient.weight": 0.0,
    "penalties.magnitude.weight": 0.0,
}
"""The settings in which the examples in the plane differ from NODEO's other registrations: the
similarity is the mean squared error, and the only penalty is that of the Jacobian. The paper does
not give the weight of the similarity."""
LEAST_STEPS = 2
"""The steps of a run that takes fewer. The velocity of the paper's examples in the plane depends on
time (section 4.4.1), which one Euler step does not see; the paper does not give their number."""
FREE: Mapping[str, Any] = {"velocity.border": "free"}
FIXED: Mapping[str, Any] = {"velocity.border": "fixed"}
WITHOUT_KERNEL: Mapping[str, Any] = {"velocity.kernel": {"box": {"width": 1}}}
WITHOUT_JACOBIAN: Mapping[str, Any] = {"penalties.jacobian.weight": 0.0}
BORDERS: Mapping[str, Mapping[str, Any]] = {"free border": FREE, "fixed border": FIXED}
"""The settings that Fig. 1 of arXiv 2108.03443 compares, by the title of each column."""
REGULARISATIONS: Mapping[str, Mapping[str, Any]] = {
    "kernel, |J| term": {},
    "kernel alone": WITHOUT_JACOBIAN,
    "|J| term alone": WITHOUT_KERNEL,
    "neither": {**WITHOUT_KERNEL, **WITHOUT_JACOBIAN},
}
"""The settings that Fig. 3 of arXiv 2108.03443 compares, by the title of each column."""


@final
@dataclass(frozen=True, eq=False)
class PlaneRegistration:
    """Two pictures and the map found between them.

    Attributes:
        fixed, moving, warped: intensities ``(X, Y)`` on one grid.
        displacement: the displacement of the map from fixed to moving, pixels, ``(2, X, Y)``.
    """

    fixed: np.ndarray
    moving: np.ndarray
    warped: np.ndarray
    displacement: np.ndarray

    @property
    def determinant(self) -> np.ndarray:
        """The Jacobian determinant of the map, ``(X, Y)``, by central differences and on the border
        by one-sided ones.
        """
        (xx, xy), (yx, yy) = (np.gradient(part) for part in self.displacement)
        return (1 + xx) * (1 + yy) - xy * yx

    @property
    def folded_percent(self) -> float:
        """The share of pixels at which the determinant is zero or negative, in per cent."""
        return float(100 * (self.determinant <= 0).mean())


def register_in_plane(
    run: Run, fixed: np.ndarray, moving: np.ndarray, by: Mapping[str, Any], seed: int
) -> PlaneRegistration:
    """Register ``moving`` to ``fixed`` by the method of ``run``, changed by :data:`SETTINGS` and
    ``by``.

    Where a network follows the pixels, time is one of its inputs, and it takes
    :data:`LEAST_STEPS` or more.

    Args:
        run: a run of the method ``neural-ode``.
        fixed, moving: pictures ``(X, Y)`` on one grid, with intensities of order 1 and background
            0.
        by: hyper-parameters by dotted names.
        seed: the seed of the network's first weights.

    Raises:
        InputError: the pictures differ in shape, a hyper-parameter is wrong, or the run is of
            another method.
        RegistrationError: as for
            :meth:`diffeode.methods.neural_ode.NeuralODE.velocity_between`.
    """
    import torch

    from diffeode.geometry.warp import pull_back

    if run.method != "neural-ode":
        raise InputError(
            f"Run {run.name} registers by {run.method}, which takes no pictures in the plane; "
            "choose a run of neural-ode."
        )
    if fixed.ndim != 2 or fixed.shape != moving.shape:
        raise InputError(
            f"Two pictures on one grid are needed; these have the shapes {fixed.shape} and "
            f"{moving.shape}."
        )
    method: Any = run.changed({**SETTINGS, **_in_time(run), **by}).build()
    images = [
        torch.from_numpy(np.ascontiguousarray(picture, dtype=np.float32))[None, None]
        for picture in (fixed, moving)
    ]
    torch.manual_seed(seed)
    found = method.velocity_between(*images, (1.0, 1.0)).forward
    warped = pull_back(images[1], found)
    return PlaneRegistration(fixed, moving, warped[0, 0].numpy(), found[0].numpy())


def _in_time(run: Run) -> dict[str, Any]:
    """Return the settings by which the velocity of ``run`` depends on time; none where its network
    does not follow the pixels, or has no solver that asks it more than once.
    """
    method: Any = run.build()
    if not method.velocity.field.of_cloud or method.flow.solver == "exponential":
        return {}
    steps = max(LEAST_STEPS, method.flow.steps)
    return {"velocity.field.network.timed": True, "flow.steps": steps}
