"""Inputs and parameters of the rules that look at prepared scans."""


def to_inspect(wildcards):
    scan = scan_of(wildcards)
    shown = STUDY.datasets()[scan.dataset].labels and (scan.dataset, scan.id) in STUDY.scans()
    labels = {"labels": labels_of(scan)} if shown else {}
    image = image_file(scan, unit(NUMBERS, scan))
    return {"image": image, "prepared": prepared(scan), **labels, **template_files(scan)}


def inspection_code(wildcards):
    """Return the identity of the code that looks at a prepared scan, its template's included."""
    return code_of("inspect_scan", *tool_functions(scan_of(wildcards), "place"))


def label_table_of(wildcards):
    """Return the label table of a dataset, in a list that may be empty."""
    table = STUDY.datasets()[wildcards.dataset].labels
    return [str(table)] if table else []


def scans_of_dataset(wildcards):
    return [scan for scan in SCANS.values() if scan.dataset == wildcards.dataset]


def to_gather(wildcards):
    scans = scans_of_dataset(wildcards)
    return {
        "numbers": [unit(NUMBERS, s) for s in scans],
        "pictures": [unit(PICTURE, s) for s in scans],
    }


def quality_caption(wildcards):
    dataset = STUDY.datasets()[wildcards.dataset]
    return (
        f"{dataset.title}, {dataset.population}: scans as they were prepared for the study "
        f"{STUDY.title}."
    )
