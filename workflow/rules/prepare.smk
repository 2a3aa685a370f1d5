"""From scans to prepared scans."""


rule cohort:
    """A virtual cohort: nobody was scanned."""
    input:
        mended(lambda w: []),
    output:
        SOURCE,
    log:
        f"{LOGS}/cohort/{{dataset}}.log",
    benchmark:
        f"{BENCHMARKS}/cohort/{{dataset}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
    params:
        cohort=lambda w: STUDY.datasets()[w.dataset].cohort,
        code=code("cohort", "diffeode.datasets.virtual"),
    message:
        "making the cohort {wildcards.dataset}"
    script:
        "../scripts/cohort.py"


rule prepare:
    input:
        mended(scan_files),
    output:
        PREPARED,
    log:
        f"{LOGS}/prepare/{{dataset}}/{{scan}}.log",
    benchmark:
        f"{BENCHMARKS}/prepare/{{dataset}}/{{scan}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=2000,
    params:
        scan=scan_fields,
        recipe=lambda w: STUDY.datasets()[w.dataset].prepare,
        seed=STUDY.seed,
        code=code("prepare", "diffeode.prepare.scan"),
    message:
        "preparing {wildcards.dataset} {wildcards.scan}"
    script:
        "../scripts/prepare.py"
