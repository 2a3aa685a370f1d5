"""Align the pairs of one chunk, one after the other; those that are up to date are left alone."""

from _job import job

with job(snakemake, on_record=False) as say:
    from _alignment_unit import AlignedPair, import_ahead
    from _chunk import work_through

    units = [AlignedPair(entry, snakemake) for entry in snakemake.params.work]
    import_ahead(units)
    work_through(units, say, snakemake.output[0])
