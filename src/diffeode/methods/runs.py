"""Named runs: a method and its hyper-parameters under a name, one YAML file each (``config/methods/<name>.yaml``)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from diffeode.errors import InputError
from diffeode.methods.base import Method
from diffeode.methods.registry import lacks, make_method, method_class, method_names
from diffeode.names import nearest

_KEYS = {"method", "title", "parameters", "time_limit_minutes"}


@dataclass(frozen=True)
class Run:
    """A named run.

    Attributes:
        method: the method's name (:func:`diffeode.methods.registry.method_names`).
        title: how tables and figures call it.
        parameters: hyper-parameters that differ from the method's defaults.
        time_limit_minutes: how long one registration may take in a study; None: as long as the study allows.
    """

    name: str
    method: str
    title: str
    parameters: dict[str, Any] = field(default_factory=dict)
    time_limit_minutes: float | None = None

    @property
    def is_trained_first(self) -> bool:
        """Whether its network is to be trained, no weights being named."""
        return method_class(self.method).trained and not self.parameters.get("weights")

    def build(self) -> Method:
        """The method with this run's hyper-parameters."""
        return make_method(self.method, self.parameters)


def obstacles(runs: Iterable[Run], own_environments: bool = False) -> list[str]:
    """Why runs cannot work here, one sentence for each that cannot.

    Args:
        own_environments: methods run in the environments they name (``Needs.environment``), so that packages and
            programs of others than ``base`` are not looked for here.
    """
    return [sentence for run in runs if (sentence := _obstacle(run, own_environments))]


def _obstacle(run: Run, own_environments: bool) -> str:
    found = lacks(run.method, run.parameters)
    if own_environments and method_class(run.method).needs.environment != "base":
        found = {"weights": found.get("weights", [])}
    if "weights" not in run.parameters:
        found.pop("training", None)  # the study sees to that
    clauses = [clause for kind in found.values() for clause in kind]
    return f"Run {run.name} cannot work here: {'; '.join(clauses)}." if clauses else ""


@cache
def runs_folder() -> Path:
    """Where the named runs lie: inside an installed package, or in the repository's ``config/methods``."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_named_runs"
    return installed if installed.is_dir() else package.parents[1] / "config" / "methods"


def run_names() -> tuple[str, ...]:
    """Every named run."""
    return tuple(sorted(path.stem for path in runs_folder().glob("*.yaml")))


def load_run(name: str) -> Run:
    """The named run, checked down to its hyper-parameters.

    Raises:
        InputError: no such run, method, key or parameter; the message names the nearest one.
    """
    path = runs_folder() / f"{name}.yaml"
    if not path.is_file():
        raise InputError(f"There is no run {name!r}{nearest(name, run_names())}.")
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise InputError(f"{path} is not valid YAML: {str(error).splitlines()[0]}.") from None
    if not isinstance(content, dict) or "method" not in content:
        raise InputError(f"{path} must name a method (known: {', '.join(method_names())}).")
    for key in content:
        if key not in _KEYS:
            raise InputError(f"{path} has an unknown key {key!r}{nearest(key, _KEYS)}.")
    parameters = content.get("parameters") or {}
    make_method(content["method"], parameters)
    limit = content.get("time_limit_minutes")
    if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int | float) or limit <= 0):
        raise InputError(f"{path} has time_limit_minutes: {limit!r}; give a number of minutes above 0.")
    title = content.get("title") or method_class(content["method"]).title
    return Run(name, content["method"], title, parameters, limit)
