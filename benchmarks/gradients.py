"""Seconds and memory of the three gradients of a flow, and how far the adjoint's is from the exact
one.

    python benchmarks/gradients.py

writes ``benchmarks/results/gradients.tsv``: RK4 on 80 x 96 x 72 voxels, one CPU thread, over time
1.
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
        # The checkpointed gradient equals the exact one and, unlike it, fits into memory whatever
        # the steps.
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
    """``(1, 3, *SIZE)`` of greatest component 1."""
    noise = gaussian(torch.randn(1, 3, *SIZE, generator=torch.Generator().manual_seed(seed)), 4.0)
    return noise / noise.abs().max()


def gradient_of(
    flow: Flow, velocity: torch.Tensor, weights: torch.Tensor
) -> tuple[torch.Tensor, float]:
    """Gradient of the weighted sum of the displacement, and the CPU seconds of both passes."""
    leaf = velocity.clone().requires_grad_()
    start = time.process_time()
    (weights * flow(leaf)).sum().backward()
    return leaf.grad, time.process_time() - start


def megabytes_kept(flow: Flow, velocity: torch.Tensor) -> float:
    """What the forward pass leaves behind for the backward pass, the displacement among it."""
    leaf = velocity.clone().requires_grad_()
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        displacement = flow(leaf)
    kept = sum(event.self_cpu_memory_usage for event in profiler.events())
    del displacement
    return kept / 2**20


if __name__ == "__main__":
    main()
