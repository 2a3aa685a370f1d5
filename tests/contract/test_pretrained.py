"""Methods on pretrained networks, end to end with small networks of the same architecture and
random weights.

What a random network finds means nothing. These tests check everything around it: reading weights,
the order of axes, signs and units, and that a failure is told in a sentence. They do not need the
published weights.
"""

import numpy as np
import pytest

from diffeode.errors import InputError, RegistrationError
from diffeode.geometry.image import Image, foreground
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import densify, warp_labels
from diffeode.methods.dinoreg import Coronal, DinoReg
from diffeode.methods.multigradicon import MultiGradIcon, _dense, _to_itk
from diffeode.registration.base import Machine, Pair
from diffeode.registration.registry import missing_needs, standing
from diffeode.weights import catalogue as weights

OBLIQUE = np.array([[-3.0, 0.3, 0, 58], [0.3, 2.5, -0.2, -60], [0.1, 0.2, 2.75, -52], [0, 0, 0, 1]])


@pytest.fixture
def shelf(tmp_path, monkeypatch):
    """A folder of weights; ``shelf(name)`` returns the place where the file of the weights ``name``
    is looked for.
    """
    monkeypatch.setenv("DIFFEODE_WEIGHTS", str(tmp_path))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("DIFFEODE_DATA", str(tmp_path / "data"))

    def place(name):
        (tmp_path / name).mkdir(exist_ok=True)
        return tmp_path / name / weights.load_weights(name).file

    return place


def pair_of(fixed, moving):
    return Pair(fixed, moving, foreground(fixed), foreground(moving))


def blobs(grid, shift_vox=(0, 0, 0)):
    """A smooth brain with tissue, moved by ``shift_vox``."""
    voxels = grid.voxels() - np.array(shift_vox)
    centre = (np.array(grid.shape) - 1) / 2
    random = np.random.default_rng(3)
    value = np.full(grid.shape, 0.5)
    for place, width, sign in zip(
        random.uniform(8, np.array(grid.shape) - 8, (30, 3)),
        random.uniform(2, 4, 30),
        np.tile([1, -1], 15),
        strict=True,
    ):
        value += sign * 0.6 * np.exp(-((voxels - place) ** 2).sum(-1) / (2 * width**2))
    brain = (((voxels - centre) / (0.42 * np.array(grid.shape))) ** 2).sum(-1) < 1
    return Image(np.where(brain, np.clip(value, 0.05, 1), 0), grid)


# ----------------------------------------------------------------------------------- before the run


@pytest.mark.parametrize(
    ("name", "told"), [("multigradicon", "Step_2_final.trch"), ("dinoreg", "model.safetensors")]
)
def test_without_weights_it_says_what_to_download_and_where_to_put_it(name, told, shelf):
    assert "needs-weights" in standing(name)
    (clause,) = [c for c in missing_needs(name) if "weights" in c]
    for word in ("https://", told, "DIFFEODE_WEIGHTS"):
        assert word in clause


def test_weights_that_are_there_are_no_longer_missing_and_identify_the_run(shelf):
    shelf("multigradicon").write_bytes(b"one file")
    assert "needs-weights" not in standing("multigradicon")
    one = weights.checksums(MultiGradIcon().pretrained)
    assert len(one["multigradicon"]) == 64


# ----------------------------------------------------------------------------------------- DINO-Reg


@pytest.fixture
def small_dinov2(shelf):
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    torch = pytest.importorskip("torch")
    safetensors = pytest.importorskip("safetensors.torch")

    def save(name, kind="Dinov2WithRegisters", layers=2):
        torch.manual_seed(5)
        config = getattr(transformers, f"{kind}Config")(
            hidden_size=128, num_hidden_layers=layers, num_attention_heads=2, image_size=70
        )
        network = getattr(transformers, f"{kind}Model")(config)
        state = {key: value.contiguous() for key, value in network.state_dict().items()}
        safetensors.save_file(state, shelf(name))
        return network.eval()

    return save


@pytest.mark.parametrize(
    ("name", "kind"), [("dinov2-vitl14-reg", "Dinov2WithRegisters"), ("dinov2-vitl14", "Dinov2")]
)
def test_the_weights_file_tells_the_architecture(small_dinov2, name, kind):
    import torch

    from diffeode.methods.dinoreg import load_dinov2

    saved, pixels = small_dinov2(name, kind), torch.rand(1, 3, 56, 84)
    loaded = load_dinov2(weights.find_weights(name))
    assert type(loaded) is type(saved)
    with torch.no_grad():
        torch.testing.assert_close(
            loaded(pixels).last_hidden_state, saved(pixels).last_hidden_state
        )


def test_a_patch_of_the_slice_is_the_feature_in_its_place(small_dinov2):
    """With any network, bright voxels in one patch change the feature there most."""
    import torch

    from diffeode.methods.dinoreg import load_dinov2
    from diffeode.networks.dinov2 import Slicing, patch_features

    small_dinov2("dinov2-vitl14-reg", layers=1)
    network = load_dinov2(weights.find_weights("dinov2-vitl14-reg"))
    volume = torch.full((7, 12, 20), 0.3)
    marked = volume.clone()
    marked[3, 4:6, 14:16] = 1.0
    before, after = (
        patch_features(network, v, Slicing(every=3, patch=2.0)) for v in (volume, marked)
    )
    assert before.shape == (3, 128, 6, 10)
    change = (after - before).norm(dim=1)
    assert np.unravel_index(int(change.argmax()), change.shape) == (1, 2, 7)


def test_a_shift_is_found_with_its_sign_and_unit_on_a_turned_grid(small_dinov2):
    small_dinov2("dinov2-vitl14-reg")
    grid, shift = Grid((40, 46, 38), OBLIQUE), np.array([2.0, -3.0, 1.0])
    fixed, moving = blobs(grid), blobs(grid, shift)
    method = DinoReg(selected_niter=60, components=16, every=2, grid_sp=4, lambda_weight=0.3)
    found = densify(method.register(pair_of(fixed, moving), Machine()).forward, grid)
    in_brain = grid.vectors_to_voxel(found.displacement_mm)[foreground(fixed)]
    np.testing.assert_allclose(np.median(in_brain, axis=0), shift, atol=0.5)


def test_dinoreg_registers_newborns_end_to_end_and_repeats_itself(small_dinov2, shelf, newborns):
    small_dinov2("dinov2-vitl14-reg")
    pair, _ = newborns
    shown = []
    machine = Machine(progress=lambda fraction, message: shown.append(fraction))
    first, again = (DinoReg(selected_niter=20).register(pair, machine).forward for _ in range(2))
    np.testing.assert_array_equal(first.displacement_mm, again.displacement_mm)
    assert np.abs(first.displacement_mm).max() > 0.5
    assert shown[: len(shown) // 2] == sorted(shown[: len(shown) // 2])


@pytest.mark.parametrize("content", ["no network at all", "another network"])
def test_a_file_that_is_no_dinov2_is_one_sentence(shelf, content):
    pytest.importorskip("transformers", reason="transformers is not installed")
    torch, safetensors = pytest.importorskip("torch"), pytest.importorskip("safetensors.torch")
    path = shelf("dinov2-vitl14-reg")
    if content == "another network":
        safetensors.save_file({"conv.weight": torch.zeros(3)}, path)
    else:
        path.write_bytes(b"not even a header, but long enough to be read as one")
    image = blobs(Grid((30, 30, 30), np.eye(4)))
    with pytest.raises(InputError, match=r"is no DINOv2 .*download it again\.$"):
        DinoReg().register(pair_of(image, image), Machine())


def test_a_brain_too_small_for_the_components_is_refused(small_dinov2):
    small_dinov2("dinov2-vitl14-reg")
    image = blobs(Grid((20, 20, 20), np.diag([3.0, 3, 3, 1])))
    with pytest.raises(RegistrationError, match="64 components need as many patches of brain"):
        DinoReg(patch=6.0).register(pair_of(image, image), Machine())


@pytest.mark.parametrize("axes", ["RAS", "LPI", "SRP", "AIL"])
def test_slices_are_coronal_and_upright_and_find_their_way_back(axes):
    torch = pytest.importorskip("torch")
    import nibabel as nib

    turn = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("RAS"), nib.orientations.axcodes2ornt(axes)
    )
    ras = np.arange(4 * 5 * 6, dtype=np.float32).reshape(4, 5, 6)
    array = nib.apply_orientation(ras, turn)
    view = Coronal(nib.orientations.inv_ornt_aff(turn, ras.shape), torch.device("cpu"))
    slices = view.of(array)
    assert slices.shape == (5, 6, 4)
    assert slices[2, 0, 1] == ras[1, 2, 5], "the top row is the most superior one"
    np.testing.assert_array_equal(view.back(slices[None, None])[0, 0], array)


# ------------------------------------------------------------------------------------ MultiGradICON

SIZE = 72


@pytest.fixture(scope="module")
def random_multigradicon():
    """Return the network's parameters with random last layers, which usually start at zero."""
    pytest.importorskip("unigradicon", reason="unigradicon is not installed")
    torch = pytest.importorskip("torch")
    import unigradicon

    torch.manual_seed(2)
    network = unigradicon.make_network([1, 1, *[SIZE] * 3], include_last_step=True)
    state = network.regis_net.state_dict()
    for name, value in state.items():
        if "lastConv" in name:
            value.normal_(0, 0.02)
    return state


@pytest.fixture
def multigradicon_weights(random_multigradicon, shelf):
    import torch

    torch.save(random_multigradicon, shelf("multigradicon"))


@pytest.mark.slow
def test_multigradicon_registers_newborns_and_warps_labels_as_its_package_does(
    multigradicon_weights, newborns, monkeypatch
):
    """Labels warped by the package's map and ITK's resampling and by ours are equal in at least
    99.9 % of the voxels.
    """
    import itk
    from icon_registration import itk_wrapper

    kept = {}
    original = itk_wrapper.register_pair

    def keep(*given, **named):
        kept["transform"], _ = found = original(*given, **named)
        return found

    monkeypatch.setattr(itk_wrapper, "register_pair", keep)
    pair, labels = newborns
    found = MultiGradIcon(io_iterations=1, size=SIZE).register(pair, Machine(seed=1))
    assert [set(row) for row in found.trace] == [{"energy", "similarity", "inverse_consistency"}]
    assert np.isfinite(found.trace[0]["energy"])
    moved_vox = np.abs(found.forward.displacement_mm) / pair.fixed.grid.spacing
    assert moved_vox.max() > 1, "the random network moves something"
    theirs = itk.resample_image_filter(
        _to_itk(itk, Image(labels.data.astype(np.float32), labels.grid)),
        transform=kept["transform"],
        interpolator=itk.NearestNeighborInterpolateImageFunction.New(_to_itk(itk, pair.moving)),
        use_reference_image=True,
        reference_image=_to_itk(itk, pair.fixed),
    )
    ours = warp_labels(labels, found.forward, labels.grid)
    agree = ours.data == itk.array_from_image(theirs).transpose(2, 1, 0)
    assert agree.mean() >= 0.999
    assert (ours.data != labels.data).mean() > 0.01


def test_the_package_s_map_of_a_known_shift_is_ours_on_a_turned_grid():
    """A constant displacement in the network's cube becomes, through the package's conversion, the
    right number of voxels.
    """
    pytest.importorskip("unigradicon", reason="unigradicon is not installed")
    import itk
    import torch
    from icon_registration.itk_wrapper import create_itk_transform
    from icon_registration.mermaidlite import identity_map_multiN

    rotation = np.linalg.qr(np.random.default_rng(1).normal(size=(3, 3)))[0]
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = rotation @ np.diag([3.0, 2.5, 2.75]), (10, -20, 30)
    grid, cube = Grid((40, 48, 36), affine), 32
    image = Image(np.random.default_rng(0).random(grid.shape), grid)
    identity = torch.from_numpy(
        identity_map_multiN(np.array([1, 1, cube, cube, cube]), 1 / (np.ones(3) * (cube - 1)))
    )
    shift_vox = np.array([2.0, -3.0, 1.0])
    in_cube = shift_vox / np.array(grid.shape) * cube / (cube - 1)
    phi = identity + torch.from_numpy(in_cube[::-1].copy()).view(1, 3, 1, 1, 1)
    itk_image = _to_itk(itk, image)
    field = _dense(itk, create_itk_transform(phi, identity, itk_image, itk_image), itk_image, grid)
    inner = grid.vectors_to_voxel(field.displacement_mm)[4:-4, 4:-4, 4:-4]
    np.testing.assert_allclose(inner, np.broadcast_to(shift_vox, inner.shape), atol=1e-3)


@pytest.mark.slow
def test_a_file_of_another_network_is_one_sentence(shelf):
    pytest.importorskip("unigradicon", reason="unigradicon is not installed")
    import torch

    torch.save({"conv.weight": torch.zeros(3)}, shelf("multigradicon"))
    image = blobs(Grid((30, 30, 30), np.eye(4)))
    with pytest.raises(
        InputError, match=r"holds no weights of this network .*download it again\.$"
    ):
        MultiGradIcon(size=SIZE).register(pair_of(image, image), Machine())


@pytest.mark.parametrize(
    ("method", "given", "told"),
    [
        (MultiGradIcon, {"size": 64}, "size"),
        (MultiGradIcon, {"io_sim": "mine"}, "mind"),
        (DinoReg, {"every": 0}, "every"),
    ],
)
def test_hyper_parameters_are_checked(method, given, told):
    with pytest.raises(InputError, match=told):
        method(**given)
