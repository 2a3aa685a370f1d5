"""A skip that nobody expects fails the run."""

import re
import subprocess
import sys
from pathlib import Path

import pytest
from expected_skips import Expected, complaints, read_table

TESTS = Path(__file__).resolve().parents[1]
TABLE = [
    Expected("a.py::test_gpu", "no GPU", 2, 2),
    Expected("a.py::test_gpu", "the real scans", 0, 3),
    Expected("b.py::*", "greedy", 1, 1),
]
GPU, SCANS, TOOL = "a.py::test_gpu", "a.py::test_gpu", "b.py::test_tool"


@pytest.mark.parametrize(
    ("skipped", "with_data", "all_ran", "wrong"),
    [
        ([], True, True, []),
        ([(GPU, "no GPU"), (GPU, "no GPU of 8 GB"), (TOOL, "greedy is not here")], True, True, []),
        ([(GPU, "no GPU")], True, False, []),
        (
            [(GPU, "no GPU")],
            True,
            True,
            ["test_gpu was skipped 1 times, expected_skips.tsv says 2"],
        ),
        (
            [(TOOL, "greedy")] * 2,
            True,
            False,
            [r"b.py::\* was skipped 2 times, expected_skips.tsv says 1"],
        ),
        ([(SCANS, "the real scans are not here")] * 3, False, True, []),
        (
            [(SCANS, "the real scans are not here")],
            True,
            False,
            ["skipped 1 times, expected_skips.tsv says 0"],
        ),
        (
            [("c.py::test_new", "later")],
            True,
            False,
            ["c.py::test_new was skipped, which .* not know: later"],
        ),
        (
            [(TOOL, "no greedy")],
            True,
            False,
            ["test_tool was skipped, which .* not know: no greedy"],
        ),
    ],
)
def test_skips_are_compared_with_the_table(skipped, with_data, all_ran, wrong):
    said = complaints(skipped, TABLE, with_data, all_ran)
    assert len(said) == len(wrong)
    for sentence, pattern in zip(said, wrong, strict=True):
        assert re.search(pattern, sentence)


def test_every_row_of_the_table_names_a_test_that_is_there():
    rows = read_table()
    assert rows
    for row in rows:
        file, _, name = row.test.partition("::")
        assert name == "*" or f"def {name}(" in (TESTS.parent / file).read_text(encoding="utf-8"), (
            row.test
        )
        assert row.with_data + row.without_data > 0
        assert row.reason


@pytest.mark.parametrize("processes", [[], ["-n", "1"]], ids=["alone", "xdist"])
def test_a_run_with_an_unexpected_skip_fails(tmp_path, processes):
    (tmp_path / "conftest.py").write_text(
        "from pathlib import Path\n"
        "from expected_skips import SkipWatch\n"
        "def pytest_configure(config):\n"
        "    if not hasattr(config, 'workerinput'):\n"
        "        config.pluginmanager.register(SkipWatch(config, True, "
        "Path(__file__).with_name('table.tsv')))\n"
    )
    (tmp_path / "table.tsv").write_text(
        "test\treason\twith_data\twithout_data\ntest_it.py::test_old\told\t1\t1\n"
    )
    (tmp_path / "test_it.py").write_text(
        "import pytest\n"
        "def test_old(): pytest.skip('old reason')\n"
        "@pytest.mark.parametrize('n', [1])\n"
        "def test_new(n): pytest.skip('new reason')\n"
    )
    folders = [f"--rootdir={tmp_path}", f"--basetemp={tmp_path / 'folders'}"]
    command = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", *folders, *processes]
    options = {
        "cwd": tmp_path,
        "env": {"PYTHONPATH": str(TESTS)},
        "capture_output": True,
        "text": True,
    }
    whole = subprocess.run(command, check=False, **options)
    assert whole.returncode == pytest.ExitCode.TESTS_FAILED
    assert (
        "test_it.py::test_new was skipped, which expected_skips.tsv does not know: new reason"
        in whole.stdout
    )
    assert "test_old" not in whole.stdout.split("unexpected skips")[1]
    assert (
        subprocess.run([*command, "test_it.py::test_old"], check=False, **options).returncode == 0
    )
