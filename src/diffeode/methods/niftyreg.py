"""NiftyReg: free-form deformation on cubic B-splines with normalised mutual information, as the
paper's baseline.
"""

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
_STEP = re.compile(r"\[\d+\] Current objective function[^:=]*[:=] ([-+.\deE]+)")


@final
@dataclass(frozen=True)
class NiftyReg(Method):
    """``reg_f3d --nmi`` from the identity: the pair is affinely aligned already. ``reg_aladin`` is
    not run.

    Ten millimetres are the paper's; all else is the tool's own default, written out.
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
        10.0, between(1, 100), "Spacing of the control points at the finest level", "mm"
    )
    bending_weight: float = knob(0.001, between(0, 1), "Weight of the bending energy")
    linear_weight: float = knob(0.01, between(0, 1), "Weight of the linear elasticity")
    levels: int = knob(3, between(1, 8), "Number of levels; each halves the resolution of the next")
    iterations: int = knob(
        150,
        between(1, 10_000),
        "Most iterations at the finest level; each coarser level may take twice as many as the "
        "next",
    )

    def register(self, pair: Pair, machine: Machine) -> Registration:
        """The map, and the objective at each iteration that the tool reports, its sign turned so
        that it falls.

        Raises:
            InputError: NiftyReg is not here, or of a version that does not serve.
            ToolError: it failed or wrote nothing usable.
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
            pad_val=0,  # the default is NaN
            omp_core_val=limits.threads,
        )
        run(REG_F3D, search, [folder / "splines.nii.gz"], NiftyReg.title, limits, trace.listen)


def _displacement(folder: Path, grid: Grid, limits: Limits) -> DisplacementField:
    """The splines as displacements, RAS mm, on ``grid``, whose header they repeat in single
    precision only.
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
    """What ``reg_f3d`` tells as it goes on."""

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
