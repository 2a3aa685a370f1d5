"""Targets of the Makefile, with a program in the place of Snakemake."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
STUDIES = 10
"""Number of studies of the target paper-small."""
# it ends by itself after an interrupt, as Snakemake does
_SNAKEMAKE = f"""\
#!{sys.executable}
import os, sys, time
with open("started.txt", "a") as file:
    print(os.getpid(), sys.argv[-1], file=file)
try:
    time.sleep(float(os.environ.get("SECONDS_OF_A_STUDY", "60")))
except KeyboardInterrupt:
    sys.exit(1)
sys.exit(int(sys.argv[-1].endswith("/poster.yaml")))
"""


def begin(folder: Path, target: str, **environment: str) -> subprocess.Popen:
    """Start make as a terminal does; what it says is in ``said.txt``."""
    programs = folder / "venv" / "bin"
    programs.mkdir(parents=True)
    for name, text in (("snakemake", _SNAKEMAKE), ("python", "#!/bin/sh\n")):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    command = ["make", "-f", str(REPOSITORY / "Makefile"), target, "-o", "setup"]
    with (folder / "said.txt").open("w") as said:
        return subprocess.Popen(
            [
                *("env", "--default-signal=INT", *command, f"VENV={folder / 'venv'}"),
                f"SNAKEMAKE={programs / 'snakemake'}",
            ],
            cwd=folder,
            env=os.environ | environment,
            start_new_session=True,
            stdout=said,
            stderr=subprocess.STDOUT,
        )


def started(folder: Path) -> list[tuple[int, str]]:
    """Return process and last argument of every start of the program."""
    file = folder / "started.txt"
    lines = file.read_text().splitlines() if file.exists() else []
    return [(int(line.split()[0]), line.split()[1]) for line in lines]


def interrupt_all(make: int, study: int) -> None:
    os.killpg(make, signal.SIGINT)


def interrupt_make(make: int, study: int) -> None:
    os.kill(make, signal.SIGINT)


def terminate_make(make: int, study: int) -> None:
    os.kill(make, signal.SIGTERM)


def kill_the_study(make: int, study: int) -> None:
    os.kill(study, signal.SIGKILL)


@pytest.mark.parametrize("target", ["demo", "paper-small"])
@pytest.mark.parametrize("stop", [interrupt_all, interrupt_make, terminate_make, kill_the_study])
def test_an_interrupt_or_a_kill_ends_all_studies_of_a_target(
    tmp_path, target, stop: Callable[[int, int], None]
):
    running = begin(tmp_path, target)
    while not started(tmp_path) and running.poll() is None:
        time.sleep(0.05)
    time.sleep(0.3)  # until the program can be interrupted
    ((study, _),) = started(tmp_path)
    try:
        stop(running.pid, study)
        assert running.wait(timeout=30) != 0
        assert len(started(tmp_path)) == 1
        with pytest.raises(ProcessLookupError):
            os.kill(study, 0)
    finally:
        with suppress(ProcessLookupError):
            os.killpg(running.pid, signal.SIGKILL)


def test_a_study_in_which_something_failed_lets_the_others_go_on(tmp_path):
    running = begin(tmp_path, "paper-small", SECONDS_OF_A_STUDY="0")
    assert running.wait(timeout=60) != 0
    names = [Path(name).stem for _, name in started(tmp_path)]
    assert len(names) == STUDIES
    said = (tmp_path / "said.txt").read_text()
    for number, name in enumerate(names, start=1):
        assert f"Study {number} of {STUDIES}: config/small/{name}.yaml\n" in said
        how = "ended with failures" if name == "poster" else "done"
        took = rf"Study {number} of {STUDIES}, {name}, {how}: 0:00:\d\d, 0:00:\d\d in all\n"
        assert re.search(took, said), said


_TELLING = """\
#!/bin/sh
for word in "$@"; do printf '%s\\n' "$word" >> words.txt; done
echo "some words of Snakemake"
exit "$SNAKEMAKE_ENDS_WITH"
"""


def _outside_make() -> dict[str, str]:
    """Return the environment without what a make that started the tests has put into it."""
    return {name: value for name, value in os.environ.items() if "MAKE" not in name}


def words_of_report(folder: Path, profile: str, ends_with: int = 0) -> tuple[list[str], str, int]:
    """Return the words with which `make report` starts Snakemake, what make says, and its exit
    code.
    """
    programs = folder / "venv" / "bin"
    programs.mkdir(parents=True)
    (programs / "snakemake").write_text(_TELLING)
    (programs / "snakemake").chmod(0o755)
    (folder / "mine.yaml").write_text("title: Any\nstudy: mine\n")
    run = subprocess.run(
        [
            *("make", "-f", str(REPOSITORY / "Makefile"), "report", "-o", "setup"),
            *(f"VENV={folder / 'venv'}", f"PROFILE={profile}", "CONFIG=mine.yaml"),
        ],
        cwd=folder,
        env=_outside_make() | {"SNAKEMAKE_ENDS_WITH": str(ends_with)},
        capture_output=True,
        text=True,
        check=False,
    )
    words = (folder / "words.txt").read_text().splitlines()
    return words, run.stdout, run.returncode


@pytest.mark.parametrize("profile", ["slurm", "slurm-array", "cluster-generic", "default", "gpu"])
def test_a_report_is_written_with_the_profile_of_the_study(tmp_path, profile):
    """Where jobs run on this machine, Snakemake is told on how many cores."""
    words, said, code = words_of_report(tmp_path, profile)
    cores = ["--cores", "all"] if profile in ("default", "gpu") else []
    assert words == [
        *("--workflow-profile", f"workflow/profiles/{profile}", *cores),
        *("--configfile", "mine.yaml", "--report", "results/studies/mine/report.html"),
    ]
    assert (said, code) == ("Report:  results/studies/mine/report.html\n", 0)
    log = tmp_path / "results" / "logs" / "report" / "mine.log"
    assert log.read_text() == "some words of Snakemake\n"


def test_a_report_that_cannot_be_written_is_an_error(tmp_path):
    _, said, code = words_of_report(tmp_path, "slurm", ends_with=1)
    assert said == "The report could not be written: see results/logs/report/mine.log\n"
    assert code != 0
