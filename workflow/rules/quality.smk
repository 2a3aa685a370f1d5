"""These rules measure and draw how scans were prepared, and make a page for each dataset."""


include: "functions/quality.smk"


rule inspect_scan:
    input:
        unpack(to_inspect),
        table=label_table_of,
    output:
        numbers=NUMBERS,
        picture=PICTURE,
    log:
        logs("inspect_scan", "{dataset}", "{scan}"),
    benchmark:
        benchmarks("inspect_scan", "{dataset}", "{scan}")
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 3000 * attempt,
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
        unpack(to_gather),
    output:
        page=QUALITY,
        table=f"{STUDIED}/quality/{{dataset}}/preparation.tsv",
    log:
        logs("quality", STUDY.name, "{dataset}"),
    params:
        adults=lambda w: STUDY.datasets()[w.dataset].recipe.places,
        caption=quality_caption,
        code=code("quality"),
    message:
        "gathering what was seen of {wildcards.dataset}"
    script:
        "../scripts/quality.py"
