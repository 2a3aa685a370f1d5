"""Targets of the Makefile that run several studies, with a program in the place of Snakemake."""

from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
# it ends by itself after an interrupt, as Snakemake does
_SNAKEMAKE = """\
#!/usr/bin/env python3
import sys, time
with open("started.txt", "a") as file:
    print(sys.argv[-1], file=file)
try:
    time.sleep(60)
except KeyboardInterrupt:
    sys.exit(1)
"""


@pytest.mark.parametrize("target", ["demo", "paper-small"])
def test_an_interrupt_ends_all_studies_of_a_target(tmp_path, target):
    program, started = tmp_path / "snakemake", tmp_path / "started.txt"
    program.write_text(_SNAKEMAKE)
    program.chmod(0o755)
    command = ["make", "-f", str(REPOSITORY / "Makefile"), target, "-o", "setup"]
    running = subprocess.Popen(
        ["env", "--default-signal=INT", *command, f"SNAKEMAKE={program}"],
        cwd=tmp_path,
        start_new_session=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    while not (started.exists() and started.read_text()) and running.poll() is None:
        time.sleep(0.05)
    time.sleep(0.3)  # until the program can be interrupted
    os.killpg(running.pid, signal.SIGINT)
    assert running.wait(timeout=30) != 0
    assert len(started.read_text().splitlines()) == 1
