"""This rule downloads IXI; `diffeode datasets` says how to get the other datasets."""


include: "functions/download.smk"


localrules:
    ixi,
    fetch_ixi,


rule ixi:
    """Download, check and unpack the T1w and T2w scans of IXI and its table, for no particular
    study.
    """
    input:
        ixi_receipts,
    message:
        f"IXI is in {IXI}"


rule fetch_ixi:
    output:
        f"{IXI}/{{archive}}/receipt.json",
    log:
        logs("fetch_ixi", "{archive}"),
    wildcard_constraints:
        archive="IXI-T[12]",
    threads: 1
    resources:
        mem_mb=500,
    message:
        "fetching {wildcards.archive}"
    script:
        "../scripts/fetch_ixi.py"
