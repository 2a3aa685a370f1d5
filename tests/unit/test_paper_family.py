"""The runs of arXiv 2512.22689 and of its authors' poster: their names and their form."""

import pytest

from diffeode.errors import InputError
from diffeode.methods.neural_ode import (
    DescentSettings,
    Descriptor,
    FlowSettings,
    GradientFields,
    Levels,
    LocalMutualInformation,
    Mind,
    MutualInformation,
    Network,
    OperatorKernel,
)
from diffeode.registration.knobs import as_parameters, dotted
from diffeode.registration.runs import FORMERLY, load_run, run_names

SIMILARITY = {
    "paper-mind": Mind,
    "paper-cl": Descriptor,
    "paper-lmi": LocalMutualInformation,
    "paper-mi": MutualInformation,
    "paper-ngf": GradientFields,
}
"""Of the runs in the paper's own form; paper-lddmm is the poster's other framework."""
FAMILY = (*SIMILARITY, "paper-lddmm")


# -------------------------------------------------------------------------------------------- names


def test_the_family_is_whole():
    assert {name for name in run_names() if name.startswith("paper-")} == set(FAMILY)


def test_a_title_of_the_paper_is_a_run_of_the_paper_and_ours_are_called_otherwise():
    for name in run_names():
        run = load_run(name)
        if run.method == "neural-ode":
            ours = "NODEO" if name.startswith("nodeo") else "diffeode ("
            whose = "Neural ODE (" if name in FAMILY else ours
            assert run.title.startswith(whose), name
    assert load_run("paper-mind").title == "Neural ODE (MIND)"
    assert load_run("paper-cl").title == "Neural ODE (CL)"
    assert load_run("paper-lmi").title == "Neural ODE (LMI)"


@pytest.mark.parametrize("former", FORMERLY)
def test_a_former_name_is_answered_by_the_one_of_today(former):
    today = FORMERLY[former]
    assert today in run_names()
    assert former not in run_names()
    with pytest.raises(InputError) as error:
        load_run(former)
    assert str(error.value) == f"There is no run {former!r}; it is now {today!r}."


# --------------------------------------------------------------------------------------------- form


@pytest.mark.parametrize("name", FAMILY)
def test_every_run_of_the_family_has_the_papers_network_operator_and_descent(name):
    method = load_run(name).build()
    velocity = method.velocity
    # The poster's LDDMM reads the network as a velocity field on the grid.
    cloud = "fixed" if name == "paper-lddmm" else "moved"
    assert (velocity.field, velocity.spacing) == (Network(reductions=1, cloud=cloud), 1)
    assert (velocity.knots, velocity.border) == (1, "free")
    assert isinstance(velocity.kernel, OperatorKernel)
    assert velocity.kernel.boundary == "dirichlet"
    assert method.flow.solver == "euler"
    assert method.descent == DescentSettings(0.005, "constant", 1e-8, 0.0)
    assert method.levels == Levels((1,), (300,))
    assert (method.diffeomorphic, method.masked, method.weight_map) == ("penalised", False, "")


@pytest.mark.parametrize("name", SIMILARITY)
def test_every_run_of_the_papers_form_takes_one_short_step_and_has_three_penalties(name):
    method = load_run(name).build()
    assert method.flow == FlowSettings("euler", 1, 0.005, "exact")
    assert [type(term) for term in method.similarity] == [SIMILARITY[name]]
    assert [term.weight for term in method.similarity] == [1]
    assert {term.name for term in method.penalties} == {"gradient", "jacobian", "magnitude"}
    assert all(term.weight > 0 for term in method.penalties)
    jacobian = next(term for term in method.penalties if term.name == "jacobian")
    assert jacobian.barrier > 0
    assert not jacobian.squared


def test_the_papers_numbers_that_survive_are_kept():
    assert load_run("paper-lmi").build().similarity[0].bins == 16
    (mind,) = load_run("paper-mind").build().similarity
    assert (mind.radius, mind.dilation, mind.form, mind.moving) == (1, 2, "ssc", "recomputed")
    (learned,) = load_run("paper-cl").build().similarity
    assert (learned.kind, learned.weights, learned.moving) == ("learned", "", "recomputed")


@pytest.mark.parametrize("name", SIMILARITY)
def test_the_adjoint_is_one_switch_of_every_run(name):
    run = load_run(name)
    switched = run.changed({"flow.gradient": "adjoint"}).build()
    assert switched.flow == FlowSettings("euler", 1, 0.005, "adjoint")
    before, after = (dotted(as_parameters(m, whole=True)) for m in (run.build(), switched))
    assert {key for key in before if before[key] != after[key]} == {"flow.gradient"}
