"""What a registration reads and depends on."""

from diffeode.registration.registry import method_class


def registered(wildcards):
    """What a registration reads: its pair, and the network and the descriptor that were trained for
    its run, if any.
    """
    descriptor = descriptor_of(wildcards.run)
    return {
        "pair": PAIR.format(**wildcards),
        "moving_scan": prepared(planned_pair(wildcards).moving),
        "network": networks(wildcards.experiment, wildcards.run),
        "descriptor": [DESCRIPTOR.format(descriptor=descriptor)] if descriptor else [],
    }


def reads_of(wildcards):
    """Hashes of the files a run reads besides its pair, as of weights: other files, another run.
    None where they are missing, which a plan has to do without, or an input of the registration."""
    if descriptor_of(wildcards.run):
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
