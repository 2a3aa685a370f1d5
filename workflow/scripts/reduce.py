"""Remove what the study does not keep of its registrations, and list what stays."""

from pathlib import Path

from _job import job

with job(snakemake) as say:
    import pandas as pd

    from diffeode.files.io import write_text
    from diffeode.units.registration import RegistrationUnit

    freed, rows = 0, []
    for names, receipt in zip(snakemake.params.names, snakemake.params.units, strict=True):
        unit = RegistrationUnit(Path(receipt).parent)
        freed += unit.reduce(snakemake.params.keep)
        there = [file for file in unit.files if file.is_file()]
        size = sum(file.stat().st_size for file in there)
        rows.append([*names, " ".join(file.name for file in there), size])
    table = pd.DataFrame(rows, columns=["experiment", "pair", "run", "files", "bytes"])
    write_text(snakemake.output[0], table.to_csv(sep="\t", index=False, lineterminator="\n"))
    if freed:
        say(f"removed {freed / 1e6:.1f} MB (keep: {snakemake.params.keep})")
