"""Trained methods: their convention of displacements, their weights, their training, and what they
refuse.
"""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from learned import LEARNED, SMALL, moving_all_by

from diffeode.datasets.person import Person
from diffeode.errors import DamagedFileError, InputError, RegistrationError, TrainingError
from diffeode.files import io
from diffeode.geometry.image import Image, Labels, foreground
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import warp_labels
from diffeode.learning import loop
from diffeode.learning.method_training import train
from diffeode.learning.pairs import (
    TrainingPair,
    both_ways,
    brain_box,
    require_no_test_person,
    split_by_person,
)
from diffeode.losses.dice import dice_loss
from diffeode.losses.divergence import divergence_from_smooth
from diffeode.prepare.pair import write_aligned_pair
from diffeode.provenance.receipt import write_receipt
from diffeode.registration.base import Machine, Pair
from diffeode.registration.registry import make_method
from diffeode.registration.runs import load_run
from diffeode.weights.checkpoint import read_checkpoint

GRID = Grid(
    (26, 28, 24), np.array([[-2.0, 0, 0, 40], [0, 0, 1.5, -30], [0, 2.5, 0, -20], [0, 0, 0, 1]])
)
SHIFT_VOX = np.array([2.0, -3.0, 1.0])


def textured(seed, grid=GRID, shift=(0, 0, 0)):
    """A smooth random ball on background 0 and its label map, moved by whole voxels."""
    noise = torch.rand(1, 1, 9, 10, 9, generator=torch.Generator().manual_seed(seed))
    values = F.interpolate(noise, grid.shape, mode="trilinear")[0, 0].numpy()
    radius = np.linalg.norm(
        (grid.voxels() - (np.array(grid.shape) - 1) / 2) / (0.33 * np.array(grid.shape)), axis=-1
    )
    values = np.where(radius < 1, 0.2 + 0.8 * values, 0)
    values = np.roll(values, shift, (0, 1, 2))
    return Image(values, grid), Labels(np.digitize(values, [0.1, 0.5, 0.65]), grid)


def pair_of(fixed, moving):
    return Pair(fixed, moving, foreground(fixed), foreground(moving))


@pytest.fixture(scope="module")
def shifted(tmp_path_factory):
    """Return fixed and moving image and labels, and what a method found whose weights are set by
    hand.
    """
    folder = tmp_path_factory.mktemp("weights")
    fixed, (moving, labels) = textured(0)[0], textured(0, shift=SHIFT_VOX.astype(int))
    methods = {name: moving_all_by(name, SHIFT_VOX, folder) for name in LEARNED}
    found = {name: m.register(pair_of(fixed, moving), Machine()) for name, m in methods.items()}
    return fixed, moving, labels, methods, found


# ----------------------------------------------------------------------------------- the convention


@pytest.mark.parametrize("name", LEARNED)
def test_a_constant_displacement_has_its_sign_axes_and_unit(name, shifted):
    fixed, _, _, _, found = shifted
    points = GRID.points_mm()[foreground(fixed)]
    expected = points + GRID.affine[:3, :3] @ SHIFT_VOX
    np.testing.assert_allclose(found[name].forward(points), expected, atol=2e-3)


@pytest.mark.parametrize("name", LEARNED)
def test_our_resampler_warps_labels_as_the_network_does(name, shifted):
    fixed, moving, labels, methods, found = shifted
    method, window = methods[name], brain_box(fixed, moving)
    parts = [
        torch.from_numpy(np.ascontiguousarray(i.data[window], dtype=np.float32))[None, None]
        for i in shifted[:3]
    ]
    size = tuple(parts[0].shape[2:])
    whole = [
        F.pad(p, [w for n in reversed(size) for w in (0, -n % method.multiple)]) for p in parts
    ]
    with torch.no_grad():
        u = method.maps(method.loaded("cpu"), whole[0], whole[1]).forward
        places = (
            torch.stack(
                torch.meshgrid(*(torch.arange(float(n)) for n in u.shape[2:]), indexing="ij")
            )[None]
            + u
        )
        scale = torch.tensor([2 / (n - 1) for n in u.shape[2:]]).view(1, 3, 1, 1, 1)
        at = (places * scale - 1).movedim(1, -1).flip(-1)
        own = F.grid_sample(whole[2], at, mode="nearest", align_corners=True)[0, 0][
            tuple(slice(n) for n in size)
        ]
    ours = warp_labels(labels, found[name].forward, GRID).data[window]
    assert ours.any()
    assert (own.numpy() == ours).mean() >= 0.999


@pytest.mark.parametrize("name", ["symnet", "dif-voxelmorph", "otmorph"])
def test_the_inverse_goes_back(name, shifted):
    _, moving, _, _, found = shifted
    points = GRID.points_mm()[foreground(moving)]
    np.testing.assert_allclose(
        found[name].inverse(points), points - GRID.affine[:3, :3] @ SHIFT_VOX, atol=2e-3
    )


@pytest.mark.parametrize("name", ["voxelmorph", "transmatch"])
def test_a_bare_displacement_claims_no_inverse(name, shifted):
    assert shifted[4][name].inverse is None


# ------------------------------------------------------------------------------------------ weights


@pytest.mark.parametrize("name", LEARNED)
def test_without_weights_it_says_what_to_do(name):
    image = textured(0)[0]
    with pytest.raises(InputError, match=r"has no weights; run 'diffeode train'.*train_on"):
        make_method(name, SMALL[name]).register(pair_of(image, image), Machine())


def test_weights_that_are_absent_or_others_are_refused(tmp_path):
    method = moving_all_by("voxelmorph", SHIFT_VOX, tmp_path)
    assert "no weights at" in replace(method, weights="nowhere.safetensors").lacking()
    assert replace(method, weights_sha256=io.sha256(method.weights)).lacking() == ""
    other = replace(method, weights_sha256="0" * 64)
    assert "SHA-256 differs" in other.lacking()
    with pytest.raises(InputError, match="SHA-256 differs"):
        other.loaded("cpu")


def test_weights_of_another_architecture_are_refused(tmp_path):
    of_another = moving_all_by("voxelmorph", SHIFT_VOX, tmp_path).weights
    with pytest.raises(InputError, match="weights of voxelmorph"):
        make_method("symnet", {**SMALL["symnet"], "weights": of_another}).loaded("cpu")
    narrow = moving_all_by("symnet", SHIFT_VOX, tmp_path)
    with pytest.raises(InputError, match="trained with channels 2, not with channels 3"):
        replace(narrow, channels=3).loaded("cpu")


def test_weights_that_are_not_finite_fail_the_pair(tmp_path):
    method = moving_all_by("voxelmorph", [np.nan, 0, 0], tmp_path)
    image = textured(0)[0]
    with pytest.raises(RegistrationError, match="not finite"):
        method.register(pair_of(image, image), Machine())


def test_images_too_small_or_constant_are_refused(tmp_path):
    method = moving_all_by("symnet", SHIFT_VOX, tmp_path)
    small = textured(0, Grid((15, 40, 40), np.eye(4)))[0]
    with pytest.raises(InputError, match="at least 16 voxels"):
        method.register(pair_of(small, small), Machine())
    flat = Image((textured(0)[0].data > 0).astype(np.float32), GRID)
    with pytest.raises(InputError, match="moving brain is constant"):
        method.register(pair_of(textured(0)[0], flat), Machine())


@pytest.mark.parametrize(
    ("name", "parameters", "word"),
    [
        ("symnet", {"channels": 0}, "channels"),
        ("voxelmorph", {"validation_persons": 1}, "validation_persons"),
        ("dif-voxelmorph", {"prior": 0}, "prior"),
        ("otmorph", {"critic_interval": 0}, "critic_interval"),
        ("transmatch", {"heads": [4, 4, 8]}, "4 whole numbers"),
        ("transmatch", {"embedding": 90}, "heads"),
    ],
)
def test_hyper_parameters_are_checked(name, parameters, word):
    with pytest.raises(InputError, match=word):
        make_method(name, parameters)


# ------------------------------------------------------------------------------------------ persons


def planned(fixed, moving):
    return TrainingPair(
        *(io.Path(p) for p in (f"{fixed}-{moving}",)),
        fixed,
        moving,
        io.Path(fixed),
        io.Path(moving),
    )


PLANNED = [planned(a, b) for a in "abcdef" for b in "abcdef" if a != b]


@pytest.mark.parametrize("seed", range(5))
def test_nobody_is_trained_and_validated_on(seed):
    training, validation = split_by_person(PLANNED, 2, seed)
    persons = [
        frozenset().union(*(pair.persons for pair in part)) for part in (training, validation)
    ]
    assert [len(p) for p in persons] == [4, 2]
    assert not persons[0] & persons[1]
    assert (len(training), len(validation)) == (12, 2)
    assert split_by_person(PLANNED[::-1], 2, seed)[1] == validation[::-1]


def test_few_pairs_of_many_persons_leave_some_to_validate_on():
    """Persons who were held out one by one would be in no pair with each other."""
    rng = np.random.default_rng(3)
    drawn = {(f"f{a}", f"m{b}") for a, b in rng.integers(0, 100, (400, 2))}
    pairs = [planned(*names) for names in sorted(drawn)]
    training, validation = split_by_person(pairs, 20, 0)
    held_out = frozenset().union(*(pair.persons for pair in validation))
    assert len(held_out) in (20, 21)
    assert len(validation) >= 10
    assert len(training) > 0.75 * len(pairs)
    assert not held_out & frozenset().union(*(pair.persons for pair in training))
    assert split_by_person(pairs[::-1], 20, 0)[1] == validation[::-1]
    assert split_by_person(pairs, 20, 1)[1] != validation


def test_as_many_persons_as_asked_for_are_held_out_where_all_are_paired():
    _, validation = split_by_person(PLANNED, 3, 0)
    assert len(frozenset().union(*(pair.persons for pair in validation))) == 3
    assert len(validation) == 6


def test_too_few_persons_are_refused():
    with pytest.raises(InputError, match="2 persons held out"):
        split_by_person([planned("a", "b"), planned("b", "c")], 2, 0)


def test_a_test_person_in_the_training_is_refused():
    a, b, c = (Person(name, frozenset({name})) for name in "abc")
    again = Person("b at another resolution", frozenset({"b", "elsewhere"}))
    require_no_test_person([a, b], [c])
    with pytest.raises(InputError, match=r"1 of the persons to test on .*\(b\)"):
        require_no_test_person([a, b], [again, c])


def test_pairs_go_both_ways():
    turned = both_ways(PLANNED[:2])
    assert len(turned) == 4
    assert sum(pair.turned for pair in turned) == 2


# ----------------------------------------------------------------------------------------- training


@pytest.fixture(scope="module")
def training_pairs(tmp_path_factory):
    """Four persons, all pairs, aligned by header; contrast is inverted on the moving side."""
    root, pairs = tmp_path_factory.mktemp("training"), []
    for person, shift in zip("abcd", ((0, 0, 0), (2, 0, 0), (0, 2, 0), (0, 0, 2)), strict=True):
        image, labels = textured(0, shift=shift)
        dark = Image(np.where(image.data > 0, 1.2 - image.data, 0), GRID)
        for contrast, scan in (("bright", image), ("dark", dark)):
            folder = root / f"{person}-{contrast}"
            io.write_image(folder / "image.nii.gz", scan)
            io.write_labels(folder / "labels.nii.gz", labels)
            write_receipt(folder, ["image.nii.gz", "labels.nii.gz"], {"scan": folder.name})
    for a in "abcd":
        for b in "abcd".replace(a, ""):
            fixed, moving, folder = root / f"{a}-bright", root / f"{b}-dark", root / f"{a}{b}"
            write_aligned_pair(fixed, moving, folder, "none", "refuse", 1, 0)
            pairs.append(TrainingPair(folder, a, b, fixed, moving))
    return pairs


def test_an_example_has_both_brains_and_their_labels_on_one_box(training_pairs):
    pair = training_pairs[0]
    example, turned = pair.example(True), replace(pair, turned=True).example(True)
    assert example.fixed.shape == example.moving_labels.shape
    assert max(example.fixed.shape) < max(GRID.shape)
    np.testing.assert_array_equal(turned.fixed, example.moving)
    np.testing.assert_array_equal(turned.moving_labels, example.fixed_labels)
    for image, labels in (
        (example.fixed, example.fixed_labels),
        (example.moving, example.moving_labels),
    ):
        np.testing.assert_array_equal(image > 0, labels > 0)
    assert pair.example(False).fixed_labels is None


def test_a_damaged_training_pair_is_noticed(training_pairs, tmp_path):
    pair = replace(training_pairs[0], folder=tmp_path / "pair")
    write_aligned_pair(pair.fixed_labels, pair.moving_labels, pair.folder, "none", "refuse", 1, 0)
    (pair.folder / "moving.nii.gz").write_bytes(b"")
    with pytest.raises(DamagedFileError):
        pair.example(False)


@pytest.mark.parametrize("name", LEARNED)
def test_otmorph_alone_learns_from_one_contrast_to_the_other(name, training_pairs, monkeypatch):
    """The fixed and the moving side of the training, and of the validation, hold the expected
    contrasts; the test tells contrasts apart by the mean of the brain.
    """
    bright, dark = (
        _mean(io.read_image(training_pairs[0].folder / f"{side}.nii.gz").data)
        for side in ("fixed", "moving")
    )
    assert abs(bright - dark) > 0.01
    method, seen = make_method(name, {**SMALL[name], "steps": 1}), []

    def look(self, network, views):
        sides = (views.fixed, views.moving)
        seen.append(tuple(min((bright, dark), key=lambda m: abs(m - _mean(v))) for v in sides))
        return {"one": torch.ones(())}

    for loss in ("losses", "judge"):
        monkeypatch.setattr(type(method), loss, look)
    lessons = []
    monkeypatch.setattr(loop, "train_by_content", lambda *given: lessons.append(given[:2]))
    said = []
    train(method, training_pairs, None, Machine(), said.append)
    (lesson, _), generator = lessons[0], np.random.default_rng(0)
    for _ in range(20):
        lesson.objective(None, generator)
    lesson.validate(None)
    as_it_is = {(bright, dark)}
    ways = as_it_is if name == "otmorph" else as_it_is | {(dark, bright)}
    assert set(seen[:20]) == set(seen[20:]) == ways
    assert f" {2 * len(ways)} directed pairs to train on" in said[0]


def _mean(data) -> float:
    return float(data[data > 0].mean())


@pytest.mark.parametrize("name", LEARNED)
def test_epochs_are_passes_over_all_directed_pairs(name, training_pairs, monkeypatch):
    """Two of four persons are held out, so two pairs are left to train on, or four directed ones
    where both directions are shown.
    """
    asked = []
    monkeypatch.setattr(loop, "train_by_content", lambda *given: asked.append(given[1].steps))
    for given in ({"steps": 7}, {"steps": 7, "epochs": 3}):
        method = make_method(name, {**SMALL[name], **given})
        train(method, training_pairs, None, Machine(), lambda message: None)
    assert asked == [7, 3 * (2 if name == "otmorph" else 4)]


def test_the_papers_otmorph_has_three_thousand_epochs():
    method = load_run("otmorph-paper").build()
    assert (method.epochs, method.learning_rate) == (3000, 2e-4)
    assert replace(method, epochs=0) == load_run("otmorph").build()


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name in LEARNED if name != "transmatch"])
def test_training_lowers_the_loss_on_persons_held_out(name, training_pairs, tmp_path):
    method = make_method(name, {**SMALL[name], "learning_rate": 0.001, "steps": 8, "interval": 4})
    said = []
    best = train(method, training_pairs, tmp_path, Machine(seed=1), said.append)
    found = np.genfromtxt(best.parent / "curves.tsv", names=True)["validation_loss"].min()
    kept = read_checkpoint(best, name, 1).about
    assert kept.metrics["validation_loss"] == pytest.approx(found, rel=1e-6)
    untrained = untrained_loss(method, training_pairs)
    assert found < untrained - 1e-4 * abs(untrained), "more than rounding"
    assert len(kept.data) == len(training_pairs)
    assert "left" in said[-1]
    trained = replace(method, weights=str(best))
    images = [
        io.read_image(training_pairs[0].folder / f"{side}.nii.gz") for side in ("fixed", "moving")
    ]
    assert np.isfinite(trained.register(pair_of(*images), Machine()).forward.displacement_mm).all()


@pytest.mark.slow
def test_transmatch_learns_a_pair_by_heart(training_pairs):
    method = make_method("transmatch", {**SMALL["transmatch"], "dropped": 0.0})
    torch.manual_seed(0)
    network = method.network()
    optimiser = torch.optim.Adam(network.parameters(), lr=0.001, amsgrad=True)
    views = method.views(training_pairs[0].example(True), "cpu")
    losses = []
    for _ in range(15):
        loss = sum(method.losses(network, views).values())
        losses.append(loss.item())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
    assert min(losses[-3:]) < losses[0] - 0.01


def untrained_loss(method, pairs):
    """Return the loss of the network with which the training starts, on the persons for
    validation.
    """
    torch.manual_seed(1)
    network = method.network().eval()
    _, validation = split_by_person(pairs, 2, 1)
    views = [
        method.views(pair.example(method.learns_from_labels), "cpu")
        for pair in (both_ways(validation) if method.learns_both_ways else validation)
    ]
    with torch.no_grad():
        return np.mean([sum(method.judge(network, view).values()).item() for view in views])


@pytest.mark.slow
def test_a_training_that_was_killed_goes_on_as_if_it_had_not_been(training_pairs, tmp_path):
    method = make_method(
        "otmorph", {**SMALL["otmorph"], "steps": 4, "interval": 2, "critic_interval": 3}
    )

    def killed(message):
        if message.startswith("step 2 "):
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        train(method, training_pairs, tmp_path / "killed", Machine(), killed)
    finished = [
        train(method, training_pairs, tmp_path / f, Machine(), lambda m: None)
        for f in ("killed", "whole")
    ]
    one, other = (
        read_checkpoint(path.parent / "last.safetensors", "otmorph", 1).tensors for path in finished
    )
    assert one["network.step"] == 4
    assert all(torch.equal(one[name], other[name]) for name in other)


@pytest.mark.slow
def test_other_settings_begin_a_training_of_their_own(training_pairs, tmp_path):
    method = make_method("dif-voxelmorph", {"steps": 1, "interval": 1})
    others = (method, method, replace(method, prior=2.0))
    places = [train(m, training_pairs, tmp_path, Machine(), lambda m: None).parent for m in others]
    assert places[0] == places[1] != places[2]


def test_a_loss_that_is_not_finite_stops_the_training(training_pairs, tmp_path):
    method = make_method("voxelmorph", {"steps": 1, "interval": 1})
    object.__setattr__(method, "weight_gradient", np.inf)
    with pytest.raises(TrainingError, match="not finite"):
        train(method, training_pairs, tmp_path, Machine(), lambda m: None)
    assert not list(tmp_path.rglob("best.safetensors"))


def test_training_on_labels_needs_labels(training_pairs, tmp_path):
    bare = tmp_path / "bare"
    io.write_image(bare / "image.nii.gz", textured(0)[0])
    write_receipt(bare, ["image.nii.gz"], {})
    pair = replace(training_pairs[0], moving_labels=bare)
    with pytest.raises(InputError, match="has no labels"):
        pair.example(True)


def test_otmorphs_critic_learns_in_its_own_steps_and_only_then(training_pairs):
    method = make_method("otmorph", {**SMALL["otmorph"], "critic_interval": 2})
    torch.manual_seed(0)
    network = method.network()
    views = method.views(training_pairs[0].example(False), "cpu")
    learned = []
    for _ in range(4):
        network.zero_grad(set_to_none=True)
        sum(method.losses(network, views).values()).backward()
        learned.append(any(p.grad is not None for p in network["critic"].parameters()))
        assert all(p.grad is not None for p in network["transport"].parameters())
    assert learned == [False, True, False, True]


# ------------------------------------------------------------------------------------------- losses


def test_overlap_loss_is_one_minus_the_mean_dice():
    fixed, other = torch.zeros(1, 2, 4, 4, 4), torch.zeros(1, 2, 4, 4, 4)
    fixed[:, 0, :2], fixed[:, 1, 2:], other[:, 0, :1], other[:, 1, 1:] = 1, 1, 1, 1
    assert dice_loss(fixed, fixed).item() == pytest.approx(0, abs=1e-6)
    assert dice_loss(other, fixed).item() == pytest.approx(1 - np.mean([2 / 3, 4 / 5]))


def test_divergence_is_least_where_the_posterior_is_the_priors_conditional():
    mean = torch.zeros(1, 3, 6, 6, 6)
    inner = torch.full_like(mean, -np.log(10 * 6))
    values = [divergence_from_smooth(mean, inner + d, 10.0).item() for d in (-0.5, 0.1, 0.5)]
    assert values[1] < min(values[0], values[2])


def test_divergence_of_two_voxels_is_the_closed_form():
    precision, mean = 4.0, torch.tensor([0.3, -0.2])
    log_variance = torch.tensor([-1.0, -2.0])
    laplacian = precision * torch.tensor([[1.0, -1.0], [-1.0, 1.0]])
    expected = 0.5 * (
        (laplacian.diagonal() * log_variance.exp()).sum()
        - log_variance.sum()
        + mean @ laplacian @ mean
    )
    found = 2 * divergence_from_smooth(mean.view(1, 1, 2), log_variance.view(1, 1, 2), precision)
    # the gradient's mean is over one edge, the divergence's over two voxels
    edge = 0.5 * precision * (mean[0] - mean[1]) ** 2
    assert (found - edge).item() == pytest.approx(expected.item(), rel=1e-5)


def test_what_a_checkpoint_says_of_the_network_survives_json(tmp_path):
    method = make_method("transmatch", SMALL["transmatch"])
    assert json.loads(json.dumps(method.shaped_by())) == method.shaped_by()
