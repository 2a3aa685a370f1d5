"""Register the pairs of one chunk with one run, one after the other, and evaluate each.

Units that are up to date are left alone, so that a job which is tried again, or in which one pair
is new, does only what is missing.
"""

from itertools import pairwise

from _job import job

with job(snakemake, on_record=False) as say:
    from _chunk import Unit, import_ahead, require_all_done, write_done

    given = snakemake.params
    names = {"experiment": snakemake.wildcards.experiment, "run": snakemake.wildcards.run}
    units = [Unit(entry, names, snakemake) for entry in given.work]
    waiting = [unit for unit in units if unit.is_to_be_registered]
    if waiting:
        import_ahead(given.run)
    following = dict(pairwise(waiting))
    for unit in units:
        unit.work(say, following.get(unit))
    require_all_done(units)
    write_done(units, snakemake.output[0])
