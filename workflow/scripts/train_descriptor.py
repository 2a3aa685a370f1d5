"""Train a descriptor as its file says, going on from the last checkpoint where there is one."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.figures.training_curves import training_curves
    from diffeode.learning.descriptor.material import read_training, train_descriptor
    from diffeode.learning.descriptor.prepared import PreparedScan, train_on_prepared
    from diffeode.learning.loop import remove_checkpoints
    from diffeode.learning.training_files import CURVES
    from diffeode.process.threads import use_threads

    use_threads(snakemake.threads)
    description, weights = Path(snakemake.input.description), Path(snakemake.output.weights)
    device = "cuda" if snakemake.resources.get("gpu", 0) else "cpu"
    if snakemake.params.prepared:
        receipts = zip(snakemake.input.scans, snakemake.params.prepared, strict=True)
        scans = [PreparedScan(Path(receipt).parent, *about) for receipt, about in receipts]
        train_on_prepared(description, scans, weights.parent, device)
    else:
        train_descriptor(description, Path(snakemake.params.data), weights.parent, device)
    curves = weights.with_name(CURVES)
    criterion = read_training(description).settings.criterion
    training_curves(curves, description.stem, Path(snakemake.output.curves), criterion)
    remove_checkpoints(weights.parent)
