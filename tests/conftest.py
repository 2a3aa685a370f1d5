"""Shared fixtures: where the real scans lie."""

import os
import signal
from pathlib import Path

import pytest

_REPOSITORY = Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session")
def data_root() -> Path:
    """The folder of real scans: ``$DIFFEODE_DATA``, or ``../shared/data`` beside the repository."""
    root = Path(os.environ.get("DIFFEODE_DATA") or _REPOSITORY.parent / "shared" / "data")
    if not root.is_dir():
        pytest.skip(f"the real scans are not here: no folder {root} (set DIFFEODE_DATA)")
    return root


@pytest.fixture
def hang_ups_arrive():
    """SIGHUP ends a process, though the tests may have been started under ``nohup``."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)
