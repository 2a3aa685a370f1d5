"""Mutual information of the whole images."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from diffeode.methods.neural_ode.terms import SimilarityTerm
from diffeode.registration.knobs import anything, between, knob

if TYPE_CHECKING:
    from torch import Tensor

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
        "Whether the sum of the two entropies is divided by the joint one, instead of the joint "
        "one being subtracted",
    )

    @property
    def column(self) -> str:
        """The usual abbreviation."""
        return "nmi" if self.normalised else "mi"

    def to(
        self, fixed: Tensor, moving: Tensor, mask: Tensor | None, spacing: Sequence[float]
    ) -> Similarity:
        """See :func:`diffeode.losses.mutual_information.mutual_information_to`."""
        from diffeode.losses.mutual_information import mutual_information_to
        from diffeode.losses.similarity import of_image

        return of_image(mutual_information_to(fixed, self.bins, self.normalised, mask))
