"""Write accuracy, folds and number of parameters by the representation of the velocity."""

import math
from pathlib import Path

from _failed import first_failure
from _job import job

with job(snakemake):
    import pandas as pd

    from diffeode.geometry.image import foreground
    from diffeode.methods.neural_ode.motion import model_size
    from diffeode.methods.neural_ode.velocity import representation
    from diffeode.registration.base import Pair
    from diffeode.registration.runs import Run
    from diffeode.statistics.export import write_page, write_table
    from diffeode.statistics.reported import read_reported
    from diffeode.statistics.summary import summarise
    from diffeode.statistics.sweep import sources_of
    from diffeode.statistics.tables import BOLD, models
    from diffeode.statistics.tidy import read_tidy
    from diffeode.units.pair import PairUnit

    params, out = snakemake.params, snakemake.output
    # of a pair that could not be aligned
    UNKNOWN = {"parameters": math.nan, "parameters_per_voxel": math.nan}
    metrics, reported = read_tidy(snakemake.input.metrics), read_reported(snakemake.input.reported)

    def sizes_on(receipt):
        """A row for each run, of the pair in the folder of ``receipt``."""
        unit = PairUnit(Path(receipt).parent)
        pair = aligned(unit) if first_failure([receipt]) is None else None
        for name, about in params.runs.items():
            method = Run(name, title=name, **about).build()
            yield {
                "experiment": unit.folder.parent.name,
                "run": name,
                "velocity": representation(method.velocity),
                "steps": method.flow.steps,
                **(counted(method, pair) if pair else UNKNOWN),
            }

    def aligned(unit):
        unit.require_intact()
        fixed, moving = unit.fixed(), unit.moving()
        return Pair(fixed, moving, foreground(fixed), foreground(moving))

    def counted(method, pair):
        size = model_size(method, pair)
        return {
            "parameters": size.parameters,
            "parameters_per_voxel": size.parameters / size.voxels,
        }

    sizes = pd.DataFrame([row for receipt in params.units for row in sizes_on(receipt)])
    summary = summarise(metrics)
    shown = models(summary, sizes, params.look["titles"], params.look["experiments"], reported)
    caption = params.caption
    if any(name.startswith("reported") for name in shown):
        caption += f" Columns called reported: {sources_of(reported, ('velocity', 'steps'))}."
    numbers = sizes.merge(summary, on=["experiment", "run"], how="left")
    write_table(numbers, Path(out.table[0]).with_suffix(""), caption, BOLD, shown)
    write_page(shown, Path(out.page), caption, BOLD)
