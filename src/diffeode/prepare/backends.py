"""Which function does a step of preparation, by the name a recipe calls it, and what it needs.

They are found by name at run time, so that editing one makes its own scans again and no other's (as methods are).
"""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from diffeode import tools, weights
from diffeode.errors import InputError

_FUNCTIONS = {
    ("brain", "mindgrab"): "diffeode.prepare.mindgrab:mindgrab_mask",
    ("brain", "synthstrip"): "diffeode.prepare.freesurfer:synthstrip_mask",
    ("bias", "n4"): "diffeode.prepare.bias:n4",
    ("bias", "freesurfer"): "diffeode.prepare.freesurfer:nu_correct",
    ("intensity", "freesurfer"): "diffeode.prepare.freesurfer:normalise",
    ("labels", "meshnet"): "diffeode.prepare.subcortical:subcortical_labels",
    ("labels", "synthseg"): "diffeode.prepare.freesurfer:synthseg_labels",
}

_WEIGHTS = {("brain", "mindgrab"): "meshnet-mindgrab", ("labels", "meshnet"): "meshnet-subcortical"}
_TOOLS = {
    ("brain", "synthstrip"): tools.MRI_SYNTHSTRIP,
    ("bias", "freesurfer"): tools.MRI_NU_CORRECT,
    ("intensity", "freesurfer"): tools.MRI_NORMALIZE,
    ("labels", "synthseg"): tools.MRI_SYNTHSEG,
}


def backend(step: str, choice: str) -> Callable[..., Any]:
    """The function behind ``choice`` of ``step``."""
    module, function = _FUNCTIONS[step, choice].split(":")
    return getattr(importlib.import_module(module), function)


def backend_functions(**choices: str) -> tuple[str, ...]:
    """The functions behind those of ``choices`` (step: choice) that need one, as ``"module:function"``."""
    return tuple(_FUNCTIONS[item] for item in choices.items() if item in _FUNCTIONS)


def limits(threads: int) -> tools.Limits:
    """How a program is run; made here, so that steps which start no program know nothing of them."""
    return tools.Limits(threads)


def missing(step: str, choice: str) -> str | None:
    """Why ``choice`` of ``step`` cannot work here, as a sentence, or None; nothing is started to find out."""
    if (step, choice) in _TOOLS:
        reason = tools.what_is_missing(_TOOLS[step, choice])
        return f"{step}: {choice} cannot run here: {reason}." if reason else None
    if (step, choice) in _WEIGHTS:
        try:
            weights.find(_WEIGHTS[step, choice])
        except InputError as error:
            return f"{step}: {choice} cannot run here: {error}"
    return None


def programs(**choices: str) -> dict[str, dict[str, str]]:
    """Which files the programs behind ``choices`` (step: choice) are, for the receipt."""
    return tools.identities(_TOOLS[item].executable for item in choices.items() if item in _TOOLS)


def weights_read(step: str, choice: str) -> dict[str, str]:
    """SHA-256 of the weights that ``choice`` of ``step`` reads, by name, as the catalogue has it.

    Where the catalogue has none, it is that of the file that is here; empty where there is no file either.
    """
    name = _WEIGHTS.get((step, choice))
    if name is None:
        return {}
    listed = weights.load_weights(name).sha256
    if listed is None and weights.present(name) is None:
        return {}
    return {name: listed} if listed else weights.checksums([name])


def weights_of(step: str, choice: str) -> str | None:
    """Name of the weights that ``choice`` of ``step`` reads, or None."""
    return _WEIGHTS.get((step, choice))


def told(fraction: float, message: str) -> None:
    """Progress on standard output, which is the log of a workflow."""
    print(f"{100 * fraction:3.0f} % {message}", flush=True)


@contextmanager
def naming(scan: str) -> Iterator[None]:
    """Put the name of a scan before what is said of it by a function that does not know it."""
    try:
        yield
    except InputError as error:
        raise InputError(f"{scan}: {error}") from error
