"""The similarity of normalised gradient fields."""

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
class GradientFields(SimilarityTerm):
    """How far the edges of the two images differ in direction, for scans of any two contrasts."""

    name: ClassVar[str] = "gradient_fields"

    eta: float = knob(
        1.0,
        between(1e-6, 1e3),
        "Strength below which an edge counts little",
        "times the image's mean gradient",
    )

    @property
    def column(self) -> str:
        """The abbreviation of normalised gradient fields."""
        return "ngf"

    def to(
        self,
        fixed: ImageTensor,
        moving: ImageTensor,
        mask: MaskTensor | None,
        spacing: Sequence[float],
    ) -> Similarity:
        """Return :func:`diffeode.losses.gradient_fields.normalised_gradient_fields_to`."""
        from diffeode.losses.gradient_fields import normalised_gradient_fields_to
        from diffeode.losses.similarity import of_image

        return of_image(normalised_gradient_fields_to(fixed, self.eta, spacing, mask))
