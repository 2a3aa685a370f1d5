"""The similarity of squared differences of intensities."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from diffeode.methods.neural_ode.terms import SimilarityTerm

if TYPE_CHECKING:
    from diffeode.geometry.shapes import ImageTensor, MaskTensor
    from diffeode.losses.similarity import Similarity


@final
@dataclass(frozen=True)
class SquaredDifference(SimilarityTerm):
    """The mean squared difference of intensities, for scans of one contrast."""

    name: ClassVar[str] = "squared_difference"

    @property
    def column(self) -> str:
        """The abbreviation of the sum of squared differences."""
        return "ssd"

    def to(
        self,
        fixed: ImageTensor,
        moving: ImageTensor,
        mask: MaskTensor | None,
        spacing: Sequence[float],
    ) -> Similarity:
        """Return :func:`diffeode.losses.squared_difference.squared_difference_to`."""
        from diffeode.losses.similarity import of_image
        from diffeode.losses.squared_difference import squared_difference_to

        return of_image(squared_difference_to(fixed, mask))
