"""One pair with one run, as rule register works on it."""

from __future__ import annotations

import traceback
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from _chunk import Unit
from _failed import first_failure
from _registering import read_inputs, register_unit
from _unknown_labels import SIDES, evaluate_what_can_be, without_labels

from diffeode.errors import AlignmentError, InputError, KilledError, reason_of
from diffeode.provenance.origin import origin_of
from diffeode.provenance.receipt import add_origin, read_receipt
from diffeode.provenance.seals import failure_sealed, seal
from diffeode.provenance.upkeep import flat
from diffeode.registration.harness import load
from diffeode.registration.registry import make_method
from diffeode.registration.stillness import note_stillness
from diffeode.registration.weight_maps import require_weight_map
from diffeode.statistics.tidy import failed_row, write_tidy
from diffeode.units.registration import RegistrationUnit

REGISTERED, EVALUATED, UNEVALUATED = "registered", "evaluated", "not evaluated"


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
        self._evaluate(say)

    def read_ahead(self) -> None:
        """Read what the registration starts from; an error is raised when its turn comes."""
        if self._read is None:
            step = self.entry["registration"]
            try:
                origin = origin_of(flat(step["inputs"]), step["parameters"])
                self._read = origin, _hopeless(step, self.results) or read_inputs(step)
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
        if receipt["status"] != "failed":
            note_stillness(Path(step["file"]).parent, task)
            receipt = read_receipt(step["file"])
        add_origin(Path(step["file"]), origin)
        self.state = REGISTERED
        if isinstance(task, AlignmentError):
            # the job that failed before has said it, or the plan has, where it runs jobs itself
            print(f"Not begun: {task}", flush=True)
        elif receipt["status"] == "failed":
            say(f"failed and is shown as missing: {receipt['reason']}")
        elif receipt["suspect"]:
            say(receipt["verdict"])

    def _evaluate(self, say: Callable[[str], None]) -> None:
        """Write the metrics; where that fails, a row that says so, and the reason in its seal.

        Raises:
            KilledError: the process was killed, and the job is tried again with more memory.
        """
        step = self.entry["evaluation"]
        origin = origin_of(flat(step["inputs"]), step["parameters"])
        usable = _without_failed_labels(step)
        try:
            left_out = evaluate_what_can_be(usable)
        except Exception as error:
            if isinstance(error, KilledError) and not self.is_last_attempt:
                raise
            traceback.print_exception(error)
            write_tidy(step["file"], failed_row())
            seal(Path(step["file"]), self.results, origin, failure=reason_of(error))
            self.state = UNEVALUATED
            say(f"could not be evaluated and is shown as failed: {reason_of(error)}")
            return
        for reason in left_out.values():
            _tell_of_no_labels(reason)
        seal(Path(step["file"]), self.results, origin, left_out=left_out)
        RegistrationUnit(Path(step["inputs"]["registration"]).parent).reduce(self.entry["keep"])
        self.state = self.state if self.state == REGISTERED else EVALUATED


def _hopeless(step: Mapping[str, Any], results: Path) -> AlignmentError | None:
    """Return why a registration cannot begin: its network or descriptor could not be trained, or
    its map of weights cannot be one; else None.
    """
    inputs = step["inputs"]
    if reason := first_failure(inputs["network"]):
        return AlignmentError(f"Its network was not trained: {reason}")
    for file in inputs["descriptor"]:
        if reason := failure_sealed(Path(file), results):
            return AlignmentError(f"Its descriptor was not trained: {reason}")
    run = step["parameters"]["run"]
    try:
        require_weight_map(make_method(run["method"], run["parameters"]))
    except InputError as error:
        return AlignmentError(str(error))
    return None


def _without_failed_labels(step: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return the step of an evaluation, without the table of structures where a label map failed.

    Nothing but the metrics of labels needs the label maps, so the other metrics are computed.
    """
    reason = first_failure(step["inputs"][side] for side in SIDES)
    if reason is None:
        return step
    _tell_of_no_labels(reason)
    return without_labels(step)


def _tell_of_no_labels(reason: str) -> None:
    print(f"Metrics of labels are left out: {reason}", flush=True)


def import_ahead(run: Mapping[str, Any]) -> None:
    """Import once what all registrations use; their processes are copies of this one."""
    method = make_method(run["method"], run["parameters"])
    if method.lacking():
        return  # every registration fails with the reason
    load(method)
