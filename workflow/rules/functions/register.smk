"""What each registration and its evaluation read, and what a job has to know about them."""

import math
from functools import cache

from diffeode.registration.registry import method_class


def registrations():
    """Return the receipt of every registration."""
    return [REGISTRATION.format(**unit) for unit in run_units()]


def unit_metrics():
    """Return the metrics of every registration."""
    return [METRICS.format(**unit) for unit in run_units()]


def unit_log(unit):
    """Return the path of the log of one registration."""
    return logs("register", *unit)


# -------------------------------------------------------------------------- what one unit is made of


def registration_of(unit):
    """Return the receipt of a registration, its inputs by name and its parameters."""
    parameters = {
        "datasets": datasets_of(unit),
        "run": run_of(unit),
        "reads": reads_of(unit.run),
        "seed": STUDY.seed,
        "fields": STUDY.fields,
        "code": registering_code(unit.run),
    }
    return {
        "file": REGISTRATION.format(**unit),
        "inputs": registered(unit),
        "parameters": parameters,
    }


def evaluation_of(unit):
    """Return the metrics of a registration, their inputs by name and their parameters."""
    return {
        "file": METRICS.format(**unit),
        "inputs": evaluated(unit),
        "parameters": {"code": evaluating_code()},
    }


def registered(unit):
    """Return the inputs of a registration: its pair, and the network and the descriptor that are
    trained for its run, if any.
    """
    descriptor = descriptor_of(unit.run)
    return {
        "pair": PAIR.format(**unit),
        "moving_scan": prepared(planned_pair(unit).moving),
        "network": networks(unit.experiment, unit.run),
        "descriptor": [DESCRIPTOR.format(descriptor=descriptor)] if descriptor else [],
    }


def evaluated(unit):
    """Return the inputs of the evaluation of a registration."""
    pair = planned_pair(unit)
    scans = {"fixed": prepared(pair.fixed), "moving": prepared(pair.moving)}
    labels = {"fixed_labels": labels_of(pair.fixed), "moving_labels": labels_of(pair.moving)}
    found = {"registration": REGISTRATION.format(**unit), "pair": PAIR.format(**unit)}
    return {**found, **scans, **labels, "label_table": label_tables(unit)}


def label_tables(unit):
    """Return the table of structures to evaluate, in a list that may be empty."""
    table = STUDY.experiment(unit.experiment).labels
    return [str(table)] if table else []


@cache
def reads_of(run):
    """Return the checksums of the files, such as weights, that a run reads besides its pair.

    The value is None where the files are missing, or where they are an input of the registration.
    """
    if descriptor_of(run):
        return None
    try:
        return STUDY.run(run).build().reads()
    except InputError:
        return None


@cache
def registering_code(run):
    """Return the identity of the code of the run's method and of the harness."""
    return code_of("_registering", method_class(STUDY.run(run).method))


@cache
def evaluating_code():
    """Return the identity of the code that evaluates a registration."""
    return code_of("_evaluating")


def registration_steps():
    """Return how every registration and every evaluation is made, by the path of its receipt or of
    its metrics.
    """
    kinds = (
        ("registration", REGISTRATION, registration_of),
        ("evaluation", METRICS, evaluation_of),
    )
    return {
        pattern.format(**unit): Step(
            *(stage, unit, job_of(unit, REGISTERED), unit_log(unit)),
            pattern.format(**unit) if stage == "registration" else None,
            describe,
        )
        for unit in run_units()
        for stage, pattern, describe in kinds
    }


# ------------------------------------------------------------------------------ what one job is made of


def chunk_inputs(wildcards):
    return read_by_chunk(wildcards, registered, evaluated)


def pairs_at_work(wildcards):
    """Return the jobs that align pairs of a chunk in this run of the workflow."""
    return chunks_at_work([PAIR.format(**unit) for unit in units_of_chunk(wildcards)])


def chunk_work(wildcards):
    """Return what a job has to know about each unit of its chunk."""
    return [
        {
            "pair": unit.pair,
            "log": unit_log(unit),
            "keep": STUDY.keep_meanwhile(unit.experiment, unit.pair),
            "registration": registration_of(unit),
            "evaluation": evaluation_of(unit),
        }
        for unit in units_of_chunk(wildcards)
    ]


def chunk_minutes(wildcards):
    """Return how long a job may take on a cluster: as long as its registrations may, where that is
    limited, otherwise two hours for a pair and half an hour for each further one.
    """
    waiting = waiting_in_chunk(wildcards, REGISTRATION)
    limit = STUDY.time_limit(wildcards.run)
    return math.ceil(waiting * limit) + 10 if limit else 90 + 30 * waiting


def environment_of(wildcards):
    """Return the file of the environment in which the method of a run works."""
    method = method_class(STUDY.run(wildcards.run).method)
    return f"{workflow.basedir}/envs/{method.needs.environment}.yaml"
