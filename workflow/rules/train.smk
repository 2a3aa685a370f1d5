"""Training a descriptor: scans to weights. A study asks for it where a run names these weights; by hand, `train_descriptor`."""


include: "functions/train.smk"


# Checkpoints lie beside the weights and are no outputs, so a training that was killed goes on from
# the last of them.
rule descriptor_weights:
    input:
        description=training_description,
        scans=training_files,
    output:
        weights=DESCRIPTOR_WEIGHTS,
        curves=report(
            CURVES,
            caption="../report/descriptor_curves.rst",
            category="4 Training",
            labels={"figure": "descriptor {training}"},
        ),
    log:
        logs("train", "{training}"),
    benchmark:
        benchmarks("train", "{training}")
    threads: 1
    resources:
        mem_mb=4000,
        gpu=STUDY.gpu,
    params:
        data=TRAINING_DATA,
        # another layout of the curves must not train a network again
        code=code("train_descriptor", apart_from=["diffeode.figures"]),
    message:
        "training the descriptor {wildcards.training}"
    script:
        "../scripts/train_descriptor.py"


rule train_descriptor:
    input:
        DESCRIPTOR_WEIGHTS.format(training="albert"),
    message:
        "the descriptor is trained: {input}"
