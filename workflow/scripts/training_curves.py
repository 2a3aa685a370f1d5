"""Draw how the training of one run went."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.figures.training_curves import training_curves
    from diffeode.learning.method_training import CRITERION
    from diffeode.learning.training_files import CURVES
    from diffeode.provenance.receipt import require_intact

    require_intact(snakemake.input[0])
    for out in snakemake.output:
        training_curves(
            Path(snakemake.input[0]).parent / CURVES,
            snakemake.params.title,
            Path(out),
            CRITERION,
        )
