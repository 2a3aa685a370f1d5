"""Looking at how scans were prepared: numbers and a picture each, a page for each dataset."""


rule inspect_scan:
    input:
        unpack(mended(to_inspect)),
        table=mended(label_table_of),
    output:
        numbers=NUMBERS,
        picture=PICTURE,
    log:
        f"{LOGS}/inspect_scan/{{dataset}}/{{scan}}.log",
    benchmark:
        f"{BENCHMARKS}/inspect_scan/{{dataset}}/{{scan}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=3000,
    params:
        scan=lambda w: image_fields(scan_of(w)),
        choices=step_params("template"),
        code=inspection_code,
    message:
        "looking at {wildcards.dataset} {wildcards.scan}"
    script:
        "../scripts/inspect_scan.py"


rule quality:
    input:
        unpack(mended(to_gather)),
    output:
        page=QUALITY,
        table=f"{STUDIED}/quality/{{dataset}}/preparation.tsv",
    log:
        f"{LOGS}/quality/{STUDY.name}/{{dataset}}.log",
    conda:
        ENVIRONMENT
    params:
        adults=lambda w: STUDY.datasets()[w.dataset].recipe.places,
        caption=quality_caption,
        code=code("quality", "diffeode.statistics.preparation"),
    message:
        "gathering what was seen of {wildcards.dataset}"
    script:
        "../scripts/quality.py"
