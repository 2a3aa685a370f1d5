"""NiftyReg: free-form deformation with cubic B-splines, a baseline of the paper."""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, final

from diffeode.files import io
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import DisplacementField
from diffeode.programs.tools import REG_F3D, REG_TRANSFORM, Limits, output_of, run
from diffeode.registration.base import Machine, Method, Needs, Pair, Registration
from diffeode.registration.knobs import between, knob

_LEVEL = re.compile(r"Current level:? (\d+) / (\d+)")
"""A line by which the tool tells that a level begins."""
_STEP = re.compile(r"\[\d+\] Current objective function[^:=]*[:=] ([-+.\deE]+)")
"""A line by which the tool tells its objective after an iteration."""


@final
@dataclass(frozen=True)
class NiftyReg(Method):
    """The program ``reg_f3d`` with normalised mutual information (``--nmi``).

    It starts from the identity, because the pair is affinely aligned already; ``reg_aladin`` is not
    run. The spacing of 10 mm is the paper's, and all other values are the tool's defaults.
    """

    title: ClassVar[str] = "NiftyReg"
    needs: ClassVar[Needs] = Needs(
        packages=("nipype",),
        executables=(REG_F3D.executable, REG_TRANSFORM.executable),
        environment="niftyreg",
    )
    citation: ClassVar[str] = (
        "Modat, Ridgway, Taylor, Lehmann, Barnes, Hawkes, Fox, Ourselin. Fast free-form "
        "deformation using graphics processing units. Computer Methods and Programs in "
        "Biomedicine 98(3), 2010."
    )
    licence: ClassVar[str] = "BSD-3-Clause (NiftyReg)"

    spacing_mm: float = knob(
        10.0, between(1, 100), "Spacing of the control points on the finest level", "mm"
    )
    bending_weight: float = knob(0.001, between(0, 1), "Weight of the bending energy")
    linear_weight: float = knob(0.01, between(0, 1), "Weight of the linear elasticity")
    levels: int = knob(
        3, between(1, 8), "Number of levels; each has half the resolution of the next"
    )
    iterations: int = knob(
        150,
        between(1, 10_000),
        "Largest number of iterations on the finest level; each level may take twice as many as "
        "the next",
    )

    def register(self, pair: Pair, machine: Machine) -> Registration:
        """Register ``pair``; the tool returns no inverse.

        The trace is the negative objective in each iteration that the tool reports, so it falls.

        Raises:
            InputError: NiftyReg is not here, or its version cannot be used.
            ToolError: the tool failed or wrote nothing usable.
        """
        limits, trace = Limits(machine.threads), _Trace(machine.progress)
        with tempfile.TemporaryDirectory(prefix="diffeode-niftyreg-") as name:
            folder = Path(name)
            io.write_image(folder / "fixed.nii.gz", pair.fixed)
            io.write_image(folder / "moving.nii.gz", pair.moving)
            self._find_splines(folder, limits, trace)
            return Registration(
                _displacement(folder, pair.fixed.grid, limits), trace=tuple(trace.rows)
            )

    def _find_splines(self, folder: Path, limits: Limits, trace: _Trace) -> None:
        from nipype.interfaces.niftyreg import RegF3D

        search = RegF3D(
            ref_file=folder / "fixed.nii.gz",
            flo_file=folder / "moving.nii.gz",
            cpp_file=folder / "splines.nii.gz",
            res_file=folder / "warped.nii.gz",
            sx_val=self.spacing_mm,
            be_val=self.bending_weight,
            le_val=self.linear_weight,
            ln_val=self.levels,
            maxit_val=self.iterations,
            nmi_flag=True,
            pad_val=0,  # the tool's default is NaN
            omp_core_val=limits.threads,
        )
        run(REG_F3D, search, [folder / "splines.nii.gz"], NiftyReg.title, limits, trace.listen)


def _displacement(folder: Path, grid: Grid, limits: Limits) -> DisplacementField:
    """Return the splines as displacements in RAS mm on ``grid``.

    The header of the tool's file repeats the grid in single precision only, so ``grid`` is used
    instead.
    """
    from nipype.interfaces.niftyreg import RegTransform

    dense = folder / "displacement.nii.gz"
    convert = RegTransform(
        ref1_file=folder / "fixed.nii.gz",
        disp_input=folder / "splines.nii.gz",
        out_file=dense,
        omp_core_val=limits.threads,
    )
    run(REG_TRANSFORM, convert, [dense], NiftyReg.title, limits)
    with output_of(REG_TRANSFORM, dense):
        return DisplacementField(io.read_ras_displacement(dense).displacement_mm, grid)


@dataclass
class _Trace:
    """A listener to the lines that ``reg_f3d`` prints, which collects the trace."""

    progress: Callable[[float, str], None]
    rows: list[dict[str, float]] = field(default_factory=list)
    level: float = 1.0

    def listen(self, line: str) -> None:
        if level := _LEVEL.search(line):
            this, last = int(level[1]), int(level[2])
            self.level = 2.0 ** (last - this)
            self.progress((this - 1) / last, f"level {this} of {last}")
        elif step := _STEP.search(line):
            self.rows.append({"level": self.level, "energy": -float(step[1])})
