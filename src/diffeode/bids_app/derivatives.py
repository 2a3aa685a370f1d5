"""Results under BIDS names: maps, warped scans and what the folder is.

Files are links (hard ones) to those of the workflow, so they take no space; where the disk has no
such links, they are copies.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import diffeode
from diffeode.bids_app.folders import PROGRAM, link_to_source
from diffeode.bids_app.names import (
    anat_folder,
    space_of_scan,
    transform_name,
    warped_name,
)
from diffeode.bids_app.plan import WORK, Plan
from diffeode.bids_app.template import TEMPLATE_DATASET
from diffeode.datasets.bids import DESCRIPTION
from diffeode.datasets.pairs import PlannedPair
from diffeode.datasets.scan import Scan
from diffeode.errors import DamagedFileError, InputError
from diffeode.files import io
from diffeode.provenance.receipt import read_receipt
from diffeode.units.registration import RegistrationUnit

_BIDS_VERSION = "1.10.0"
_RAW = "raw"
"""The name by which ``Sources`` refer to the BIDS folder."""
_IGNORED = ("work", "logs", "report-*.html", "*_xfm.nii.gz", "*_xfm.json")
"""What validators of BIDS skip: files of the workflow, and transforms, which BIDS does not name
yet (BEP014).
"""
_README = """\
Registrations by diffeode ({version}) of the BIDS folder {source}.

code/TASK/study.yaml   the study, which diffeode study runs again, with its scans, pairs and those
                       left out in the tables beside it
report-TASK.html       the report: tables, figures, what was done and what to cite
sub-*/.../*_xfm.nii.gz the maps, as ITK and ANTs read them: from-A_to-B resamples images of A to B
sub-*/.../*_space-*    scans, resampled to the other scan of their pair
work/                  everything else: logs, tables, figures, what the next run goes on from
"""


def describe(plan: Plan) -> None:
    """Write ``dataset_description.json``, ``README`` and ``.bidsignore`` of the results."""
    out, source = plan.request.out, plan.request.source
    link = link_to_source(source, out)
    linked: dict[str, str] = {"URL": link}
    if isinstance(doi := plan.description.get("DatasetDOI"), str):
        linked["DOI"] = doi
    content = {
        "Name": f"{PROGRAM}: registrations of {plan.source_name}",
        "BIDSVersion": _BIDS_VERSION,
        "DatasetType": "derivative",
        "GeneratedBy": [
            {
                "Name": PROGRAM,
                "Version": diffeode.__version__,
                "Description": "Diffeomorphic registration (arXiv 2512.22689); code/*/study.yaml "
                "holds all settings.",
            }
        ],
        "SourceDatasets": [linked],
        "DatasetLinks": {_RAW: link},
    }
    io.write_json(out / DESCRIPTION, content)
    io.write_text(
        out / "README", _README.format(version=diffeode.__version__, source=plan.source_name)
    )
    io.write_text(out / ".bidsignore", "\n".join(_IGNORED) + "\n")


def deliver(plan: Plan) -> tuple[int, list[str]]:
    """Put every finished registration under its BIDS names.

    The results of a registration that failed, or is not finished, are removed.

    Returns:
        The number of finished registrations, and a line for each that failed.

    Raises:
        InputError: a file cannot be written.
    """
    finished, failed = 0, []
    for result in _results(plan):
        receipt = _receipt(result)
        if receipt is None or receipt.get("status") == "failed":
            result.remove()
            if receipt is not None:
                failed.append(f"{result.pair.id} by {result.run}: {receipt['reason']}")
            continue
        result.place(receipt)
        finished += 1
    return finished, failed


def names_of(plan: Plan) -> list[Path]:
    """Return the paths of all images that :func:`deliver` puts in place when all is finished."""
    return [file for result in _results(plan) for file in result.files()]


@final
@dataclass(frozen=True)
class _Result:
    """A registration and its places by BIDS: the folder and names are those of the moving scan."""

    plan: Plan
    pair: PlannedPair
    run: str

    @property
    def unit(self) -> RegistrationUnit:
        task = self.plan.request.task.name
        registrations = self.plan.request.out / WORK / "registrations"
        return RegistrationUnit(registrations / task / self.pair.id / self.run)

    def files(self) -> dict[Path, Path]:
        """Return the file of the workflow by the path that it has by BIDS."""
        moving, space = self.pair.moving, self._space()
        folder = anat_folder(self.plan.request.out, moving)
        there = transform_name(moving, moving.modality, space, self.run)
        back = transform_name(moving, space, moving.modality, self.run)
        unit = self.unit
        return {
            folder / f"{there}.nii.gz": unit.warp_file,
            folder / f"{back}.nii.gz": unit.inverse_warp_file,
            folder / f"{warped_name(moving, space, self.run)}.nii.gz": unit.warped_file,
        }

    def place(self, receipt: Mapping[str, Any]) -> None:
        """Put the files in place, each with a sidecar."""
        for (path, file), about in zip(self.files().items(), self._sidecars(), strict=True):
            _link(file, path)
            suspect = {"Suspect": receipt["verdict"]} if receipt.get("suspect") else {}
            io.write_json(_sidecar(path), {**about, **suspect})

    def remove(self) -> None:
        for path in self.files():
            path.unlink(missing_ok=True)
            _sidecar(path).unlink(missing_ok=True)

    def _space(self) -> str:
        """Return the label of the space of the fixed scan."""
        fixed = self.pair.fixed
        is_template = fixed.dataset == TEMPLATE_DATASET
        return fixed.subject if is_template else space_of_scan(fixed, self.pair.moving)

    def _sidecars(self) -> Iterator[dict[str, Any]]:
        """Yield what is said of each of :meth:`files`."""
        fixed, moving = map(self._address, (self.pair.fixed, self.pair.moving))
        run = self.plan.run(self.run).title
        spacing = self.plan.request.spacing_mm
        voxels = f", on voxels of {spacing:g} mm" if spacing else ""
        yield {
            "Description": f"Displacement field in LPS mm (ITK) by {run}: points of "
            f"{self.pair.fixed.id} go to points of {self.pair.moving.id}, the affine included, so "
            f"that images of {self.pair.moving.id} are resampled to {self.pair.fixed.id}.",
            "Sources": [moving, fixed],
        }
        yield {
            "Description": f"Displacement field in LPS mm (ITK) by {run}, the inverse: points of "
            f"{self.pair.moving.id} go to points of {self.pair.fixed.id}, so that images of "
            f"{self.pair.fixed.id} are resampled to {self.pair.moving.id}.",
            "Sources": [moving, fixed],
        }
        yield {
            "Description": f"{self.pair.moving.id}, skull-stripped and scaled to [0, 1], resampled "
            f"once to {self.pair.fixed.id}{voxels} by {run}.",
            "Sources": [moving],
            "SpatialReference": fixed,
            "SkullStripped": True,
        }

    def _address(self, scan: Scan) -> str:
        """Return the BIDS URI of a scan, or the path of a template."""
        source = self.plan.request.source
        if scan.image.is_relative_to(source):
            return f"bids:{_RAW}:{scan.image.relative_to(source).as_posix()}"
        return scan.image.as_uri() if scan.image.is_absolute() else self._space()


def _results(plan: Plan) -> Iterator[_Result]:
    return (_Result(plan, pair, run.name) for pair in plan.pairs for run in plan.runs)


def _receipt(result: _Result) -> dict[str, Any] | None:
    try:
        return read_receipt(result.unit.receipt)
    except DamagedFileError:  # not registered yet
        return None


def _sidecar(image: Path) -> Path:
    return image.with_name(f"{image.name.removesuffix('.nii.gz')}.json")


def _link(file: Path, path: Path) -> None:
    """Make ``path`` a hard link to ``file``, or a copy where that cannot be."""
    if _is_up_to_date(file, path):
        return
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        try:
            os.link(file, path)
        except OSError:
            with io.written_whole(path) as temporary:
                shutil.copy2(file, temporary)
    except OSError as error:
        raise InputError(
            f"Cannot write {path}: {error.strerror}; free or choose another folder."
        ) from None


def _is_up_to_date(file: Path, path: Path) -> bool:
    if not path.is_file():
        return False
    if path.samefile(file):
        return True
    one, other = file.stat(), path.stat()
    return (one.st_size, one.st_mtime_ns) == (other.st_size, other.st_mtime_ns)
