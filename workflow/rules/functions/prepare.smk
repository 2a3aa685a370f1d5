"""Inputs and parameters of the rules that prepare a scan."""

from diffeode.errors import DamagedFileError
from diffeode.prepare.needs import weights_read
from diffeode.provenance.receipt import RECEIPT, failure_in, left_out_in


def scan_files(scan, made):
    """Return the files of a scan that ``made``, a receipt or another file, is made from; for a
    virtual scan, the receipt of its cohort.

    A file that is not there, as behind a link without a target, is left out unless ``made`` was
    made with it and stays: Snakemake would refuse the whole study, while the step that reads it
    says what is wrong with this scan.
    """
    if STUDY.datasets()[scan.dataset].kind == "virtual":
        return {"source": SOURCE.format(dataset=scan.dataset)}
    files = {"image": scan.image, "labels": None if recipe_of(scan).segments else scan.labels}
    files["landmarks"] = scan.landmarks
    return {
        name: str(file)
        for name, file in files.items()
        if file and (Path(file).exists() or stays_with(made, scan, name))
    }


def stays_with(made, scan, name):
    """Return whether ``made`` is not made again and was made before with the scan's file ``name``
    (image, labels, landmarks), without a failure.
    """
    if INTERNALS.is_forced(made) or not Path(made).exists():
        return False
    receipt = made if Path(made).name == RECEIPT else prepared(scan)
    try:
        return failure_in(receipt) is None and name not in left_out_in(receipt)
    except DamagedFileError:  # it is not there, or has to be made again
        return False


def is_looked_at(wildcards):
    """Return whether a scan is refused that looks like a label map."""
    return STUDY.datasets()[wildcards.dataset].is_looked_at


def scan_fields(scan):
    """Return the fields of a scan as words, so that a change of one of them is noticed.

    Age, sex and rating are left out, because the preparation does not depend on them.
    """
    left_out = {"age", "sex", "cdr", "root", *(["labels"] if recipe_of(scan).segments else [])}
    return {
        key: str(value)
        for key, value in vars(scan).items()
        if value is not None and key not in left_out
    }


def image_fields(scan):
    """Return the fields of a scan as words, without its labels, landmarks and group."""
    return {
        key: word
        for key, word in scan_fields(scan).items()
        if key not in ("labels", "landmarks", "group")
    }


def image_file(scan, made):
    """Return the file of the scan that ``made`` is made from, in a list that is empty where it is
    not there.
    """
    files = scan_files(scan, made)
    return [files[name] for name in ("image", "source") if name in files]


def before(scan, *steps):
    """Return the receipts of the earlier ``steps`` (brain, corrected, placed) that the recipe of
    the scan has, by name.
    """
    recipe = recipe_of(scan)
    units = {"corrected": (recipe.corrects, CORRECTED), "brain": (recipe.finds_brain, BRAIN)}
    units["placed"] = (recipe.places, PLACED)
    return {step: unit(units[step][1], scan) for step in steps if units[step][0]}


def template_files(scan):
    """Return the files of the user's own template, where the recipe of the scan names one."""
    template = recipe_of(scan).template
    return {} if isinstance(template, str) else {"template": sorted(template.values())}


def to_strip(wildcards):
    scan = scan_of(wildcards)
    corrected = before(scan, "corrected") if recipe_of(scan).corrects_heads else {}
    made = unit(BRAIN, scan)
    files = scan_files(scan, made) if recipe_of(scan).strips_by_labels else {}
    labels = {"labels": files["labels"]} if "labels" in files else {}
    return {"image": image_file(scan, made), **labels, **corrected}


def strip_fields(scan):
    """Return the fields of a scan, with its label map where the brain is found by it."""
    labels = {"labels": str(scan.labels)} if recipe_of(scan).strips_by_labels else {}
    return {**image_fields(scan), **labels}


def to_correct(wildcards):
    scan = scan_of(wildcards)
    brain = {} if recipe_of(scan).corrects_heads else before(scan, "brain")
    return {"image": image_file(scan, unit(CORRECTED, scan)), **brain}


def to_place(wildcards):
    scan = scan_of(wildcards)
    made = unit(PLACED, scan)
    found = {
        "image": image_file(scan, made),
        **before(scan, "corrected", "brain"),
        **template_files(scan),
    }
    if recipe_of(scan).leans_on_t1w(scan):
        t1w = STUDY.datasets()[scan.dataset].t1w_of(scan)
        found["t1w_image"] = image_file(t1w, made)
        found |= {
            f"t1w_{step}": receipt
            for step, receipt in before(t1w, "corrected", "brain", "placed").items()
        }
    return found


def to_prepare(wildcards):
    scan = scan_of(wildcards)
    files = scan_files(scan, prepared(scan))
    return {**files, **before(scan, "corrected", "brain", "placed")}


def to_segment(wildcards):
    return {"prepared": PREPARED.format(**wildcards)}


def step_params(*choices):
    """Return the scan and the choices of its recipe that a step uses."""

    def given(wildcards):
        recipe = recipe_of(scan_of(wildcards))
        return {choice: getattr(recipe, choice) for choice in choices}

    return given


def step_reads(script):
    """Return the checksums of the trained weights that the tools of a step read, as the recipe of
    the scan chooses them.
    """

    def given(wildcards):
        scan = scan_of(wildcards)
        read = [
            weights_read(tool.step, tool.name) for tool in recipe_of(scan).tools_of(script, scan)
        ]
        return {name: checksum for checksums in read for name, checksum in checksums.items()}

    return given


def t1w_fields(wildcards):
    """Return the fields of the T1w that a scan is placed through; empty where there is none."""
    scan = scan_of(wildcards)
    return (
        image_fields(STUDY.datasets()[scan.dataset].t1w_of(scan))
        if recipe_of(scan).leans_on_t1w(scan)
        else {}
    )


def tool_functions(scan, step):
    """Return the functions of the tools that the recipe of a scan chooses for a step."""
    return [tool.function for tool in recipe_of(scan).tools_of(step, scan)]


def step_code(script):
    """Return the identity of the code of a step and of the tools that the recipe chooses for it."""

    def given(wildcards):
        return code_of(script, *tool_functions(scan_of(wildcards), script))

    return given
