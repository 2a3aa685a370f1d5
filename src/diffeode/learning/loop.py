"""The loop that trains every network here: Adam, validation, checkpoints, and resuming.

A step draws all its random numbers from the seed and from its own number, so checkpoints hold no
state of a generator. A training that was killed therefore gives the same weights as one that was
not: to the bit on a CPU with the same number of threads.
"""

from __future__ import annotations

import hashlib
import json
import math
import shutil
import sys
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from diffeode.errors import InputError, TrainingError
from diffeode.files.io import written_whole
from diffeode.files.tables import read_words, write_rows
from diffeode.learning.training_files import BEST, CURVES, LAST
from diffeode.weights.checkpoint import About, Checkpoint, read_checkpoint, write_checkpoint

SCHEDULES = ("constant", "cosine")
"""Names of the schedules of the learning rate."""
_CHECKPOINTS = "checkpoints-"
"""Beginning of the names of the folders of :func:`train_by_content`."""
_FINAL_RATE = 0.01
"""The cosine schedule ends at this fraction of the learning rate."""
_NETWORK = "network."
"""Beginning of the names of the network's tensors in a checkpoint."""
_OPTIMISER = "optimiser."
"""Beginning of the names of the optimiser's tensors in a checkpoint."""

Objective = Callable[[nn.Module, np.random.Generator], dict[str, Tensor]]
"""A function from the network and a step's generator to the named terms of the loss. Their sum is
minimised.
"""
Validation = Callable[[nn.Module], dict[str, float]]
"""A function from the network to named numbers that tell how good it is."""


@final
@dataclass(frozen=True)
class Settings:
    """The settings of a training.

    Attributes:
        steps: the number of steps of Adam, each of which calls the objective once.
        learning_rate: the learning rate at the start.
        schedule: ``constant`` keeps the learning rate; ``cosine`` lowers it to a hundredth along
            half a cosine.
        interval: the number of steps between two checkpoints. At each one the network is validated
            and a row is added to the curves.
        criterion: the column of the curves whose least value marks the best weights: ``loss``,
            which is its mean over the interval, or a number that the validation returns.
        seed: the seed of all steps.
        mixed_precision: whether a GPU computes in bfloat16 where that is safe; a CPU never does.
        amsgrad: whether Adam divides by the largest second moment so far (Reddi et al., ICLR 2018).
    Raises:
        InputError: a value is out of range.
    """

    steps: int
    learning_rate: float = 1e-4
    schedule: str = "constant"
    interval: int = 100
    criterion: str = "loss"
    seed: int = 0
    mixed_precision: bool = False
    amsgrad: bool = False

    def __post_init__(self) -> None:
        if self.schedule not in SCHEDULES:
            raise InputError(
                f"The schedule of a training is {self.schedule!r}; it must be one of {SCHEDULES}."
            )
        for name in ("steps", "interval", "learning_rate"):
            if not getattr(self, name) > 0:
                raise InputError(
                    f"The {name} of a training is {getattr(self, name)}; it must be above 0."
                )

    def rate(self, step: int) -> float:
        """Return the learning rate of a ``step``; the first step is 1."""
        if self.schedule == "constant":
            return self.learning_rate
        half_cosine = 0.5 * (1 + math.cos(math.pi * (step - 1) / self.steps))
        return self.learning_rate * (_FINAL_RATE + (1 - _FINAL_RATE) * half_cosine)


def _no_validation(network: nn.Module) -> dict[str, float]:
    return {}


@final
@dataclass(frozen=True, eq=False)
class Lesson:
    """What a training needs: the network, the loss, the validation and the data.

    Attributes:
        network: the network before training; the training changes its parameters.
        objective: the loss. The network is in training mode then. It may draw random numbers from
            the generator that it receives, or from torch's, which is seeded for every step, and
            from no other.
        validate: the validation. The network is in evaluation mode then, and no gradients are
            computed. It may draw random numbers from a generator with a seed of its own alone.
        architecture, version, code, configuration, data: what checkpoints say of themselves, see
            :class:`diffeode.weights.checkpoint.About`; ``configuration`` holds values of JSON.
    """

    network: nn.Module
    objective: Objective
    architecture: str
    version: int
    code: str
    validate: Validation = _no_validation
    configuration: Mapping[str, Any] = field(default_factory=dict)
    data: Mapping[str, str] = field(default_factory=dict)

    def about(self, settings: Settings, step: int, metrics: Mapping[str, float]) -> About:
        """Return what a checkpoint at ``step`` says of itself."""
        configuration = json.loads(json.dumps({**self.configuration, "training": vars(settings)}))
        return About(
            self.architecture,
            self.version,
            configuration,
            dict(self.data),
            self.code,
            step,
            dict(metrics),
        )


def tell(message: str) -> None:
    """Print ``message`` on standard error, which is the log of a job in a workflow."""
    print(message, file=sys.stderr, flush=True)


def train(
    lesson: Lesson,
    settings: Settings,
    folder: Path,
    device: str = "cpu",
    say: Callable[[str], None] = tell,
) -> Path:
    """Train a network, or resume its training where an earlier call in ``folder`` was killed.

    Args:
        say: a function that receives a line on the progress after every interval.
    Returns:
        the path of the weights that were best by ``settings.criterion``; the file names tensors as
        the network does.
    Raises:
        InputError: ``folder`` holds a training of another network, or one with other settings, data
            or code.
        TrainingError: the loss or a gradient was not finite; earlier checkpoints are kept. Or the
            criterion was never finite, so no weights are the best.
    """
    return _Trainer(lesson, settings, Path(folder), torch.device(device), say).run()


def train_by_content(
    lesson: Lesson,
    settings: Settings,
    folder: Path,
    device: str = "cpu",
    say: Callable[[str], None] = tell,
) -> Path:
    """Train as :func:`train` does, in a folder that is named after network, settings, data and
    code.

    That folder lies below ``folder``. A training that differs in one of these has another folder
    and begins anew, where :func:`train` would refuse it. A training that was killed is resumed when
    the same one is asked for again. :func:`take_out` copies the results,
    :func:`remove_checkpoints` removes the folders.
    """
    identity = json.dumps(vars(lesson.about(settings, 0, {})), sort_keys=True)
    work = f"{_CHECKPOINTS}{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    return train(lesson, settings, folder / work, device, say)


def take_out(best: Path, weights: Path) -> None:
    """Copy the file ``best`` to the file ``weights``, and the curves beside it.

    The curves come from the folder of ``best`` and go to the folder of ``weights``.
    """
    for source, target in ((best, weights), (best.with_name(CURVES), weights.with_name(CURVES))):
        with written_whole(target) as temporary:
            shutil.copyfile(source, temporary)


def remove_checkpoints(folder: Path) -> None:
    """Remove the folders that :func:`train_by_content` made below ``folder``."""
    for work in folder.glob(f"{_CHECKPOINTS}*"):
        shutil.rmtree(work)


class _Trainer:
    """A training that goes on: its step, the least value of the criterion, and the curves."""

    def __init__(
        self,
        lesson: Lesson,
        settings: Settings,
        folder: Path,
        device: torch.device,
        say: Callable[[str], None],
    ) -> None:
        self.lesson, self.settings, self.folder = lesson, settings, folder
        self.device, self.say = device, say
        self.network = lesson.network.to(device)
        self.optimiser = torch.optim.Adam(
            self.network.parameters(), lr=settings.learning_rate, amsgrad=settings.amsgrad
        )
        self.step, self.least, self.rows = 0, math.inf, []

    def run(self) -> Path:
        if (self.folder / LAST).is_file():
            self._resume()
        started, first = time.perf_counter(), self.step
        while self.step < self.settings.steps:
            row = self._interval()
            self._keep(row)
            spent = (time.perf_counter() - started) / (self.step - first)
            self._tell(row, spent * (self.settings.steps - self.step))
        if math.isinf(self.least):
            raise TrainingError(
                f"The {self.settings.criterion} of the training was never finite, so no weights "
                "can be chosen; check the scans to validate on."
            )
        return self.folder / BEST

    def _interval(self) -> dict[str, float]:
        """Take the steps until the next checkpoint and return their row of the curves."""
        until = min(
            self.settings.steps, (self.step // self.settings.interval + 1) * self.settings.interval
        )
        self.network.train()
        terms = []
        while self.step < until:
            terms.append(self._one_step(self.step + 1))
            self.step += 1
        row = {}
        for name in terms[0]:
            row[name] = math.fsum(term[name] for term in terms) / len(terms)
        self.network.eval()
        with torch.no_grad():
            row |= self.lesson.validate(self.network)
        if self.settings.criterion not in row:
            raise InputError(
                f"The training has no {self.settings.criterion!r} to judge by; it has "
                f"{', '.join(row)}."
            )
        return row

    def _one_step(self, step: int) -> dict[str, float]:
        generator = np.random.default_rng([self.settings.seed, step])
        torch.manual_seed(int(generator.integers(2**63)))
        for group in self.optimiser.param_groups:
            group["lr"] = self.settings.rate(step)
        self.optimiser.zero_grad(set_to_none=True)
        mixed = self.settings.mixed_precision and self.device.type == "cuda"
        with torch.autocast(self.device.type, torch.bfloat16, enabled=mixed):
            terms = self.lesson.objective(self.network, generator)
            loss = sum(terms.values())
        loss.backward()
        # Nothing is clipped at infinity; this is torch's way to get the norm of all gradients.
        norm = nn.utils.clip_grad_norm_(self.network.parameters(), math.inf)
        if not (torch.isfinite(loss) and torch.isfinite(norm)):
            raise TrainingError(self._why_stopped(step))
        self.optimiser.step()
        return {
            "loss": loss.item(),
            **{name: term.item() for name, term in terms.items() if name != "loss"},
        }

    def _why_stopped(self, step: int) -> str:
        before = step - 1 - (step - 1) % self.settings.interval
        kept = (
            f"the checkpoint of step {before} in {self.folder} was kept"
            if before
            else "no checkpoint was written yet"
        )
        return (
            f"The loss or its gradient was not finite at step {step}; {kept}; try a smaller "
            "learning rate."
        )

    def _keep(self, row: dict[str, float]) -> None:
        """Write the curves, the best weights if these are the best, and the last checkpoint.

        The checkpoint comes last because a training resumes from it. After a kill between two of
        these files the same steps are taken again, and the files that were written before are
        written again with the same content.
        """
        self.rows.append(
            {"step": str(self.step), **{name: f"{value:.9g}" for name, value in row.items()}}
        )
        self._write_curves()
        about = self.lesson.about(self.settings, self.step, row)
        if row[self.settings.criterion] < self.least:
            self.least = row[self.settings.criterion]
            write_checkpoint(self.folder / BEST, self.network.state_dict(), about)
        write_checkpoint(
            self.folder / LAST, {**self._state(), "least": torch.tensor(self.least).double()}, about
        )

    def _state(self) -> dict[str, Tensor]:
        """Return the tensors of the network and of the optimiser under names that do not
        collide.
        """
        names = [name for name, _ in self.network.named_parameters()]
        state = {_NETWORK + name: tensor for name, tensor in self.network.state_dict().items()}
        for index, moments in self.optimiser.state_dict()["state"].items():
            state |= {
                f"{_OPTIMISER}{names[index]}.{key}": tensor for key, tensor in moments.items()
            }
        return state

    def _resume(self) -> None:
        path = self.folder / LAST
        kept = read_checkpoint(path, self.lesson.architecture, self.lesson.version)
        self._require_same(kept.about, path)
        self.network.load_state_dict(_below(kept, _NETWORK))
        self._load_optimiser(_below(kept, _OPTIMISER))
        self.step, self.least = kept.about.step, kept.tensors["least"].item()
        curves = read_words(self.folder / CURVES).to_dict("records")
        self.rows = [row for row in curves if int(row["step"]) <= self.step]
        self.say(f"going on from step {self.step} of {self.settings.steps}")

    def _require_same(self, kept: About, path: Path) -> None:
        now = self.lesson.about(self.settings, kept.step, kept.metrics)
        for name in ("configuration", "data", "code"):
            if getattr(kept, name) != getattr(now, name):
                raise InputError(
                    f"{path} was begun with other {name}; choose another folder, or remove it to "
                    "begin anew."
                )

    def _load_optimiser(self, tensors: dict[str, Tensor]) -> None:
        state = {}
        for index, (name, _) in enumerate(self.network.named_parameters()):
            state[index] = {
                key.rpartition(".")[2]: tensor
                for key, tensor in tensors.items()
                if key.rpartition(".")[0] == name
            }
        content = self.optimiser.state_dict()
        self.optimiser.load_state_dict({**content, "state": {i: s for i, s in state.items() if s}})

    def _write_curves(self) -> None:
        write_rows(self.folder / CURVES, list(self.rows[0]), self.rows)

    def _tell(self, row: dict[str, float], seconds_left: float) -> None:
        numbers = ", ".join(f"{name} {value:.4g}" for name, value in row.items())
        self.say(
            f"step {self.step} of {self.settings.steps}: {numbers}; about {seconds_left / 60:.0f} "
            "min left"
        )


def _below(checkpoint: Checkpoint, prefix: str) -> dict[str, Tensor]:
    """Return the tensors whose names begin with ``prefix``, under the rest of their names."""
    return {
        name.removeprefix(prefix): t
        for name, t in checkpoint.tensors.items()
        if name.startswith(prefix)
    }
