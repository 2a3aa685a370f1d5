"""Slices of scans as pictures, in orthogonal planes and in the radiological convention.

Pictures are drawn in millimetres along the canonical axes, and then their horizontal axis is
reversed. So contours, grid lines and marks that are drawn over an image have its coordinates.
"""

from __future__ import annotations

from dataclasses import dataclass

import nibabel as nib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.image import AxesImage
from matplotlib.patheffects import withStroke

from diffeode.geometry.image import bounding_box
from diffeode.geometry.space import Grid

RIGHT, ANTERIOR, SUPERIOR = 0, 1, 2
"""The canonical array axes; indices grow towards the patient's right, front and top."""


@dataclass(frozen=True)
class Plane:
    """A plane of slices.

    Attributes:
        normal: the canonical axis that is perpendicular to the plane.
        across, up: the canonical axes along the picture's width and height.
        left, right: letters of the patient's sides at the picture's left and right edge.
    """

    name: str
    normal: int
    across: int
    up: int
    left: str
    right: str


AXIAL = Plane("Axial", SUPERIOR, RIGHT, ANTERIOR, "R", "L")
CORONAL = Plane("Coronal", ANTERIOR, RIGHT, SUPERIOR, "R", "L")
SAGITTAL = Plane("Sagittal", RIGHT, ANTERIOR, SUPERIOR, "A", "P")


def canonical(data: np.ndarray, grid: Grid) -> tuple[np.ndarray, Grid]:
    """Return ``data (X, Y, Z, ...)`` and its grid with the array axes reordered and reversed so
    that they point to the patient's right, front and top as closely as possible.

    Vectors along further axes keep their frame.
    """
    orientation = nib.io_orientation(grid.affine)
    turned = nib.apply_orientation(data, orientation)
    affine = grid.affine @ nib.orientations.inv_ornt_aff(orientation, grid.shape)
    return turned, Grid(turned.shape[:3], affine)


def cut(data: np.ndarray, plane: Plane, index: int) -> np.ndarray:
    """Return slice ``index`` of canonical ``data (X, Y, Z, ...)`` as ``(across, up, ...)``."""
    return np.moveaxis(data, (plane.normal, plane.across, plane.up), (0, 1, 2))[index]


def axis_mm(grid: Grid, axis: int) -> np.ndarray:
    """Return the voxel centres along canonical ``axis``, in mm from the first one."""
    return np.arange(grid.shape[axis]) * grid.spacing[axis]


def middle(mask: np.ndarray, plane: Plane) -> int:
    """Return the index of the slice half way through the canonical ``mask (X, Y, Z)``."""
    lower, upper = bounding_box(mask)
    return int(lower[plane.normal] + upper[plane.normal] - 1) // 2


def brain_box_mm(mask: np.ndarray, grid: Grid) -> tuple[np.ndarray, np.ndarray]:
    """Return centre ``(3,)`` and size ``(3,)`` of the box around ``mask``, in mm along the
    canonical axes.
    """
    lower, upper = bounding_box(mask)
    return (lower + upper - 1) / 2 * grid.spacing, (upper - lower) * grid.spacing


def show_slice(axes: Axes, data: np.ndarray, grid: Grid, plane: Plane, **options) -> AxesImage:
    """Draw a slice of a canonical scan in ``axes``, in mm; ``options`` go to ``imshow``.

    Args:
        data: ``(across, up)``, or colours ``(across, up, 4)``.
    """
    across, up = grid.spacing[plane.across], grid.spacing[plane.up]
    edges = (-across / 2, (data.shape[0] - 0.5) * across, -up / 2, (data.shape[1] - 0.5) * up)
    return axes.imshow(data.swapaxes(0, 1), origin="lower", extent=edges, **options)


def frame(
    axes: Axes, plane: Plane, centre_mm: np.ndarray, width_mm: float, height_mm: float
) -> None:
    """Show a window around ``centre_mm (3,)``, without ticks; the patient's right or front is at
    the picture's left.
    """
    across, up = centre_mm[plane.across], centre_mm[plane.up]
    axes.set_xlim(across + width_mm / 2, across - width_mm / 2)
    axes.set_ylim(up - height_mm / 2, up + height_mm / 2)
    axes.set_aspect("equal")
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def mark_sides(axes: Axes, plane: Plane, colour: str = "white", size: float = 6) -> None:
    """Write the letters of the patient's sides at the picture's edges."""
    for x, letter, align in ((0.025, plane.left, "left"), (0.975, plane.right, "right")):
        axes.text(
            x,
            0.97,
            letter,
            transform=axes.transAxes,
            ha=align,
            va="top",
            color=colour,
            fontsize=size,
        )


def scale_bar(axes: Axes, length_mm: float, colour: str = "white", size: float = 6) -> None:
    """Draw a bar of ``length_mm`` with its length at the lower left of axes in mm."""
    left, right = axes.get_xlim()
    start, end = 0.04, 0.04 + length_mm / abs(right - left)
    axes.plot(
        [start, end],
        [0.05, 0.05],
        transform=axes.transAxes,
        color=colour,
        lw=1.2,
        solid_capstyle="butt",
    )
    label = f"{length_mm / 10:g} cm"
    text = axes.text(
        start,
        0.08,
        label,
        transform=axes.transAxes,
        ha="left",
        va="bottom",
        color=colour,
        fontsize=size,
    )
    for artist in (*axes.lines[-1:], text):
        artist.set_path_effects([withStroke(linewidth=2, foreground="black")])


def window(volume: np.ndarray) -> tuple[float, float]:
    """Return the intensities that are drawn black and white: the 1 % and 98 % quantiles of the
    voxels above zero.
    """
    values = volume[volume > 0]
    return (
        (float(np.quantile(values, 0.01)), float(np.quantile(values, 0.98)))
        if values.size
        else (0.0, 1.0)
    )


def shade(picture: np.ndarray, limits: tuple[float, float]) -> np.ndarray:
    """Return ``picture`` scaled and clipped, so that ``limits`` become 0 (black) and 1 (white)."""
    low, high = limits
    return np.clip((picture - low) / max(high - low, np.finfo(float).tiny), 0, 1)
