"""The catalogue of trained weights of other people's networks, and where their files lie.

Every entry is a YAML file (``config/weights/<name>.yaml``), which tells the checksum by which the
right file is known. The weights themselves are never part of this package: they are looked for as
``<folder>/<name>/<file>`` in the folders of :func:`weights_folders`.
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
from diffeode.files.presence import require_plain_name, without_hidden
from diffeode.names import nearest


@final
@dataclass(frozen=True)
class Weights:
    """A file of trained weights.

    Attributes:
        name: the name of the weights, and of the folder that their file lies in.
        title: the name of the network.
        purpose: what the network does.
        file: the file's name.
        bytes: the file's size; None where we could not see the file ourselves.
        sha256: the hexadecimal checksum that the file must have; None where we could not see the
            file ourselves. Then any file of that name is taken, and results that are made with it
            record its checksum.
        urls: the addresses that it can be downloaded from, in order of preference.
        licence: the terms under which it comes.
        citation: the work to cite when it is used.
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
    """Return the names of all weights of the catalogue."""
    return tuple(sorted(path.stem for path in without_hidden(_catalogue().glob("*.yaml"))))


@cache
def load_weights(name: str) -> Weights:
    """Return the catalogue's entry of the weights ``name``.

    Raises:
        InputError: there are no such weights, or the entry is no YAML, lacks a key, or has an
            unknown key or a value of the wrong kind.
    """
    require_plain_name(name, "file of weights")
    path = _catalogue() / f"{name}.yaml"
    if not path.is_file():
        raise InputError(f"There are no weights {name!r}{nearest(name, weights_names())}.")
    content = read_mapping(path)
    require_keys(content, _KEYS, str(path))
    return Weights(name=name, **{**content, "urls": tuple(content["urls"])})


def weights_folders() -> tuple[Path, ...]:
    """Return the folders in which weights are looked for, in this order.

    They are the folders of ``$DIFFEODE_WEIGHTS`` (several are separated as in ``$PATH``),
    ``weights`` in ``$DIFFEODE_DATA`` (by default ``../shared/data``), and the user's cache, to
    which :func:`diffeode.weights.fetch.obtain` downloads.
    """
    given = [
        Path(folder).expanduser()
        for folder in os.environ.get("DIFFEODE_WEIGHTS", "").split(os.pathsep)
        if folder
    ]
    data = Path(os.environ.get("DIFFEODE_DATA") or Path("..", "shared", "data"))
    return (*given, data / "weights", cache_folder())


def present(name: str) -> Path | None:
    """Return the first file that has the name of the weights ``name``, or None.

    Its content is not checked.
    """
    weights = load_weights(name)
    candidates = (folder / name / weights.file for folder in weights_folders())
    return next((path for path in candidates if path.is_file()), None)


def find_weights(name: str) -> Path:
    """Return the file of the weights ``name`` after its checksum was verified.

    A process verifies each file once.

    Raises:
        InputError: there are no such weights, their file is not here, or it has another content.
    """
    path = present(name)
    if path is None:
        raise InputError(_absent(load_weights(name)))
    _verify(path.resolve(), load_weights(name))
    return path


def checksums(names: Iterable[str]) -> dict[str, str]:
    """Return the SHA-256 of the files of the weights ``names``, by name.

    They are part of the identity of results that are made with these weights.

    Raises:
        InputError: as :func:`find_weights`.
    """
    return {name: _checksum(find_weights(name).resolve()) for name in names}


def _absent(weights: Weights) -> str:
    return f"The weights {weights.name} ({weights.purpose}) are not here; {how_to_get(weights)}."


def how_to_get(weights: Weights) -> str:
    """Return what a user does to get ``weights``, as the end of a sentence."""
    place = Path(weights.name, weights.file)
    return (
        f"run 'diffeode weights get {weights.name}', or download {weights.urls[0]} to "
        f"{cache_folder() / place} or to {place} in a folder named by DIFFEODE_WEIGHTS"
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
    """Return the folder to which :func:`diffeode.weights.fetch.obtain` downloads."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "diffeode" / "weights"


@cache
def _catalogue() -> Path:
    """Return the catalogue's folder: within an installed package, or the repository's
    ``config/weights``.
    """
    package = Path(__file__).resolve().parents[1]
    installed = package / "_weights"
    return installed if installed.is_dir() else package.parents[1] / "config" / "weights"
