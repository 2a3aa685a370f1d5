"""What every script does alike: its log, its threads, its one sentence on the console, the record
of its files.
"""

from __future__ import annotations

import os
import sys
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any


@contextmanager
def job(snakemake) -> Iterator[Callable[[str], None]]:
    """Send all output to the job's log; show one sentence on the console where the job fails.

    Scripts import what they need inside, so that a failing import is logged too and threads are
    limited before any library counts them. Yields a function that writes a sentence on the console.

    What the job made, and from what, is written down. The inputs are looked at before the work
    begins, so that one which is replaced while the job runs counts as changed.
    """
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(snakemake.threads)
    os.environ["OMP_NUM_THREADS"] = str(snakemake.threads)
    from diffeode.process.surroundings import settle

    settle()
    if snakemake.resources.get("gpu", 0):
        from diffeode.process.gpu_slots import take_a_gpu

        take_a_gpu()
    console = os.fdopen(os.dup(2), "w", buffering=1)
    _into(snakemake.log[0])
    what = f"{snakemake.rule} {' '.join(snakemake.wildcards)}".strip()
    print(what, *_facts(snakemake), sep="\n", flush=True)

    def say(sentence: str) -> None:
        console.write(f"{what}: {sentence} (log: {snakemake.log[0]})\n")

    try:
        origin = _origin(snakemake)
        yield say
        _put_on_record(snakemake, origin)
    except Exception as error:
        from diffeode.errors import reason_of

        traceback.print_exc()
        say(reason_of(error))
        sys.exit(1)


def _into(log: str) -> None:
    """Point this process's standard output and error at ``log``, also for libraries that are not
    Python.
    """
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o666)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _facts(snakemake) -> Iterator[str]:
    yield from (f"  {name}: {value}" for name, value in snakemake.wildcards.items())
    yield from (f"  {name}: {value}" for name, value in snakemake.params.items() if name != "code")
    yield f"  threads: {snakemake.threads}"


def _origin(snakemake) -> dict[str, Any]:
    from diffeode.provenance.origin import origin_of

    return origin_of(map(str, snakemake.input), dict(snakemake.params.items()))


def _put_on_record(snakemake, origin: dict[str, Any]) -> None:
    """Write ``origin`` into the receipt of a unit, or into the seals of files that are none."""
    from diffeode.provenance.receipt import RECEIPT, add_origin
    from diffeode.provenance.seals import seal

    files = list(map(Path, snakemake.output))
    receipts = [file for file in files if file.name == RECEIPT]
    for receipt in receipts:
        add_origin(receipt, origin)
    for file in files if not receipts else ():
        seal(file, Path(snakemake.config["results"]), origin)
