"""What descriptors are trained on, and which runs use them."""

from diffeode.study.files import require_untrained


def descriptor_description(wildcards):
    return f"{workflow.basedir}/config/descriptors/{wildcards.descriptor}.yaml"


def descriptor_files(wildcards):
    """The scans and label maps that a descriptor is trained on; nobody the study registers may be
    among them.
    """
    # here, because nothing but this needs torch while a study is planned
    from diffeode.learning.descriptor.material import read_training, trained_files

    try:
        training = read_training(descriptor_description(wildcards))
        files = trained_files(training, Path(DESCRIPTOR_DATA))
        require_nameable(files)
        if wildcards.descriptor in map(descriptor_of, [run.name for run in STUDY.runs]):
            require_untrained(STUDY, files)
    except InputError as error:
        refuse(str(error))
    return [str(file) for file in files]


def descriptors():
    """Weights and curves of the descriptors that are trained here for some run."""
    trained = filter(None, (descriptor_of(run.name) for run in STUDY.runs))
    return [
        file
        for name in dict.fromkeys(trained)
        for file in (DESCRIPTOR.format(descriptor=name), DESCRIPTOR_CURVES.format(descriptor=name))
    ]


def descriptor_of(run):
    """The descriptor of config/descriptors that a run uses, where a rule here trains it; else None."""
    weights = STUDY.run(run).build().descriptor_weights
    name = Path(weights).parent.name
    described = (REPOSITORY / "config" / "descriptors" / f"{name}.yaml").is_file()
    return name if described and weights == DESCRIPTOR.format(descriptor=name) else None
