"""These rules write down the drawn pairs and align them."""


include: "functions/chunks.smk"
include: "functions/pairs.smk"


localrules:
    draw_pairs,
    one_pair,


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


# One job aligns a chunk of pairs. As with registrations (rule register), the receipts of pairs are no
# outputs, so that Snakemake does not remove finished ones when a chunk is tried again. A pair that
# cannot be aligned has a receipt with the reason; its registrations fail, and the others go on.
rule align:
    input:
        scans_of_chunk,
    output:
        ALIGNED,
    log:
        logs("align", "{experiment}", "chunks", "{chunk}"),
    benchmark:
        benchmarks("align", "{experiment}", "chunks", "{chunk}")
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 3000 * attempt,
        runtime=lambda w, attempt: aligning_minutes(w) * attempt,
        last_attempt=lambda w, attempt: int(attempt > INTERNALS.retries),
    params:
        work=alignments_of_chunk,
    message:
        "aligning {wildcards.experiment} pairs {wildcards.chunk}"
    script:
        "../scripts/align.py"


# This rule does nothing. It only lets a user name a pair as Snakemake's target.
rule one_pair:
    input:
        after=inspected(lambda w: chunks_at_work([PAIR.format(**w)])),
    output:
        update(PAIR),
    message:
        "{output} is there"
