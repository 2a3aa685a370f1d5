"""Measure how well descriptors find a place again in another contrast of one person; see README.md.

For every person who was scanned in two contrasts on one grid, places are drawn in the brain. A
place is found where, of all candidates in the other contrast, the place itself has the nearest
descriptor. The candidates are once as many places all over the brain, and once all voxels of a
small cube around the place. Both directions count alike.
"""

from __future__ import annotations

import argparse
import hashlib
import itertools
import sys
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from _command import add_data, add_results, explains_errors
from _machine import provenance
from _tables import Row, Table, markdown_table, mean_and_sd, measured_on, numbers, write_page
from torch import Tensor

from diffeode.descriptors.learned import LearnedDescriptor, weights_file
from diffeode.descriptors.network import FeatureNetwork
from diffeode.descriptors.registry import descriptor_content, make_descriptor
from diffeode.errors import InputError
from diffeode.figures.descriptor_distance import DistanceRow, descriptor_distance
from diffeode.geometry.image import bounding_box
from diffeode.learning.descriptor.contrastive import alignment, retrieval, uniformity
from diffeode.learning.descriptor.lesson import drawn_places
from diffeode.learning.descriptor.material import prepared
from diffeode.process.threads import use_threads
from diffeode.provenance.source import code_hash

REPOSITORY = Path(__file__).resolve().parents[1]
PERSONS = {"albert": ("sub-07", "sub-08", "sub-09", "sub-10"), "openms": ("sub-07", "sub-26")}
POPULATIONS = {"albert": "newborns (ALBERTs)", "openms": "adults with multiple sclerosis"}
PLACES, NEAR_PLACES, NEAR_VOX, SEED = 1000, 500, 3, 2512
SHOWN = ("albert", "sub-07")
_POINTS = ((0.5, 0.55, 0.5), (0.32, 0.45, 0.5), (0.66, 0.3, 0.5))
"""Places of the heat maps, as fractions of the brain's box; the last axis numbers the slices."""

Descriptor = Callable[[Tensor], Tensor]


@dataclass(frozen=True)
class Candidate:
    """A descriptor to measure: its name in tables, its function, and the identity of its code."""

    title: str
    describe: Descriptor
    content: str


def candidates(weights: Sequence[str]) -> list[Candidate]:
    """Return the descriptors to compare: those without a network, an untrained network, and the
    network with each of ``weights``.
    """
    torch.manual_seed(SEED)
    untrained = LearnedDescriptor(FeatureNetwork()).eval().requires_grad_(False)
    plain = {"Intensity": "intensity", "Gradient orientation": "gradient", "MIND-SSC": "mind"}
    found = [
        Candidate(t, make_descriptor(name), descriptor_content(name)) for t, name in plain.items()
    ]
    found.insert(
        2, Candidate("Network, untrained", untrained, code_hash("diffeode.descriptors.learned"))
    )
    for name in weights:
        title = (
            "Network, trained "
            f"({Path(name).parent.name if name.endswith('.safetensors') else name})"
        )
        describe, content = make_descriptor("learned", name), descriptor_content("learned", name)
        found.append(Candidate(title, describe, content))
    return found


@dataclass(frozen=True, eq=False)
class Person:
    """Two contrasts in the box of the brain, ``(1, 1, X, Y, Z)``, and the brain in both, ``(X, Y,
    Z)`` bool.
    """

    first: Tensor
    second: Tensor
    brain: np.ndarray


def read_person(folder: Path) -> Person:
    """Return the person whose T1w and T2w lie in ``folder/anat``."""
    first, second = (
        prepared(folder / "anat" / f"{folder.name}_{modality}.nii.gz")
        for modality in ("T1w", "T2w")
    )
    brain = (first.data > 0) & (second.data > 0)
    lower, upper = bounding_box(brain, 8)
    window = tuple(slice(a, b) for a, b in zip(lower, upper, strict=True))
    tensors = (
        torch.from_numpy(np.ascontiguousarray(image.data[window]))[None, None]
        for image in (first, second)
    )
    return Person(*tensors, brain[window])


def scores(person: Person, first: Tensor, second: Tensor) -> dict[str, float]:
    """Return how well the descriptors ``(C, X, Y, Z)`` of a person's two contrasts agree."""
    generator = np.random.default_rng(SEED)
    places = drawn_places(person.brain, PLACES, generator)
    a, b = _at(first, places), _at(second, places)
    inner = np.zeros_like(person.brain)
    inner[(slice(NEAR_VOX, -NEAR_VOX),) * 3] = person.brain[(slice(NEAR_VOX, -NEAR_VOX),) * 3]
    near = drawn_places(inner, NEAR_PLACES, generator)
    return {
        "retrieval": 0.5 * (retrieval(a, b) + retrieval(b, a)),
        "retrieval_near": 0.5 * (found_near(first, second, near) + found_near(second, first, near)),
        "alignment": alignment(a, b).item(),
        "uniformity": uniformity(torch.cat([a, b])).item(),
    }


def found_near(first: Tensor, second: Tensor, places: np.ndarray) -> float:
    """Return the share of ``places`` that are found in a cube of ``2 NEAR_VOX + 1`` voxels around
    them.
    """
    offsets = np.array(list(itertools.product(range(-NEAR_VOX, NEAR_VOX + 1), repeat=3)))
    own = len(offsets) // 2
    shares = []
    for place in places:
        distances = (_at(second, place + offsets) - _at(first, place[None])).square().sum(dim=1)
        nearest = distances == distances.min()
        shares.append(float(nearest[own]) / float(nearest.sum()))
    return float(np.mean(shares))


def _at(channels: Tensor, places: np.ndarray) -> Tensor:
    """Return the ``channels (C, X, Y, Z)`` at ``places (N, 3)``, ``(N, C)``."""
    return channels[:, places[:, 0], places[:, 1], places[:, 2]].T


def measure(options: argparse.Namespace) -> Table:
    """Measure every person and descriptor that has no row yet, and return the table."""
    table = Table(options.results / "descriptors.tsv", ("data", "person", "descriptor"))
    shown = []
    for data, name in _persons(options.data):
        person = read_person(options.data / data / name)
        for candidate in candidates(options.weights):
            row = {
                "data": data,
                "person": name,
                "descriptor": candidate.title,
                "code": _code(candidate),
            }
            if table.has(row) and (data, name) != SHOWN:
                continue
            with torch.no_grad():
                first, second = (
                    candidate.describe(image)[0] for image in (person.first, person.second)
                )
            found = table.put(row | scores(person, first, second) | provenance())
            print(f"{data} {name} {candidate.title}: {found['retrieval']}", file=sys.stderr)
            if (data, name) == SHOWN:
                shown.append(
                    (
                        candidate.title,
                        [_heat(person, first, second, point) for point in _points(person)],
                    )
                )
    if shown:
        _draw(shown, read_person(options.data / SHOWN[0] / SHOWN[1]), options.results)
    return table


def _persons(data: Path) -> Iterable[tuple[str, str]]:
    there = [
        (name, person)
        for name, persons in PERSONS.items()
        if (data / name).is_dir()
        for person in persons
    ]
    if not there:
        raise InputError(f"None of {', '.join(PERSONS)} is in {data}; set DIFFEODE_DATA.")
    return there


def _code(candidate: Candidate) -> str:
    parts = [
        code_hash(Path(__file__), "diffeode.learning.descriptor.contrastive"),
        candidate.content,
    ]
    return hashlib.sha256(" ".join(parts).encode()).hexdigest()[:12]


def _points(person: Person) -> list[np.ndarray]:
    lower, upper = bounding_box(person.brain)
    wanted = [lower + np.array(point) * (upper - lower) for point in _POINTS]
    brain = np.argwhere(person.brain)
    return [brain[((brain - point) ** 2).sum(axis=1).argmin()] for point in wanted]


def _heat(person: Person, first: Tensor, second: Tensor, point: np.ndarray) -> np.ndarray:
    """Return the distances between the first contrast's descriptor at ``point`` and the second's
    descriptors in the slice through it; NaN outside the brain.
    """
    distances = (
        (second[:, :, :, point[2]] - first[:, *point][:, None, None])
        .square()
        .sum(dim=0)
        .sqrt()
        .numpy()
    )
    return np.where(person.brain[:, :, point[2]], distances, np.nan)


def _draw(shown: Sequence[tuple[str, list[np.ndarray]]], person: Person, results: Path) -> None:
    rows = []
    for number, point in enumerate(_points(person)):
        first, second = (
            image[0, 0, :, :, point[2]].numpy() for image in (person.first, person.second)
        )
        distances = {title: heats[number] for title, heats in shown}
        rows.append(DistanceRow(first, second, tuple(point[:2]), distances))
    descriptor_distance(rows, "T1w", "T2w", results / "descriptors.png")


def write_descriptor_page(table: Table) -> None:
    """Write ``descriptors.md`` beside the table."""
    sections = []
    for data in dict.fromkeys(row["data"] for row in table.rows):
        rows = [row for row in table.rows if row["data"] == data]
        persons = ", ".join(dict.fromkeys(row["person"].removeprefix("sub-") for row in rows))
        lines = []
        for title in dict.fromkeys(row["descriptor"] for row in rows):
            lines.append(_line(title, [row for row in rows if row["descriptor"] == title]))
        sections.append(
            f"## {data}\n\nT1w and T2w of the same person, persons {persons}. Population: "
            f"{POPULATIONS[data]}.\n\n"
            + markdown_table(["descriptor", *_HEADINGS], lines)
            + f"\n{measured_on(rows)} Command: `python benchmarks/descriptors.py`.\n"
        )
    write_page(table.path.with_suffix(".md"), "Descriptors", sections)


_HEADINGS = (
    f"found among {PLACES} (%)",
    f"found within ±{NEAR_VOX} voxels (%)",
    "alignment",
    "uniformity",
)


def _line(title: str, rows: Sequence[Row]) -> list[str]:
    cells = [title]
    for name in ("retrieval", "retrieval_near"):
        cells.append(mean_and_sd([100 * share for share in numbers(rows, name)], 1))
    for name in ("alignment", "uniformity"):
        # a descriptor of one channel has one direction, so both are 0 and tell nothing
        cells.append(mean_and_sd([value for value in numbers(rows, name) if value], 2))
    return cells


@explains_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line ``arguments`` and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument(
        "weights",
        nargs="*",
        help="files of weights of the learned descriptor, besides the package's own",
    )
    add_data(parser)
    add_results(parser)
    parser.add_argument("--threads", type=int, default=1)
    options = parser.parse_args(arguments)
    options.weights = ["synthetic", *options.weights]
    use_threads(options.threads)
    for name in options.weights:
        weights_file(name)
    write_descriptor_page(measure(options))
    return 0


if __name__ == "__main__":
    sys.exit(main())
