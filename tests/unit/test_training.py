"""The training loop ends in the same weights after a kill as without one; what it refuses and what
it keeps.
"""

import math
import os
import pickle
import signal
import subprocess
import sys
import textwrap
from contextlib import contextmanager

import numpy as np
import pytest
import torch
from torch import nn

from diffeode.errors import DamagedFileError, InputError, TrainingError
from diffeode.figures import style
from diffeode.figures.training_curves import training_curves
from diffeode.learning.loop import (
    Lesson,
    Settings,
    remove_checkpoints,
    take_out,
    train,
    train_by_content,
)
from diffeode.learning.training_files import BEST, CURVES, LAST
from diffeode.weights.checkpoint import About, read_checkpoint, write_checkpoint

SETTINGS = Settings(
    steps=25,
    learning_rate=1e-2,
    interval=10,
    schedule="cosine",
    criterion="validation_loss",
    seed=3,
)
TRUTH = torch.tensor([[1.0, -2.0, 0.5]])


def network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 8), nn.BatchNorm1d(8), nn.Dropout(0.2), nn.Linear(8, 1))


def objective(net, generator):
    x = torch.from_numpy(generator.standard_normal((16, 3))).float()
    return {
        "fit": ((net(x) - x @ TRUTH.T) ** 2).mean(),
        "size": 1e-3 * sum((p**2).sum() for p in net.parameters()),
    }


def validate(net):
    x = torch.from_numpy(np.random.default_rng(99).standard_normal((64, 3))).float()
    return {"validation_loss": ((net(x) - x @ TRUTH.T) ** 2).mean().item()}


def lesson(**changes) -> Lesson:
    parts = {
        "architecture": "line",
        "version": 1,
        "code": "c",
        "validate": validate,
        "data": {"a": "1"},
    }
    return Lesson(network(), **{"objective": objective, **parts, **changes})


def quiet(message):
    pass


def failing_at(step, net_objective=objective):
    seen = []

    def wrapped(net, generator):
        seen.append(1)
        if len(seen) == step:
            raise KeyboardInterrupt
        return net_objective(net, generator)

    return wrapped


@pytest.mark.parametrize("killed_at", [1, 11, 14, 23])
def test_killed_and_resumed_equals_uninterrupted(tmp_path, killed_at):
    train(lesson(), SETTINGS, tmp_path / "whole", say=quiet)
    with pytest.raises(KeyboardInterrupt):
        train(lesson(objective=failing_at(killed_at)), SETTINGS, tmp_path / "parts", say=quiet)
    train(lesson(), SETTINGS, tmp_path / "parts", say=quiet)
    for name in (LAST, BEST, CURVES):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


@pytest.fixture
def one_thread():
    """Use one thread, because another number of threads sums in another order."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


def test_killed_hard_and_resumed_equals_uninterrupted(tmp_path, one_thread):
    """SIGKILL ends a process of its own in the middle of an interval."""
    program = textwrap.dedent(f"""
        import os, signal, sys, torch
        torch.set_num_threads(1)
        sys.path.insert(0, {os.path.dirname(__file__)!r})
        from pathlib import Path
        from test_training import SETTINGS, lesson, objective, train
        seen = []
        def deadly(net, generator):
            seen.append(1)
            if len(seen) == 17:
                os.kill(os.getpid(), signal.SIGKILL)
            return objective(net, generator)
        train(lesson(objective=deadly), SETTINGS, Path(sys.argv[1]))
    """)
    ended = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path / "parts")], capture_output=True, check=False
    )
    assert ended.returncode == -signal.SIGKILL, ended.stderr.decode()
    train(lesson(), SETTINGS, tmp_path / "parts", say=quiet)
    train(lesson(), SETTINGS, tmp_path / "whole", say=quiet)
    for name in (LAST, BEST, CURVES):
        assert (tmp_path / "whole" / name).read_bytes() == (tmp_path / "parts" / name).read_bytes()


def test_a_finished_training_is_not_repeated(tmp_path):
    best = train(lesson(), SETTINGS, tmp_path, say=quiet)
    before = best.read_bytes()

    def never(net, generator):
        raise AssertionError("trained again")

    assert train(lesson(objective=never), SETTINGS, tmp_path, say=quiet).read_bytes() == before


def test_best_is_the_least_of_the_criterion(tmp_path):
    numbers = iter([3.0, 1.0, 2.0])
    train(
        lesson(validate=lambda net: {"validation_loss": next(numbers)}),
        SETTINGS,
        tmp_path,
        say=quiet,
    )
    assert read_checkpoint(tmp_path / BEST, "line", 1).about.step == 20
    assert read_checkpoint(tmp_path / LAST, "line", 1).about.step == 25


def test_it_learns_and_the_curves_say_so(tmp_path):
    train(lesson(), Settings(steps=400, learning_rate=2e-2, interval=100), tmp_path, say=quiet)
    rows = [line.split("\t") for line in (tmp_path / CURVES).read_text().splitlines()]
    assert rows[0] == ["step", "loss", "fit", "size", "validation_loss"]
    assert [row[0] for row in rows[1:]] == ["100", "200", "300", "400"]
    assert float(rows[-1][4]) < 0.5 * float(rows[1][4])


@pytest.mark.parametrize("where", ["loss", "gradient"])
def test_not_finite_stops_at_once_and_keeps_the_last_checkpoint(tmp_path, where):
    seen = []

    def breaking(net, generator):
        seen.append(1)
        terms = objective(net, generator)
        if len(seen) == 13:
            weight = net[0].weight
            terms["bad"] = (
                weight.sum() * math.nan if where == "loss" else torch.sqrt((weight * 0).sum())
            )
        return terms

    with pytest.raises(TrainingError, match=r"step 13; the checkpoint of step 10 .* was kept"):
        train(lesson(objective=breaking), SETTINGS, tmp_path, say=quiet)
    assert len(seen) == 13
    kept = read_checkpoint(tmp_path / LAST, "line", 1)
    assert kept.about.step == 10
    assert all(torch.isfinite(t).all() for t in kept.tensors.values())


@pytest.mark.parametrize(
    ("changes", "name"),
    [
        ({"data": {"a": "2"}}, "data"),
        ({"code": "d"}, "code"),
        ({"configuration": {"width": 2}}, "configuration"),
    ],
)
def test_another_training_is_not_continued(tmp_path, changes, name):
    train(lesson(), SETTINGS, tmp_path, say=quiet)
    with pytest.raises(InputError, match=f"begun with other {name}"):
        train(lesson(**changes), SETTINGS, tmp_path, say=quiet)


def test_by_content_another_training_begins_anew_and_the_first_goes_on(tmp_path):
    def killed(message):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train_by_content(lesson(), SETTINGS, tmp_path, say=killed)
    other = train_by_content(lesson(data={"a": "2"}), SETTINGS, tmp_path, say=quiet)
    said = []
    best = train_by_content(lesson(), SETTINGS, tmp_path, say=said.append)
    assert said[0].startswith("going on from step")
    assert (
        best.read_bytes() == train(lesson(), SETTINGS, tmp_path / "at once", say=quiet).read_bytes()
    )
    assert best.read_bytes() != other.read_bytes()

    take_out(best, tmp_path / "weights.safetensors")
    remove_checkpoints(tmp_path)
    assert {file.name for file in tmp_path.iterdir()} == {"weights.safetensors", CURVES, "at once"}
    assert (tmp_path / "weights.safetensors").read_bytes() == (
        tmp_path / "at once" / BEST
    ).read_bytes()
    assert (tmp_path / CURVES).read_bytes() == (tmp_path / "at once" / CURVES).read_bytes()


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_validation_that_is_never_finite_chooses_no_weights(tmp_path, value):
    blind = lesson(validate=lambda net: {"validation_loss": value})
    for _ in ("at once", "resumed"):
        with pytest.raises(TrainingError, match="validation_loss of the training was never finite"):
            train(blind, SETTINGS, tmp_path, say=quiet)


def test_an_unknown_criterion_is_refused(tmp_path):
    with pytest.raises(InputError, match="has no 'accuracy'"):
        train(lesson(), Settings(steps=1, criterion="accuracy"), tmp_path, say=quiet)


@pytest.mark.parametrize(
    "wrong", [{"steps": 0}, {"interval": 0}, {"learning_rate": 0}, {"schedule": "steep"}]
)
def test_settings_out_of_range_are_refused(wrong):
    with pytest.raises(InputError):
        Settings(**{"steps": 10, **wrong})


def test_a_checkpoint_says_what_it_is(tmp_path):
    about = About("line", 2, {"width": 3}, {"scan": "ab"}, "code", 7, {"loss": 0.5})
    tensors = {"a": torch.arange(6.0).reshape(2, 3), "b": torch.tensor(3)}
    write_checkpoint(tmp_path / "w.safetensors", tensors, about)
    read = read_checkpoint(tmp_path / "w.safetensors", "line", 2)
    assert read.about == about
    assert all(torch.equal(read.tensors[name], tensors[name]) for name in tensors)


def test_weights_of_something_else_are_refused(tmp_path):
    path = tmp_path / "w.safetensors"
    write_checkpoint(path, {"a": torch.ones(2)}, About("line", 1))
    with pytest.raises(InputError, match="of line version 1, not of curve version 1"):
        read_checkpoint(path, "curve", 1)
    with pytest.raises(InputError, match="of line version 1, not of line version 2"):
        read_checkpoint(path, "line", 2)


def test_a_changed_value_is_noticed(tmp_path):
    path = tmp_path / "w.safetensors"
    write_checkpoint(path, {"a": torch.ones(64)}, About("line", 1))
    content = bytearray(path.read_bytes())
    content[-3] ^= 1
    path.write_bytes(content)
    with pytest.raises(DamagedFileError, match="do not fit their checksum"):
        read_checkpoint(path, "line", 1)


def test_pickles_and_cut_files_are_never_opened(tmp_path):
    class Trap:
        def __reduce__(self):
            return os.mkdir, (str(tmp_path / "sprung"),)

    (tmp_path / "w.pt").write_bytes(pickle.dumps(Trap()))
    whole = tmp_path / "w.safetensors"
    write_checkpoint(whole, {"a": torch.ones(64)}, About("line", 1))
    (tmp_path / "cut.safetensors").write_bytes(whole.read_bytes()[:-5])
    for name in ("w.pt", "cut.safetensors"):
        with pytest.raises(InputError, match="no whole safetensors file"):
            read_checkpoint(tmp_path / name, "line", 1)
    with pytest.raises(InputError, match="no weights at"):
        read_checkpoint(tmp_path / "absent.safetensors", "line", 1)
    assert not (tmp_path / "sprung").exists()


def test_curves_are_drawn_with_the_best_step(tmp_path, monkeypatch):
    (tmp_path / CURVES).write_text(
        "step\tloss\tfit\tvalidation_loss\tvalidation_accuracy\n10\t3\t2\t4\t0.1\n20\t2\t1\t2\t0.3\n30\t1\t1\t3\t0.2\n"
    )
    pages, page = [], style.page

    @contextmanager
    def seen(*arguments):
        with page(*arguments) as figure:
            pages.append(figure)
            yield figure

    monkeypatch.setattr(style, "page", seen)
    training_curves(
        tmp_path / CURVES, "A training", tmp_path / "curves.png", criterion="validation_loss"
    )
    loss, fit, accuracy = pages[0].axes
    assert [list(line.get_ydata()) for line in loss.lines[:2]] == [[3, 2, 1], [4, 2, 3]]
    assert list(loss.lines[-1].get_xdata()) == [20, 20]
    assert list(fit.lines[0].get_ydata()) == [2, 1, 1]
    assert list(accuracy.lines[0].get_ydata()) == [0.1, 0.3, 0.2]
    with pytest.raises(DamagedFileError, match="is missing or is no table"):
        training_curves(tmp_path / "none.tsv", "A training", tmp_path / "curves.png")
