"""Datasets that can be downloaded; `diffeode datasets` says how to get the others."""

from diffeode.study_files import load_dataset

try:
    IXI = load_dataset("ixi", REPOSITORY).root
except InputError as error:
    refuse(str(error))


localrules:
    ixi,
    fetch_ixi,


rule ixi:
    """IXI's T1w and T2w, unpacked and checked, and its table; not part of any study."""
    input:
        expand(f"{IXI}/{{archive}}/receipt.json", archive=["IXI-T1", "IXI-T2"]),
    message:
        f"IXI is in {IXI}"


rule fetch_ixi:
    output:
        f"{IXI}/{{archive}}/receipt.json",
    log:
        f"{LOGS}/fetch_ixi/{{archive}}.log",
    wildcard_constraints:
        archive="IXI-T[12]",
    conda:
        ENVIRONMENT
    threads: 1
    resources:
        mem_mb=500,
    message:
        "fetching {wildcards.archive}"
    script:
        "../scripts/fetch_ixi.py"
