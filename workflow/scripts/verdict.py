"""Fail where a registration failed."""

from pathlib import Path

from _job import job

# every run that makes anything looks for failures again
with job(snakemake, recorded=False):
    from diffeode.errors import RegistrationError
    from diffeode.io import write_text

    table = snakemake.input.failures
    failed = len(Path(table).read_text(encoding="utf-8").splitlines()) - 1
    planned = snakemake.params.registrations
    if failed:
        raise RegistrationError(f"{failed} of {planned} registrations failed: the reasons are in {table}")
    write_text(snakemake.output[0], f"{planned} of {planned} registrations succeeded.\n")
