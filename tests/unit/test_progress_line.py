"""The bar of a command's progress: it moves, and the time left is right within a factor of two."""

import io
import os
import pty
import random
import re
import select
import signal
import subprocess
import sys
import time
from types import SimpleNamespace

import pytest

from diffeode.cli.painter import Estimate, Painter, line_of, slowness_of
from diffeode.cli.progress import ProgressLine
from diffeode.desk.stages import Stages, planned

PLAN = {"reading": 2.0, "aligning": 20.0, "registering": 40.0, "writing": 8.0}
DEFAULT = {"levels": {"factors": [4, 2, 1], "iterations": [40, 40, 20]}}


@pytest.fixture
def clock():
    return SimpleNamespace(now=0.0)


@pytest.fixture
def estimate(clock):
    estimate = Estimate(lambda: clock.now)
    estimate.plan(PLAN)
    return estimate


def play(estimate, clock, took, tells=("registering",), step=0.5):
    """Yield the seconds that are really left, at every step of work that takes ``took``."""
    whole = sum(took.values())
    for stage, seconds in took.items():
        estimate.begin(stage)
        steps = max(1, round(seconds / step))
        for done in range(steps):
            clock.now += seconds / steps
            if stage in tells:
                estimate.reach((done + 1) / steps)
            yield whole - clock.now


@pytest.mark.parametrize("factor", [0.6, 1.0, 1.7])
def test_the_time_left_is_right_within_a_factor_of_two_from_the_first_second(
    estimate, clock, factor
):
    """On machines that are faster or slower than the one of the plan, in every stage."""
    took = {stage: factor * seconds for stage, seconds in PLAN.items()}
    for left in play(estimate, clock, took):
        if left > 1:
            assert left / 2 <= estimate.seconds_left <= 2 * left


def test_a_machine_of_a_third_of_the_speed_is_noticed_when_the_first_stages_are_over(
    estimate, clock
):
    took = {stage: 3 * seconds for stage, seconds in PLAN.items()}
    for left in play(estimate, clock, took):
        if left > 5 and clock.now > 3 * 22:
            assert left / 2 <= estimate.seconds_left <= 2 * left


def test_a_stage_that_takes_much_longer_than_planned_by_what_it_says_itself(estimate, clock):
    took = PLAN | {"registering": 400.0}
    for left in play(estimate, clock, took):
        if clock.now > 22 + 60 and left > 60:
            assert left / 2 <= estimate.seconds_left <= 2 * left


def test_what_a_stage_does_before_it_tells_is_not_its_pace(estimate, clock):
    """A method loads for 12 seconds, and its first levels cost more than they say."""
    estimate.begin("reading")
    clock.now = 2.0
    estimate.begin("aligning")
    clock.now = 22.0
    estimate.begin("registering")
    clock.now += 12.0
    for done in range(1, 101):
        clock.now += 0.6 if done < 5 else 0.28
        estimate.reach(done / 100)
        left = 4 * 0.6 + 96 * 0.28 + 8 + 34 - clock.now
        assert left / 2 <= estimate.seconds_left <= 2 * left


@pytest.mark.parametrize(
    ("load", "processors", "slowness"), [(0.2, 2, 1.0), (1.0, 2, 1.0), (5.0, 2, 3.0), (3.0, 1, 4.0)]
)
def test_a_busy_machine_is_expected_to_be_slow(clock, load, processors, slowness):
    assert slowness_of(load, processors) == slowness
    estimate = Estimate(lambda: clock.now, slowness)
    estimate.plan(PLAN)
    estimate.begin("reading")
    assert estimate.seconds_left == pytest.approx(slowness * sum(PLAN.values()))


def test_the_bar_never_goes_back_and_never_stands(estimate, clock):
    rates = random.Random(3)
    took = {stage: rates.uniform(0.3, 5) * seconds for stage, seconds in PLAN.items()}
    shares = [estimate.share for _ in play(estimate, clock, took)]
    assert shares == sorted(shares)
    assert 0 < shares[0] < 0.2
    assert 0.9 < shares[-1] <= 1
    whole_percents = [round(1000 * share) for share in shares]
    assert max(whole_percents.count(value) for value in set(whole_percents)) < 20


def test_a_stage_that_nobody_knows_says_no_time_until_it_tells(clock):
    estimate = Estimate(lambda: clock.now)
    estimate.plan({"reading": 2.0, "registering": None, "writing": 8.0})
    estimate.begin("reading")
    assert estimate.seconds_left is None
    clock.now = 2.0
    estimate.begin("registering")
    clock.now = 32.0
    assert estimate.seconds_left is None
    estimate.reach(0.25)
    assert estimate.seconds_left == pytest.approx(90 + 8, rel=0.01)


def test_work_without_a_plan_has_the_share_that_it_tells(clock):
    estimate = Estimate(lambda: clock.now)
    estimate.begin("downloading")
    clock.now = 30.0
    estimate.reach(0.25)
    assert (estimate.share, estimate.seconds_left) == (0.25, 90.0)


def test_the_line_fits_the_terminal(estimate, clock):
    estimate.begin("reading")
    clock.now = 35.0
    line = line_of(estimate, "m" * 200, 60)
    assert len(line) == 59
    assert re.fullmatch(r"\[#+-+\]  \d\d %  \d:\d\d left  m+", line)


def test_every_line_replaces_the_one_before(clock):
    terminal = io.StringIO()
    painter = Painter(terminal, lambda: clock.now)
    painter.hear({"plan": PLAN})
    painter.hear({"begin": "reading", "say": "reading"})
    painter.draw()
    clock.now = 1.0
    painter.draw()
    painter.clear()
    first, second, last = terminal.getvalue().split("\r\x1b[K")[1:]
    assert first.endswith("reading")
    assert second.endswith("reading")
    assert first != second
    assert last == ""


# ------------------------------------------------------------------------------------ on a terminal

_BUSY = """
import signal, sys, time
from diffeode.cli.progress import ProgressLine
# as a command of a terminal has it: tests that a shell runs in the background ignore interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)
with ProgressLine(sys.stderr{quiet}) as progress:
    progress.plan({{"first": 1.0, "second": 100.0}})
    progress.begin("first")
    print("working", flush=True)
    time.sleep(60)
"""


def shown_on_a_terminal(work) -> str:
    """What a terminal receives while ``work`` is called with it as a stream."""
    ours, theirs = pty.openpty()
    with os.fdopen(theirs, "w") as terminal:
        work(terminal)
    text = b""
    while select.select([ours], [], [], 0.2)[0]:
        try:
            text += os.read(ours, 65536)
        except OSError:  # the other end is closed
            break
    os.close(ours)
    return text.decode()


def test_the_bar_moves_while_nothing_is_told():
    def work(terminal):
        with ProgressLine(terminal) as progress:
            progress.plan({"first": 2.0, "second": 2.0})
            progress.begin("first")
            # this process does not run at all meanwhile, as when a tool holds the interpreter
            subprocess.run(["sleep", "1"], check=True)

    lines = [line for line in shown_on_a_terminal(work).split("\r\x1b[K") if line]
    assert len({line for line in lines if line.endswith("first")}) >= 3
    percents = [int(re.search(r"(\d+) %", line)[1]) for line in lines]
    assert percents == sorted(percents)
    assert percents[-1] > 0


@pytest.mark.parametrize("quiet", [True, False])
def test_nothing_is_shown_where_it_is_quiet_or_no_terminal(quiet, capfd):
    def work(terminal):
        with ProgressLine(terminal, quiet) as progress:
            progress(0.5, "level 2")
            time.sleep(0.3)

    if quiet:
        assert shown_on_a_terminal(work) == ""
    else:
        work(sys.stderr)
        assert capfd.readouterr().err == ""


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_the_bar_ends_with_the_command_however_that_ends(end):
    ours, theirs = pty.openpty()
    command = subprocess.Popen(
        [sys.executable, "-c", _BUSY.format(quiet="")],
        stdout=subprocess.PIPE,
        stderr=theirs,
        text=True,
        start_new_session=True,
    )
    os.close(theirs)
    assert command.stdout.readline() == "working\n"
    time.sleep(0.5)
    os.killpg(command.pid, end) if end == signal.SIGINT else command.send_signal(end)
    assert command.wait(timeout=30) == -end
    text = b""
    try:
        while True:
            text += os.read(ours, 65536)
    except OSError:  # nobody holds the other end of the terminal any more
        pass
    os.close(ours)
    command.stdout.close()
    assert b"first" in text


def test_the_bar_is_no_child_of_the_command_whose_memory_and_time_are_measured():
    import psutil

    children = []

    def work(terminal):
        before = set(psutil.Process().children(recursive=True))  # of the tests
        with ProgressLine(terminal) as progress:
            progress(0.5, "level 2")
            children.extend(set(psutil.Process().children(recursive=True)) - before)
            time.sleep(2)  # until the bar's process has started and drawn, on a busy machine too

    assert "level 2" in shown_on_a_terminal(work)
    assert children == []


# -------------------------------------------------------------------------------------- the stages


def test_a_plain_function_is_told_the_share_of_the_whole_work():
    told = []
    stages = Stages(lambda share, message: told.append((round(share, 3), message)), PLAN)
    for stage in PLAN:
        stages.begin(stage)
        stages(0.5, f"half of {stage}")
    assert told == [
        (0.0, "reading"),
        (0.014, "half of reading"),
        (0.029, "aligning"),
        (0.171, "half of aligning"),
        (0.314, "registering"),
        (0.557, "half of registering"),
        (0.886, "writing"),
        (0.943, "half of writing"),
    ]


def test_the_plan_follows_the_settings():
    def plan(**changed):
        given = {
            "millions": 2.0,
            "threads": 1,
            "device": "cpu",
            "aligns": True,
            "strips": False,
            "report": True,
        }
        settings = changed.pop("parameters", DEFAULT)
        return planned(changed.pop("method", "neural-ode"), settings, **given | changed)

    usual = plan()
    assert list(usual)[:4] == ["starting", "reading", "preparing", "aligning"]
    assert plan(aligns=False)["aligning"] == 0
    assert set(plan(strips=True)) - set(usual) == {"stripping the skulls"}
    assert set(usual) - set(plan(report=False)) == {"making the page"}
    assert plan(millions=8.0)["registering"] > 3 * usual["registering"]
    assert plan(threads=2)["registering"] < usual["registering"]
    twice = {"levels": {"factors": [4, 2, 1], "iterations": [80, 80, 40]}}
    assert plan(parameters=twice)["registering"] == pytest.approx(2 * usual["registering"])
    assert plan(method="greedy", parameters={})["registering"] is None
    assert plan(device="cuda")["registering"] is None
