"""Greedy: registration by composing many small, smooth steps along the gradient of a similarity."""

from __future__ import annotations

import io
import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from diffeode.errors import RegistrationError
from diffeode.geometry.image import Image
from diffeode.geometry.plane import is_slice, plane_frame, plane_itk_frame
from diffeode.geometry.space import Grid, flip_ras_lps
from diffeode.geometry.transform import Affine, DisplacementField
from diffeode.registration.base import Machine, Method, Needs, Pair, Registration
from diffeode.registration.displacements import field_of_itk
from diffeode.registration.knobs import between, knob, one_of, several

if TYPE_CHECKING:
    import SimpleITK


@final
@dataclass(frozen=True)
class Greedy(Method):
    """The authors' package in double precision, which is its default.

    It starts from the identity, because the pair is affinely aligned already. Its maps are not
    rounded; by default the tool rounds them to a tenth of a voxel.
    """

    title: ClassVar[str] = "Greedy"
    needs: ClassVar[Needs] = Needs(packages=("picsl_greedy", "SimpleITK"))
    citation: ClassVar[str] = (
        "Yushkevich, Pluta, Wang, Wisse, Das, Wolk. Fast automatic segmentation of hippocampal "
        "subfields and medial temporal lobe subregions in 3 Tesla and 7 Tesla T2-weighted MRI. "
        "Alzheimer's & Dementia 12(7S), 2016."
    )
    licence: ClassVar[str] = "Apache-2.0 (picsl-greedy)"
    takes_slices: ClassVar[bool] = True

    metric: str = knob(
        "NMI",
        one_of("NMI", "MI", "NCC", "SSD"),
        "Similarity that is maximised, or for `SSD` minimised. `NCC` is computed in patches; the "
        "random noise that the tool adds to flat regions by default is switched off",
    )
    radius: int = knob(
        4, between(1, 16), "Radius of the patches of `NCC`; the other metrics have none", "voxels"
    )
    iterations: tuple[int, ...] = knob(
        (100, 50, 30),
        several(1, 8, 0, math.inf, "one to eight whole numbers, coarsest first"),
        "Number of iterations on each level, coarsest first; each level has half the resolution "
        "of the next",
    )
    gradient_sigma: float = knob(
        3.0,
        between(0, 20),
        "Standard deviation of the Gaussian that smooths the update",
        "voxels of the level",
    )
    warp_sigma: float = knob(
        1.0,
        between(0, 20),
        "Standard deviation of the Gaussian that smooths the whole field",
        "voxels of the level",
    )

    def register(self, pair: Pair, machine: Machine) -> Registration:
        """Register ``pair``; the trace is the metric in each iteration.

        The tool computes the inverse from a root of the map.

        Raises:
            InputError: the grid is sheared; ITK cannot represent it.
            RegistrationError: greedy gave up, or returned displacements that are not finite.
        """
        if np.array_equal(pair.fixed.data, pair.moving.data):
            # The tool scales its first update to the length of a voxel. For equal images the update
            # is zero, and the field would be filled with NaN.
            return Registration(Affine(), Affine())
        from picsl_greedy import Greedy2D, Greedy3D

        grid, said = pair.fixed.grid, io.StringIO()
        tool, dimensions = (Greedy2D(), 2) if is_slice(grid) else (Greedy3D(), 3)
        images = {"fixed": _to_itk(pair.fixed), "moving": _to_itk(pair.moving)}
        try:
            tool.execute(
                self.command(machine.threads, dimensions),
                out=said,
                err=said,
                forward=None,
                inverse=None,
                **images,
            )
        except RuntimeError as error:
            raise RegistrationError(f"Greedy gave up ({_last_words(error)}).") from None
        forward, inverse = (
            _field_of(tool[name], grid, self.title) for name in ("forward", "inverse")
        )
        return Registration(forward, inverse, self._trace(tool.metric_log()))

    def command(self, threads: int, dimensions: int = 3) -> str:
        """Return the options of greedy's command line for images of 2 or 3 dimensions."""
        metric = (
            f"{self.metric} {'x'.join([str(self.radius)] * dimensions)} -noise 0"
            if self.metric == "NCC"
            else self.metric
        )
        schedule = "x".join(str(n) for n in self.iterations)
        smoothing = f"{self.gradient_sigma:g}vox {self.warp_sigma:g}vox"
        return (
            f"-d {dimensions} -V 0 -wp 0 -threads {threads} -i fixed moving -m {metric} "
            f"-n {schedule} -s {smoothing} -o forward -oinv inverse"
        )

    def _trace(self, log: list[dict[str, Any]]) -> tuple[dict[str, float], ...]:
        """Return the metric of every iteration as an energy, which falls.

        Greedy maximises its metrics, except ``SSD``, so their sign is changed.
        """
        sign = 1.0 if self.metric == "SSD" else -1.0
        rows = []
        for depth, level in enumerate(log):
            reduction = 2.0 ** (len(log) - 1 - depth)
            for value in level["TotalPerPixelMetric"]:
                rows.append({"level": reduction, "energy": sign * float(value)})
        return tuple(rows)


def _to_itk(image: Image) -> SimpleITK.Image:
    """Return ``image`` as SimpleITK has it: in LPS mm, or for a slice in plane coordinates, with
    the array axes reversed.

    Raises:
        InputError: the grid is sheared.
    """
    import SimpleITK

    flat = is_slice(image.grid)
    frame = plane_itk_frame(image.grid, "greedy") if flat else image.grid.itk_frame("greedy")
    itk = SimpleITK.GetImageFromArray((image.data[..., 0] if flat else image.data).T)
    itk.SetOrigin(frame.origin.tolist())
    itk.SetSpacing(frame.spacing.tolist())
    itk.SetDirection(frame.direction.ravel().tolist())
    return itk


def _field_of(displacements: SimpleITK.Image, grid: Grid, found_by: str) -> DisplacementField:
    """Return the map of an image of displacements, which are in LPS mm, or for a slice in plane
    coordinates.

    Raises:
        RegistrationError: a displacement is not finite.
    """
    import SimpleITK

    vectors = SimpleITK.GetArrayFromImage(displacements)
    if is_slice(grid):
        vectors = flip_ras_lps(vectors @ plane_frame(grid).matrix[:3, :2].T)[None]
    return field_of_itk(vectors, grid, found_by)


def _last_words(error: RuntimeError) -> str:
    """Return the last line of ITK's message; the lines before it name files of ITK's source."""
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    return lines[-1].removeprefix("ITK ERROR: ").rstrip(".") if lines else "without a reason"
