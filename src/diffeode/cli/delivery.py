"""Results that arrive in the user's folder all at once, or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from diffeode.errors import InputError


@contextmanager
def delivered_whole(folder: Path, ours: tuple[str, ...]) -> Iterator[Path]:
    """A hidden folder whose files replace those of ``folder`` when the block ends well, and that vanishes always.

    Files named in ``ours`` that were not made this time are removed from ``folder``; all others there are left alone.

    Raises:
        InputError: ``folder`` is a file or cannot be written.
    """
    if folder.exists() and not folder.is_dir():
        raise InputError(f"{folder} is a file; give a folder with -o.")
    standing = next(parent for parent in (folder, *folder.absolute().parents) if parent.is_dir())
    try:
        staging = Path(tempfile.mkdtemp(prefix=".diffeode-", dir=standing))
    except OSError as error:
        raise InputError(f"Cannot write to {standing}: {error.strerror}; give another folder with -o.") from None
    try:
        yield staging
        folder.mkdir(parents=True, exist_ok=True)
        for name in ours:
            if (staging / name).exists():
                (staging / name).replace(folder / name)
            else:
                (folder / name).unlink(missing_ok=True)
    except OSError as error:
        raise InputError(
            f"Cannot write to {folder}: {error.strerror or error}; free or choose another folder."
        ) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)
