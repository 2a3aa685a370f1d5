"""The unit of a registered pair."""

from __future__ import annotations

import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np

from diffeode.errors import DamagedFileError
from diffeode.files import io
from diffeode.files.presence import require_file
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import DisplacementField, KeptVelocity
from diffeode.provenance.receipt import RECEIPT, read_receipt, require_intact
from diffeode.provenance.removal import remove_files, require_kept

WARP, INVERSE_WARP, WARPED, TRACE, VELOCITY = (
    "warp.nii.gz",
    "inverse_warp.nii.gz",
    "warped.nii.gz",
    "trace.tsv",
    "velocity.npz",
)
KEPT: Mapping[str, tuple[str, ...]] = {
    "all": (WARP, INVERSE_WARP, WARPED, TRACE),
    "maps": (WARP, INVERSE_WARP, TRACE),
    "velocity": (VELOCITY, TRACE),
    "numbers": (),
}
"""Names of the files that stay of a finished registration, by the study's key ``keep``.

Where ``keep`` is ``velocity`` and the unit holds none, the files of ``maps`` stay.
"""
ROUNDED_TO_MM = 2.0**-8
FIELDS: Mapping[str, float | None] = {"float32": None, "rounded": ROUNDED_TO_MM}
"""Step, mm, to whose multiples displacements are rounded before they are written, by the study's
key ``fields``; None: they are written as they are.
"""
READ_BY_EVALUATION = (WARP, INVERSE_WARP)
"""Names of the files that the evaluation reads."""
READ_BY_PANELS = (WARP, WARPED)
"""Names of the files that the figures of a pair read."""
READ_BY_CURVES = (TRACE,)
"""Names of the files that the curves of the energy read."""


def must_hold(keep: str) -> tuple[str, ...]:
    """Return the names of the files without which a unit does not hold what ``keep`` asks for.

    A velocity is not among them, because not every method has one.
    """
    return (TRACE,) if keep == "velocity" else KEPT[keep]


@final
@dataclass(frozen=True)
class RegistrationUnit:
    """A registered pair: the map in both directions, the warped moving scan, and the trace."""

    folder: Path

    @property
    def receipt(self) -> Path:
        """The file that says what the unit holds, or why the registration failed."""
        return self.folder / RECEIPT

    @property
    def warp_file(self) -> Path:
        """The whole map, from the fixed grid to the moving scan."""
        return self.folder / WARP

    @property
    def inverse_warp_file(self) -> Path:
        """The inverse map, from the moving scan's grid to the fixed scan."""
        return self.folder / INVERSE_WARP

    @property
    def warped_file(self) -> Path:
        """The moving scan, warped to the fixed grid."""
        return self.folder / WARPED

    @property
    def trace_file(self) -> Path:
        """The energy by iteration, tab-separated."""
        return self.folder / TRACE

    @property
    def velocity_file(self) -> Path:
        """The velocity whose flow the map is."""
        return self.folder / VELOCITY

    @property
    def files(self) -> tuple[Path, ...]:
        """All files that a finished registration may hold except its receipt."""
        return (
            self.warp_file,
            self.inverse_warp_file,
            self.warped_file,
            self.trace_file,
            self.velocity_file,
        )

    def require_intact(self) -> dict[str, Any]:
        """Return the receipt after comparing it with the files.

        A file that :meth:`reduce` has removed is not missing.

        Raises:
            DamagedFileError: a file is missing or differs.
        """
        return require_intact(self.receipt)

    def reduce(self, keep: str) -> int:
        """Remove the files that ``keep`` (:data:`KEPT`) does not hold; return the number of bytes
        that this freed.

        The receipt stays as it is, and the unit stays intact: a note beside the receipt lists what
        was removed (:mod:`diffeode.provenance.removal`). A failed registration has no files.

        Raises:
            DamagedFileError: the receipt is missing or damaged.
            InputError: the note cannot be written.
        """
        outputs = read_receipt(self.receipt)["outputs"]
        kept = KEPT["maps" if keep == "velocity" and VELOCITY not in outputs else keep]
        return remove_files(self.folder, outputs, [name for name in outputs if name not in kept])

    def kept(self, file: Path) -> Path:
        """Return ``file``, one of :attr:`files`.

        Raises:
            InputError: it was removed to save space.
        """
        require_kept(file)
        return file

    def warp(self) -> DisplacementField:
        """Return the map from points of the fixed grid to points of the moving scan, RAS mm, the
        affine alignment included.
        """
        return io.read_displacement(self.kept(self.warp_file))

    def inverse_warp(self) -> DisplacementField:
        """Return the map from points of the moving scan's grid to points of the fixed
        scan, RAS mm.
        """
        return io.read_displacement(self.kept(self.inverse_warp_file))

    def write_velocity(self, velocity: KeptVelocity) -> None:
        """Write the velocity as an archive of NumPy's arrays."""
        with io.written_whole(self.velocity_file) as temporary:
            np.savez_compressed(
                temporary,
                velocity=velocity.values,
                shape=np.array(velocity.grid.shape),
                affine=velocity.grid.affine,
            )

    def velocity(self) -> KeptVelocity:
        """Return the velocity whose flow the map is.

        Raises:
            InputError: the unit holds none.
            DamagedFileError: the file is damaged.
        """
        require_file(self.kept(self.velocity_file), "velocity")
        try:
            with np.load(self.velocity_file, allow_pickle=False) as archive:
                shape = tuple(int(n) for n in archive["shape"])
                return KeptVelocity(archive["velocity"], Grid(shape, archive["affine"]))
        except (OSError, EOFError, ValueError, KeyError, zipfile.BadZipFile) as error:
            raise DamagedFileError(
                f"{self.velocity_file} is damaged ({error}); register the pair again."
            ) from None

    def warped(self) -> Image:
        """Return the moving scan on the fixed grid, resampled once."""
        return io.read_image(self.kept(self.warped_file))
