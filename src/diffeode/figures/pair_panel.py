"""One registered pair in three planes: scans, overlay of contours, checkerboard, deformation grid
and log-Jacobian, with its scores.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize
from matplotlib.figure import Figure
from scipy import ndimage

from diffeode.evaluation.jacobian import jacobian_determinant, own_map
from diffeode.figures import slices, style
from diffeode.figures.edges import Borders, draw_borders
from diffeode.figures.moved_grid import SHIFT_COLOURS, moved_lines
from diffeode.figures.slices import Plane
from diffeode.geometry.image import Image, foreground
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, DisplacementField
from diffeode.provenance.receipt import read_receipt
from diffeode.statistics.export import format_number
from diffeode.statistics.tidy import collect, whole_image
from diffeode.units.pair import PairUnit
from diffeode.units.registration import RegistrationUnit

PLANES = (slices.AXIAL, slices.CORONAL, slices.SAGITTAL)
_HEADINGS = (
    "Fixed",
    "Moving",
    "Warped",
    "Warped, fixed edges",
    "Checkerboard",
    "Deformation",
    "log |J|",
)
AFTER_AFFINE = "Moving, after affine"
_CHECKER_MM_FRACTION = 1 / 7
GRID_LINES = 32
LOG_J_LIMIT = 1.0
_LEAST_SCALE_MM = 1.0
FOLD_COLOUR = "#ffe100"
_MARGIN_MM = 4.0
_GAP_IN, _LEFT_IN, _TOP_IN, _BOTTOM_IN = 0.03, 0.16, 0.36, 0.36


@dataclass(frozen=True, eq=False)
class Scene:
    """Everything that is drawn of one registered pair, on the canonical ``grid``.

    Attributes:
        fixed, moving, warped: intensities ``(X, Y, Z)``.
        mask: the fixed brain, bool.
        displacement_mm: displacement of the method's own map, ``(X, Y, Z, 3)``, along the array
            axes.
        determinant: Jacobian determinant of that map by central differences, ``(X, Y, Z)``, NaN on
            the outermost voxels.
        aligned: whether ``moving`` is shown after an affine alignment.
    """

    grid: Grid
    fixed: np.ndarray
    moving: np.ndarray
    warped: np.ndarray
    mask: np.ndarray
    displacement_mm: np.ndarray
    determinant: np.ndarray
    aligned: bool

    @property
    def moving_heading(self) -> str:
        """The words above the moving scan."""
        return AFTER_AFFINE if self.aligned else "Moving"

    @cached_property
    def folded(self) -> np.ndarray:
        """The voxels of the brain at which the map does not preserve orientation."""
        return (self.determinant <= 0) & self.mask

    @cached_property
    def windows(self) -> tuple[tuple[float, float], tuple[float, float]]:
        """The intensities of the fixed and of the moving scan that are drawn black and white."""
        return slices.window(self.fixed), slices.window(self.moving)

    @cached_property
    def moved_mm(self) -> np.ndarray:
        """The length of the displacement at each voxel of the brain, mm, ``(N,)``."""
        return np.linalg.norm(self.displacement_mm[self.mask], axis=-1)

    def folds(self) -> tuple[int, int]:
        """Return the number of folded voxels and of voxels that are counted.

        As for ``folds_central_percent``, the voxels of the eroded brain are counted.
        """
        return self._folds

    @cached_property
    def _folds(self) -> tuple[int, int]:
        counted = ndimage.binary_erosion(self.mask, np.ones((3, 3, 3)))
        return int((self.folded & counted).sum()), int(counted.sum())


def pair_panel(
    registration: Path, pair: Path, title: str, out: style.Out, metrics: Path | None = None
) -> None:
    """Draw the registration in folder ``registration`` of the aligned pair in folder ``pair``.

    Where the registration failed, the figure says why.

    Args:
        metrics: the table of the registration's metrics, whose mean Dice is shown; None where it
            was not measured.

    Raises:
        InputError: a file is missing, damaged or unreadable, or ``out`` is no figure format.
    """
    reason = failure_of(Path(registration))
    if reason is not None:
        style.say(out, f"{title}\nfailed: {reason}")
        return
    score = dice_in_words(metrics) if metrics is not None else ""
    draw_scene(read_scene(Path(registration), Path(pair)), title, out, score)


def draw_scene(scene: Scene, title: str, out: style.Out, score: str = "") -> None:
    """Draw one registered pair; ``score`` stands at the right of its title.

    Raises:
        InputError: ``out`` is no figure format.
    """
    centre, size = slices.brain_box_mm(scene.mask, scene.grid)
    size = size + 2 * _MARGIN_MM
    layout = Layout(max(size[p.across] for p in PLANES), tuple(size[p.up] for p in PLANES))
    with style.page(out, style.FULL_WIDTH_IN, layout.height_in, layout=None) as figure:
        style.set_page_title(figure, title, _LEFT_IN)
        figure.text(1, 1 - 0.04 / layout.height_in, score, ha="right", va="top", fontsize=7)
        borders = Borders.of(scene.fixed, scene.mask, scene.grid)
        norm = displacement_norm(scene)
        for row, plane in enumerate(PLANES):
            _draw_row(figure, layout, row, plane, scene, centre, borders, norm)
        _colour_bars(figure, layout, norm)
        _notes(figure, layout, scene)


# ------------------------------------------------------------------------------------ what is shown


def dice_in_words(metrics: Path) -> str:
    """Return the mean Dice in the table of a registration's metrics, in words; an empty text where
    there is none.

    Raises:
        DamagedFileError: the file is missing or no table of metrics.
    """
    found = whole_image(collect([Path(metrics)]), "dice")["value"]
    return f"Dice {format_number(float(found.iloc[0]), 'dice')}" if len(found) else ""


def folds_in_words(scene: Scene) -> str:
    """Return in words how much of the foreground folds."""
    folded, counted = scene.folds()
    return f"{100 * folded / counted:.2g} % folds" if folded else "no folds"


def read_scene(registration: Path, pair: Path) -> Scene:
    """Return what is drawn of one registered pair, from the folders of registration and pair."""
    aligned, registered = PairUnit(pair), RegistrationUnit(registration)
    return scene_of(
        aligned.fixed(),
        aligned.moving(),
        registered.warped(),
        registered.warp(),
        aligned.moving_to_scan(),
    )


def scene_of(
    fixed: Image, moving: Image, warped: Image, whole: DisplacementField, alignment: Affine
) -> Scene:
    """Return what is drawn of a registered pair.

    Args:
        fixed, moving, warped: scans on one grid; ``moving`` is the moving scan after the affine
            alignment, and ``warped`` is the moving scan after the whole map.
        whole: map from points of the fixed grid to points of the moving scan, RAS mm.
        alignment: the affine alignment that ``whole`` includes.
    """
    own, determinant = own_map(whole, alignment), jacobian_determinant(whole, alignment)
    (fixed_data, grid), (mask, _) = (
        slices.canonical(a, fixed.grid) for a in (fixed.data, foreground(fixed))
    )
    displacement, _ = slices.canonical(
        own.displacement_mm @ _canonical_directions(own.grid), own.grid
    )
    return Scene(
        grid,
        fixed_data,
        slices.canonical(moving.data, moving.grid)[0],
        slices.canonical(warped.data, warped.grid)[0],
        mask,
        displacement,
        slices.canonical(determinant, whole.grid)[0],
        not np.allclose(alignment.matrix, np.eye(4)),
    )


def log_determinant(determinant: np.ndarray) -> np.ndarray:
    """Return the natural logarithm of the determinant, NaN where the map folds."""
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(determinant > 0, np.log(determinant), np.nan)


def checkerboard(
    first: np.ndarray, second: np.ndarray, spacing_mm: tuple[float, float], side_mm: float
) -> np.ndarray:
    """Return two slices ``(across, up)`` in alternating squares of ``side_mm``.

    The square at the origin shows ``first``.
    """
    across, up = (
        np.floor(np.arange(n) * s / side_mm) for n, s in zip(first.shape, spacing_mm, strict=True)
    )
    return np.where((across[:, None] + up[None, :]) % 2 == 0, first, second)


def _canonical_directions(grid: Grid) -> np.ndarray:
    """Return the unit vectors of the canonical array axes in RAS, one in each column."""
    return slices.canonical(np.zeros(grid.shape, dtype=np.uint8), grid)[1].direction.astype(
        np.float32
    )


def failure_of(registration: Path) -> str | None:
    """Return why the registration in this folder failed, or None where it did not."""
    path = RegistrationUnit(registration).receipt
    if not path.is_file():
        return None
    receipt = read_receipt(path)
    return (
        str(receipt.get("reason", "no reason given")) if receipt.get("status") == "failed" else None
    )


# ---------------------------------------------------------------------------------- how it is drawn


@dataclass(frozen=True)
class Layout:
    """Seven columns of one width and a row for each plane, all at one scale."""

    width_mm: float
    heights_mm: tuple[float, ...]

    @property
    def cell_in(self) -> float:
        columns = len(_HEADINGS)
        return (style.FULL_WIDTH_IN - _LEFT_IN - (columns - 1) * _GAP_IN) / columns

    @property
    def heights_in(self) -> tuple[float, ...]:
        return tuple(h / self.width_mm * self.cell_in for h in self.heights_mm)

    @property
    def height_in(self) -> float:
        return _TOP_IN + sum(self.heights_in) + (len(self.heights_mm) - 1) * _GAP_IN + _BOTTOM_IN

    def left_in(self, column: int) -> float:
        return _LEFT_IN + column * (self.cell_in + _GAP_IN)

    def box(self, row: int, column: int) -> tuple[float, float, float, float]:
        """Return left, bottom, width and height of a cell as fractions of the page."""
        below = self.height_in - _TOP_IN - sum(self.heights_in[: row + 1]) - row * _GAP_IN
        return self.fractions(self.left_in(column), below, self.cell_in, self.heights_in[row])

    def fractions(
        self, left: float, bottom: float, width: float, height: float
    ) -> tuple[float, float, float, float]:
        w, h = style.FULL_WIDTH_IN, self.height_in
        return left / w, bottom / h, width / w, height / h


def _draw_row(
    figure: Figure,
    layout: Layout,
    row: int,
    plane: Plane,
    scene: Scene,
    centre: np.ndarray,
    borders: Borders,
    norm: Normalize,
) -> None:
    index = slices.middle(scene.mask, plane)
    cells = [figure.add_axes(layout.box(row, column)) for column in range(len(_HEADINGS))]
    _draw_scans(cells, plane, index, scene, borders)
    draw_grid(cells[5], plane, index, scene, norm)
    draw_log_jacobian(cells[6], plane, index, scene)
    for column, cell in enumerate(cells):
        slices.frame(cell, plane, centre, layout.width_mm, layout.heights_mm[row])
        cell.set_facecolor("black" if column < 5 else "white")
        if row == 0:
            heading = scene.moving_heading if column == 1 else _HEADINGS[column]
            cell.set_title(heading, fontsize=7, weight="normal", loc="center", pad=3)
    slices.mark_sides(cells[0], plane)
    if row == 0:
        slices.scale_bar(cells[0], 20)
    cells[0].set_ylabel(plane.name, fontsize=7, labelpad=2)


def _draw_scans(
    cells: list[Axes], plane: Plane, index: int, scene: Scene, borders: Borders
) -> None:
    fixed, moving, warped = (
        slices.cut(a, plane, index) for a in (scene.fixed, scene.moving, scene.warped)
    )
    fixed_window, moving_window = scene.windows
    fixed = slices.shade(fixed, fixed_window)
    moving, warped = slices.shade(moving, moving_window), slices.shade(warped, moving_window)
    spacing = scene.grid.spacing[[plane.across, plane.up]]
    side = slices.brain_box_mm(scene.mask, scene.grid)[1].max() * _CHECKER_MM_FRACTION
    for cell, picture in zip(
        cells,
        (fixed, moving, warped, warped, checkerboard(fixed, warped, spacing, side)),
        strict=False,
    ):
        slices.show_slice(cell, picture, scene.grid, plane, cmap="gray", vmin=0, vmax=1)
    draw_borders(cells[3], plane, index, borders)


def draw_grid(cell: Axes, plane: Plane, index: int, scene: Scene, norm: Normalize) -> None:
    """Draw where the scene's own map sends the lines of a regular grid, coloured by displacement in
    mm on the scale ``norm``.
    """
    points, amount = moved_points(scene, plane, index)
    step = max(1, round(max(scene.mask.shape) / GRID_LINES))
    lines = [*points[::step], *np.moveaxis(points, 1, 0)[::step]]
    amounts = [*amount[::step], *amount.T[::step]]
    cell.add_collection(
        moved_lines(lines, amounts, norm),
        autolim=False,  # the frame sets the limits; finding those of thousands of lines is slow
    )


def moved_points(scene: Scene, plane: Plane, index: int) -> tuple[np.ndarray, np.ndarray]:
    """Return where the map sends the voxel centres of a slice, ``(across, up, 2)`` in mm of the
    plane, and the length of each displacement, ``(across, up)`` in mm.

    Displacement out of the plane counts in the length alone.
    """
    displacement = slices.cut(scene.displacement_mm, plane, index)
    across, up = slices.axis_mm(scene.grid, plane.across), slices.axis_mm(scene.grid, plane.up)
    points = np.stack(np.meshgrid(across, up, indexing="ij"), axis=-1)
    return points + displacement[..., [plane.across, plane.up]], np.linalg.norm(
        displacement, axis=-1
    )


def draw_log_jacobian(cell: Axes, plane: Plane, index: int, scene: Scene) -> None:
    """Draw log |J| of the scene's own map within the brain, its folded voxels marked."""
    mask = slices.cut(scene.mask, plane, index)
    values = np.where(mask, log_determinant(slices.cut(scene.determinant, plane, index)), np.nan)
    slices.show_slice(
        cell, values, scene.grid, plane, cmap="RdBu_r", vmin=-LOG_J_LIMIT, vmax=LOG_J_LIMIT
    )
    x, y = slices.axis_mm(scene.grid, plane.across), slices.axis_mm(scene.grid, plane.up)
    cell.contour(x, y, mask.T.astype(float), levels=[0.5], colors=style.SOFT, linewidths=0.4)
    folded = slices.cut(scene.folded, plane, index)
    if folded.any():
        marks = np.where(folded, 1.0, np.nan)
        slices.show_slice(
            cell, marks, scene.grid, plane, cmap=_one_colour(FOLD_COLOUR), vmin=0, vmax=1
        )
        cell.contour(x, y, folded.T.astype(float), levels=[0.5], colors="black", linewidths=0.35)


def _one_colour(colour: str) -> ListedColormap:
    return ListedColormap([colour])


def displacement_norm(scene: Scene) -> Normalize:
    """Return a scale from 0 to the 99.5 % quantile of the displacement in the brain, rounded up,
    mm.

    It is never so short that rounding errors of an identity have strong colours.
    """
    largest = float(np.quantile(scene.moved_mm, 0.995))
    return Normalize(
        0, style.round_up(max(largest, _LEAST_SCALE_MM), steps=(1, 1.5, 2, 3, 4, 5, 6, 8, 10))
    )


def _colour_bars(figure: Figure, layout: Layout, norm: Normalize) -> None:
    bars = (
        (5, ScalarMappable(norm, SHIFT_COLOURS), "displacement (mm)", "max"),
        (
            6,
            ScalarMappable(Normalize(-LOG_J_LIMIT, LOG_J_LIMIT), "RdBu_r"),
            "smaller \N{LEFT RIGHT ARROW} larger",
            "both",
        ),
    )
    for column, mappable, label, extend in bars:
        inset = 0.06 * layout.cell_in
        box = layout.fractions(
            layout.left_in(column) + inset, _BOTTOM_IN - 0.11, layout.cell_in - 2 * inset, 0.05
        )
        style.add_colour_bar(figure, box, mappable, label, extend)


def _notes(figure: Figure, layout: Layout, scene: Scene) -> None:
    folded, counted = scene.folds()
    folds = (
        f"{folded:,} of {counted:,} voxels fold ({100 * folded / counted:.2g} %)"
        if folded
        else "No voxel folds"
    )
    notes = (
        "Radiological convention: the patient's right is on the left.\n"
        f"{folds}: |J| \u2264 0, central differences, in the foreground without its outermost "
        "voxels."
    )
    x, y = _LEFT_IN / style.FULL_WIDTH_IN, (_BOTTOM_IN - 0.06) / layout.height_in
    style.add_note(figure, x, y, notes)
