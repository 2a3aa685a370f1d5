"""Run measurements in fresh processes, so that nothing that ran before can help or hinder them."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from _cases import REPOSITORY

_HERE = Path(__file__).resolve().parent
_THREADS = (
    *("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"),
    "ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS",
)


def ask(
    script: str, request: dict[str, Any], threads: int, environment: Mapping[str, str] | None = None
) -> dict:
    """Run ``script`` (a file of this folder) with ``request`` in a fresh process; return its
    answer.

    Where the process dies, the answer has ``failed`` with the last line that it printed.

    Args:
        environment: variables to set besides those of this process.
    """
    limits = dict.fromkeys(_THREADS, str(threads))
    path = os.pathsep.join(filter(None, (str(REPOSITORY / "src"), os.environ.get("PYTHONPATH"))))
    variables = {**os.environ, **limits, "PYTHONPATH": path, **(environment or {})}
    with tempfile.TemporaryDirectory(prefix="diffeode-benchmark-") as folder:
        asked, answered = Path(folder, "request.json"), Path(folder, "answer.json")
        asked.write_text(json.dumps(request), encoding="utf-8")
        command = [sys.executable, str(_HERE / script), str(asked), str(answered)]
        done = subprocess.run(command, env=variables, capture_output=True, text=True, check=False)
        if done.returncode == 0 and answered.is_file():
            return json.loads(answered.read_text(encoding="utf-8"))
    said = (done.stderr.strip().splitlines() or ["it printed nothing"])[-1]
    return {"failed": f"the process ended with code {done.returncode}: {said}"}
