"""The named run that registers at a desk, with the user's settings."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from diffeode.errors import InputError
from diffeode.registration import registry
from diffeode.registration.runs import Run, load_run
from diffeode.registration.weight_maps import require_weight_map


def runnable_run(
    name: str, settings: Mapping[str, Any], weights: str | os.PathLike[str] | None = None
) -> Run:
    """Return the named run with the hyper-parameters that were set.

    Args:
        settings: values of hyper-parameters by dotted names, such as ``similarity.mind.weight``.
        weights: the weights of a run that is trained first.

    Raises:
        InputError: there is no such run, a hyper-parameter is wrong, or something that the run
            needs or reads is not here.
    """
    run = load_run(name)
    named = {} if weights is None else {"weights": os.fspath(weights)}
    run = run.changed({**settings, **named})
    require_weight_map(run.build())
    missing = registry.missing_needs(run.method, run.parameters)
    if missing:
        raise InputError(
            f"Run {run.name} cannot run here: {'; '.join(missing)}; 'diffeode methods' lists those "
            "that can."
        )
    run.build().reads()
    return run
