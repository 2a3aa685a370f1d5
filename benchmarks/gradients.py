"""Measure seconds and memory of the three gradients of a flow, and the error of the adjoint's.

    python benchmarks/gradients.py

writes ``benchmarks/results/gradients.tsv``, for RK4 over time 1 on 80 x 96 x 72 voxels with one CPU
thread.
"""

import csv
import time
from pathlib import Path

import torch
from torch.profiler import ProfilerActivity, profile

from diffeode.flows.integrate import GRADIENTS, Flow
from diffeode.flows.smoothing import gaussian
from diffeode.process.threads import use_threads

SIZE = (80, 96, 72)
STEPS = (1, 4, 16, 64)
GREATEST_VOX = 4.0
RESULT = Path(__file__).parent / "results" / "gradients.tsv"


def main() -> None:
    use_threads(1)
    velocity, weights = smooth_noise(0) * GREATEST_VOX, smooth_noise(1)
    rows = []
    for steps in STEPS:
        flows = {gradient: Flow("rk4", steps, 1 / steps, gradient) for gradient in GRADIENTS}
        # The checkpointed gradient equals the exact one, and fits into memory at any number of
        # steps.
        reference = gradient_of(flows["checkpoint"], velocity, weights)[0]
        for gradient, flow in flows.items():
            found, seconds = gradient_of(flow, velocity, weights)
            rows.append(
                {
                    "solver": "rk4",
                    "steps": steps,
                    "gradient": gradient,
                    "cpu_seconds": f"{seconds:.2f}",
                    "megabytes_kept": f"{megabytes_kept(flow, velocity):.1f}",
                    "relative_error": f"{float((found - reference).norm() / reference.norm()):.1e}",
                }
            )
            print(*rows[-1].values(), sep="\t", flush=True)
    with RESULT.open("w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, rows[0], delimiter="\t", lineterminator="\n")
        table.writeheader()
        table.writerows(rows)


def smooth_noise(seed: int) -> torch.Tensor:
    """Return a smooth random field ``(1, 3, *SIZE)`` whose greatest component is 1."""
    noise = gaussian(torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(seed)), 4.0)
    return noise / noise.abs().max()


def gradient_of(
    flow: Flow, velocity: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, float]:
    """Return the gradient of the weighted sum of the displacement, and the CPU seconds of both
    passes.
    """
    leaf = velocity.clone().requires_grad_()
    start = time.process_time()
    (weights * flow(leaf)).sum().backward()
    return leaf.grad, time.process_time() - start


def megabytes_kept(flow: Flow, velocity: torch.Tensor) -> float:
    """Return the memory that the forward pass keeps for the backward pass, with the
    displacement.
    """
    leaf = velocity.clone().requires_grad_()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        displacement = flow(leaf)
    kept = sum(event.self_cpu_memory_usage for event in profiler.events())
    del displacement
    return kept / 2**20


if __name__ == "__main__":
    main()
