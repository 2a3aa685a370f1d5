"""Named runs: a method and its hyper-parameters under a name, one YAML file each (``config/methods/<name>.yaml``)."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from diffeode.errors import InputError
from diffeode.methods.base import Method
from diffeode.methods.registry import make_method, method_class, method_names
from diffeode.names import nearest

_KEYS = {"method", "title", "parameters"}


@dataclass(frozen=True)
class Run:
    """A named run.

    Attributes:
        method: the method's name (:func:`diffeode.methods.registry.method_names`).
        title: how tables and figures call it.
        parameters: hyper-parameters that differ from the method's defaults.
    """

    name: str
    method: str
    title: str
    parameters: dict[str, Any] = field(default_factory=dict)

    @property
    def is_trained_first(self) -> bool:
        """Whether its network is to be trained, no weights being named."""
        return method_class(self.method).trained and not self.parameters.get("weights")

    def build(self) -> Method:
        """The method with this run's hyper-parameters."""
        return make_method(self.method, self.parameters)


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
    return Run(name, content["method"], content.get("title") or method_class(content["method"]).title, parameters)
