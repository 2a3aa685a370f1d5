"""Training a descriptor: scans to weights. A study asks for it where a run names these weights; by hand, `train_descriptor`."""


include: "functions/descriptors.smk"


# Checkpoints lie beside the weights and are no outputs, so a training that was killed goes on from
# the last of them.
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
            labels={"figure": "descriptor {descriptor}"},
        ),
    log:
        logs("descriptor_weights", "{descriptor}"),
    benchmark:
        benchmarks("descriptor_weights", "{descriptor}")
    threads: 1
    resources:
        mem_mb=descriptor_memory,
        gpu=STUDY.gpu,
    params:
        data=DESCRIPTOR_DATA,
        prepared=descriptor_scans,
        # another layout of the curves must not train a network again
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
