"""The page of the simulated study on a cluster."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from _tables import Row, markdown_table, measured_on, write_page


def write_cluster_page(rows: Sequence[Row], path: Path) -> None:
    """Write the page with the tables of ``rows``, the smallest chunks first."""
    ordered = sorted(rows, key=lambda row: (int(row["pairs_per_job"]), int(row["registrations"])))
    write_page(
        path,
        "A simulated study on a Slurm cluster",
        [
            "A study of 300 pairs and 12 runs (3,600 registrations) on the two-node cluster "
            "of `make test-cluster`, all on one machine. Its method sleeps for 0.05 s and finds no "
            "deformation. Scans are virtual, at 12 mm, and were prepared before; pairs are aligned "
            "by their headers. Every row is of the whole study's plan, of which so many "
            "registrations were made.\n",
            "## What a pair costs\n",
            "CPU seconds (user and system) of the jobs of Slurm, with the start of Snakemake in "
            "each, beside the method. *A registration* is one pair with one run, its evaluation "
            "included. Reading, writing and evaluating grow with the number of voxels.\n",
            _costs(ordered),
            "## What the study took\n",
            "*Controller* is the process of Snakemake that plans, submits and waits. *Others* are "
            "the jobs of tables and figures, which only the whole study has.\n",
            _totals(ordered),
            measured_on(ordered),
        ],
    )


def _costs(rows: Sequence[Row]) -> str:
    headings = ["pairs per job", "registrations", "jobs", "CPU s a registration"]
    lines = [
        [
            *(row["pairs_per_job"], row["registrations"], row["register_jobs"]),
            f"{float(row['cpu_seconds_a_registration']):.2f}",
            f"{float(row['cpu_seconds_an_alignment']):.2f}",
        ]
        for row in rows
    ]
    return markdown_table([*headings, "CPU s an alignment"], lines)


def _totals(rows: Sequence[Row]) -> str:
    headings = ["pairs per job", "registrations", "all jobs", "minutes", "controller, CPU s"]
    columns = ("register_cpu_seconds", "align_cpu_seconds", "other_cpu_seconds")
    lines = [
        [
            *(row["pairs_per_job"], row["registrations"], row["jobs"]),
            f"{float(row['minutes']):.1f}",
            f"{float(row['controller_cpu_seconds']):.0f}",
            f"{float(row['controller_memory_mb']):.0f}",
            *(f"{float(row[name]):.0f}" for name in columns),
        ]
        for row in rows
    ]
    of_jobs = ["registering, CPU s", "aligning, CPU s", "others, CPU s"]
    return markdown_table([*headings, "controller, MB", *of_jobs], lines)
