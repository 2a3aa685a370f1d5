"""What each choice of a recipe does to a scan, as a clause of a methods section, and what to cite for it."""

from __future__ import annotations

from typing import NamedTuple

from diffeode.prepare.affine import CITATION as ANTS
from diffeode.prepare.backends import weights_of
from diffeode.weights import load_weights

BY_AFFINE = "by an affine map of 12 parameters (ANTs, Mattes mutual information)"


class Described(NamedTuple):
    """A clause without its full stop, empty where nothing is done, and what to cite."""

    text: str
    citations: tuple[str, ...] = ()


_PERCENTILES = "the brain's 0.1 and 99.9 percentiles become 0 and 1"
_N4 = "Tustison et al., N4ITK: improved N3 bias correction, IEEE Transactions on Medical Imaging 29(6), 2010"
_N3 = (
    "Sled et al., A nonparametric method for automatic correction of intensity nonuniformity in MRI data, IEEE "
    "Transactions on Medical Imaging 17(1), 1998"
)
_SYNTHSTRIP = "Hoopes et al., SynthStrip: skull-stripping for any brain image, NeuroImage 260, 2022"
_STRIPE = (
    "Shinohara et al., Statistical normalization techniques for magnetic resonance imaging, NeuroImage: Clinical 6, "
    "2014"
)
_FREESURFER = "Fischl, FreeSurfer, NeuroImage 62(2), 2012"
_ICBM152 = "Fonov et al., Unbiased average age-appropriate atlases for pediatric studies, NeuroImage 54(1), 2011"
_SYNTHSEG = (
    "Billot et al., SynthSeg: segmentation of brain MRI scans of any contrast and resolution without retraining, "
    "Medical Image Analysis 86, 2023"
)
_CLAUSES = {
    "bias n4": Described("the bias field is removed inside the brain by N4", (_N4,)),
    "bias freesurfer": Described(
        "the bias field is removed from the whole head by N3 (mri_nu_correct.mni of FreeSurfer)", (_N3, _FREESURFER)
    ),
    "brain nonzero": Described("the scans come skull-stripped, and the brain is what is above zero"),
    "brain mindgrab": Described("the brain is found by the MeshNet mindgrab"),
    "brain synthstrip": Described("the brain is found by SynthStrip", (_SYNTHSTRIP,)),
    "intensity robust": Described(_PERCENTILES),
    "intensity white-stripe": Described("the mode and width of white matter set the intensities' scale", (_STRIPE,)),
    "intensity freesurfer": Described(
        f"T1w are normalised by mri_normalize of FreeSurfer; then {_PERCENTILES}", (_FREESURFER,)
    ),
    "template icbm152": Described(f"scans are brought into the space of ICBM152 2009a {BY_AFFINE}", (_ICBM152, ANTS)),
    "through t1w": Described("a scan that is no T1w goes there rigidly by way of the T1w of its visit"),
    "labels given": Described("structures are those that come with the data"),
    "labels meshnet": Described("structures are found on the T1w by a MeshNet"),
    "labels synthseg": Described("structures are found by SynthSeg", (_SYNTHSEG,)),
}
"""By step and choice; what is not here does nothing, or its clause depends on a value."""


def described(step: str, choice: object) -> Described:
    """What ``choice`` of ``step`` does (:class:`diffeode.prepare.recipe.Recipe`)."""
    if step == "spacing_mm":
        return Described(f"prepared scans have voxels of {choice:g} mm" if choice else "")
    if isinstance(choice, dict):
        files = " and ".join(f"{choice[contrast]} ({contrast})" for contrast in sorted(choice))
        return Described(f"scans are brought into the space of {files} {BY_AFFINE}", (ANTS,))
    text, citations = _CLAUSES.get(f"{step} {choice}", Described(""))
    weights = weights_of(step, choice)
    return Described(text, (*citations, load_weights(weights).citation) if weights else citations)
