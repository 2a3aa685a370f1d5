"""From aligned pairs of persons who are not registered to the weights of the runs that are learned."""


include: "functions/train_methods.smk"


# Checkpoints lie beside the receipt and are no outputs, so a training that was stopped goes on from
# the last of them.
rule train:
    input:
        unpack(trained_on),
    output:
        TRAINED,
    log:
        logs("train", "{training}", "{run}"),
    benchmark:
        benchmarks("train", "{training}", "{run}")
    wildcard_constraints:
        training=one_of([STUDY.training.name] if STUDY.training else ["none"]),
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
        "training {wildcards.run} on {wildcards.training}"
    script:
        "../scripts/train.py"


rule training_curves:
    input:
        lambda w: trainings(w.run),
    output:
        report(
            f"{TRAINING_CURVES}.svg",
            caption="../report/training_curves.rst",
            category="4 Training",
            labels={"figure": "{run}"},
        ),
        other_kinds(TRAINING_CURVES),
    log:
        logs("training_curves", STUDY.name, "{run}"),
    params:
        title=lambda w: f"{STUDY.run(w.run).title}, trained on {STUDY.training.title} ({STUDY.training.population})",
        code=code("training_curves"),
    message:
        "drawing the training of {wildcards.run}"
    script:
        "../scripts/training_curves.py"
