"""What the energy, the velocity and the solver of a Neural ODE are, in words, and what to cite for
each: runs of this one method differ in them.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from diffeode.prepare.described import Described
from diffeode.registration.knobs import as_parameters
from diffeode.registration.runs import Run

METHOD = "neural-ode"
"""The name of the method whose runs are described here."""

MULTIMODAL = (
    "Rodríguez-Sanz, Hernández. Multimodal diffeomorphic registration with Neural ODEs and "
    "structural descriptors. arXiv 2512.22689, 2025"
)
NODEO = (
    "Wu, Jiahao, Wang, Yushkevich, Hsieh, Gee. NODEO: a neural ordinary differential equation "
    "based optimization framework for deformable image registration. CVPR, 2022"
)
SSC = (
    "Heinrich, Jenkinson, Papiez, Brady, Schnabel. Towards realtime multimodal fusion for "
    "image-guided interventions using self-similarities. MICCAI, 2013"
)
MIND = (
    "Heinrich, Jenkinson, Bhushan, Matin, Gleeson, Brady, Schnabel. MIND: Modality independent "
    "neighbourhood descriptor for multi-modal deformable registration. Medical Image Analysis "
    "16(7), 2012"
)
MUTUAL = (
    "Viola, Wells. Alignment by maximization of mutual information. International Journal of "
    "Computer Vision 24(2), 1997"
)
NORMALISED = (
    "Studholme, Hill, Hawkes. An overlap invariant entropy measure of 3D medical image alignment. "
    "Pattern Recognition 32(1), 1999"
)
GRADIENT_FIELDS = (
    "Haber, Modersitzki. Intensity gradient based registration and fusion of multi-modal images. "
    "Methods of Information in Medicine 46(3), 2007"
)
CORRELATION = (
    "Avants, Epstein, Grossman, Gee. Symmetric diffeomorphic image registration with "
    "cross-correlation: Evaluating automated labeling of elderly and neurodegenerative brain. "
    "Medical Image Analysis 12(1), 2008"
)
BENDING = (
    "Rueckert, Sonoda, Hayes, Hill, Leach, Hawkes. Nonrigid registration using free-form "
    "deformations: application to breast MR images. IEEE Transactions on Medical Imaging 18(8), "
    "1999"
)
LDDMM = (
    "Beg, Miller, Trouvé, Younes. Computing large deformation metric mappings via geodesic flows "
    "of diffeomorphisms. International Journal of Computer Vision 61(2), 2005"
)
SQUARING = (
    "Arsigny, Commowick, Pennec, Ayache. A log-Euclidean framework for statistics on "
    "diffeomorphisms. MICCAI, 2006"
)
RUNGE_KUTTA = (
    "Hairer, Nørsett, Wanner. Solving ordinary differential equations I: Nonstiff problems. "
    "Springer, 1993"
)
ADJOINT = (
    "Chen, Rubanova, Bettencourt, Duvenaud. Neural ordinary differential equations. NeurIPS, 2018"
)
WORKS = (
    *(MULTIMODAL, NODEO, SSC, MIND, MUTUAL, NORMALISED, GRADIENT_FIELDS, CORRELATION, BENDING),
    *(LDDMM, SQUARING, RUNGE_KUTTA, ADJOINT),
)
"""Every work that is cited here."""

_TOLD_APART = {
    "mind": "form",
    "mutual_information": "normalised",
    "descriptor": "kind",
    "jacobian": "squared",
}
"""By the name of a part, the setting that makes another thing of it."""
_BELOW_BARRIER = "the amount by which Jacobian determinants fall below a barrier"
SIMILARITIES: Mapping[tuple[str, object], Described] = {
    ("mind", "ssc"): Described("the self-similarity context of MIND (MIND-SSC)", (SSC,)),
    ("mind", "mind"): Described("MIND", (MIND,)),
    ("local_mutual_information", None): Described("local mutual information", (MULTIMODAL,)),
    ("mutual_information", False): Described("mutual information", (MUTUAL,)),
    ("mutual_information", True): Described("normalised mutual information", (NORMALISED,)),
    ("gradient_fields", None): Described("normalised gradient fields", (GRADIENT_FIELDS,)),
    ("local_correlation", None): Described("local cross-correlation", (CORRELATION,)),
    ("squared_difference", None): Described("the squared difference of intensities"),
    ("descriptor", "learned"): Described("the learned descriptor", (MULTIMODAL,)),
    ("descriptor", "mind"): Described("the self-similarity context of MIND (MIND-SSC)", (SSC,)),
    ("descriptor", "gradient"): Described("the orientation of the gradient", (GRADIENT_FIELDS,)),
    ("descriptor", "intensity"): Described("the squared difference of intensities"),
}
"""The terms of similarity, by name and by the setting that tells two apart."""
PENALTIES: Mapping[tuple[str, object], Described] = {
    ("gradient", None): Described("the gradient of the displacement", (MULTIMODAL,)),
    ("bending", None): Described("the bending energy of the displacement", (BENDING,)),
    ("jacobian", False): Described(_BELOW_BARRIER, (MULTIMODAL,)),
    ("jacobian", True): Described(f"the square of {_BELOW_BARRIER}", (NODEO,)),
    ("magnitude", None): Described("the length of the velocity", (MULTIMODAL,)),
    ("operator", None): Described("the V-norm of the velocity, as in LDDMM", (LDDMM,)),
}
"""The penalties, in the same way."""
FIELDS = {
    "grid": Described("a free velocity at every voxel of its grid"),
    "network": Described("the output of a convolutional network", (NODEO,)),
}
"""The representations of the velocity, by name."""
KERNELS = {
    "gaussian": Described("smoothed by a Gaussian"),
    "box": Described("smoothed by the mean over a window", (NODEO,)),
    "operator": Described("smoothed by the inverse of LDDMM's operator", (LDDMM,)),
}
"""The kernels of the velocity, by name."""
SOLVERS = {
    "exponential": Described("scaling and squaring", (SQUARING,)),
    "euler": Described("Euler's method", (RUNGE_KUTTA,)),
    "midpoint": Described("the midpoint method", (RUNGE_KUTTA,)),
    "heun": Described("Heun's method", (RUNGE_KUTTA,)),
    "rk4": Described("the classical Runge-Kutta method of order 4", (RUNGE_KUTTA,)),
}
"""The solvers, by name."""
_BY_ADJOINT = Described("whose gradient is that of the adjoint equation", (ADJOINT,))


def parts_of(run: Run) -> dict[str, list[Described]]:
    """Return what a run of :data:`METHOD` is made of, by what it is in it. Terms whose weight is 0
    and kernels that smooth nothing are left out.
    """
    settings = as_parameters(run.build(), whole=True)
    (field,) = settings["velocity"]["field"]
    flow = settings["flow"]
    adjoint = [_BY_ADJOINT] if flow["gradient"] == "adjoint" else []
    return {
        "Similarity": _terms(settings["similarity"], SIMILARITIES),
        "Regularisation": _terms(settings["penalties"], PENALTIES),
        "Velocity": [FIELDS[field], *_kernel(settings["velocity"]["kernel"])],
        "Solver": [SOLVERS[flow["solver"]], *adjoint],
    }


def _terms(
    terms: Mapping[str, Mapping[str, Any]], words: Mapping[tuple[str, object], Described]
) -> list[Described]:
    chosen = [
        (name, settings.get(_TOLD_APART.get(name, "")))
        for name, settings in terms.items()
        if settings["weight"]
    ]
    # a term or a descriptor that somebody is still writing has no words yet
    return [
        words.get((name, kind), Described(f"{name} {kind or ''}".strip())) for name, kind in chosen
    ]


def _kernel(kernel: Mapping[str, Mapping[str, Any]]) -> Sequence[Described]:
    ((name, settings),) = kernel.items()
    smooths_nothing = {"gaussian": 0, "box": 1}
    return [] if settings.get("width") == smooths_nothing.get(name, -1) else [KERNELS[name]]
