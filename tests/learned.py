"""Learned methods for tests: tiny settings, and weights set by hand that move every voxel alike."""

from pathlib import Path

import numpy as np
import torch

from diffeode.registration.registry import make_method, method_class, method_names
from diffeode.weights.checkpoint import About, write_checkpoint

SMALL = {
    "symnet": {"channels": 2},
    "voxelmorph": {},
    "dif-voxelmorph": {},
    "otmorph": {"transport_features": 2, "critic_features": 2, "critic_reductions": 1},
    "transmatch": {
        "embedding": 8,
        "depths": [1, 2, 1, 1],
        "heads": [1, 1, 2, 2],
        "window": [4, 4, 4],
    },
}
LEARNED = sorted(name for name in method_names() if method_class(name).trained)


def moving_all_by(name: str, displacement_vox, folder: Path):
    """Return the tiny method with weights under which the network moves every voxel by
    ``displacement_vox (3,)``.
    """
    weights = write_weights_moving_all_by(name, displacement_vox, folder)
    return make_method(name, {**SMALL[name], "weights": str(weights)})


def write_weights_moving_all_by(name: str, displacement_vox, folder: Path) -> Path:
    """Write weights of the tiny method into ``folder``; they move every voxel by ``displacement_vox
    (3,)``.
    """
    method = make_method(name, SMALL[name])
    torch.manual_seed(0)
    network = method.network()
    wanted = torch.tensor(np.asarray(displacement_vox), dtype=torch.float32)
    with torch.no_grad():
        _SET[name](network, wanted)
    path = folder / f"{name}.safetensors"
    about = About(name, 1, method.shaped_by())
    write_checkpoint(path, network.state_dict(), about)
    return path


def _constant(head: torch.nn.Conv3d, value: torch.Tensor) -> None:
    head.weight.zero_()
    head.bias.copy_(value)


def _set_symnet(network, wanted: torch.Tensor) -> None:
    """Let the moving image go three quarters of the way, and the fixed one a quarter back."""
    last = network.merge[-1][-1][0]
    _constant(last, torch.ones_like(last.bias))
    for head, velocity in zip(network.heads, (0.75 * wanted, -0.25 * wanted), strict=True):
        head.weight.zero_()
        share = velocity / 100
        head.weight[:, 0, 2, 2, 2] = share / (1 - share.abs())


_SET = {
    "symnet": _set_symnet,
    "voxelmorph": lambda network, wanted: _constant(network.head, wanted),
    "dif-voxelmorph": lambda network, wanted: _constant(network.mean, wanted / 2),
    "otmorph": lambda network, wanted: _constant(network["registration"].head, wanted),
    "transmatch": lambda network, wanted: _constant(network.head, wanted),
}
