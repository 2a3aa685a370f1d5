"""The similarity of MIND descriptors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from diffeode.methods.neural_ode.terms import SimilarityTerm
from diffeode.registration.knobs import between, knob, one_of

if TYPE_CHECKING:
    from diffeode.geometry.shapes import ImageTensor, MaskTensor
    from diffeode.losses.similarity import Similarity


@final
@dataclass(frozen=True)
class Mind(SimilarityTerm):
    """The mean squared difference of MIND descriptors, for scans of any two contrasts."""

    name: ClassVar[str] = "mind"

    form: str = knob(
        "ssc",
        one_of("ssc", "mind"),
        "`ssc` is the self-similarity context (Heinrich et al., 2013), which compares the "
        "neighbours of a voxel with each other; `mind` is the plain descriptor (2012), which "
        "compares the voxel with its neighbours",
    )
    radius: int = knob(1, between(0, 8), "Radius of the patches that are compared", "voxels")
    dilation: int = knob(2, between(1, 16), "Distance of the neighbours from the voxel", "voxels")
    precision: str = knob(
        "single",
        one_of("single", "half"),
        "Precision of the computation on a GPU. `half` has an effect only where descriptors are "
        "`recomputed`, and none on a CPU",
    )
    moving: str = knob(
        "recomputed",
        one_of("recomputed", "warped"),
        "Descriptor of the moving image: `recomputed` from each warped image, or computed once "
        "and then `warped`",
    )

    def to(
        self,
        fixed: ImageTensor,
        moving: ImageTensor,
        mask: MaskTensor | None,
        spacing: Sequence[float],
    ) -> Similarity:
        """Return :func:`diffeode.losses.similarity.mind_similarity`."""
        from diffeode.losses.similarity import mind_similarity

        described = moving if self.moving == "warped" else None
        return mind_similarity(
            fixed,
            self.radius,
            self.dilation,
            self.form,
            described,
            mask,
            half=self.precision == "half",
        )
