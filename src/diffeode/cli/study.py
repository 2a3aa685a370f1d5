"""The command ``diffeode study``: register the scans of a BIDS folder, as a BIDS App."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from diffeode.bids_app.tasks import SAME_PERSON, TASKS
from diffeode.cli.arguments import (
    add_seed,
    names_of_runs,
    offer,
    path,
    positive,
    threads,
    whole,
    with_examples,
)
from diffeode.desk import DEFAULT_RUN

_AUTO = "auto"


def add(commands: Any) -> None:
    """Add the command to the parser's ``commands``."""
    study = commands.add_parser(
        "study",
        help="register the scans of a BIDS folder, with tables, figures and a report (a BIDS App)",
        description="Register the scans of a BIDS folder by the repository's workflow. OUT gets "
        "maps and warped scans under BIDS names, a report, and the study's file in code/TASK. The "
        "BIDS folder is only read. The same command continues where it was stopped, and makes only "
        "that again which has changed (docs/bids.md).",
        **with_examples(
            ("see what would be done", "diffeode study BIDS_DIR OUT --dry-run"),
            (
                "T1w to T2w of the same person, two participants",
                "diffeode study BIDS_DIR OUT --participant-label 01 02",
            ),
            (
                "later sessions to the first one, SyN beside our default",
                "diffeode study BIDS_DIR OUT --task longitudinal --method ants-syn",
            ),
            (
                "on a Slurm cluster",
                "diffeode study BIDS_DIR OUT --task template --profile slurm",
            ),
        ),
    )
    study.add_argument("bids_dir", type=path, metavar="BIDS_DIR", help="the BIDS folder")
    study.add_argument("output_dir", type=path, metavar="OUT", help="the folder of all results")
    study.add_argument(
        "level",
        nargs="?",
        choices=("participant", "group"),
        help="participant: registrations and their numbers only; group: also tables, figures and "
        "the report (default: both)",
    )
    _add_choice_of_scans(study)
    _add_preparation(study)
    _add_running(study)
    study.set_defaults(
        command=_study,
        when_interrupted="the same command goes on from what is finished",
    )


def _add_choice_of_scans(study: argparse.ArgumentParser) -> None:
    tasks = "; ".join(f"{task.name}: {task.meaning}" for task in TASKS.values())
    task = study.add_argument(
        "--task",
        default=SAME_PERSON.name,
        metavar="TASK",
        help=f"what is registered to what ({tasks}; default: %(default)s)",
    )
    offer(task, lambda: TASKS)
    for what, bare in (("participant", "sub-"), ("session", "ses-")):
        study.add_argument(
            f"--{what}-label",
            f"--{what}_label",
            nargs="+",
            action="extend",
            metavar="LABEL",
            help=f"take these {what}s only, with or without {bare} (default: all)",
        )
    study.add_argument(
        "--moving-modality",
        default="T1w",
        metavar="SUFFIX",
        help="the contrast that is moved, a BIDS suffix (default: %(default)s)",
    )
    study.add_argument(
        "--fixed-modality",
        metavar="SUFFIX",
        help="the contrast that it is moved to (default: T2w; that of the moving scans for "
        "longitudinal; T1w for template)",
    )
    study.add_argument(
        "--filter",
        nargs="+",
        action="extend",
        default=[],
        metavar="ENTITY",
        help="where a session has several scans of a contrast, take those with one of these "
        "entities in their names, such as acq-mprage",
    )
    study.add_argument(
        "--template",
        type=path,
        metavar="FILE",
        help="a skull-stripped template of one's own (default: ICBM152 2009a, T1w)",
    )
    study.add_argument(
        "--template-labels",
        type=path,
        metavar="FILE",
        help="the label map on the grid of that template, for Dice (default: none)",
    )
    study.add_argument(
        "--pairs",
        type=whole,
        metavar="N",
        help="draw N of all pairs (default: all)",
    )
    method = study.add_argument(
        "--method",
        nargs="+",
        action="extend",
        default=[],
        metavar="RUN",
        help=f"runs beside our default, {DEFAULT_RUN} (diffeode methods lists them)",
    )
    offer(method, names_of_runs)


def _add_preparation(study: argparse.ArgumentParser) -> None:
    brain = study.add_argument(
        "--brain",
        default=_AUTO,
        metavar="TOOL",
        help="the tool that finds the brain; nonzero for scans that come skull-stripped (default: "
        "auto, which is mindgrab where the first scans show whole heads, and nonzero otherwise)",
    )
    offer(brain, lambda: (_AUTO, *_brain_tools()))
    study.add_argument(
        "--spacing",
        type=positive,
        metavar="MM",
        help="voxel size at which scans are registered (default: their own)",
    )
    dseg = study.add_argument(
        "--dseg",
        default=_AUTO,
        metavar="FOLDER",
        help="folder with label maps (*_dseg) for Dice, a name in derivatives or a path, or none "
        "(default: beside the scans, or the only folder of derivatives that has some)",
    )
    offer(dseg, lambda: (_AUTO, "none"), files=True)
    study.add_argument(
        "--dseg-desc", metavar="LABEL", help="take label maps with desc-LABEL in their names"
    )
    study.add_argument(
        "--are-scans",
        action="store_true",
        help="the scans and the template are scans though the values of some look like those of a "
        "label map; otherwise such a scan cannot be used",
    )
    labels = study.add_argument(
        "--labels",
        metavar="TABLE",
        help="structures to evaluate: a table of config/labels by its name, or a .tsv file "
        "(default: all that the label maps hold)",
    )
    offer(labels, lambda: _named_files("config/labels/*.tsv"), files=True)


def _add_running(study: argparse.ArgumentParser) -> None:
    profile = study.add_argument(
        "--profile",
        default="default",
        metavar="PROFILE",
        help="profile of Snakemake: a name in workflow/profiles (default, gpu, slurm, ...) or a "
        "folder (default: %(default)s)",
    )
    offer(profile, lambda: _named_files("workflow/profiles/*/"), files=True)
    study.add_argument(
        "-c",
        "--cores",
        "--n-cpus",
        "--n_cpus",
        type=threads,
        metavar="N",
        help="number of processors to use (default: all, or what the profile says)",
    )
    study.add_argument(
        "-n", "--dry-run", action="store_true", help="say what would be done, and write nothing"
    )
    add_seed(study)


def _brain_tools() -> tuple[str, ...]:
    from diffeode.prepare.registry import tool_names

    return tool_names("brain")


def _named_files(pattern: str) -> list[str]:
    """Return the names, without ending, of the repository's files or folders of ``pattern``."""
    from diffeode.bids_app.repository import find_repository
    from diffeode.files.presence import without_hidden

    return sorted(file.stem for file in without_hidden(find_repository().glob(pattern)))


def _study(options: argparse.Namespace) -> None:
    from diffeode.bids_app.plan import plan_of
    from diffeode.bids_app.repository import find_repository, profile_folder
    from diffeode.bids_app.running import How, run_plan, show_plan

    repository = find_repository()
    profile_folder(repository, options.profile)
    plan = plan_of(request_of(options), repository)
    for line in plan.summary():
        print(f"diffeode: {line}", file=sys.stderr)
    how = How(repository, options.profile, options.cores, options.level, options.typed)
    if options.dry_run:
        show_plan(plan, how)
        return
    for line in run_plan(plan, how):
        print(line)


def request_of(options: argparse.Namespace) -> Any:
    """Return the request that the options of a command line make."""
    from diffeode.bids_app.request import AUTO, NONE, Request
    from diffeode.bids_app.tasks import task_called

    task = task_called(options.task)
    words = options.dseg in (AUTO, NONE)
    return Request(
        source=options.bids_dir.absolute(),
        out=options.output_dir.absolute(),
        task=task,
        moving=options.moving_modality,
        fixed=options.fixed_modality or task.fixed or options.moving_modality,
        participants=_labels(options.participant_label, "sub-"),
        sessions=_labels(options.session_label, "ses-"),
        filters=tuple(options.filter),
        runs=tuple(dict.fromkeys([DEFAULT_RUN, *options.method])),
        template=options.template and options.template.absolute(),
        template_labels=options.template_labels and options.template_labels.absolute(),
        pairs=options.pairs,
        brain=options.brain,
        spacing_mm=options.spacing,
        dseg=options.dseg if words else Path(options.dseg),
        dseg_desc=options.dseg_desc and options.dseg_desc.removeprefix("desc-"),
        labels=options.labels,
        are_scans=options.are_scans,
        seed=options.seed,
        gpu=int(options.profile == "gpu"),
    )


def _labels(given: Sequence[str] | None, prefix: str) -> tuple[str, ...] | None:
    return None if given is None else tuple(label.removeprefix(prefix) for label in given)
