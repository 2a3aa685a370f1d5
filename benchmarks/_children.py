"""Fresh processes for what is measured: nothing that ran before can help or hinder."""

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
    """What ``script`` (a file of this folder) answers to ``request`` in a process of its own.

    A process that dies answers ``failed`` with the last line it said.

    Args:
        environment: variables on top of today's.
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
    said = (done.stderr.strip().splitlines() or ["nothing was said"])[-1]
    return {"failed": f"the process ended with code {done.returncode}: {said}"}
