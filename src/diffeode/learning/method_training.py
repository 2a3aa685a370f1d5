"""Training a method, alike for all: seed, clock, persons apart, files, receipt; going on after a
kill.
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
from diffeode.provenance.receipt import write_receipt
from diffeode.provenance.source import code_hash
from diffeode.registration.base import Machine, require_device
from diffeode.registration.harness import measured, what_runs
from diffeode.registration.runs import WEIGHTS

if TYPE_CHECKING:
    from torch import Tensor, nn

    from diffeode.learning.loop import Lesson, Settings
    from diffeode.registration.runs import Run

CURVES = "curves.tsv"
CRITERION = "validation_loss"
"""The column of a training's curves whose least value makes the best weights."""
_CACHE_BYTES = 1_000_000_000


def trained_method(run: Run) -> TrainedMethod:
    """The method of ``run``, to be trained.

    Raises:
        InputError: it is not one that is trained.
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
    """Train ``run`` and write ``weights.safetensors``, ``curves.tsv`` and the receipt to
    ``folder``.

    Checkpoints are removed in the end. The clock counts this call alone, not one before it that was
    killed.

    Raises:
        InputError, TrainingError: as :func:`train`.
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
    """Everybody in ``pairs``, sorted."""
    return sorted(frozenset().union(*(pair.persons for pair in pairs)))


def train(
    method: TrainedMethod,
    pairs: Sequence[TrainingPair],
    folder: Path,
    machine: Machine,
    say: Callable[[str], None] | None = None,
) -> Path:
    """Train ``method`` on ``pairs``, going on where an earlier call in ``folder`` was killed.

    Each pair is shown both ways, unless the method learns from one contrast to the other: then the
    moving scans of all pairs are of the one, and the fixed scans of the other.

    Checkpoints lie in a folder named after settings, pairs and code, so what differs in one of them
    begins anew.

    Returns:
        the file of the weights that were best on the persons held out; ``curves.tsv`` lies beside
        it.
    Raises:
        InputError: too few persons, no such device, or unusable pairs.
        TrainingError: the loss was not finite.
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
    lesson, settings = (
        _lesson(method, pairs, training, validation, machine),
        _settings(method, method.steps_on(len(training)), machine.seed),
    )
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
        means = {
            name: float(np.mean([terms[name].item() for terms in judged])) for name in judged[0]
        }
        return {
            CRITERION: sum(means.values()),
            **{f"validation_{name}": mean for name, mean in means.items()},
        }

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
    """Examples as the network takes them; the first ones read are kept, as far as a
    gigabyte goes.
    """

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
