"""Features of volumes by DINOv2, a vision transformer for photographs.

The transformer sees every few slices and returns features of patches. They are reduced to a few
principal components and interpolated to every voxel. Oquab et al., DINOv2: Learning robust visual
features without supervision, TMLR 2024; on scans after Song et al., DINO-Reg, MICCAI 2024.

Volumes are ``(A, R, C)``: ``A`` slices of ``R`` rows and ``C`` columns. Features are ``(slices, F,
rows, columns)`` with ``F`` channels and a row and a column for each patch.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WIDTH_OF_A_HEAD = 64
"""Number of channels of a head of attention, the same in every published DINOv2."""
_IMAGENET_MEAN, _IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
"""Mean and standard deviation of red, green and blue in ImageNet, for which DINOv2 was trained."""
_FIRST_LAYER = "encoder.layer.0.mlp.fc1.weight"
"""Name of a parameter that DINOv2 with gated layers, the largest one, does not have."""
_POSITIONS = "embeddings.position_embeddings"
_PROJECTION = "embeddings.patch_embeddings.projection.weight"


def dinov2(state: Mapping[str, Tensor]) -> nn.Module:
    """Return the network of the package ``transformers`` with the parameters ``state``.

    The size of the network and the number of its registers follow from their shapes.

    Raises:
        ValueError: ``state`` is no DINOv2 as ``transformers`` saves one, or it is the largest one,
            whose layers are gated.
    """
    architecture = _architecture(state)

    from transformers import (
        Dinov2Config,
        Dinov2Model,
        Dinov2WithRegistersConfig,
        Dinov2WithRegistersModel,
    )

    if "embeddings.register_tokens" in state:
        registers = state["embeddings.register_tokens"].shape[1]
        kind, config = (
            Dinov2WithRegistersModel,
            Dinov2WithRegistersConfig(num_register_tokens=registers, **architecture),
        )
    else:
        kind, config = Dinov2Model, Dinov2Config(**architecture)
    network, told = kind.from_pretrained(
        None, config=config, state_dict=dict(state), output_loading_info=True
    )
    if told["missing_keys"] or told["unexpected_keys"] or told["mismatched_keys"]:
        raise ValueError("some parameters are missing, unknown or of another shape")
    return network.eval()


def _architecture(state: Mapping[str, Tensor]) -> dict[str, int]:
    """Return the settings of the network in the words of ``transformers``, from the shapes of its
    parameters.

    Raises:
        ValueError: a parameter is missing.
    """
    if not {_FIRST_LAYER, _POSITIONS, _PROJECTION} <= state.keys():
        raise ValueError("it has not the parameters of a DINOv2 as transformers names them")
    width, _, patch, _ = state[_PROJECTION].shape
    places = state[_POSITIONS].shape[1] - 1
    return {
        "hidden_size": width,
        "num_attention_heads": width // _WIDTH_OF_A_HEAD,
        "num_hidden_layers": len(
            {name.split(".")[2] for name in state if name.startswith("encoder.layer.")}
        ),
        "mlp_ratio": state[_FIRST_LAYER].shape[0] // width,
        "patch_size": patch,
        "image_size": round(places**0.5) * patch,
    }


@final
@dataclass(frozen=True)
class Slicing:
    """How a volume is cut into slices and patches for the network.

    Attributes:
        every: the distance between the slices, voxels.
        patch: the width of a patch in the volume, voxels. Slices are enlarged until a patch of the
            network covers that width.
    """

    every: int
    patch: float

    def positions(self, slices: int) -> list[int]:
        """Return the indices of the slices that the network sees; the last one is among them."""
        return sorted({*range(0, slices, self.every), slices - 1})

    def patches(self, rows: int, columns: int) -> tuple[int, int]:
        """Return the number of patches along the rows and along the columns of a slice."""
        return max(1, round(rows / self.patch)), max(1, round(columns / self.patch))


@torch.no_grad()
def patch_features(
    network: nn.Module,
    volume: Tensor,
    slicing: Slicing,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Tensor:
    """Return the features of the patches of ``volume (A, R, C)``, intensities in [0, 1].

    Args:
        progress: a function of the fraction of the slices that are done.
    """
    rows, columns = slicing.patches(*volume.shape[1:])
    patch = network.config.patch_size
    mean, deviation = (
        torch.tensor(v, device=volume.device).view(3, 1, 1)
        for v in (_IMAGENET_MEAN, _IMAGENET_DEVIATION)
    )
    positions = slicing.positions(len(volume))
    found = []
    for index, position in enumerate(positions):
        enlarged = F.interpolate(
            volume[None, None, position], size=(rows * patch, columns * patch), mode="bilinear"
        )
        tokens = network(pixel_values=(enlarged - mean) / deviation).last_hidden_state[0]
        # The tokens of the class and of the registers come before those of the patches.
        found.append(tokens[-rows * columns :].T.reshape(-1, rows, columns))
        progress((index + 1) / len(positions))
    return torch.stack(found)


def shared_components(
    features: tuple[Tensor, Tensor], brains: tuple[Tensor, Tensor], count: int
) -> list[Tensor]:
    """Return the features of both images reduced to the first principal components of the brains.

    The components are those of the patches of both brains together. All are multiplied by one
    number, so that their variances over the brains add up to 1.

    Args:
        features: the features of the two images.
        brains: which patches are brain, ``(slices, rows, columns)`` bool.
        count: the number of principal components.
    Raises:
        ValueError: the brains have fewer patches than ``count``, or the features fewer channels.
    """
    inside = torch.cat(
        [f.movedim(1, -1)[b] for f, b in zip(features, brains, strict=True)]
    ).double()
    if count > min(inside.shape):
        raise ValueError(
            f"{count} components need as many patches of brain and as many features, not "
            f"{inside.shape}"
        )
    mean = inside.mean(dim=0)
    variances, axes = torch.linalg.eigh(torch.cov((inside - mean).T))  # the greatest come last
    onto = axes[:, -count:].flip(1) / variances[-count:].sum().sqrt()
    projected = (
        torch.einsum("scij,ck->skij", f.double() - mean.view(1, -1, 1, 1), onto) for f in features
    )
    return [p.float() for p in projected]


def brain_patches(brain: Tensor, slicing: Slicing) -> Tensor:
    """Return which patches are at least half brain, ``(slices, rows, columns)`` bool.

    Args:
        brain: which voxels are brain, ``(A, R, C)`` bool.
    """
    slices = brain[slicing.positions(len(brain))].float()[:, None]
    return F.interpolate(slices, size=slicing.patches(*brain.shape[1:]), mode="area")[:, 0] >= 0.5


def every_voxel(features: Tensor, size: tuple[int, int, int], slicing: Slicing) -> Tensor:
    """Return ``features`` at every voxel of a volume of ``size (A, R, C)``, ``(1, F, A, R, C)``.

    They are interpolated linearly within the slices and between them.
    """
    on_slices = F.interpolate(features, size=size[1:], mode="bilinear")
    positions = torch.tensor(slicing.positions(size[0]))
    every = torch.arange(size[0])
    before = (torch.searchsorted(positions, every, right=True) - 1).clamp(
        max=max(len(positions) - 2, 0)
    )
    after = (before + 1).clamp(max=len(positions) - 1)
    gap = (positions[after] - positions[before]).clamp(min=1)
    share = ((every - positions[before]) / gap).view(-1, 1, 1, 1).to(features.device)
    return torch.lerp(on_slices[before], on_slices[after], share).movedim(0, 1)[None]
