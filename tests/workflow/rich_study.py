"""A study whose settings all differ from their defaults, to see that each arrives where it
should.
"""

from __future__ import annotations

import runpy
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from plans import Job

from diffeode.files import io
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid

THREADS = 3
FILES = {
    "config/datasets/heads.yaml": """\
title: Heads
population: whole heads
kind: bids
root: raw
labels: synthseg
prepare:
  bias: n4
  brain: synthstrip
  intensity: white-stripe
  template: icbm152
  labels: synthseg
  spacing_mm: 2.5
""",
    "config/datasets/drawn.yaml": """\
title: Drawn
population: persons with labels
kind: bids
root: drawn
labels: virtual
prepare:
  bias: freesurfer
  brain: mindgrab
  intensity: freesurfer
  template: {t1w: mine.nii.gz}
  through: direct
  labels: given
  spacing_mm: null
""",
    "config/datasets/cohort.yaml": """\
title: Cohort
population: nobody
kind: virtual
labels: virtual
prepare: {bias: none, brain: nonzero, intensity: robust, spacing_mm: 7.5}
cohort: {persons: 4, spacing_mm: 6.5, seed: 17}
""",
    "config/experiments/first.yaml": """\
title: First
fixed: {dataset: heads, modality: T2w, subjects: ["01", "02"]}
moving: {dataset: heads, modality: T1w, subjects: ["01", "02"]}
alignment: affine
pairs: all
seed: 11
""",
    "config/experiments/second.yaml": """\
title: Second
fixed: {dataset: drawn, modality: T2w}
moving: {dataset: drawn, modality: T1w}
alignment: none
grids: refuse
pairs: 1
seed: 12
""",
    "config/experiments/mixed.yaml": """\
title: Mixed
fixed: {dataset: heads, modality: T1w, subjects: ["01"]}
moving: {dataset: drawn, modality: T1w, subjects: ["05"]}
alignment: affine
pairs: all
seed: 13
""",
    "config/experiments/learned-from.yaml": """\
title: Learned from
fixed: {dataset: cohort, modality: T2w, subjects: ["01", "02"]}
moving: {dataset: cohort, modality: T1w, subjects: ["03", "04"]}
alignment: affine
pairs: all
seed: 14
""",
    "config/experiments/learned-otherwise.yaml": """\
title: Learned otherwise
fixed: {dataset: cohort, modality: T1w}
moving: {dataset: cohort, modality: T2w}
alignment: affine
pairs: all
seed: 15
""",
    "config/config.yaml": """\
study: rich
title: A rich study
experiments: [first, second, mixed]
runs:
  - identity
  - brief
  - learned
  - taught
  - multigradicon
  - run: brief
    name: swept
    title: Swept title
    sweep: {flow.steps: [2], levels.iterations: [[3]]}
ours: brief
train_on: {first: learned-from, second: learned-from, mixed: learned-otherwise}
seed: 5
results: results
panels: 2
pairs_per_job: 1
gpu: 1
time_limit_minutes: 0.5
keep: numbers
fields: rounded
tools: [programs]
figures:
  runs: [learned, brief]
  structures: [Thalamus, Brain stem]
  plane: brief
  models: [brief]
longitudinal:
  persons: [4, 7]
  seed: 19
  times: [0, 0.25, 0.5]
  spacing_mm: 5.5
  labels_mm: 3
  knots: 4
  parameters:
    flow: {solver: euler, steps: 4, step_size: 0.25}
    levels: {factors: [2], iterations: [3]}
""",
    "config/methods/brief.yaml": """\
method: neural-ode
title: Brief title
parameters: {levels: {factors: [2], iterations: [3]}}
time_limit_minutes: 2
""",
    "config/methods/learned.yaml": """\
method: voxelmorph
title: Learned title
parameters: {steps: 2, interval: 1, window: 5}
""",
    "config/methods/taught.yaml": """\
method: neural-ode
title: Taught title
parameters:
  similarity:
    mind: {}
    descriptor: {weights: results/descriptors/toys/best.safetensors}
""",
    "config/descriptors/toys.yaml": """\
scans: ["toys/sub-31/anat/*"]
validation: ["toys/sub-32/anat/*"]
recipe: {crop: 16, locations: 32, width: 2, features: 2, halving: 0}
settings: {steps: 1, interval: 1}
""",
    "drawn/participants.tsv": "participant_id\tgroup\nsub-05\tpatients\nsub-06\tcontrols\n",
}
SCANS = [
    *(
        f"raw/sub-{person}/anat/sub-{person}_{kind}.nii.gz"
        for person in ("01", "02")
        for kind in ("T1w", "T2w")
    ),
    *(
        f"drawn/sub-{person}/anat/sub-{person}_{kind}"
        for person in ("05", "06")
        for kind in ("T1w.nii.gz", "T2w.nii.gz", "dseg.nii.gz", "landmarks.tsv")
    ),
    "data/toys/sub-31/anat/sub-31_T1w.nii.gz",
    "data/toys/sub-32/anat/sub-32_T1w.nii.gz",
]
TEMPLATE = "mine.nii.gz"


_BESIDE = ("_failed", "_scan", "_chunk", "_aligning", "_alignment_unit")
_BESIDE += ("_registering", "_registration_unit", "_evaluating", "_unknown_labels")
"""Modules that scripts import from their own folder."""


def write_rich_study(clone: Any) -> None:
    """Make the study that of ``clone``; its scans are empty files, since planning reads none but
    the template.
    """
    for name in SCANS:
        clone.path(name).parent.mkdir(parents=True, exist_ok=True)
        clone.path(name).touch()
    voxels = np.random.default_rng(0).random((8, 8, 8))
    io.write_image(clone.path(TEMPLATE), Image(voxels, Grid(voxels.shape, np.eye(4))))
    for name, text in FILES.items():
        clone.write(name, text)


class Recorder:
    """Stands for a function of the library, and records how it was called.

    Args:
        answer: what it returns, or a function that says what.
    """

    def __init__(self, answer: Any = None) -> None:
        self.answer, self.calls = answer, []

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        self.calls.append((arguments, named))
        return self.answer(*arguments, **named) if callable(self.answer) else self.answer

    @property
    def call(self) -> tuple[tuple, dict[str, Any]]:
        """Arguments of the one call."""
        (call,) = self.calls
        return call


@contextmanager
def running_scripts(scripts: Path) -> Iterator[Callable]:
    """A function that runs a job's script in this process, on three threads, in the working
    directory.

    It takes the names of the library's functions to replace and the result of each, and returns
    their recorders, or the only one.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(scripts))
        stand_in = SimpleNamespace(
            job=lambda snakemake, on_record=True: nullcontext(lambda *said, **about: None),
            logged_in=lambda *log, **how: nullcontext(),
        )
        patch.setitem(sys.modules, "_job", stand_in)

        def run(job: Job, *replaced: str, **answers: Any) -> Any:
            recorders = [
                Recorder(answers.get(function.rpartition(".")[2])) for function in replaced
            ]
            for function, recorder in zip(replaced, recorders, strict=True):
                patch.setattr(function, recorder)
            for beside in _BESIDE:
                sys.modules.pop(beside, None)  # it would keep what was replaced before
            job.handed.threads = THREADS
            for file in job.handed.output:
                Path(file).parent.mkdir(parents=True, exist_ok=True)
            runpy.run_path(str(job.script), init_globals={"snakemake": job.handed})
            return recorders[0] if len(recorders) == 1 else recorders

        yield run
    for beside in _BESIDE:
        sys.modules.pop(beside, None)
