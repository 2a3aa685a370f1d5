"""A second ANTs affine on the prepared pair: what more a linear map can do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, final

from diffeode.prepare.affine import CITATION, affine_registration
from diffeode.registration.base import Machine, Method, Needs, Pair, Registration


@final
@dataclass(frozen=True)
class AffineOnly(Method):
    """ANTs affine with Mattes mutual information, as
    ``diffeode.prepare.affine.affine_registration``.
    """

    title: ClassVar[str] = "Affine"
    needs: ClassVar[Needs] = Needs(packages=("ants",))
    citation: ClassVar[str] = CITATION
    licence: ClassVar[str] = "Apache-2.0 (ANTs)"

    def register(self, pair: Pair, machine: Machine) -> Registration:
        """The affine and its exact inverse."""
        affine = affine_registration(pair.fixed, pair.moving, machine.threads, machine.seed)
        return Registration(affine, affine.inverse())
