"""One flow through a sequence of images of one person."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, final

import torch
from torch import Tensor

from diffeode.errors import InputError
from diffeode.flows.integrate import Flow
from diffeode.flows.trajectory import Smoothness, path_smoothness
from diffeode.flows.unfold import unfold_all
from diffeode.flows.velocity import reverse, squared_change
from diffeode.geometry.determinism import deterministic
from diffeode.geometry.warp import resize_displacement, voxel_centres
from diffeode.methods.neural_ode.energy import PairTensors, cost_on
from diffeode.methods.neural_ode.motion import (
    LIGHTER,
    coarse_to_fine,
    for_gradients,
    require_alike,
    without_folds,
)
from diffeode.methods.neural_ode.timing import require_settings, require_times, stops_of
from diffeode.optimise.loop import Objective
from diffeode.optimise.memory import keep_freed_memory, shortage_explained
from diffeode.optimise.pyramid import Lattice
from diffeode.optimise.report import Reporter

if TYPE_CHECKING:
    from diffeode.methods.neural_ode import NeuralODE


@final
@dataclass(frozen=True, eq=False)
class Trajectory:
    """A velocity and where it leads on its way, in voxels of the images.

    Attributes:
        velocity: the velocity ``(K, d, *coarse)`` at K knots from time 0 to 1, in voxels of its own
            grid per unit time.
        flow: the flow that integrates it.
        stops: the number of steps of the solver to the time of each image but the first.
        size: the size of the images, ``d`` axes.
        spacing: the spacing of the grid of the images along each axis, mm.
        trace: the terms of the energy in each iteration, which are means over the images.
        notes: see :class:`diffeode.registration.base.Registration`.
    """

    velocity: Tensor
    flow: Flow
    stops: tuple[int, ...]
    size: tuple[int, ...]
    spacing: tuple[float, ...]
    trace: tuple[dict[str, float], ...]
    notes: tuple[str, ...]

    @property
    def forward(self) -> tuple[Tensor, ...]:
        """The displacements ``(1, d, *size)``, voxels, one for each image but the first:
        ``images[k](x + u_k(x))`` looks like ``images[0](x)``.
        """
        return self._read(self.flow.through(self.velocity, self.stops))

    @property
    def inverse(self) -> tuple[Tensor, ...]:
        """The displacements of the ways back from each image to the first, likewise."""
        return self._read(_ways_back(self.flow, self.velocity, self.stops))

    @property
    def path(self) -> tuple[Tensor, ...]:
        """The displacements after each step of the solver up to the last image, likewise."""
        return self._read(self.flow.through(self.velocity, range(1, self.stops[-1] + 1)))

    def smoothness(self, inside: Tensor | None = None) -> Smoothness:
        """Return speed and acceleration of the voxels of the first image from step to step.

        Args:
            inside: the voxels that count, ``(1, 1, *size)`` bool; None: all.
        """
        spacing = self.velocity.new_tensor(self.spacing).view(1, -1, *[1] * len(self.size))
        rest = voxel_centres(self.size, self.velocity)
        chosen = slice(None) if inside is None else inside.flatten()
        places = [
            ((rest + moved) * spacing).flatten(2)[0].T[chosen] for moved in (0 * rest, *self.path)
        ]
        times = [step * self.flow.step_size for step in range(len(places))]
        return path_smoothness(torch.stack(places), times)

    @property
    def squared_change(self) -> float:
        """The mean squared derivative of the velocity in time, mm^2 per unit time to the fourth
        (:func:`diffeode.flows.velocity.squared_change`).
        """
        spacing = [
            s * n / m
            for s, n, m in zip(self.spacing, self.size, self.velocity.shape[2:], strict=True)
        ]
        return float(squared_change(self.velocity, self.flow.time, spacing))

    def _read(self, displacements: Sequence[Tensor]) -> tuple[Tensor, ...]:
        return tuple(resize_displacement(one, self.size) for one in displacements)


def flow_through(
    method: NeuralODE,
    images: Sequence[Tensor],
    times: Sequence[float],
    spacing: Sequence[float],
    periodic: bool = False,
    mask: Tensor | None = None,
    weights: Tensor | None = None,
    progress: Callable[[float, str], None] = lambda fraction, message: None,
) -> Trajectory:
    """Find one flow that carries the first image through all others, each at its time.

    The map to time ``t_k`` sends points of ``images[0]`` to points of ``images[k]``; one
    integration gives all maps. The energy is the mean over k of the energy of ``method`` for the
    fixed image ``images[0]`` and the moving image ``images[k]``. With two images, the second at
    time 1, this is the registration of a pair. A velocity of one knot is stationary. De Craene et
    al., Medical Image Analysis 16, 2012, register a sequence of images by one velocity in time and
    space. After the last time, only penalties of the velocity depend on the velocity.

    Args:
        images: two or more images ``(1, 1, *size)`` on one grid and device, with intensities as for
            :meth:`diffeode.methods.neural_ode.NeuralODE.velocity_between`.
        times: the times of the images. The first is 0, they rise, none is above 1, and each is the
            end of a step of the solver.
        spacing: the spacing of the grid along each axis, mm.
        periodic: whether the velocity at time 1 equals that at time 0, so that one knot fewer is
            free.
        mask: the voxels of the first image that count in the similarities, ``(1, 1, *size)``;
            None: all.
        weights: the factor of the penalties of gradient and bending at each voxel, likewise; None:
            1.
        progress: a function that receives a fraction in [0, 1] and a short message.
    Raises:
        InputError: images, times and parameters do not belong together.
        RegistrationError: as for
            :meth:`diffeode.methods.neural_ode.NeuralODE.velocity_between`.
    """
    _require_sequence(images, times)
    for moving in images[1:]:
        require_alike(images[0], moving, spacing, mask, weights)
    require_settings(method, periodic)
    stops = stops_of(method, times)
    keep_freed_memory()
    size, close = tuple(images[0].shape[2:]), _closed if periodic else _as_it_is
    report = Reporter(method.levels.factors, method.levels.iterations, progress)
    repeatable = deterministic(images[0].device, method.deterministic)
    # In the inference mode of a caller torch would compute no gradients.
    with torch.inference_mode(False), shortage_explained(size, LIGHTER), repeatable:
        pairs = _pairs(images, mask, weights)

        def energy_at(grid: Lattice, fields: Lattice) -> Objective:
            reduced = [pair.reduced(grid.size, fields.size) for pair in pairs]
            energy = energy_through(reduced, stops, grid, fields, method)
            return lambda free: energy(close(free))

        def maps(free: Tensor) -> list[Tensor]:
            flow, velocity = _flow_of(method), close(free)
            return flow.through(velocity, stops) + _ways_back(flow, velocity, stops)

        knots = method.velocity.knots - (1 if periodic else 0)
        lattice = Lattice(size, tuple(spacing))
        free = coarse_to_fine(method, energy_at, lattice, pairs[0].fixed, knots, report)
        if method.diffeomorphic == "guaranteed":
            free = without_folds(unfold_all(free, maps, size), report)
    return Trajectory(
        close(free),
        _flow_of(method),
        stops,
        size,
        tuple(spacing),
        tuple(report.trace),
        tuple(report.notes),
    )


def energy_through(
    pairs: Sequence[PairTensors],
    stops: Sequence[int],
    images: Lattice,
    fields: Lattice,
    method: NeuralODE,
) -> Objective:
    """Return the terms of the energy as a function of the velocity, each the mean over ``pairs``.

    :func:`diffeode.methods.neural_ode.energy.energy_on` returns them for one pair.

    Args:
        pairs: the first image with each of the others, on the grids ``images`` and ``fields``.
        stops: the number of steps after which the flow reaches the moving image of each pair.
        images: the grid of the images.
        fields: the grid of the velocity.
        method: the settings of the energy.
    """
    flow = _flow_of(method)
    costs = [cost_on(pair, images, fields, method) for pair in pairs]

    def energy(velocity: Tensor) -> dict[str, Tensor]:
        reached = flow.through(velocity, stops)
        found = [cost(velocity, one) for cost, one in zip(costs, reached, strict=True)]
        means = {}
        for name in found[0]:
            means[name] = torch.stack([terms[name] for terms in found]).mean()
        return means

    return energy


def _flow_of(method: NeuralODE) -> Flow:
    """Return the flow of a velocity on a grid, to which :func:`flow_through` is limited."""
    flow = method.integrator
    assert isinstance(flow, Flow)
    return flow


def _pairs(
    images: Sequence[Tensor], mask: Tensor | None, weights: Tensor | None
) -> list[PairTensors]:
    fixed = for_gradients(images[0])
    maps = [None if one is None else for_gradients(one.to(fixed)) for one in (mask, weights)]
    return [PairTensors(fixed, for_gradients(moving.to(fixed)), *maps) for moving in images[1:]]


def _ways_back(flow: Flow, velocity: Tensor, stops: Sequence[int]) -> list[Tensor]:
    """Return the displacements from each of ``stops`` back to time 0.

    They are the last steps of the flow of the reversed velocity.
    """
    back = reverse(velocity)
    return [flow.through(back, (flow.steps,), flow.steps - stop)[0] for stop in stops]


def _closed(free: Tensor) -> Tensor:
    return torch.cat([free, free[:1]])


def _as_it_is(free: Tensor) -> Tensor:
    return free


# ------------------------------------------------------------------------------------------- checks


def _require_sequence(images: Sequence[Tensor], times: Sequence[float]) -> None:
    if len(images) < 2 or len(times) != len(images):
        raise InputError(
            f"A sequence needs two or more images and as many times; {len(images)} images and "
            f"{len(times)} times were given."
        )
    require_times(times)
