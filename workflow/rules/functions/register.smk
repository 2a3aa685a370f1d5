"""What a registration reads and depends on."""

from diffeode.registration.registry import method_class


def registered(wildcards):
    """What a registration reads: its pair, and the trainings that its run and its descriptor come
    from, if any.
    """
    training = descriptor_training(wildcards.run)
    return {
        "pair": PAIR.format(**wildcards),
        "moving_scan": prepared(planned_pair(wildcards).moving),
        "training": trainings(wildcards.run),
        "descriptor": [DESCRIPTOR_WEIGHTS.format(training=training)] if training else [],
    }


def reads_of(wildcards):
    """Hashes of the files a run reads besides its pair, as of weights: other files, another run.
    None where they are missing, which a plan has to do without, or an input of the registration."""
    if descriptor_training(wildcards.run):
        return None
    try:
        return STUDY.run(wildcards.run).build().reads()
    except InputError:
        return None


def environment_of(wildcards):
    """Where a run's method works."""
    method = method_class(STUDY.run(wildcards.run).method)
    return f"{workflow.basedir}/envs/{method.needs.environment}.yaml"


def register_code(wildcards):
    """The code of this run's method and of the harness, not of any other method."""
    return code("register", method_class(STUDY.run(wildcards.run).method))
