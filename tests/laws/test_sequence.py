"""One flow through a sequence of images: laws of flows, closed forms, and what is refused."""

import math

import pytest
import torch
from ours import levels, neural_ode
from problems import inner, least_determinant, linear_velocity, smooth_velocity

from diffeode.errors import InputError
from diffeode.flows import integrate
from diffeode.flows.integrate import Flow
from diffeode.flows.smoothing import gaussian
from diffeode.flows.trajectory import path_smoothness
from diffeode.flows.velocity import reverse, squared_change
from diffeode.geometry.warp import compose, pull_back, voxel_centres
from diffeode.methods.neural_ode import sequence
from diffeode.methods.neural_ode.energy import PairTensors, energy_on
from diffeode.methods.neural_ode.sequence import Trajectory, energy_through, flow_through
from diffeode.optimise.pyramid import Lattice

BY_SSD = {
    "similarity": {"squared_difference": {"weight": 10}},
    "penalties": {"gradient": {"weight": 0.1}},
    "flow": {"solver": "midpoint", "steps": 4, "step_size": 0.25},
    **levels((2.0, 1.0), (30, 15)),
}
HALF, WHOLE = 2, 4
"""Steps to the middle and to the end of a flow of four steps."""


def texture(size, seed=0, kind=torch.float32):
    """Smooth noise from 0 to 1, ``(1, 1, *size)``."""
    generator = torch.Generator().manual_seed(seed)
    noise = gaussian(torch.rand(1, 1, *size, generator=generator, dtype=kind), 1.8)
    return (noise - noise.min()) / (noise.max() - noise.min())


def shift(size, by, kind=torch.float32):
    """A displacement that is ``by`` voxels everywhere, ``(1, d, *size)``."""
    return torch.tensor(by, dtype=kind).view(1, -1, *[1] * len(size)).repeat(1, 1, *size)


def moved(image, by):
    """The image whose content lies ``by`` voxels further."""
    back = [-step for step in by]
    return pull_back(image, shift(image.shape[2:], back, image.dtype), padding="border")


def trajectory(velocity, spacing, steps=4, solver="rk4"):
    """On images as fine as the velocity."""
    size = tuple(velocity.shape[2:])
    flow = Flow(solver, steps, 1 / steps)
    return Trajectory(velocity, flow, (steps,), size, tuple(spacing), (), ())


# -------------------------------------------------------------------------------------------- flows


@pytest.mark.parametrize("solver", ["euler", "midpoint", "heun", "rk4"])
@pytest.mark.parametrize("knots", [1, 2])
def test_the_flow_to_the_end_is_the_second_half_after_the_first(solver, knots):
    """Exactly, since every point of a linear field is interpolated without error."""
    velocity, flow = linear_velocity(3, knots), Flow(solver, 8, 1 / 8)
    first, whole = flow.through(velocity, (4, 8))
    (second,) = flow.through(velocity, (8,), start=4)
    assert (inner(compose(first, second)) - inner(whole)).abs().max() < 1e-12
    assert (inner(first) - inner(second)).abs().max() > 1e-3 or knots == 1


@pytest.mark.parametrize("gradient", ["exact", "checkpoint"])
@pytest.mark.parametrize("fixed_border", [False, True])
def test_the_last_stop_is_the_flow_and_the_first_that_of_a_shorter_one(gradient, fixed_border):
    velocity = smooth_velocity((9, 8, 10), 2.0, knots=3, fading=False)
    found = Flow("heun", 4, 0.25, gradient, fixed_border).through(velocity, (HALF, WHOLE))
    assert torch.equal(found[1], Flow("heun", 4, 0.25, "exact", fixed_border)(velocity))
    # The first two of three knots are the first half of the time.
    assert torch.equal(found[0], Flow("heun", 2, 0.25, "exact", fixed_border)(velocity[:2]))


def test_the_velocity_is_looked_up_once_a_stage_however_many_the_stops(monkeypatch):
    asked = []

    def counted(*arguments):
        asked.append(arguments)
        return velocity_along(*arguments)

    velocity_along = integrate.velocity_along
    monkeypatch.setattr(integrate, "velocity_along", counted)
    Flow("rk4", 8, 1 / 8).through(smooth_velocity((6, 7), 1.0), (1, 2, 4, 6))
    assert len(asked) == 6 * 4


@pytest.mark.parametrize(
    ("flow", "stops", "start"),
    [
        (Flow("exponential", 4), (4,), 0),
        (Flow("rk4", 4, 0.25, "adjoint"), (4,), 0),
        (Flow("rk4", 4, 0.25), (), 0),
        (Flow("rk4", 4, 0.25), (2, 2), 0),
        (Flow("rk4", 4, 0.25), (3, 2), 0),
        (Flow("rk4", 4, 0.25), (2, 5), 0),
        (Flow("rk4", 4, 0.25), (2, 4), 2),
        (Flow("rk4", 4, 0.25), (2, 4), -1),
    ],
)
def test_stops_that_are_none_are_refused(flow, stops, start):
    with pytest.raises(ValueError, match=r"stops|Stops|Steps"):
        flow.through(smooth_velocity((6, 7), 1.0), stops, start)


def test_each_way_back_undoes_the_way_there():
    velocity = smooth_velocity((24, 28, 20), 2.0, knots=3)
    there = Flow("rk4", 8, 1 / 8).through(velocity, (2, 8))
    back = sequence._ways_back(Flow("rk4", 8, 1 / 8), velocity, (2, 8))
    for one, other in zip(there, back, strict=True):
        assert one.abs().max() > 0.3
        assert compose(one, other).abs().max() < 0.05 * one.abs().max()
    assert torch.equal(back[1], Flow("rk4", 8, 1 / 8)(reverse(velocity)))


# --------------------------------------------------------------------------------------- smoothness


@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (2.0, 0.5, 3.0)])
def test_a_constant_velocity_has_its_length_as_speed_and_no_acceleration(spacing):
    velocity = shift((5, 6, 4), (0.4, -0.3, 0.2), torch.float64)
    found = trajectory(velocity, spacing)
    length = math.hypot(0.4 * spacing[0], 0.3 * spacing[1], 0.2 * spacing[2])
    assert found.smoothness().speed == pytest.approx(length)
    assert found.smoothness().acceleration == pytest.approx(0, abs=1e-12)
    assert found.squared_change == 0


@pytest.mark.parametrize("spacing", [(1.0, 1.0), (2.0, 0.5)])
def test_a_velocity_linear_in_time_has_its_slope_as_acceleration(spacing):
    size, slope = (6, 7), (0.6, -0.8)
    velocity = torch.cat([shift(size, (0, 0), torch.float64), shift(size, slope, torch.float64)])
    found = trajectory(velocity, spacing)
    length = math.hypot(0.6 * spacing[0], 0.8 * spacing[1])
    assert found.smoothness().speed == pytest.approx(length / 2)
    assert found.smoothness().acceleration == pytest.approx(length)
    assert found.squared_change == pytest.approx(length**2)


def test_a_rotation_is_accelerated_towards_its_middle():
    """By the squared angular speed times the radius, though the velocity never changes in time."""
    turn = 0.5
    y, x = voxel_centres((21, 21), torch.zeros(1, dtype=torch.float64))[0] - 10
    velocity = turn * torch.stack([-x, y])[None]
    radius = torch.hypot(x, y)
    inside = (radius < 8) & (radius > 0)
    found = trajectory(velocity, (2.0, 2.0), steps=16).smoothness(inside[None, None])
    mean = float(radius[inside].mean()) * 2.0
    assert found.speed == pytest.approx(turn * mean, rel=1e-3)
    assert found.acceleration == pytest.approx(turn**2 * mean, rel=1e-3)


def test_acceleration_is_exact_on_parabolas_at_uneven_times():
    times = torch.tensor([0, 0.1, 0.4, 1.0], dtype=torch.float64)
    bend = torch.tensor([[3.0, 0.0], [0.0, -1.0]], dtype=torch.float64)
    found = path_smoothness(0.5 * times.view(-1, 1, 1) ** 2 * bend, times.tolist())
    assert found.acceleration == pytest.approx(2.0)
    assert found.speed == pytest.approx(1.0)


def test_squared_change_is_of_the_velocity_s_own_time_and_place():
    size = (5, 4)
    velocity = torch.cat([shift(size, (x, 0), torch.float64) for x in (0, 1, 0)])
    # One voxel, 3 mm, in half of the time 2.
    assert squared_change(velocity, 2.0, (3.0, 1.0)).item() == pytest.approx(9.0)


def test_two_times_have_a_speed_and_no_acceleration():
    found = path_smoothness(torch.tensor([[[0.0, 0.0]], [[3.0, 4.0]]]), (0, 0.5))
    assert found.speed == pytest.approx(10)
    assert math.isnan(found.acceleration)


@pytest.mark.parametrize("times", [(0.0,), (0.0, 0.0), (0.5, 0.0), (0.0, 0.5, 1.0)])
def test_paths_need_a_rising_time_each(times):
    with pytest.raises(ValueError, match="rising times"):
        path_smoothness(torch.zeros(min(len(times), 2), 3, 2), times)


# ------------------------------------------------------------------------------------------- energy


@pytest.mark.parametrize("size", [(15, 17), (9, 10, 8)])
@pytest.mark.parametrize("masked", [False, True])
def test_one_image_at_time_one_is_the_pair_to_the_bit(size, masked):
    method = neural_ode(
        BY_SSD,
        levels((2.0, 1.0), (4, 3)),
        {"penalties": {"gradient": {}, "magnitude": {"weight": 0.1}, "jacobian": {}}},
    )
    fixed, moving = texture(size), texture(size, 1)
    extras = {"mask": fixed > 0.4, "weights": 1 + fixed} if masked else {}
    spacing = (1.0, 2.0, 1.5)[: len(size)]
    pair = method.velocity_between(fixed, moving, spacing, **extras)
    found = flow_through(method, [fixed, moving], [0, 1], spacing, **extras)
    assert torch.equal(found.velocity, pair.velocity)
    assert found.trace == pair.trace
    assert torch.equal(found.forward[0], pair.forward)
    assert torch.equal(found.inverse[0], pair.inverse)


def test_the_energy_is_the_mean_over_the_images_each_at_its_time():
    size, kind = (12, 13), torch.float64
    method = neural_ode(BY_SSD, {"penalties": {"gradient": {"weight": 0.3}}})
    lattice = Lattice(size, (1.0, 1.0))
    images = [texture(size, seed, kind) for seed in range(3)]
    pairs = [PairTensors(images[0], moving, None, None) for moving in images[1:]]
    velocity = smooth_velocity(size, 2.0)
    found = energy_through(pairs, (HALF, WHOLE), lattice, lattice, method)(velocity)
    # Half the way of a stationary velocity is the whole of half of it.
    early = energy_on(pairs[0], lattice, lattice, method)(velocity / 2)
    late = energy_on(pairs[1], lattice, lattice, method)(velocity)
    halved = Flow("midpoint", 4, 0.25)(velocity / 2)
    assert torch.allclose(
        halved, Flow("midpoint", 4, 0.25).through(velocity, (HALF,))[0], atol=2e-2
    )
    assert set(found) == {"ssd", "gradient"}
    for name, term in found.items():
        assert term.item() == pytest.approx((early[name] + late[name]).item() / 2, rel=1e-2)
        assert early[name].item() != pytest.approx(late[name].item(), rel=0.1)


# --------------------------------------------------------------------------------------- trajectory


TURN = [(0.0, 0.0), (1.5, 0.0), (1.5, 1.5)]
"""Where the content lies at times 0, 1/2 and 1: along the first axis, then along the second."""


@pytest.fixture(scope="module")
def turned():
    """Trajectories through the three images of TURN by ways."""
    image = texture((24, 26))
    images = [moved(image, by) for by in TURN]
    # What came in at the border, no flow brings back.
    mask = torch.zeros_like(image)
    mask[..., 4:-4, 4:-4] = 1
    ways = {"free": (3, False), "periodic": (3, True), "stationary": (1, False)}
    return {
        name: flow_through(
            neural_ode(BY_SSD, {"velocity.knots": knots}),
            images,
            [0, 0.5, 1],
            (1.0, 1.0),
            periodic,
            mask,
        )
        for name, (knots, periodic) in ways.items()
    }


def middle(field):
    """Its mean away from the border, voxels by axis; velocities have half as many voxels."""
    edge = field.shape[-1] // 4
    return field[..., edge:-edge, edge:-edge].mean(dim=(0, 2, 3)).tolist()


def test_a_time_dependent_flow_finds_the_turn_and_a_stationary_one_cannot(turned):
    for found, by in zip(turned["free"].forward, TURN[1:], strict=True):
        assert middle(found) == pytest.approx(by, abs=0.25)
    first, last = turned["free"].velocity[[0, -1]]
    assert middle(first[None])[0] > 2 * abs(middle(first[None])[1])
    assert middle(last[None])[1] > 2 * abs(middle(last[None])[0])
    halfway = middle(turned["stationary"].forward[0])
    assert abs(halfway[0] - TURN[1][0]) > 0.4
    assert turned["free"].squared_change > 1 > turned["stationary"].squared_change == 0
    ends = {name: found.trace[-1]["ssd"] for name, found in turned.items()}
    assert ends["free"] < 0.5 * min(ends["periodic"], ends["stationary"])


def test_a_periodic_velocity_ends_as_it_began(turned):
    found = turned["periodic"].velocity
    assert len(found) == 3
    assert torch.equal(found[0], found[-1])
    assert not torch.equal(found[0], found[1])
    assert not torch.equal(turned["free"].velocity[0], turned["free"].velocity[-1])


def test_the_path_passes_through_the_maps_and_the_ways_back_undo_them(turned):
    found = turned["free"]
    assert len(found.path) == WHOLE
    for step, one, back in zip((HALF, WHOLE), found.forward, found.inverse, strict=True):
        assert torch.equal(found.path[step - 1], one)
        assert compose(one, back)[..., 4:-4, 4:-4].abs().max() < 0.2


def test_the_first_image_is_fixed_and_the_others_move_to_it(turned):
    image = texture((24, 26))
    later = moved(image, TURN[2])
    before = (later - image)[..., 4:-4, 4:-4].square().mean()
    after = (pull_back(later, turned["free"].forward[1]) - image)[..., 4:-4, 4:-4].square().mean()
    assert after < 0.1 * before


@pytest.mark.parametrize("periodic", [False, True])
def test_no_map_folds_on_the_way_though_the_end_would_not_show_it(monkeypatch, periodic):
    """The content goes and comes back: only the map in the middle folds."""
    size = (14, 15)
    wild = smooth_velocity(size, 60.0 if periodic else 30.0).float()
    knots = torch.cat([wild, -wild] if periodic else [wild, 0 * wild, -wild])
    outermost = 0.25 if periodic else 0.5
    fine = {"flow": {"solver": "rk4", "steps": 16, "step_size": 1 / 16}}
    monkeypatch.setattr(sequence, "coarse_to_fine", lambda *arguments: knots)
    images = [texture(size)] * 3

    def least(diffeomorphic):
        method = neural_ode(BY_SSD, fine, {"velocity.knots": 3, "diffeomorphic": diffeomorphic})
        found = flow_through(method, images, [0, outermost, 1], (1.0, 1.0), periodic)
        maps = (*found.forward, *found.inverse)
        return found, [least_determinant(one[0].numpy()) for one in maps]

    there, end, back, all_the_way_back = least("penalised")[1]
    assert max(there, back) < 0 < min(end, all_the_way_back)
    found, worst = least("guaranteed")
    assert min(worst) > 0
    assert "it was smoothed there" in found.notes[0]
    assert periodic == torch.equal(found.velocity[0], found.velocity[-1])


def test_progress_and_trace_are_of_all_iterations():
    heard = []
    method = neural_ode(BY_SSD, levels((2.0, 1.0), (3, 2)))
    images = [texture((12, 13), seed) for seed in range(3)]
    found = flow_through(
        method, images, [0, 0.25, 0.5], (1, 1), progress=lambda part, words: heard.append(part)
    )
    assert len(found.trace) == len(heard) == 5
    assert heard[-1] == pytest.approx(1)
    assert found.stops == (1, 2)


# ------------------------------------------------------------------------------------------ refused

IMAGE = texture((8, 9))


@pytest.mark.parametrize(
    ("times", "sentence"),
    [
        ([0], "3 images and 1 times"),
        ([0, 0.5, 1, 1], "3 images and 4 times"),
        ([0.25, 0.5, 1], "must begin with 0, rise, and end at 1"),
        ([0, 0.5, 0.5], "must begin with 0, rise"),
        ([0, 1, 0.5], "must begin with 0, rise"),
        ([0, 0.5, 1.5], "end at 1 at the latest"),
        ([0, 0.5, math.nan], "must begin with 0"),
        ([0, math.inf, math.inf], "must begin with 0"),
        ([0, 0.3, 1], "The time 0.3 is not the end of one of the 4 steps"),
        ([0, 1e-9, 1], "is not the end of one of the 4 steps"),
        ([0, 0.5, 0.5 + 1e-8], "is not the end of one of the 4 steps"),
    ],
)
def test_times_that_are_none_are_refused(times, sentence):
    with pytest.raises(InputError, match=sentence):
        flow_through(neural_ode(BY_SSD), [IMAGE] * 3, times, (1, 1))


@pytest.mark.parametrize(
    ("settings", "periodic", "sentence"),
    [
        ({"flow.solver": "exponential"}, False, "flow.solver is exponential"),
        ({"flow.gradient": "adjoint"}, False, "flow.gradient is adjoint"),
        ({"flow.steps": 5}, False, "make up a time of 1.25; a sequence needs a time of 1"),
        ({"velocity.field": "network"}, False, "velocity.field is network"),
        ({"velocity.knots": 1}, True, "velocity.knots is 1; a periodic velocity needs 3"),
        ({"velocity.knots": 2}, True, "velocity.knots is 2; a periodic velocity needs 3"),
    ],
)
def test_settings_that_fit_no_sequence_are_refused(settings, periodic, sentence):
    with pytest.raises(InputError, match=sentence):
        flow_through(neural_ode(BY_SSD, settings), [IMAGE] * 3, [0, 0.5, 1], (1, 1), periodic)


@pytest.mark.parametrize(
    ("images", "spacing", "extras", "sentence"),
    [
        ([IMAGE], (1, 1), {}, "1 images and 1 times"),
        ([], (1, 1), {}, "0 images and 0 times"),
        ([IMAGE, IMAGE, IMAGE[..., 1:]], (1, 1), {}, "one shape"),
        ([IMAGE, IMAGE.double(), IMAGE], (1, 1), {}, "one floating-point type"),
        ([IMAGE, IMAGE, IMAGE], (1, 0), {}, "above 0"),
        ([IMAGE, IMAGE, IMAGE], (1, 1), {"mask": IMAGE[..., 1:]}, "one shape"),
        ([IMAGE, IMAGE, IMAGE], (1, 1), {"weights": IMAGE[..., 1:]}, "one shape"),
    ],
)
def test_images_that_do_not_belong_together_are_refused(images, spacing, extras, sentence):
    times = [0, 0.5, 1][: len(images)]
    with pytest.raises(InputError, match=sentence):
        flow_through(neural_ode(BY_SSD), images, times, spacing, **extras)
