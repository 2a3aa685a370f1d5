"""Before Snakemake judges what is there: what is missing here for the work ahead, and what is damaged or failed."""

from functools import cache

from diffeode.methods.runs import obstacles
from diffeode.prepare.backends import missing
from diffeode.receipt import damage, read_receipt
from diffeode.seals import broken_seal


def complaint(receipt):
    """Why a unit has to be made again, or None; one that is absent Snakemake sees by itself."""
    if not receipt.exists():
        return None
    reason = damage(receipt)
    if reason:
        return reason
    content = read_receipt(receipt)
    failed = content.get("status") == "failed"
    return f"it failed last time ({content.get('reason')})" if failed else None


def complaints():
    """Each file to be made again, and why."""
    units = {receipt: complaint(receipt) for receipt in map(Path, receipts())}
    plain = [file for file in map(Path, plain_files()) if broken_seal(file, STUDY.results)]
    return {file: reason for file, reason in units.items() if reason} | dict.fromkeys(plain, "it was changed")


@cache
def mend():
    """Remove, once, what is damaged or failed; a dry run says so, and plans as if it were removed.

    Input functions call this, because only then does Snakemake know whether it will run jobs at all.
    """
    if not workflow.is_main_process or workflow.executor_plugin is None or workflow.touch:
        return
    if any(Path(".snakemake/locks").glob("*")):
        return  # another Snakemake is at work here, and its files are in flux
    for file, reason in complaints().items():
        what = file.parent if file.name == "receipt.json" else file
        logger.warning(f"{what} has to be made again: {reason}.")
        if workflow.dryrun:
            workflow.dag.forcefiles.add(str(file))
        else:
            file.unlink()
    workflow.iocache.clear()
    require_what_is_needed()


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
    waiting = {unit["run"] for unit in UNITS if not Path(REGISTRATION.format(**unit)).exists()}
    return [run for run in STUDY.runs if run.name in waiting]


def steps_ahead():
    """The steps of preparation and their choices that some scan still waits for."""
    steps = {"brain": BRAIN, "bias": CORRECTED, "intensity": CORRECTED, "labels": SEGMENTED}
    waiting = {(scan.dataset, receipt) for scan in SCANS.values() for receipt in units_of(scan)}
    waiting = {(dataset, Path(receipt).parent.name) for dataset, receipt in waiting if not Path(receipt).exists()}
    return {
        (step, getattr(STUDY.datasets()[dataset].recipe, step))
        for dataset, folder in waiting
        for step, pattern in steps.items()
        if Path(pattern).parent.name == folder
    }


def mended(inputs):
    """``inputs``, once everything has been looked at."""

    def inspect(wildcards):
        mend()
        return inputs(wildcards)

    return inspect
