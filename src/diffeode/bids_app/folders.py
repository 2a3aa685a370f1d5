"""The two folders that a user names: the BIDS folder, which is only read, and that of all results.

What is wrong with them is said before anything is written.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

from diffeode.datasets.bids import DESCRIPTION, read_description
from diffeode.errors import InputError
from diffeode.files.presence import lies_at
from diffeode.study.files import require_nameable, require_writable

PROGRAM = "diffeode"
_DERIVATIVES = "derivatives"


def described_source(source: Path) -> dict[str, Any]:
    """Return the content of the ``dataset_description.json`` of a BIDS folder; empty where there is
    none.

    Raises:
        InputError: there is no such folder, it holds no folder of a person, or its description is
            unusable.
    """
    if not source.is_dir():
        what = "is a file" if source.exists() else "does not exist"
        raise InputError(f"The BIDS folder {source} {what}; name the folder that holds sub-*.")
    require_nameable([source])
    try:
        persons = [entry for entry in source.glob("sub-*") if entry.is_dir()]
    except OSError as error:
        raise InputError(
            f"The BIDS folder {source} cannot be read ({error.strerror}); see who may read it."
        ) from None
    if not persons:
        hint = "" if lies_at(source / DESCRIPTION) else f" and no {DESCRIPTION}"
        raise InputError(
            f"{source} is no BIDS folder: it has no folder sub-*{hint}; name the folder that holds "
            "sub-*/anat (bids-specification.readthedocs.io)."
        )
    return read_description(source)


def require_out(source: Path, out: Path) -> None:
    """Raise :class:`InputError` where ``out`` cannot take the results of a study of ``source``.

    Results may lie in a folder of ``source/derivatives``, and nowhere else in ``source``. A folder
    that is not empty must hold results of the same BIDS folder.
    """
    require_nameable([out])
    here, there = (Path(os.path.realpath(folder)) for folder in (source, out))
    if there.is_relative_to(here):
        parts = there.relative_to(here).parts
        if len(parts) < 2 or parts[0] != _DERIVATIVES:
            raise InputError(
                f"The folder of the results, {out}, lies in the raw data {source}; name a folder "
                f"elsewhere, or {source / _DERIVATIVES / PROGRAM}."
            )
    require_writable(out)
    if out.is_dir() and any(out.iterdir()):
        _require_ours(source, out)


def link_to_source(source: Path, out: Path) -> str:
    """Return how the description of ``out`` names ``source``: by the way from ``out`` where it lies
    in ``source``, so that both may be moved together, and by an address otherwise.
    """
    here, there = (Path(os.path.realpath(folder)) for folder in (source, out))
    if there.is_relative_to(here):
        return os.path.relpath(here, there)
    return here.as_uri()


def _require_ours(source: Path, out: Path) -> None:
    path = out / DESCRIPTION
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        makers = [maker["Name"] for maker in content["GeneratedBy"]]
        linked = content["SourceDatasets"][0]["URL"]
    except (OSError, ValueError, LookupError, TypeError, RecursionError):
        makers, linked = [], None
    if PROGRAM not in makers:
        raise InputError(
            f"The folder {out} is not empty and holds no results of diffeode study; name an empty "
            "folder or one that does not exist yet."
        )
    if linked != link_to_source(source, out):
        raise InputError(
            f"The folder {out} holds the results of another BIDS folder ({linked}); name another "
            "folder, so that the two do not mix."
        )
