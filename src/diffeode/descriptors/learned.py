"""The learned descriptor: self-similarity in the features of a network trained by contrast; blind
to contrast.

arXiv 2512.22689, section III-B2. The network is trained by
:mod:`diffeode.learning.descriptor.lesson` and frozen.
"""

from __future__ import annotations

from pathlib import Path
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from diffeode.descriptors.mind import patch_distances, self_similarity
from diffeode.descriptors.network import FeatureNetwork
from diffeode.errors import InputError
from diffeode.files.presence import lies_at, require_file
from diffeode.names import nearest
from diffeode.weights.checkpoint import read_checkpoint

ARCHITECTURE, VERSION = "diffeode-descriptor", 1
DEFAULT_WEIGHTS = "synthetic"
"""The weights in the package; ``docs/model-card.md``."""
_WEIGHTS = Path(__file__).with_name("weights")
_DILATIONS = (1, 2)


@final
class LearnedDescriptor(nn.Module):
    """An image ``(N, 1, *size)`` of two or three axes, in [0, 1], to tokens ``(N, 24, *size)`` of
    length 1.

    A plane is seen as a volume that is the same all along its third axis. For two dilations, the 12
    pairs of :func:`diffeode.descriptors.mind.mind_ssc` with the squared distance of the network's
    features at single voxels in place of patches' intensities.
    """

    def __init__(self, network: FeatureNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Where only the image asks for a gradient, what the gradient needs is made again instead
        of kept.

        Raises:
            InputError: the image has neither two nor three axes.
        """
        if image.dim() == 4:
            return self.forward(image[..., None])[..., 0]
        if image.dim() != 5:
            raise InputError(
                "The learned descriptor sees planes and volumes (N, 1, *size), not an image "
                f"{tuple(image.shape)}."
            )
        if image.requires_grad and not self.training:
            features = checkpoint(self.network, image, use_reentrant=False)
            return checkpoint(tokens, features, use_reentrant=False)
        return tokens(self.network(image))


def tokens(features: Tensor) -> Tensor:
    """Self-similarity of ``features (N, F, X, Y, Z)`` as ``(N, 24, X, Y, Z)`` of length 1 at every
    voxel.
    """
    scales = [self_similarity(patch_distances(features, 0, dilation)) for dilation in _DILATIONS]
    return F.normalize(torch.cat(scales, dim=1), dim=1)


def make(weights: str) -> LearnedDescriptor:
    """The descriptor of ``weights``: a name of weights in the package, or the path of a file;
    frozen, on the CPU.

    Raises:
        InputError: no such weights, or of another architecture or version.
        DamagedFileError: their checksum does not fit.
    """
    kept = read_checkpoint(weights_file(weights), ARCHITECTURE, VERSION)
    descriptor = LearnedDescriptor(FeatureNetwork(**kept.about.configuration["network"]))
    descriptor.load_state_dict(kept.tensors)
    return descriptor.eval().requires_grad_(False)


def weights_file(weights: str) -> Path:
    """The file behind a name or a path; none: :data:`DEFAULT_WEIGHTS`.

    Raises:
        InputError: there is none.
    """
    weights = weights or DEFAULT_WEIGHTS
    path = (
        Path(weights) if weights.endswith(".safetensors") else _WEIGHTS / f"{weights}.safetensors"
    )
    if lies_at(path):
        require_file(path, "file of weights")
    else:
        known = sorted(file.stem for file in _WEIGHTS.glob("*.safetensors"))
        raise InputError(
            f"There are no descriptor weights {weights!r}{nearest(weights, known)}; or give a "
            ".safetensors."
        )
    return path
