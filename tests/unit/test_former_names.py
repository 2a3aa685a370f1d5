"""Modules are found under the names that they had before they were sorted into rooms."""

import subprocess
import sys

import pytest

from diffeode.formerly import name_of_today

EACH = """
import importlib, warnings
warnings.simplefilter("error")
from diffeode.formerly import FORMERLY
for former, today in FORMERLY.items():
    now = importlib.import_module(f"diffeode.{today}")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        assert importlib.import_module(f"diffeode.{former}") is now, former
"""


def run(script: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )


@pytest.fixture(scope="module")
def each() -> subprocess.CompletedProcess[str]:
    """What importing every module of today and every former name said; a warning about a name of
    today is an error there.
    """
    return run(EACH)


def test_every_former_name_leads_to_the_module_of_today(each):
    assert each.returncode == 0, each.stderr


@pytest.mark.parametrize(
    "line",
    [
        "from diffeode import io",
        "import diffeode.io",
        "from diffeode.io import read_image",
        "from diffeode.training.loop import Settings",
        "import diffeode.study_files as files",
    ],
)
def test_an_import_says_what_the_name_is_now(line):
    found = run(line)
    assert found.returncode == 0, found.stderr
    assert "DeprecationWarning: diffeode." in found.stderr
    assert "; import that." in found.stderr


def test_a_name_that_never_was_is_not_found():
    found = run("import diffeode.never_was")
    assert "ModuleNotFoundError: No module named 'diffeode.never_was'" in found.stderr


def test_modules_of_others_keep_their_names():
    assert name_of_today("io") == "io"
    assert name_of_today("other.io") == "other.io"
    missing = run("import diffeode, study_files")
    assert "ModuleNotFoundError: No module named 'study_files'" in missing.stderr


def test_today_s_names_warn_of_nothing(each):
    assert "is now" not in each.stderr
