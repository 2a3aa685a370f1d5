"""The similarities, one in each file. To add one, write its file and name its class here."""

from diffeode.methods.neural_ode.similarities.descriptor import Descriptor
from diffeode.methods.neural_ode.similarities.gradient_fields import GradientFields
from diffeode.methods.neural_ode.similarities.local_correlation import LocalCorrelation
from diffeode.methods.neural_ode.similarities.local_mutual_information import LocalMutualInformation
from diffeode.methods.neural_ode.similarities.mind import Mind
from diffeode.methods.neural_ode.similarities.mutual_information import MutualInformation
from diffeode.methods.neural_ode.similarities.squared_difference import SquaredDifference
from diffeode.methods.neural_ode.terms import SimilarityTerm

_KINDS: tuple[type[SimilarityTerm], ...] = (
    Mind,
    LocalMutualInformation,
    MutualInformation,
    GradientFields,
    LocalCorrelation,
    SquaredDifference,
    Descriptor,
)
SIMILARITIES = {kind.name: kind for kind in _KINDS}
"""The similarities by name, in the order in which they are summed."""
