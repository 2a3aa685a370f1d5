"""The record of a tool of preparation: its name in a recipe, what it does and needs, and what to
cite.

A file of ``diffeode.prepare.steps`` holds one record, ``TOOL``, and the function of its step. The
step decides the function's arguments and its result:

- brain: takes ``(image, scan_name, resources)``, and the label map of the scan as a fourth argument
  where the tool uses it; returns the brain, ``(X, Y, Z)`` bool, on the grid of ``image``.
- bias, and intensity where the tool corrects: takes ``(image, brain, modality, resources)``;
  returns the corrected image on the same grid. ``brain`` is ``(X, Y, Z)`` bool, or None for a tool
  that works on the whole head.
- intensity: takes ``(image, brain, modality, scan_name)``; returns the image in [0, 1] with
  background exactly 0.
- template: takes nothing; returns a :class:`diffeode.prepare.template.Template`.
- labels: takes ``(image, scan_name, resources)``; returns the label map on the grid of ``image``.

``scan_name`` is what messages call the scan; ``modality`` is the scan's BIDS suffix.
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
"""A function that is called with the fraction done, 0 to 1, and what is being done."""


def silent(fraction: float, message: str) -> None:
    """Ignore progress that nobody watches."""


@final
@dataclass(frozen=True)
class StepTool:
    """A tool that a recipe can choose for a step.

    Attributes:
        step: the step that it can be chosen for.
        name: its name in recipes.
        clause: what it does to a scan, as a clause of a methods section without its full stop.
        function: the function of its step (see the module); None where the data already are as the
            step would leave them.
        program: the program that it runs, where it runs one.
        weights: the name of the trained weights that it reads, where it reads any.
        citations: the works to cite for it, besides those of its weights.
        modalities: the contrasts that it works on; empty where it works on all.
        corrects: whether it corrects intensities on the scan's own grid, before they are scaled.
        whole_head: whether it needs the whole head, and so runs before the brain is found.
        from_labels: whether it uses the label map that comes with the scan.
        of_anything: whether it finds what counts in a scan of any anatomy, so that nothing is
            demanded of the scan that only heads have.
        then: the name of the tool of the same step that continues from its result; empty where it
            finishes the step.
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
    of_anything: bool = False
    then: str = ""

    @property
    def module(self) -> str:
        """The module of its function, from which the identity of its results is computed.

        Raises:
            AttributeError: the tool has no function.
        """
        return self.function.__module__

    def works_on(self, modality: str) -> bool:
        """Return whether the tool is made for scans of ``modality``."""
        return not self.modalities or modality in self.modalities

    def programs(self) -> dict[str, dict[str, str]]:
        """Return the program's file, checksum and version for the receipt; empty where the tool
        runs no program.

        See :func:`diffeode.programs.tools.identities`.
        """
        return self.program.identities() if self.program else {}


@final
@dataclass(frozen=True)
class Resources:
    """The threads that a tool may use, and where it reports progress. Neither may change its
    result.

    Attributes:
        threads: number of threads.
        progress: called with the fraction done and what is being done.
    """

    threads: int = 1
    progress: Progress = silent


def print_progress(fraction: float, message: str) -> None:
    """Print progress to standard output, which goes to the log of a workflow's job."""
    print(f"{100 * fraction:3.0f} % {message}", flush=True)


@contextmanager
def naming(scan_name: str) -> Iterator[None]:
    """Put ``scan_name`` before the message of an :class:`InputError` that is raised in the block.

    It serves functions that do not know the scan's name.
    """
    try:
        yield
    except InputError as error:
        raise InputError(f"{scan_name}: {error}") from error
