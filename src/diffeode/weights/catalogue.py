"""Trained weights of other people's networks: what they are, where they lie, and that they are the
right ones.

One YAML file each (``config/weights/<name>.yaml``). The weights themselves are never part of this
package: they are looked for as ``<folder>/<name>/<file>`` in the folders of
:func:`weights_folders`.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import final

from diffeode.errors import InputError
from diffeode.files.checked_yaml import (
    WHOLE,
    WORD,
    WORDS,
    or_null,
    read_mapping,
    require_keys,
    required,
)
from diffeode.files.io import sha256
from diffeode.files.presence import without_hidden
from diffeode.names import nearest


@final
@dataclass(frozen=True)
class Weights:
    """A file of trained weights.

    Attributes:
        purpose: what the network does.
        file: the file's name, in a folder that is called as the weights are.
        bytes: the file's size; None where we could not see the file ourselves.
        sha256: the hexadecimal checksum it must have; None where we could not see the file
            ourselves: then any file of that name is taken, and its checksum is recorded with what
                was made with it.
        urls: where it can be downloaded, the first one first.
        licence: the terms it comes under.
        citation: what to cite when it is used.
    """

    name: str
    title: str
    purpose: str
    file: str
    bytes: int | None
    sha256: str | None
    urls: tuple[str, ...]
    licence: str
    citation: str


_KEYS = {
    **dict.fromkeys(("title", "purpose", "file", "licence", "citation"), required(WORD)),
    "bytes": required(or_null(WHOLE)),
    "sha256": required(or_null(WORD)),
    "urls": required(WORDS),
}
"""The keys of an entry, and what each holds."""


def weights_names() -> tuple[str, ...]:
    """All weights of the catalogue."""
    return tuple(sorted(path.stem for path in without_hidden(_catalogue().glob("*.yaml"))))


@cache
def load_weights(name: str) -> Weights:
    """What the catalogue says of ``name``.

    Raises:
        InputError: there are no such weights, or the entry is no YAML, lacks a key, or has an
            unknown key or a value of the wrong kind.
    """
    path = _catalogue() / f"{name}.yaml"
    if not path.is_file():
        raise InputError(f"There are no weights {name!r}{nearest(name, weights_names())}.")
    content = read_mapping(path)
    require_keys(content, _KEYS, str(path))
    return Weights(name=name, **{**content, "urls": tuple(content["urls"])})


def weights_folders() -> tuple[Path, ...]:
    """Where weights are looked for, the first one first.

    The folders of ``$DIFFEODE_WEIGHTS`` (several are separated as in ``$PATH``), ``weights`` in
    ``$DIFFEODE_DATA`` (by default ``../shared/data``), and the user's cache, where
    :func:`diffeode.weights.fetch.obtain` puts them.
    """
    given = [
        Path(folder)
        for folder in os.environ.get("DIFFEODE_WEIGHTS", "").split(os.pathsep)
        if folder
    ]
    data = Path(os.environ.get("DIFFEODE_DATA") or Path("..", "shared", "data"))
    return (*given, data / "weights", cache_folder())


def present(name: str) -> Path | None:
    """The first file called as the weights ``name`` are, right or wrong, or None."""
    weights = load_weights(name)
    candidates = (folder / name / weights.file for folder in weights_folders())
    return next((path for path in candidates if path.is_file()), None)


def find(name: str) -> Path:
    """The file of the weights ``name``, its checksum verified (once per process).

    Raises:
        InputError: no such weights, no such file here, or a file with another content.
    """
    path = present(name)
    if path is None:
        raise InputError(_absent(load_weights(name)))
    _verify(path.resolve(), load_weights(name))
    return path


def checksums(names: Iterable[str]) -> dict[str, str]:
    """SHA-256 of the files that :func:`find` gives, by name: part of the identity of what is made
    with them.

    Raises:
        InputError: as :func:`find`.
    """
    return {name: _checksum(find(name).resolve()) for name in names}


def _absent(weights: Weights) -> str:
    place = Path(weights.name, weights.file)
    return (
        f"The weights {weights.name} ({weights.purpose}) are not here; run 'diffeode weights get "
        f"{weights.name}', or download {weights.urls[0]} to {cache_folder() / place} or to "
        f"{place} in a folder named by DIFFEODE_WEIGHTS."
    )


@cache
def _checksum(path: Path) -> str:
    return sha256(path)


@cache
def _verify(path: Path, weights: Weights) -> None:
    if weights.sha256 is None:
        return
    found = _checksum(path)
    if found != weights.sha256:
        raise InputError(
            f"{path} is not the file of the weights {weights.name}: its SHA-256 is {found}, "
            f"expected {weights.sha256}; remove it and run 'diffeode weights get {weights.name}'."
        )


def cache_folder() -> Path:
    """Where :func:`diffeode.weights.fetch.obtain` puts what it downloads."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diffeode" / "weights"


@cache
def _catalogue() -> Path:
    """Inside an installed package, or the repository's ``config/weights``."""
    package = Path(__file__).resolve().parents[1]
    installed = package / "_weights"
    return installed if installed.is_dir() else package.parents[1] / "config" / "weights"
