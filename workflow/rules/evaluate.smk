"""From registrations to numbers: a table per unit, and one tidy table per study."""


rule evaluate:
    input:
        unpack(mended(unit_receipts)),
    output:
        METRICS,
    log:
        f"{LOGS}/evaluate/{{experiment}}/{{pair}}/{{run}}.log",
    benchmark:
        f"{BENCHMARKS}/evaluate/{{experiment}}/{{pair}}/{{run}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=3000,
    params:
        code=code("evaluate"),
    message:
        "evaluating {wildcards.experiment} {wildcards.pair} {wildcards.run}"
    script:
        "../scripts/evaluate.py"


rule collect:
    input:
        mended(unit_metrics),
    output:
        COLLECTED,
    log:
        f"{LOGS}/collect/{STUDY.name}.log",
    benchmark:
        f"{BENCHMARKS}/collect/{STUDY.name}.tsv"
    conda:
        ENVIRONMENT
    params:
        code=code("collect"),
    message:
        "collecting the metrics"
    script:
        "../scripts/collect.py"
