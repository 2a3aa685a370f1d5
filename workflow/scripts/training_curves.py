"""Draw how the training of one run went."""

from pathlib import Path

from _failed import first_failure
from _job import job

with job(snakemake):
    from diffeode.figures import style
    from diffeode.figures.training_curves import training_curves
    from diffeode.learning.method_training import CRITERION
    from diffeode.learning.training_files import CURVES
    from diffeode.provenance.receipt import require_intact

    receipt, title = snakemake.input[0], snakemake.params.title
    failure = first_failure([receipt])
    if failure is None:
        require_intact(receipt)
    outs = list(map(Path, snakemake.output))
    if failure is None:
        training_curves(Path(receipt).parent / CURVES, title, outs, CRITERION)
    else:
        style.say(outs, f"{title}\nfailed: {failure}")
