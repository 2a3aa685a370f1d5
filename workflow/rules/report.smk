"""What the study hands to its user, and whether all went well."""

from diffeode.study.methods_section import facts_of


report: "../report/workflow.rst"


localrules:
    all,
    verdict,


# the table of numbers is newer than every receipt; a thousand receipts as inputs would slow each
# start of Snakemake
rule methods_section:
    input:
        unpack(numbers_and_bibliography),
    output:
        text=f"{STUDIED}/methods.md",
        bibliography=f"{STUDIED}/references.bib",
        page=report(
            f"{STUDIED}/methods.html",
            caption="../report/methods_section.rst",
            category="5 Methods",
            labels={"figure": "What was done, what to cite"},
        ),
    log:
        logs("methods_section", STUDY.name),
    params:
        facts=facts_of(STUDY),
        receipts=receipts(),
        code=code("methods_section"),
    message:
        "writing what was done and what to cite"
    script:
        "../scripts/methods_section.py"


# fails where a registration failed, or in a strict study is suspect, after everything else is done,
# so that the exit code tells
rule verdict:
    input:
        failures=lambda w: f"{TABLES}/failures.tsv",
        suspects=lambda w: f"{TABLES}/suspects.tsv",
        others=everything,
    output:
        VERDICT,
    log:
        logs("verdict", STUDY.name),
    params:
        registrations=len(UNITS),
        strict=STUDY.strict,
        code=code("verdict"),
    message:
        "looking for failures and suspects"
    script:
        "../scripts/verdict.py"
