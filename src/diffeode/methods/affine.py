"""A second affine registration of the prepared pair, which shows what more a linear map can do."""

from __future__ import annotations

import importlib
from dataclasses import dataclass
from typing import ClassVar, final

from diffeode.prepare.affine import CITATION, affine_registration
from diffeode.registration.base import Machine, Method, Needs, Pair, Registration


@final
@dataclass(frozen=True)
class AffineOnly(Method):
    """The affine registration of ANTs with Mattes mutual information, on the prepared pair.

    The preparation of a pair uses the same one.
    """

    title: ClassVar[str] = "Affine"
    needs: ClassVar[Needs] = Needs(packages=("ants",))
    citation: ClassVar[str] = CITATION
    licence: ClassVar[str] = "Apache-2.0 (ANTs)"

    def load(self) -> None:
        """Import what reads the transforms of ANTs."""
        importlib.import_module("scipy.io")

    def register(self, pair: Pair, machine: Machine) -> Registration:
        """Register ``pair``; the inverse is exact."""
        affine = affine_registration(pair.fixed, pair.moving, machine.threads, machine.seed)
        return Registration(affine, affine.inverse())
