"""The unit of the study: one pair, one run."""


include: "functions/register.smk"


# The receipt stands for warp, inverse_warp, warped and trace beside it. A registration that fails
# writes a receipt that says so: the others go on, the tables show it as missing, and rule verdict
# makes Snakemake fail in the end. threads, gpu and the time limit (0: none) are no params: they may
# change the time, never which results are up to date.
rule register:
    input:
        unpack(registered),
    output:
        REGISTRATION,
    log:
        logs("register", "{experiment}", "{pair}", "{run}"),
    benchmark:
        benchmarks("register", "{experiment}", "{pair}", "{run}")
    conda:
        environment_of
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 6000 * attempt,
        gpu=lambda w: STUDY.gpus(w.run),
        time_limit_seconds=lambda w: round(60 * (STUDY.time_limit(w.run) or 0)),
    params:
        datasets=datasets_of,
        run=run_of,
        reads=reads_of,
        seed=STUDY.seed,
        code=register_code,
    message:
        "registering {wildcards.experiment} {wildcards.pair} {wildcards.run}"
    script:
        "../scripts/register.py"
