"""These rules train the networks of trained methods, on pairs of persons who are not registered."""


include: "functions/networks.smk"


# A training that fails writes a receipt with the reason, and so do the registrations of its run.
# Checkpoints lie beside the receipt. They are no outputs, so Snakemake does not remove them and a
# training that was stopped continues from the last one.
rule train:
    input:
        unpack(network_inputs),
        after=lambda w: chunks_at_work(pair_receipts(w)),
    output:
        NETWORK,
    log:
        logs("train", "{train_on}", "{run}"),
    benchmark:
        benchmarks("train", "{train_on}", "{run}")
    wildcard_constraints:
        train_on=one_of([e.name for e in STUDY.trainings] or ["none"]),
    priority: LONG
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 6000 * attempt,
        last_attempt=lambda w, attempt: int(attempt > INTERNALS.retries),
        gpu=lambda w: STUDY.gpus(w.run),
    params:
        units=pair_receipts,
        run=run_of,
        persons=trained_persons,
        seed=STUDY.seed,
        code=train_code,
    message:
        "training {wildcards.run} on {wildcards.train_on}"
    script:
        "../scripts/train.py"


rule training_curves:
    input:
        network_of,
    output:
        report(
            f"{NETWORK_CURVES}.svg",
            caption="../report/training_curves.rst",
            category="4 Training",
            labels={"shows": "{run}", "trained on": "{train_on}"},
        ),
        other_kinds(NETWORK_CURVES),
    log:
        logs("training_curves", STUDY.name, "{train_on}", "{run}"),
    params:
        title=curves_title,
        code=code("training_curves"),
    message:
        "drawing the training of {wildcards.run} on {wildcards.train_on}"
    script:
        "../scripts/training_curves.py"
