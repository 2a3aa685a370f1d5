"""Shared fixtures: where the scans lie, what every test draws, and which tests may be skipped."""

import os
import random
import signal
import sys
from pathlib import Path

import numpy as np
import pytest
from expected_skips import SkipWatch
from phantoms import write_scans

_REPOSITORY = Path(__file__).resolve().parents[1]
_REAL_SCANS = Path(os.environ.get("DIFFEODE_DATA") or _REPOSITORY.parent / "shared" / "data")
"""The folder of real scans: ``$DIFFEODE_DATA``, or ``../shared/data`` beside the repository."""


def pytest_configure(config: pytest.Config) -> None:
    if not hasattr(
        config, "workerinput"
    ):  # xdist's workers report to the process that started them
        config.pluginmanager.register(SkipWatch(config, with_data=_REAL_SCANS.is_dir()))


def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Run files with slow tests first, and then those that start Snakemake, so that in the end no
    worker runs one while the others wait. The finished study that many files use is made by the
    first of all files; the next ones do not use it, so their workers do not wait for it. Tests of
    faults, which take minutes, run only where they are asked for (``-m faults``).
    """
    if "faults" not in config.option.markexpr:
        left_out = [item for item in items if item.get_closest_marker("faults")]
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if item not in left_out]
    slow, workflow = (
        {item.path for item in items if item.get_closest_marker(marker)}
        for marker in ("slow", "workflow")
    )
    users = {item.path for item in items if "untouched" in getattr(item, "fixturenames", ())}
    first = min(users & slow, default=None)
    items.sort(
        key=lambda item: (
            item.path != first,
            item.path not in slow,
            item.path in users,
            item.path not in workflow,
        )
    )


@pytest.hookimpl(tryfirst=True)
def pytest_fixture_setup() -> None:
    _begin_alike()


@pytest.hookimpl(tryfirst=True)
def pytest_runtest_call() -> None:
    _begin_alike()


def _begin_alike() -> None:
    _seed_all_generators()
    _use_one_thread()


def _seed_all_generators() -> None:
    """Each fixture and each test draws the same numbers, whichever ran before it."""
    random.seed(0)
    np.random.seed(0)
    if torch := sys.modules.get("torch"):
        # torch.manual_seed() writes down where it is called for each kind of device that has not
        # begun to work, which takes half a millisecond: of the tests together, many seconds
        torch.default_generator.manual_seed(0)
        if torch.cuda.is_initialized():
            torch.cuda.manual_seed_all(0)


def _use_one_thread() -> None:
    """A command that a test runs on all processors leaves torch with as many threads, and kernels
    use all processors unless they are told otherwise. Where several workers share the processors,
    these threads wait for each other most of the time.
    """
    for name in ("torch", "numba"):
        library = sys.modules.get(name)
        # a test may watch who sets the number
        if library and library.get_num_threads() > 1:
            library.set_num_threads(1)


@pytest.fixture(scope="session")
def real_data_root() -> Path:
    """The folder of real scans, for tests that hold only on them."""
    if not _REAL_SCANS.is_dir():
        pytest.skip(f"the real scans are not here: no folder {_REAL_SCANS} (set DIFFEODE_DATA)")
    return _REAL_SCANS


@pytest.fixture(scope="session")
def data_root(tmp_path_factory) -> Path:
    """The folder of real scans, or, where it is not here, their small stand-in
    (``phantoms.py``).
    """
    return _REAL_SCANS if _REAL_SCANS.is_dir() else write_scans(tmp_path_factory.mktemp("phantoms"))


@pytest.fixture
def hang_ups_arrive():
    """SIGHUP ends a process, though the tests may have been started under ``nohup``."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)
