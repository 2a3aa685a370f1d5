"""Measure what the maps of a registration cost on disk, and what a smaller form of them loses.

    python benchmarks/storage.py

Pairs of development newborns are registered once for each run. Both maps are then written in each
form and read again, and what was read is compared with the map before it was written.
"""

from __future__ import annotations

import argparse
import gzip
import hashlib
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from statistics import mean

import nibabel as nib
import numpy as np
import pandas as pd
from _cases import SEED, Case, case_digest, read_case
from _command import add_pairs, explains_errors
from _comparisons import comparison_named
from _machine import provenance
from _tables import Row, Table, markdown_table, measured_on, numbers, write_page
from _units import STAMPS, changed_run_code
from nibabel.openers import ImageOpener

from diffeode.evaluation.evaluate import evaluate_pair
from diffeode.files import io
from diffeode.geometry.image import foreground
from diffeode.geometry.space import flip_ras_lps
from diffeode.geometry.transform import DisplacementField, rounded
from diffeode.process.threads import use_threads
from diffeode.registration.base import Machine, Method
from diffeode.registration.harness import Result, register, whole_maps, write_result
from diffeode.registration.runs import load_run
from diffeode.units.registration import ROUNDED_TO_MM, RegistrationUnit

RUNS = ("node-mind", "greedy")
PAIRS = (("01", "02"), ("03", "04"), ("05", "06"))
_METRICS = ("dice", "folds_onesided_percent", "inverse_consistency_mm")


# ------------------------------------------------------------------------------------------- forms


def as_it_is(field: DisplacementField) -> DisplacementField:
    """Return ``field``."""
    return field


def in_steps(step_mm: float) -> Callable[[DisplacementField], DisplacementField]:
    """Return the function that rounds a field to multiples of ``step_mm``."""
    return lambda field: rounded(field, step_mm)


def in_half_precision(field: DisplacementField) -> DisplacementField:
    """Return ``field`` rounded to the eleven bits of float16."""
    return DisplacementField(field.displacement_mm.astype(np.float16), field.grid)


@dataclass(frozen=True)
class Form:
    """One way to write a map.

    Attributes:
        level: level of the compression by gzip.
        made: the function that returns the field as it is after writing and reading.
        write, read: the functions that write a field that ``made`` returned, and read it again.
        readers: what reads such files, in words.
    """

    name: str
    level: int
    made: Callable[[DisplacementField], DisplacementField]
    write: Callable[[Path, DisplacementField], None]
    read: Callable[[Path, DisplacementField], DisplacementField]
    readers: str


def _read_float32(path: Path, like: DisplacementField) -> DisplacementField:
    return io.read_displacement(path)


def _write_int16(step_mm: float) -> Callable[[Path, DisplacementField], None]:
    def write(path: Path, field: DisplacementField) -> None:
        steps = np.rint(flip_ras_lps(field.displacement_mm) / step_mm).astype(np.int16)
        nifti = nib.Nifti1Image(steps[:, :, :, None, :], field.grid.affine)
        nifti.header["intent_code"] = 1007
        nifti.header.set_xyzt_units("mm")
        nifti.header.set_slope_inter(step_mm, 0)
        nib.save(nifti, path)

    return write


def _write_float16(path: Path, field: DisplacementField) -> None:
    with gzip.open(path, "wb", ImageOpener.default_compresslevel) as file:
        file.write(field.displacement_mm.astype(np.float16).tobytes("F"))


def _read_float16(path: Path, like: DisplacementField) -> DisplacementField:
    with gzip.open(path) as file:
        numbers_read = np.frombuffer(file.read(), np.float16)
    shape = like.displacement_mm.shape
    return DisplacementField(numbers_read.reshape(shape, order="F"), like.grid)


_EVERYTHING = "ITK, ANTs, nibabel"
_NOT_ITK = "nibabel; ITK up to 5.4 and ANTs crash"
_NOTHING = "none: no type of NIfTI"


def _float32(name: str, level: int, made: Callable) -> Form:
    return Form(name, level, made, io.write_displacement, _read_float32, _EVERYTHING)


FORMS = (
    _float32("float32", 1, as_it_is),
    _float32("float32", 6, as_it_is),
    *(_float32(f"rounded to 1/{2**n} mm", 1, in_steps(2.0**-n)) for n in (6, 7, 8, 9, 10)),
    _float32("rounded to 1/256 mm", 6, in_steps(2.0**-8)),
    Form(
        "int16 with a slope of 1/256 mm",
        1,
        in_steps(2.0**-8),
        _write_int16(2.0**-8),
        _read_float32,
        _NOT_ITK,
    ),
    Form("float16", 1, in_half_precision, _write_float16, _read_float16, _NOTHING),
)


# ---------------------------------------------------------------------------------------- measuring


def measure(options: argparse.Namespace) -> Table:
    """Return the table, with a row for each pair, run and form; measured ones are kept."""
    keys = ("run", "fixed", "moving", "form", "level")
    table = Table(options.results / "storage.tsv", keys, STAMPS)
    comparison = comparison_named("albert")
    for fixed, moving in PAIRS:
        folder = comparison.case(fixed, moving, options.data, options.work)
        for name in RUNS:
            run = load_run(name)
            stamps = {"code": changed_run_code(run, 1), "pair": case_digest(folder)}
            starts = [
                {"run": name, "fixed": fixed, "moving": moving, **_columns(form), **stamps}
                for form in FORMS
            ]
            if all(table.has(start) for start in starts):
                continue
            case = read_case(folder)
            result = register(run.build(), case, Machine(1, SEED))
            judge = Judge(case, comparison.labels())
            before = judge.scores(result.warp, result.inverse_warp)
            before["other_bytes"] = bytes_of_the_rest(case, result)
            for start, form in zip(starts, FORMS, strict=True):
                row = start | row_of(form, result, before, judge)
                table.put(row | {"failed": ""} | provenance())
                print(row, file=sys.stderr)
    return table


def measure_velocity(options: argparse.Namespace) -> Table:
    """Return a table with the cost of the velocity of each pair, and what its maps differ by."""
    table = Table(options.results / "storage_velocity.tsv", ("run", "fixed", "moving"), STAMPS)
    comparison, run = comparison_named("albert"), load_run(RUNS[0])
    for fixed, moving in PAIRS:
        folder = comparison.case(fixed, moving, options.data, options.work)
        start = {"run": run.name, "fixed": fixed, "moving": moving}
        start |= {"code": changed_run_code(run, 1), "pair": case_digest(folder)}
        if table.has(start):
            continue
        case, method = read_case(folder), run.build()
        result = register(method, case, Machine(1, SEED))
        row = start | velocity_row(method, case, result) | {"failed": ""} | provenance()
        table.put(row)
        print(row, file=sys.stderr)
    return table


def velocity_row(method: Method, case: Case, result: Result) -> dict[str, float | int]:
    """Return the bytes of the velocity of ``result``, the CPU seconds to make both maps of it
    again, and the greatest distance between these maps and those of ``result``.
    """
    with tempfile.TemporaryDirectory() as folder:
        unit = RegistrationUnit(Path(folder))
        unit.write_velocity(result.velocity)
        size, began = unit.velocity_file.stat().st_size, time.process_time()
        maps = whole_maps(method.expanded(unit.velocity(), Machine(1, SEED)), case)[:2]
        seconds = time.process_time() - began
    fields = zip((result.warp, result.inverse_warp), maps, strict=True)
    apart = max(float(error_mm(*pair).max()) for pair in fields)
    return {"bytes": size, "expand_cpu_s": seconds, "max_error_mm": apart}


def _columns(form: Form) -> dict[str, object]:
    return {"form": form.name, "level": form.level}


def row_of(
    form: Form, result: Result, before: dict[str, float], judge: Judge
) -> dict[str, float | int]:
    """Return what both maps of ``result`` cost in ``form``, and what changes by it.

    Args:
        before: the scores of the maps before they were written.
    """
    written_maps = (result.warp, result.inverse_warp)
    costs, read = {"bytes": 0, "voxels": 0, "write_cpu_s": 0.0, "read_cpu_s": 0.0}, []
    with tempfile.TemporaryDirectory() as folder:
        for one in written_maps:
            path, level = Path(folder) / "map.nii.gz", ImageOpener.default_compresslevel
            ImageOpener.default_compresslevel = form.level
            began = time.process_time()
            form.write(path, form.made(one))
            written = time.process_time()
            read.append(form.read(path, one))
            ended = time.process_time()
            ImageOpener.default_compresslevel = level
            costs["bytes"] += path.stat().st_size
            costs["voxels"] += one.displacement_mm[..., 0].size
            costs["write_cpu_s"] += written - began
            costs["read_cpu_s"] += ended - written
    errors = [error_mm(*fields) for fields in zip(written_maps, read, strict=True)]
    after = judge.scores(*read)
    return {
        **costs,
        "max_error_mm": max(float(error.max()) for error in errors),
        "mean_error_mm": mean(float(error.mean()) for error in errors),
        **before,
        **{f"{name}_after": value for name, value in after.items()},
    }


def bytes_of_the_rest(case: Case, result: Result) -> int:
    """Return the bytes of the files of a registration that are no maps: warped image and trace."""
    with tempfile.TemporaryDirectory() as folder:
        unit = RegistrationUnit(Path(folder))
        write_result(result, case, unit.folder)
        return unit.warped_file.stat().st_size + unit.trace_file.stat().st_size


def error_mm(before: DisplacementField, after: DisplacementField) -> np.ndarray:
    """Return how far the two maps send each voxel from each other, ``(X, Y, Z)``, mm."""
    apart = after.displacement_mm.astype(np.float64) - before.displacement_mm
    return np.linalg.norm(apart, axis=-1)


@dataclass(frozen=True, eq=False)
class Judge:
    """Evaluates maps of one pair, equal ones once.

    Attributes:
        labels: the ids over which the mean Dice is taken.
    """

    case: Case
    labels: Sequence[int]
    known: dict[str, dict[str, float]] = field(default_factory=dict)

    def scores(self, *maps: DisplacementField) -> dict[str, float]:
        """Return the mean Dice, the folds in per cent of the brain, and the inverse
        consistency, mm.
        """
        content = b"".join(one.displacement_mm.tobytes() for one in maps)
        digest = hashlib.sha256(content).hexdigest()
        if digest not in self.known:
            self.known[digest] = self._computed(*maps)
        return dict(self.known[digest])

    def _computed(
        self, warp: DisplacementField, inverse_warp: DisplacementField
    ) -> dict[str, float]:
        names = [str(label) for label in self.labels]
        rows = evaluate_pair(
            warp=warp,
            inverse_warp=inverse_warp,
            fixed_image=self.case.fixed,
            moving_scan=self.case.moving_scan,
            fixed_mask=foreground(self.case.fixed),
            moving_to_scan=self.case.moving_to_scan,
            fixed_labels=self.case.fixed_labels,
            moving_labels=self.case.moving_labels,
            label_table=pd.DataFrame({"id": self.labels, "name": names}),
        )
        whole = rows[rows["label"] == ""].set_index("metric")["value"]
        return {metric: float(whole[metric]) for metric in _METRICS}


# --------------------------------------------------------------------------------------------- page


def write_storage_page(rows: Sequence[Row], velocities: Sequence[Row], path: Path) -> None:
    """Write the page: means over pairs and runs, and the greatest errors."""
    heads = (
        "form",
        "gzip level",
        "bytes a voxel",
        "error, max (mm)",
        "error, mean (mm)",
        "Dice, greatest change",
        "folds (% of foreground), before",
        "after",
        "inverse consistency (mm), before",
        "after",
        "CPU s to write",
        "CPU s to read",
        "readers",
    )
    lines = [_line(form, [row for row in rows if _is_of(row, form)]) for form in FORMS]
    pairs = len({(row["fixed"], row["moving"]) for row in rows})
    runs = ", ".join(f"`{name}`" for name in dict.fromkeys(row["run"] for row in rows))
    text = (
        f"Both maps of a registration, forward and inverse, of {pairs} pairs of newborns 01 to 06 "
        f"(ALBERTs, T1w to T2w, native grid of 0.86 mm), by the runs {runs}. The error is the "
        "distance between where the map sends a voxel before it is written and after it is read, "
        "over all voxels. Bytes, folds, inverse consistency and seconds are means over maps; "
        "errors and changes are the greatest of all pairs and runs, but for the mean error. "
        "Seconds are CPU seconds for both maps of a pair.\n\n"
        + markdown_table(heads, lines)
        + "\n"
        + _units(rows)
        + _velocity(velocities)
        + _ending(rows)
    )
    write_page(path, "What the maps of a registration cost on disk", [text])


def _is_of(row: Row, form: Form) -> bool:
    return (row["form"], row["level"]) == (form.name, str(form.level))


def _line(form: Form, rows: Sequence[Row]) -> list[str]:
    voxels, sizes = numbers(rows, "voxels"), numbers(rows, "bytes")
    dice = zip(numbers(rows, "dice"), numbers(rows, "dice_after"), strict=True)
    return [
        form.name,
        str(form.level),
        f"{sum(sizes) / sum(voxels):.2f}",
        f"{max(numbers(rows, 'max_error_mm')):.4f}",
        f"{mean(numbers(rows, 'mean_error_mm')):.4f}",
        f"{max(abs(after - before) for before, after in dice):.5f}",
        *(
            f"{mean(numbers(rows, column)):.{decimals}f}"
            for column, decimals in (
                ("folds_onesided_percent", 4),
                ("folds_onesided_percent_after", 4),
                ("inverse_consistency_mm", 4),
                ("inverse_consistency_mm_after", 4),
                ("write_cpu_s", 2),
                ("read_cpu_s", 2),
            )
        ),
        form.readers,
    ]


def _units(rows: Sequence[Row]) -> str:
    """Return the table of megabytes that one registration keeps, by the keys of a study."""
    rest = mean(numbers(rows, "other_bytes"))
    names = {"float32": "float32", "rounded": f"rounded to 1/{round(1 / ROUNDED_TO_MM)} mm"}
    lines = []
    for fields, form in names.items():
        chosen = [row for row in rows if row["form"] == form and row["level"] == "1"]
        maps = mean(numbers(chosen, "bytes"))
        lines.append([fields, f"{(maps + rest) / 1e6:.1f}", f"{maps / 1e6:.1f}", "0.0"])
    heads = ("`fields`", "`keep: all` (MB)", "`keep: maps` (MB)", "`keep: numbers` (MB)")
    table = markdown_table(heads, lines)
    measured = len({(row["run"], row["fixed"]) for row in rows if row.get("other_bytes")})
    return (
        f"## One registration\n\n{table}\nWarped image and trace, {rest / 1e6:.1f} MB, are means "
        f"of {measured} registrations. Receipt and metrics come to a few kB more.\n\n"
    )


def _velocity(rows: Sequence[Row]) -> str:
    """Return the section on the velocity in place of both maps."""
    size, seconds = mean(numbers(rows, "bytes")) / 1e6, mean(numbers(rows, "expand_cpu_s"))
    apart = max(numbers(rows, "max_error_mm"))
    return (
        f"## The velocity in place of both maps\n\n`{RUNS[0]}` on {len(rows)} of these pairs "
        f"(`keep: velocity`): the velocity takes {size:.1f} MB, both maps are made of it again in "
        f"{seconds:.1f} CPU s, and they differ from those that were registered by at most "
        f"{apart:g} mm.\n\n"
    )


def _ending(rows: Sequence[Row]) -> str:
    return (
        f"`fields: float32` of a study is the first row, `fields: rounded` the row of "
        f"1/{round(1 / ROUNDED_TO_MM)} mm at level 1: a file of float32 as before, whose last bits "
        "are zero and therefore compress. NIfTI has no float16. NIfTI of int16 with a slope "
        "(`scl_slope`) is smaller still, but ITK up to 5.4 writes past the end of its memory when "
        "it reads a vector image with a slope (ITK's pull request 6625): SimpleITK 2.5 and "
        "antspyx 0.6 crash on such a file, so a study cannot choose it. No label changes at 1/64 "
        "mm because the voxels measure 55/64 mm: a point rounded so never passes the middle "
        "between two voxels. "
        "On grids with other voxels some labels change at this step, too.\n\n"
        f"{measured_on(rows)} Command: `python benchmarks/storage.py`.\n"
    )


@explains_errors
def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line ``arguments`` and return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    add_pairs(parser)
    options = parser.parse_args(arguments)
    use_threads(1)
    rows, velocities = measure(options).rows, measure_velocity(options).rows
    write_storage_page(rows, velocities, options.results / "storage.md")
    return 0


if __name__ == "__main__":
    sys.exit(main())
