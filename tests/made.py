"""The kinds of results that the workflow makes, and the code that makes each of them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

from diffeode.descriptors.registry import descriptor_names
from diffeode.prepare.registry import all_tools, correcting_tools
from diffeode.provenance.source import Source, code_hash
from diffeode.registration.registry import method_class, method_names

SCRIPTS = Path(__file__).resolve().parents[1] / "workflow" / "scripts"
_WITHOUT_IDENTITY = {"fetch_ixi"}
"""A download, which has no identity of code."""


class Made(NamedTuple):
    """A kind of result: its script, the modules that the script finds by name, and those that do
    not count.
    """

    script: str | None
    found: tuple[Source, ...] = ()
    apart_from: tuple[str, ...] = ()

    def code(self) -> str:
        """Return the identity of the code, computed anew."""
        scripts = (SCRIPTS / f"{self.script}.py",) if self.script else ()
        return code_hash.__wrapped__(
            *self.found, scripts=scripts, apart_from=("_job", *self.apart_from)
        )


@cache
def kinds() -> dict[str, Made]:
    """Return every kind of result by its name in docs/workflow.md."""
    methods = {name: method_class(name) for name in method_names()}
    registrations = {
        f"register {name}": Made("_registering", (method,)) for name, method in methods.items()
    }
    trainings = {
        f"train {name}": Made("train", (method,))
        for name, method in methods.items()
        if method.trained
    }
    described = {
        f"descriptor {name}": Made(None, (f"diffeode.descriptors.{name.replace('-', '_')}:make",))
        for name in descriptor_names()
    }
    by_name = {"strip", "correct", "prepare", "segment", "align", "register", "train"}
    others = {path.stem for path in SCRIPTS.glob("[a-z]*.py")} - by_name - _WITHOUT_IDENTITY
    plain = {script: Made(script) for script in sorted(others)}
    plain |= {"align": Made("_aligning"), "evaluate": Made("_evaluating")}
    ours = method_class("neural-ode")
    plain |= {script: Made(script, (ours,)) for script in ("models", "plane")}
    plain["train_descriptor"] = Made("train_descriptor", apart_from=("diffeode.figures",))
    return {**_steps(), **plain, **trainings, **registrations, **described}


def _steps() -> dict[str, Made]:
    """Steps of preparation whose tool a recipe names, by rule and tool.

    FreeSurfer's normalisation of a T1w comes after its correction of the bias field.
    """
    rules = {
        "brain": ("strip",),
        "bias": ("correct",),
        "template": ("place", "inspect_scan"),
        "labels": ("segment",),
    }
    found = {}
    for tool in (tool for tool in all_tools() if tool.function):
        for rule in rules.get(tool.step, () if tool.corrects else ("prepare",)):
            found[f"{rule} {tool.name}"] = Made(rule, (tool.function,))
    of_t1w = tuple(tool.function for tool in correcting_tools("freesurfer", "freesurfer", "T1w"))
    return {**found, "correct freesurfer T1w": Made("correct", of_t1w)}
