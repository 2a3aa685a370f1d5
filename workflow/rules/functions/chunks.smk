"""Chunks of pairs, on each of which one job works: what is made in them, and which jobs have work to
do.
"""

from functools import cache

from diffeode.provenance.upkeep import flat
from diffeode.study.chunks import Step, chunks_of

CHUNKS = {
    e.name: chunks_of([pair.id for pair in e.pairs], STUDY.pairs_per_job) for e in STUDY.drawn
}
CHUNK_NAMES = {
    (experiment, pair): name
    for experiment, chunks in CHUNKS.items()
    for name, pairs in chunks.items()
    for pair in pairs
}

AT_WORK = set()
"""Those of these files that this run of the workflow makes, once that is known."""


@cache
def made_in_chunks():
    """Return how every file is made that a job makes for a pair of its chunk: receipts of pairs,
    receipts and metrics of registrations. No rule has them as outputs.
    """
    return {**alignment_steps(), **registration_steps()}


def units_of_chunk(wildcards):
    """Return the units of a chunk: its pairs, with the run of the job where it has one."""
    experiment, run = wildcards.experiment, wildcards.get("run")
    with_run = {"run": run} if run else {}
    return [
        INTERNALS.wildcards(experiment=experiment, pair=pair, **with_run)
        for pair in CHUNKS[experiment][wildcards.chunk]
    ]


def job_of(unit, pattern):
    """Return the output of the job that works on a unit; ``pattern`` names these outputs."""
    return pattern.format(**unit, chunk=CHUNK_NAMES[unit.experiment, unit.pair])


def chunks_at_work(files):
    """Return the outputs of the jobs that make any of ``files`` in this run of the workflow.

    A rule that reads these files names the jobs as its input ``after``, and the files themselves as
    its parameter ``units``.
    """
    return list(dict.fromkeys(made_in_chunks()[file].job for file in files if file in AT_WORK))


def read_by_chunk(wildcards, *readers):
    """Return every file that units of a chunk read and that no chunk makes.

    Units read what is made in chunks of their own pair only.

    Args:
        readers: functions that return what a unit reads.
    """
    units = units_of_chunk(wildcards)
    files = flat([reads(unit) for unit in units for reads in readers])
    patterns = (PAIR, REGISTRATION, METRICS) if wildcards.get("run") else (PAIR,)
    made = {pattern.format(**unit) for unit in units for pattern in patterns}
    return [file for file in dict.fromkeys(files) if file not in made]


def waiting_in_chunk(wildcards, pattern):
    """Return how many units of a chunk wait for their receipt, which ``pattern`` names; all of them
    where that is not known.
    """
    units = units_of_chunk(wildcards)
    return sum(pattern.format(**unit) in AT_WORK for unit in units) or len(units)
