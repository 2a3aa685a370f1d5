"""The prepared pair as it is, after the affine alignment from which every method starts."""

from dataclasses import dataclass
from typing import ClassVar, final

from diffeode.geometry.transform import Affine
from diffeode.registration.base import Machine, Method, Pair, Registration


@final
@dataclass(frozen=True)
class Identity(Method):
    """No registration: the map is the identity on the prepared pair."""

    title: ClassVar[str] = "Initial"
    citation: ClassVar[str] = "None: the prepared pair before any registration."
    licence: ClassVar[str] = "MIT (diffeode)"
    takes_slices: ClassVar[bool] = True

    def register(self, pair: Pair, machine: Machine) -> Registration:
        """Return the identity as the map and as its inverse."""
        return Registration(Affine(), Affine())
