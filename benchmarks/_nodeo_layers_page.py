"""The page of the comparison of NODEO's code with our run ``nodeo``, layer by layer."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from _tables import Row, markdown_table, measured_on, write_page

CHANGES = ("none", "interpolation", "correlation", "determinant", "adjoint")
"""What makes our run more like the reference; each change comes to those before it."""

_TITLE = "NODEO's code and our run `nodeo`, layer by layer"
_ABOUT = """\
The reference registers one pair of adults (OASIS-1 0001 fixed, 0002 moving) at 80 x 96 x 72 voxels
from one start. Before its first step and after 30 steps its weights are copied into our network,
and both codes compute outputs, displacement, energy and gradients. The weights need one conversion:
the input channels of the first convolution are in reverse order. *Difference* is the root mean
square of the difference in units of the root mean square of the reference.

Our run is compared as it is (*none*), and with four changes. Each change comes to those before it:

- *interpolation*: the network's output is interpolated by two twice, as in the reference; ours is
  interpolated by four once.
- *correlation*: the reference's own, which counts voxels of a window outside the image as 0; ours
  has a floor of the variance and averages over those voxels of a window that lie in the image.
- *determinant*: along an axis of n voxels the reference takes the distance between the centres of
  the outermost voxels for n, where it is n - 1. So its Jacobian determinants are larger than ours
  by the product of n / (n - 1) over the axes.
- *adjoint*: the reference evaluates its gradient at the end of the one step; ours is exact. There
  the reference adds the displacement along the first axis to the position along the last axis, and
  the other way round, before it gives the positions to the network. `flow.gradient: adjoint` alone
  does not exchange the axes.
"""
_OUTPUTS = """\
## Outputs of the layers
The outputs before the ReLU, difference:
"""
_DISPLACEMENTS = """\
## Displacement
Before the first step the displacement is about a thousandth of a voxel long. The reference finds it
as a difference of positions in single precision. That rounding remains before the first step, in
the displacement and in the gradients. Difference:
"""
_ENERGY = """\
## Energy
Weighted terms. Our weight of the magnitude is that of NODEO at 160 x 192 x 144 voxels, and on half
the size it is a quarter of the reference's; this is no change here, because the term hardly counts.
"""
_GRADIENTS = """\
## Gradients
The gradient of the energy by weights and bias of each layer: cosine of the angle between the
reference's and ours, length of ours in units of the reference's, the difference with each change,
and the share of the reference's numbers that are below Adam's epsilon there, 1e-8.
"""


def write_layers_page(rows: Sequence[Row], path: Path) -> None:
    """Write ``rows`` as a page."""
    moments = list(dict.fromkeys(row["steps"] for row in rows))
    sections = [
        _ABOUT,
        _OUTPUTS,
        markdown_table(("layer", *map(_when, moments)), _differences(rows, "output", "name")),
        _DISPLACEMENTS,
        markdown_table(
            ("change", *map(_when, moments)), _differences(rows, "displacement", "change")
        ),
        _ENERGY,
        *(section for steps in moments for section in _energy(_at(rows, steps), steps)),
        _GRADIENTS,
        *(section for steps in moments for section in _gradients(_at(rows, steps), steps)),
        f"{measured_on(rows)} Command: `python benchmarks/nodeo_layers.py --checkout DIR`.\n",
    ]
    write_page(path, _TITLE, sections)


def _differences(rows: Sequence[Row], part: str, column: str) -> list[list[str]]:
    """Return a line for each value of ``column``, with the difference at every moment."""
    lines: dict[str, list[str]] = {}
    for row in rows:
        if row["part"] == part:
            lines.setdefault(row[column], [row[column]]).append(_short(row["relative_difference"]))
    return list(lines.values())


def _energy(rows: Sequence[Row], steps: str) -> list[str]:
    heads = ("term", "reference", *CHANGES)
    lines = [
        [name, _short(changes[CHANGES[0]]["reference"])]
        + [_short(changes[change]["ours"]) for change in CHANGES]
        for name, changes in _by_name(rows, "energy").items()
    ]
    return [_heading(steps), markdown_table(heads, lines)]


def _gradients(rows: Sequence[Row], steps: str) -> list[str]:
    heads = ("layer", "cosine", "length", *CHANGES, "below epsilon (%)")
    lines = [
        [
            name,
            f"{float(changes[CHANGES[0]]['cosine']):.3f}",
            f"{float(changes[CHANGES[0]]['length_ratio']):.2f}",
            *(_short(changes[change]["relative_difference"]) for change in CHANGES),
            f"{float(changes[CHANGES[0]]['below_epsilon_percent']):.0f}",
        ]
        for name, changes in _by_name(rows, "gradient").items()
    ]
    return [_heading(steps), markdown_table(heads, lines)]


def _by_name(rows: Sequence[Row], part: str) -> dict[str, dict[str, Row]]:
    """Return the rows of ``part`` by their name and their change."""
    found: dict[str, dict[str, Row]] = {}
    for row in rows:
        if row["part"] == part:
            found.setdefault(row["name"], {})[row["change"]] = row
    return found


def _at(rows: Sequence[Row], steps: str) -> list[Row]:
    return [row for row in rows if row["steps"] == steps]


def _heading(steps: str) -> str:
    return f"{_when(steps).capitalize()}:\n"


def _when(steps: str) -> str:
    return f"after {steps} steps" if int(steps) else "before the first step"


def _short(number: str) -> str:
    return f"{float(number):.2g}"
