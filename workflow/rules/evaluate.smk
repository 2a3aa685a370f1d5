"""These rules evaluate each registration, and collect the numbers in one tidy table."""


include: "functions/evaluate.smk"


rule evaluate:
    input:
        unpack(unit_receipts),
    output:
        METRICS,
    log:
        logs("evaluate", "{experiment}", "{pair}", "{run}"),
    benchmark:
        benchmarks("evaluate", "{experiment}", "{pair}", "{run}")
    threads: 1
    resources:
        mem_mb=3000,
        keep=keep_meanwhile,
    params:
        code=code("evaluate"),
    message:
        "evaluating {wildcards.experiment} {wildcards.pair} {wildcards.run}"
    script:
        "../scripts/evaluate.py"


rule collect:
    input:
        unit_metrics,
    output:
        COLLECTED,
    log:
        logs("collect", STUDY.name),
    benchmark:
        benchmarks("collect", STUDY.name)
    params:
        code=code("collect"),
    message:
        "collecting the metrics"
    script:
        "../scripts/collect.py"
