"""What a user asks of a study of a BIDS folder."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import final

from diffeode.bids_app.tasks import Task

AUTO, NONE = "auto", "none"
"""The words that stand for a choice by the program, and for leaving something out."""


@final
@dataclass(frozen=True)
class Request:
    """What a user asks for.

    Attributes:
        source: the BIDS folder, as an absolute path.
        out: the folder of all results, as an absolute path.
        task: which scans are registered to which.
        moving, fixed: the contrasts of the two sides, BIDS suffixes such as ``T1w``.
        participants: names of the persons without ``sub-``; None for all.
        sessions: names of the sessions without ``ses-``; None for all.
        filters: entities such as ``acq-mprage``, which choose among several scans of one contrast
            in a visit.
        runs: the names of the runs, our default first.
        template: file of the template that everyone is registered to, as an absolute path; None
            for ICBM152.
        template_labels: file of the label map on the grid of that template, as an absolute path;
            None for none.
        pairs: the number of pairs to draw; None for all.
        brain: the tool that finds the brain (:func:`diffeode.prepare.recipe.recipe_choices`), or
            :data:`AUTO`: none is needed where scans come skull-stripped.
        spacing_mm: voxel size of the prepared scans; None for that of the scans.
        dseg: the folder with label maps, :data:`AUTO` or :data:`NONE`.
        dseg_desc: the label maps' entity ``desc``; None for any.
        labels: the table of the structures: the name of one of ``config/labels``, or a file; None
            to make one from the label maps.
        are_scans: whether the files of scans, and the template, are scans even where their values
            look like those of a label map.
        seed: seed of everything that is drawn.
        gpu: number of GPUs for a registration, 0 or 1.
    """

    source: Path
    out: Path
    task: Task
    moving: str
    fixed: str
    participants: tuple[str, ...] | None = None
    sessions: tuple[str, ...] | None = None
    filters: tuple[str, ...] = ()
    runs: tuple[str, ...] = ()
    template: Path | None = None
    template_labels: Path | None = None
    pairs: int | None = None
    brain: str = AUTO
    spacing_mm: float | None = None
    dseg: Path | str = AUTO
    dseg_desc: str | None = None
    labels: str | None = None
    are_scans: bool = False
    seed: int = 0
    gpu: int = 0

    @property
    def code(self) -> Path:
        """The folder of the study's file and of its tables."""
        return self.out / "code" / self.task.name
