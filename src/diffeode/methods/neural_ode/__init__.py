"""Registration by a Neural ODE: the method and the settings that it is made of."""

from diffeode.methods.neural_ode.method import NeuralODE
from diffeode.methods.neural_ode.penalties.bending import Bending
from diffeode.methods.neural_ode.penalties.gradient import Gradient
from diffeode.methods.neural_ode.penalties.jacobian import Jacobian
from diffeode.methods.neural_ode.penalties.magnitude import Magnitude
from diffeode.methods.neural_ode.penalties.operator import Operator
from diffeode.methods.neural_ode.settings import DescentSettings, FlowSettings, Levels
from diffeode.methods.neural_ode.similarities.descriptor import Descriptor
from diffeode.methods.neural_ode.similarities.gradient_fields import GradientFields
from diffeode.methods.neural_ode.similarities.local_correlation import LocalCorrelation
from diffeode.methods.neural_ode.similarities.local_mutual_information import LocalMutualInformation
from diffeode.methods.neural_ode.similarities.mind import Mind
from diffeode.methods.neural_ode.similarities.mutual_information import MutualInformation
from diffeode.methods.neural_ode.similarities.squared_difference import SquaredDifference
from diffeode.methods.neural_ode.velocity import (
    BoxKernel,
    FreeGrid,
    GaussianKernel,
    Network,
    OperatorKernel,
    Velocity,
)

__all__ = [
    "Bending",
    "BoxKernel",
    "DescentSettings",
    "Descriptor",
    "FlowSettings",
    "FreeGrid",
    "GaussianKernel",
    "Gradient",
    "GradientFields",
    "Jacobian",
    "Levels",
    "LocalCorrelation",
    "LocalMutualInformation",
    "Magnitude",
    "Mind",
    "MutualInformation",
    "Network",
    "NeuralODE",
    "Operator",
    "OperatorKernel",
    "SquaredDifference",
    "Velocity",
]
