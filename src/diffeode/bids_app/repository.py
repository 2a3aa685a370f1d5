"""Where the workflow lies: in the clone that is installed, or in the installed package."""

from __future__ import annotations

from pathlib import Path

from diffeode.errors import InputError
from diffeode.files.presence import without_hidden
from diffeode.names import nearest

_ON_ONE_COMPUTER = ("default", "gpu")
"""Profiles that take a number of processors; those of clusters say themselves what a job asks
for.
"""


def find_repository() -> Path:
    """Return the folder with ``Snakefile``, ``workflow`` and ``config``.

    A wheel holds a copy of it (``pyproject.toml``); an editable installation leads to the clone.

    Raises:
        InputError: neither is there.
    """
    package = Path(__file__).resolve().parents[1]
    for folder in (package / "_workflow", package.parents[1]):
        if (folder / "Snakefile").is_file() and (folder / "workflow" / "rules").is_dir():
            return folder
    raise InputError(
        "This installation of diffeode holds no workflow; install it from a wheel or a clone of "
        "the repository (pip install .)."
    )


def checkout_around(folder: Path) -> Path | None:
    """Return ``folder`` or the nearest folder above it that is a checkout of the repository; None
    where there is none.
    """
    around = (folder, *folder.parents)
    return next((place for place in around if (place / "config" / "datasets").is_dir()), None)


def profile_folder(repository: Path, name: str) -> Path:
    """Return the folder of a profile of Snakemake, by its name in ``workflow/profiles`` or its
    path.

    Raises:
        InputError: there is none.
    """
    profiles = repository / "workflow" / "profiles"
    for folder in (profiles / name, Path(name).absolute()):
        if (folder / "config.yaml").is_file():
            return folder
    known = [file.parent.name for file in without_hidden(profiles.glob("*/config.yaml"))]
    raise InputError(
        f"There is no profile {name!r} (a folder with config.yaml){nearest(name, known)}."
    )


def takes_processors(profile: str) -> bool:
    """Return whether a number of processors is given to a profile."""
    return profile in _ON_ONE_COMPUTER
