"""Training of a method, which is the same for all trained methods.

It holds persons out for validation, resumes after a kill, measures time and memory, and writes the
weights with their receipt.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from diffeode.errors import InputError
from diffeode.files.io import sha256
from diffeode.learning.pairs import Example, TrainingPair, both_ways, split_by_person
from diffeode.learning.trained_method import VERSION, TrainedMethod, Views
from diffeode.learning.training_files import CURVES
from diffeode.provenance.receipt import write_receipt
from diffeode.provenance.source import code_hash
from diffeode.registration.base import Machine, require_device
from diffeode.registration.harness import measured, what_runs
from diffeode.registration.runs import WEIGHTS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from diffeode.learning.loop import Lesson, Settings
    from diffeode.registration.runs import Run

CRITERION = "validation_loss"
"""The column of the curves whose least value marks the best weights."""
_CACHE_BYTES = 1_000_000_000
"""How much of the data is kept in memory."""


def trained_method(run: Run) -> TrainedMethod:
    """Return the method of ``run``.

    Raises:
        InputError: it is no trained method.
    """
    method = run.build()
    if not isinstance(method, TrainedMethod):
        raise InputError(
            f"Run {run.name} needs no training; 'diffeode methods' says which runs are trained "
            "first."
        )
    return method


def train_to_folder(
    run: Run,
    pairs: Sequence[TrainingPair],
    folder: Path,
    machine: Machine,
    provenance: dict[str, Any],
) -> None:
    """Train the method of ``run`` and write weights, curves and the receipt to ``folder``.

    Checkpoints are removed in the end. The time in the receipt is that of this call; earlier calls
    that were killed are not counted.

    Args:
        provenance: further entries of the receipt.
    Raises:
        InputError, TrainingError: as for :func:`train`.
    """
    from diffeode.learning.loop import remove_checkpoints, take_out

    with measured() as usage:
        best = train(trained_method(run), pairs, folder, machine)
    take_out(best, folder / WEIGHTS)
    about = {
        **what_runs(run, machine),
        "persons": persons_of(pairs),
        "pairs": len(pairs),
        **{k: round(v, 3) for k, v in usage.items()},
    }
    write_receipt(folder, [WEIGHTS, CURVES], {**provenance, **about, "status": "done"})
    remove_checkpoints(folder)


def persons_of(pairs: Sequence[TrainingPair]) -> list[str]:
    """Return the names of all persons in ``pairs``, sorted."""
    return sorted(frozenset().union(*(pair.persons for pair in pairs)))


def train(
    method: TrainedMethod,
    pairs: Sequence[TrainingPair],
    folder: Path,
    machine: Machine,
    say: Callable[[str], None] | None = None,
) -> Path:
    """Train ``method`` on ``pairs``.

    Each pair is shown in both directions, unless the method learns from one contrast to the other
    (``learns_both_ways``): then all moving scans are of the one contrast, and all fixed scans of
    the other.

    A training that was killed in ``folder`` is resumed. Checkpoints lie in a folder that is named
    after settings, pairs and code, so a training that differs in one of them begins anew.

    Returns:
        the path of the weights that were best on the persons held out; ``curves.tsv`` lies beside
        it.
    Raises:
        InputError: there are too few persons, there is no such device, or a pair cannot be used.
        TrainingError: the loss or a gradient was not finite.
    """
    require_device(machine.device)
    from diffeode.learning import loop
    from diffeode.process.threads import use_threads

    say = say or loop.tell
    use_threads(machine.threads)
    parts = split_by_person(pairs, method.validation_persons, machine.seed)
    training, validation = map(both_ways, parts) if method.learns_both_ways else parts
    say(
        f"{method.title}: {len(training)} directed pairs to train on, {len(validation)} to "
        "validate on"
    )
    lesson = _lesson(method, pairs, training, validation, machine)
    settings = _settings(method, method.steps_on(len(training)), machine.seed)
    return loop.train_by_content(lesson, settings, folder, machine.device, say)


def _lesson(
    method: TrainedMethod,
    pairs: Sequence[TrainingPair],
    training: Sequence[TrainingPair],
    validation: Sequence[TrainingPair],
    machine: Machine,
) -> Lesson:
    import torch

    from diffeode.learning.loop import Lesson

    read = _Reader(method, machine.device)

    def objective(network: nn.Module, generator: np.random.Generator) -> dict[str, Tensor]:
        return method.losses(network, read(training[generator.integers(len(training))]))

    def validate(network: nn.Module) -> dict[str, float]:
        judged = [method.judge(network, read(pair)) for pair in validation]
        means = {}
        for name in judged[0]:
            means[name] = float(np.mean([terms[name].item() for terms in judged]))
        named = {f"validation_{name}": mean for name, mean in means.items()}
        return {CRITERION: sum(means.values()), **named}

    torch.manual_seed(machine.seed)
    settings = {
        key: value
        for key, value in dataclasses.asdict(method).items()
        if not key.startswith("weights")
    }
    return Lesson(
        network=method.network(),
        objective=objective,
        validate=validate,
        architecture=method.name,
        version=VERSION,
        code=code_hash(type(method), train),
        configuration=settings,
        data={pair.folder.name: sha256(pair.folder / "receipt.json") for pair in pairs},
    )


def _settings(method: TrainedMethod, steps: int, seed: int) -> Settings:
    from diffeode.learning.loop import Settings

    return Settings(
        steps=steps,
        learning_rate=method.learning_rate,
        interval=method.interval,
        criterion=CRITERION,
        seed=seed,
        mixed_precision=True,
        amsgrad=method.amsgrad,
    )


class _Reader:
    """A reader of pairs that keeps the first ones in memory, up to about ``_CACHE_BYTES``."""

    def __init__(self, method: TrainedMethod, device: str) -> None:
        self.method, self.device = method, device
        self.kept: dict[TrainingPair, Example] = {}
        self.left = _CACHE_BYTES

    def __call__(self, pair: TrainingPair) -> Views:
        example = self.kept.get(pair) or pair.example(self.method.learns_from_labels)
        if pair not in self.kept and self.left > 0:
            self.kept[pair] = example
            self.left -= sum(part.nbytes for part in vars(example).values() if part is not None)
        return self.method.views(example, self.device)
