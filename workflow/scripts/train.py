"""Train one run, going on from the last checkpoint where there is one."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.learning.method_training import train_to_folder
    from diffeode.learning.pairs import TrainingPair
    from diffeode.registration.base import Machine
    from diffeode.registration.runs import Run

    given = snakemake.input
    units = (snakemake.params.units, given.fixed_labels, given.moving_labels)
    pairs = [
        TrainingPair(Path(pair).parent, *persons, Path(fixed).parent, Path(moving).parent)
        for pair, fixed, moving, persons in zip(*units, snakemake.params.persons, strict=True)
    ]
    machine = Machine(
        threads=snakemake.threads,
        seed=snakemake.params.seed,
        device="cuda" if snakemake.resources.get("gpu", 0) else "cpu",
    )
    run = Run(snakemake.wildcards.run, title=snakemake.wildcards.run, **snakemake.params.run)
    train_to_folder(
        run, pairs, Path(snakemake.output[0]).parent, machine, dict(snakemake.wildcards.items())
    )
