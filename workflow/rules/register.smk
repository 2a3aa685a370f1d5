"""This rule registers one pair with one run."""


include: "functions/register.smk"
include: "functions/storage.smk"


# The receipt is the only output: it lists warp, inverse_warp, warped and trace, which lie beside
# it. A registration that fails writes a receipt with the reason. The others go on, the tables show
# the failed one as missing, and rule verdict makes Snakemake fail in the end. Threads, GPU and the
# time limit (0: none) are resources and no params, because they change the time that a registration
# takes but not its result. Which files are kept is a resource too, because a change of it makes no
# registration again that holds what is kept.
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
        keep=keep_meanwhile,
    params:
        datasets=datasets_of,
        run=run_of,
        reads=reads_of,
        seed=STUDY.seed,
        fields=STUDY.fields,
        code=register_code,
    message:
        "registering {wildcards.experiment} {wildcards.pair} {wildcards.run}"
    script:
        "../scripts/register.py"
