"""The similarity of descriptors other than MIND, such as the learned one."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar, final

from diffeode.descriptors.registry import descriptor_content, descriptor_names
from diffeode.methods.neural_ode.terms import SimilarityTerm
from diffeode.registration.knobs import anything, knob, one_of

if TYPE_CHECKING:
    from diffeode.geometry.shapes import ImageTensor, MaskTensor
    from diffeode.losses.similarity import Similarity


@final
@dataclass(frozen=True)
class Descriptor(SimilarityTerm):
    """The mean squared difference of learned or other descriptors (``docs/descriptors.md``)."""

    name: ClassVar[str] = "descriptor"

    kind: str = knob("learned", one_of(descriptor_names), "Name of the descriptor")
    weights: str = knob(
        "",
        anything(),
        "Name of weights that come with diffeode, or the path of a file; empty for the "
        "descriptor's default weights",
    )
    moving: str = knob(
        "recomputed",
        one_of("recomputed", "warped"),
        "Descriptor of the moving image: `recomputed` from each warped image, or computed once "
        "and then `warped`",
    )

    def reads(self) -> dict[str, str]:
        """Return the hashes of the descriptor's code and weights."""
        return {"descriptor": descriptor_content(self.kind, self.weights)}

    def to(
        self,
        fixed: ImageTensor,
        moving: ImageTensor,
        mask: MaskTensor | None,
        spacing: Sequence[float],
    ) -> Similarity:
        """Return :func:`diffeode.losses.similarity.descriptor_similarity`."""
        from diffeode.descriptors.registry import make_descriptor
        from diffeode.losses.similarity import descriptor_similarity

        describe = make_descriptor(self.kind, self.weights, fixed.device, fixed.dtype)
        return descriptor_similarity(
            describe, fixed, moving if self.moving == "warped" else None, mask
        )
