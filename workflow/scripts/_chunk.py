"""The units of registration that one job works on, one after the other."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from _evaluating import evaluate
from _job import logged_in
from _registering import read_inputs, register_unit

from diffeode.errors import RegistrationError, reason_of
from diffeode.files.tables import write_rows
from diffeode.process.watch import watched
from diffeode.provenance.checksums import Checksums
from diffeode.provenance.origin import origin_of
from diffeode.provenance.receipt import add_origin
from diffeode.provenance.seals import seal
from diffeode.provenance.upkeep import Planned, complaints, flat
from diffeode.registration.harness import load
from diffeode.registration.registry import make_method
from diffeode.units.registration import RegistrationUnit

REGISTERED, EVALUATED, KEPT = "registered", "evaluated", "kept"


@dataclass(eq=False)
class Unit:
    """One pair with one run.

    Attributes:
        entry: its pair, its log, which files to keep, and its two steps ``registration`` and
            ``evaluation``; each step has the file to make, the inputs by name, and the parameters.
        names: its experiment and run.
        snakemake: the job.
        state: what was done with it.
        error: the sentence about an error; empty where there was none.
    """

    entry: Mapping[str, Any]
    names: Mapping[str, str]
    snakemake: Any
    state: str = KEPT
    error: str = ""
    _read: Any = field(default=None, init=False)

    def __post_init__(self) -> None:
        self.results = Path(self.snakemake.config["results"])
        self.pair = self.entry["pair"]
        self.is_to_be_registered = self._waits("registration")

    def work(self, say: Callable[..., None], following: Unit | None) -> None:
        """Do what is not up to date; read the inputs of ``following`` at the same time."""
        if not (self.is_to_be_registered or self._waits("evaluation")):
            return
        told = {
            "what": f"register {' '.join(self._all_names().values())}",
            "log": self.entry["log"],
        }
        with logged_in(
            told["log"],
            self._heading(told["what"]),
            lambda sentence: say(sentence, **told),
            anew=self.is_to_be_registered,
        ):
            try:
                if self.is_to_be_registered:
                    self._register(lambda sentence: say(sentence, **told), following)
                self._evaluate()
            except Exception as error:
                self.error = self._logged(error)
                say(self.error, **told)

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
            self._all_names(),
            task,
            threads=self.snakemake.threads,
            device="cuda" if resources.get("gpu", 0) else "cpu",
            limit_minutes=resources.time_limit_seconds / 60 or None,
            keep=self.entry["keep"],
            meanwhile=following.read_ahead if following else lambda: None,
            is_last_attempt=bool(resources.last_attempt),
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

    def _waits(self, name: str) -> bool:
        """Return whether a step's file is missing, damaged, failed or stale."""
        step = self.entry[name]
        planned = Planned(Path(step["file"]), flat(step["inputs"]), step["parameters"])
        return not planned.file.exists() or bool(complaints([planned], self.results, Checksums()))

    def _all_names(self) -> dict[str, str]:
        return {
            "experiment": self.names["experiment"],
            "pair": self.pair,
            "run": self.names["run"],
        }

    def _heading(self, what: str) -> str:
        parameters = {**self.entry["registration"]["parameters"]}
        parameters.pop("code")
        groups = (self._all_names(), parameters, {"threads": self.snakemake.threads})
        facts = [f"  {name}: {value}" for group in groups for name, value in group.items()]
        return "\n".join([what, *facts])

    @staticmethod
    def _logged(error: Exception) -> str:
        traceback.print_exception(error)
        return reason_of(error)


def import_ahead(run: Mapping[str, Any]) -> None:
    """Import once what all registrations use; their processes are copies of this one."""
    method = make_method(run["method"], run["parameters"])
    if method.lacking():
        return  # every registration fails with the reason
    load(method)


def require_all_done(units: Sequence[Unit]) -> None:
    """Raise :class:`RegistrationError` where a unit could not be worked on."""
    wrong = [unit.pair for unit in units if unit.error]
    if wrong:
        raise RegistrationError(
            f"{len(wrong)} of {len(units)} pairs could not be worked on: {', '.join(wrong)}"
        )


def write_done(units: Sequence[Unit], file: Path | str) -> None:
    """Write what was done with each pair."""
    write_rows(Path(file), ["pair", "done"], ({"pair": u.pair, "done": u.state} for u in units))
