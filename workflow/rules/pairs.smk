"""From prepared scans to aligned pairs."""


localrules:
    draw_pairs,


# What is written down here is read when the next run starts, and the pairs in it are drawn again before any new ones.
# So it is never removed, only replaced: jobs on a cluster read it while this one works.
rule draw_pairs:
    """The pairs that the study's file stands for, written down."""
    input:
        mended(lambda w: []),
    output:
        update(PAIRS),
    log:
        f"{LOGS}/draw_pairs/{{experiment}}.log",
    conda:
        ENVIRONMENT
    params:
        pairs=pair_rows,
        code=code("draw_pairs"),
    message:
        "writing down the pairs of {wildcards.experiment}"
    script:
        "../scripts/draw_pairs.py"


rule align:
    input:
        mended(pair_scans),
    output:
        PAIR,
    log:
        f"{LOGS}/align/{{experiment}}/{{pair}}.log",
    benchmark:
        f"{BENCHMARKS}/align/{{experiment}}/{{pair}}.tsv"
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=3000,
    params:
        datasets=datasets_of,
        alignment=alignment,
        code=code("align"),
    message:
        "aligning {wildcards.experiment} {wildcards.pair}"
    script:
        "../scripts/align.py"
