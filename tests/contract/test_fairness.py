"""Each tool warps labels as we do: on a real pair at least 99.9 % of the voxels are equal.

The tool's map is taken before we convert anything, and is applied by the tool's own resampler. The
same test of Greedy is in test_methods.py, that of NiftyReg and deedsBCV in
test_external_methods.py, and that of MultiGradICON in test_pretrained.py.
"""

import io

import numpy as np
import pytest
from scipy import ndimage

from diffeode.geometry.transform import Affine, warp_labels
from diffeode.programs.ants_bridge import load_ants, to_ants
from diffeode.registration.base import Machine
from diffeode.registration.registry import make_method, missing_needs

QUICK = {
    "affine": {},
    "ants-syn": {"iterations": [30, 10]},
    "convexadam": {"selected_niter": 20, "grid_sp": 4},
    "greedy": {"iterations": [30, 10]},
}


@pytest.fixture(params=QUICK)
def name(request):
    missing = missing_needs(request.param)
    if missing:
        pytest.skip(f"{request.param} cannot run here: {'; '.join(missing)}")
    return request.param


def keep(kept, original, key):
    def call(*given, **named):
        kept[key] = original(*given, **named)
        return kept[key]

    return call


def warped_by_ants(monkeypatch, pair, labels, run, folder):
    ants, theirs = load_ants(1), {}
    original = ants.registration

    def registration(fixed, moving, **settings):
        found = original(fixed, moving, **settings)
        warped = ants.apply_transforms(
            fixed, to_ants(labels), found["fwdtransforms"], interpolator="nearestNeighbor"
        )
        theirs["labels"] = warped.numpy()
        return found

    monkeypatch.setattr(ants, "registration", registration)
    return run(), theirs["labels"]


def warped_by_convexadam(monkeypatch, pair, labels, run, folder):
    """Warp as the package's ``apply_convex`` does, but with the nearest label instead of linear
    interpolation.
    """
    from convexAdam import convex_adam_MIND as package

    kept = {}
    monkeypatch.setattr(package, "convex_adam_pt", keep(kept, package.convex_adam_pt, "voxels"))
    found = run()
    reached = np.moveaxis(labels.grid.voxels() + kept["voxels"], -1, 0)
    return found, ndimage.map_coordinates(labels.data, reached, order=0)


def warped_by_greedy(monkeypatch, pair, labels, run, folder):
    import picsl_greedy
    import SimpleITK

    from diffeode.geometry.image import Image
    from diffeode.methods.greedy import _to_itk

    tools = []

    class Watched(picsl_greedy.Greedy3D):
        def __init__(self):
            super().__init__()
            tools.append(self)

    monkeypatch.setattr(picsl_greedy, "Greedy3D", Watched)
    found = run()
    given = {
        "fixed": _to_itk(pair.fixed),
        "labels": _to_itk(Image(labels.data.astype(np.float32), labels.grid)),
    }
    SimpleITK.WriteImage(tools[0]["forward"], str(folder / "warp.nii.gz"))
    tool, said = picsl_greedy.Greedy3D(), io.StringIO()
    command = f"-d 3 -V 0 -rf fixed -ri NN -rm labels warped -r {folder / 'warp.nii.gz'}"
    tool.execute(command, out=said, err=said, warped=None, **given)
    return found, SimpleITK.GetArrayFromImage(tool["warped"]).transpose(2, 1, 0)


WARPED_BY = {
    "affine": warped_by_ants,
    "ants-syn": warped_by_ants,
    "convexadam": warped_by_convexadam,
    "greedy": warped_by_greedy,
}


def test_labels_warped_by_the_tool_are_those_warped_by_us(name, newborns, monkeypatch, tmp_path):
    pair, labels = newborns
    method = make_method(name, QUICK[name])
    found, theirs = WARPED_BY[name](
        monkeypatch, pair, labels, lambda: method.register(pair, Machine(seed=1)), tmp_path
    )
    ours = warp_labels(labels, found.forward, pair.fixed.grid).data
    in_brain = (ours > 0) | (theirs > 0)
    assert (ours == theirs).mean() >= 0.999
    assert (ours == theirs)[in_brain].mean() >= 0.999, "background alone does not make it true"
    assert (ours != labels.data)[in_brain].mean() > 0.02, "the map moves something"


@pytest.mark.parametrize("wrong", ["other way", "other axes", "other unit"])
def test_the_comparison_notices_a_wrong_convention(newborns, wrong):
    """A shift of a voxel and a half, as registrations find it, that is read in a wrong convention
    falls below 99.9 %.
    """
    pair, labels = newborns
    step = pair.fixed.grid.vectors_to_world(np.array([1.5, -1.0, 0.5]))
    misread = {
        "other way": -step,
        "other axes": step[::-1],
        "other unit": step / pair.fixed.grid.spacing,
    }[wrong]
    right, read = (Affine(_translation(s)) for s in (step, misread))
    a, b = (warp_labels(labels, t, labels.grid).data for t in (right, read))
    assert (a == b)[(a > 0) | (b > 0)].mean() < 0.9


def _translation(step_mm):
    matrix = np.eye(4)
    matrix[:3, 3] = step_mm
    return matrix
