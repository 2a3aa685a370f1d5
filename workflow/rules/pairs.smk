"""These rules write down the drawn pairs and align them."""


include: "functions/pairs.smk"


localrules:
    draw_pairs,


# The next run reads this table and draws its pairs again before any new ones. So the table is never
# removed, only replaced: jobs on a cluster read it while this job works.
rule draw_pairs:
    """Write down the pairs that were drawn for an experiment."""
    input:
        # this function reads no file, but Snakemake calls it, so existing results are checked first
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
        mem_mb=lambda w, attempt: 3000 * attempt,
    params:
        datasets=datasets_of,
        alignment=alignment,
        code=code("align"),
    message:
        "aligning {wildcards.experiment} {wildcards.pair}"
    script:
        "../scripts/align.py"
