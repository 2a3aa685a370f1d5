"""Versions of the packages that prepare scans, for receipts."""

from __future__ import annotations

import platform
from importlib import metadata

_PACKAGES = ("diffeode", "antspyx", "nibabel", "nilearn", "numpy", "scipy", "torch")


def preparing_versions() -> dict[str, str]:
    """Versions of Python and of those of the packages that are installed, by name."""
    return {"python": platform.python_version(), **dict(filter(None, map(_version, _PACKAGES)))}


def _version(package: str) -> tuple[str, str] | None:
    try:
        return package, metadata.version(package)
    except metadata.PackageNotFoundError:  # a bare clone works without installation
        return None
