"""Which GPU of several a process uses: one that no other process has.

Snakemake counts GPUs but does not say which one a job gets, so that all jobs of a machine would use
the first one. Here each job takes a GPU by a lock on a file, which the system releases when the
process and its children have ended, however they ended.
"""

from __future__ import annotations

import fcntl
import os
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TextIO

_SECONDS_BETWEEN_LOOKS = 1.0
_kept: list[TextIO] = []
"""The locked files: closing one would release its GPU."""


def take_a_gpu() -> str | None:
    """Wait for a GPU that no other process has taken, and let this process see no other one.

    Call it before a library counts the GPUs. Set ``CUDA_VISIBLE_DEVICES`` beforehand to allow only
    some. Where there is one GPU or none, nothing is changed and None is returned: a scheduler such
    as Slurm has then chosen the GPU, or processes share the only one.

    Returns:
        the GPU, as ``CUDA_VISIBLE_DEVICES`` names it.
    """
    names = gpus()
    if len(names) < 2:
        return None
    folder = _folder()
    while True:
        for name in names:
            # Older drivers name the parts of a GPU (MIG) with slashes.
            if _try_to_lock(folder / f"{name.replace('/', '-')}.lock"):
                os.environ["CUDA_VISIBLE_DEVICES"] = name
                return name
        time.sleep(_SECONDS_BETWEEN_LOOKS)


def gpus() -> list[str]:
    """Return the GPUs that this process may use, as ``CUDA_VISIBLE_DEVICES`` names them."""
    visible = os.environ.get("CUDA_VISIBLE_DEVICES")
    if visible is not None:
        return [name.strip() for name in visible.split(",") if name.strip()]
    try:
        listed = subprocess.run(
            ["nvidia-smi", "--list-gpus"], capture_output=True, text=True, timeout=60, check=False
        )
    except (OSError, subprocess.TimeoutExpired):
        return []
    # The parts of a GPU (MIG) are listed below it, indented. Where the driver does not answer, the
    # program prints lines about that instead.
    lines = [line for line in listed.stdout.splitlines() if line.startswith("GPU ")]
    return [str(number) for number in range(len(lines))]


def _folder() -> Path:
    """Return the folder of the locks: one for all processes of this user and job of Slurm.

    The same number may mean another GPU in another job of Slurm on the same machine.
    """
    job = os.environ.get("SLURM_JOB_ID", "")
    folder = Path(tempfile.gettempdir()) / f"diffeode-gpus-{os.getuid()}{job and '-'}{job}"
    folder.mkdir(mode=0o700, exist_ok=True)
    return folder


def _try_to_lock(lock: Path) -> bool:
    """Lock the file for this process, and return whether that succeeded."""
    file = lock.open("a", encoding="utf-8")
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        file.close()
        return False
    os.set_inheritable(file.fileno(), True)
    _kept.append(file)
    return True
