"""What the steps of preparation read and depend on, scan by scan."""

from diffeode.prepare.needs import weights_read


def scan_files(scan):
    """A scan's own files; those of a virtual cohort stand behind the cohort's receipt."""
    if STUDY.datasets()[scan.dataset].kind == "virtual":
        return {"source": SOURCE.format(dataset=scan.dataset)}
    files = {"image": scan.image, "labels": None if recipe_of(scan).segments else scan.labels}
    files["landmarks"] = scan.landmarks
    return {name: str(file) for name, file in files.items() if file}


def scan_fields(scan):
    """The scan as plain words, so that Snakemake can tell when it changes; nothing prepared hangs
    on who was scanned.
    """
    left_out = {"age", "sex", "cdr", "root", *(["labels"] if recipe_of(scan).segments else [])}
    return {
        key: str(value)
        for key, value in vars(scan).items()
        if value is not None and key not in left_out
    }


def image_fields(scan):
    """The scan as plain words, without what was drawn on it."""
    return {
        key: word
        for key, word in scan_fields(scan).items()
        if key not in ("labels", "landmarks", "group")
    }


def image_file(scan):
    """What a step reads of the scan itself."""
    files = scan_files(scan)
    return files.get("image") or files["source"]


def before(scan, *steps):
    """Names and receipts of those of ``steps`` (brain, corrected, placed) that the scan's recipe
    has.
    """
    recipe = recipe_of(scan)
    units = {"corrected": (recipe.corrects, CORRECTED), "brain": (recipe.finds_brain, BRAIN)}
    units["placed"] = (recipe.places, PLACED)
    return {step: unit(units[step][1], scan) for step in steps if units[step][0]}


def template_files(scan):
    """The user's own template, where the scan's recipe names one."""
    template = recipe_of(scan).template
    return {} if isinstance(template, str) else {"template": sorted(template.values())}


def to_strip(wildcards):
    scan = scan_of(wildcards)
    corrected = before(scan, "corrected") if recipe_of(scan).corrects_heads else {}
    files = scan_files(scan) if recipe_of(scan).strips_by_labels else {}
    labels = {"labels": files["labels"]} if "labels" in files else {}
    return {"image": image_file(scan), **labels, **corrected}


def strip_fields(scan):
    """The scan as plain words, with its label map where the brain is found by it."""
    labels = {"labels": str(scan.labels)} if recipe_of(scan).strips_by_labels else {}
    return {**image_fields(scan), **labels}


def to_correct(wildcards):
    scan = scan_of(wildcards)
    brain = {} if recipe_of(scan).corrects_heads else before(scan, "brain")
    return {"image": image_file(scan), **brain}


def to_place(wildcards):
    scan = scan_of(wildcards)
    found = {
        "image": image_file(scan),
        **before(scan, "corrected", "brain"),
        **template_files(scan),
    }
    if recipe_of(scan).leans_on_t1w(scan):
        t1w = STUDY.datasets()[scan.dataset].t1w_of(scan)
        found["t1w_image"] = image_file(t1w)
        found |= {
            f"t1w_{step}": receipt
            for step, receipt in before(t1w, "corrected", "brain", "placed").items()
        }
    return found


def to_prepare(wildcards):
    scan = scan_of(wildcards)
    return {**scan_files(scan), **before(scan, "corrected", "brain", "placed")}


def to_segment(wildcards):
    return {"prepared": PREPARED.format(**wildcards)}


def step_params(*choices):
    """The scan, and those of its recipe's choices that a step makes use of."""

    def given(wildcards):
        recipe = recipe_of(scan_of(wildcards))
        return {choice: getattr(recipe, choice) for choice in choices}

    return given


def step_reads(script):
    """Checksums of the trained weights that the tools of a step read, as its scan's recipe chooses
    them.
    """

    def given(wildcards):
        scan = scan_of(wildcards)
        read = [
            weights_read(tool.step, tool.name) for tool in recipe_of(scan).tools_of(script, scan)
        ]
        return {name: checksum for checksums in read for name, checksum in checksums.items()}

    return given


def t1w_fields(wildcards):
    """The T1w that a scan is placed through, as plain words; empty where there is none."""
    scan = scan_of(wildcards)
    return (
        image_fields(STUDY.datasets()[scan.dataset].t1w_of(scan))
        if recipe_of(scan).leans_on_t1w(scan)
        else {}
    )


def tool_functions(scan, step):
    """The functions of the tools that a scan's recipe chooses for a step, for an identity."""
    return [tool.function for tool in recipe_of(scan).tools_of(step, scan)]


def step_code(script):
    """The code of a step and of the tools that a scan's recipe chooses for it."""

    def given(wildcards):
        return code(script, *tool_functions(scan_of(wildcards), script))

    return given
