"""The prepared pair as it is: the affine alignment that every method starts from."""

from dataclasses import dataclass
from typing import ClassVar, final

from diffeode.geometry.transform import Affine
from diffeode.registration.base import Machine, Method, Pair, Registration


@final
@dataclass(frozen=True)
class Identity(Method):
    """No registration."""

    title: ClassVar[str] = "Initial"
    citation: ClassVar[str] = "None: the prepared pair before any registration."
    licence: ClassVar[str] = "MIT (diffeode)"

    def register(self, pair: Pair, machine: Machine) -> Registration:
        """The identity, both ways."""
        return Registration(Affine(), Affine())
