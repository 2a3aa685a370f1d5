"""Put results into the user's folder all at once, or not at all."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path

from diffeode.errors import InputError


@contextmanager
def delivered_whole(folder: Path, ours: tuple[str, ...]) -> Iterator[Path]:
    """Yield a hidden folder, whose files replace those of ``folder`` when the block ends well.

    The hidden folder is removed in any case. Files of ``folder`` that are named in ``ours`` and
    were not made this time are removed, too; all other files there stay. Where one of the files
    cannot be replaced, those that were replaced before are put back.

    Raises:
        InputError: ``folder`` or a folder above it is a file, it cannot be written, or one of
            ``ours`` is a folder there. This is checked before the block begins, and again before
            the first file is replaced.
    """
    standing = _standing(folder)
    _require_replaceable(folder, ours)
    try:
        staging = Path(tempfile.mkdtemp(prefix=".diffeode-", dir=standing))
    except OSError as error:
        raise InputError(
            f"Cannot write to {standing}: {error.strerror}; give another folder."
        ) from None
    try:
        yield staging
        _require_replaceable(folder, ours)
        folder.mkdir(parents=True, exist_ok=True)
        _replace_all(folder, ours, staging)
    except OSError as error:
        raise InputError(
            f"Cannot write to {folder}: {error.strerror or error}; free or choose another folder."
        ) from None
    finally:
        shutil.rmtree(staging, ignore_errors=True)


def require_apart(outputs: Iterable[Path], inputs: Iterable[Path | None]) -> None:
    """Raise :class:`InputError` where one of ``outputs`` is the same file as one of ``inputs``,
    directly or through a link.
    """
    read = [path for path in inputs if path is not None and path.is_file()]
    for output in outputs:
        for path in read:
            if output.is_file() and output.samefile(path):
                raise InputError(
                    f"{path} is read and would be replaced by the result {output}; move it, or "
                    "choose another output."
                )


def require_new(outputs: Iterable[Path], overwrite: bool, permission: str = "--overwrite") -> None:
    """Raise :class:`InputError` where one of ``outputs`` exists, unless it may be replaced, or
    where its folder is a file.

    Args:
        permission: how a user says that results may be replaced.
    """
    for output in outputs:
        _standing(output.parent)
        if output.is_dir():
            raise InputError(
                f"{output} is a folder, but a result is to be written under that name; choose "
                "another output."
            )
        if _lies(output) and not overwrite:
            raise InputError(
                f"{output} exists already; give {permission} to replace it, or choose another "
                "output."
            )


def _replace_all(folder: Path, names: tuple[str, ...], staging: Path) -> None:
    before = staging / ".before"
    before.mkdir()
    old = {name for name in names if _lies(folder / name)}
    try:
        for name in names:
            if name in old:
                (folder / name).replace(before / name)
            if _lies(staging / name):
                (staging / name).replace(folder / name)
    except BaseException:
        for name in names:
            if _lies(before / name):
                (before / name).replace(folder / name)
            elif name not in old:
                (folder / name).unlink(missing_ok=True)
        raise


def _lies(file: Path) -> bool:
    return file.exists() or file.is_symlink()


def _standing(folder: Path) -> Path:
    """Return ``folder`` or, where it does not exist, the nearest folder above it that does."""
    standing = next(
        path for path in (folder, *folder.absolute().parents) if path.exists() or path.is_symlink()
    )
    if not standing.is_dir():
        raise InputError(f"{standing} is a file, not a folder; choose another output.")
    return standing


def _require_replaceable(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        if (folder / name).is_dir():
            raise InputError(
                f"{folder / name} is a folder, but a result is to be written under that name; move "
                "it, or choose another output."
            )
