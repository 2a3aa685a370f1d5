"""The similarity of mutual information of the whole images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from diffeode.methods.neural_ode.terms import SimilarityTerm
from diffeode.registration.knobs import anything, between, knob

if TYPE_CHECKING:
    from diffeode.geometry.shapes import ImageTensor, MaskTensor
    from diffeode.losses.similarity import Similarity


@final
@dataclass(frozen=True)
class MutualInformation(SimilarityTerm):
    """Minus the mutual information of the two images, or the normalised one."""

    name: ClassVar[str] = "mutual_information"

    bins: int = knob(16, between(2, 256), "Number of bins of either image in the joint histogram")
    normalised: bool = knob(
        False,
        anything(),
        "Whether the sum of the entropies of the two images is divided by their joint entropy; "
        "otherwise the joint entropy is subtracted from the sum",
    )

    @property
    def column(self) -> str:
        """The abbreviation of mutual information, or of the normalised one."""
        return "nmi" if self.normalised else "mi"

    def to(
        self,
        fixed: ImageTensor,
        moving: ImageTensor,
        mask: MaskTensor | None,
        spacing: Sequence[float],
    ) -> Similarity:
        """Return :func:`diffeode.losses.mutual_information.mutual_information_to`."""
        from diffeode.losses.mutual_information import mutual_information_to
        from diffeode.losses.similarity import of_image

        return of_image(mutual_information_to(fixed, self.bins, self.normalised, mask))
