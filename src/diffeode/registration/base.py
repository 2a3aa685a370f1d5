"""What every registration method is: hyper-parameters, needs, and one verb."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import ClassVar

import numpy as np

from diffeode.errors import InputError
from diffeode.geometry.image import Image, Window, window_around
from diffeode.geometry.transform import Transform
from diffeode.registration.knobs import check
from diffeode.weights.catalogue import checksums, find


@dataclass(frozen=True, eq=False)
class Pair:
    """A prepared pair on one grid, affinely aligned, intensities in [0, 1], background 0.

    Attributes:
        fixed_mask, moving_mask: the brains, ``(X, Y, Z)`` bool.
    Raises:
        InputError: the two images lie on different grids.
    """

    fixed: Image
    moving: Image
    fixed_mask: np.ndarray
    moving_mask: np.ndarray

    def __post_init__(self) -> None:
        if not self.fixed.grid.matches(self.moving.grid):
            raise InputError(
                f"The images of a pair lie on different grids ({self.fixed.grid.shape} and "
                f"{self.moving.grid.shape}); resample the moving one onto the fixed one first."
            )

    def cropped(self, window: Window) -> Pair:
        """The pair within ``window``."""
        return Pair(
            self.fixed.cropped(window),
            self.moving.cropped(window),
            self.fixed_mask[window],
            self.moving_mask[window],
        )

    def around_the_brains(self, margin_vox: int) -> Pair:
        """The pair within the box of both brains, grown by a margin inside the grid.

        Raises:
            InputError: both brains are empty.
        """
        return self.cropped(window_around(self.fixed_mask | self.moving_mask, margin_vox))


@dataclass(frozen=True)
class Machine:
    """Where and how a method runs. Of all this the seed alone may change the result by more than
    rounding.

    Attributes:
        threads: processors to use.
        seed: of everything that is drawn at random.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        progress: called with a fraction in [0, 1] and a short message as the work goes on.
    """

    threads: int = 1
    seed: int = 0
    device: str = "cpu"
    progress: Callable[[float, str], None] = field(
        default=lambda fraction, message: None, compare=False
    )


@dataclass(frozen=True, eq=False)
class Registration:
    """What a method found.

    Attributes:
        forward: points of the fixed grid to points of the (prepared) moving image, RAS mm.
        inverse: the way back, or None where the method has none.
        trace: one mapping of numbers per iteration, empty where the tool shows none.
        notes: what the user should know of how it went, one sentence each; empty where nothing was
            out of the ordinary.
    """

    forward: Transform
    inverse: Transform | None = None
    trace: tuple[dict[str, float], ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Needs:
    """What a method wants from the place it runs in.

    Attributes:
        packages: importable Python modules.
        executables: programs in the folders of ``$DIFFEODE_TOOLS`` or on PATH
            (:mod:`diffeode.programs.tools`).
        environment: the file under ``envs/`` that provides them.
        gpu: whether a GPU is used where ``Machine.device`` names one (never required: every method
            runs on a CPU).
    """

    packages: tuple[str, ...] = ()
    executables: tuple[str, ...] = ()
    environment: str = "base"
    gpu: bool = False


@dataclass(frozen=True)
class Method(ABC):
    """A registration method. Subclasses are final frozen dataclasses whose fields are the
    hyper-parameters.

    Every field is declared by :func:`diffeode.registration.knobs.knob`.

    Raises:
        InputError: a hyper-parameter is of the wrong type or out of range.
    """

    title: ClassVar[str]
    """The name shown in tables and figures."""
    needs: ClassVar[Needs] = Needs()
    citation: ClassVar[str]
    """Authors, title, venue, year: what to cite when the method is used."""
    licence: ClassVar[str]
    """Of what does the work: SPDX name of the tool's code, and of its weights where it comes with
    some.
    """
    trained: ClassVar[bool] = False
    """Whether a network is trained first, by ``diffeode train`` or a study.

    See :mod:`diffeode.learning.trained_method`.
    """

    formerly: ClassVar[Mapping[str, str]] = {}
    """Names that hyper-parameters had once, to those they have; the former are refused by a hint at
    the latter.
    """

    def __post_init__(self) -> None:
        check(self)

    @property
    def pretrained(self) -> tuple[str, ...]:
        """Names in ``config/weights`` of the files of trained weights that this method reads."""
        return ()

    @property
    def descriptor_weights(self) -> str:
        """The weights that are given for the descriptor that is compared, by name or path; empty
        where none are.
        """
        return ""

    def lacking(self) -> str:
        """What the method, as it is set, lacks to be started, such as weights: a sentence; empty
        where it can start.
        """
        for name in self.pretrained:
            try:
                find(name)
            except InputError as error:
                return str(error)
        return ""

    def reads(self) -> dict[str, str]:
        """What besides the pair and the code decides the result: hashes of the files that this
        method reads.

        Raises:
            InputError: such a file is not there.
        """
        return checksums(self.pretrained)

    def load(self) -> None:
        """Import what :meth:`register` works with beyond ``needs.packages``, so that no clock
        counts it.
        """
        return

    @abstractmethod
    def register(self, pair: Pair, machine: Machine) -> Registration:
        """Register one prepared pair.

        Raises:
            RegistrationError: the method gave up; the message is the reason.
        """


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
