"""The pairs of a chunk, on which one job works one after the other."""

from __future__ import annotations

import traceback
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any, ClassVar

from _job import logged_in

from diffeode.errors import RegistrationError, reason_of
from diffeode.files.tables import write_rows
from diffeode.provenance.checksums import Checksums
from diffeode.provenance.upkeep import Planned, complaints, flat

KEPT = "kept"


@dataclass(eq=False)
class Unit(ABC):
    """One pair, and what the job makes of it in one step or in several.

    Attributes:
        entry: its pair, its log, and its steps by name; each step has the file to make, the inputs
            by name, and the parameters.
        snakemake: the job.
        state: what was done with it.
        error: the sentence about an error; empty where there was none.
    """

    verb: ClassVar[str]
    """What the job does with the pair, in the headings of logs."""
    steps: ClassVar[tuple[str, ...]]
    """The names of the steps in the order of work; the first one begins a new log."""
    entry: Mapping[str, Any]
    snakemake: Any
    state: str = KEPT
    error: str = ""

    def __post_init__(self) -> None:
        self.results = Path(self.snakemake.config["results"])
        self.pair = self.entry["pair"]
        self.begins_anew = self._waits(self.steps[0])

    @abstractmethod
    def make(self, say: Callable[[str], None], following: Unit | None) -> None:
        """Make what is not up to date.

        Args:
            say: writes a sentence on the console.
            following: the unit that begins anew after this one.
        """

    def work(self, say: Callable[..., None], following: Unit | None) -> None:
        """Make what is not up to date, in a log of its own, and remember an error."""
        if not (self.begins_anew or any(map(self._waits, self.steps[1:]))):
            return
        told = {"what": f"{self.verb} {' '.join(self.names.values())}", "log": self.entry["log"]}

        def say_of_this(sentence: str) -> None:
            say(sentence, **told)

        heading = self._heading(told["what"])
        with logged_in(told["log"], heading, say_of_this, anew=self.begins_anew):
            try:
                self.make(say_of_this, following)
            except Exception as error:
                traceback.print_exception(error)
                self.error = reason_of(error)
                say_of_this(self.error)

    @property
    def names(self) -> dict[str, str]:
        """The names of experiment and pair, and of the run where the job has one."""
        given = dict(self.snakemake.wildcards.items())
        run = {"run": given["run"]} if "run" in given else {}
        return {"experiment": given["experiment"], "pair": self.pair, **run}

    @property
    def is_last_attempt(self) -> bool:
        """Whether the job is not tried again, with more memory, where a process was killed."""
        return bool(self.snakemake.resources.last_attempt)

    def _waits(self, name: str) -> bool:
        """Return whether a step's file is missing, damaged, failed or stale."""
        step = self.entry[name]
        planned = Planned(Path(step["file"]), flat(step["inputs"]), step["parameters"])
        return not planned.file.exists() or bool(complaints([planned], self.results, Checksums()))

    def _heading(self, what: str) -> str:
        parameters = {**self.entry[self.steps[0]]["parameters"]}
        parameters.pop("code")
        groups = (self.names, parameters, {"threads": self.snakemake.threads})
        facts = [f"  {name}: {value}" for group in groups for name, value in group.items()]
        return "\n".join([what, *facts])


def work_through(units: Sequence[Unit], say: Callable[..., None], file: Path | str) -> None:
    """Work on all units, and write to ``file`` what was done with each pair.

    Raises:
        RegistrationError: a unit could not be worked on.
    """
    following = dict(pairwise(unit for unit in units if unit.begins_anew))
    for unit in units:
        unit.work(say, following.get(unit))
    wrong = [unit.pair for unit in units if unit.error]
    if wrong:
        raise RegistrationError(
            f"{len(wrong)} of {len(units)} pairs could not be worked on: {', '.join(wrong)}"
        )
    rows = ({"pair": unit.pair, "done": unit.state} for unit in units)
    write_rows(Path(file), ["pair", "done"], rows)
