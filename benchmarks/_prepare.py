"""Prepare one scan and judge the result: ``python _prepare.py REQUEST ANSWER``, both JSON files.

``preparation.py`` calls it for every scan.
"""

from __future__ import annotations

import json
import resource
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.prepare.steps.mindgrab import mindgrab_mask
from diffeode.prepare.steps.subcortical import subcortical_labels

_AIR = 0.1
"""Voxels darker than this share of the 98 % quantile are air or bone."""

REFERENCE = {
    **{
        2: (2, 41),
        3: (3, 42, *range(1000, 3000)),
        4: (4, 43),
        5: (5, 44),
        7: (7, 46),
        10: (10, 49),
    },
    **{8: (8, 47, 6, 45, 630, 631, 632)},
    **{
        11: (11, 50),
        12: (12, 51),
        13: (13, 52),
        14: (14,),
        15: (15,),
        16: (16,),
        17: (17, 53),
        18: (18, 54),
    },
    **{26: (26, 58), 28: (28, 60)},
}
"""For each structure that we find, the labels of FreeSurfer's aseg, or of OASIS-TRT-20, that make
it up.
"""


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Prepare a scan as ``request`` says, and return costs and scores.

    Args:
        request: ``part``, ``image``, ``labels`` (or None), ``inverted``, ``threads`` and
            ``result``, the file to write.
    """
    image = io.read_image(request["image"])
    if request["inverted"]:
        image = inverted(image)
    wall, processor = time.perf_counter(), time.process_time()
    found = _PARTS[request["part"]](image, request["threads"])
    costs = {
        "cpu_seconds": time.process_time() - processor,
        "seconds": time.perf_counter() - wall,
        "peak_memory_mb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6,
    }
    io.write_labels(request["result"], Labels(found, image.grid))
    return costs | _SCORES[request["part"]](found, _reference(request), image)


def inverted(image: Image) -> Image:
    """Return a head of inverted contrast: bright tissue becomes dark and fluid bright, as in T2w.

    Air and bone stay dark.
    """
    top = np.quantile(image.data, 0.98)
    tissue = image.data > _AIR * top
    return Image(np.where(tissue, 1.1 - np.minimum(image.data / top, 1), 0), image.grid)


def _reference(request: dict[str, Any]) -> np.ndarray:
    """Return the labels or, where there are none, the mask of the scan, which is skull-stripped."""
    if request["labels"]:
        return io.read_labels(request["labels"]).data
    return (io.read_image(request["image"]).data > 0).astype(np.int32)


def _brain_scores(mask: np.ndarray, labels: np.ndarray, image: Image) -> dict[str, float]:
    reference = labels > 0
    millilitres = image.grid.voxel_volume / 1000
    return {
        "dice": _dice(mask, reference),
        "found_ml": float(mask.sum() * millilitres),
        "reference_ml": float(reference.sum() * millilitres),
        "missed_ml": float((reference & ~mask).sum() * millilitres),
        "added_ml": float((mask & ~reference).sum() * millilitres),
    }


def _segmentation_scores(found: np.ndarray, labels: np.ndarray, image: Image) -> dict[str, float]:
    drawn = {number: np.isin(labels, ids) for number, ids in REFERENCE.items()}
    return {
        f"dice_{number}": _dice(found == number, mask)
        for number, mask in drawn.items()
        if mask.any()
    }


def _dice(found: np.ndarray, reference: np.ndarray) -> float:
    return float(2 * (found & reference).sum() / (found.sum() + reference.sum()))


_PARTS: dict[str, Callable[[Image, int], np.ndarray]] = {
    "brain": mindgrab_mask,
    "segmentation": lambda image, threads: subcortical_labels(image, threads).data,
}
_SCORES = {"brain": _brain_scores, "segmentation": _segmentation_scores}


if __name__ == "__main__":
    asked, answered = map(Path, sys.argv[1:])
    answered.write_text(
        json.dumps(answer(json.loads(asked.read_text(encoding="utf-8")))), encoding="utf-8"
    )
