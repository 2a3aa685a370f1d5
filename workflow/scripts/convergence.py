"""Draw the energy of every run on one pair."""

from pathlib import Path

from _job import job

with job(snakemake):
    from diffeode.figures.convergence import convergence
    from diffeode.units.registration import RegistrationUnit

    units = [RegistrationUnit(Path(receipt).parent) for receipt in snakemake.params.units]
    done = [unit for unit in units if unit.require_intact()["status"] == "done"]
    traces = {unit.folder.name: unit.kept(unit.trace_file) for unit in done}
    look, outs = snakemake.params.look, list(map(Path, snakemake.output))
    convergence(traces, look["titles"], snakemake.params.title, outs, look["ours"])
