"""Names in the files of a study's datasets that mean nobody there, as misspelt ones do.

They are said and not refused: such a list is of a whole dataset, of which a part may be here.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress

from diffeode.datasets.scan import Scan
from diffeode.datasets.selection import names_of
from diffeode.errors import InputError
from diffeode.names import some
from diffeode.study.model import Dataset, Study


def unmatched_names(study: Study) -> list[str]:
    """Return a sentence for each list in a dataset's file that names somebody who is not there: the
    excluded scans (``exclude``), and the persons who are never trained on (``split.always_test``)
    where the study uses the split; and for each table of demographics that tells of nobody.
    """
    sentences = []
    for dataset in study.datasets().values():
        sides = [side.selection for side in study.sides() if side.dataset is dataset]
        contrasts = {side.modality for side in sides}
        sentences.append(unmatched_exclusions(dataset, contrasts))
        sentences.append(_foreign_table(dataset, contrasts))
        if any(side.part for side in sides):
            sentences.append(_unmatched_split(dataset, contrasts))
    return list(filter(None, sentences))


def unmatched_exclusions(dataset: Dataset, contrasts: Collection[str] = ()) -> str:
    """Return a sentence about the names on the list of excluded scans of ``dataset`` that mean no
    scan in it; empty where there are none.

    Args:
        contrasts: the contrasts in use, in which names are looked for first.
    """
    absent = _unmatched(dataset.excluded, names_of, dataset, contrasts)
    if not absent:
        return ""
    return (
        f"No person, visit or scan of dataset {dataset.name} is called {some(absent)}, as its list "
        "of excluded scans (exclude) says; correct the list, unless these were taken away."
    )


def _foreign_table(dataset: Dataset, contrasts: Collection[str]) -> str:
    if "demographics" not in dataset.layout:
        return ""
    told = (value for s in _scans(dataset, contrasts) for value in (s.age, s.sex, s.cdr, s.group))
    if any(value is not None for value in told):
        return ""
    return (
        f"The table of demographics of dataset {dataset.name} "
        f"({dataset.layout['demographics']['table']}) tells nothing of any of its persons; look at "
        "its column of subjects, and at within_days."
    )


def _unmatched_split(dataset: Dataset, contrasts: Collection[str]) -> str:
    never = dataset.split.always_test
    absent = _unmatched(never, lambda scan: {scan.subject}, dataset, contrasts)
    if not absent:
        return ""
    return (
        f"Nobody in dataset {dataset.name} is called {some(absent)}, as its list of persons who "
        "are never trained on (split.always_test) says; correct the list, unless these were taken "
        "away."
    )


def _unmatched(
    names: Iterable[str],
    names_in: Callable[[Scan], set[str]],
    dataset: Dataset,
    contrasts: Collection[str],
) -> list[str]:
    """Return those of ``names`` by which no scan of ``dataset`` is meant, sorted."""
    absent = set(names)
    for scan in _scans(dataset, contrasts):
        absent -= names_in(scan)
    # Listing takes time, so contrasts that the study does not use are listed for these names alone.
    for scan in _scans(dataset, (None, *_contrasts_in(absent))) if absent else ():
        absent -= names_in(scan)
    return sorted(absent)


def _contrasts_in(names: Iterable[str]) -> list[str]:
    """Return the contrasts that names of scans end in, such as ``01_T1w``, sorted."""
    ends = (name.rpartition("_")[::2] for name in names)
    return sorted({end for visit, end in ends if visit and end.isalnum()})


def _scans(dataset: Dataset, contrasts: Iterable[str | None]) -> Iterator[Scan]:
    for contrast in contrasts:
        with suppress(InputError):  # it has none of this contrast, or nothing that can be used
            yield from dataset.with_excluded(contrast)
