"""Labels that guide a registration bring the overlap of these labels up, and harm nothing else.

The toys show no structure, so the term of labels must do all the work. The pairs of newborns and of
hippocampi are registered at a coarse resolution, with all of their structures or with every other
one.
"""

import numpy as np
import pytest

import diffeode as de
from diffeode.desk import DEFAULT_RUN
from diffeode.desk.guides import Guides
from diffeode.desk.inputs import Inputs
from diffeode.desk.registration import register_images
from diffeode.evaluation.jacobian import jacobian_metrics
from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.resample import antialiased
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, warp_labels
from diffeode.registration.base import Machine
from diffeode.registration.runs import load_run

RUN = load_run(DEFAULT_RUN)
ALONE = load_run("node-mind").changed({"similarity.mind.weight": 0.001})
"""A run whose similarity counts for nothing beside the labels."""
HINT, START, STRONG = 0.1, 0.3, 1.0
"""The weights that docs/cli.md names."""


def registered(images, labels, weight, start, run=RUN):
    """Return the map of a pair and the least determinant of its Jacobian, where nothing folds."""
    inputs = Inputs(
        *images,
        fixed_labels=labels[0],
        moving_labels=labels[1],
        guides=Guides(label_weight=weight),
    )
    found = register_images(run, inputs, Machine(1, 0), start)
    everywhere = np.ones(images[0].grid.shape, bool)
    shape = jacobian_metrics(found.result.warp, everywhere, found.task.moving_to_scan)
    assert shape["folds_onesided_grid_percent"] == 0
    return found.result.warp, shape["min_jacobian"]


def mean_dice(labels, warp, ids):
    """Return the mean Dice of ``ids`` under a map, each of which one of the label maps holds."""
    fixed, moving = labels[0].data, warp_labels(labels[1], warp, labels[0].grid).data
    return np.mean(
        [
            2 * ((fixed == i) & (moving == i)).sum() / ((fixed == i).sum() + (moving == i).sum())
            for i in ids
        ]
    )


def shared_ids(labels):
    here, there = (np.unique(one.data[one.data > 0]) for one in labels)
    return np.intersect1d(here, there)


def only(labels, ids):
    return tuple(Labels(np.where(np.isin(one.data, ids), one.data, 0), one.grid) for one in labels)


# --------------------------------------------------------------------------------------------- toys

GRID = Grid((36, 36, 22), np.diag([-2.0, 2.0, 2.0, 1.0]))
PLAIN = Image(np.pad(np.pad(np.full((26, 26, 12), 3.0), 1) + 500, 4), GRID)
"""A box that shows nothing inside, where the labels lie."""


def spheres(centres, radius):
    """Spheres about ``centres (N, 3)``, voxels, numbered from 1."""
    voxels, ids = GRID.voxels(), np.zeros(GRID.shape, int)
    for number, centre in enumerate(centres, start=1):
        ids[((voxels - centre) ** 2).sum(axis=-1) <= radius**2] = number
    return Labels(ids, GRID)


def two_spheres():
    centres = np.array([[11, 17, 11], [24, 17, 11]])
    by = np.array([[2, 1, 0], [-1, 2, -1]])
    return spheres(centres, 4.5), spheres(centres + by, 4.5)


def many_tiny_spheres():
    """Thirty-two spheres of 33 voxels, many of which hardly overlap their partner."""
    centres = np.stack(np.meshgrid([8, 14, 21, 27], [8, 14, 21, 27], [8, 14], indexing="ij"), -1)
    centres = centres.reshape(-1, 3)
    by = np.rint(2 * np.sin(centres[:, [1, 2, 0]] / 9)).astype(int)
    return spheres(centres, 2.0), spheres(centres + by, 2.0)


@pytest.mark.parametrize("toy", [two_spheres, many_tiny_spheres])
def test_labels_alone_bring_structures_together(toy):
    labels = toy()
    ids = shared_ids(labels)
    before = mean_dice(labels, Affine(), ids)
    assert before < 0.7
    warp, _ = registered((PLAIN, PLAIN), labels, STRONG, "identity", ALONE)
    assert mean_dice(labels, warp, ids) > 0.95


# --------------------------------------------------------------------------------------- real scans


def newborn(root, subject):
    """T1w and labels of a newborn at 4 mm."""
    anatomy = root / "albert" / f"sub-{subject}" / "anat" / f"sub-{subject}"
    scan = io.read_image(f"{anatomy}_T1w.nii.gz")
    grid = scan.grid.resample(4.0)
    image = Image(antialiased(scan.data, scan.grid, grid), grid)
    return image, warp_labels(io.read_labels(f"{anatomy}_dseg.nii.gz"), Affine(), grid)


def crop(root, subject):
    """A crop about the hippocampus of an adult, T1w, 1 mm, and its two labels."""
    folder, name = root / "hippocampus", f"hippocampus_{subject}.nii.gz"
    return io.read_image(folder / "images" / name), io.read_labels(folder / "labels" / name)


@pytest.fixture(scope="module", params=[(newborn, "01", "06"), (crop, "001", "003")])
def pair(request, real_data_root):
    """Two images, their label maps, their alignment, and what is reached without guidance."""
    read, *subjects = request.param
    images, labels = zip(*(read(real_data_root, subject) for subject in subjects), strict=True)
    start = Affine(de.register(*images, method="affine", threads=1).affine.matrix)
    return images, labels, start, registered(images, labels, 0.0, start)


def test_labels_raise_the_overlap_of_all_structures(pair):
    """The mean Dice rises with the weight, and the map folds no more than without labels."""
    images, labels, start, (free, least) = pair
    ids = shared_ids(labels)
    dice = [mean_dice(labels, free, ids)]
    for weight in (HINT, STRONG):
        warp, least_here = registered(images, labels, weight, start)
        dice.append(mean_dice(labels, warp, ids))
        assert least_here > min(0.05, least)
    assert dice[0] + 0.01 < dice[1] < dice[2]
    assert dice[2] > dice[0] + 0.05


def test_structures_whose_labels_were_not_given_lose_nothing(pair):
    images, labels, start, (free, _) = pair
    ids = shared_ids(labels)
    given, others = ids[::2], ids[1::2]
    warp, _ = registered(images, only(labels, given), START, start)
    assert mean_dice(labels, warp, given) > mean_dice(labels, free, given) + 0.03
    assert mean_dice(labels, warp, others) > mean_dice(labels, free, others) - 0.005
