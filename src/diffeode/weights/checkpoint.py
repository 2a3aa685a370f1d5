"""Checkpoints: one safetensors file holds tensors and where they come from. No code in it is
run.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from diffeode.errors import DamagedFileError, InputError
from diffeode.files.io import written_whole
from diffeode.files.presence import lies_at, require_file

_KEY = "diffeode"
"""Name of our entry among the metadata of a safetensors file."""


@final
@dataclass(frozen=True)
class About:
    """Where the tensors of a checkpoint come from.

    Attributes:
        architecture: name of the network that the tensors belong to.
        version: version of that network's code; it is raised when old tensors no longer fit it.
        configuration: settings of the network and of its training, as JSON values.
        data: SHA-256 of every file that was trained on, by name.
        code: identity of the code of the training (:func:`diffeode.provenance.source.code_hash`).
        step: number of training steps.
        metrics: results of the last validation.
    """

    architecture: str
    version: int
    configuration: dict[str, Any] = field(default_factory=dict)
    data: dict[str, str] = field(default_factory=dict)
    code: str = ""
    step: int = 0
    metrics: dict[str, float] = field(default_factory=dict)


@final
@dataclass(frozen=True, eq=False)
class Checkpoint:
    """The content of a file: the tensors by name, on the CPU, and where they come from."""

    tensors: dict[str, Tensor]
    about: About


def write_checkpoint(path: Path | str, tensors: Mapping[str, Tensor], about: About) -> None:
    """Write ``tensors`` and ``about`` whole, with a checksum of the tensors.

    Raises:
        InputError: the file cannot be written.
    """
    kept = {name: tensor.detach().cpu().clone().contiguous() for name, tensor in tensors.items()}
    content = {**dataclasses.asdict(about), "tensors_sha256": tensors_sha256(kept)}
    with written_whole(path) as temporary:
        save_file(kept, temporary, {_KEY: json.dumps(content, sort_keys=True)})


def read_checkpoint(path: Path | str, architecture: str, version: int) -> Checkpoint:
    """Return the checkpoint at ``path`` after it was checked.

    Raises:
        InputError: there is no such file, it is no checkpoint of diffeode, or it belongs to another
            architecture or version.
        DamagedFileError: the tensors are not those that were written.
    """
    tensors, metadata = _read_safely(Path(path))
    try:
        content = json.loads(metadata[_KEY])
        checksum = content.pop("tensors_sha256")
        about = About(**content)
    except (KeyError, ValueError, TypeError, AttributeError, RecursionError):
        raise InputError(
            f"{path} does not say what its tensors are; give a checkpoint written by diffeode."
        ) from None
    if (about.architecture, about.version) != (architecture, version):
        raise InputError(
            f"{path} holds weights of {about.architecture} version {about.version}, not of "
            f"{architecture} version {version}; give weights of that architecture or train them "
            "anew."
        )
    if tensors_sha256(tensors) != checksum:
        raise DamagedFileError(
            f"The tensors in {path} do not fit their checksum; copy or train them anew."
        )
    return Checkpoint(tensors, about)


def tensors_sha256(tensors: Mapping[str, Tensor]) -> str:
    """Return the hexadecimal SHA-256 over names, shapes, types and values, in the order of the
    names.
    """
    digest = hashlib.sha256()
    for name in sorted(tensors):
        tensor = tensors[name]
        digest.update(f"{name} {tuple(tensor.shape)} {tensor.dtype}\n".encode())
        digest.update(tensor.contiguous().reshape(-1).view(torch.uint8).numpy().tobytes())
    return digest.hexdigest()


def _read_safely(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    if not lies_at(path):
        raise InputError(f"There are no weights at {path}.")
    require_file(path, "file of weights")
    try:
        with safe_open(path, framework="pt") as file:
            return {name: file.get_tensor(name) for name in file.keys()}, file.metadata() or {}  # noqa: SIM118
    except (SafetensorError, OSError):
        raise InputError(
            f"{path} is no whole safetensors file; pickled weights (.pt, .pth) are not read."
        ) from None
