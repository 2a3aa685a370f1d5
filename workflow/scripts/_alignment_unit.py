"""One pair, as rule align works on it."""

from __future__ import annotations

import importlib
import shutil
import traceback
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

from _aligning import align, note_failure
from _chunk import Unit
from _failed import first_failure

from diffeode.errors import AlignmentError, KilledError, reason_of
from diffeode.files.tables import write_rows
from diffeode.process.watch import watched
from diffeode.provenance.origin import origin_of
from diffeode.provenance.receipt import add_origin, read_receipt
from diffeode.provenance.upkeep import flat
from diffeode.registration.harness import measured
from diffeode.units.names import IMAGE

ALIGNED, FAILED = "aligned", "failed"


@final
@dataclass(eq=False)
class AlignedPair(Unit):
    """An alignment; the entry says besides where its costs are written."""

    verb = "align"
    steps = ("alignment",)

    def make(self, say: Callable[[str], None], following: Unit | None) -> None:
        """Align in a process of its own; a failure is written down with its reason.

        Raises:
            KilledError: the process was killed, and the job is tried again with more memory.
        """
        step = self.entry["alignment"]
        origin = origin_of(flat(step["inputs"]), step["parameters"])
        # nothing of an earlier alignment may lie beside the receipt of one that fails
        shutil.rmtree(Path(step["file"]).parent, ignore_errors=True)
        try:
            self._require_scans()
            self._require_two_images(say)
            costs = watched(self._align)
        except Exception as error:
            if isinstance(error, KilledError) and not self.is_last_attempt:
                raise
            traceback.print_exception(error)
            self.state = FAILED
            note_failure(step, self.names, reason_of(error))
            say(f"failed, and so do its registrations: {reason_of(error)}")
        else:
            self.state = ALIGNED
            write_rows(Path(self.entry["costs"]), list(costs), [costs])
        add_origin(Path(step["file"]), origin)

    def _require_scans(self) -> None:
        """Raise :class:`AlignmentError` where a scan of the pair could not be prepared."""
        for file in self.entry["alignment"]["inputs"].values():
            reason = first_failure([file])
            if reason is not None:
                raise AlignmentError(f"{Path(file).parent.name} cannot be used: {reason}")

    def _require_two_images(self, say: Callable[[str], None]) -> None:
        """Raise :class:`AlignmentError` where both scans are one image, of which one person or
        visit has a copy by mistake; the registration would be perfect and mean nothing.

        Two datasets may share an image, as where a template is one of the scans; this is only said.
        """
        inputs = self.entry["alignment"]["inputs"]
        files = [Path(inputs[side]) for side in ("fixed", "moving")]
        if not all(file.is_file() for file in files):
            return  # the alignment says what is missing
        fixed, moving = map(read_receipt, files)
        if _image_of(fixed) is None or _image_of(fixed) != _image_of(moving):
            return
        names = " and ".join(file.parent.name for file in files)
        sentence = f"{names} are the same image, voxel for voxel"
        if fixed["dataset"] == moving["dataset"]:
            raise AlignmentError(f"{sentence}, so one is a copy of the other; give each its own.")
        say(f"{sentence}, so their registration tells nothing of others")

    def _align(self) -> dict[str, float]:
        with measured() as costs:
            align(self.entry["alignment"], self.names, self.snakemake.threads)
        return costs


def _image_of(receipt: Mapping[str, Any]) -> str | None:
    """Return the SHA-256 of the image of a prepared scan, by its receipt."""
    return receipt["outputs"].get(IMAGE, {}).get("sha256")


def import_ahead(units: Iterable[AlignedPair]) -> None:
    """Import once what the alignments ahead use; their processes are copies of this one."""
    ahead = (unit.entry["alignment"]["parameters"] for unit in units if unit.begins_anew)
    if any(parameters["alignment"]["alignment"] == "affine" for parameters in ahead):
        importlib.import_module("ants")
