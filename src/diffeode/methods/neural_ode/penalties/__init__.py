"""The penalties, one in each file. To add one, write its file and name its class here."""

from diffeode.methods.neural_ode.penalties.bending import Bending
from diffeode.methods.neural_ode.penalties.gradient import Gradient
from diffeode.methods.neural_ode.penalties.jacobian import Jacobian
from diffeode.methods.neural_ode.penalties.magnitude import Magnitude
from diffeode.methods.neural_ode.penalties.operator import Operator
from diffeode.methods.neural_ode.terms import PenaltyTerm

_KINDS: tuple[type[PenaltyTerm], ...] = (Gradient, Bending, Jacobian, Magnitude, Operator)
PENALTIES = {kind.name: kind for kind in _KINDS}
"""The penalties by name, in the order in which they are summed."""
