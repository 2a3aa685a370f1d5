"""Measure and draw how one scan was prepared."""

from pathlib import Path

from _job import job
from _scan import scan_from

with job(snakemake):
    import pandas as pd

    from diffeode.evaluation.preparation import PreparedScan, measure
    from diffeode.figures.preparation import preparation_picture
    from diffeode.files.io import written_whole
    from diffeode.prepare.template import chosen_template
    from diffeode.units.scan import ScanUnit

    scan, template = scan_from(snakemake.params.scan), snakemake.params.choices["template"]
    labels = (
        ScanUnit(Path(snakemake.input.labels).parent).labels_file
        if snakemake.input.get("labels")
        else None
    )
    prepared = PreparedScan(
        name=scan.id,
        modality=scan.modality,
        scan=scan.image,
        orientation=scan.orientation,
        folder=Path(snakemake.input.prepared).parent,
        labels=labels if labels and labels.is_file() else None,
        label_table=Path(snakemake.input.table[0]) if snakemake.input.table else None,
    )
    references = {} if template == "none" else chosen_template(template).on(prepared.image().grid)
    with written_whole(snakemake.output.numbers) as temporary:
        pd.DataFrame([measure(prepared, references)]).to_csv(temporary, sep="\t", index=False)
    preparation_picture(prepared, references, Path(snakemake.output.picture))
