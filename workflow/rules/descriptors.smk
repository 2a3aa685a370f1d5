"""These rules train descriptors. A study trains one where a run names its weights."""


include: "functions/descriptors.smk"


# A training for a run of the study that fails leaves empty weights and a seal with the reason, and
# so the registrations that need them fail. Checkpoints lie beside the weights. They are no outputs,
# so Snakemake does not remove them and a training that was killed continues from the last one.
rule descriptor_weights:
    input:
        description=descriptor_description,
        scans=descriptor_files,
    output:
        weights=DESCRIPTOR,
        curves=report(
            DESCRIPTOR_CURVES,
            caption="../report/descriptor_curves.rst",
            category="4 Training",
            labels={"shows": "descriptor {descriptor}"},
        ),
    log:
        logs("descriptor_weights", "{descriptor}"),
    benchmark:
        benchmarks("descriptor_weights", "{descriptor}")
    priority: LONG
    threads: 1
    resources:
        mem_mb=descriptor_memory,
        last_attempt=last_attempt_of_training,
        gpu=STUDY.gpu,
    params:
        data=DESCRIPTOR_DATA,
        prepared=descriptor_scans,
        # a change in how curves are drawn must not train a network again
        code=code("train_descriptor", apart_from=["diffeode.figures"]),
    message:
        "training the descriptor {wildcards.descriptor}"
    script:
        "../scripts/train_descriptor.py"


rule train_descriptor:
    input:
        DESCRIPTOR.format(descriptor="albert"),
    message:
        "the descriptor is trained: {input}"
