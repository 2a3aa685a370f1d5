"""Draw the figures of ``docs/concepts.md``, from virtual scans and formulas.

``python docs/make/figures.py`` writes them to ``docs/images/concepts``.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import matplotlib as mpl
import nibabel as nib
import numpy as np
import torch
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import ConnectionPatch
from pictures import save_small

from diffeode.datasets.virtual import make_cohort, person_transform
from diffeode.descriptors.mind import mind_ssc
from diffeode.figures import style
from diffeode.flows.integrate import Flow

FOLDER = Path(__file__).resolve().parents[1] / "images" / "concepts"
SEED, SPACING_MM = 7, 3.0
TURQUOISE = "#0072b2"


def draw_all(folder: Path, spacing_mm: float = SPACING_MM) -> None:
    """Draw the four figures of the page as PNG files.

    Args:
        folder: where the files are written; it is made where it is not there.
        spacing_mm: the voxel size of the virtual persons, 1 to 6 mm.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="diffeode-") as cohort:
        make_cohort(Path(cohort), 2, spacing_mm, SEED)
        fixed = nib.load(next(Path(cohort).glob("sub-01/anat/*_T2w.nii.gz")))
        same = nib.load(next(Path(cohort).glob("sub-01/anat/*_T1w.nii.gz")))
        moving = nib.load(next(Path(cohort).glob("sub-02/anat/*_T1w.nii.gz")))
        with mpl.rc_context({"font.size": 9, "text.color": style.INK}):
            save_small(_directions(fixed, moving), folder / "directions.png")
            save_small(_descriptor(same, fixed), folder / "mind.png")
    with mpl.rc_context({"font.size": 9, "text.color": style.INK}):
        save_small(_flow(), folder / "flow.png")
        save_small(_barrier(), folder / "barrier.png")


def _directions(fixed: nib.Nifti1Image, moving: nib.Nifti1Image) -> Figure:
    """Return a figure of a point that travels one way, and of the image that travels the other."""
    point = np.array([30.0, 8.0, 10.0])
    there = person_transform(2, SEED).inverse(person_transform(1, SEED)(point[None]))[0]
    figure = Figure(figsize=(7.2, 3.1))
    panels = figure.subplots(1, 2)
    titles = ("Fixed scan (T2w)", "Moving scan (T1w)")
    for panel, scan, place, title in zip(
        panels, (fixed, moving), (point, there), titles, strict=True
    ):
        _show_slice(panel, scan, place[2])
        panel.plot(*place[:2], "o", color=style.FAILED, markersize=6)
        panel.set_title(title, fontsize=9)
        words = "({:.0f}, {:.0f}, {:.0f}) mm".format(*place)
        below = {"xycoords": "axes fraction", "ha": "center", "fontsize": 8}
        panel.annotate(words, (0.5, -0.09), color=style.FAILED, **below)
    figure.subplots_adjust(left=0.02, right=0.98, bottom=0.14, top=0.9, wspace=0.5)
    arrows = (
        (0.72, style.FAILED, "->", "points: transform.map(x)"),
        (0.32, TURQUOISE, "<-", "images: transform.apply(moving)"),
    )
    for height, colour, kind, words in arrows:
        ends = {"xyA": (1.03, height), "xyB": (-0.03, height), "arrowstyle": kind, "lw": 1.8}
        frames = {"coordsA": panels[0].transAxes, "coordsB": panels[1].transAxes}
        figure.add_artist(ConnectionPatch(**ends, **frames, color=colour, mutation_scale=15))
        figure.text(0.5, 0.14 + 0.76 * height + 0.03, words, ha="center", color=colour, fontsize=8)
    note = "RAS mm: x to the right, y to the front, z upwards. The patient's right is on the right."
    figure.text(0.5, 0.03, note, ha="center", color=style.SOFT, fontsize=8)
    return figure


def _show_slice(panel: Axes, scan: nib.Nifti1Image, height_mm: float) -> None:
    """Draw the axial slice at ``height_mm`` of a scan whose axes run as RAS does."""
    data, affine = np.asarray(scan.dataobj, dtype=float), scan.affine
    layer = round((height_mm - affine[2, 3]) / affine[2, 2])
    ends = [affine[i, 3] + affine[i, i] * (np.array([0, data.shape[i]]) - 0.5) for i in (0, 1)]
    image = data[:, :, layer].T
    panel.imshow(image, cmap="gray", origin="lower", extent=[*ends[0], *ends[1]])
    panel.set_axis_off()


def _descriptor(t1w: nib.Nifti1Image, t2w: nib.Nifti1Image) -> Figure:
    """Return a figure of two contrasts of one person, and of MIND-SSC of both."""
    figure = Figure(figsize=(7.2, 3.9))
    panels = figure.subplots(2, 4)
    for row, scan, name in zip(panels, (t1w, t2w), ("T1w", "T2w"), strict=True):
        data = np.asarray(scan.dataobj, dtype=np.float32)
        image = torch.from_numpy(data / data.max())[None, None]
        channels = mind_ssc(image, radius=1, dilation=2)[0].numpy()
        layer = data.shape[2] // 2
        row[0].imshow(data[:, :, layer].T, cmap="gray", origin="lower")
        row[0].set_title(f"One person's {name}", fontsize=9)
        for panel, channel in zip(row[1:], (0, 4, 8), strict=True):
            panel.imshow(channels[channel, :, :, layer].T, cmap="gray", origin="lower", vmin=0)
            panel.set_title(f"MIND-SSC, channel {channel + 1}", fontsize=9)
    for panel in panels.ravel():
        panel.set_axis_off()
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.01, top=0.93, wspace=0.05, hspace=0.15)
    return figure


def _flow() -> Figure:
    """Return a figure of a grid that a velocity carries, at four times."""
    side = 65
    plane = torch.stack(torch.meshgrid(*[torch.linspace(-1, 1, side)] * 2, indexing="ij"))
    radius = plane.square().sum(0).sqrt()
    bump = torch.exp(-((radius / 0.55) ** 4))
    turn = torch.stack([-plane[1], plane[0]]) - 0.35 * plane
    velocity = (1.6 * bump * turn * (side - 1) / 2)[None]
    voxels = (plane + 1) * (side - 1) / 2
    figure = Figure(figsize=(7.2, 2.2))
    panels = figure.subplots(1, 4)
    for panel, steps in zip(panels, (0, 4, 8, 12), strict=True):
        moved = voxels.clone()
        if steps:
            moved += Flow(solver="rk4", steps=steps, step_size=1 / 12)(velocity)[0]
        x, y = moved.numpy()
        for k in range(0, side, 4):
            panel.plot(x[k], y[k], color=style.SOFT, lw=0.6)
            panel.plot(x[:, k], y[:, k], color=style.SOFT, lw=0.6)
        if not steps:
            every = (slice(4, None, 8), slice(4, None, 8))
            arrows = [part[every].numpy() for part in (*voxels, *velocity[0])]
            panel.quiver(*arrows, color=TURQUOISE, angles="xy", width=0.009, zorder=3)
        panel.set_title("velocity v" if not steps else f"map at t = {steps}/12", fontsize=9)
        panel.set_aspect("equal")
        panel.set_axis_off()
    figure.subplots_adjust(left=0.01, right=0.99, bottom=0.02, top=0.88, wspace=0.06)
    return figure


def _barrier() -> Figure:
    """Return a figure of the penalty of the determinant, and of cells of three determinants."""
    figure = Figure(figsize=(7.2, 2.3))
    panels = figure.subplots(1, 4, gridspec_kw={"width_ratios": [1.9, 1, 1, 1]})
    determinant = np.linspace(-0.6, 1.6, 200)
    panels[0].plot(determinant, np.maximum(0, 0.5 - determinant), color=style.FAILED, lw=1.8)
    panels[0].axvspan(-0.6, 0, color="#f6dcdc", lw=0)
    panels[0].text(-0.56, 0.1, "folded", color=style.FAILED, fontsize=8)
    panels[0].axvline(0.5, color=style.SOFT, ls=":", lw=1)
    panels[0].text(0.53, 0.85, "barrier 0.5", color=style.SOFT, fontsize=8)
    panels[0].set_xlabel("Jacobian determinant |J|")
    panels[0].set_ylabel("penalty at a voxel")
    panels[0].spines[["top", "right"]].set_visible(False)
    corners = np.array([[0, 0], [1, 0], [1, 1], [0, 1], [0, 0]], float)
    shrunk, turned_over = corners * (0.5, 0.6), corners * (0.8, -0.5)
    cells = ((corners, "|J| = 1: no penalty"), (shrunk, "|J| = 0.3: penalty 0.2"))
    for panel, (cell, title) in zip(
        panels[1:], (*cells, (turned_over, "|J| = -0.4: penalty 0.9")), strict=True
    ):
        panel.plot(*corners.T, color=style.FAINT, lw=1.2)
        panel.fill(*cell.T, color="#cfe3f1" if cell[:, 1].min() >= 0 else "#f6dcdc")
        panel.plot(*cell.T, color=style.INK, lw=1.4)
        for corner, letter in zip(cell[:4], "abcd", strict=True):
            panel.text(*corner, letter, fontsize=8, ha="right", va="bottom")
        panel.set_title(title, fontsize=8)
        panel.set_xlim(-0.2, 1.15)
        panel.set_ylim(-0.7, 1.2)
        panel.set_aspect("equal")
        panel.set_axis_off()
    figure.subplots_adjust(left=0.08, right=0.99, bottom=0.21, top=0.88, wspace=0.15)
    return figure


if __name__ == "__main__":
    draw_all(Path(sys.argv[1]) if len(sys.argv) > 1 else FOLDER)
