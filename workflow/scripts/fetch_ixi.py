"""Fetch and unpack one archive of IXI, and its table."""

import time
from pathlib import Path

from _job import job

PERIOD_S = 60

with job(snakemake) as say:
    from diffeode.datasets.ixi_download import fetch_ixi, fetch_table

    shown = time.monotonic()

    def progress(fraction: float, line: str) -> None:
        """Every line to the log, one a minute to the console."""
        global shown
        print(f"{100 * fraction:3.0f} %  {line}", flush=True)
        if time.monotonic() - shown >= PERIOD_S:
            shown = time.monotonic()
            say(f"{100 * fraction:.0f} %, {line}")

    root = Path(snakemake.output[0]).parents[1]
    fetch_table(root, progress)
    fetch_ixi(root, snakemake.wildcards.archive, progress)
