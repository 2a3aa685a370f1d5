"""Download IXI: its tar files, which are checked, unpacked and listed in a receipt, and its table
of demographics.
"""

from __future__ import annotations

import shutil
import tarfile
from dataclasses import dataclass
from pathlib import Path
from typing import final

from diffeode.datasets.ixi import SCAN_NAME
from diffeode.errors import InputError
from diffeode.files.io import written_whole
from diffeode.provenance.receipt import write_receipt
from diffeode.weights.download import Progress, fetch

_SITE = "biomedic.doc.ic.ac.uk/brain-development/downloads/IXI"


@final
@dataclass(frozen=True)
class Source:
    """Addresses and checksum of a file of IXI.

    Attributes:
        md5: the checksum that public code pins (torchio for all three files, MONAI for
            ``IXI-T1.tar``); IXI's own page states none.
    """

    urls: tuple[str, ...]
    md5: str


def _of_site(name: str, md5: str) -> Source:
    return Source((f"https://{_SITE}/{name}", f"http://{_SITE}/{name}"), md5)


ARCHIVES = {
    "IXI-T1": _of_site("IXI-T1.tar", "34901a0593b41dd19c1a1f746eac2d58"),
    "IXI-T2": _of_site("IXI-T2.tar", "e3140d78730ecdd32ba92da48c0a9aaa"),
}
TABLE = _of_site("IXI.xls", "066002afe250e4375d132266fcfceac5")


def fetch_ixi(root: Path, archive: str, progress: Progress, source: Source | None = None) -> None:
    """Download ``archive``, unpack its scans to ``root/<archive>``, and write a receipt of them.

    The tar file is removed in the end, so the disk needs twice the archive's size for a while. What
    was downloaded or unpacked before an interruption is kept.

    Args:
        source: where the archive is; by default ``ARCHIVES[archive]``.

    Raises:
        InputError: the archive cannot be downloaded, unpacked or written, or holds no scans of IXI.
    """
    source = source or ARCHIVES[archive]
    tar = fetch(source.urls, root / f"{archive}.tar", md5=source.md5, progress=progress)
    files = _unpacked(tar, root / archive, progress)
    progress(1.0, f"{archive}: {len(files)} scans, writing down their checksums")
    write_receipt(root / archive, files, {"dataset": "ixi", "archive": archive, "md5": source.md5})
    tar.unlink()


def fetch_table(root: Path, progress: Progress, source: Source = TABLE) -> None:
    """Download ``IXI.xls`` to ``root``, unless it is there.

    Raises:
        InputError: as :func:`diffeode.weights.download.fetch`.
    """
    if not (root / "IXI.xls").is_file():
        fetch(source.urls, root / "IXI.xls", md5=source.md5, progress=progress)


def _unpacked(tar: Path, folder: Path, progress: Progress) -> list[str]:
    try:
        with tarfile.open(tar) as archive:
            members = [
                m
                for m in archive.getmembers()
                if m.isfile() and SCAN_NAME.fullmatch(Path(m.name).name)
            ]
            for done, member in enumerate(members):
                progress(done / len(members), f"unpacking {member.name}")
                _unpack(archive, member, folder / Path(member.name).name)
    except (tarfile.TarError, EOFError) as error:
        raise InputError(
            f"{tar} cannot be unpacked ({error}); remove it, and it will be fetched again."
        ) from None
    if not members:
        raise InputError(f"{tar} holds no scans of IXI; remove it.")
    return sorted(Path(member.name).name for member in members)


def _unpack(archive: tarfile.TarFile, member: tarfile.TarInfo, to: Path) -> None:
    if to.is_file() and to.stat().st_size == member.size:
        return
    with (
        written_whole(to) as temporary,
        archive.extractfile(member) as content,
        temporary.open("wb") as handle,
    ):
        shutil.copyfileobj(content, handle)
