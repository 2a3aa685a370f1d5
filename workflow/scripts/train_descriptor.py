"""Train a descriptor as its file says, going on from the last checkpoint where there is one."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.descriptors.learning.material import lesson_from, read_training
    from diffeode.figures.training_curves import training_curves
    from diffeode.threads import use_threads
    from diffeode.training.loop import CURVES, remove_checkpoints, take_out, train_by_content

    use_threads(snakemake.threads)
    description, weights = Path(snakemake.input.description), Path(snakemake.output.weights)
    training = read_training(description)
    lesson = lesson_from(training, Path(snakemake.params.data))
    device = "cuda" if snakemake.resources.get("gpu", 0) else "cpu"
    take_out(train_by_content(lesson, training.settings, weights.parent, device), weights)
    curves = weights.with_name(CURVES)
    training_curves(curves, description.stem, Path(snakemake.output.curves), training.settings.criterion)
    remove_checkpoints(weights.parent)
