"""The similarity of local normalised cross-correlation."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from diffeode.methods.neural_ode.terms import SimilarityTerm
from diffeode.registration.knobs import anything, knob, odd

if TYPE_CHECKING:
    from diffeode.geometry.shapes import ImageTensor, MaskTensor
    from diffeode.losses.similarity import Similarity


@final
@dataclass(frozen=True)
class LocalCorrelation(SimilarityTerm):
    """One minus the mean correlation in windows, squared or not."""

    name: ClassVar[str] = "local_correlation"

    window: int = knob(9, odd(3, 63), "Width of the windows", "voxels")
    squared: bool = knob(
        True,
        anything(),
        "Whether the correlation is squared, which makes it blind to the sign of the contrast; "
        "`false` is for scans of one contrast",
    )

    @property
    def column(self) -> str:
        """The abbreviation of normalised cross-correlation."""
        return "ncc"

    def to(
        self,
        fixed: ImageTensor,
        moving: ImageTensor,
        mask: MaskTensor | None,
        spacing: Sequence[float],
    ) -> Similarity:
        """Return :func:`diffeode.losses.correlation.local_correlation_to`."""
        from diffeode.losses.correlation import local_correlation_to
        from diffeode.losses.similarity import of_image

        return of_image(local_correlation_to(fixed, self.window, self.squared, mask))
