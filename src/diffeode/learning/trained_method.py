"""What all trained methods share: settings of the training, and the way from weights to a map.

A trained method is a method whose network is trained before it registers.
"""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple

from diffeode.errors import InputError
from diffeode.files.io import sha256
from diffeode.files.presence import lies_at, why_no_file
from diffeode.registration.base import Machine, Method, Needs, Pair, Registration, require_device
from diffeode.registration.displacements import field_of_tensor
from diffeode.registration.knobs import anything, between, knob, odd

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from diffeode.learning.pairs import Example

VERSION = 1
"""The version of the networks. It grows when a network changes so that older weights no longer fit.
"""
LEAST_VOX = 16
"""The least number of voxels along each axis of an image: four halvings leave nothing of fewer."""
WEIGHT = between(0, 1e6)
"""The range of the weight of a term of the loss."""
WINDOW = odd(3, 63)
"""The range of the width of the windows of the local correlation."""
WINDOW_MEANING = (
    "Width of the windows of the local correlation, which is squared and so blind to the sign of "
    "the contrast"
)
"""The meaning of that width in ``docs/methods.md``."""


class Views(NamedTuple):
    """A pair as a network receives it: padded images ``(1, 1, *size)``, and labels or None.

    The size is a multiple of :attr:`TrainedMethod.multiple`.
    """

    fixed: Tensor
    moving: Tensor
    fixed_labels: Tensor | None = None
    moving_labels: Tensor | None = None


class Maps(NamedTuple):
    """Displacements ``(1, 3, *size)``, voxels.

    Attributes:
        forward: ``moving(x + forward(x))`` looks like ``fixed(x)``.
        inverse: ``fixed(x + inverse(x))`` looks like ``moving(x)``; None where there is none.
    """

    forward: Tensor
    inverse: Tensor | None = None


@dataclass(frozen=True)
class TrainedMethod(Method):
    """A network that is trained on pairs of other persons and then registers a pair in one pass."""

    needs: ClassVar[Needs] = Needs(packages=("torch", "safetensors"), gpu=True)
    trained: ClassVar[bool] = True
    multiple: ClassVar[int] = 16
    """The number by which the size of a network's input is divisible; images are padded to that."""
    shape: ClassVar[tuple[str, ...]] = ()
    """The hyper-parameters that give the network its shape; weights fit only where they agree."""
    learns_from_labels: ClassVar[bool] = False
    """Whether the training needs label maps."""
    learns_both_ways: ClassVar[bool] = True
    """Whether the training shows every pair in both directions, or only as it is."""
    amsgrad: ClassVar[bool] = False
    """Whether the training uses amsgrad, see :class:`diffeode.learning.loop.Settings`."""

    weights: str = knob(
        "",
        anything(),
        "Path of the file of weights that `diffeode train` or the workflow's rule train wrote; a "
        "study fills it in",
    )
    weights_sha256: str = knob(
        "", anything(), "SHA-256 of that file; another file is refused. Empty takes any file"
    )
    steps: int = knob(
        100_000,
        between(1, 1e7),
        "Number of steps of the training; each step takes one pair in one direction",
    )
    epochs: int = knob(
        0,
        between(0, 1e6),
        "Number of passes over all directed training pairs; above 0 it decides the number of "
        "steps in place of `steps`",
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
        "Least number of persons who are held out of the training; the weights that are best on "
        "their pairs are kept",
    )

    @property
    def name(self) -> str:
        """The method's name in the registry; its files of weights are marked with it."""
        return type(self).__module__.rpartition(".")[2].replace("_", "-")

    def steps_on(self, directed_pairs: int) -> int:
        """Return the number of steps of a training on ``directed_pairs`` pairs."""
        return self.epochs * directed_pairs or self.steps

    @abstractmethod
    def network(self) -> nn.Module:
        """Return the untrained network."""

    @abstractmethod
    def maps(self, network: nn.Module, fixed: Tensor, moving: Tensor) -> Maps:
        """Return the displacements that ``network`` finds for two images ``(1, 1, *size)``.

        The size is a multiple of :attr:`multiple`.
        """

    @abstractmethod
    def losses(self, network: nn.Module, views: Views) -> dict[str, Tensor]:
        """Return the named terms whose sum the training minimises."""

    def judge(self, network: nn.Module, views: Views) -> dict[str, Tensor]:
        """Return the named terms of the validation.

        The weights with the least mean of their sum over the validation pairs are the best.
        """
        return self.losses(network, views)

    def lacking(self) -> str:
        """Return a sentence on what is wrong with the weights; empty where they can be used.

        The file may not be named, not be there, not be readable or not have the checksum that was
        given.
        """
        if not self.weights:
            return (
                f"{self.title} is trained first and has no weights; run 'diffeode train', or name "
                "the file of weights by the parameter weights (a study with the key train_on does "
                "both)."
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
                f"{self.weights} is not the file of weights that was named (its SHA-256 differs); "
                "train it anew."
            )
        return ""

    def reads(self) -> dict[str, str]:
        """Return the checksum of the weights, where their file is named.

        Raises:
            InputError: there is no such file.
        """
        if not self.weights:
            return super().reads()
        if why_no_file(self.weights):
            raise InputError(self.lacking())
        return {**super().reads(), "weights": sha256(self.weights)}

    def register(self, pair: Pair, machine: Machine) -> Registration:
        """Register ``pair`` by one pass of the network over the box of both brains.

        Raises:
            InputError: there is no such device, there are no weights, they are of another
                architecture, or an image is too small or constant.
            RegistrationError: the network returned displacements that are not finite.
        """
        require_device(machine.device)
        import torch

        from diffeode.learning.pairs import Example, brain_box
        from diffeode.networks.blocks import cut_to
        from diffeode.process.threads import use_threads

        use_threads(machine.threads)
        network = self.loaded(machine.device)
        cropped = pair.cropped(brain_box(pair.fixed, pair.moving))
        grid = cropped.fixed.grid
        views = self.views(Example(cropped.fixed.data, cropped.moving.data), machine.device)
        with torch.no_grad():
            found = self.maps(network, views.fixed, views.moving)
        forward, inverse = (
            None
            if part is None
            else field_of_tensor(
                cut_to(part, grid.shape), grid, "The network", remedy="; train it anew"
            )
            for part in found
        )
        return Registration(forward, inverse)

    def loaded(self, device: str) -> nn.Module:
        """Return the network with its weights, in evaluation mode on ``device``.

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
        """Return the values of the hyper-parameters :attr:`shape`, as JSON has them."""
        values = {key: getattr(self, key) for key in self.shape}
        return {
            key: list(value) if isinstance(value, tuple) else value for key, value in values.items()
        }

    def views(self, example: Example, device: str) -> Views:
        """Return ``example`` on ``device``, with zeros behind its end up to a size that fits.

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

        def on_device(array: np.ndarray | None) -> Tensor | None:
            if array is None:
                return None
            return padded(torch.from_numpy(array.copy())[None, None].to(device), self.multiple)

        parts = (example.fixed, example.moving, example.fixed_labels, example.moving_labels)
        return Views(*map(on_device, parts))


def _words(values: dict[str, Any]) -> str:
    """Return names and values as a part of a sentence."""
    return ", ".join(f"{key} {value}" for key, value in values.items()) or "nothing to set"
