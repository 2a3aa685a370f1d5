"""What methods have in common whose network is trained first: settings, training, and the way from
weights to a map.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

import numpy as np

from diffeode.errors import InputError, RegistrationError
from diffeode.files.io import sha256
from diffeode.files.presence import lies_at, why_no_file
from diffeode.geometry.transform import DisplacementField
from diffeode.registration.base import Machine, Method, Needs, Pair, Registration, require_device
from diffeode.registration.knobs import anything, between, knob, odd

if TYPE_CHECKING:
    from torch import Tensor, nn

    from diffeode.geometry.space import Grid
    from diffeode.learning.pairs import Example

VERSION = 1
"""Of the networks; grows when old weights stop to fit."""
LEAST_VOX = 16
"""No axis of an image may be shorter: four halvings leave nothing of less."""
WEIGHT = between(0, 1e6)
"""Of a term of a training's loss."""
WINDOW = odd(3, 63)
WINDOW_MEANING = (
    "Width of the windows of the local correlation (squared, so blind to the sign of the contrast)"
)


class Views(NamedTuple):
    """An example as a network takes it: ``(1, 1, *size)``, the size a multiple of the network's;
    labels or None.
    """

    fixed: Tensor
    moving: Tensor
    fixed_labels: Tensor | None = None
    moving_labels: Tensor | None = None


class Maps(NamedTuple):
    """Displacements ``(1, 3, *size)`` in voxels: ``moving(x + forward(x))`` looks like
    ``fixed(x)``, and back.
    """

    forward: Tensor
    inverse: Tensor | None = None


@dataclass(frozen=True)
class TrainedMethod(Method):
    """A network that is trained on pairs of other persons and then maps a pair in one pass."""

    needs: ClassVar[Needs] = Needs(packages=("torch", "safetensors"), gpu=True)
    trained: ClassVar[bool] = True
    multiple: ClassVar[int] = 16
    """What the network's sizes must be divisible by; images are padded."""
    shape: ClassVar[tuple[str, ...]] = ()
    """The hyper-parameters that give the network its shape, so that weights fit or do not."""
    learns_from_labels: ClassVar[bool] = False
    learns_both_ways: ClassVar[bool] = True
    """Whether every pair is shown with either scan as the moving one, or as it is alone."""
    amsgrad: ClassVar[bool] = False

    weights: str = knob(
        "",
        anything(),
        "File of the weights, as `diffeode train` or the workflow's rule train wrote it; a study "
        "fills it in",
    )
    weights_sha256: str = knob(
        "", anything(), "SHA-256 of that file; another file is refused. Empty for any"
    )
    steps: int = knob(
        100_000,
        between(1, 1e7),
        "Number of steps of the training; each takes one pair in one direction",
    )
    epochs: int = knob(
        0,
        between(0, 1e6),
        "Number of passes over all directed training pairs, which then give the number of steps "
        "instead of `steps`; 0 leaves it to `steps`",
    )
    learning_rate: float = knob(
        1e-4, between(1e-8, 1), "Learning rate of Adam, which stays constant"
    )
    interval: int = knob(
        1000, between(1, 1e6), "Distance from one validation and checkpoint to the next", "steps"
    )
    validation_persons: int = knob(
        2,
        between(2, 1000),
        "Number of persons who are held out of the training, so that the best weights are chosen "
        "by them",
    )

    @property
    def name(self) -> str:
        """The method's name in the registry, which weights are marked with."""
        return type(self).__module__.rpartition(".")[2].replace("_", "-")

    def steps_on(self, directed_pairs: int) -> int:
        """The number of steps of a training on so many pairs."""
        return self.epochs * directed_pairs or self.steps

    @abstractmethod
    def network(self) -> nn.Module:
        """The untrained network."""

    @abstractmethod
    def maps(self, network: nn.Module, fixed: Tensor, moving: Tensor) -> Maps:
        """What ``network`` finds for images ``(1, 1, *size)``, the size a multiple of
        :attr:`multiple`.
        """

    @abstractmethod
    def losses(self, network: nn.Module, views: Views) -> dict[str, Tensor]:
        """The terms whose sum the training minimises."""

    def judge(self, network: nn.Module, views: Views) -> dict[str, Tensor]:
        """The terms whose sum, over the validation pairs, says which weights are best."""
        return self.losses(network, views)

    def lacking(self) -> str:
        """Weights, or those meant."""
        if not self.weights:
            return (
                f"{self.title} is trained first and has no weights; run 'diffeode train', or name "
                "their file by the parameter weights (a study with the key training does both)."
            )
        if not lies_at(self.weights):
            return (
                f"{self.title} has no weights at {self.weights}; train it, or correct the "
                "parameter weights."
            )
        if reason := why_no_file(self.weights, "file of weights"):
            return f"{self.title} cannot read its weights: {reason}."
        if self.weights_sha256 and sha256(self.weights) != self.weights_sha256:
            return (
                f"{self.weights} is not the file of weights meant (its SHA-256 differs); train "
                "it anew."
            )
        return ""

    def reads(self) -> dict[str, str]:
        """The checksum of the weights, where the run names their file.

        Raises:
            InputError: there is no such file.
        """
        if not self.weights:
            return super().reads()
        if why_no_file(self.weights):
            raise InputError(self.lacking())
        return {**super().reads(), "weights": sha256(self.weights)}

    def register(self, pair: Pair, machine: Machine) -> Registration:
        """One pass of the network over the box of both brains.

        Raises:
            InputError: no such device, no weights, weights of another architecture, an image too
                small or constant.
            RegistrationError: the network returned displacements that are not finite.
        """
        require_device(machine.device)
        import torch

        from diffeode.learning.pairs import Example, brain_box
        from diffeode.networks.blocks import cut_to
        from diffeode.process.threads import use_threads

        use_threads(machine.threads)
        network = self.loaded(machine.device)
        window = brain_box(pair.fixed, pair.moving)
        grid = pair.fixed.grid.crop(
            *zip(*((part.start, part.stop) for part in window), strict=True)
        )
        views = self.views(
            Example(pair.fixed.data[window], pair.moving.data[window]), machine.device
        )
        with torch.no_grad():
            found = self.maps(network, views.fixed, views.moving)
        fields = (
            None if part is None else _field(cut_to(part, grid.shape), grid) for part in found
        )
        return Registration(*fields)

    def loaded(self, device: str) -> nn.Module:
        """The network with its weights, ready to be used.

        Raises:
            InputError: there are no weights, or they are of another architecture.
        """
        from diffeode.weights.checkpoint import read_checkpoint

        if reason := self.lacking():
            raise InputError(reason)
        checkpoint = read_checkpoint(self.weights, self.name, VERSION)
        theirs = {key: checkpoint.about.configuration.get(key) for key in self.shape}
        if theirs != self.shaped_by():
            raise InputError(
                f"{self.weights} was trained with {_words(theirs)}, not with "
                f"{_words(self.shaped_by())}; set the parameters likewise or train anew."
            )
        network = self.network()
        network.load_state_dict(checkpoint.tensors)
        return network.to(device).eval()

    def shaped_by(self) -> dict[str, Any]:
        """Values of the hyper-parameters that give the network its shape, as JSON has them."""
        values = {key: getattr(self, key) for key in self.shape}
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in values.items()
        }

    def views(self, example: Example, device: str) -> Views:
        """``example`` on ``device``, padded behind its end to a size the network takes.

        Raises:
            InputError: an axis is too short.
        """
        import torch

        from diffeode.networks.blocks import padded

        if min(example.fixed.shape) < LEAST_VOX:
            raise InputError(
                f"{self.title} needs at least {LEAST_VOX} voxels along each axis, and the box of "
                f"the brains has {'x'.join(str(n) for n in example.fixed.shape)}; resample the "
                "scans to a finer grid."
            )
        parts = (example.fixed, example.moving, example.fixed_labels, example.moving_labels)
        return Views(
            *(
                None
                if part is None
                else padded(torch.from_numpy(part.copy())[None, None].to(device), self.multiple)
                for part in parts
            )
        )


def _field(displacement: Tensor, grid: Grid) -> DisplacementField:
    vectors_vox = np.moveaxis(displacement[0].cpu().numpy(), 0, -1)
    if not np.isfinite(vectors_vox).all():
        raise RegistrationError(
            "The network returned displacements that are not finite; train it anew."
        )
    return DisplacementField(grid.vectors_to_world(vectors_vox), grid)


def _words(values: dict[str, Any]) -> str:
    return ", ".join(f"{key} {value}" for key, value in values.items()) or "nothing to set"
