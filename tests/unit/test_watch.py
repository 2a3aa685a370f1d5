"""A watched process returns its result, and however it dies, the process that watches it goes
on.
"""

import ctypes
import multiprocessing
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import pytest
from patience import LIMITS_S

from diffeode.errors import InputError, KilledError, RegistrationError
from diffeode.process.watch import (
    LONGEST_MINUTES,
    Terminated,
    die_with_parent,
    terminated_like_exit,
    watched,
)

QUICK = 0.5 / 60
"""A limit of half a second, in minutes."""


def die_by(number):
    os.kill(os.getpid(), number)
    time.sleep(60)


def hang_without_python():
    """Hang like code of a tool that holds the interpreter's lock, so that no signal handler of
    Python ever runs.
    """
    ctypes.PyDLL(None).sleep(60)


def hang_in_a_program(pid_file):
    program = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(600)"])
    pid_file.with_suffix(".part").write_text(str(program.pid))
    pid_file.with_suffix(".part").rename(pid_file)
    program.wait()


def runs(pid):
    """Return whether there is such a process; a zombie counts as gone."""
    return psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def test_what_the_work_returns_comes_back_from_another_process():
    value, pid = watched(lambda: ({"a": [1.5, None]}, os.getpid()))
    assert value == {"a": [1.5, None]}
    assert pid != os.getpid()


def test_the_longest_limit_can_be_waited_for():
    assert watched(lambda: "done", LONGEST_MINUTES) == "done"


def test_this_process_works_meanwhile_and_the_limit_counts_from_the_start(tmp_path):
    told = tmp_path / "told"

    def work():
        while not told.exists():
            time.sleep(0.01)
        return told.read_text()

    assert watched(work, 1, meanwhile=lambda: told.write_text("by its parent")) == "by its parent"
    began = time.monotonic()
    with pytest.raises(RegistrationError, match="time limit"):
        watched(lambda: time.sleep(600), 0.5 / 60, meanwhile=lambda: time.sleep(0.6))
    assert time.monotonic() - began < 600


def test_a_killed_process_is_told_from_one_that_fails():
    with pytest.raises(KilledError):
        watched(lambda: die_by(signal.SIGKILL))
    with pytest.raises(RegistrationError) as crashed:
        watched(lambda: die_by(signal.SIGSEGV))
    assert not isinstance(crashed.value, KilledError)


@pytest.mark.parametrize(
    "error", [InputError("No such thing."), RegistrationError("It gave up."), ValueError("odd")]
)
def test_what_the_work_raises_is_raised_here_and_says_where(error):
    def work():
        raise error

    with pytest.raises(type(error), match=str(error)) as raised:
        watched(work)
    assert "in work" in raised.value.__notes__[0]


class WantsTwoError(RuntimeError):
    def __init__(self, tool, why):
        super().__init__(f"{tool} failed: {why}")


class DecoratesError(RuntimeError):
    def __init__(self, why):
        super().__init__(f"failed: {why}")


def holding_what_cannot_be_pickled():
    error = ValueError("odd")
    error.handle = lambda: None
    return error


@pytest.mark.parametrize(
    ("error", "reason"),
    [
        (WantsTwoError("greedy", "no voxels"), "WantsTwoError: greedy failed: no voxels"),
        (DecoratesError("no voxels"), "DecoratesError: failed: no voxels"),
        (holding_what_cannot_be_pickled(), "ValueError: odd"),
    ],
)
def test_an_error_that_does_not_survive_pickling_arrives_as_what_it_says(error, reason):
    def work():
        raise error

    with pytest.raises(RegistrationError) as raised:
        watched(work)
    assert str(raised.value) == reason
    assert "in work" in raised.value.__notes__[0]


def test_work_that_leaves_its_process_is_a_failure_that_an_exception_handler_sees():
    with pytest.raises(RegistrationError, match=r"It called sys.exit\(3\) before it was done"):
        watched(lambda: sys.exit(3))
    with pytest.raises(RegistrationError, match="It ended with exit code 0 before it was done"):
        watched(lambda: os._exit(0))


@pytest.mark.usefixtures("hang_ups_arrive")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_work_that_is_asked_to_end_is_no_failure(number):
    """Otherwise the receipt of a failure would keep a workflow that was stopped from registering
    the pair again.
    """
    with pytest.raises(Terminated) as left:
        watched(lambda: die_by(number))
    assert left.value.code == 128 + number


@pytest.mark.parametrize(("is_parent", "code"), [(True, 0), (False, -signal.SIGKILL)])
def test_a_process_whose_parent_has_died_already_ends_at_once(is_parent, code):
    """Its parent was killed before it could ask the system to end it, too."""
    parent = os.getpid() if is_parent else os.getppid()
    child = multiprocessing.get_context("fork").Process(target=die_with_parent, args=(parent,))
    child.start()
    child.join(20)
    assert child.exitcode == code


def test_what_nohup_ignores_stays_ignored():
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with terminated_like_exit():
            os.kill(os.getpid(), signal.SIGHUP)
            with pytest.raises(Terminated):
                signal.raise_signal(signal.SIGTERM)
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize(
    ("work", "limit", "reason"),
    [
        (
            lambda: time.sleep(60),
            QUICK,
            "It took longer than its time limit of 0.00833333 minutes; allow more time",
        ),
        (lambda: die_by(signal.SIGKILL), None, "memory runs out"),
        (lambda: die_by(signal.SIGSEGV), None, r"crashed \(SIGSEGV\)"),
        (os.abort, None, r"crashed \(SIGABRT\)"),
        (lambda: die_by(signal.SIGRTMIN + 1), None, r"crashed \(signal \d+\)"),
    ],
)
def test_a_process_that_hangs_or_dies_is_one_sentence(work, limit, reason):
    with pytest.raises(RegistrationError, match=reason) as error:
        watched(work, limit)
    assert "\n" not in str(error.value)


def test_code_that_never_comes_back_to_python_is_ended_too(monkeypatch):
    monkeypatch.setattr("diffeode.process.watch._GRACE_S", 0.2)
    before = psutil.Process().children()
    with pytest.raises(RegistrationError, match="time limit"):
        watched(hang_without_python, QUICK)
    assert psutil.Process().children() == before


def test_programs_the_work_started_end_with_it(tmp_path):
    for limit_s in LIMITS_S:
        with pytest.raises(RegistrationError, match="time limit"):
            watched(lambda: hang_in_a_program(tmp_path / "pid"), limit_s / 60)
        if (tmp_path / "pid").exists():
            break
    assert not runs(int((tmp_path / "pid").read_text()))


def test_temporary_files_go_however_the_work_ends(tmp_path, monkeypatch):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))

    def leave_a_file_and_die():
        Path(tempfile.mkdtemp(), "left").write_text("x")
        die_by(signal.SIGKILL)

    with pytest.raises(RegistrationError):
        watched(leave_a_file_and_die)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("hang_ups_arrive")
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP, signal.SIGKILL])
def test_the_work_ends_with_the_one_that_watches(number, tmp_path):
    if number == signal.SIGKILL and not sys.platform.startswith("linux"):
        pytest.skip("only Linux tells a child that its parent was killed")
    pid_file = tmp_path / "pid"
    code = (
        "import os, time; from pathlib import Path; from diffeode.process.watch import watched\n"
        f"watched(lambda: (Path({str(pid_file)!r}).write_text(str(os.getpid())), time.sleep(600)))"
    )
    watching = subprocess.Popen([sys.executable, "-c", code])
    while not pid_file.exists() or not pid_file.read_text():
        time.sleep(0.02)
    watching.send_signal(number)
    assert watching.wait(300) == (-number if number == signal.SIGKILL else 128 + number)
    deadline = time.monotonic() + 300
    while runs(int(pid_file.read_text())):
        assert time.monotonic() < deadline
        time.sleep(0.02)
