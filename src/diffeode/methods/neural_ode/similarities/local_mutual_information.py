"""The similarity of mutual information in patches."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from diffeode.methods.neural_ode.terms import SimilarityTerm
from diffeode.registration.knobs import between, knob

if TYPE_CHECKING:
    from diffeode.geometry.shapes import ImageTensor, MaskTensor
    from diffeode.losses.similarity import Similarity


@final
@dataclass(frozen=True)
class LocalMutualInformation(SimilarityTerm):
    """Minus the mean mutual information of patches (arXiv 2512.22689, equations 22 and 23)."""

    name: ClassVar[str] = "local_mutual_information"

    bins: int = knob(
        16, between(2, 256), "Number of bins of either image in the joint histogram of a patch"
    )
    patch: int = knob(5, between(2, 64), "Width of the patches", "voxels")

    @property
    def column(self) -> str:
        """The abbreviation of local mutual information."""
        return "lmi"

    def to(
        self,
        fixed: ImageTensor,
        moving: ImageTensor,
        mask: MaskTensor | None,
        spacing: Sequence[float],
    ) -> Similarity:
        """Return :func:`diffeode.losses.mutual_information.local_mutual_information_to`."""
        from diffeode.losses.mutual_information import local_mutual_information_to
        from diffeode.losses.similarity import of_image

        return of_image(local_mutual_information_to(fixed, self.patch, self.bins, mask))
