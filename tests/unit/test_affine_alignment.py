"""The affine alignment: identity, a known affine, ANTs' own conventions, and the gain on
newborns.
"""

import os
import subprocess
import sys

import numpy as np
import pytest
from phantoms import template_brain
from scipy.ndimage import gaussian_filter

import diffeode as de
from diffeode.desk import preparing, registration
from diffeode.errors import InputError, RegistrationError
from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.resample import antialiased
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, warp_image, warp_labels
from diffeode.prepare import affine
from diffeode.prepare.affine import affine_registration
from diffeode.process.fresh import in_new_process
from diffeode.programs import ants_bridge
from diffeode.programs.ants_bridge import affine_from_ants, ants_registration, load_ants, to_ants


@pytest.fixture(scope="module")
def head() -> Image:
    return template_brain()


@pytest.fixture(scope="module")
def newborns(data_root) -> dict[str, Image | Labels]:
    """T2w of one newborn, T1w of another, and their structures."""
    folder = data_root / "albert"
    return {
        "fixed": io.read_image(folder / "sub-01/anat/sub-01_T2w.nii.gz"),
        "moving": io.read_image(folder / "sub-02/anat/sub-02_T1w.nii.gz"),
        "fixed_labels": io.read_labels(folder / "sub-01/anat/sub-01_dseg.nii.gz"),
        "moving_labels": io.read_labels(folder / "sub-02/anat/sub-02_dseg.nii.gz"),
    }


def worst_distance_mm(one: Affine, other: Affine, image: Image) -> float:
    brain = image.grid.to_world(np.argwhere(image.data > 0).astype(float))
    return float(np.linalg.norm(one(brain) - other(brain), axis=-1).max())


def mean_dice(one: np.ndarray, other: np.ndarray) -> float:
    """Return the mean over all structures but 172, which most of the newborns lack."""
    numbers = [n for n in np.unique(one) if n not in (0, 172)]
    return float(
        np.mean(
            [
                2 * ((one == n) & (other == n)).sum() / ((one == n).sum() + (other == n).sum())
                for n in numbers
            ]
        )
    )


def test_identical_images_stay_in_place(head):
    assert (
        worst_distance_mm(affine_registration(head, head, threads=1, seed=1), Affine(), head) < 0.05
    )


def test_a_known_affine_between_two_contrasts_is_found(head):
    truth = Affine(
        [[1.05, 0.06, 0, 5], [-0.05, 0.97, 0.04, -4], [0.01, -0.05, 1.02, 6], [0, 0, 0, 1]]
    )
    inverted = Image(np.where(head.data > 0.1, 1.2 - head.data, 0), head.grid)
    fixed = warp_image(inverted, truth, head.grid)
    found = affine_registration(fixed, head, threads=1, seed=1)
    assert worst_distance_mm(found, truth, fixed) < 1.5
    assert worst_distance_mm(Affine(), truth, fixed) > 10


def test_one_seed_one_answer(head):
    moved = warp_image(head, Affine(np.diag([1.1, 1, 1, 1])), head.grid)
    first, second = (affine_registration(head, moved, threads=1, seed=5).matrix for _ in range(2))
    np.testing.assert_array_equal(first, second)


def test_another_number_of_threads_before_changes_nothing(head, monkeypatch):
    """ITK keeps the number of its first use, so a new process works with another one."""
    small = head.cropped((slice(8, 32), slice(12, 40), slice(12, 36)))
    moved = warp_image(small, Affine(np.diag([1.1, 1, 1, 1])), small.grid)
    expected = affine_registration(small, moved, threads=1, seed=5)
    started = []

    def spied(*arguments):
        started.append(arguments[0])
        return in_new_process(*arguments)

    monkeypatch.setattr(affine, "in_new_process", spied)
    monkeypatch.setattr(ants_bridge, "_threads", 2)
    found = affine_registration(small, moved, threads=1, seed=5)
    np.testing.assert_array_equal(found.matrix, expected.matrix)
    assert started == [affine._alignment_here]


def test_syn_at_a_desk_does_not_depend_on_what_the_process_did_before(monkeypatch):
    """ITK keeps the threads of its first use; SyN on two of them finds another map."""
    chance = np.random.default_rng(3)
    grid = Grid((20, 20, 20), np.eye(4))
    smooth = [gaussian_filter(chance.random(grid.shape), 2) for _ in range(2)]
    fixed, moving = (Image(100 * values, grid) for values in smooth)
    asked = {"method": "ants-syn", "init": "identity", "threads": 1}
    asked |= {"fixed_mask": "none", "moving_mask": "none"}
    monkeypatch.setattr(ants_bridge, "_threads", 1)
    here = de.register(fixed, moving, **asked).transform.mapping.displacement_mm
    monkeypatch.setattr(ants_bridge, "_threads", 2)
    monkeypatch.setattr(registration, "_registered_here", None)
    there = de.register(fixed, moving, **asked).transform.mapping.displacement_mm
    np.testing.assert_array_equal(there, here)
    assert np.abs(here).max() > 0.1


def test_n4_at_a_desk_runs_on_the_threads_that_are_asked_for(monkeypatch):
    points = np.stack(np.meshgrid(*[np.arange(24.0) - 12] * 3, indexing="ij"), axis=-1)
    inside = np.linalg.norm(points, axis=-1) < 10
    grid = Grid(inside.shape, np.diag([5.0, 5, 5, 1]))
    scan = Image(np.where(inside, 100 + 5 * np.sin(points).sum(axis=-1) + points[..., 0], 0), grid)
    started = []

    def spied(*arguments):
        started.append(arguments)
        return in_new_process(*arguments)

    monkeypatch.setattr(preparing, "in_new_process", spied)
    monkeypatch.setattr(ants_bridge, "_threads", 2)
    prepared = de.prepare_scan(scan, brain="nonzero", threads=1)
    assert [(work, asked[-1]) for work, *asked in started] == [(preparing.correct, 1)]
    assert prepared.image.get_fdata().max() == 1
    de.prepare_scan(scan, brain="nonzero", bias="none", threads=1)
    assert len(started) == 1


def test_a_new_process_takes_and_returns_more_than_a_pipe_holds():
    sent = np.arange(10**6)
    np.testing.assert_array_equal(in_new_process(np.negative, sent), -sent)


def test_a_new_process_that_ends_early_is_an_error():
    with pytest.raises(RegistrationError, match="ended with exit code 7 before it was done"):
        in_new_process(os._exit, 7)


def test_an_error_of_another_process_arrives_in_this_one():
    with pytest.raises(InputError, match=r"There is no affine file absent\.mat"):
        in_new_process(affine_from_ants, "absent.mat")


@pytest.mark.slow
def test_newborns_overlap_as_ants_has_them(newborns):
    """The affine is found at 1.7 mm, which takes a quarter of the time, and judged at 0.86 mm."""
    *scans, fixed_labels, moving_labels = newborns.values()
    fixed, moving = (
        Image(antialiased(scan.data, scan.grid, grid), grid)
        for scan, grid in ((scan, scan.grid.resample(1.7)) for scan in scans)
    )
    with ants_registration(fixed, moving, "Affine", 1, 1) as found:
        affine = affine_from_ants(found["fwdtransforms"][0])
        theirs = load_ants(1).apply_transforms(
            to_ants(fixed_labels),
            to_ants(moving_labels),
            found["fwdtransforms"],
            interpolator="nearestNeighbor",
        )
    ours = warp_labels(moving_labels, affine, fixed_labels.grid)
    assert (
        mean_dice(fixed_labels.data, warp_labels(moving_labels, Affine(), fixed_labels.grid).data)
        < 0.45
    )
    assert mean_dice(fixed_labels.data, ours.data) > 0.68
    assert (ours.data == theirs.numpy()).mean() >= 0.999
    assert (ours.data == theirs.numpy())[fixed_labels.data > 0].mean() >= 0.999


def test_sheared_grid_is_refused():
    sheared = np.eye(4)
    sheared[0, 1] = 0.3
    with pytest.raises(InputError, match="not perpendicular"):
        to_ants(Image(np.zeros((4, 4, 4)), Grid((4, 4, 4), sheared)))


def test_missing_affine_file(tmp_path):
    with pytest.raises(InputError, match=r"There is no affine file .*absent.mat"):
        affine_from_ants(tmp_path / "absent.mat")


def test_what_the_harness_loads_ahead_keeps_no_number_of_threads():
    """Else each affine of a study would start a Python of its own."""
    code = (
        "from diffeode.programs.ants_bridge import keeps_other_threads\n"
        "from diffeode.registration.harness import load\n"
        "from diffeode.registration.registry import make_method\n"
        "load(make_method('affine', {}))\n"
        "print(keeps_other_threads(1), keeps_other_threads(2))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]
