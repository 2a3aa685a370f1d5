"""Settings are declared once; checks, files, changes and new terms come from that."""

import dataclasses
from typing import ClassVar, final

import numpy as np
import pytest
from computed import PAIR
from ours import levels, neural_ode

from diffeode.errors import InputError
from diffeode.methods.identity import Identity
from diffeode.methods.neural_ode import (
    BoxKernel,
    FreeGrid,
    GaussianKernel,
    Gradient,
    Jacobian,
    LocalCorrelation,
    Mind,
    Network,
    NeuralODE,
    OperatorKernel,
    SquaredDifference,
)
from diffeode.methods.neural_ode.penalties import PENALTIES
from diffeode.methods.neural_ode.similarities import SIMILARITIES
from diffeode.methods.neural_ode.terms import PenaltyTerm, SimilarityTerm
from diffeode.registration import registry, runs
from diffeode.registration.base import Machine
from diffeode.registration.knobs import (
    Between,
    Several,
    as_parameters,
    between,
    changed,
    dotted,
    fields_of,
    knob,
    knob_of,
    names_of,
)
from diffeode.registration.page import methods_page

METHODS = registry.method_names()
OURS = [name for name in runs.run_names() if runs.load_run(name).method == "neural-ode"]


def built(**parameters) -> NeuralODE:
    return registry.make_method("neural-ode", parameters)


# ----------------------------------------------------------------------------------------- declared


@pytest.mark.parametrize("name", METHODS)
def test_every_knob_says_what_it_means_in_words(name):
    for parameter, field in fields_of(registry.method_class(name)):
        meaning = knob_of(field).meaning
        assert len(meaning.split()) > 1, parameter
        assert meaning[0].isupper() or meaning[0] == "`", parameter
        assert not meaning.endswith("."), parameter


@pytest.mark.parametrize("name", METHODS)
def test_what_lies_outside_its_range_is_refused_by_the_dotted_name(name):
    for parameter, field in fields_of(registry.method_class(name)):
        domain = knob_of(field).domain
        if not isinstance(domain, Between | Several) or not np.isfinite(domain.high):
            continue
        beyond = (
            type(domain.high)(domain.high + 1) if isinstance(domain.high, int) else domain.high * 2
        )
        many = field.type.startswith("tuple")
        value = [beyond] * len(field.default) if many else beyond
        if field.type in ("int", "tuple[int, ...]"):
            value = [int(v) for v in value] if many else int(value)
        with pytest.raises(
            InputError, match=rf"^Parameter {parameter} is .*; (it must lie between|give) "
        ):
            changed(registry.make_method(name, {}), {parameter: value})


# -------------------------------------------------------------------------------------------- given


def test_the_terms_that_are_named_are_the_terms_that_are_used():
    assert built(similarity={"local_correlation": {"window": 7}}).similarity == (
        LocalCorrelation(window=7),
    )
    assert built(penalties={}).penalties == ()
    default = built(masked=True)
    assert (default.similarity, default.penalties) == ((Mind(),), (Gradient(0.2),))


def test_terms_are_summed_in_one_order_however_they_are_named():
    backward = {name: {} for name in reversed(SIMILARITIES)}
    assert [term.name for term in built(similarity=backward).similarity] == list(SIMILARITIES)
    backward = {f"penalties.{name}.weight": 1 for name in reversed(PENALTIES)}
    assert [term.name for term in neural_ode(backward).penalties] == list(PENALTIES)


def test_other_blocks_are_merged_over_their_defaults():
    made = built(flow={"steps": 6}, velocity={"spacing": 1})
    assert made.flow == dataclasses.replace(NeuralODE().flow, steps=6)
    assert made.velocity == dataclasses.replace(NeuralODE().velocity, spacing=1)


@pytest.mark.parametrize(
    ("given", "kernel"),
    [
        ("operator", OperatorKernel()),
        ({"operator": {}}, OperatorKernel()),
        ({"box": {"width": 5}}, BoxKernel(5)),
        ({"gaussian": {"width": 2}}, GaussianKernel(2)),
    ],
)
def test_what_is_one_of_several_kinds_is_chosen_by_its_name(given, kernel):
    assert built(velocity={"kernel": given}).velocity.kernel == kernel
    assert neural_ode({"velocity.kernel": given}).velocity.kernel == kernel


def test_single_values_are_changed_and_all_else_stays():
    run = runs.load_run("node")
    made = run.changed({"similarity.mind.weight": 2, "levels.iterations": [10, 5, 1]}).build()
    before = run.build()
    assert made.similarity == (
        dataclasses.replace(before.similarity[0], weight=2),
        *before.similarity[1:],
    )
    assert made.levels == dataclasses.replace(before.levels, iterations=(10, 5, 1))
    assert dataclasses.replace(made, similarity=before.similarity, levels=before.levels) == before


def test_a_block_that_changes_a_run_leaves_the_rest_of_that_block():
    by = {"flow": {"gradient": "checkpoint"}, "similarity.local_correlation": {"weight": 1}}
    made = runs.load_run("node").changed(by).build()
    assert (made.flow.gradient, made.flow.steps) == ("checkpoint", 6)
    assert made.similarity[-1] == LocalCorrelation(1, window=7)


def test_a_term_that_was_not_there_is_added_and_a_kind_that_was_not_there_replaces():
    made = neural_ode(
        {
            "similarity.squared_difference.weight": 3,
            "penalties.jacobian.barrier": 0.3,
            "velocity.kernel.box.width": 5,
        }
    )
    assert made.similarity == (Mind(), SquaredDifference(3))
    assert made.penalties == (Gradient(0.2), Jacobian(1.0, barrier=0.3))
    assert made.velocity.kernel == BoxKernel(5)
    assert (
        neural_ode({"velocity.field": "network"}, {"velocity.field": "grid"}).velocity.field
        == FreeGrid()
    )
    assert neural_ode({"velocity.field.network.reductions": 3}).velocity.field == Network(3)


def test_blocks_may_be_changed_as_a_whole():
    block = {"levels": {"factors": [2], "iterations": [9]}, "similarity": {"local_correlation": {}}}
    made = neural_ode(block)
    assert (made.levels.factors, made.levels.iterations) == ((2,), (9,))
    assert made.similarity == (LocalCorrelation(),)


@pytest.mark.parametrize("whole", [False, True])
@pytest.mark.parametrize("name", runs.run_names())
def test_a_run_survives_the_way_to_a_file_and_back(name, whole):
    run = runs.load_run(name)
    method = run.build()
    assert registry.make_method(run.method, as_parameters(method, whole)) == method
    assert changed(method, dotted(as_parameters(method, whole))) == method


def test_a_weight_of_zero_leaves_a_term_out():
    """A term of weight 0 is left out of the energy, and the files that it would read are
    not read.
    """
    by = {
        "similarity.descriptor": {"weight": 0.0, "weights": "nowhere.safetensors"},
        "penalties.gradient.weight": 0.0,
    }
    method = neural_ode(by, levels((2.0,), (1,)))
    assert method.reads() == {}
    assert list(method.register(PAIR, Machine()).trace[0]) == ["level", "mind", "energy"]


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        (
            {"similarity": {"mnd": {}}},
            "neural-ode has no parameter 'similarity.mnd'; did you mean 'similarity.mind'.",
        ),
        (
            {"similarity": {"mind": {"radios": 1}}},
            "'similarity.mind.radios'; did you mean 'similarity.mind.radius'.",
        ),
        ({"flow": {"step": 1}}, "has no parameter 'flow.step'; did you mean 'flow.steps'."),
        (
            {"learning_rat": 1},
            "has no parameter 'learning_rat'; did you mean 'descent.learning_rate'.",
        ),
        (
            {"velocity": {"kernel": {"bx": {}}}},
            "'velocity.kernel.bx'; did you mean 'velocity.kernel.box'.",
        ),
        (
            {"velocity": {"kernel": "bix"}},
            "Parameter velocity.kernel is 'bix'; did you mean 'box'.",
        ),
        (
            {"velocity": {"kernel": {"box": {}, "gaussian": {}}}},
            "names 2 of gaussian, box, operator; name one.",
        ),
        ({"velocity": {"kernel": {}}}, "names 0 of gaussian, box, operator; name one."),
        (
            {"velocity": {"kernel": 3}},
            "is 3, which is no word, and no block of one of names and values.",
        ),
        (
            {"flow": 3},
            "Parameter flow of method neural-ode is 3, which is no block of names and values.",
        ),
        (
            {"flow": None},
            "Parameter flow of method neural-ode is None, which is no block of names and values.",
        ),
        ({"similarity": ["mind"]}, "is ['mind'], which is no block of names and values."),
        (
            {"similarity": {"mind": 2}},
            "similarity.mind of method neural-ode is 2, which is no block",
        ),
        ({"similarity": {3: {}}}, "has no parameter 'similarity.3'"),
        (
            {"weight_ncc": 1},
            "no parameter 'weight_ncc'; it is now 'similarity.local_correlation.weight'.",
        ),
        ({"levels": [4, 2]}, "Parameter levels of method neural-ode is [4, 2], which is no block"),
    ],
)
def test_what_is_misspelt_or_of_another_shape_is_one_sentence(parameters, sentence):
    with pytest.raises(InputError) as refusal:
        built(**parameters)
    assert sentence in str(refusal.value)
    assert str(refusal.value).endswith(".")


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("similarity.mnd.weight", "no parameter 'similarity.mnd'; did you mean 'similarity.mind'."),
        ("flow.steps.more", "no parameter 'flow.steps.more'"),
        ("masked.", "no parameter 'masked.'; did you mean 'masked'."),
        ("steps", "Method neural-ode has no parameter 'steps'; it is now 'flow.steps'."),
    ],
)
def test_a_misspelt_dotted_name_is_answered_with_the_nearest(name, sentence):
    with pytest.raises(InputError) as refusal:
        neural_ode({name: 1})
    assert sentence in str(refusal.value)


@pytest.mark.parametrize(
    ("make", "sentence"),
    [
        (
            lambda: NeuralODE(similarity=(Mind(radius=9),)),
            "Parameter similarity.mind.radius is 9; it must lie between",
        ),
        (
            lambda: NeuralODE(similarity=(Mind(), Mind(2.0))),
            "Parameter similarity has mind twice; give it once.",
        ),
        (lambda: NeuralODE(similarity=(Gradient(),)), "which is no SimilarityTerm."),
        (lambda: NeuralODE(similarity=Mind()), "give a tuple of SimilarityTerm."),
        (
            lambda: NeuralODE(masked="no"),
            "Parameter masked is 'no', which is no flag, true or false (default: false).",
        ),
        (
            lambda: registry.make_method("voxelmorph", {"window": 8}),
            "window is 8; a window needs an odd, whole number",
        ),
    ],
)
def test_what_is_made_in_python_is_checked_alike(make, sentence):
    with pytest.raises(InputError) as refusal:
        make()
    assert sentence in str(refusal.value)


def test_every_former_name_leads_to_a_name_of_today():
    known = set(names_of(NeuralODE))
    assert set(NeuralODE.formerly.values()) <= known
    assert known.isdisjoint(NeuralODE.formerly)


# -------------------------------------------------------------------------------------------- added


@final
@dataclasses.dataclass(frozen=True)
class Absolute(SimilarityTerm):
    """The mean absolute difference."""

    name: ClassVar[str] = "absolute"

    exponent: float = knob(1.0, between(0.5, 4), "Power of the differences")

    def to(self, fixed, moving, mask, spacing):
        return lambda warped: ((warped.image - fixed).abs() + 1e-6).pow(self.exponent).mean()


@final
@dataclasses.dataclass(frozen=True)
class Drift(PenaltyTerm):
    """The squared mean displacement."""

    name: ClassVar[str] = "drift"

    axis: int = knob(0, between(0, 2), "The axis along which nothing may drift")

    def cost(self, moved):
        return self.weight * moved.displacement[:, self.axis].mean() ** 2


QUICK = levels((1.0,), (5,))


def test_a_new_similarity_is_one_class(monkeypatch):
    monkeypatch.setitem(SIMILARITIES, "absolute", Absolute)
    method = changed(built(similarity={"absolute": {"weight": 2, "exponent": 2}}), QUICK)
    assert method.similarity == (Absolute(2, exponent=2),)
    assert changed(NeuralODE((Absolute(2, exponent=2),)), QUICK) == method
    row = method.register(PAIR, Machine()).trace[0]
    assert list(row) == ["level", "absolute", "gradient", "energy"]
    like = neural_ode(QUICK, {"similarity": {"squared_difference": {"weight": 2}}})
    assert row["absolute"] == pytest.approx(
        like.register(PAIR, Machine()).trace[0]["ssd"], rel=1e-3
    )
    with pytest.raises(
        InputError, match=r"similarity\.absolute\.exponent is 9; it must lie between 0\.5 and 4\."
    ):
        neural_ode({"similarity.absolute.exponent": 9})
    with pytest.raises(InputError, match=r"did you mean 'similarity\.absolute'"):
        neural_ode({"similarity.absolut.weight": 9})
    assert (
        "| `similarity.absolute.exponent` | `1` | 0.5 to 4 | Power of the differences. |"
        in methods_page()
    )


def test_a_new_penalty_is_one_class(monkeypatch):
    monkeypatch.setitem(PENALTIES, "drift", Drift)
    free, held = (neural_ode(QUICK, {"penalties.drift.weight": weight}) for weight in (0.0, 1e6))
    assert held.penalties == (Gradient(0.2), Drift(1e6))
    drifts = []
    for method, columns in ((free, ["gradient"]), (held, ["gradient", "drift"])):
        found = method.register(PAIR, Machine())
        assert list(found.trace[0]) == ["level", "mind", *columns, "energy"]
        drifts.append(abs(found.forward.displacement_mm[..., 0].mean()))
    assert drifts[1] < 0.1 * drifts[0]
    with pytest.raises(
        InputError, match=r"penalties\.drift\.axis is 3; it must lie between 0 and 2\."
    ):
        neural_ode({"penalties.drift.axis": 3})


def test_a_field_that_was_not_declared_is_named():
    @dataclasses.dataclass(frozen=True)
    class Plain(Identity):
        exponent: float = 1.0

    with pytest.raises(
        TypeError, match=r"exponent must be declared by knob\(default, range, meaning\)"
    ):
        Plain()
