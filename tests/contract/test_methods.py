"""The laws that every registered method must obey, for all methods that the registry finds.

The phantom is a formula in millimetres, so that only the methods interpolate. It is a soft "brain"
with blobs on a grid with anisotropic voxels and axes to the left, and the same anatomy in another
contrast, bent by a known smooth map.
"""

import dataclasses
import tempfile
import warnings
from functools import cache
from io import StringIO

import numpy as np
import pytest
from learned import SMALL, write_weights_moving_all_by

from diffeode.errors import InputError, RegistrationError
from diffeode.files.io import read_labels, write_displacement, write_labels
from diffeode.geometry.image import Image, Labels, foreground
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, densify, invert, warp_labels
from diffeode.methods.ants_syn import AntsSyn
from diffeode.methods.convexadam import ConvexAdam
from diffeode.methods.greedy import Greedy
from diffeode.registration.base import Machine, Pair, Registration
from diffeode.registration.registry import make_method, method_class, method_names, missing_needs

FAST = {
    "ants-syn": {"iterations": [30, 20, 10]},
    "convexadam": {"selected_niter": 40},
}
"""Parameters with which a method is quick on the phantom but computes the same."""

RIGHT_FROM_THE_START = {"identity"}
TRAINED_FIRST = {name for name in method_names() if method_class(name).trained}
"""Methods whose weights are set by hand, so that every voxel of a pair moves alike; see
:func:`settings_of`.
"""
LINEAR = {"identity", "affine"}
WITHOUT_INVERSE = {
    "convexadam",
    "deedsbcv",
    "dinoreg",
    "multigradicon",
    "niftyreg",
    "transmatch",
    "voxelmorph",
}
"""Methods that return the map in one direction only, which the harness then inverts. Older forms of
SynthMorph do so, too.
"""

GRID = Grid(
    (40, 48, 40), np.array([[-3.0, 0, 0, 58.5], [0, 2.5, 0, -60], [0, 0, 2.75, -52], [0, 0, 0, 1]])
)
SHIFT_VOX = np.array([2.0, -3.0, 1.0])
SHIFT_MM = GRID.affine[:3, :3] @ SHIFT_VOX
SEMI_AXES_MM = np.array([40.0, 44, 38])


# -------------------------------------------------------------------------------------- the phantom


def tissue(points_mm):
    """Return a tissue value in [0, 1] of 24 blobs at ``points_mm (..., 3)``, and whether a point
    lies in the brain.
    """
    random = np.random.default_rng(3)
    total = np.full(points_mm.shape[:-1], 0.5)
    for centre, width, sign in zip(
        random.uniform(-30, 30, (24, 3)),
        random.uniform(6, 11, 24),
        np.tile([1, -1], 12),
        strict=True,
    ):
        total += sign * 0.6 * np.exp(-((points_mm - centre) ** 2).sum(-1) / (2 * width**2))
    brain = ((points_mm / SEMI_AXES_MM) ** 2).sum(-1) < 1
    return np.clip(total, 0.02, 1), brain


def bent(points_mm):
    """Return the map from the moving phantom back to the fixed one: waves of 4 mm, each along one
    axis as a function of another.
    """
    x, y, z = np.moveaxis(points_mm / 14, -1, 0)
    return points_mm + 4 * np.stack([np.sin(y), np.sin(z + 1), np.sin(x + 2)], axis=-1)


def scan(contrast, deformation):
    """Return an image and its label map of five classes, background 0, on the grid."""
    value, brain = tissue(deformation(GRID.points_mm()))
    labels = np.where(brain, 1 + np.digitize(value, [0.25, 0.45, 0.55, 0.75]), 0)
    return Image(np.where(brain, contrast(value), 0), GRID), Labels(labels, GRID)


def bright(value):
    return 0.1 + 0.9 * value


def dark_and_curved(value):
    return 0.1 + 0.9 * (1 - value) ** 1.5


PHANTOMS = {
    "identical": (bright, lambda points: points),
    "bent": (dark_and_curved, bent),
    "shifted": (bright, lambda points: points - SHIFT_MM),
}


@cache
def phantom(kind):
    """``fixed, fixed_labels, moving, moving_labels``."""
    return *scan(bright, lambda points: points), *scan(*PHANTOMS[kind])


@pytest.fixture(scope="module", params=method_names())
def name(request):
    return request.param


@pytest.fixture(scope="module")
def settings_of(name, tmp_path_factory):
    """Return the method's parameters for a kind of pair; a trained method gets weights that move
    all voxels as this kind needs it.

    They move nothing in an identical pair and every voxel by ``SHIFT_VOX`` in the other kinds.
    """

    @cache
    def settings(kind):
        if name not in TRAINED_FIRST:
            return FAST.get(name, {})
        moved = (0, 0, 0) if kind == "identical" else SHIFT_VOX
        weights = write_weights_moving_all_by(name, moved, tmp_path_factory.mktemp("weights"))
        return {**SMALL[name], "weights": str(weights)}

    missing = missing_needs(name, settings("identical"))
    if missing:
        pytest.skip(f"{name} cannot run here: {'; '.join(missing)}")
    return settings


@pytest.fixture(scope="module")
def register(name, settings_of):
    """``register(kind)`` registers the phantoms of that kind anew."""

    def run(kind) -> Registration:
        fixed, _, moving, _ = phantom(kind)
        pair = Pair(fixed, moving, foreground(fixed), foreground(moving))
        return make_method(name, settings_of(kind)).register(pair, Machine(threads=1, seed=1))

    return run


@pytest.fixture(scope="module")
def registered(register):
    """``registered(kind)`` is what the method found; it registers each kind once."""
    return cache(register)


def displacement_in_brain(transform):
    """Return the displacements ``(n, 3)`` in RAS mm at the voxels of the fixed brain."""
    field = densify(transform, GRID).displacement_mm
    return field[foreground(phantom("identical")[0])]


def mean_dice(a, b):
    classes = np.unique(a.data[a.data > 0])
    overlap = [
        2 * ((a.data == c) & (b.data == c)).sum() / ((a.data == c).sum() + (b.data == c).sum())
        for c in classes
    ]
    return float(np.mean(overlap))


# ----------------------------------------------------------------------------------------- the laws


@pytest.mark.parametrize("name", method_names())
def test_says_what_it_is_and_whom_to_cite(name):
    cls = method_class(name)
    assert cls.title.strip()
    assert len(cls.citation) > 20
    assert getattr(cls, "licence", "").strip(), (
        f"{name} must say under which licence its tool comes (licence = ...)"
    )
    assert dataclasses.is_dataclass(cls)
    assert cls.__dataclass_params__.frozen
    assert getattr(cls, "__final__", False)


def test_identical_pair_stays_where_it_is(registered):
    moved_vox = np.abs(displacement_in_brain(registered("identical").forward) / GRID.spacing)
    assert moved_vox.mean() < 0.15
    assert moved_vox.max() < 0.6


def test_overlap_grows(name, registered):
    """The overlap of the bent pair grows; with weights set by hand, which can only shift, that of
    the shifted pair.
    """
    kind = "shifted" if name in TRAINED_FIRST else "bent"
    _, fixed_labels, _, moving_labels = phantom(kind)
    before = mean_dice(fixed_labels, moving_labels)
    after = mean_dice(fixed_labels, warp_labels(moving_labels, registered(kind).forward, GRID))
    assert before < 0.75
    assert after >= before - 0.01 + (0.0 if name in LINEAR else 0.1)


def test_bent_pair_gives_a_finite_map_without_folds(registered):
    field = densify(registered("bent").forward, GRID)
    assert np.isfinite(field.displacement_mm).all()
    gradient = np.stack(
        [np.stack(np.gradient(field.displacement_mm[..., a]), -1) for a in range(3)], -2
    )
    jacobian = np.linalg.det(np.eye(3) + gradient @ np.linalg.inv(GRID.affine[:3, :3]))
    assert (jacobian[foreground(phantom("bent")[0])] <= 0).mean() < 0.001


def test_shift_by_whole_voxels_is_found_with_its_sign_and_unit(name, registered):
    expected_mm = np.zeros(3) if name in RIGHT_FROM_THE_START else SHIFT_MM
    found_mm = np.median(displacement_in_brain(registered("shifted").forward), axis=0)
    np.testing.assert_allclose(found_mm / GRID.spacing, expected_mm / GRID.spacing, atol=0.5)


@pytest.mark.parametrize("kind", ["bent", "shifted"])
def test_the_inverse_inverts(name, registered, kind):
    """The inverse is the method's own or, where it has none, the one that the harness makes of its
    map.
    """
    found = registered(kind)
    assert (found.inverse is None) == (name in WITHOUT_INVERSE) or name == "synthmorph"
    inverse = found.inverse or invert(densify(found.forward, GRID), GRID)
    points = GRID.points_mm()[foreground(phantom(kind)[0])]
    error_vox = np.linalg.norm((inverse(found.forward(points)) - points) / GRID.spacing, axis=-1)
    assert error_vox.mean() < 0.15
    assert np.quantile(error_vox, 0.99) < 0.6


def test_same_seed_same_result_nothing_left_behind_nothing_said(
    register, registered, monkeypatch, tmp_path, capfd
):
    first = registered("bent")
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    capfd.readouterr()
    with warnings.catch_warnings(record=True) as warned:
        warnings.simplefilter("always")
        filters = list(warnings.filters)
        second = register("bent")
        assert list(warnings.filters) == filters
    assert tuple(capfd.readouterr()) == ("", "")
    assert [str(w.message) for w in warned] == []
    assert list(tmp_path.iterdir()) == []
    for a, b in ((first.forward, second.forward), (first.inverse, second.inverse)):
        if a is not None:
            np.testing.assert_array_equal(
                densify(a, GRID).displacement_mm, densify(b, GRID).displacement_mm
            )


@pytest.mark.parametrize("name", [name for name in method_names() if method_class(name).needs.gpu])
@pytest.mark.parametrize("device", ["cuda", "cuda:99"])
def test_a_gpu_that_is_not_there_is_refused_rather_than_replaced(name, device, monkeypatch):
    import torch

    monkeypatch.setattr(torch.cuda, "device_count", lambda: 0)
    fixed, _, moving, _ = phantom("bent")
    with pytest.raises(InputError, match=f"^There is no device {device} here "):
        make_method(name, {}).register(
            Pair(fixed, moving, foreground(fixed), foreground(moving)), Machine(device=device)
        )


# -------------------------------------------------------------------------------- particular to one


@pytest.mark.parametrize(
    ("shape", "levels"),
    [((160, 192, 160), 4), ((64, 80, 70), 4), ((63, 80, 70), 3), ((40, 48, 40), 3), ((7, 7, 7), 1)],
)
def test_syn_leaves_out_levels_below_eight_voxels(shape, levels):
    assert AntsSyn().iterations_for(shape) == (100, 70, 50, 20)[-levels:]


def test_convexadam_refuses_images_below_three_control_points():
    grid = Grid((30, 17, 30), np.eye(4))
    image = Image(np.random.default_rng(0).random(grid.shape), grid)
    mask = foreground(image)
    with pytest.raises(RegistrationError, match="at least 18 voxels along each axis"):
        ConvexAdam().register(Pair(image, image, mask, mask), Machine())


def test_convexadam_runs_at_its_smallest_size():
    grid = Grid((18, 18, 18), np.eye(4))
    image = Image(np.random.default_rng(0).random(grid.shape), grid)
    mask = foreground(image)
    found = ConvexAdam(selected_niter=2).register(Pair(image, image, mask, mask), Machine())
    assert np.abs(found.forward.displacement_mm).max() < 0.5


def convexadam_on(descriptor):
    fixed, _, moving, _ = phantom("bent")
    pair = Pair(fixed, moving, foreground(fixed), foreground(moving))
    return ConvexAdam(descriptor=descriptor, **FAST["convexadam"]).register(pair, Machine()).forward


def test_convexadam_on_our_mind_is_the_packages_own():
    ours, own = (convexadam_on(descriptor).displacement_mm for descriptor in ("mind", "mind-ssc"))
    assert np.abs(own).max() > 5
    assert np.abs(ours - own).max() < 0.01


def test_convexadam_follows_the_learned_descriptor():
    points = GRID.points_mm()[foreground(phantom("bent")[0])]
    before, after = (
        np.linalg.norm(bent(at) - points, axis=-1).mean()
        for at in (points, convexadam_on("learned")(points))
    )
    assert after < 0.75 * before


@pytest.mark.parametrize("name", ["greedy"], indirect=True)
def test_greedy_warps_labels_as_we_do(registered, tmp_path):
    from picsl_greedy import Greedy3D

    _, _, _, labels = phantom("bent")
    warp = registered("bent").forward
    names = {name: str(tmp_path / f"{name}.nii.gz") for name in ("labels", "warp", "warped")}
    write_labels(names["labels"], labels)
    write_displacement(names["warp"], warp)
    Greedy3D().execute(
        "-d 3 -V 0 -rf {labels} -ri NN -rm {labels} {warped} -r {warp}".format(**names),
        out=StringIO(),
        err=StringIO(),
    )
    agree = read_labels(names["warped"]).data == warp_labels(labels, warp, GRID).data
    assert agree.mean() > 0.9999


def test_greedy_says_why_it_gave_up():
    grid = Grid((7, 20, 20), np.eye(4))
    fixed, moving = (
        Image(np.random.default_rng(seed).random(grid.shape) + 0.1, grid) for seed in (0, 1)
    )
    pair = Pair(fixed, moving, foreground(fixed), foreground(moving))
    with pytest.raises(RegistrationError, match=r"Greedy gave up .*four pixels"):
        Greedy().register(pair, Machine())


def test_greedy_with_local_correlation_is_the_same_each_time():
    fixed, _, moving, _ = phantom("shifted")
    pair = Pair(fixed, moving, foreground(fixed), foreground(moving))
    first, second = (
        Greedy(metric="NCC", iterations=(20, 5)).register(pair, Machine()) for _ in range(2)
    )
    np.testing.assert_array_equal(first.forward.displacement_mm, second.forward.displacement_mm)
    assert [row["level"] for row in first.trace] == [2.0] * 20 + [1.0] * 5
    assert first.trace[19]["energy"] < first.trace[0]["energy"]


@pytest.mark.parametrize(
    ("name", "parameters", "word"),
    [
        ("convexadam", {"selected_smooth": 2}, "odd"),
        ("convexadam", {"descriptor": "mnd"}, "descriptor"),
        ("convexadam", {"lambda_weight": 0}, "lambda_weight"),
        ("convexadam", {"grid_spp": 4}, "did you mean 'grid_sp'"),
        ("ants-syn", {"iterations": [100, -1]}, "iterations"),
        ("ants-syn", {"iterations": []}, "iterations"),
        ("ants-syn", {"bins": "many"}, "number"),
        ("ants-syn", {"gradient_step": 0}, "gradient_step"),
        ("greedy", {"metric": "LNCC"}, "NCC"),
        ("greedy", {"iterations": [1.5]}, "iterations"),
        ("greedy", {"warp_sigma": -1}, "warp_sigma"),
        ("affine", {"iterations": [1]}, "no parameter"),
    ],
)
def test_hyper_parameters_are_checked(name, parameters, word):
    with pytest.raises(InputError, match=word):
        make_method(name, parameters)


@pytest.mark.parametrize("name", ["affine"], indirect=True)
def test_affine_gives_an_affine_both_ways(registered):
    found = registered("shifted")
    assert isinstance(found.forward, Affine)
    np.testing.assert_allclose(found.forward.then(found.inverse)(np.eye(3)), np.eye(3), atol=1e-9)
