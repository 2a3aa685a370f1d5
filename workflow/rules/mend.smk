"""Before Snakemake plans: what is missing here for the work ahead, and what is damaged, failed or
stale.

What is up to date is judged here alone (diffeode.provenance.upkeep). So an input is ancient to
Snakemake unless it is made again: neither times of files nor Snakemake's memory decides, and
results that were copied or restored are judged as any others.
"""

from collections import defaultdict
from functools import cache

from diffeode.provenance.checksums import Checksums
from diffeode.registration.runs import obstacles
from diffeode.prepare.needs import missing
from diffeode.provenance.upkeep import Kind, Planned, complaints, files_to_compare

from snakemake_internals import ancient_unless

MEMORY = STUDY.results / ".checksums.json"
_SHOWN = 3
_begun = []


# ----------------------------------------------------------------------------------------- the plan


@cache
def plan():
    """Every file of the study, and what its rule would make it from where it is there."""
    return [
        _planned(file)
        for file in dict.fromkeys([*receipts(), *descriptors(), *plain_files(), VERDICT])
    ]


def _planned(file):
    made_from = INTERNALS.made_from(file) if Path(file).exists() else ((), {})
    return Planned(Path(file), *made_from)


# ------------------------------------------------------------------------------------ what is wrong


@cache
def judged(thorough=False):
    """Each file of the study that has to be made again, and why; ``thorough``: after reading every
    file.
    """
    checksums = Checksums(MEMORY, thorough)
    checksums.compute_ahead(files_to_compare(plan(), STUDY.results), _tell)
    found = complaints(plan(), STUDY.results, checksums, INTERNALS.is_forced)
    checksums.save()
    return found


def _tell(sentence):
    print(sentence, file=sys.stderr, flush=True)


def mend():
    """Have made again, once, what is damaged, failed or stale, and say so; a dry run removes
    nothing.

    Where no job can run, as for a report or a graph, it is only said. Input functions call this,
    because only then does Snakemake know whether it will run jobs at all.
    """
    if _begun or not INTERNALS.decides:
        return
    _begun.append(True)
    if INTERNALS.only_looks:
        for sentence in sentences(judged()):
            logger.warning(f"This is not up to date: {sentence}")
        return
    if not INTERNALS.is_dry and INTERNALS.is_at_work_elsewhere:
        return  # its files are in flux
    found = judged()
    for file, complaint in found.items():
        if complaint.kind is Kind.DAMAGED and not INTERNALS.is_dry:
            file.unlink()
        INTERNALS.force(file)
    for sentence in sentences(found):
        logger.warning(sentence)
    if not INTERNALS.is_dry:
        INTERNALS.forget_interruptions()  # what killed jobs left was judged like everything else
    INTERNALS.forget_files()
    require_what_is_needed()


def sentences(found):
    """One sentence for each reason why something has to be made again."""
    groups = defaultdict(list)
    for file, complaint in found.items():
        if complaint.kind is not Kind.DERIVED:
            groups[complaint.reason].append(
                str(file.parent if file.name == "receipt.json" else file)
            )
    return [_sentence(names, reason) for reason, names in groups.items()]


def _sentence(names, reason):
    if len(names) == 1:
        return f"{names[0]} has to be made again: {reason}."
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more} have to be made again: {reason}."


# ----------------------------------------------------------------------------------- what is needed


def require_what_is_needed():
    """Stop before any job where a program, package or weights that the work ahead needs are not
    here.

    A dry run only says so. Where jobs run elsewhere, only they can know.
    """
    if not INTERNALS.runs_jobs_here:
        return
    runs, apart = runs_ahead(), INTERNALS.makes_environments
    absent = obstacles(runs, apart, provided={run.name for run in runs if descriptor_of(run.name)})
    if not apart:
        absent += filter(None, (missing(*step) for step in sorted(steps_ahead())))
    for sentence in absent[: len(absent) if INTERNALS.is_dry else -1]:
        logger.warning(sentence)
    if absent and not INTERNALS.is_dry:
        refuse(absent[-1])


def runs_ahead():
    """The runs that some pair still waits for."""
    waiting = {unit["run"] for unit in UNITS if _waits(REGISTRATION.format(**unit))}
    return [run for run in STUDY.runs if run.name in waiting]


def steps_ahead():
    """Step and name of each tool of preparation that some scan still waits for."""
    made_by = {
        BRAIN: "strip",
        CORRECTED: "correct",
        PLACED: "place",
        PREPARED: "prepare",
        SEGMENTED: "segment",
    }
    found = set()
    for scan in SCANS.values():
        waiting = set(filter(_waits, units_of(scan)))
        steps = [step for pattern, step in made_by.items() if unit(pattern, scan) in waiting]
        tools = [tool for step in steps for tool in recipe_of(scan).tools_of(step, scan)]
        found |= {(tool.step, tool.name) for tool in tools}
    return found


def _waits(receipt):
    """Whether a unit is made by this run."""
    return Path(receipt) in judged() or not Path(receipt).exists()


# ---------------------------------------------------------------------------------- inputs of rules


def mended(inputs):
    """``inputs``, once everything has been looked at; ancient to Snakemake unless they are made
    again.

    The Snakefile puts it around the input functions of all rules with a script.
    """

    def inspect(wildcards):
        mend()
        return ancient_unless(INTERNALS.is_forced, inputs(wildcards))

    return inspect


def inspected(inputs):
    """``inputs``, once everything has been looked at, for what only asks for files: it waits for
    all that are made.
    """

    def inspect(wildcards):
        mend()
        return inputs(wildcards)

    return inspect
