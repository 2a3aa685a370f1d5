"""These rules write the methods section and the verdict on the study."""

from diffeode.study.methods_section import facts_of
from diffeode.study.unusable import STEPS_FOR_METRICS


report: "../report/workflow.rst"


localrules:
    all,
    verdict,


# The input is the table of metrics, which is newer than every receipt: a thousand receipts as
# inputs would slow down each start of Snakemake.
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
            labels={"shows": "What was done, what to cite"},
        ),
    log:
        logs("methods_section", STUDY.name),
    params:
        # functions, so that a process that runs one job does not list all registrations
        facts=lambda w: facts_of(STUDY),
        receipts=lambda w: receipts(),
        code=code("methods_section"),
    message:
        "writing what was done and what to cite"
    script:
        "../scripts/methods_section.py"


# This rule fails where a registration failed or a scan cannot be used, and in a strict study where a
# registration is suspect. It runs last, so that everything else is made and the exit code still
# shows the failure.
rule verdict:
    input:
        failures=lambda w: f"{TABLES}/failures.tsv",
        suspects=lambda w: f"{TABLES}/suspects.tsv",
        unusable_scans=lambda w: f"{TABLES}/unusable_scans.tsv",
        others=everything,
    output:
        VERDICT,
    log:
        logs("verdict", STUDY.name),
    params:
        registrations=lambda w: len(run_units()),
        strict=STUDY.strict,
        steps_for_metrics=STEPS_FOR_METRICS,
        code=code("verdict"),
    message:
        "looking for failures and suspects"
    script:
        "../scripts/verdict.py"
