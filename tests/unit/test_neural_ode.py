"""The Neural ODE as a method: what it must find, keep and refuse."""

import dataclasses
import itertools
import re
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from ours import levels, neural_ode
from scipy import ndimage

from diffeode.errors import InputError, RegistrationError
from diffeode.evaluation.jacobian import jacobian_metrics
from diffeode.evaluation.labels import read_label_table
from diffeode.files import io
from diffeode.flows.integrate import GRADIENTS, SOLVERS
from diffeode.flows.operator import BOUNDARIES
from diffeode.flows.unfold import Unfolded
from diffeode.geometry.image import Image, foreground
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, DisplacementField, warp_image, warp_labels
from diffeode.losses.similarity import MIND_FORMS
from diffeode.methods.neural_ode import (
    BoxKernel,
    DescentSettings,
    FlowSettings,
    Levels,
    Network,
    NeuralODE,
    motion,
)
from diffeode.methods.neural_ode import energy as energies
from diffeode.methods.neural_ode.similarities import SIMILARITIES
from diffeode.optimise.loop import SCHEDULES
from diffeode.prepare.pair import align_pair
from diffeode.prepare.scan import prepare_image
from diffeode.registration.base import Machine, Pair
from diffeode.registration.knobs import changed, knob_of, leaves_of
from diffeode.registration.runs import load_run

LABELS = Path(__file__).resolve().parents[2] / "config" / "labels" / "albert.tsv"

QUICK = levels((2.0, 1.0), (30, 15))
NETWORK = {"velocity.field": "network"}
SIZE = (34, 37, 31)


def texture(size=SIZE, seed=0) -> np.ndarray:
    """A ball of smooth noise in (0, 1], background 0."""
    noise = ndimage.gaussian_filter(np.random.default_rng(seed).standard_normal(size), 2.2)
    noise = (noise - noise.min()) / np.ptp(noise)
    axes = np.meshgrid(*[np.linspace(-1, 1, n) for n in size], indexing="ij")
    return np.where(sum(a**2 for a in axes) < 0.8**2, 0.05 + 0.95 * noise, 0).astype(np.float32)


def pair_of(fixed: np.ndarray, moving: np.ndarray, affine=None) -> Pair:
    grid = Grid(fixed.shape, np.diag([-1.0, 1, 1, 1]) if affine is None else affine)
    images = [Image(data, grid) for data in (fixed, moving)]
    return Pair(*images, *(foreground(image) for image in images))


def displacement_vox(method: NeuralODE, pair: Pair, seed=0) -> np.ndarray:
    """Displacement on the pair's grid, voxels, ``(X, Y, Z, 3)``."""
    found = method.register(pair, Machine(seed=seed))
    grid = pair.fixed.grid
    return grid.to_voxel(found.forward(grid.points_mm())) - grid.voxels()


def shifted(data: np.ndarray, by: tuple[int, int, int]) -> np.ndarray:
    return np.roll(data, by, axis=(0, 1, 2))


def method_like(run: str) -> NeuralODE:
    return changed(load_run(run).build(), QUICK)


@pytest.mark.parametrize(
    ("run", "voxels"),
    [
        ("node-mind", 0.02),
        ("node-ncc", 0.05),
        ("node-nmi", 0.05),
        ("node-mi", 0.6),
        ("node-lmi", 0.5),
        ("node-ngf", 0.6),
    ],
)
def test_identical_images_give_the_identity(run, voxels):
    """Some maps are not exact: blurred histograms are not sharpest, and soft edges not strongest,
    where images are equal.
    """
    data = texture()
    assert np.abs(displacement_vox(method_like(run), pair_of(data, data))[data > 0]).max() < voxels


@pytest.mark.parametrize(
    "run", ["node-mind", "node-lmi", "node-mi", "node-nmi", "node-ngf", "node-ncc"]
)
def test_a_shift_is_found_in_voxels_with_its_sign_under_inverted_contrast(run):
    """Where ``moving(x + s) = fixed(x)``, the displacement is ``s``."""
    data = texture()
    shift = (2, -1, 1)
    moving = shifted(data, shift)
    moving = np.where(moving > 0, 1.05 - moving, 0).astype(np.float32)
    found = displacement_vox(method_like(run), pair_of(data, moving))[data > 0]
    assert np.abs(np.median(found, axis=0) - shift).max() < 0.25


@pytest.mark.parametrize(
    "parameters",
    [
        {"flow.solver": "midpoint"},
        {"flow.solver": "heun", "velocity.knots": 2, "flow.gradient": "adjoint"},
        {"flow.solver": "rk4", "velocity.knots": 3, "flow.gradient": "checkpoint"},
        {
            "flow.solver": "rk4",
            "flow.gradient": "adjoint",
            "velocity.kernel.operator.boundary": "periodic",
        },
        {
            "flow.solver": "euler",
            "velocity.kernel.operator.alpha": 0.0005,
            "penalties.operator": {"weight": 1e-4, "alpha": 0.0005},
        },
        {"flow.gradient": "checkpoint"},
    ],
    ids=lambda parameters: "-".join(str(value) for value in parameters.values()),
)
def test_every_way_to_integrate_finds_the_shift_and_its_way_back(parameters):
    data, shift = texture(), (1, -1, 1)
    pair = pair_of(data, shifted(data, shift))
    found = neural_ode(QUICK, parameters).register(pair, Machine())
    grid = pair.fixed.grid
    points = grid.points_mm()
    there = found.forward(points)
    moved = (grid.to_voxel(there) - grid.voxels())[data > 0]
    assert np.abs(np.median(moved, axis=0) - shift).max() < 0.25
    back = np.linalg.norm(found.inverse(there) - points, axis=-1)[data > 0]
    assert back.mean() < 0.05
    assert back.max() < 0.5


def test_checkpoints_change_no_result():
    pair = pair_of(texture(), shifted(texture(), (1, 0, -1)))
    flow = {"solver": "heun", "steps": 2, "step_size": 0.5}
    method = neural_ode({"flow": flow, "velocity.knots": 2}, levels((2.0,), (10,)))
    exact, checkpointed = (
        displacement_vox(changed(method, {"flow.gradient": gradient}), pair)
        for gradient in ("exact", "checkpoint")
    )
    assert np.abs(exact).max() > 0.1
    assert np.abs(exact - checkpointed).max() < 1e-4


@pytest.mark.parametrize(
    "parameters",
    [
        {},
        {
            "flow": {"solver": "rk4", "steps": 2, "step_size": 0.01},
            "descent.learning_rate": 0.005,
        }
        | NETWORK,
        {
            "flow.solver": "rk4",
            "velocity.knots": 2,
            "velocity.field.network.cloud": "fixed",
            "descent.learning_rate": 0.005,
        },
    ],
)
def test_a_fixed_border_stays_and_the_inside_moves(parameters):
    """The border is that of the box around the two brains, on all levels and after unfolding."""
    data = texture(seed=1)
    pair = pair_of(data, texture(seed=2))
    free, fixed = (
        neural_ode({"velocity.border": border}, QUICK, parameters).register(pair, Machine())
        for border in ("free", "fixed")
    )
    for transform in filter(None, (fixed.forward, fixed.inverse)):
        field = transform.displacement_mm
        for axis in range(3):
            assert (np.take(field, [0, -1], axis) == 0).all()
        assert np.abs(field).max() > 0.2
    assert np.abs(free.forward.displacement_mm[0]).max() > 0.001


def test_a_velocity_that_is_all_border_is_zero_where_the_border_is_fixed():
    """The box is two voxels wide, so nothing can move, and no penalty acts."""
    data = texture((24, 24, 24))[11:13]
    still = {"velocity.border": "fixed", "penalties.magnitude.weight": 1.0}
    method = neural_ode(NETWORK, still, levels((1.0,), (3,)))
    found = method.register(pair_of(data, shifted(data, (0, 1, 0))), Machine())
    assert (found.forward.displacement_mm == 0).all()
    assert [row["magnitude"] for row in found.trace] == [0, 0, 0]


def test_nodeo_stays_as_published():
    """One Euler step, 300 iterations at rate 0.005 on one level, the network on the image's own
    grid.
    """
    method = load_run("nodeo").build()
    velocity = method.velocity
    assert method.flow == FlowSettings("euler", 1, 0.001, "exact")
    assert method.levels == Levels((1,), (300,))
    assert (velocity.field, velocity.spacing) == (Network(2), 1)
    assert (velocity.knots, velocity.border, method.diffeomorphic) == (1, "free", "penalised")
    assert velocity.kernel == BoxKernel(15)
    assert method.descent == DescentSettings(0.005, "constant", 1e-8, 0.0)


@pytest.mark.parametrize(
    ("run", "iterations", "changes"),
    [("paper-mind", 120, {"penalties.gradient.weight": 0.01}), ("paper-lddmm", 50, {})],
)
def test_the_network_registers_too(run, iterations, changes):
    data = texture()
    moving = shifted(data, (2, 0, -1))
    method = changed(load_run(run).build(), {"levels.iterations": [iterations], **changes})
    pair = pair_of(data, moving)
    found = displacement_vox(method, pair)
    before = np.abs(moving - data).mean()
    grid = pair.fixed.grid
    field = DisplacementField(grid.vectors_to_world(found.astype(np.float32)), grid)
    assert np.abs(warp_image(pair.moving, field, grid).data - data).mean() < 0.6 * before


def test_the_words_are_those_that_the_engine_knows():
    known = {
        "similarity.mind.form": MIND_FORMS,
        "velocity.kernel.operator.boundary": BOUNDARIES,
        "penalties.operator.boundary": BOUNDARIES,
        "flow.solver": SOLVERS,
        "flow.gradient": GRADIENTS,
        "descent.schedule": SCHEDULES,
    }
    leaves = leaves_of(NeuralODE)
    assert {name: set(knob_of(leaves[name]).domain.known) for name in known} == {
        name: set(words) for name, words in known.items()
    }


def test_the_trace_tells_every_iteration_and_falls():
    pair = pair_of(texture(), shifted(texture(), (2, 0, 0)))
    penalties = {
        f"penalties.{name}.weight": w
        for name, w in (("jacobian", 1.0), ("magnitude", 0.01), ("operator", 0.01))
    }
    trace = neural_ode(penalties, QUICK).register(pair, Machine()).trace
    assert len(trace) == 45
    assert [row["level"] for row in trace] == [2.0] * 30 + [1.0] * 15
    for row in trace:
        parts = row["mind"] + row["gradient"] + row["jacobian"] + row["magnitude"] + row["operator"]
        assert row["operator"] >= row["magnitude"]
        assert row["energy"] == pytest.approx(parts, rel=1e-5)
    assert trace[29]["energy"] < 0.7 * trace[0]["energy"]


def test_progress_runs_from_zero_to_one():
    seen = []
    machine = Machine(progress=lambda fraction, message: seen.append(fraction))
    neural_ode(QUICK).register(pair_of(texture(), texture(seed=1)), machine)
    assert len(seen) == 45
    assert seen == sorted(seen)
    assert 0 < seen[0] < 0.05
    assert seen[-1] == pytest.approx(1.0)


def test_no_folds_even_when_hardly_regularised():
    """Two images of noise, registered without a penalty, would fold the map; the returned map does
    not fold.
    """
    pair = pair_of(texture(seed=1), texture(seed=2))
    wild = {
        "penalties.gradient.weight": 0.0,
        "velocity.kernel.gaussian.width": 0.4,
        "descent.learning_rate": 0.5,
    }
    wild |= QUICK

    def folds(method):
        found = method.register(pair, Machine())
        return jacobian_metrics(found.forward, np.ones(found.forward.grid.shape, bool)), found.notes

    torn, unsaid = folds(neural_ode({"diffeomorphic": "penalised"}, wild))
    whole, (said,) = folds(neural_ode(wild))
    assert unsaid == ()
    assert re.fullmatch(
        r"the map folded at [1-9]\d* voxels; it was smoothed there until it did not", said
    )
    assert torn["folds_onesided_percent"] > 0
    assert whole["folds_onesided_percent"] == 0
    assert whole["folds_central_percent"] == 0
    assert whole["ndv_percent"] == 0


def test_a_map_that_cannot_be_repaired_is_refused(monkeypatch):
    monkeypatch.setattr(motion, "unfold", lambda velocity, flow, size: Unfolded(velocity, 5, 3))
    with pytest.raises(
        RegistrationError, match=r"still folds at 3 voxels; raise penalties\.gradient\.weight"
    ):
        neural_ode(QUICK).register(pair_of(texture(), texture()), Machine())


def changed_energy(monkeypatch, change):
    """Call ``change(terms, evaluation)`` on every evaluation of the energy; evaluations are counted
    from 1 on each level.
    """

    def energy_on(*arguments):
        count = itertools.count(1)
        energy = energies.energy_on(*arguments)
        return lambda velocity: change(energy(velocity), next(count))

    monkeypatch.setattr(motion, "energy_on", energy_on)


def test_an_energy_that_explodes_leaves_the_best_map_before_and_says_why(monkeypatch):
    pair = pair_of(texture(), shifted(texture(), (1, 0, 0)))
    until = neural_ode(levels((1.0,), (16,)), {"descent.schedule": "constant"})
    expected = displacement_vox(until, pair)
    changed_energy(
        monkeypatch, lambda terms, k: {n: t * (np.nan if k == 17 else 1) for n, t in terms.items()}
    )
    found = changed(until, {"levels.iterations": [40]}).register(pair, Machine())
    assert found.notes == (
        "level 1: the energy was not finite at iteration 17; the best iterate before it was kept",
    )
    assert len(found.trace) == 17
    grid = pair.fixed.grid
    np.testing.assert_array_equal(
        grid.to_voxel(found.forward(grid.points_mm())) - grid.voxels(), expected
    )


def test_too_little_memory_is_a_failure_that_says_what_helps(monkeypatch):
    def starve(terms, evaluation):
        raise torch.OutOfMemoryError(
            "CUDA out of memory. Tried to allocate 3.00 GiB. GPU 0 has a total capacity of 4 "
            "GiB of which 1 GiB is free."
        )

    changed_energy(monkeypatch, starve)
    with pytest.raises(
        RegistrationError,
        match=r"^The memory does not suffice for images of \d+ x \d+ x \d+ voxels \(3.00 GiB more",
    ):
        neural_ode(QUICK).register(pair_of(texture(), texture()), Machine())


def test_a_tolerance_ends_levels_early_and_loses_little():
    pair = pair_of(texture(), shifted(texture(), (1, 0, -1)))
    long, seen = levels((2.0, 1.0), (200, 100)), []
    machine = Machine(progress=lambda fraction, message: seen.append(fraction))
    found = neural_ode({"descent.tolerance": 0.002}, long).register(pair, machine)
    assert len(found.trace) < 150
    assert [note.partition(":")[0] for note in found.notes] == ["level 2", "level 1"]
    assert all("had settled after" in note for note in found.notes)
    assert seen == sorted(seen)
    assert seen[-1] == 1
    fine = [row["energy"] for row in found.trace if row["level"] == 1]
    finest = [row["energy"] for row in neural_ode(long).register(pair, Machine()).trace]
    assert finest[0] - min(fine) > 0.99 * (finest[0] - min(finest))


@pytest.mark.parametrize(
    ("tensors", "spacing"),
    [
        ([(1, 1, 8, 9), (1, 1, 9, 8)], (1, 1)),
        ([(1, 1, 8, 9), (1, 1, 8, 9), (1, 1, 4, 4)], (1, 1)),
        ([(1, 2, 8, 9)] * 2, (1, 1)),
        ([(8, 9)] * 2, (1, 1)),
        ([(1, 1, 8, 9)] * 2, (1, 1, 1)),
        ([(1, 1, 8, 9)] * 2, (1, 0)),
        ([(1, 1, 8, 9)] * 2, (1, float("nan"))),
        ([(1, 1, 8, 1)] * 2, (1, 1)),
    ],
)
def test_tensors_that_do_not_belong_together_are_refused(tensors, spacing):
    fixed, moving, *rest = (torch.rand(size) for size in tensors)
    with pytest.raises(InputError, match=r"Images|spacing"):
        NeuralODE().velocity_between(fixed, moving, spacing, *rest)


def test_images_of_two_types_are_refused():
    image = torch.rand(1, 1, 8, 9)
    for one, other in ((image, image.double()), ((10 * image).int(), (10 * image).int())):
        with pytest.raises(InputError, match="floating-point type"):
            NeuralODE().velocity_between(one, other, (1, 1))


@pytest.mark.parametrize("mode", [torch.no_grad, torch.inference_mode])
def test_a_mode_without_gradients_changes_nothing(mode):
    method = neural_ode(levels((1.0,), (3,)))

    def found():
        fixed, moving = torch.rand(2, 1, 1, 12, 14, generator=torch.Generator().manual_seed(0))
        return method.velocity_between(fixed, moving, (1, 1)).velocity

    expected = found()
    with mode():
        within = found()
    assert within.any()
    assert torch.equal(within, expected)


def test_the_default_type_of_torch_changes_nothing(request):
    method = changed(
        method_like("node"), {"levels.iterations": [5, 5], "penalties.jacobian.weight": 1.0}
    )
    fixed = torch.from_numpy(texture((18, 17, 16)))[None, None]
    moving = fixed.roll(1, dims=2)
    expected = method.velocity_between(fixed, moving, (1, 1, 1)).velocity
    request.addfinalizer(lambda: torch.set_default_dtype(torch.float32))
    torch.set_default_dtype(torch.float64)
    found = method.velocity_between(fixed, moving, (1, 1, 1)).velocity
    assert expected.any()
    assert torch.equal(found, expected)


def test_a_mask_may_be_of_flags():
    fixed, moving = torch.rand(1, 1, 12, 13), torch.rand(1, 1, 12, 13)
    mask = fixed > 0.3
    method = neural_ode(levels((1.0,), (4,)))
    flags, numbers = (
        method.velocity_between(fixed, moving, (1, 1), m).velocity for m in (mask, mask.float())
    )
    assert torch.equal(flags, numbers)


# -------------------------------------------------------------------------------------- the network


def test_a_network_that_finds_nothing_better_than_rest_is_left_out():
    """The network starts with random motion, and with the learning rate of a grid it diverges."""
    pair = pair_of(texture(), texture())
    found = neural_ode(NETWORK, levels((2.0,), (3,))).register(pair, Machine())
    assert (found.forward.displacement_mm == 0).all()
    assert any("no velocity of lower energy" in note for note in found.notes)


def test_a_network_goes_on_from_the_level_before():
    pair = pair_of(texture(), shifted(texture(), (1, 0, -1)))
    method = neural_ode(NETWORK, {"descent.learning_rate": 0.005}, levels((2.0, 2.0), (40, 1)))
    rows = method.register(pair, Machine()).trace
    before = min(row["energy"] for row in rows[:40])
    assert before < rows[0]["energy"]
    assert rows[40]["energy"] == pytest.approx(before, rel=1e-5)


def test_a_cloud_that_takes_several_steps_goes_on_from_the_level_before_and_has_no_inverse():
    """The next level starts from the displacement to which two different velocities have led."""
    pair = pair_of(texture(), shifted(texture(), (1, 0, -1)))
    flow = {"flow": {"solver": "euler", "steps": 2, "step_size": 0.5}}
    timed = {"velocity.field.network.timed": True, "descent.learning_rate": 0.005}
    found = neural_ode(flow, timed, levels((2.0, 2.0), (40, 1))).register(pair, Machine())
    before = min(row["energy"] for row in found.trace[:40])
    assert before < 0.9 * found.trace[0]["energy"]
    assert found.trace[40]["energy"] == pytest.approx(before, rel=1e-5)
    assert found.inverse is None


def test_the_seed_is_the_machines():
    pair = pair_of(texture(), shifted(texture(), (1, 0, -1)))
    method = neural_ode(NETWORK, {"descent.learning_rate": 0.01}, levels((2.0,), (40,)))
    torch.manual_seed(5)
    state = torch.random.get_rng_state()
    first, other = (displacement_vox(method, pair, seed) for seed in (1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(6)
    assert (displacement_vox(method, pair, 1) == first).all()
    assert (other != first).any()


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"velocity.field": "gird"}, "velocity.field is 'gird'; did you mean 'grid'"),
        ({"similarity.mind.weight": 0.0}, "one similarity is needed"),
        ({"similarity": {}}, "one similarity is needed"),
        (
            {"similarity.local_correlation.window": 8},
            "local_correlation.window is 8; a window needs an odd",
        ),
        ({"velocity.kernel.box.width": 4}, "velocity.kernel.box.width is 4; a window needs an odd"),
        (levels((1.0, 2.0), (1, 1)), "must fall from coarse to fine"),
        (levels((2.0,), (5, 5)), "the same number of values"),
        ({"levels.iterations": (0, 10)}, "levels.iterations is 0; it must lie between 1 and"),
        ({"descent.learning_rate": -1.0}, "descent.learning_rate is -1.0; it must lie between"),
        ({"velocity.kernel.gaussian.width": float("nan")}, "is nan, which is no number"),
        ({"similarity.mind.form": "scs"}, "similarity.mind.form is 'scs'; did you mean 'ssc'"),
        ({"similarity.mind.moving": "wraped"}, "did you mean 'warped'"),
        (
            {"similarity.gradient_fields.eta": 0.0},
            "gradient_fields.eta is 0.0; it must lie between 1e-06 and",
        ),
        (
            {"similarity.mind.weight": -1.0},
            "similarity.mind.weight is -1.0; it must lie between 0 and",
        ),
        ({"penalties.bending.weight": float("inf")}, "is inf, which is no number"),
        ({"similarity.mutual_information.bins": 1}, "bins is 1; it must lie between 2 and 256"),
        ({"flow.solver": "rk45"}, "did you mean 'rk4'"),
        ({"flow.gradient": "ajoint"}, "did you mean 'adjoint'"),
        ({"velocity.border": "fix"}, "did you mean 'fixed'"),
        ({"velocity.kernel.operator.boundary": "dirichlett"}, "did you mean 'dirichlet'"),
        (
            {"velocity.knots": 2},
            "velocity.knots is 2; it needs the solver euler, midpoint, heun or rk4",
        ),
        (
            {"velocity.field.network.timed": True},
            "velocity.field.network.timed is true; it needs the solver euler, midpoint, heun or",
        ),
        (
            {"velocity.field": "network", "velocity.knots": 3, "flow.solver": "euler"},
            "velocity.knots is 3, and a network that follows the voxels has no knots",
        ),
        (
            {
                "velocity.field.network": {"timed": True, "cloud": "fixed"},
                "flow.solver": "euler",
            },
            "the network is evaluated at one time only; set velocity.knots to 2 or more",
        ),
        (
            {"velocity.field.network.cloud": "move"},
            "velocity.field.network.cloud is 'move'; did you mean 'moved'",
        ),
        (
            {"flow.gradient": "adjoint"},
            "flow.gradient is adjoint; it needs the solver euler, midpoint, heun or rk4",
        ),
        (
            {"velocity.knots": 99, "flow.solver": "rk4"},
            "velocity.knots is 99; it must lie between 1 and 16",
        ),
        ({"flow.steps": 0, "flow.solver": "rk4"}, "flow.steps is 0; it must lie between 1 and 64"),
        (
            {"penalties.operator.weight": -1.0},
            "penalties.operator.weight is -1.0; it must lie between 0 and",
        ),
        ({"descent.schedule": "cosin"}, "did you mean 'cosine'"),
        ({"diffeomorphic": "guarantee"}, "did you mean 'guaranteed'"),
        ({"descent.damping": 0.0}, "descent.damping is 0.0; it must lie between 1e-12 and"),
        ({"descent.tolerance": -0.1}, "descent.tolerance is -0.1; it must lie between 0 and 1"),
        (
            {"similarity.mind.dilation": 99},
            "similarity.mind.dilation is 99; it must lie between 1 and 16",
        ),
    ],
)
def test_absurd_parameters_are_named_with_their_range(parameters, sentence):
    with pytest.raises(InputError, match="Parameter") as refusal:
        neural_ode(parameters)
    assert sentence in str(refusal.value)


def test_a_weight_map_of_another_content_is_another_run(tmp_path):
    path = tmp_path / "weights.nii.gz"
    method = neural_ode({"weight_map": str(path)})
    with pytest.raises(InputError, match=r"weight_map .* cannot be read"):
        method.reads()
    path.write_bytes(b"one")
    before = method.reads()
    path.write_bytes(b"two")
    assert method.reads() != before
    assert NeuralODE().reads() == {}


def test_brains_that_do_not_overlap_are_refused():
    data = texture()
    left, right = np.zeros((2, 60, *SIZE[1:]), np.float32)
    left[: SIZE[0] - 5], right[-SIZE[0] + 5 :] = data[5:], data[:-5]
    with pytest.raises(
        RegistrationError, match=r"^The fixed and moving brains do not overlap; align them affinely"
    ):
        neural_ode(QUICK).register(pair_of(left, right), Machine())


@pytest.mark.parametrize("which", ["fixed", "moving"])
def test_an_empty_brain_is_named(which):
    pair = pair_of(texture(), texture())
    object.__setattr__(pair, f"{which}_mask", np.zeros(SIZE, bool))
    with pytest.raises(InputError, match=f"The mask of the {which} brain is empty"):
        neural_ode(QUICK).register(pair, Machine())


def test_a_mask_keeps_what_lies_outside_the_fixed_brain_out_of_the_similarity():
    """A blob beside the moving brain, which the fixed image does not have, pulls the map only
    without the mask.
    """
    data = texture((40, 40, 40))
    other = data.copy()
    other[2:5, 16:24, 16:24] = 1.0
    pair = dataclasses.replace(pair_of(data, other), moving_mask=data > 0)
    alike = {"similarity.squared_difference.weight": 10.0}
    found = {
        m: displacement_vox(neural_ode(alike | {"masked": m}, QUICK), pair)[data > 0]
        for m in (True, False)
    }
    assert np.abs(found[True]).max() < 0.5 * np.abs(found[False]).max()


def test_the_weight_map_stiffens_the_map_where_it_is_large(tmp_path):
    """The weight map lies on another grid than the pair: half the box, coarser voxels. Outside it
    the weight is 1.
    """
    data = texture()
    pair = pair_of(data, shifted(data, (2, 0, 0)))
    grid = pair.fixed.grid
    corner = grid.to_world(np.array([-0.5, -0.5, -0.5]))
    matrix = np.diag([-2.0, 2, 2, 1])
    matrix[:3, 3] = corner + 0.5 * np.array([-2, 2, 2])
    weights = np.full((8, 19, 16), 50.0, np.float32)
    io.write_image(tmp_path / "weights.nii.gz", Image(weights, Grid(weights.shape, matrix)))
    plain = displacement_vox(neural_ode(QUICK), pair)
    stiffened = displacement_vox(
        neural_ode({"weight_map": str(tmp_path / "weights.nii.gz")}, QUICK), pair
    )

    def roughness(found, half):
        return np.mean(np.square(np.diff(found, axis=0))[half][1:-1])

    left, right = slice(0, 15), slice(19, None)
    assert roughness(stiffened, left) < 0.05 * roughness(plain, left)
    assert roughness(stiffened, right) > 0.5 * roughness(plain, right)


def test_a_weight_of_two_everywhere_is_twice_the_weight(tmp_path):
    grid = Grid(
        (4, 4, 4), np.array([[20.0, 0, 0, -50], [0, 20, 0, -15], [0, 0, 20, -15], [0, 0, 0, 1]])
    )
    io.write_image(tmp_path / "twos.nii.gz", Image(np.full(grid.shape, 2.0), grid))
    pair = pair_of(texture(), shifted(texture(), (2, 0, 0)))
    twice, once = (
        neural_ode({"penalties.gradient.weight": 2 * w, "penalties.bending.weight": w}, QUICK)
        for w in (0.2, 0.1)
    )
    mapped = changed(once, {"weight_map": str(tmp_path / "twos.nii.gz")})
    assert np.abs(displacement_vox(twice, pair) - displacement_vox(mapped, pair)).max() < 1e-3


@pytest.mark.parametrize(
    ("value", "sentence"),
    [(None, "There is no file"), (-1.0, "must be finite and not negative"), (np.nan, "must be")],
)
def test_an_unusable_weight_map_is_refused(tmp_path, value, sentence):
    path = tmp_path / "weights.nii.gz"
    if value is not None:
        weights = np.ones(SIZE, np.float32)
        weights[3, 4, 5] = value
        nib.save(nib.Nifti1Image(weights, np.eye(4)), path)
    pair = pair_of(texture(), texture())
    with pytest.raises(InputError, match=r"weights\.nii\.gz") as refusal:
        neural_ode({"weight_map": str(path)}, QUICK).register(pair, Machine())
    assert sentence in str(refusal.value)


def test_every_similarity_and_penalty_has_its_place_in_the_trace():
    pair = pair_of(texture(), shifted(texture(), (1, 0, 0)))
    weights = {f"similarity.{name}.weight": 0.5 for name in SIMILARITIES if name != "descriptor"}
    variant = {"masked": True, "similarity.mind.form": "mind", "similarity.mind.moving": "warped"}
    method = neural_ode(
        weights, variant, {"penalties.bending.weight": 0.5, "levels.iterations": [2, 2]}
    )
    row = method.register(pair, Machine()).trace[-1]
    assert list(row) == [
        "level",
        "mind",
        "lmi",
        "mi",
        "ngf",
        "ncc",
        "ssd",
        "gradient",
        "bending",
        "energy",
    ]
    assert row["energy"] == pytest.approx(
        sum(v for k, v in row.items() if k not in ("level", "energy")), rel=1e-5
    )


@pytest.mark.parametrize(
    "parameters",
    [
        {"similarity.mind.form": "mind"},
        {"similarity.mind.moving": "warped"},
        {"masked": True},
        {"penalties": {"bending": {"weight": 0.1}}},
    ],
)
def test_a_shift_is_found_by_every_variant(parameters):
    data = texture()
    found = displacement_vox(
        neural_ode(parameters, QUICK), pair_of(data, shifted(data, (2, -1, 1)))
    )[data > 0]
    assert np.abs(np.median(found, axis=0) - (2, -1, 1)).max() < 0.25


def test_a_shift_is_found_between_scans_of_one_contrast():
    data = texture()
    for similarity in (
        {"squared_difference": {"weight": 20.0}},
        {"local_correlation": {"squared": False}},
    ):
        method = neural_ode({"similarity": similarity}, QUICK)
        found = displacement_vox(method, pair_of(data, shifted(data, (2, -1, 1))))[data > 0]
        assert np.abs(np.median(found, axis=0) - (2, -1, 1)).max() < 0.25


def test_an_energy_that_is_never_finite_is_a_failure():
    pair = pair_of(texture(), texture(seed=1))
    object.__setattr__(pair.fixed, "data", np.where(pair.fixed.data > 0.5, np.nan, pair.fixed.data))
    with pytest.raises(RegistrationError, match="not finite"):
        neural_ode(QUICK).register(pair, Machine())


def test_newborns_at_half_resolution_gain_over_affine_without_folds(data_root):
    """T1w of one newborn to T2w of another (subjects 06 and 01) gains at least 0.04 mean Dice over
    the affine alignment.
    """
    folder = data_root / "albert"

    def prepared(subject, modality):
        scan = io.read_image(
            folder / f"sub-{subject}" / "anat" / f"sub-{subject}_{modality}.nii.gz"
        )
        return prepare_image(scan, f"sub-{subject}", spacing_mm=1.71875)[0]

    fixed = prepared("01", "T2w")
    moving, to_scan = align_pair(fixed, prepared("06", "T1w"), "affine", "resample", 1, 1)
    pair = Pair(fixed, moving, foreground(fixed), foreground(moving))
    found = NeuralODE().register(pair, Machine())
    ids = read_label_table(LABELS)["id"].to_numpy()
    fixed_labels, moving_labels = (
        io.read_labels(folder / f"sub-{s}" / "anat" / f"sub-{s}_dseg.nii.gz") for s in ("01", "06")
    )
    reference = warp_labels(fixed_labels, Affine(), fixed.grid).data

    def mean_dice(transform):
        warped = warp_labels(moving_labels, transform, fixed.grid).data
        overlaps = [
            2
            * ((reference == i) & (warped == i)).sum()
            / ((reference == i).sum() + (warped == i).sum())
            for i in ids
        ]
        return np.mean(overlaps)

    assert mean_dice(found.forward.then(to_scan)) > mean_dice(to_scan) + 0.04
    metrics = jacobian_metrics(found.forward, np.ones(found.forward.grid.shape, bool))
    assert metrics["folds_onesided_percent"] == 0
