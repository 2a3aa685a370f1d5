"""The interface of every registration method: hyper-parameters, needs, and one function."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from diffeode.errors import InputError, RegistrationError
from diffeode.geometry.image import Image, Window, window_around
from diffeode.geometry.plane import is_slice
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import KeptVelocity, Transform
from diffeode.registration.knobs import check
from diffeode.weights.catalogue import checksums, find_weights


@dataclass(frozen=True, eq=False)
class Pair:
    """A prepared pair on one grid, affinely aligned, with intensities in [0, 1] and background 0.

    Attributes:
        fixed_mask, moving_mask: the brain masks, ``(X, Y, Z)`` bool.
        counts: the voxels that count in the similarity, ``(X, Y, Z)`` bool; None: all of them.
            Methods whose :attr:`Method.leaves_out` is False do not read it.

    Raises:
        InputError: the two images lie on different grids.
    """

    fixed: Image
    moving: Image
    fixed_mask: np.ndarray
    moving_mask: np.ndarray
    counts: np.ndarray | None = None

    def __post_init__(self) -> None:
        if not self.fixed.grid.matches(self.moving.grid):
            raise InputError(
                f"The images of a pair lie on different grids ({self.fixed.grid.shape} and "
                f"{self.moving.grid.shape}); resample the moving one onto the fixed one first."
            )

    def cropped(self, window: Window) -> Pair:
        """Return the pair within ``window``."""
        return Pair(
            self.fixed.cropped(window),
            self.moving.cropped(window),
            self.fixed_mask[window],
            self.moving_mask[window],
            None if self.counts is None else self.counts[window],
        )

    def around_the_brains(self, margin_vox: int) -> Pair:
        """Return the pair within the box of both brains, grown by a margin inside the grid.

        Raises:
            InputError: both brains are empty.
        """
        return self.cropped(window_around(self.fixed_mask | self.moving_mask, margin_vox))


@dataclass(frozen=True)
class Machine:
    """Where and how a method runs.

    Only the seed may change the result by more than rounding.

    Attributes:
        threads: number of processors to use.
        seed: seed of all random numbers.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        progress: called during the work with a fraction in [0, 1] and a short message.
    """

    threads: int = 1
    seed: int = 0
    device: str = "cpu"
    progress: Callable[[float, str], None] = field(
        default=lambda fraction, message: None, compare=False
    )


@dataclass(frozen=True, eq=False)
class Registration:
    """The result of a method.

    Attributes:
        forward: the map from points of the fixed grid to points of the prepared moving image, RAS
            mm.
        inverse: the inverse map, or None where the method gives none.
        trace: one mapping of numbers per iteration; empty where the tool shows none.
        notes: one sentence for each thing that the user should know about this registration; empty
            where nothing was unusual.
        velocity: the velocity whose flow both maps are, or None where the method has none;
            :meth:`Method.expanded` makes the maps of it again.
    """

    forward: Transform
    inverse: Transform | None = None
    trace: tuple[dict[str, float], ...] = ()
    notes: tuple[str, ...] = ()
    velocity: KeptVelocity | None = None


@dataclass(frozen=True)
class Needs:
    """The packages, programs and devices that a method needs.

    Attributes:
        packages: names of Python modules.
        executables: names of programs, which are looked for in the folders of ``$DIFFEODE_TOOLS``
            and on PATH (:mod:`diffeode.programs.tools`).
        environment: name of the file under ``envs/`` that provides them.
        gpu: whether the method uses a GPU where ``Machine.device`` names one. No method requires a
            GPU.
    """

    packages: tuple[str, ...] = ()
    executables: tuple[str, ...] = ()
    environment: str = "base"
    gpu: bool = False


@dataclass(frozen=True)
class Method(ABC):
    """A registration method.

    Subclasses are final frozen dataclasses whose fields are the hyper-parameters. Every field is
    declared by :func:`diffeode.registration.knobs.knob`.

    Raises:
        InputError: a hyper-parameter is of the wrong type or out of range.
    """

    title: ClassVar[str]
    """The name shown in tables and figures."""
    needs: ClassVar[Needs] = Needs()
    citation: ClassVar[str]
    """Authors, title, venue and year of the publication to cite when the method is used."""
    licence: ClassVar[str]
    """Licence of the tool that does the work: SPDX name for its code and, where it comes with
    weights, for the weights.
    """
    trained: ClassVar[bool] = False
    """Whether a network has to be trained first, by ``diffeode train`` or by a study.

    See :mod:`diffeode.learning.trained_method`.
    """

    takes_slices: ClassVar[bool] = False
    """Whether :meth:`register` takes pairs of slices, with one voxel along the last axis."""

    leaves_out: ClassVar[bool] = False
    """Whether the similarity leaves out the voxels that do not count (:attr:`Pair.counts`)."""

    formerly: ClassVar[Mapping[str, str]] = {}
    """Former names of hyper-parameters, each with its present name.

    A former name is refused by a message that gives the present one.
    """

    def __post_init__(self) -> None:
        check(self)

    @property
    def pretrained(self) -> tuple[str, ...]:
        """Return the names, in ``config/weights``, of the trained weights that this method
        reads.
        """
        return ()

    @property
    def descriptor_weights(self) -> str:
        """Return the name or the path of the weights that are set for the descriptor; empty where
        none are set.
        """
        return ""

    def lacking(self) -> str:
        """Return a sentence about what the method lacks with these settings, such as weights; empty
        where it can start.
        """
        for name in self.pretrained:
            try:
                find_weights(name)
            except InputError as error:
                return str(error)
        return ""

    def reads(self) -> dict[str, str]:
        """Return hashes of the files that this method reads.

        They are part of the identity of a result, because such a file changes the result as the
        pair and the code do.

        Raises:
            InputError: such a file is missing.
        """
        return checksums(self.pretrained)

    def load(self) -> None:
        """Import the modules that :meth:`register` uses beyond ``needs.packages``.

        The harness calls this before it starts the clock.
        """
        return

    def expanded(self, velocity: KeptVelocity, machine: Machine) -> Registration:
        """Return forward and inverse map of the velocity of an earlier registration.

        Args:
            machine: its threads are used; the work is done on a CPU.

        Raises:
            RegistrationError: the method has no velocity.
        """
        raise RegistrationError(f"{self.title} has no velocity to make a map of.")

    @abstractmethod
    def register(self, pair: Pair, machine: Machine) -> Registration:
        """Register one prepared pair.

        Raises:
            InputError: the method cannot take this pair or this device.
            RegistrationError: the method failed; the message is the reason.
        """


def require_slices_taken(method: Method | type[Method], grid: Grid) -> None:
    """Raise :class:`InputError` where ``grid`` is that of a slice and ``method`` takes none."""
    if is_slice(grid) and not method.takes_slices:
        raise InputError(
            f"{method.title} registers volumes, and this pair consists of slices; choose a run of "
            "neural-ode or ants-syn, or identity."
        )


def require_device(device: str) -> None:
    """Raise :class:`InputError` where torch cannot see ``device`` (``cpu``, ``cuda`` or
    ``cuda:N``).
    """
    if device == "cpu":
        return
    import torch

    seen = torch.cuda.device_count()
    if int(device.partition(":")[2] or 0) >= seen:
        raise InputError(
            f"There is no device {device} here (torch sees {seen} of CUDA); use the device cpu."
        )
