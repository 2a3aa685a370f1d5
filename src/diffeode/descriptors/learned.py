"""The learned descriptor: self-similarity in the features of a network (arXiv 2512.22689, III-B2).

The network is trained by contrastive learning (:mod:`diffeode.learning.descriptor.lesson`), so that
the descriptor depends little on the contrast of the image. A registration does not change it.
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
from diffeode.geometry.shapes import ChannelsTensor
from diffeode.names import nearest
from diffeode.weights.checkpoint import read_checkpoint

ARCHITECTURE, VERSION = "diffeode-descriptor", 1
"""What a file of weights must say that it was written for."""
DEFAULT_WEIGHTS = "synthetic"
"""The name of the weights in the package, see ``docs/model-card.md``."""
_KEPT_VOXELS = 2**18
"""Number of voxels up to which everything is kept for the gradient; 0.7 GB at that number."""
_WEIGHTS = Path(__file__).with_name("weights")
_DILATIONS = (1, 2)
"""Distances of the neighbours that are compared, voxels.

The text of arXiv 2512.22689 has two dilation factors (section III-B2) and descriptors of length 24
(section III-D3), and has lost the factors themselves.
"""


@final
class LearnedDescriptor(nn.Module):
    """A module from an image ``(N, 1, *size)`` in [0, 1] to tokens ``(N, 24, *size)`` of length 1.

    For each of two dilations the 12 pairs of neighbours are compared that
    :func:`diffeode.descriptors.mind.mind_ssc` compares. The distance of two neighbours is the
    squared distance of the network's features at two voxels, where MIND-SSC compares patches of
    intensities. An image of two axes is treated as a volume whose values are the same all along the
    third axis.
    """

    def __init__(self, network: FeatureNetwork) -> None:
        super().__init__()
        self.network = network

    def forward(self, image: Tensor) -> Tensor:
        """Return the tokens of ``image``.

        Outside training only the image and the features of a large image are kept for the gradient.
        The rest is computed again, once for the network and once for the tokens. That takes a third
        more time and a fraction of the memory; the results are the same.

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
        if image.requires_grad and not self.training and image.numel() > _KEPT_VOXELS:
            features = checkpoint(self.network, image, use_reentrant=False)
            return checkpoint(tokens, features, use_reentrant=False)
        return tokens(self.network(image))


def tokens(features: ChannelsTensor) -> ChannelsTensor:
    """Return the self-similarity of ``features (N, F, X, Y, Z)``, ``(N, 24, X, Y, Z)``.

    The token at every voxel is scaled to length 1.
    """
    scales = [self_similarity(patch_distances(features, 0, dilation)) for dilation in _DILATIONS]
    return F.normalize(torch.cat(scales, dim=1), dim=1)


def make(weights: str) -> LearnedDescriptor:
    """Return the descriptor with these weights, frozen and on the CPU.

    Args:
        weights: the name of weights in the package, or the path of a file; empty for
            :data:`DEFAULT_WEIGHTS`.
    Raises:
        InputError: there are no such weights, or they are of another architecture or version.
        DamagedFileError: the file does not have the checksum that it states.
    """
    kept = read_checkpoint(weights_file(weights), ARCHITECTURE, VERSION)
    descriptor = LearnedDescriptor(FeatureNetwork(**kept.about.configuration["network"]))
    descriptor.load_state_dict(kept.tensors)
    return descriptor.eval().requires_grad_(False)


def weights_file(weights: str) -> Path:
    """Return the path of the file of these weights.

    Args:
        weights: as for :func:`make`.
    Raises:
        InputError: there is no such file.
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
