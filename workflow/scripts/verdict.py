"""Fail where a registration failed or a scan cannot be used; say how many registrations are
suspect, and in a strict study fail for these too.
"""

import csv
from pathlib import Path

from _job import job

with job(snakemake) as say:
    from diffeode.errors import RegistrationError
    from diffeode.files.io import write_text

    def rows_of(table):
        return len(Path(table).read_text(encoding="utf-8").splitlines()) - 1

    given, planned = snakemake.input, snakemake.params.registrations
    failed, suspect = rows_of(given.failures), rows_of(given.suspects)
    with open(given.unusable_scans, newline="", encoding="utf-8") as file:
        unusable = list(csv.DictReader(file, delimiter="\t"))
    lacking = [row for row in unusable if row["step"] in snakemake.params.steps_for_metrics]
    sentences = []
    for rows, what in (
        ([row for row in unusable if row not in lacking], "could not be used"),
        (lacking, "had no usable labels or landmarks"),
    ):
        if count := len({(row["dataset"], row["scan"]) for row in rows}):
            scans = "1 scan" if count == 1 else f"{count} scans"
            sentences.append(f"{scans} {what}: the reasons are in {given.unusable_scans}")
    if failed:
        sentences.append(
            f"{failed} of {planned} registrations failed: the reasons are in {given.failures}"
        )
    if suspect:
        sentences.append(
            f"{suspect} of {planned} registrations are suspect: the reasons are in {given.suspects}"
        )
    if failed or unusable or (suspect and snakemake.params.strict):
        raise RegistrationError("; ".join(sentences))
    for sentence in sentences:
        say(sentence)
    text = [
        f"{planned} of {planned} registrations succeeded.",
        *(f"{sentence}." for sentence in sentences),
    ]
    write_text(snakemake.output[0], "".join(f"{line}\n" for line in text))
