"""Inputs and parameters of the rule that registers."""

from diffeode.registration.registry import method_class


def registered(wildcards):
    """Return the inputs of a registration: its pair, and the network and the descriptor that are
    trained for its run, if any.
    """
    descriptor = descriptor_of(wildcards.run)
    return {
        "pair": PAIR.format(**wildcards),
        "moving_scan": prepared(planned_pair(wildcards).moving),
        "network": networks(wildcards.experiment, wildcards.run),
        "descriptor": [DESCRIPTOR.format(descriptor=descriptor)] if descriptor else [],
    }


def reads_of(wildcards):
    """Return the checksums of the files, such as weights, that a run reads besides its pair.

    The value is None where the files are missing, or where they are an input of the registration.
    """
    if descriptor_of(wildcards.run):
        return None
    try:
        return STUDY.run(wildcards.run).build().reads()
    except InputError:
        return None


def environment_of(wildcards):
    """Return the file of the environment in which the method of a run works."""
    method = method_class(STUDY.run(wildcards.run).method)
    return f"{workflow.basedir}/envs/{method.needs.environment}.yaml"


def register_code(wildcards):
    """Return the identity of the code of the run's method and of the harness."""
    return code("register", method_class(STUDY.run(wildcards.run).method))
