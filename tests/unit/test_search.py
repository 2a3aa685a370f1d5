"""The search for the numbers that the paper's text lost: what it draws, how it chooses, what it
trains, and that the named runs and the training of the descriptor have the numbers that its tables
say are best; and the other two commands that register development pairs.
"""

import math
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import _judged
import _search_page
import _search_plan
import _search_training
import adjoint
import family
import numpy as np
import pytest
import search
import yaml
from _cases import Case, ensure_case, read_case
from _comparisons import COMPARISONS
from _search_plan import REFERENCE, TAUGHT, VARIANTS, Parameter, Rung, SearchCase, Variant
from _search_training import Trainings, training_file
from _synthetic import synthetic_head
from _tables import Table

from diffeode.descriptors.learned import ARCHITECTURE, VERSION
from diffeode.errors import RegistrationError, TrainingError
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid
from diffeode.learning.descriptor.material import read_training
from diffeode.registration.base import Machine
from diffeode.registration.knobs import as_parameters, dotted
from diffeode.registration.runs import load_run
from diffeode.weights.checkpoint import read_checkpoint

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"


@pytest.fixture(scope="module", params=VARIANTS)
def variant(request) -> Variant:
    return VARIANTS[request.param]


@pytest.fixture(scope="module")
def rows(variant):
    return Table(RESULTS / f"search_{variant.name}.tsv", _search_plan.KEYS).rows


def test_at_least_forty_settings_are_drawn_by_a_seed(variant):
    assert variant.settings >= 40
    drawn = [variant.setting(number) for number in range(1, variant.settings + 1)]
    _search_plan._fractions.cache_clear()
    assert drawn == [variant.setting(number) for number in range(1, variant.settings + 1)]
    assert len({tuple(setting.values()) for setting in drawn}) == len(drawn)


def test_every_setting_lies_in_the_ranges_and_fills_them(variant):
    for parameter in variant.parameters:
        values = [
            variant.setting(number)[parameter.name] for number in range(1, variant.settings + 1)
        ]
        assert all(map(parameter.holds, values))
        if parameter.choices:
            assert set(values) == set(parameter.choices)
        else:
            quarters = {_quarter(parameter, value) for value in values}
            assert quarters == {0, 1, 2, 3}


def _quarter(parameter: Parameter, value: float) -> int:
    scale = math.log if parameter.logarithmic else float
    low, high = scale(parameter.low), scale(parameter.high)
    return min(3, int(4 * (scale(value) - low) / (high - low)))


def test_only_development_pairs_are_searched(variant):
    cases = [case for rung in variant.rungs for case in rung.cases]
    for case in cases:
        persons = {case.fixed, case.moving} - {case.comparison.template}
        assert not persons & set(case.comparison.subjects), case


def test_the_table_holds_the_settings_that_the_seed_draws(variant, rows):
    for row in rows:
        setting = variant.setting(int(row["setting"]))
        assert {name: float(row[name]) for name in setting} == setting


def test_the_run_has_the_numbers_that_the_table_says_are_best(variant, rows):
    number = _search_plan.number_of_run(variant, rows)
    given = settings_in_use(variant)
    for knob, value in variant.changes(number).items():
        assert given[knob] == value, knob


def settings_in_use(variant: Variant) -> dict[str, object]:
    """The settings of the named run or, where a training is searched, those of its file."""
    if not variant.training:
        return dotted(as_parameters(load_run(variant.run).build(), whole=True))
    training = read_training(training_file(variant.training))
    return dotted({"recipe": asdict(training.recipe), "settings": asdict(training.settings)})


def test_the_committed_page_is_that_of_the_committed_tables(tmp_path):
    for table in RESULTS.glob("search_*.tsv"):
        shutil.copy(table, tmp_path)
    _search_page.write_search_page(tmp_path)
    assert (tmp_path / "search.md").read_text() == (RESULTS / "search.md").read_text()


@pytest.mark.parametrize("name", ["mind", "descriptor"])
def test_a_search_is_finished(name):
    variant = VARIANTS[name]
    rows = Table(RESULTS / f"search_{name}.tsv", variant.keys).rows
    assert _search_plan.finished(variant, rows)
    best = _search_plan.chosen(variant, rows)
    assert best.eligible
    assert all(p.holds(variant.setting(best.setting)[p.name]) for p in variant.parameters)


def test_nobody_who_is_registered_or_kept_for_tests_is_trained_on():
    cases = [case for rung in VARIANTS["descriptor"].rungs for case in rung.cases]
    registered = {person for case in cases for person in (case.fixed, case.moving)}
    assert registered.isdisjoint(TAUGHT)
    assert set(COMPARISONS["albert"].subjects).isdisjoint(TAUGHT)


def test_the_last_rung_trains_as_long_as_the_file_of_the_training():
    variant = VARIANTS["descriptor"]
    steps = {case.training_steps for case in variant.rungs[-1].cases}
    assert steps == {read_training(training_file(variant.training)).settings.steps}


# ----------------------------------------------------------------------------------- how it chooses


CASES = tuple(SearchCase("albert", "01", "02", spacing, 10) for spacing in (4.0, 2.0))
SMALL = Variant(
    "small",
    "paper-mind",
    (Parameter("gradient", "penalties.gradient.weight", 0.05, 1e-3, 1),),
    4,
    (Rung("first", CASES[:1], 2), Rung("second", CASES[1:], 1)),
)


def row(setting: int, case: SearchCase, dice: float, folds: float = 0.0, failed: str = "") -> dict:
    found = {name: str(value) for name, value in case.columns.items()}
    return found | {
        "setting": str(setting),
        "dice": str(dice),
        "folds_percent": str(folds),
        "failed": failed,
    }


def first_rung() -> list[dict]:
    dice, folds = (0.5, 0.6, 0.9, 0.7, 0.4), (0, 0, 0.5, 0.01, 0)
    return [row(n, CASES[0], d, f) for n, (d, f) in enumerate(zip(dice, folds, strict=True))]


def test_folds_beyond_the_limit_rank_below_every_eligible_setting():
    order = [standing.setting for standing in _search_plan.standings(first_rung(), SMALL.rungs[0])]
    assert order == [3, 1, 0, 4, 2]


def test_the_best_and_the_reference_go_on():
    assert _search_plan.entrants(SMALL, first_rung(), 0) == [0, 1, 2, 3, 4]
    assert _search_plan.entrants(SMALL, first_rung(), 1) == [3, 1, REFERENCE]


def test_the_last_rung_decides_and_only_among_those_who_reached_it():
    last = [row(3, CASES[1], 0.60), row(1, CASES[1], 0.61), row(REFERENCE, CASES[1], 0.5)]
    left_over = [row(4, CASES[1], 0.99)]
    assert _search_plan.chosen(SMALL, [*first_rung(), *last, *left_over]).setting == 1


def test_a_run_keeps_the_reference_until_its_search_is_finished():
    assert _search_plan.number_of_run(SMALL, []) == REFERENCE
    assert _search_plan.number_of_run(SMALL, first_rung()) == REFERENCE
    last = [row(n, CASES[1], dice) for n, dice in ((3, 0.60), (1, 0.61), (REFERENCE, 0.5))]
    assert _search_plan.number_of_run(SMALL, [*first_rung(), *last]) == 1


def test_a_setting_that_failed_or_lacks_a_case_has_no_standing():
    rung = Rung("both", CASES, 1)
    rows = [row(1, CASES[0], 0.5), row(1, CASES[1], 0.7), row(2, CASES[0], 0.9)]
    rows += [row(3, CASES[0], 0.9), row(3, CASES[1], 0.9, failed="memory ran out")]
    (standing,) = _search_plan.standings(rows, rung)
    assert (standing.setting, standing.dice) == (1, pytest.approx(0.6))


def test_a_row_of_a_shorter_training_is_none_of_a_longer_one():
    short, long = (replace(CASES[0], training_steps=steps) for steps in (10, 20))
    rows = [row(1, short, 0.9), row(2, long, 0.6), row(3, CASES[0], 0.8)]
    rungs = [Rung("", (case,), 1) for case in (short, long, CASES[0])]
    best = [_search_plan.standings(rows, rung)[0].setting for rung in rungs]
    assert best == [1, 2, 3]


def test_settings_are_tried_that_have_a_row_for_every_case_of_the_rung():
    both = replace(SMALL, rungs=(Rung("both", CASES, 1),))
    rows = [row(1, CASES[0], 0.5), row(1, CASES[1], 0.7), row(2, CASES[0], 0.9)]
    rows += [row(3, case, 0.9, failed="memory ran out") for case in CASES]
    assert _search_plan.tried_settings(both, rows, 0) == [1, 3]


# -------------------------------------------------------------------------------------- the command


class PowerCutError(Exception):
    """The machine goes down."""


@pytest.fixture
def registrations(monkeypatch, tmp_path):
    """What the search registers, with a Dice that grows with the weight of the gradient; nothing is
    read, nothing is computed.
    """
    done = []

    def register(method, task, machine):
        if len(done) == register.last:
            raise PowerCutError
        weights = {term.name: term.weight for term in method.penalties}
        done.append((weights["gradient"], method.levels.iterations))
        return SimpleNamespace(cpu_seconds=1.0, weight=weights["gradient"])

    register.last = None
    scores = {"folds_percent": 0.0, "sdlogj": 0.1, "min_jacobian": 0.5}
    monkeypatch.setattr(_judged, "register", register)
    monkeypatch.setattr(
        _judged, "judged", lambda case, result, labels: {"dice": result.weight} | scores
    )
    monkeypatch.setattr(search, "ensure_case", lambda make, fixed, moving, folder: folder)
    monkeypatch.setattr(search, "case_digest", lambda folder: folder.name)
    monkeypatch.setattr(search, "read_case", lambda folder: None)
    done_and_last = SimpleNamespace(done=done, register=register)
    done_and_last.options = SimpleNamespace(
        results=tmp_path, work=tmp_path, data=tmp_path, threads=1
    )
    return done_and_last


def test_each_rung_tries_what_the_rung_before_left(registrations):
    search.Search(SMALL, registrations.options).run()
    weights = [SMALL.setting(number)["gradient"] for number in range(5)]
    best = sorted(weights[1:], reverse=True)[:2]
    assert [weight for weight, _ in registrations.done] == [*weights, *best, weights[REFERENCE]]
    table = Table(registrations.options.results / "search_small.tsv", _search_plan.KEYS)
    assert SMALL.setting(_search_plan.chosen(SMALL, table.rows).setting) == {"gradient": best[0]}


def test_a_search_that_was_killed_goes_on_where_it_stopped(registrations):
    registrations.register.last = 3
    with pytest.raises(PowerCutError):
        search.Search(SMALL, registrations.options).run()
    registrations.register.last = None
    search.Search(SMALL, registrations.options).run()
    assert len(registrations.done) == len(set(registrations.done)) + 3 == 8


def test_an_unknown_variant_is_answered_by_the_nearest(tmp_path, capsys):
    assert search.main(["mnd", "--results", str(tmp_path)]) == 2
    assert "There is no variant 'mnd'; did you mean 'mind'" in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


def test_the_page_says_what_was_chosen(registrations, monkeypatch):
    monkeypatch.setattr(_search_page, "VARIANTS", {"small": SMALL})
    search.Search(SMALL, registrations.options).run()
    _search_page.write_search_page(registrations.options.results)
    page = (registrations.options.results / "search.md").read_text(encoding="utf-8")
    table = Table(registrations.options.results / "search_small.tsv", _search_plan.KEYS)
    best = _search_plan.chosen(SMALL, table.rows)
    assert f"**Chosen: number {best.setting}** (gradient {best.dice:g})" in page
    assert "### Second" in page


def page_of(results: Path) -> str:
    _search_page.write_search_page(results)
    return (results / "search.md").read_text(encoding="utf-8")


def test_the_page_of_a_search_that_was_killed_says_how_far_it_is(registrations, monkeypatch):
    monkeypatch.setattr(_search_page, "VARIANTS", {"small": SMALL})
    for last, words in ((3, "rung 1 of 2 (first), 3 of 5"), (6, "rung 2 of 2 (second), 1 of 3")):
        registrations.register.last = last
        with pytest.raises(PowerCutError):
            search.Search(SMALL, registrations.options).run()
        page = page_of(registrations.options.results)
        assert f"**The search is not finished.** On {words} settings were tried." in page
        assert "Chosen" not in page
        assert ("What each parameter does" in page) == (last > 5), "of a whole rung alone"
    registrations.register.last = None
    search.Search(SMALL, registrations.options).run()
    assert "not finished" not in page_of(registrations.options.results)


# --------------------------------------------------------------------------- what a search trains


CONTENT = {
    "experiment": "some",
    "recipe": {"crop": 16, "locations": 64, "width": 2, "features": 2, "synthetic": 0},
    "settings": {"steps": 9, "interval": 1, "seed": 5},
}


def textured(folder: Path, contrast: str, spacing_mm: float) -> Image:
    """A scan of textured noise, another one for each person, inverted where it is a T2w."""
    person, shape = folder.parent.name, (24, 22, 20)
    values = np.random.default_rng(list(person.encode())).uniform(0.1, 0.9, shape)
    values = values if contrast == "T1w" else 1 - values
    brain = np.pad(np.ones([n - 4 for n in shape]), 2)
    affine = np.diag([spacing_mm, spacing_mm, spacing_mm, 1])
    return Image((values * brain).astype(np.float32), Grid(shape, affine))


@pytest.fixture
def trainings(tmp_path, monkeypatch):
    """A function that returns the trainings on scans of noise, in few steps."""
    file = tmp_path / "tiny.yaml"
    file.write_text(yaml.safe_dump(CONTENT))
    monkeypatch.setattr(_search_training, "training_file", lambda name: file)
    monkeypatch.setattr(_search_training, "albert_scan_at", textured)
    return lambda: Trainings("tiny", tmp_path, tmp_path)


def test_a_training_uses_both_contrasts_of_four_persons_and_one_of_them_chooses_the_step(trainings):
    about = read_checkpoint(trainings().weights({}, 2), ARCHITECTURE, VERSION).about
    assert set(about.data) == {f"sub-{person}/{c}" for person in TAUGHT for c in ("T1w", "T2w")}
    assert about.configuration["training"]["steps"] == 2
    assert "validation_loss" in about.metrics


def test_weights_that_are_there_are_not_trained_again(trainings):
    weights = trainings().weights({"recipe.shift": 0.2}, 1)
    written = weights.stat().st_mtime_ns
    assert trainings().weights({"recipe.shift": 0.2}, 1) == weights
    assert weights.stat().st_mtime_ns == written
    assert trainings().weights({"recipe.shift": 0.3}, 1) != weights


def test_every_number_that_is_searched_changes_the_code_of_a_row(trainings):
    variant, ours = VARIANTS["descriptor"], trainings()
    codes = [ours.code("run", {}, 3), ours.code("run", {}, 4), ours.code("another", {}, 3)]
    for parameter in variant.parameters:
        codes.append(ours.code("run", {parameter.knob: parameter.at(0.3)}, 3))
    assert len(set(codes)) == len(codes)
    assert trainings().code("run", {}, 3) == codes[0]


def test_other_scans_change_the_code_of_a_row(trainings, monkeypatch):
    before = trainings().code("run", {}, 3)
    monkeypatch.setattr(
        _search_training,
        "albert_scan_at",
        lambda folder, contrast, mm: textured(Path("x", "other", "anat"), contrast, mm),
    )
    assert trainings().code("run", {}, 3) != before


SHORT, LONG = (
    tuple(replace(case, training_steps=steps) for case in CASES[:number])
    for steps, number in ((1, 1), (2, 2))
)
TINY = Variant(
    "tiny",
    "paper-cl",
    (Parameter("training_rate", "settings.learning_rate", 7e-4, 1e-4, 1e-2),),
    2,
    (Rung("short", SHORT, 1), Rung("long", LONG, 1)),
    "tiny",
)


def test_each_setting_is_registered_with_its_own_weights(trainings, registrations, monkeypatch):
    used = []

    def register(method, task, machine):
        used.append(read_checkpoint(method.descriptor_weights, ARCHITECTURE, VERSION).about)
        return SimpleNamespace(cpu_seconds=1.0, weight=1 / len(used))

    monkeypatch.setattr(_judged, "register", register)
    search.Search(TINY, registrations.options).run()
    trained = [about.configuration["training"] for about in used]
    rates = [TINY.setting(number)["training_rate"] for number in (0, 1, 2, 0, 0)]
    assert [training["learning_rate"] for training in trained] == rates
    assert [training["steps"] for training in trained] == [1, 1, 1, 2, 2]
    rows = of_results(registrations.options.results, "search_tiny")
    assert [row["training_steps"] for row in rows] == ["1", "1", "1", "2", "2"]


def test_a_training_that_fails_is_a_row_with_its_reason(trainings, registrations, monkeypatch):
    def fails(*_):
        raise TrainingError("The loss was not finite.\nMore of it.")

    monkeypatch.setattr(Trainings, "weights", fails)
    search.Search(TINY, registrations.options).run()
    rows = of_results(registrations.options.results, "search_tiny")
    assert [row["failed"] for row in rows] == ["The loss was not finite."] * 5
    assert not registrations.done


def test_the_page_says_what_was_trained(trainings, registrations, monkeypatch):
    monkeypatch.setattr(_search_page, "VARIANTS", {"tiny": TINY})
    dice = iter((0.5, 0.6, 0.4, 0.5, 0.6, 0.5, 0.6))
    monkeypatch.setattr(
        _judged, "register", lambda *_: SimpleNamespace(cpu_seconds=1.0, weight=next(dice))
    )
    search.Search(TINY, registrations.options).run()
    page = page_of(registrations.options.results)
    assert "## The training of the descriptor, `config/descriptors/tiny.yaml`" in page
    assert "newborns 01 to 04" in page
    assert "newborns 02 to 01, 4 mm, 10 iterations at 0.005, 1 steps of training" in page


# ------------------------------------------------------------------------ what a pair is judged by


LABEL = CASES[0].comparison.labels()[0]


@pytest.fixture
def synthetic_pair(tmp_path, monkeypatch):
    """The pair that every command gets instead of newborns and adults, and its Dice as it lies."""

    def make(fixed, moving) -> Case:
        pair = synthetic_head((12, 10, 11))(fixed, moving)
        labels = [
            Labels(LABEL * one.data, one.grid) for one in (pair.fixed_labels, pair.moving_labels)
        ]
        return replace(pair, fixed_labels=labels[0], moving_labels=labels[1])

    folder = ensure_case(make, tmp_path, tmp_path, tmp_path / "pair")
    for command in (search, family, adjoint):
        monkeypatch.setattr(command, "ensure_case", lambda *_: folder)
    case = read_case(folder)
    fixed, moving = (labels.data > 0 for labels in (case.fixed_labels, case.moving_labels))
    dice = 2 * np.sum(fixed & moving) / (fixed.sum() + moving.sum())
    assert 0 < dice < 1
    return SimpleNamespace(case=case, dice=pytest.approx(dice, rel=1e-5))


def of_results(tmp_path, name: str) -> list[dict]:
    return Table(tmp_path / f"{name}.tsv", ()).rows


def test_a_run_that_moves_nothing_has_the_dice_of_the_labels_as_they_lie(synthetic_pair):
    found = _judged.outcome(load_run("identity"), synthetic_pair.case, [LABEL], Machine(1, 1))
    assert (found["failed"], found["folds_percent"], found["min_jacobian"]) == ("", 0, 1)
    assert found["dice"] == synthetic_pair.dice


def test_a_run_that_fails_is_a_row_with_its_reason(synthetic_pair, monkeypatch):
    def fails(*_):
        raise RegistrationError("The maps met a wall.\nMore of it.")

    monkeypatch.setattr(_judged, "register", fails)
    found = _judged.outcome(load_run("identity"), synthetic_pair.case, [LABEL], Machine(1, 1))
    assert found == {"failed": "The maps met a wall."}


def test_the_search_registers_real_pairs(synthetic_pair, tmp_path):
    variant = Variant("tiny", "paper-mind", SMALL.parameters, 1, (Rung("only", CASES[:1], 1),))
    options = SimpleNamespace(results=tmp_path, work=tmp_path, data=tmp_path, threads=1)
    search.Search(variant, options).run()
    rows = of_results(tmp_path, "search_tiny")
    assert [row["setting"] for row in rows] == ["0", "1"]
    assert all(row["failed"] == "" and 0 < float(row["dice"]) <= 1 for row in rows)


def test_the_family_registers_real_pairs(synthetic_pair, tmp_path, monkeypatch):
    monkeypatch.setattr(family, "CASES", family.CASES[:1])
    monkeypatch.setattr(family, "RUNS", ())
    assert family.main(["--runs", "identity", "--results", str(tmp_path)]) == 0
    (row,) = of_results(tmp_path, "family")
    assert float(row["dice"]) == synthetic_pair.dice
    page = (tmp_path / "family.md").read_text(encoding="utf-8")
    assert "`identity`" in page, "a run that is asked for by name has its line"


def test_the_adjoints_gradient_leads_elsewhere_than_the_exact_one(
    synthetic_pair, tmp_path, monkeypatch
):
    quick = load_run(adjoint.RUN).changed({"levels.iterations": [5]})
    monkeypatch.setattr(adjoint, "load_run", lambda name: quick)
    assert adjoint.main(["--results", str(tmp_path)]) == 0
    rows = of_results(tmp_path, "adjoint")
    apart = [float(row["mean_apart_mm"]) for row in rows]
    assert [row["gradient"] for row in rows] == ["exact", "adjoint", "exact"]
    assert apart[0] == 0 < apart[1]
    assert apart[2] > 0
