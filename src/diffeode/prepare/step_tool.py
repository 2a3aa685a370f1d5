"""The record of a tool of preparation: how a recipe calls it, what it does and needs, what to say
of it and cite.

A file of ``diffeode.prepare.steps`` holds one record, ``TOOL``, and the function of its step:

- brain: ``(image, scan_name, resources)`` to the brain on the grid of ``image``, ``(X, Y, Z)``
  bool; a tool that looks at the label map of the scan gets it as a fourth argument;
- bias, and intensity where the tool corrects: ``(image, brain, modality, resources)`` to the
  corrected image on the same grid; ``brain`` is ``(X, Y, Z)`` bool, and None for a tool that works
  on the whole head;
- intensity: ``(image, brain, modality, scan_name)`` to the image in [0, 1] with background exactly
  0;
- template: ``()`` to the :class:`diffeode.prepare.template.Template`;
- labels: ``(image, scan_name, resources)`` to the label map on the grid of ``image``.

``scan_name`` is what messages call the scan, ``modality`` its BIDS suffix.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, final

from diffeode.errors import InputError

if TYPE_CHECKING:
    from diffeode.programs.tools import Tool

Step = Literal["brain", "bias", "intensity", "template", "labels"]
Progress = Callable[[float, str], None]
"""Told the fraction done, 0 to 1, and what is going on."""


def silent(fraction: float, message: str) -> None:
    """Progress that nobody watches."""


@final
@dataclass(frozen=True)
class StepTool:
    """A tool that a recipe can choose for a step.

    Attributes:
        step: what it is chosen for.
        name: how recipes call it.
        clause: what it does to a scan, as a clause of a methods section without its full stop.
        function: the step's function (see above); None where the data already are as the step would
            leave them.
        program: the program that it runs, where it runs one.
        weights: the name of the trained weights that it reads, where it reads any.
        citations: what to cite for it, besides its weights.
        modalities: the contrasts that it works on; all of them where empty.
        corrects: whether it corrects intensities on the scan's own grid, before they are scaled.
        whole_head: whether it has to see the whole head, before the brain is found.
        from_labels: whether it looks at the label map that comes with the scan.
        then: the tool of the same step that goes on from its result; empty where it finishes the
            step.
    """

    step: Step
    name: str
    clause: str
    function: Callable[..., Any] | None
    program: Tool | None = None
    weights: str | None = None
    citations: tuple[str, ...] = ()
    modalities: tuple[str, ...] = ()
    corrects: bool = False
    whole_head: bool = False
    from_labels: bool = False
    then: str = ""

    @property
    def module(self) -> str:
        """The module of its function, for the identity of what it makes.

        Raises:
            AttributeError: it has no function.
        """
        return self.function.__module__

    def works_on(self, modality: str) -> bool:
        """Whether the tool is made for scans of ``modality``."""
        return not self.modalities or modality in self.modalities

    def programs(self) -> dict[str, dict[str, str]]:
        """Which file the program is, for the receipt; empty where it runs none.

        See :func:`diffeode.programs.tools.identities`.
        """
        return self.program.identities() if self.program else {}


@final
@dataclass(frozen=True)
class Resources:
    """What a tool may use and whom it tells how far it is; neither may change its result.

    Attributes:
        threads: how many it may start.
        progress: told the fraction done and what is going on.
    """

    threads: int = 1
    progress: Progress = silent


def print_progress(fraction: float, message: str) -> None:
    """Progress on standard output, which is the log of a workflow."""
    print(f"{100 * fraction:3.0f} % {message}", flush=True)


@contextmanager
def naming(scan_name: str) -> Iterator[None]:
    """Begin the message of an :class:`InputError` that is raised in the block with the name of the
    scan.
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{scan_name}: {error}") from error
