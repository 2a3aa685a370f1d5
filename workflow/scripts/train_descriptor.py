"""Train a descriptor as its file says."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.descriptors.learning.material import read_training, train_descriptor
    from diffeode.figures.training_curves import training_curves
    from diffeode.threads import use_threads
    from diffeode.training.loop import CURVES

    use_threads(snakemake.threads)
    description, folder = Path(snakemake.input.description), Path(snakemake.output.weights).parent
    device = "cuda" if snakemake.resources.get("gpu", 0) else "cpu"
    train_descriptor(description, Path(snakemake.params.data), folder, device)
    criterion = read_training(description).settings.criterion
    training_curves(folder / CURVES, description.stem, Path(snakemake.output.curves), criterion)
