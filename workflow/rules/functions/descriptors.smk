"""Inputs of the rules that train descriptors, and which runs use which descriptor."""

from diffeode.datasets.person import names_of_persons
from diffeode.study import descriptors as descriptors_of_runs
from diffeode.study.files import require_untrained


def descriptor_description(wildcards):
    return f"{workflow.basedir}/config/descriptors/{wildcards.descriptor}.yaml"


def descriptor_files(wildcards):
    """Return the scans and label maps that a descriptor is trained on.

    The workflow stops where the study registers one of their persons.
    """
    if wildcards.descriptor in STUDY.taught_on:
        return [prepared(scan) for scan in STUDY.taught_on[wildcards.descriptor].scans]
    # imported here, because nothing else needs torch while a study is planned
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
    """Return weights and curves of the descriptors that are trained here for a run of the study."""
    trained = filter(None, (descriptor_of(run.name) for run in STUDY.runs))
    return [
        file
        for name in dict.fromkeys(trained)
        for file in (DESCRIPTOR.format(descriptor=name), DESCRIPTOR_CURVES.format(descriptor=name))
    ]


def descriptor_of(run):
    """Return the name of the descriptor that a run uses, where a rule here trains it; else None."""
    return descriptors_of_runs.descriptor_of(STUDY.run(run), REPOSITORY, STUDY.results)


def descriptor_scans(wildcards):
    """Return person, visit and contrast of each prepared scan that a descriptor is trained on; the
    list is empty where the descriptor is trained on files.
    """
    if wildcards.descriptor not in STUDY.taught_on:
        return []
    scans = STUDY.taught_on[wildcards.descriptor].scans
    about = zip(names_of_persons(scans), scans, strict=True)
    return [[name, f"{scan.dataset} {scan.session or ''}", scan.modality] for name, scan in about]


def descriptor_memory(wildcards, attempt):
    """Return the megabytes of a training, which keeps its scans in memory: 20 MB each at 1 mm."""
    return (4000 + 20 * len(descriptor_scans(wildcards))) * attempt


def last_attempt_of_training(wildcards, attempt):
    """Return whether the training is not tried again (1 or 0), or -1 where no run of the study uses
    the descriptor: whoever asks for it alone is to see the failure as such.
    """
    used = {descriptor_of(run.name) for run in STUDY.runs}
    return int(attempt > INTERNALS.retries) if wildcards.descriptor in used else -1
