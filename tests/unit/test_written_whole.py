"""On a full disk or in a read-only folder there is one sentence, the old file is untouched, and no
unit looks finished.

Tests may run as root, whom no permission stops, so the system's refusals are simulated.
"""

import errno
import os
from pathlib import Path

import numpy as np
import pytest

from diffeode.datasets.scan import Scan
from diffeode.errors import InputError
from diffeode.files import io
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.prepare.scan import prepare_scan
from diffeode.prepare.units import Before


def refuse(number: int):
    """Return a function that fails as the operating system would."""

    def refused(*arguments, **settings):
        raise OSError(number, os.strerror(number))

    return refused


@pytest.fixture
def image() -> Image:
    data = np.zeros((8, 8, 8))
    data[2:6, 2:6, 2:6] = np.random.default_rng(0).uniform(1, 2, (4, 4, 4))
    return Image(data, Grid((8, 8, 8), np.diag([10.0, 10, 10, 1])))


def test_read_only_folder(monkeypatch, tmp_path, image):
    monkeypatch.setattr(os, "open", refuse(errno.EACCES))
    with pytest.raises(
        InputError,
        match=r"Cannot write .*scan.nii.gz: Permission denied; free or choose another folder",
    ):
        io.write_image(tmp_path / "scan.nii.gz", image)


def test_read_only_file_system_above_the_folder(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "mkdir", refuse(errno.EROFS))
    with pytest.raises(InputError, match=r"Cannot write .*report.txt: Read-only file system"):
        io.write_text(tmp_path / "new" / "report.txt", "text")


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EACCES])
def test_refusal_at_the_last_step_keeps_the_old_file(monkeypatch, tmp_path, number):
    io.write_text(tmp_path / "table.tsv", "old")
    monkeypatch.setattr(Path, "replace", refuse(number))
    with pytest.raises(
        InputError, match=f"table.tsv: {os.strerror(number)}; nothing was kept of it"
    ):
        io.write_text(tmp_path / "table.tsv", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["table.tsv"]
    assert (tmp_path / "table.tsv").read_text() == "old"


def test_interruption_leaves_no_half_written_file(monkeypatch, tmp_path):
    def interrupted(path: Path, *arguments, **settings) -> None:
        path.touch()
        raise KeyboardInterrupt

    monkeypatch.setattr(Path, "write_text", interrupted)
    with pytest.raises(KeyboardInterrupt):
        io.write_text(tmp_path / "table.tsv", "new")
    assert list(tmp_path.iterdir()) == []


def test_disk_that_fills_up_leaves_a_prepared_scan_without_receipt(monkeypatch, tmp_path, image):
    io.write_image(tmp_path / "scan.nii.gz", image)
    scan = Scan("study", "01", None, "T1w", tmp_path / "scan.nii.gz", None, None, None)
    replace = Path.replace

    def full(path: Path, target: Path) -> Path:
        if target.name == "mask.nii.gz":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", full)
    with pytest.raises(
        InputError,
        match=r"Cannot write .*mask.nii.gz: No space left on device; nothing was kept of it",
    ):
        prepare_scan(scan, Before(), tmp_path / "prepared")
    assert [path.name for path in (tmp_path / "prepared").iterdir()] == ["image.nii.gz"]
