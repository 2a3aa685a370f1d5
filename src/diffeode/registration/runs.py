"""Named runs: each YAML file ``config/methods/<name>.yaml`` names a method and its
hyper-parameters.
"""

from __future__ import annotations

from collections.abc import Container, Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cache
from pathlib import Path
from typing import Any

from diffeode.errors import InputError
from diffeode.files.checked_yaml import BLOCK, TITLE, WORD, Key, or_null, read_mapping, require_keys
from diffeode.files.presence import require_plain_name, without_hidden
from diffeode.names import nearest
from diffeode.process.watch import LONGEST_MINUTES
from diffeode.provenance.receipt import require_intact
from diffeode.registration.base import Method
from diffeode.registration.knobs import as_parameters, changed
from diffeode.registration.registry import lacks, make_method, method_class

FORMERLY = {"node-mind-paper": "paper-mind", "node-lddmm-mind": "paper-lddmm"}
"""Today's names of runs, by their former names."""

WEIGHTS = "weights.safetensors"
"""Name of the file of trained weights in the folder of a training."""


@dataclass(frozen=True)
class Run:
    """A named run.

    Attributes:
        method: the method's name (:func:`diffeode.registration.registry.method_names`).
        title: the name of the run in tables and figures.
        parameters: the hyper-parameters that differ from the method's defaults, nested as in the
            file.
        time_limit_minutes: the longest time that one registration may take in a study; None for the
            limit of the study.
    """

    name: str
    method: str
    title: str
    parameters: dict[str, Any] = field(default_factory=dict)
    time_limit_minutes: float | None = None

    @property
    def is_trained_first(self) -> bool:
        """Return whether the network has to be trained first, because no weights are named."""
        return method_class(self.method).trained and not self.parameters.get("weights")

    @property
    def can_use_gpu(self) -> bool:
        """Return whether the method computes on a GPU where it is given one."""
        return method_class(self.method).needs.gpu

    def build(self) -> Method:
        """Return the method with the hyper-parameters of this run."""
        return make_method(self.method, self.parameters)

    def changed(self, by: Mapping[str, Any]) -> Run:
        """Return this run with other values of some hyper-parameters.

        Args:
            by: the values by dotted names, such as ``similarity.mind.weight``.

        Raises:
            InputError: a name is unknown, or a value has the wrong type or is out of range.
        """
        if not by:
            return self
        method = changed(self.build(), by, self.method)
        return replace(self, parameters=as_parameters(method))


def obstacles(
    runs: Iterable[Run], own_environments: bool = False, provided: Container[str] = ()
) -> list[str]:
    """Return one sentence for each run that cannot work here, with the reasons.

    Args:
        own_environments: whether methods run in the environments that they name
            (``Needs.environment``). The packages and programs of environments other than ``base``
            are then not looked for here.
        provided: names of runs whose descriptor is trained before them.
    """
    return [
        sentence
        for run in runs
        if (sentence := _obstacle(run, own_environments, run.name in provided))
    ]


def _obstacle(run: Run, own_environments: bool, provided: bool) -> str:
    found = lacks(run.method, run.parameters)
    if provided:
        found.pop("weights", None)
    if own_environments and method_class(run.method).needs.environment != "base":
        found = {"weights": found.get("weights", [])}
    if run.is_trained_first:
        found.pop("training", None)  # The study trains it before.
    clauses = [clause for kind in found.values() for clause in kind]
    return f"Run {run.name} cannot work here: {'; '.join(clauses)}." if clauses else ""


@cache
def runs_folder() -> Path:
    """Return the folder of the named runs: inside an installed package, or ``config/methods`` in
    the repository.
    """
    package = Path(__file__).resolve().parents[1]
    installed = package / "_named_runs"
    return installed if installed.is_dir() else package.parents[1] / "config" / "methods"


def run_names() -> tuple[str, ...]:
    """Return the names of all named runs, sorted."""
    return tuple(sorted(path.stem for path in without_hidden(runs_folder().glob("*.yaml"))))


def name_today(name: str, known: Iterable[str] = ()) -> str:
    """Return the end of a sentence about a run that does not exist: its name today, or the nearest
    name among the named runs and those ``known`` besides.
    """
    if name in FORMERLY:
        return f"; it is now {FORMERLY[name]!r}"
    return nearest(name, [*run_names(), *known])


def load_run(name: str) -> Run:
    """Return the named run after checking all its values, hyper-parameters included.

    Raises:
        InputError: there is no such run, method, key or parameter, and the message gives today's
            name or the nearest one; or the file is not valid YAML; or a value has the wrong type or
            is out of range.
    """
    require_plain_name(name, "run")
    path = runs_folder() / f"{name}.yaml"
    if not path.is_file():
        raise InputError(f"There is no run {name!r}{name_today(name)}.")
    content = read_mapping(path)
    require_keys(content, _KEYS, str(path))
    method, parameters = content["method"], content.get("parameters") or {}
    make_method(method, parameters)
    title = content.get("title") or method_class(method).title
    return Run(name, method, title, parameters, content.get("time_limit_minutes"))


def with_weights(run: Run, training: Path) -> Run:
    """Return ``run`` with the weights that the training in folder ``training`` wrote.

    Raises:
        DamagedFileError: the weights differ from their receipt.
    """
    outputs = require_intact(training / "receipt.json")["outputs"]
    weights = {"weights": str(training / WEIGHTS), "weights_sha256": outputs[WEIGHTS]["sha256"]}
    return replace(run, parameters={**run.parameters, **weights})


def _is_limit(value: object) -> bool:
    return (
        isinstance(value, int | float)
        and not isinstance(value, bool)
        and 0 < value <= LONGEST_MINUTES
    )


_KEYS = {
    "method": Key("the name of a method", WORD.fits, required=True),
    "title": or_null(TITLE),
    "parameters": or_null(Key("names and values, one 'name: value' to a line", BLOCK.fits)),
    "time_limit_minutes": or_null(
        Key(f"a number of minutes above 0 and up to {LONGEST_MINUTES:,}", _is_limit)
    ),
}
