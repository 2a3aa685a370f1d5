"""Register the visits of virtual persons who age, in every way, and measure the maps."""

from _job import job

with job(snakemake):
    from diffeode.longitudinal.design import Design
    from diffeode.longitudinal.measures import rows_of
    from diffeode.longitudinal.person import person_of
    from diffeode.longitudinal.ways import WAYS
    from diffeode.process.threads import use_threads
    from diffeode.statistics.longitudinal import write_visits

    use_threads(snakemake.threads)
    design = Design.of(snakemake.params.design)
    rows = []
    for number in design.persons:
        person = person_of(number, design)
        for way in WAYS:
            print(f"person {number}, {way}", flush=True)
            rows += [{"person": number, "way": way, **row} for row in rows_of(person, way, design)]
    write_visits(snakemake.output[0], rows)
