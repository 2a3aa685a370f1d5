"""The loop that trains every network of ours: Adam, validation, checkpoints, and going on after a
kill.

A step draws all that is random from the seed and its own number, so nothing of the random state
need be kept, and a
training that was killed goes on as if it had not been: bit for bit on a CPU with as many threads.
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
from diffeode.weights.checkpoint import About, Checkpoint, read_checkpoint, write_checkpoint

SCHEDULES = ("constant", "cosine")
LAST, BEST, CURVES = "last.safetensors", "best.safetensors", "curves.tsv"
"""What a training leaves in its folder: where to go on, the best weights on validation, and its
curves.
"""
_CHECKPOINTS = "checkpoints-"
_FINAL_RATE = 0.01
"""The cosine schedule ends at this fraction of the learning rate."""
_NETWORK = "network."
_OPTIMISER = "optimiser."

Objective = Callable[[nn.Module, np.random.Generator], dict[str, Tensor]]
"""From the network and a step's generator to the named terms of its loss, whose sum is minimised.
"""
Validation = Callable[[nn.Module], dict[str, float]]


@final
@dataclass(frozen=True)
class Settings:
    """How to train.

    Attributes:
        steps: of Adam, one call of the objective each.
        learning_rate: at the start.
        schedule: ``constant``, or ``cosine``, down to a hundredth along half a cosine.
        interval: steps from one validation, row of the curves and checkpoint to the next.
        criterion: the number of a row whose least value makes the best weights: ``loss``, the mean
            over the interval, or one that the validation returns.
        seed: of every step.
        mixed_precision: compute in bfloat16 where that is safe; on CUDA only, ignored on a CPU.
        amsgrad: Adam divides by the largest second moment so far.
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
        """The learning rate of ``step`` (1, 2, ...)."""
        if self.schedule == "constant":
            return self.learning_rate
        half_cosine = 0.5 * (1 + math.cos(math.pi * (step - 1) / self.steps))
        return self.learning_rate * (_FINAL_RATE + (1 - _FINAL_RATE) * half_cosine)


def _no_validation(network: nn.Module) -> dict[str, float]:
    return {}


@final
@dataclass(frozen=True, eq=False)
class Lesson:
    """What to train, on what.

    Attributes:
        network: as it starts; its parameters are changed.
        objective: called in training mode; all it draws must come from the generator it is given,
            or from torch's own, which is seeded for every step.
        validate: called in evaluation mode without gradients; must draw nothing at random but from
        seeds of its own. architecture, version, configuration (JSON values), data, code: see
        :class:`diffeode.weights.checkpoint.About`.
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
        """What a checkpoint at ``step`` says of itself."""
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
    """``message`` on standard error, which is the log of a workflow."""
    print(message, file=sys.stderr, flush=True)


def train(
    lesson: Lesson,
    settings: Settings,
    folder: Path,
    device: str = "cpu",
    say: Callable[[str], None] = tell,
) -> Path:
    """Train until ``settings.steps``, going on from ``folder`` where an earlier call was killed.

    Returns:
        the file of the weights that were best by ``settings.criterion``, tensors by the network's
        own names.
    Raises:
        InputError: ``folder`` holds a training of another network, other settings, data or code.
        TrainingError: the loss or a gradient was not finite; the checkpoints before it stand.
    """
    return _Trainer(lesson, settings, Path(folder), torch.device(device), say).run()


def train_by_content(
    lesson: Lesson,
    settings: Settings,
    folder: Path,
    device: str = "cpu",
    say: Callable[[str], None] = tell,
) -> Path:
    """:func:`train` in a folder below ``folder`` that is named after network, settings, data and
    code.

    So what differs in one of them begins anew, where :func:`train` would refuse, and what was begun
    before goes on where it is asked for again. :func:`take_out` fetches what was found,
    :func:`remove_checkpoints` clears up.
    """
    identity = json.dumps(vars(lesson.about(settings, 0, {})), sort_keys=True)
    work = f"{_CHECKPOINTS}{hashlib.sha256(identity.encode()).hexdigest()[:12]}"
    return train(lesson, settings, folder / work, device, say)


def take_out(best: Path, weights: Path) -> None:
    """Copy the weights ``best`` to the file ``weights``, and the curves that lie beside the one
    beside the other.
    """
    for source, target in ((best, weights), (best.with_name(CURVES), weights.with_name(CURVES))):
        with written_whole(target) as temporary:
            shutil.copyfile(source, temporary)


def remove_checkpoints(folder: Path) -> None:
    """Remove all that :func:`train_by_content` left below ``folder``."""
    for work in folder.glob(f"{_CHECKPOINTS}*"):
        shutil.rmtree(work)


class _Trainer:
    def __init__(
        self,
        lesson: Lesson,
        settings: Settings,
        folder: Path,
        device: torch.device,
        say: Callable[[str], None],
    ) -> None:
        self.lesson, self.settings, self.folder, self.device, self.say = (
            lesson,
            settings,
            folder,
            device,
            say,
        )
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
        return self.folder / BEST

    def _interval(self) -> dict[str, float]:
        """Steps until the next checkpoint, and the row of the curves that tells of them."""
        until = min(
            self.settings.steps, (self.step // self.settings.interval + 1) * self.settings.interval
        )
        self.network.train()
        terms = []
        while self.step < until:
            terms.append(self._one_step(self.step + 1))
            self.step += 1
        means = {name: math.fsum(term[name] for term in terms) / len(terms) for name in terms[0]}
        self.network.eval()
        with torch.no_grad():
            row = {**means, **self.lesson.validate(self.network)}
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
        """Write curves, best and last, in this order: what a kill in between leaves too much is
        made again, alike.
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
    return {
        name.removeprefix(prefix): t
        for name, t in checkpoint.tensors.items()
        if name.startswith(prefix)
    }
