"""Versions of the packages that compute, for receipts."""

from __future__ import annotations

import platform
from collections.abc import Iterable
from functools import cache
from importlib import metadata

_PREPARING = ("diffeode", "antspyx", "nibabel", "nilearn", "numpy", "scipy", "torch")
_REGISTERING = (
    *("diffeode", "torch", "numba", "numpy", "scipy", "antspyx", "convexAdam", "picsl-greedy"),
    *("transformers", "unigradicon", "icon_registration", "itk"),
)


def preparing_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that prepare scans, by name."""
    return _versions(_PREPARING)


def registering_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that register pairs, by name."""
    return _versions(_REGISTERING)


def desk_versions() -> dict[str, str]:
    """Return the versions that :func:`registering_versions` returns, and that of SimpleITK, which
    aligns large images at a desk.
    """
    return _versions((*_REGISTERING, "SimpleITK"))


def _versions(packages: Iterable[str]) -> dict[str, str]:
    """Return the versions of Python and of those of ``packages`` that are installed."""
    found = ((package, _version(package)) for package in packages)
    return {
        "python": platform.python_version(),
        **{package: version for package, version in found if version is not None},
    }


@cache
def _version(package: str) -> str | None:
    """Return the version of a package, or None where it is not installed.

    A process asks for it once: the file that tells it takes some milliseconds to read.
    """
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:  # such as ours, which works without installation
        return None
