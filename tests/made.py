"""What the workflow makes, by the code that makes it: one entry for every kind of result."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import NamedTuple

from diffeode.descriptors.registry import descriptor_names
from diffeode.methods.registry import method_class, method_names
from diffeode.prepare.backends import backend_functions
from diffeode.source import Source, code_hash

SCRIPTS = Path(__file__).resolve().parents[1] / "workflow" / "scripts"
_BY_NAME = {
    "strip mindgrab": {"brain": "mindgrab"},
    "strip synthstrip": {"brain": "synthstrip"},
    "correct n4": {"bias": "n4"},
    "correct freesurfer": {"bias": "freesurfer", "intensity": "freesurfer"},
    "segment meshnet": {"labels": "meshnet"},
    "segment synthseg": {"labels": "synthseg"},
}
"""Steps of preparation whose tool a recipe names."""
_WITHOUT_IDENTITY = {"fetch_ixi"}
"""A download; its receipt says what it is."""


class Made(NamedTuple):
    """A kind of result: its script, what that finds by name, and what of it does not count."""

    script: str | None
    found: tuple[Source, ...] = ()
    apart_from: tuple[str, ...] = ()

    def code(self) -> str:
        """The identity of the code, worked out anew."""
        scripts = (SCRIPTS / f"{self.script}.py",) if self.script else ()
        return code_hash.__wrapped__(*self.found, scripts=scripts, apart_from=("_job", *self.apart_from))


@cache
def kinds() -> dict[str, Made]:
    """Every kind of result, by the name that docs/workflow.md gives it."""
    steps = {kind: Made(kind.split()[0], backend_functions(**choices)) for kind, choices in _BY_NAME.items()}
    methods = {name: method_class(name) for name in method_names()}
    registrations = {f"register {name}": Made("register", (method,)) for name, method in methods.items()}
    trainings = {f"train {name}": Made("train", (method,)) for name, method in methods.items() if method.trained}
    described = {
        f"descriptor {name}": Made(None, (f"diffeode.descriptors.{name.replace('-', '_')}:make",))
        for name in descriptor_names()
    }
    by_name = {made.script for made in (*steps.values(), *registrations.values(), *trainings.values())}
    others = {path.stem for path in SCRIPTS.glob("[a-z]*.py")} - by_name - _WITHOUT_IDENTITY
    plain = {script: Made(script) for script in sorted(others)}
    plain["train_descriptor"] = Made("train_descriptor", apart_from=("diffeode.figures",))
    return {**steps, **plain, **trainings, **registrations, **described}
