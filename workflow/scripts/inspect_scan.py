"""Measure and draw how one scan was prepared."""

from pathlib import Path

from _failed import first_failure
from _job import job
from _scan import scan_from

with job(snakemake):
    import pandas as pd

    from diffeode.evaluation.preparation import PreparedScan, measure, without_numbers
    from diffeode.figures import style
    from diffeode.figures.preparation import preparation_picture
    from diffeode.files.io import written_whole
    from diffeode.files.presence import why_no_file
    from diffeode.prepare.template import chosen_template
    from diffeode.units.scan import ScanUnit

    scan, template = scan_from(snakemake.params.scan), snakemake.params.choices["template"]
    out, given = snakemake.output, snakemake.input
    failure = first_failure([given.prepared]) or why_no_file(scan.image, "scan")

    def write(row):
        with written_whole(out.numbers) as temporary:
            pd.DataFrame([row]).to_csv(temporary, sep="\t", index=False)

    def look_at_it():
        prepared = PreparedScan(
            name=scan.id,
            modality=scan.modality,
            scan=scan.image,
            orientation=scan.orientation,
            folder=Path(given.prepared).parent,
            labels=labels_of_it(),
            label_table=Path(given.table[0]) if given.table else None,
        )
        references = {}
        if template != "none":
            references = chosen_template(template).on(prepared.image().grid)
        write(measure(prepared, references))
        preparation_picture(prepared, references, Path(out.picture))

    def labels_of_it():
        if not given.get("labels") or first_failure([given.labels]) is not None:
            return None
        file = ScanUnit(Path(given.labels).parent).labels_file
        return file if file.is_file() else None

    if failure is None:
        look_at_it()
    else:
        write(without_numbers(scan.id, scan.modality, failure))
        style.say(Path(out.picture), f"{scan.id}\nno picture: {failure}")
