"""MultiGradICON: a network trained on many contrasts and organs, and refined on each pair."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from diffeode.errors import InputError, first_line
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import DisplacementField
from diffeode.registration.base import Machine, Method, Needs, Pair, Registration, require_device
from diffeode.registration.displacements import field_of_itk
from diffeode.registration.knobs import anything, between, knob, one_of
from diffeode.weights.catalogue import find_weights

if TYPE_CHECKING:
    from pathlib import Path

    from torch import nn

_LEAST_SIZE = 72
"""The least width of the cube. On a smaller one the coarsest network has nothing left to halve."""


@final
@dataclass(frozen=True)
class MultiGradIcon(Method):
    """The authors' package ``unigradicon`` with its published weights.

    As in the paper, the network is refined by 100 iterations on the pair. The paper's table calls
    the method "MultiGradICON (MIND)", so MIND-SSC is the similarity in these iterations; the
    package's default is local correlation. The package resizes the images to the network's cube,
    and the map back to the images.
    """

    title: ClassVar[str] = "MultiGradICON"
    needs: ClassVar[Needs] = Needs(
        packages=("unigradicon", "icon_registration", "itk", "torch"),
        environment="baselines",
        gpu=True,
    )
    citation: ClassVar[str] = (
        "Demir, Tian, Greer, Kwitt, Vialard, San José Estépar, Bouix, Rushmore, Ebrahim, "
        "Niethammer. MultiGradICON: A Foundation Model for Multimodal Medical Image "
        "Registration. WBIR, 2024."
    )
    licence: ClassVar[str] = (
        "Apache-2.0 (unigradicon, icon_registration); weights: with the package, no terms of their "
        "own"
    )

    weights_name: str = knob(
        "multigradicon", anything(), "Name of the network's weights in `config/weights`"
    )
    io_iterations: int = knob(
        100,
        between(0, 100_000),
        "Number of iterations of Adam on the pair (instance optimisation); 0 does not refine the "
        "network",
    )
    io_sim: str = knob(
        "mind",
        one_of("mind", "lncc", "lncc2"),
        "Similarity in these iterations: `mind` is MIND-SSC, `lncc` the local correlation, `lncc2` "
        "its square",
    )
    io_lr: float = knob(2e-5, between(1e-12, 1), "Learning rate of these iterations")
    size: int = knob(
        175,
        between(_LEAST_SIZE, 512),
        "Width of the cube on which the network works; it was trained with 175",
        "voxels",
    )

    @property
    def pretrained(self) -> tuple[str, ...]:
        """The name of the network's weights."""
        return (self.weights_name,)

    def register(self, pair: Pair, machine: Machine) -> Registration:
        """Register ``pair``; the trace is the loss in each iteration.

        There is no inverse: the network's map back is trained to be the inverse, and is only
        approximately.

        Raises:
            InputError: there is no such device, the grid is sheared, or the weights are not here or
                belong to another network.
        """
        require_device(machine.device)
        with _package_on(machine) as (itk, register_pair):
            fixed, moving = (_to_itk(itk, image) for image in (pair.fixed, pair.moving))
            network = self._network(find_weights(self.weights_name))
            trace = self._watched(network, machine)
            prepared = [_preprocessed(image) for image in (moving, fixed)]
            steps = self.io_iterations or None
            found, _ = register_pair(
                network, *prepared, finetune_steps=steps, learning_rate=self.io_lr
            )
            return Registration(
                _dense(itk, found, fixed, pair.fixed.grid), trace=tuple(trace[: self.io_iterations])
            )

    def _network(self, path: Path) -> nn.Module:
        import torch
        import unigradicon

        similarity = unigradicon.make_sim(self.io_sim)
        network = unigradicon.make_network(
            [1, 1, *[self.size] * 3], include_last_step=True, loss_fn=similarity
        )
        try:
            network.regis_net.load_state_dict(
                torch.load(path, map_location="cpu", weights_only=True)
            )
        except Exception as error:  # torch raises errors of many classes for other files
            raise InputError(
                f"{path} holds no weights of this network ({first_line(error)}); download it again."
            ) from None
        return network.eval()

    def _watched(self, network: nn.Module, machine: Machine) -> list[dict[str, float]]:
        """Return a list to which every forward pass adds its losses; progress is reported, too."""
        trace: list[dict[str, float]] = []

        def note(module: nn.Module, given: tuple, loss: Any) -> None:
            terms = {
                "energy": "all_loss",
                "similarity": "similarity_loss",
                "inverse_consistency": "inverse_consistency_loss",
            }
            trace.append(
                {name: float(getattr(loss, term).detach()) for name, term in terms.items()}
            )
            done = min(len(trace) / (self.io_iterations + 1), 1.0)
            machine.progress(
                done, f"iteration {min(len(trace), self.io_iterations)} of {self.io_iterations}"
            )

        network.register_forward_hook(note)
        return trace


@contextmanager
def _package_on(machine: Machine) -> Iterator[tuple]:
    """Yield ``itk`` and the package's ``register_pair``, set to the machine's device and seed.

    Within this context torch computes on the machine's threads, and the package prints nothing. The
    package chooses a device when it is imported; afterwards that choice and torch's threads and
    generator are as they were before.
    """
    import itk
    import torch
    from icon_registration import config
    from icon_registration.itk_wrapper import register_pair

    from diffeode.process.threads import on_threads

    before = config.device
    config.device = torch.device(machine.device)
    try:
        with on_threads(machine.threads), torch.random.fork_rng(), redirect_stdout(io.StringIO()):
            torch.manual_seed(machine.seed)
            yield itk, register_pair
    finally:
        config.device = before


def _to_itk(itk: Any, image: Image) -> Any:
    """Return ``image`` as ITK has it: in LPS mm, with the array axes reversed.

    Raises:
        InputError: the grid is sheared.
    """
    frame = image.grid.itk_frame("MultiGradICON")
    made = itk.image_from_array(np.ascontiguousarray(image.data.transpose(2, 1, 0)))
    made.SetOrigin(frame.origin.tolist())
    made.SetSpacing(frame.spacing.tolist())
    made.SetDirection(itk.matrix_from_array(frame.direction))
    return made


def _preprocessed(image: Any) -> Any:
    from unigradicon import preprocess

    return preprocess(image, "mri")


def _dense(itk: Any, found: Any, fixed: Any, grid: Grid) -> DisplacementField:
    """Return the package's chain of maps, in LPS mm, as displacements in RAS mm on ``grid``.

    Args:
        fixed: the fixed image as ITK has it, on the same grid.
    """
    field = itk.transform_to_displacement_field_filter(
        found, reference_image=fixed, use_reference_image=True
    )
    return field_of_itk(itk.array_from_image(field), grid, MultiGradIcon.title)
