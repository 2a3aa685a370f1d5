"""What the study hands to its user, and whether all went well."""


report: "../report/workflow.rst"


localrules:
    all,
    verdict,


# fails where a registration failed, after everything else is done, so that the exit code tells
rule verdict:
    input:
        failures=f"{TABLES}/failures.tsv",
        others=mended(everything),
    output:
        VERDICT,
    log:
        f"{LOGS}/verdict/{STUDY.name}.log",
    conda:
        ENVIRONMENT
    params:
        registrations=len(UNITS),
        code=code("verdict"),
    message:
        "looking for failures"
    script:
        "../scripts/verdict.py"
