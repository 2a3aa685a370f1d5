"""From prepared scans to aligned pairs."""


include: "functions/pairs.smk"


localrules:
    draw_pairs,


# What is written down here is read when the next run starts, and the pairs in it are drawn again
# before any new ones. So it is never removed, only replaced: jobs on a cluster read it while this
# one works.
rule draw_pairs:
    """The pairs that the study's file stands for, written down."""
    input:
        # it reads no file, but what is there is looked at first
        lambda w: [],
    output:
        update(PAIRS),
    log:
        logs("draw_pairs", "{experiment}"),
    params:
        pairs=pair_rows,
        code=code("draw_pairs"),
    message:
        "writing down the pairs of {wildcards.experiment}"
    script:
        "../scripts/draw_pairs.py"


rule align:
    input:
        pair_scans,
    output:
        PAIR,
    log:
        logs("align", "{experiment}", "{pair}"),
    benchmark:
        benchmarks("align", "{experiment}", "{pair}")
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
