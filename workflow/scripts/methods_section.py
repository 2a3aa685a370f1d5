"""Write what was done in the study, with which programs and versions, and what to cite."""

from _job import job

with job(snakemake):
    from importlib import metadata

    from diffeode.files.io import write_text
    from diffeode.provenance.receipt import read_receipt
    from diffeode.statistics.tidy import mean_dice, read_tidy
    from diffeode.study.bibliography import read_bibliography
    from diffeode.study.methods_section import (
        as_html,
        as_markdown,
        cited_entries,
        methods_section,
    )

    facts, out = snakemake.params.facts, snakemake.output
    has_dice = not mean_dice(read_tidy(snakemake.input.metrics)).empty
    facts = {**facts, "has_labels": facts["has_labels"] and has_dice}
    known = read_bibliography(snakemake.input.bibliography)
    receipts = list(map(read_receipt, snakemake.params.receipts))
    told = (facts, receipts, metadata.version("snakemake"), known)
    sections = methods_section(*told)
    title = f"{facts['title']}: methods"
    write_text(out.text, as_markdown(title, sections))
    write_text(out.page, as_html(title, sections))
    write_text(out.bibliography, "\n\n".join(entry.text for entry in cited_entries(*told)) + "\n")
