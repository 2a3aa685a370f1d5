"""Register the pairs of one chunk with one run, one after the other, and evaluate each.

Units that are up to date are left alone, so that a job which is tried again, or in which one pair
is new, does only what is missing.
"""

from _job import job

with job(snakemake, on_record=False) as say:
    from _chunk import work_through
    from _registration_unit import RegisteredPair, import_ahead

    units = [RegisteredPair(entry, snakemake) for entry in snakemake.params.work]
    if any(unit.begins_anew for unit in units):
        import_ahead(snakemake.params.run)
    work_through(units, say, snakemake.output[0])
