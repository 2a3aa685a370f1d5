"""One pair with one run, as rule register works on it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from _chunk import Unit
from _evaluating import evaluate
from _registering import read_inputs, register_unit

from diffeode.process.watch import watched
from diffeode.provenance.origin import origin_of
from diffeode.provenance.receipt import add_origin
from diffeode.provenance.seals import seal
from diffeode.provenance.upkeep import flat
from diffeode.registration.harness import load
from diffeode.registration.registry import make_method
from diffeode.units.registration import RegistrationUnit

REGISTERED, EVALUATED = "registered", "evaluated"


@final
@dataclass(eq=False)
class RegisteredPair(Unit):
    """A registration and its evaluation; the entry says besides which files are kept."""

    verb = "register"
    steps = ("registration", "evaluation")
    _read: Any = field(default=None, init=False)

    def make(self, say: Callable[[str], None], following: Unit | None) -> None:
        """Register where that is not up to date, reading the inputs of ``following`` meanwhile;
        then evaluate.
        """
        if self.begins_anew:
            self._register(say, following)
        self._evaluate()

    def read_ahead(self) -> None:
        """Read what the registration starts from; an error is raised when its turn comes."""
        if self._read is None:
            step = self.entry["registration"]
            try:
                origin = origin_of(flat(step["inputs"]), step["parameters"])
                self._read = origin, read_inputs(step)
            except Exception as error:
                self._read = error

    def _register(self, say: Callable[[str], None], following: Unit | None) -> None:
        self.read_ahead()
        read, self._read = self._read, None
        if isinstance(read, Exception):
            raise read
        origin, task = read
        step, resources = self.entry["registration"], self.snakemake.resources
        receipt = register_unit(
            step,
            self.names,
            task,
            threads=self.snakemake.threads,
            device="cuda" if resources.get("gpu", 0) else "cpu",
            limit_minutes=resources.time_limit_seconds / 60 or None,
            keep=self.entry["keep"],
            meanwhile=following.read_ahead if following else lambda: None,
            is_last_attempt=self.is_last_attempt,
        )
        add_origin(Path(step["file"]), origin)
        self.state = REGISTERED
        if receipt["status"] == "failed":
            say(f"failed and is shown as missing: {receipt['reason']}")
        elif receipt["suspect"]:
            say(receipt["verdict"])

    def _evaluate(self) -> None:
        step = self.entry["evaluation"]
        origin = origin_of(flat(step["inputs"]), step["parameters"])
        watched(lambda: evaluate(step))  # its threads would not survive the next fork
        seal(Path(step["file"]), self.results, origin)
        RegistrationUnit(Path(step["inputs"]["registration"]).parent).reduce(self.entry["keep"])
        self.state = self.state if self.state == REGISTERED else EVALUATED


def import_ahead(run: Mapping[str, Any]) -> None:
    """Import once what all registrations use; their processes are copies of this one."""
    method = make_method(run["method"], run["parameters"])
    if method.lacking():
        return  # every registration fails with the reason
    load(method)
