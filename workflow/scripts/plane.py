"""Register drawn shapes and a slice of a brain in the plane, and draw what was found."""

from pathlib import Path

from _failed import first_failure
from _job import job

with job(snakemake):
    import numpy as np

    from diffeode.datasets.shapes import PAIRS
    from diffeode.figures import slices
    from diffeode.figures.plane import BOUNDARY, REGULARISATION, plane_figure
    from diffeode.geometry.image import foreground
    from diffeode.registration import plane
    from diffeode.registration.runs import Run
    from diffeode.units.pair import PairUnit

    params, out = snakemake.params, snakemake.output

    def slice_of(image, mask_image):
        """The axial slice half way through the fixed brain, its front upwards."""
        data, _ = slices.canonical(image.data, image.grid)
        mask, _ = slices.canonical(foreground(mask_image), mask_image.grid)
        picture = slices.cut(data, slices.AXIAL, slices.middle(mask, slices.AXIAL))
        return np.rot90(slices.shade(picture, slices.window(data)))

    (receipt,) = params.units
    pictures = {}
    for name, (fixed_shape, moving_shape) in PAIRS.items():
        pictures[name] = fixed_shape(params.side), moving_shape(params.side)
    # a pair that could not be aligned has no slice, and the shapes are drawn without it
    if first_failure([receipt]) is None:
        unit = PairUnit(Path(receipt).parent)
        unit.require_intact()
        fixed, moving = unit.fixed(), unit.moving()
        pictures["slice of a brain"] = slice_of(fixed, fixed), slice_of(moving, fixed)

    def registered(pair, by):
        run = Run("in-the-plane", title="In the plane", **params.run)
        return plane.register_in_plane(run, *pair, by, params.seed)

    def compared(names, cases):
        return {
            f"{name}\n{case}": registered(pictures[name], by)
            for name in names
            for case, by in cases.items()
        }

    boundary = compared(pictures, plane.BORDERS)
    both = [name for name in ("star to cross", "slice of a brain") if name in pictures]
    regularisation = compared(both, plane.REGULARISATIONS)
    plane_figure(boundary, BOUNDARY, list(map(Path, out.boundary)))
    plane_figure(regularisation, REGULARISATION, list(map(Path, out.regularisation)))
