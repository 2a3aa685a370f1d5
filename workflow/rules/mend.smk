"""Checks before Snakemake plans: which results are damaged, failed or stale, and what is missing on
this machine for the jobs ahead.

Only diffeode.provenance.upkeep decides which results are up to date. Every input that is not made
again is therefore marked as ancient, so that Snakemake looks neither at times of files nor at its
own memory. Results that were copied or restored from a backup are judged like all others.
"""

from collections import Counter, defaultdict
from functools import cache

from diffeode.provenance.checksums import Checksums
from diffeode.registration.runs import obstacles
from diffeode.files.io import read_image
from diffeode.prepare.needs import missing
from diffeode.prepare.recognised import IN_A_STUDY, require_scan
from diffeode.study.files import require_submittable
from diffeode.provenance.upkeep import Kind, Planned, complaints, files_to_compare, flat

from slurm import wait_for_earlier_jobs
from snakemake_internals import ancient_unless

MEMORY = STUDY.results / ".checksums.json"
_SHOWN = 3
_begun = []


# ----------------------------------------------------------------------------------------- the plan


@cache
def plan():
    """Return every file of the study and, where it exists, what its rule would read today."""
    return [
        _planned(file)
        for file in dict.fromkeys([*receipts(), *descriptors(), *plain_files(), VERDICT])
    ]


def _planned(file):
    made_from = _made_from(file) if Path(file).exists() else ((), {})
    return Planned(Path(file), *made_from, held().get(file, ()), files_read().get(file, {}))


def _made_from(file):
    if file not in made_in_chunks():
        return INTERNALS.made_from(file)
    step = made_in_chunks()[file].described()
    return flat(step["inputs"]), step["parameters"]


# ------------------------------------------------------------------------------------ what is wrong


@cache
def judged(thorough=False):
    """Return each file of the study that has to be made again, and why.

    With ``thorough`` every file is read, even where its size and time have not changed.
    """
    checksums = Checksums(MEMORY, thorough)
    checksums.compute_ahead(files_to_compare(plan(), STUDY.results), _tell)
    found = complaints(plan(), STUDY.results, checksums, is_forced)
    checksums.save()
    return found


@cache
def is_forced(file):
    """Whether the user asks that a file is made again in any case.

    The answer is kept, because mend() forces the jobs of whole chunks for the sake of one pair.
    """
    return INTERNALS.is_forced(_output(str(file)))


def _output(file):
    """Return the output of a rule whose job makes ``file``."""
    return made_in_chunks()[file].job if file in made_in_chunks() else file


def _tell(sentence):
    print(sentence, file=sys.stderr, flush=True)


def mend():
    """Make Snakemake plan again what is damaged, failed or stale, and print why; do so only once.

    A dry run removes nothing. Where no job can run, as for a report or a graph, the reasons are
    only printed. Input functions call this function, because Snakemake does not know before then
    whether it will run jobs at all.
    """
    if _begun or not INTERNALS.decides:
        return
    _begun.append(True)
    if INTERNALS.only_looks:
        for sentence in sentences(judged()):
            logger.warning(f"This is not up to date: {sentence}")
        AT_WORK.update(made_in_chunks())  # a graph shows all jobs
        return
    if not INTERNALS.is_dry and INTERNALS.is_at_work_elsewhere:
        AT_WORK.update(made_in_chunks())
        return  # its files are in flux
    require_names_for_a_cluster()
    wait_for_earlier_jobs(STUDY.results, logger.warning, INTERNALS.is_dry)
    found = judged()
    for file, complaint in found.items():
        if complaint.kind is Kind.DAMAGED and not INTERNALS.is_dry:
            file.unlink()
    forced = {file for file in made_in_chunks() if is_forced(file)}
    reduced = {str(file) for file, complaint in found.items() if complaint.kind is Kind.REDUCED}
    AT_WORK.update(forced, filter(_waits, made_in_chunks()))
    # A job makes again what it does not find, and cannot know by itself why these are made again.
    for file in forced | reduced if not INTERNALS.is_dry else ():
        Path(file).unlink(missing_ok=True)
    for file in set(map(_output, [*map(str, found), *AT_WORK])):
        INTERNALS.force(file)
    for sentence in [*sentences(found), *filter(None, [units_ahead()])]:
        logger.warning(sentence)
    if not INTERNALS.is_dry:
        INTERNALS.forget_interruptions()  # what killed jobs left was judged like everything else
    INTERNALS.forget_files()
    require_what_is_needed()
    require_templates()


def sentences(found):
    """Return one sentence for each reason why files have to be made again."""
    groups = defaultdict(list)
    for file, complaint in found.items():
        if complaint.kind is not Kind.DERIVED:
            groups[complaint.reason].append(
                str(file.parent if file.name == "receipt.json" else file)
            )
    return [_sentence(names, reason) for reason, names in groups.items()]


def units_ahead():
    """Return how many pairs and registrations this run of the workflow makes; empty where it makes
    none.
    """
    if not AT_WORK:
        return ""
    ahead = Counter(made_in_chunks()[file].stage for file in AT_WORK)
    stages = (f"{stage}s: {ahead[stage]}" for stage in ("alignment", "registration", "evaluation"))
    return f"Ahead: {', '.join(stages)}, jobs for these: {len(chunks_at_work(AT_WORK))}."


def _sentence(names, reason):
    if len(names) == 1:
        return f"{names[0]} has to be made again: {reason}."
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more} have to be made again: {reason}."


# ----------------------------------------------------------------------------------- what is needed


def require_names_for_a_cluster():
    """Stop where jobs are submitted, and a path of the study is more than a name to a cluster."""
    if INTERNALS.submits_jobs:
        try:
            require_submittable([workflow.basedir, Path.cwd(), sys.executable, *study_paths(STUDY)])
        except InputError as error:
            refuse(str(error))


def require_what_is_needed():
    """Stop before any job where a program, package or file of weights is missing that the jobs
    need.

    A dry run only prints it. Where jobs run on other machines, only the jobs can tell.
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


def require_templates():
    """Raise InputError where a template that scans have to be placed by looks like a label map."""
    placed = {scan.dataset for scan in SCANS.values() if _waits(unit(PLACED, scan))}
    for dataset in (STUDY.datasets()[name] for name in sorted(placed)):
        own = {} if isinstance(dataset.recipe.template, str) else dataset.recipe.template
        for path in own.values() if dataset.is_looked_at else ():
            require_scan(read_image(path).data, f"The template {path}", IN_A_STUDY)


def runs_ahead():
    """Return the runs with which some pair still has to be registered."""
    waiting = {unit.run for unit in run_units() if REGISTRATION.format(**unit) in AT_WORK}
    return [run for run in STUDY.runs if run.name in waiting]


def steps_ahead():
    """Return step and name of each tool that some scan still has to be prepared with."""
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
    """Return whether this run of the workflow makes a unit."""
    return Path(receipt) in judged() or not Path(receipt).exists()


def mend_or_refuse():
    """Call :func:`mend`; stop with one sentence where it cannot read or write a file."""
    try:
        mend()
    except (InputError, OSError) as error:
        refuse(reason_of(error))


# ---------------------------------------------------------------------------------- inputs of rules


def mended(inputs):
    """Return an input function that first calls :func:`mend` and then marks its paths as ancient.

    Paths that are made again are not marked. The Snakefile wraps the input functions of all rules
    that have a script.
    """

    def inspect(wildcards):
        mend_or_refuse()
        return ancient_unless(INTERNALS.is_forced, inputs(wildcards))

    return inspect


def inspected(inputs):
    """Return an input function that first calls :func:`mend`, for rules that only ask for files."""

    def inspect(wildcards):
        mend_or_refuse()
        return inputs(wildcards)

    return inspect
