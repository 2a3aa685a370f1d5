"""Quality of prepared scans: numbers of each scan, and flags for numbers that are unusual."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import final

import numpy as np
import pandas as pd

from diffeode.errors import InputError
from diffeode.evaluation.labels import read_label_table, structure_name
from diffeode.evaluation.similarity import normalised_mutual_information
from diffeode.files import io
from diffeode.geometry.image import Image, foreground, sample
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine
from diffeode.units.scan import ScanUnit

NUMBERS = ("volume_ml", "overlap", "nmi", "t1w_correlation", "ventricle_ratio", "edge_percent")
"""Numbers that :func:`measure` returns. Those that need a template or labels are NaN without."""
COLUMNS = ("scan", "modality", *NUMBERS, "failure")
"""``failure`` tells why the scan was not measured: it could not be prepared, or its file is no
longer there. It is empty where the scan was measured.
"""

_FEWEST_SCANS = 8
"""With fewer scans of a modality no number is compared with the others."""
_OUTLYING = 3.5
"""Robust z beyond which a number is flagged."""
_VOLUME_ML = (250.0, 2300.0)
"""Limits of the brain's volume; a scan beyond them is flagged."""
_LEAST_OVERLAP = 0.85
_MOST_AT_EDGE_PERCENT = 0.5
_CONTRAST_SIGN = {"T1w": 1, "T2w": -1}
_VENTRICLES, _WHITE_MATTER = "Lateral ventricle", "white matter"
"""Name of the ventricles, without a side, and group of the white matter in label tables."""
_BRIGHT_VENTRICLES = 1.15
"""Ratio above which ventricles count as bright. T1w: 0.07 and 0.37 in two adults, 0.75 to 0.96 in
newborns, whose white matter is dark, too; their T2w: 1.35 to 2.42.
"""
_FEWEST_VOXELS = 50
"""Smallest number of voxels of each for a ratio; medians of fewer are partial volume and noise."""
# Name of the number in a flag, and whether only low values are flagged.
_RELATIVE = {
    "volume_ml": ("brain volume", False),
    "overlap": ("overlap with the template", True),
    "nmi": ("NMI with the template", True),
}


@final
@dataclass(frozen=True)
class PreparedScan:
    """A scan and the unit that its preparation wrote.

    Attributes:
        name: the name of the scan in tables and pictures.
        scan: the file from which the scan was prepared.
        folder: the unit (:class:`diffeode.units.scan.ScanUnit`).
        labels: a label map in the space of the prepared image.
        label_table: the table of the labels that are shown; None for all labels.
        orientation: the orientation of the scan where its header leaves it open
            (:func:`diffeode.files.headers.grid_of`).
    """

    name: str
    modality: str
    scan: Path
    folder: Path
    labels: Path | None = None
    label_table: Path | None = None
    orientation: str | None = None

    def original(self) -> Image:
        """Return the scan from which the image was prepared.

        Raises:
            InputError: the file is missing or unusable.
        """
        return io.read_image(self.scan, self.orientation)

    def image(self) -> Image:
        """Return the prepared image.

        Raises:
            InputError: the file is missing or unusable.
        """
        return ScanUnit(self.folder).image()

    def brain(self) -> np.ndarray:
        """Return the brain mask on the grid of the prepared image, ``(X, Y, Z)`` bool."""
        return ScanUnit(self.folder).brain()

    def to_scan(self) -> Affine:
        """Return the affine from points of the prepared image to points of the scan, RAS mm."""
        return ScanUnit(self.folder).to_scan()


def measure(prepared: PreparedScan, references: Mapping[str, Image]) -> dict[str, object]:
    """Return one row of the table of prepared scans, with the columns :data:`COLUMNS`.

    - ``volume_ml``: the volume of the brain before any scaling to a template.
    - ``edge_percent``: the share of the brain's voxels that lie on the outermost layer of voxels of
      the scan or of the prepared image, which shows that the brain was cut off.
    - ``overlap``: the Dice coefficient with the brain of the template.
    - ``nmi``: NMI over the brain of the template, with the template of the scan's contrast, or with
      the T1w template where it has none of that contrast.
    - ``t1w_correlation``: Pearson's correlation with the T1w template over the voxels where both
      have brain.
    - ``ventricle_ratio``: the median intensity in the lateral ventricles, divided by that in the
      white matter. Fluid is dark in T1w and bright in T2w, in newborns, too. It is NaN where
      the label table names no lateral ventricle or has no group ``white matter``, or the label map
      holds less than 50 voxels of either.

    Args:
        references: the template's images by modality, skull-stripped, in [0, 1], on the prepared
            image's grid; empty where the scan was not brought to a template.

    Raises:
        InputError: a file is missing or unusable, or the prepared image lies on another grid than
            the template.
    """
    image, brain, to_scan = prepared.image(), prepared.brain(), prepared.to_scan()
    scale = abs(np.linalg.det(to_scan.matrix[:3, :3]))
    row: dict[str, object] = dict.fromkeys(COLUMNS, np.nan)
    row |= {
        "scan": prepared.name,
        "modality": prepared.modality,
        "failure": "",
        "volume_ml": brain.sum() * image.grid.voxel_volume * scale / 1000,
        "ventricle_ratio": _ventricle_ratio(prepared, image),
        "edge_percent": _edge_percent(brain, image.grid, to_scan, prepared.original().grid),
    }
    if references:
        row |= _likeness(image, brain, references, prepared)
    return row


def without_numbers(name: str, modality: str, failure: str) -> dict[str, object]:
    """Return the row of a scan that was not measured, with the columns :data:`COLUMNS`.

    Args:
        failure: the sentence that tells why.
    """
    row: dict[str, object] = dict.fromkeys(COLUMNS, np.nan)
    return {**row, "scan": name, "modality": modality, "failure": failure}


def flag(table: pd.DataFrame, adults: bool) -> pd.DataFrame:
    """Return the ``table`` of one dataset with a column ``flags``: sentences about unusual numbers,
    why the scan was not measured, or an empty text.

    A number is unusual where its robust z among the scans of its modality,
    ``0.6745 (x - median) / MAD``, is beyond 3.5 (Iglewicz and Hoaglin, 1993). This is tested where
    there are at least 8 scans. Absolute limits are tested always.

    Args:
        table: rows of :func:`measure`.
        adults: whether to test that contrasts look like their modality: T1w scans correlate with
            the T1w template, T2w scans correlate with it negatively. The contrast of newborns
            differs, so they are not tested. Whether fluid is dark or bright is always tested.
    """
    flags = [_absolute(row, adults) for _, row in table.iterrows()]
    for _, group in table.groupby("modality", sort=False):
        for column, (words, low_only) in _RELATIVE.items():
            scores = robust_z(group[column].to_numpy(dtype=float))
            for position, z in zip(table.index.get_indexer(group.index), scores, strict=True):
                if z < -_OUTLYING or (z > _OUTLYING and not low_only):
                    flags[position].append(
                        f"{words} far {'below' if z < 0 else 'above'} the other scans' (z {z:+.1f})"
                    )
    return table.assign(flags=["; ".join(sentences) for sentences in flags])


def robust_z(values: np.ndarray) -> np.ndarray:
    """Return modified z-scores ``(N,)`` of ``values (N,)``.

    They are 0 where there are fewer than 8 finite values or the values have no spread. NaN are left
    out of median and MAD.
    """
    known = values[np.isfinite(values)]
    if len(known) < _FEWEST_SCANS:
        return np.zeros(len(values))
    centre = np.median(known)
    spread = np.median(np.abs(known - centre))
    return (
        np.nan_to_num(0.6745 * (values - centre) / spread) if spread > 0 else np.zeros(len(values))
    )


def _absolute(row: pd.Series, adults: bool) -> list[str]:
    if failure := row.get("failure", ""):
        return [f"no numbers: {failure}"]
    (least, most), volume = _VOLUME_ML, row.volume_ml
    correlation = row.t1w_correlation
    sign = _CONTRAST_SIGN.get(row.modality, 0)
    other_contrast = adults and correlation * sign < 0
    checks = (
        (
            not least <= volume <= most,
            f"brain volume {volume:.0f} ml, outside {least:.0f} to {most:.0f} ml",
        ),
        (
            row.overlap < _LEAST_OVERLAP,
            f"overlap with the template {row.overlap:.2f}, under {_LEAST_OVERLAP:.2f}",
        ),
        (
            row.edge_percent > _MOST_AT_EDGE_PERCENT,
            f"{row.edge_percent:.1f} % of the brain at the edge of the field of view",
        ),
        (
            other_contrast,
            f"contrast does not look like {row.modality} (correlation with the T1w template "
            f"{correlation:+.2f})",
        ),
        (
            (row.ventricle_ratio - _BRIGHT_VENTRICLES) * sign > 0,
            f"contrast does not look like {row.modality} (the ventricles are "
            f"{row.ventricle_ratio:.2f} times as bright as the white matter)",
        ),
    )
    return [sentence for wrong, sentence in checks if wrong]


def _likeness(
    image: Image, brain: np.ndarray, references: Mapping[str, Image], prepared: PreparedScan
) -> dict[str, float]:
    t1w = references["T1w"]
    if not image.grid.matches(t1w.grid):
        raise InputError(
            f"The prepared scan {prepared.folder} does not lie on the template's grid; prepare it "
            "for that template."
        )
    template = foreground(t1w)
    both = brain & template
    same = references.get(prepared.modality, t1w)
    return {
        "overlap": 2 * both.sum() / (brain.sum() + template.sum()),
        "nmi": normalised_mutual_information(image.data, same.data, template),
        "t1w_correlation": _correlation(image.data[both], t1w.data[both]),
    }


def _ventricle_ratio(prepared: PreparedScan, image: Image) -> float:
    if prepared.labels is None or prepared.label_table is None:
        return float("nan")
    labels, table = io.read_labels(prepared.labels), read_label_table(prepared.label_table)
    are_ventricles = table["name"].map(structure_name) == _VENTRICLES
    medians = []
    for chosen in (are_ventricles, table["group"] == _WHITE_MATTER):
        voxels = np.argwhere(np.isin(labels.data, table["id"][chosen]))
        if len(voxels) < _FEWEST_VOXELS:
            return float("nan")
        places = image.grid.to_voxel(labels.grid.to_world(voxels))
        medians.append(float(np.median(sample(image.data, places, order=1))))
    ventricles, white_matter = medians
    return ventricles / white_matter if white_matter > 0 else float("nan")


def _correlation(one: np.ndarray, other: np.ndarray) -> float:
    return (
        float(np.corrcoef(one, other)[0, 1])
        if one.size and one.std() > 0 and other.std() > 0
        else float("nan")
    )


def _edge_percent(brain: np.ndarray, grid: Grid, to_scan: Affine, scan: Grid) -> float:
    voxels = np.argwhere(brain)
    on_edge = _outermost(voxels, grid.shape) | _outermost(
        scan.to_voxel(to_scan(grid.to_world(voxels))), scan.shape
    )
    return 100 * float(on_edge.mean())


def _outermost(voxels: np.ndarray, shape: tuple[int, int, int]) -> np.ndarray:
    """Return which voxel coordinates ``(N, 3)`` belong to the outermost layer of voxels or lie
    beyond it.
    """
    return np.any((voxels < 0.5) | (voxels > np.array(shape) - 1.5), axis=1)
