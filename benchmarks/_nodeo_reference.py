"""Measure one iteration of the reference NODEO: ``python _nodeo_reference.py REQUEST ANSWER``, both
JSON files.

The request names the checkout (yifannnwu/NODEO-DIR), the folder of the pair, and the number of
iterations. The checkout's own ``registration`` runs with its own defaults. Two things are changed:
its optimiser tells us when an iteration is done, and the number of features, 864 in the checkout,
is set to the right one for images of another size. Other benchmarks get the checkout's code here.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
import warnings
from pathlib import Path
from types import ModuleType
from typing import Any

import torch
from _cases import Case, read_case
from _comparisons import comparison_named
from _iterate import WARM_UP, Clock

from diffeode.errors import InputError

COMPARISON = comparison_named("neurite-half")
"""The comparison whose one pair both codes register."""
_COUNTED_FEATURES = 864
DEFAULTS = {
    "ds": 2,
    "bs": 16,
    "smoothing_kernel": "AK",
    "smoothing_win": 15,
    "smoothing_pass": 1,
    "time_steps": 2,
    "optimizer": "Euler",
    "STEP_SIZE": 0.001,
    "NCC_win": 21,
    "lr": 0.005,
    "lambda_J": 2.5,
    "lambda_df": 0.05,
    "lambda_v": 0.00005,
}
"""The defaults of the checkout's own command line."""


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Return the medians over the iterations after the warm-up."""
    warnings.simplefilter("ignore")
    case, clock = read_case(Path(request["case"])), Clock()
    reference = registration_of(Path(request["checkout"]), case.fixed.grid.shape)
    torch.optim.Adam = _ticking(torch.optim.Adam, clock)
    config = argparse.Namespace(**DEFAULTS, epoches=request["iterations"] + WARM_UP)
    reference.registration(config, torch.device("cpu"), case.moving.data, case.fixed.data)
    return clock.medians()


def add_checkout(parser: argparse.ArgumentParser) -> None:
    """Add the option that names the checkout."""
    parser.add_argument(
        "--checkout", type=Path, required=True, help="folder of a checkout of yifannnwu/NODEO-DIR"
    )


def compared_case(data: Path, work: Path) -> Case:
    """Return the pair of :data:`COMPARISON` from the scans in ``data``; it is made in ``work``."""
    (pair,) = COMPARISON.pairs_among(COMPARISON.subjects, COMPARISON.pairs)
    return read_case(COMPARISON.case(*pair, data, work))


def registration_of(checkout: Path, shape: tuple[int, int, int]) -> ModuleType:
    """Return the module ``Registration`` of ``checkout``, whose network takes images of ``shape``.

    Raises:
        InputError: the folder is no checkout of NODEO-DIR.
    """
    require_checkout(checkout)
    sys.path.insert(0, str(checkout))
    import Network
    import Registration

    if not isinstance(Network.nn, Counting):
        Network.nn = Counting(Network.nn, features(shape))
    return Registration


def require_checkout(folder: Path) -> None:
    """Raise :class:`InputError` where ``folder`` is no checkout of NODEO-DIR."""
    if not (folder / "Registration.py").is_file():
        raise InputError(
            f"{folder} is no checkout of NODEO-DIR: it has no Registration.py; give the folder of "
            "a clone of github.com/yifannnwu/NODEO-DIR."
        )


def features(shape: tuple[int, int, int]) -> int:
    """Return the number of features of an image of ``shape``.

    It is halved once, and then by five convolutions of stride 2, the last of 32 channels.
    """
    sizes = [n // 2 for n in shape]
    for _ in range(5):
        sizes = [math.ceil(n / 2) for n in sizes]
    return 32 * math.prod(sizes)


class Counting:
    """Stands for ``torch.nn``, but makes a linear layer of 864 inputs with the right number."""

    def __init__(self, nn: Any, inputs: int) -> None:
        self._nn, self._inputs = nn, inputs

    def __getattr__(self, name: str) -> Any:
        return getattr(self._nn, name)

    def Linear(self, inputs: int, *others: Any, **settings: Any) -> torch.nn.Linear:  # noqa: N802
        return torch.nn.Linear(
            self._inputs if inputs == _COUNTED_FEATURES else inputs, *others, **settings
        )


def _ticking(adam: type, clock: Clock) -> type:
    class Ticking(adam):
        def step(self, *given: Any, **named: Any) -> Any:
            result = super().step(*given, **named)
            clock.tick()
            return result

    return Ticking


if __name__ == "__main__":
    asked, answered = map(Path, sys.argv[1:])
    answered.write_text(
        json.dumps(answer(json.loads(asked.read_text(encoding="utf-8")))), encoding="utf-8"
    )
