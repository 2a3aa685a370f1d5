"""This rule registers pairs and evaluates the registrations; another one collects the numbers."""


include: "functions/register.smk"
include: "functions/storage.smk"


localrules:
    one_registration,
    one_evaluation,


# One job registers a chunk of pairs with one run, one pair after the other, and evaluates each. The
# files of these units are no outputs, because Snakemake would remove finished ones when a chunk is
# tried again. A receipt lists the warp, inverse_warp, warped and trace that lie beside it. A
# registration that fails writes a receipt with the reason. The others go on, the tables show the
# failed one as missing, and rule verdict makes Snakemake fail in the end. Threads, GPU and the time
# limit (0: none) are resources and no params, because they change the time that a registration
# takes but not its result.
rule register:
    input:
        chunk_inputs,
        after=pairs_at_work,
    output:
        REGISTERED,
    log:
        logs("register", "{experiment}", "chunks", "{run}", "{chunk}"),
    benchmark:
        benchmarks("register", "{experiment}", "{run}", "{chunk}")
    conda:
        environment_of
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 6000 * attempt,
        runtime=lambda w, attempt: chunk_minutes(w) * attempt,
        gpu=lambda w: STUDY.gpus(w.run),
        time_limit_seconds=lambda w: round(60 * (STUDY.time_limit(w.run) or 0)),
        last_attempt=lambda w, attempt: int(attempt > INTERNALS.retries),
    params:
        work=chunk_work,
        run=run_of,
    message:
        "registering {wildcards.experiment} {wildcards.run} pairs {wildcards.chunk}"
    script:
        "../scripts/register.py"


# These two rules do nothing. They only let a user name one file of a unit as Snakemake's target.
rule one_registration:
    input:
        after=inspected(lambda w: chunks_at_work([REGISTRATION.format(**w)])),
    output:
        update(REGISTRATION),
    message:
        "{output} is there"


rule one_evaluation:
    input:
        after=inspected(lambda w: chunks_at_work([METRICS.format(**w)])),
    output:
        update(METRICS),
    message:
        "{output} is there"


rule collect:
    input:
        after=lambda w: chunks_at_work(unit_metrics()),
    output:
        COLLECTED,
    log:
        logs("collect", STUDY.name),
    benchmark:
        benchmarks("collect", STUDY.name)
    params:
        units=lambda w: unit_metrics(),
        code=code("collect"),
    message:
        "collecting the metrics"
    script:
        "../scripts/collect.py"
