"""Features of DINOv2 for volumes: a vision transformer's patches on every few slices, few channels,
every voxel.

Oquab et al., DINOv2: Learning robust visual features without supervision, TMLR 2024; on scans as
Song et al., DINO-Reg, MICCAI 2024. Volumes are ``(A, R, C)``: slices, and rows and columns of each.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import final

import torch
import torch.nn.functional as F
from torch import Tensor, nn

_WIDTH_OF_A_HEAD = 64
"""In every published DINOv2."""
_IMAGENET_MEAN, _IMAGENET_DEVIATION = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)
_FIRST_LAYER = "encoder.layer.0.mlp.fc1.weight"


def dinov2(state: Mapping[str, Tensor]) -> nn.Module:
    """The network of ``transformers`` whose parameters are ``state``; their shapes tell its size
    and its registers.

    Raises:
        ValueError: ``state`` is no DINOv2 as ``transformers`` saves one (the largest, with gated
            layers, included).
    """
    from transformers import (
        Dinov2Config,
        Dinov2Model,
        Dinov2WithRegistersConfig,
        Dinov2WithRegistersModel,
    )

    architecture = _architecture(state)
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
    if _FIRST_LAYER not in state or "embeddings.position_embeddings" not in state:
        raise ValueError("it has not the parameters of a DINOv2 as transformers names them")
    width, _, patch, _ = state["embeddings.patch_embeddings.projection.weight"].shape
    places = state["embeddings.position_embeddings"].shape[1] - 1
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
    """How a volume is shown to the network.

    Attributes:
        every: distance between the slices, voxels.
        patch: width of a patch, voxels: slices are enlarged until the network's patches are so
            wide.
    """

    every: int
    patch: float

    def positions(self, slices: int) -> list[int]:
        """The slices that are looked at, the last one always among them."""
        return sorted({*range(0, slices, self.every), slices - 1})

    def patches(self, rows: int, columns: int) -> tuple[int, int]:
        """Patches along rows and columns."""
        return max(1, round(rows / self.patch)), max(1, round(columns / self.patch))


@torch.no_grad()
def patch_features(
    network: nn.Module,
    volume: Tensor,
    slicing: Slicing,
    progress: Callable[[float], None] = lambda fraction: None,
) -> Tensor:
    """Features ``(slices, C, rows, columns)`` of the patches of ``volume (A, R, C)``, intensities
    in [0, 1].
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
        tokens = network(pixel_values=(enlarged - mean) / deviation).last_hidden_state[
            0, -rows * columns :
        ]
        found.append(tokens.T.reshape(-1, rows, columns))
        progress((index + 1) / len(positions))
    return torch.stack(found)


def shared_components(
    features: tuple[Tensor, Tensor], brains: tuple[Tensor, Tensor], count: int
) -> list[Tensor]:
    """Both images' features ``(slices, C, rows, columns)`` on the first ``count`` principal
    components of their brains.

    Scaled alike so that the variances of all components together are 1 over the brains.

    Args:
        brains: patches that are brain, ``(slices, rows, columns)`` bool.
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
    variances, axes = torch.linalg.eigh(torch.cov((inside - mean).T))
    onto = axes[:, -count:].flip(1) / variances[-count:].sum().sqrt()
    projected = (
        torch.einsum("scij,ck->skij", f.double() - mean.view(1, -1, 1, 1), onto) for f in features
    )
    return [p.float() for p in projected]


def brain_patches(brain: Tensor, slicing: Slicing) -> Tensor:
    """Patches that are at least half brain, ``(slices, rows, columns)`` bool, of ``brain (A, R,
    C)`` bool.
    """
    slices = brain[slicing.positions(len(brain))].float()[:, None]
    return F.interpolate(slices, size=slicing.patches(*brain.shape[1:]), mode="area")[:, 0] >= 0.5


def every_voxel(features: Tensor, size: tuple[int, int, int], slicing: Slicing) -> Tensor:
    """``features (slices, C, rows, columns)`` as ``(1, C, A, R, C)``, linear in the slices and
    between them.
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
