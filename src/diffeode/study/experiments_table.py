"""The experiments of a study: contrasts, scans and pairs (Table I of arXiv 2512.22689)."""

from __future__ import annotations

from diffeode.study.model import Experiment, Side, Study

COLUMNS = (
    *("experiment", "name", "fixed", "fixed scans", "moving", "moving scans"),
    *("persons", "pairs", "alignment"),
)


def experiments_table(study: Study) -> list[list[str]]:
    """Return a row of words for each experiment, in the order of :data:`COLUMNS`."""
    return [_row(experiment) for experiment in study.experiments]


def _row(experiment: Experiment) -> list[str]:
    fixed, moving = (
        {getattr(pair, side).id for pair in experiment.pairs} for side in ("fixed", "moving")
    )
    return [
        experiment.title,
        experiment.name,
        _side(experiment.fixed),
        str(len(fixed)),
        _side(experiment.moving),
        str(len(moving)),
        str(len(experiment.persons)),
        str(len(experiment.pairs)),
        experiment.alignment,
    ]


def _side(side: Side) -> str:
    return f"{side.dataset.title}, {side.selection.modality}"
