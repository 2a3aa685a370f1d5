"""The tasks: what is registered to what in a BIDS folder."""

from __future__ import annotations

from dataclasses import dataclass
from typing import final

from diffeode.errors import InputError
from diffeode.names import nearest


@final
@dataclass(frozen=True)
class Task:
    """A task.

    Attributes:
        name: its name on the command line, and in the names of files.
        meaning: what is registered to what, in words.
        title: the title of the study, in which ``{moving}`` and ``{fixed}`` stand for the contrasts
            (and ``{template}`` for the template).
        fixed: the contrast of the fixed scans where none is given; None for that of the moving
            ones.
        of_one_person: whether both scans of a pair show one person.
    """

    name: str
    meaning: str
    title: str
    fixed: str | None
    of_one_person: bool


SAME_PERSON = Task(
    "same-person",
    "two contrasts of one person and session",
    "{moving} to {fixed} of the same person",
    "T2w",
    True,
)
OTHER_PERSONS = Task(
    "other-persons",
    "every person to every other one",
    "{moving} to {fixed} of other persons",
    "T2w",
    False,
)
LONGITUDINAL = Task(
    "longitudinal",
    "later sessions to the first one of the same person",
    "{moving} of later sessions to {fixed} of the first one",
    None,
    True,
)
TEMPLATE = Task("template", "everyone to a template", "{moving} to {template}", "T1w", False)
TASKS = {task.name: task for task in (SAME_PERSON, OTHER_PERSONS, LONGITUDINAL, TEMPLATE)}


def task_called(name: str) -> Task:
    """Return the task of that name.

    Raises:
        InputError: there is none.
    """
    if name not in TASKS:
        raise InputError(f"There is no task {name!r}{nearest(name, TASKS)}.")
    return TASKS[name]
