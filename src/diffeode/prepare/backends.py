"""Which function does a step of preparation, by the name a recipe calls it.

They are found by name at run time, so that editing one makes its own scans again and no other's (as methods are).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

_FUNCTIONS = {
    ("brain", "mindgrab"): "diffeode.prepare.mindgrab:mindgrab_mask",
    ("brain", "synthstrip"): "diffeode.prepare.freesurfer:synthstrip_mask",
    ("bias", "n4"): "diffeode.prepare.bias:n4",
    ("bias", "freesurfer"): "diffeode.prepare.freesurfer:nu_correct",
    ("intensity", "freesurfer"): "diffeode.prepare.freesurfer:normalise",
    ("labels", "meshnet"): "diffeode.prepare.subcortical:subcortical_labels",
    ("labels", "synthseg"): "diffeode.prepare.freesurfer:synthseg_labels",
}


def backend(step: str, choice: str) -> Callable[..., Any]:
    """The function behind ``choice`` of ``step``."""
    module, function = _FUNCTIONS[step, choice].split(":")
    return getattr(importlib.import_module(module), function)


def backend_modules(**choices: str) -> tuple[str, ...]:
    """The modules behind those of ``choices`` (step: choice) that need one."""
    named = (_FUNCTIONS.get(item) for item in choices.items())
    return tuple(name.split(":")[0] for name in named if name)
