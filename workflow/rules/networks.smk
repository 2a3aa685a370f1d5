"""From aligned pairs of persons who are not registered to the weights of the runs that are learned."""


include: "functions/networks.smk"


# Checkpoints lie beside the receipt and are no outputs, so a training that was stopped goes on from
# the last of them.
rule train:
    input:
        unpack(network_inputs),
    output:
        NETWORK,
    log:
        logs("train", "{train_on}", "{run}"),
    benchmark:
        benchmarks("train", "{train_on}", "{run}")
    wildcard_constraints:
        train_on=one_of([e.name for e in STUDY.trainings] or ["none"]),
    threads: 1
    resources:
        mem_mb=lambda w, attempt: 6000 * attempt,
        gpu=lambda w: STUDY.gpus(w.run),
    params:
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
            labels={"figure": "{run}", "trained on": "{train_on}"},
        ),
        f"{NETWORK_CURVES}.png",
    log:
        logs("training_curves", STUDY.name, "{train_on}", "{run}"),
    params:
        title=curves_title,
        code=code("training_curves"),
    message:
        "drawing the training of {wildcards.run} on {wildcards.train_on}"
    script:
        "../scripts/training_curves.py"
