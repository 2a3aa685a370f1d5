"""Strip one head, and label the whole of it by the same network: ``python _stripping.py REQUEST
ANSWER``, both JSON files.

``desk.py`` calls it for every head.
"""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from typing import Any

from diffeode.files import io
from diffeode.prepare.conform import conform, mask_back
from diffeode.prepare.meshnet import load_meshnet
from diffeode.prepare.step_tool import silent
from diffeode.prepare.steps.mindgrab import ARCHITECTURE, mindgrab_mask, one_piece, scaled
from diffeode.weights.catalogue import find_weights


def answer(request: dict[str, Any]) -> dict[str, float]:
    """Return the costs of both, and the Dice of the two masks.

    Args:
        request: ``image`` and ``threads``.
    """
    image, threads = io.read_image(request["image"]), request["threads"]
    net = load_meshnet(find_weights("meshnet-mindgrab"), ARCHITECTURE)
    wall, begun = time.perf_counter(), time.process_time()
    mask = mindgrab_mask(image, threads)
    seconds, between = time.perf_counter() - wall, time.process_time()
    conformed = conform(image)
    brain = one_piece(net.label(scaled(conformed.data), threads, silent) == 1)
    whole = one_piece(mask_back(brain, conformed.grid, image.grid))
    spent = {"cpu_seconds": between - begun, "reference": time.process_time() - between}
    return {
        "cpu_seconds": spent["cpu_seconds"],
        "reference_cpu_seconds": spent["reference"],
        "ratio": spent["cpu_seconds"] / spent["reference"],
        "seconds": seconds,
        "dice": float(2 * (mask & whole).sum() / (mask.sum() + whole.sum())),
    }


if __name__ == "__main__":
    asked, answered = map(Path, sys.argv[1:])
    answered.write_text(
        json.dumps(answer(json.loads(asked.read_text(encoding="utf-8")))), encoding="utf-8"
    )
