"""What descriptors are trained on, and which runs use them."""

from diffeode.study.files import require_untrained


def training_description(wildcards):
    return f"{workflow.basedir}/config/training/{wildcards.training}.yaml"


def training_files(wildcards):
    """The scans and label maps that a training's file names; the training itself refuses persons
    who are tested on.
    """
    # here, because nothing but this needs torch while a study is planned
    from diffeode.learning.descriptor.material import read_training, trained_files

    try:
        training = read_training(training_description(wildcards))
        files = trained_files(training, Path(TRAINING_DATA))
        require_nameable(files)
        if wildcards.training in map(descriptor_training, [run.name for run in STUDY.runs]):
            require_untrained(STUDY, files)
    except InputError as error:
        refuse(str(error))
    return [str(file) for file in files]


def descriptors():
    """Weights and curves of the descriptors that are trained here for some run."""
    trained = filter(None, (descriptor_training(run.name) for run in STUDY.runs))
    return [
        file
        for name in dict.fromkeys(trained)
        for file in (DESCRIPTOR_WEIGHTS.format(training=name), CURVES.format(training=name))
    ]


def descriptor_training(run):
    """The training that a run's descriptor comes from, where its weights are those that a rule here
    makes; else None.
    """
    weights = STUDY.run(run).build().descriptor_weights
    name = Path(weights).parent.name
    described = (REPOSITORY / "config" / "training" / f"{name}.yaml").is_file()
    return name if described and weights == DESCRIPTOR_WEIGHTS.format(training=name) else None
