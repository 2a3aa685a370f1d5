"""Register drawn shapes and a slice of a brain in the plane, and draw what was found."""

from pathlib import Path

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

    unit = PairUnit(Path(snakemake.input.pair).parent)
    fixed, moving = unit.fixed(), unit.moving()
    pictures = {name: tuple(part(params.side) for part in pair) for name, pair in PAIRS.items()}
    brain = slice_of(fixed, fixed), slice_of(moving, fixed)
    pictures["slice of a brain"] = brain

    def registered(pair, by):
        run = Run("in-the-plane", title="In the plane", **params.run)
        return plane.register_in_plane(run, *pair, by, params.seed)

    borders = {"free border": plane.FREE, "fixed border": plane.FIXED}
    boundary = {
        f"{name}\n{border}": registered(pair, by)
        for name, pair in pictures.items()
        for border, by in borders.items()
    }
    cases = {
        "kernel, |J| term": {},
        "kernel alone": plane.WITHOUT_JACOBIAN,
        "|J| term alone": plane.WITHOUT_KERNEL,
        "neither": {**plane.WITHOUT_KERNEL, **plane.WITHOUT_JACOBIAN},
    }
    regularisation = {
        f"{name}\n{case}": registered(pictures[name], by)
        for name in ("star to cross", "slice of a brain")
        for case, by in cases.items()
    }
    for file in out.boundary:
        plane_figure(boundary, BOUNDARY, Path(file))
    for file in out.regularisation:
        plane_figure(regularisation, REGULARISATION, Path(file))
