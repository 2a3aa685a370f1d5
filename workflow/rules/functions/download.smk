"""Where IXI is to lie, and what of it is fetched."""

from diffeode.study.files import load_dataset

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
