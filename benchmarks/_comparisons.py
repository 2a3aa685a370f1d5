"""The tasks of the accuracy benchmark: their pairs, their runs and their labels."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path

from _cases import (
    REPOSITORY,
    Maker,
    albert,
    albert_t1w,
    ensure_case,
    hippocampus,
    mouse,
    neurite_full,
    neurite_half,
    oasistrt_inverted,
    oasistrt_to_icbm152,
    oasistrt_to_icbm152_t1w,
)

from diffeode.errors import InputError
from diffeode.evaluation.labels import read_label_table
from diffeode.names import nearest

_NEURITE_27 = (*range(1, 4), *range(5, 16), 17, *range(20, 23), *range(24, 32), 33)
"""The structures of NODEO's evaluation without cerebrospinal fluid. It leaves out the lower horns,
accumbens, vessels and choroid plexus.
"""

_SUBCORTICAL = (
    *(4, 5, 6, 7, 10, 11, 12, 13, 14, 15, 16, 17, 18, 26, 28),
    *(43, 44, 45, 46, 49, 50, 51, 52, 53, 54, 58, 60),
)
"""FreeSurfer's ventricles, cerebellum, deep grey matter, medial temporal lobe, ventral diencephalon
and brain stem.
"""
_CORTICAL = tuple(
    side + region for side in (1000, 2000) for region in (2, 3, *range(5, 32), 34, 35)
)
"""The 31 regions of the DKT31 protocol of each hemisphere, which all six adults have."""


@dataclass(frozen=True)
class Comparison:
    """One task of the benchmark.

    Attributes:
        folder: folder of the scans, inside the data folder.
        population: who was scanned; every page names it beside the numbers.
        subjects: the subjects that are compared unless others are asked for.
        runs: the runs that are compared unless others are asked for.
        scores: for each column of mean Dice, the labels that it is taken over, the widest first.
        make: the function that makes the pairs.
        pairs: the number of pairs unless another is asked for; None for all.
        scans: where the scan of a subject lies in ``folder``.
        template: folder of the fixed scan, inside the data folder, where it is a template; all
            subjects are registered to it.
    """

    name: str
    title: str
    folder: str
    population: str
    subjects: tuple[str, ...]
    runs: tuple[str, ...]
    scores: dict[str, tuple[int, ...]]
    make: Maker
    pairs: int | None = None
    template: str = ""
    scans: str = "sub-{}/anat"

    def pairs_among(
        self, subjects: Sequence[str], count: int | None = None
    ) -> list[tuple[str, str]]:
        """Return the first ``count`` pairs ``(fixed, moving)``, or all where it is None.

        They are the ordered pairs of ``subjects`` or, in a task with a template, the template with
        each subject.
        """
        if self.template:
            return [(self.template, subject) for subject in subjects][:count]
        return ordered_pairs(subjects, count)

    def case(self, fixed: str, moving: str, data: Path, work: Path) -> Path:
        """Return the folder under ``work`` with the pair of these subjects; make it where it is
        missing.

        Raises:
            InputError: a scan is missing or unusable.
            RegistrationError: the affine alignment failed.
        """
        person = data / self.folder
        scans = [
            data / name if name == self.template else person / self.scans.format(name)
            for name in (fixed, moving)
        ]
        return ensure_case(self.make, *scans, work / self.name / f"{fixed}__{moving}")

    def labels(self) -> tuple[int, ...]:
        """Return every label that a score is taken over."""
        return tuple(sorted(set(chain.from_iterable(self.scores.values()))))


def ordered_pairs(subjects: Sequence[str], count: int | None = None) -> list[tuple[str, str]]:
    """Return the first ``count`` of all ordered pairs ``(fixed, moving)``, or all where it is None.

    The order goes in rounds: each subject with the next one, then each with the next but one, and
    so on. So the pairs of the first rounds hold every subject equally often on either side.

    >>> ordered_pairs(["01", "02", "03"], 3)
    [('01', '02'), ('02', '03'), ('03', '01')]
    """
    n = len(subjects)
    pairs = [(subjects[i], subjects[(i + step) % n]) for step in range(1, n) for i in range(n)]
    return pairs[:count]


def data_folder(given: Path | None = None) -> Path:
    """Return ``given`` or, without it, ``$DIFFEODE_DATA`` or ``../shared/data`` beside the
    repository.
    """
    return Path(given or os.environ.get("DIFFEODE_DATA") or REPOSITORY.parent / "shared" / "data")


def comparison_named(name: str) -> Comparison:
    """Return the task called ``name``.

    Raises:
        InputError: there is no such task; the message suggests the nearest name.
    """
    if name not in COMPARISONS:
        raise InputError(f"There is no task {name!r}{nearest(name, COMPARISONS)}.")
    return COMPARISONS[name]


def _albert_labels() -> tuple[int, ...]:
    return tuple(read_label_table(REPOSITORY / "config" / "labels" / "albert.tsv")["id"])


_MOUSE = tuple(number for number in range(1, 41) if number not in (22, 30, 37))
"""The structures that all four mice have."""

_NEURITE_RUNS = (
    "identity",
    "ants-syn",
    "convexadam",
    "greedy",
    "greedy-ncc",
    "node-mono",
    "node-mind",
    "node",
)
_MULTIMODAL_RUNS = ("identity", "ants-syn", "convexadam", "greedy", "node-mind", "node")
_NEURITE_SCORES = {"dice35": tuple(range(1, 36)), "dice27": _NEURITE_27}
_OASISTRT_SCORES = {
    "dice89": (*_SUBCORTICAL, *_CORTICAL),
    "dice27_subcortical": _SUBCORTICAL,
    "dice62_cortical": _CORTICAL,
}

COMPARISONS = {
    comparison.name: comparison
    for comparison in (
        Comparison(
            name="albert",
            title="T1w to T2w of different newborns, native grid (0.86 mm)",
            folder="albert",
            population="newborns (ALBERTs)",
            subjects=("07", "08", "09", "10"),
            runs=_MULTIMODAL_RUNS,
            scores={"dice27": _albert_labels()},
            make=albert,
        ),
        Comparison(
            name="albert-t1w",
            title="T1w to T1w of different newborns, native grid (0.86 mm); the pairs of albert in "
            "one contrast",
            folder="albert",
            population="newborns (ALBERTs)",
            subjects=("07", "08", "09", "10"),
            runs=("identity", "node"),
            scores={"dice27": _albert_labels()},
            make=albert_t1w,
        ),
        Comparison(
            name="neurite-half",
            title="T1w to T1w of different adults, 80 x 96 x 72 voxels of 2 mm",
            folder="neuriteoasis",
            population="adults (OASIS-1)",
            subjects=("0001", "0002"),
            runs=(*_NEURITE_RUNS, "nodeo"),
            scores=_NEURITE_SCORES,
            make=neurite_half,
            pairs=1,
        ),
        Comparison(
            name="neurite-full",
            title="T1w to T1w of different adults, 160 x 192 x 144 voxels of 1 mm",
            folder="neuriteoasis",
            population="adults (OASIS-1)",
            subjects=("0001", "0002"),
            runs=_NEURITE_RUNS,
            scores=_NEURITE_SCORES,
            make=neurite_full,
            pairs=1,
        ),
        Comparison(
            name="oasistrt-inverted",
            title="T1w to a T1w of inverted contrast of different adults, 1 mm",
            folder="oasistrt",
            population="adults (OASIS-TRT-20)",
            subjects=("01", "02", "03", "04", "05", "06"),
            runs=_MULTIMODAL_RUNS,
            scores=_OASISTRT_SCORES,
            make=oasistrt_inverted,
            pairs=6,
        ),
        Comparison(
            name="oasistrt-to-icbm152",
            title="T1w of adults to the T2w of the ICBM152 template, 1 mm",
            folder="oasistrt",
            population="adults (OASIS-TRT-20), to an average of adults",
            subjects=("02", "04", "05", "06"),
            runs=_MULTIMODAL_RUNS,
            scores=_OASISTRT_SCORES,
            make=oasistrt_to_icbm152,
            template="icbm152",
        ),
        Comparison(
            name="oasistrt-to-icbm152-t1w",
            title="T1w of adults to the T1w of the ICBM152 template, 1 mm; the pairs of "
            "oasistrt-to-icbm152 in one contrast",
            folder="oasistrt",
            population="adults (OASIS-TRT-20), to an average of adults",
            subjects=("02", "04", "05", "06"),
            runs=("identity", "node"),
            scores=_OASISTRT_SCORES,
            make=oasistrt_to_icbm152_t1w,
            template="icbm152",
        ),
        Comparison(
            name="mouse",
            title="One contrast of different mice in vivo, 0.15 mm",
            folder="mouse",
            population="mice (FVB_NCrl), brains",
            subjects=("01", "02", "03", "04"),
            runs=_MULTIMODAL_RUNS,
            scores={"dice37": _MOUSE},
            make=mouse,
            pairs=4,
            scans="sub-{}",
        ),
        Comparison(
            name="hippocampus",
            title="T1w to T1w of different adults, crops full of tissue, 1 mm",
            folder="hippocampus",
            population="adults (Medical Decathlon), crops about the hippocampus",
            subjects=("001", "003", "004", "006", "007", "008", "011", "014", "015", "017"),
            runs=_MULTIMODAL_RUNS,
            scores={"dice2": (1, 2)},
            make=hippocampus,
            pairs=6,
            scans="images/hippocampus_{}.nii.gz",
        ),
    )
}
"""The tasks by name, in the order in which they run."""
