"""Measure Dice between persons as scanned, after ANTs' own affine to ICBM152, and after ours.

    python benchmarks/alignment.py [DATASET ...]

writes ``benchmarks/results/alignment.tsv`` and ``alignment.md``. At 1 mm it takes about a minute of
CPU time a scan.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from _command import add_data, explains_errors
from _machine import provenance
from _tables import Table, markdown_table, mean_and_sd, measured_on, numbers, write_page

from diffeode.errors import InputError
from diffeode.evaluation.labels import to_indices
from diffeode.evaluation.overlap import dice_by_label
from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.transform import Affine, warp_labels
from diffeode.prepare.affine import affine_registration
from diffeode.prepare.brain import without_negatives
from diffeode.prepare.resolution import resample_brain
from diffeode.prepare.steps.icbm152 import icbm152
from diffeode.prepare.template import Template, align_to_template

RESULTS = Path(__file__).parent / "results"
MODALITY = "T1w"
DATASETS = {
    "ixi2mm": "6 adults, 2 mm, DLMUSE; the brain is where there are labels",
    "oasistrt": "6 adults, 1 mm, DKT31 and FreeSurfer's subcortical structures",
    "albert": "10 newborns, 0.86 mm, every id of the label maps (28, of which "
    "`config/labels/albert.tsv` and the other pages have 27), on the adults' template",
}
SEED = 1


@dataclass(frozen=True, eq=False)
class Person:
    """A skull-stripped scan and its structures, on one grid."""

    name: str
    brain: Image
    labels: Labels


def as_scanned(person: Person, template: Template) -> Affine:
    """Return the identity: persons lie as their headers say."""
    return Affine()


def by_ants(person: Person, template: Template) -> Affine:
    """Return the affine of ``ants.registration`` with Mattes mutual information, which starts from
    the centres of mass.
    """
    return affine_registration(template.like(MODALITY), person.brain, 1, SEED)


def by_ours(person: Person, template: Template) -> Affine:
    """Return the affine that the workflow finds."""
    return align_to_template(person.brain, template, MODALITY, person.name, 1, SEED)


ALIGNMENTS: dict[str, Callable[[Person, Template], Affine]] = {
    "none": as_scanned,
    "ants": by_ants,
    "ours": by_ours,
}


def read_persons(dataset: str, data: Path) -> list[Person]:
    """Return all persons of ``dataset`` in the folder ``data``."""
    return [
        _read_person(path)
        for path in sorted((data / dataset).glob(f"sub-*/anat/*_{MODALITY}.nii.gz"))
    ]


def _read_person(path: Path) -> Person:
    image = without_negatives(io.read_image(path), path.name)
    labels = io.read_labels(path.with_name(path.name.replace(MODALITY, "dseg")))
    whole_head = "ixi2mm" in path.parts
    brain = np.where(labels.data > 0, image.data, 0) if whole_head else image.data
    return Person(path.name.partition("_")[0], Image(brain, image.grid), labels)


def measure(dataset: str, data: Path, template: Template, table: Table) -> None:
    """Put a row into ``table`` for each alignment and each pair of persons that it did not refuse.

    Progress is reported on standard error.
    """
    persons = read_persons(dataset, data)
    ids = np.unique(np.concatenate([np.unique(person.labels.data) for person in persons]))[1:]
    spacing = float(template.grid.spacing[0])
    for alignment, align in ALIGNMENTS.items():
        maps, seconds = _aligned(persons, dataset, alignment, align, template)
        about = {
            "alignment": alignment,
            "spacing_mm": spacing,
            "cpu_seconds_a_scan": float(np.mean(seconds)),
        }
        placed = [person for person in persons if person.name in maps]
        for number, one in enumerate(placed):
            grid = one.labels.grid.resample(spacing) if alignment == "none" else template.grid
            here = to_indices(warp_labels(one.labels, maps[one.name], grid).data, ids)
            for other in placed[number + 1 :]:
                there = to_indices(warp_labels(other.labels, maps[other.name], grid).data, ids)
                dice = float(np.nanmean(dice_by_label(here, there, len(ids))))
                row = {"dataset": dataset, "first": one.name, "second": other.name, "dice": dice}
                table.put(row | about | provenance())


def _aligned(
    persons: Sequence[Person], dataset: str, alignment: str, align: Callable, template: Template
) -> tuple[dict[str, Affine], list[float]]:
    maps, seconds = {}, []
    for number, person in enumerate(persons, start=1):
        started = time.process_time()
        try:
            maps[person.name] = align(person, template)
        except InputError as error:
            print(error, file=sys.stderr)
        seconds.append(time.process_time() - started)
        left = np.mean(seconds) * (len(persons) - number)
        print(
            f"{dataset} {alignment} [{number}/{len(persons)}] about {left:.0f} CPU s left",
            file=sys.stderr,
        )
    return maps, seconds


def write_alignment_page(table: Table) -> None:
    """Write ``alignment.md``."""
    headings = [
        "dataset, template's voxels",
        "pairs",
        "refused by ours",
        *ALIGNMENTS,
        "ours - ants, least",
        "CPU s a scan, ants",
        "ours",
    ]
    cases = dict.fromkeys((row["dataset"], row["spacing_mm"]) for row in table.rows)
    about = "".join(f"- `{dataset}`: {what}; T1w.\n" for dataset, what in DATASETS.items())
    write_page(
        RESULTS / "alignment.md",
        "Affine alignment to ICBM152",
        [
            "Mean Dice of labels between two persons, as mean ± SD over all pairs of persons whom "
            "our alignment did not refuse. Command: `python benchmarks/alignment.py`.\n",
            markdown_table(headings, [_line(*case, table) for case in cases]),
            about,
            "`none` takes the headers as they are, on the grid of the first person; `ants` is "
            '`ants.registration` with type_of_transform="Affine"; `ours` is `align_to_template`. '
            "The template is ICBM152 2009a symmetric, T1w.\n",
            measured_on(table.rows) + "\n",
        ],
    )


def _line(dataset: str, spacing_mm: str, table: Table) -> list[str]:
    case = [
        row for row in table.rows if (row["dataset"], row["spacing_mm"]) == (dataset, spacing_mm)
    ]
    pairs = {_pair(row) for row in case if row["alignment"] == "ours"}
    kept = [row for row in case if _pair(row) in pairs]
    rows: dict[str, list[dict[str, str]]] = {}
    for how in ALIGNMENTS:
        rows[how] = [row for row in kept if row["alignment"] == how]
    dice = {how: numbers(found, "dice") for how, found in rows.items()}
    least = min(a - b for a, b in zip(dice["ours"], dice["ants"], strict=True))
    seconds = [
        f"{np.mean(numbers(rows[how], 'cpu_seconds_a_scan')):.0f}" for how in ("ants", "ours")
    ]
    shown = [mean_and_sd(values, 3) for values in dice.values()]
    refused = len(
        {name for row in case for name in _pair(row)} - {name for pair in pairs for name in pair}
    )
    return [
        f"{dataset}, {spacing_mm} mm",
        str(len(pairs)),
        str(refused),
        *shown,
        f"{least:+.3f}",
        *seconds,
    ]


def _pair(row: dict[str, str]) -> tuple[str, str]:
    return row["first"], row["second"]


def _at(spacing_mm: float) -> Template:
    template = icbm152()
    if spacing_mm == 1:
        return template
    image, mask = resample_brain(
        template.images[MODALITY], template.mask, template.grid.resample(spacing_mm)
    )
    return Template(template.name, {MODALITY: image}, mask)


@explains_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line ``arguments`` and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "datasets",
        nargs="*",
        metavar="DATASET",
        help=f"datasets among {', '.join(DATASETS)} (default: all that are there)",
    )
    add_data(parser)
    parser.add_argument(
        "--spacing", type=float, default=1.0, help="voxel size of the template, mm (default 1)"
    )
    options = parser.parse_args(arguments)
    table = Table(
        RESULTS / "alignment.tsv", ("dataset", "first", "second", "alignment", "spacing_mm")
    )
    template = _at(options.spacing)
    there = [name for name in DATASETS if (options.data / name).is_dir()]
    for dataset in options.datasets or there:
        measure(dataset, options.data, template, table)
        write_alignment_page(table)
    return 0


if __name__ == "__main__":
    sys.exit(main())
