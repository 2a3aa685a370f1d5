"""The descent of one level: its steps, its end and its best iterate; the memory and the progress
around it.
"""

import numpy as np
import pytest
import torch
from torch import nn

from diffeode.errors import RegistrationError
from diffeode.optimise.loop import SCHEDULES, WINDOW, Descent, minimise
from diffeode.optimise.memory import shortage_explained
from diffeode.optimise.report import Reporter


class Free(nn.Module):
    """A velocity ``(1, 2, 3, 4)`` without smoothing, at ``start`` everywhere."""

    def __init__(self, start=1.0):
        super().__init__()
        self.velocity = nn.Parameter(torch.full((1, 2, 3, 4), start))

    def forward(self):
        return self.velocity


class Mixed(nn.Module):
    """A velocity of two parameters of different shapes."""

    def __init__(self):
        super().__init__()
        self.velocity = nn.Parameter(torch.linspace(-1, 1, 24).view(1, 2, 3, 4))
        self.scale = nn.Parameter(torch.tensor(1.5))

    def forward(self):
        return self.scale * self.velocity


def bowl(velocity):
    slopes = torch.arange(1.0, 25.0).view_as(velocity)
    return {"bowl": (slopes * velocity**2).mean(), "tilt": 0.1 * velocity.mean()}


def energies_of(descent, iterations=40, objective=bowl, field=None):
    rows = []
    found = minimise(field or Free(), objective, iterations, descent, rows.append)
    return found, [row["energy"] for row in rows]


# -------------------------------------------------------------------------------------------- steps


def test_a_descent_that_finds_nothing_better_says_so():
    found, energies = energies_of(Descent(10.0, "constant"), iterations=5)
    assert energies[0] == min(energies) == found.energy
    assert "no step led below" in found.reason
    assert torch.equal(found.velocity, Free()())
    assert energies_of(Descent())[0].reason == ""


def test_it_works_where_gradients_are_off():
    with torch.no_grad():
        assert energies_of(Descent())[0].energy == energies_of(Descent())[0].energy


def test_constant_and_hardly_damped_is_the_loop_of_nodeo():
    """NODEO uses Adam with amsgrad, rate 0.005, on the energy itself; ours multiplies the energy by
    a factor, which Adam does not notice where no gradient is as small as its epsilon.
    """
    field, expected = Free(), []
    optimiser = torch.optim.Adam(field.parameters(), lr=0.005, amsgrad=True)
    for _ in range(40):
        energy = sum(bowl(field()).values())
        expected.append(energy.item())
        optimiser.zero_grad()
        energy.backward()
        optimiser.step()
    _, energies = energies_of(Descent(0.005, "constant", 1e-8))
    np.testing.assert_allclose(energies, expected, rtol=1e-5)
    assert not np.allclose(energies, energies_of(Descent(0.005, "cosine", 1e-8))[1], rtol=1e-3)
    assert not np.allclose(energies, energies_of(Descent(0.005, "constant", 10.0))[1], rtol=1e-3)


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_the_descent_is_that_of_torch_to_the_bit(schedule):
    """torch's class and its schedule do the same, with parameters of several shapes."""
    descent, iterations = Descent(0.2, schedule, 0.003), 30
    fields = [Mixed(), Mixed()]
    settings = {"lr": 0.2, "eps": 0.003, "amsgrad": True, "fused": True}
    optimiser = torch.optim.Adam(fields[0].parameters(), **settings)
    rates = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda k: descent.rate(k / iterations))
    expected = []
    for _ in range(iterations):
        optimiser.zero_grad()
        velocity = fields[0]()
        energy = sum(bowl(velocity).values())
        expected.append(energy.item())
        (energy * velocity[0, 0].numel()).backward()
        optimiser.step()
        rates.step()
    assert energies_of(descent, iterations, field=fields[1])[1] == expected
    assert expected[-1] < expected[0]
    for one, other in zip(*(field.parameters() for field in fields), strict=True):
        assert torch.equal(one, other)


def test_the_cosine_falls_to_a_tenth():
    descent = Descent(schedule="cosine")
    np.testing.assert_allclose([descent.rate(f) for f in (0, 0.5, 1)], [1, 0.55, 0.1])
    assert Descent(schedule="constant").rate(0.7) == 1


def test_the_best_velocity_is_kept_not_the_last():
    """The steps are far too long for this bowl, so the velocity swings across it."""
    found, energies = energies_of(Descent(0.8, "constant", 1e-8), 15)
    assert energies[-1] > min(energies)
    assert sum(bowl(found.velocity).values()).item() == pytest.approx(min(energies))
    assert found.reason == ""


# ----------------------------------------------------------------------------------------- stopping


def test_settled_compares_the_slope_of_the_window_with_the_whole_fall():
    """The slope of an exponential decay is known, so it is known where it falls below the
    tolerance.
    """
    decay = 5.0
    energies = [float(np.exp(-k / decay)) for k in range(200)]
    times = np.arange(WINDOW) - (WINDOW - 1) / 2
    slope = float(times @ np.exp(-times / decay) / (times @ times))
    for tolerance in (0.02, 0.005, 0.001):
        first = next(n for n in range(200) if Descent(tolerance=tolerance).settled(energies[:n]))
        now, before = (
            abs(slope) * np.exp(-(n - 1 - (WINDOW - 1) / 2) / decay) / (1 - energies[n - 1])
            for n in (first, first - 1)
        )
        assert now <= tolerance < before


@pytest.mark.parametrize(
    ("energies", "settled"),
    [
        ([0.0] * WINDOW, True),
        ([0.0] * (WINDOW - 1), False),
        ([1.0 + 0.1 * k for k in range(3 * WINDOW)], False),
        ([1.0 - 0.01 * k for k in range(3 * WINDOW)], False),
        ([2.0] + [1.0 + 0.01 * (-1) ** k for k in range(3 * WINDOW)], True),
    ],
    ids=["flat", "flat but short", "rising", "falling steadily", "swinging"],
)
def test_what_counts_as_settled(energies, settled):
    assert Descent(tolerance=0.01).settled(energies) is settled
    assert not Descent(tolerance=0.0).settled(energies)


def test_a_settled_descent_stops_and_says_so():
    whole, every = energies_of(Descent(0.1), 400)
    found, some = energies_of(Descent(0.1, tolerance=0.001), 400)
    assert WINDOW < len(some) < 200 < len(every) == 400
    assert some == every[: len(some)]
    assert found.reason == f"the energy had settled after {len(some)} of 400 iterations"
    assert whole.reason == ""


def test_an_energy_that_explodes_stops_the_descent_and_the_best_before_is_kept():
    """The energy falls by 0.1 with each step, until the exponential exceeds single precision."""

    def cliff(velocity):
        height = velocity.mean()
        return {"cliff": -height + torch.exp(1e4 * (height - 2.05))}

    found, energies = energies_of(Descent(0.1, "constant", 1e-8), 40, cliff)
    at = len(energies)
    assert 5 < at < 40
    assert np.isinf(energies[-1])
    assert (
        found.reason
        == f"the energy was not finite at iteration {at}; the best iterate before it was kept"
    )
    assert found.velocity.mean().item() == pytest.approx(-energies[-2])


def test_a_velocity_that_is_not_finite_stops_the_descent_where_the_energy_does_not_show_it():
    def deaf(velocity):
        return {"deaf": torch.nan_to_num(torch.sqrt(velocity - 0.5)).mean()}

    found, energies = energies_of(Descent(0.1, "constant", 1e-8), 40, deaf)
    assert len(energies) < 40
    assert torch.isfinite(found.velocity).all()
    assert "not finite" in found.reason


def test_an_energy_that_is_never_finite_is_a_failure():
    with pytest.raises(RegistrationError, match="not finite at the start"):
        energies_of(Descent(), objective=lambda velocity: {"nan": velocity.sum() * np.nan})


# --------------------------------------------------------------------------------- memory, progress

CUDA = (
    "CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 7.79 GiB of "
    "which 1.20 GiB is free. Process 1 has 5 GiB memory in use."
)
CPU = (
    "[enforce fail at alloc_cpu.cpp:114] data. DefaultCPUAllocator: can't allocate memory: you "
    "tried to allocate 4000000000000 bytes. Error code 12 (Cannot allocate memory)"
)


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (
            torch.OutOfMemoryError(CUDA),
            "The memory does not suffice for images of 9 x 8 x 7 voxels (2.50 GiB more were asked "
            "for; GPU 0 has 7.79 GiB, of which 1.20 GiB are free); buy more.",
        ),
        (
            RuntimeError(CPU),
            "The memory does not suffice for images of 9 x 8 x 7 voxels (3725.29 GiB more were "
            "asked for); buy more.",
        ),
        (
            torch.OutOfMemoryError("out"),
            "The memory does not suffice for images of 9 x 8 x 7 voxels; buy more.",
        ),
        (
            MemoryError("Unable to allocate 3.64 TiB for an array"),
            "The memory does not suffice for images of 9 x 8 x 7 voxels (3.64 TiB more were asked "
            "for); buy more.",
        ),
        (
            MemoryError(),
            "The memory does not suffice for images of 9 x 8 x 7 voxels; buy more.",
        ),
    ],
)
def test_too_little_memory_is_explained(error, sentence):
    with pytest.raises(RegistrationError) as refusal, shortage_explained((9, 8, 7), "buy more"):
        raise error
    assert str(refusal.value) == sentence


def test_the_allocator_of_the_cpu_is_understood():
    with (
        pytest.raises(
            RegistrationError,
            match=r"images of 1 x 1 voxels \([\d.]+ GiB more were asked for\)",
        ),
        shortage_explained((1, 1), "ask for less"),
    ):
        torch.empty(2**55, dtype=torch.uint8)


def test_other_errors_pass():
    with pytest.raises(RuntimeError, match="shapes"), shortage_explained((1, 1), "ask for less"):
        raise RuntimeError("shapes tried to allocate a problem")


def test_progress_jumps_over_what_was_left_out():
    seen = []
    report = Reporter((2.0, 1.0), (8, 4), lambda fraction, message: seen.append(fraction))
    for level, taken in ((0, 3), (1, 2)):
        report.enter(level)
        for _ in range(taken):
            report({"energy": 1.0})
    report.finish()
    np.testing.assert_allclose(seen, [1 / 40, 2 / 40, 3 / 40, 16 / 40, 24 / 40, 1])
    assert [row["level"] for row in report.trace] == [2, 2, 2, 1, 1]
