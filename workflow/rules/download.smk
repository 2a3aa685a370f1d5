"""Datasets that can be downloaded; `diffeode datasets` says how to get the others."""

from diffeode.study_files import load_dataset

# a study that has no use for IXI is not stopped by what is wrong in its file
IXI_FAULT = None
try:
    IXI = load_dataset("ixi", REPOSITORY).root
    require_nameable([IXI])
except InputError as error:
    IXI, IXI_FAULT = "ixi", str(error)


def ixi_receipts(wildcards):
    """What is to be fetched of IXI."""
    if IXI_FAULT:
        refuse(IXI_FAULT)
    return [f"{IXI}/{archive}/receipt.json" for archive in ("IXI-T1", "IXI-T2")]


localrules:
    ixi,
    fetch_ixi,


rule ixi:
    """IXI's T1w and T2w, unpacked and checked, and its table; not part of any study."""
    input:
        ixi_receipts,
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
