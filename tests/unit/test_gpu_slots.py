"""Each of several processes gets a GPU of its own."""

import os
import subprocess
import sys

import pytest

from diffeode.process import gpu_slots

TAKE = """
import sys
from diffeode.process.gpu_slots import take_a_gpu
print(take_a_gpu(), flush=True)
sys.stdin.read()
"""


@pytest.fixture
def locks(tmp_path, monkeypatch):
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)


def started(gpus: str, **more: str) -> subprocess.Popen:
    environment = {**os.environ, "CUDA_VISIBLE_DEVICES": gpus, **more}
    return subprocess.Popen(
        [sys.executable, "-c", TAKE],
        env=environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )


def test_each_process_takes_another_gpu_and_the_next_waits_for_one(locks):
    first, second = started("3,GPU-8f"), started("3,GPU-8f")
    got = {process.stdout.readline().strip() for process in (first, second)}
    assert got == {"3", "GPU-8f"}
    third = started("3,GPU-8f")
    with pytest.raises(subprocess.TimeoutExpired):
        third.wait(3)
    first.kill()
    assert third.stdout.readline().strip() in got
    for process in (second, third):
        process.communicate(timeout=60)


def test_jobs_of_slurm_do_not_wait_for_each_other(locks):
    jobs = [started("0,1", SLURM_JOB_ID=number) for number in ("7", "8")]
    assert [job.stdout.readline().strip() for job in jobs] == ["0", "0"]
    for job in jobs:
        job.communicate(timeout=60)


@pytest.mark.parametrize("visible", ["", "1"])
def test_one_gpu_or_none_is_left_as_it_is(locks, monkeypatch, visible):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert gpu_slots.take_a_gpu() is None
    assert os.environ["CUDA_VISIBLE_DEVICES"] == visible


@pytest.mark.parametrize(
    ("said", "counted"),
    [
        (["GPU 0: A (UUID: x)", "GPU 1: B (UUID: y)"], ["0", "1"]),
        (["GPU 0: A (UUID: x)", "  MIG 1g.18gb     Device  0: (UUID: MIG-y)"], ["0"]),
        (["NVIDIA-SMI has failed because it", "could not communicate with the driver."], []),
    ],
)
def test_the_gpus_of_a_machine_are_counted_by_its_own_program(
    locks, tmp_path, monkeypatch, said, counted
):
    program = tmp_path / "nvidia-smi"
    program.write_text("#!/bin/sh\n" + "".join(f"echo '{line}'\n" for line in said))
    program.chmod(0o755)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    assert gpu_slots.gpus() == counted


def test_a_part_of_a_gpu_whose_name_has_slashes_is_taken(locks):
    process = started("MIG-GPU-8f/1/0,MIG-GPU-8f/2/0")
    assert process.stdout.readline().strip() == "MIG-GPU-8f/1/0"
    process.communicate(timeout=60)
