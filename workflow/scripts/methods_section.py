"""Write what was done in the study, with which programs and versions, and what to cite."""

from _job import job

with job(snakemake):
    from importlib import metadata

    from diffeode.files.io import write_text
    from diffeode.provenance.receipt import read_receipt
    from diffeode.study.methods_section import as_html, as_markdown, methods_section

    facts = snakemake.params.facts
    sections = methods_section(
        facts, list(map(read_receipt, snakemake.params.receipts)), metadata.version("snakemake")
    )
    title = f"{facts['title']}: methods"
    write_text(snakemake.output.text, as_markdown(title, sections))
    write_text(snakemake.output.page, as_html(title, sections))
