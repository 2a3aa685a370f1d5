"""Before Snakemake plans: what is missing here for the work ahead, and what is damaged, failed or stale.

What is up to date is judged here alone (diffeode.upkeep). So an input is ancient to Snakemake unless it is made again:
neither times of files nor Snakemake's memory decides, and results that were copied or restored are judged as any others.
"""

from collections import defaultdict
from functools import cache

from snakemake.io import ancient, apply_wildcards
from snakemake.output_index import OutputIndex
from snakemake.rules import Wildcards, is_callable

from diffeode.checksums import Checksums
from diffeode.methods.runs import obstacles
from diffeode.prepare.needs import missing
from diffeode.upkeep import Kind, Planned, complaints, files_to_compare

MEMORY = STUDY.results / ".checksums.json"
_SHOWN = 3
_begun = []


# ------------------------------------------------------------------------------------------------ the plan


@cache
def plan():
    """Every file of the study, and what its rule would make it from where it is there."""
    return [_planned(file) for file in dict.fromkeys([*receipts(), *descriptors(), *plain_files(), VERDICT])]


def _planned(file):
    if not Path(file).exists():
        return Planned(Path(file), (), {})
    (rule,) = _makers().match_producers(file)
    wildcards = Wildcards(fromdict=rule.get_wildcards(file))
    return Planned(Path(file), _inputs(rule, wildcards), _parameters(rule, wildcards))


def _inputs(rule, wildcards):
    """Paths of all that a job of ``rule`` reads, as its script finds them."""
    return [path for _, item in rule.input._allitems() for path in _paths(_value(rule, item, wildcards))]


def _parameters(rule, wildcards):
    """What a job of ``rule`` is handed, as its script finds it."""
    return {name: _value(rule, item, wildcards) for name, item in rule.params._allitems()}


def _value(rule, item, wildcards):
    if is_callable(item):
        return rule.apply_input_function(item, wildcards)[0]
    return apply_wildcards(item, wildcards) if isinstance(item, str) else item


def _paths(value):
    if isinstance(value, dict):
        return [path for part in value.values() for path in _paths(part)]
    return [str(value)] if isinstance(value, str | Path) else [path for part in value for path in _paths(part)]


# ------------------------------------------------------------------------------------------------ what is wrong


@cache
def judged(thorough=False):
    """Each file of the study that has to be made again, and why; ``thorough``: after reading every file."""
    checksums = Checksums(MEMORY, thorough)
    checksums.compute_ahead(files_to_compare(plan(), STUDY.results), _tell)
    found = complaints(plan(), STUDY.results, checksums, _is_forced)
    checksums.save()
    return found


def _tell(sentence):
    print(sentence, file=sys.stderr, flush=True)


def _is_forced(file):
    """Whether a file is made again in any case: the user asked for it (--force, --forcerun, --forceall), or `mend` did."""
    dag = workflow.dag
    if str(file) in dag.forcefiles:
        return True
    return bool(dag.forcerules) and not dag.forcerules.isdisjoint(_makers().match_producers(str(file)))


@cache
def _makers():
    """Rules by what they make."""
    return OutputIndex(list(workflow.rules))


def mend():
    """Have made again, once, what is damaged, failed or stale, and say so; a dry run removes nothing.

    Where no job can run, as for a report or a graph, it is only said. Input functions call this, because only then does
    Snakemake know whether it will run jobs at all.
    """
    if _begun or not workflow.is_main_process or workflow.touch:
        return
    _begun.append(True)
    if workflow.executor_plugin is None:
        for sentence in sentences(judged()):
            logger.warning(f"This is not up to date: {sentence}")
        return
    if not workflow.dryrun and any(Path(".snakemake/locks").glob("*")):
        return  # another Snakemake is at work here, and its files are in flux
    found = judged()
    for file, complaint in found.items():
        if complaint.kind is Kind.DAMAGED and not workflow.dryrun:
            file.unlink()
        workflow.dag.forcefiles.add(str(file))
    for sentence in sentences(found):
        logger.warning(sentence)
    if not workflow.dryrun:
        _forget_interruptions()
    workflow.iocache.clear()
    require_what_is_needed()


def _forget_interruptions():
    """Take from Snakemake what it noted of jobs that were killed: what they left was judged like everything else."""
    for note in Path(".snakemake/incomplete").rglob("*"):
        if note.is_file():
            note.unlink()


def sentences(found):
    """One sentence for each reason why something has to be made again."""
    groups = defaultdict(list)
    for file, complaint in found.items():
        if complaint.kind is not Kind.DERIVED:
            groups[complaint.reason].append(str(file.parent if file.name == "receipt.json" else file))
    return [_sentence(names, reason) for reason, names in groups.items()]


def _sentence(names, reason):
    if len(names) == 1:
        return f"{names[0]} has to be made again: {reason}."
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more} have to be made again: {reason}."


# ------------------------------------------------------------------------------------------------ what is needed


def require_what_is_needed():
    """Stop before any job where a program, package or weights that the work ahead needs are not here.

    A dry run only says so. Where jobs run elsewhere, only they can know.
    """
    if workflow.remote_exec or not workflow.local_exec:
        return
    runs, apart = runs_ahead(), bool(workflow.deployment_settings.deployment_method)
    absent = obstacles(runs, apart, provided={run.name for run in runs if descriptor_training(run.name)})
    if not apart:
        absent += filter(None, (missing(*step) for step in sorted(steps_ahead())))
    for sentence in absent[: len(absent) if workflow.dryrun else -1]:
        logger.warning(sentence)
    if absent and not workflow.dryrun:
        refuse(absent[-1])


def runs_ahead():
    """The runs that some pair still waits for."""
    waiting = {unit["run"] for unit in UNITS if _waits(REGISTRATION.format(**unit))}
    return [run for run in STUDY.runs if run.name in waiting]


def steps_ahead():
    """Step and name of each tool of preparation that some scan still waits for."""
    made_by = {BRAIN: "strip", CORRECTED: "correct", PLACED: "place", PREPARED: "prepare", SEGMENTED: "segment"}
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


# ------------------------------------------------------------------------------------------------ inputs of rules


def mended(inputs):
    """``inputs``, once everything has been looked at; ancient to Snakemake unless they are made again."""

    def inspect(wildcards):
        mend()
        return _ancient(inputs(wildcards))

    return inspect


def inspected(inputs):
    """``inputs``, once everything has been looked at, for what only asks for files: it waits for all that are made."""

    def inspect(wildcards):
        mend()
        return inputs(wildcards)

    return inspect


def _ancient(value):
    if isinstance(value, dict):
        return {name: _ancient(part) for name, part in value.items()}
    if isinstance(value, list):
        return [_ancient(part) for part in value]
    return value if _is_forced(value) else ancient(value)
