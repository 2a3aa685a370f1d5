"""The tables that the statistics' scripts make of made-up numbers of two experiments, and where
they lie.
"""

import html
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from matplotlib.figure import Figure
from scipy import stats

from diffeode.errors import RegistrationError
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine
from diffeode.provenance.origin import origin_of
from diffeode.provenance.receipt import write_receipt
from diffeode.provenance.seals import seal
from diffeode.statistics import tidy
from diffeode.statistics.export import MISSING as DASH
from diffeode.statistics.reported import COLUMNS
from diffeode.units.pair import PairUnit

pytestmark = pytest.mark.workflow

TABLES = Path("results/studies/rich/tables")
RUNS = ("identity", "brief", "learned")
EXPERIMENTS = ("first", "second")
PAIRS = 7
LABELS = ((17, "Left-Hippocampus"), (53, "Right-Hippocampus"))


@pytest.fixture(scope="module")
def dice():
    """Return the Dice of each experiment, pair, label and run, such that some runs differ in one
    experiment only.
    """
    random = np.random.default_rng(4)
    shift = {("first", "brief"): 0.05, ("first", "learned"): 0.02, ("second", "learned"): 0.03}
    return {
        (experiment, f"sub-{pair:02d}_T2w__sub-31_T1w", label, run): round(
            0.5 + label / 1000 + shift.get((experiment, run), 0) + random.uniform(0, 0.05), 4
        )
        for experiment in EXPERIMENTS
        for pair in range(PAIRS)
        for label, _ in LABELS
        for run in RUNS
    }


@pytest.fixture
def metrics(dice, run_script):
    """The study's table of numbers, in the folder in which scripts run."""
    rows = []
    for (experiment, pair, label, run), value in dice.items():
        unit = (experiment, pair, run, *pair.split("__"))
        rows.append((*unit, "dice", label, dict(LABELS)[label], value))
        if label == LABELS[0][0]:
            both = [dice[experiment, pair, label, run] for label, _ in LABELS]
            rows.append((*unit, "dice", "", "", sum(both) / 2))
    file = Path("results/studies/rich/metrics.tsv")
    file.parent.mkdir(parents=True)
    pd.DataFrame(rows, columns=tidy.COLUMNS).to_csv(file, sep="\t", index=False)
    with_reported_numbers()


def with_reported_numbers() -> None:
    """One number stands for what the papers report."""
    row = dict.fromkeys(COLUMNS, "") | {"source": "poster", "place": "Table 9", "metric": "dice"}
    row |= {"experiment": "second", "run": "learned", "value": "75", "unit": "%"}
    pairs = row | {"metric": "pairs", "run": "", "value": "100", "unit": ""}
    Path("config").mkdir(exist_ok=True)
    table = pd.DataFrame([row, pairs], columns=list(COLUMNS))
    table.to_csv("config/reported.tsv", sep="\t", index=False)


def mean_dice(dice, experiment, run):
    """Mean Dice over the labels of each pair, in the order of pairs."""
    table = pd.Series(
        {key: value for key, value in dice.items() if key[0] == experiment and key[3] == run}
    )
    return table.groupby(level=1).mean().to_numpy()


def read(name):
    return pd.read_csv(TABLES / f"{name}.tsv", sep="\t")


def cells(name):
    """Rows of the table on a page, each after the title above it, and the sentence above all."""
    text = (TABLES / f"{name}.html").read_text(encoding="utf-8")
    above = ["experiment"] if 'class="experiment"' in text else []
    rows = []
    for row in re.findall(r"<tr.*?</tr>", text, re.DOTALL):
        found = re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        if 'class="experiment"' in row:
            above = found
        else:
            rows.append(above + found)
    bare = [[re.sub("</?strong>", "", cell) for cell in row] for row in rows]
    return [[html.unescape(cell) for cell in row] for row in bare], html.unescape(
        re.search("<p>(.*?)</p>", text)[1]
    )


def markdown(name):
    """The same of a table in Markdown."""
    lines = (TABLES / f"{name}.md").read_text(encoding="utf-8").splitlines()
    rows = [
        line.strip("|").split("|") for line in lines if line.startswith("|") and "---" not in line
    ]
    return [[cell.replace("**", "").strip() for cell in row] for row in rows]


WHO = "A rich study (whole heads; persons with labels). "


def test_the_summary_and_its_page(rich_plan, run_script, metrics, dice):
    run_script(rich_plan.the("summarise"))
    summary = read("summary").set_index(["experiment", "run"])
    assert len(summary) == len(EXPERIMENTS) * len(RUNS)
    for experiment, run in summary.index:
        values = mean_dice(dice, experiment, run)
        found = summary.loc[(experiment, run)]
        assert (found["dice_mean"], found["dice_sd"]) == pytest.approx(
            (values.mean(), values.std(ddof=1)), abs=1e-5
        )
    rows, said = cells("summary")
    assert rows == markdown("summary")
    assert len(rows) == 1 + len(summary)
    assert said.startswith(WHO + "Mean and standard deviation over pairs; time is also a median.")
    assert rows[0] == ["experiment", "method", "pairs", "Dice", "reported Dice"]
    reported = {tuple(row[:2]): row[-1] for row in rows[1:]}
    number = reported.pop(("Second (persons with labels)", "Learned title"))
    assert number == "0.750 (poster, Table 9)"
    assert set(reported.values()) == {"\N{EN DASH}"}


def test_the_experiments_are_listed_beside_what_is_reported(rich_plan, run_script):
    with_reported_numbers()
    run_script(rich_plan.the("experiments"))
    rows, said = cells("experiments")
    assert rows == markdown("experiments")
    assert said == WHO + "What is registered to what."
    table = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    assert [row["experiment"] for row in table] == ["First", "Second", "Mixed"]
    assert table[1]["reported pairs"] == "100 (poster, Table 9)"
    first = {"fixed": "Heads, T2w", "fixed scans": "2", "moving": "Heads, T1w"}
    first |= {"moving scans": "2", "persons": "2", "pairs": "2", "alignment": "affine"}
    assert first.items() <= table[0].items()


SWEPT = "swept-steps-2-iterations-3"


@pytest.fixture
def of_swept_runs(run_script):
    """Dice, folds and seconds of the runs that a sweep or the table of models shows, two pairs
    each, and numbers that are reported for their settings.
    """
    numbers = {"dice": (0.7, 0.8), "folds_central_grid_percent": (0.1, 0.3), "seconds": (5, 7)}
    rows = [
        (experiment, f"f{pair}__m", run, f"f{pair}", "m", metric, "", "", values[pair])
        for experiment in ("first", "mixed")
        for run in ("brief", SWEPT)
        for metric, values in numbers.items()
        for pair in (0, 1)
    ]
    columns = ("experiment", "pair", "run", "fixed", "moving", "metric", "label", "label_name")
    file = Path("results/studies/rich/metrics.tsv")
    file.parent.mkdir(parents=True)
    pd.DataFrame(rows, columns=[*columns, "value"]).to_csv(file, sep="\t", index=False)
    nodeo = dict.fromkeys(COLUMNS, "") | {"source": "nodeo", "experiment": "third"}
    reported = [
        {"settings": "steps=2;iterations=3", "metric": "dice", "value": "0.9", "place": "Table 2"},
        *(
            {"settings": "velocity=tensor with kernel;steps=4", "place": "Table 3", **said}
            for said in (
                {"metric": "dice", "value": "0.769"},
                {"metric": "parameters_per_voxel", "value": "1"},
            )
        ),
    ]
    Path("config").mkdir(exist_ok=True)
    table = pd.DataFrame([nodeo | row for row in reported], columns=list(COLUMNS))
    table.to_csv("config/reported.tsv", sep="\t", index=False)


def test_two_settings_are_crossed_beside_what_is_reported(rich_plan, run_script, of_swept_runs):
    run_script(rich_plan.the("crossed"))
    name = "crossed-swept-steps-iterations"
    rows, said = cells(name)
    assert rows == markdown(name)
    head = ["experiment", "method", "pairs", "steps", "iterations 3", "reported iterations 3"]
    numbers = ["2", "2", "0.750 / 0.2 % / 6.0 s", f"0.900 / {DASH} / {DASH}"]
    assert rows == [
        head,
        ["First (whole heads)", "Brief title", *numbers],
        ["Mixed (whole heads and persons with labels)", "Brief title", *numbers],
    ]
    assert said.startswith(WHO + "Two settings crossed: each cell holds the means over pairs of")
    assert said.endswith("Columns called reported: arXiv 2108.03443, Table 2 (third).")
    assert read(name)[["run", "flow.steps", "dice_mean"]].to_numpy().tolist() == [
        [SWEPT, 2, 0.75],
        [SWEPT, 2, 0.75],
    ]


def test_settings_that_are_swept_are_tabulated_and_drawn(
    rich_plan, run_script, of_swept_runs, monkeypatch
):
    """The curve runs along the first setting of the study, and each experiment has a column and
    numbers of its own.
    """
    file = Path("results/studies/rich/metrics.tsv")
    numbers = pd.read_csv(file, sep="\t")
    lower = (numbers["experiment"] == "mixed") & (numbers["metric"] == "dice")
    numbers.loc[lower, "value"] -= 0.5
    numbers.to_csv(file, sep="\t", index=False)
    figures = []
    monkeypatch.setattr(Figure, "savefig", lambda figure, path, **_: figures.append((figure, path)))
    run_script(rich_plan.the("sweeps"))
    rows, said = cells("sweeps")
    assert rows[1:] == markdown("sweeps")[1:]
    assert said == (
        WHO + "Mean and standard deviation over pairs for each value of a setting; time is a "
        "median. The best mean of an experiment is bold, unless it is over fewer pairs than "
        "another one. Missing pairs of a mean are counted beside it."
    )
    assert Path("results/studies/rich/tables/sweeps.md").read_text().startswith(said)
    table = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    titles = ["First (whole heads)", "Mixed (whole heads and persons with labels)"]
    assert [row["experiment"] for row in table] == titles
    assert [row["Dice"] for row in table] == ["0.750 ± 0.071", "0.250 ± 0.071"]
    assert {row["reported Dice"] for row in table} == {"0.900"}
    wanted = ["experiment", "series", "run", "flow.steps", "levels.iterations", "dice_mean"]
    assert read("sweeps")[wanted].to_numpy().tolist() == [
        ["first", "Brief title", SWEPT, 2, 3, 0.75],
        ["mixed", "Brief title", SWEPT, 2, 3, 0.25],
    ]
    assert {path.suffix for _, path in figures} == {".svg", ".png", ".pdf"}
    panels = np.array(figures[0][0].axes).reshape(3, 2)
    assert [panel.get_title("left") for panel in panels[0]] == titles
    for column, dice in enumerate((0.75, 0.25)):
        against_folds, *along = panels[:, column]
        (point,) = [line.get_xydata() for line in against_folds.lines]
        np.testing.assert_allclose(point, [[0.2, dice]])
        for panel, number in zip(along, (dice, 0.2), strict=True):
            assert panel.get_xlabel() == "Value of steps"
            np.testing.assert_allclose(panel.lines[0].get_xydata(), [[2, number]])


SIZES = {"first": 12, "second": 20, "mixed": 24}
"""Voxels along an axis of the brains of each experiment's first pair."""


def test_models_are_compared_with_the_parameters_of_a_pair(rich_plan, run_script, of_swept_runs):
    """The boxes of both brains are known here, and so is the size of a free velocity on them: three
    numbers at every fourth voxel along each axis, at one knot.
    """
    job = rich_plan.the("models")
    for receipt, size in zip(job.handed.params.units, SIZES.values(), strict=True):
        data = np.zeros((30, 30, 30), np.float32)
        data[2 : 2 + size, 2 : 2 + size, 2 : 2 + size] = 0.5
        image = Image(data, Grid(data.shape, np.diag([3.0, 3, 3, 1])))
        Path(receipt).parent.mkdir(parents=True)
        PairUnit(Path(receipt).parent).write(image, image, Affine(), {})
    run_script(job)
    table = read("models").set_index("experiment")
    margin = 2  # 6 mm on each side
    sides = {name: size + 2 * margin for name, size in zip(table.index, (12, 20, 24), strict=True)}
    assert list(sides) == ["first", "second", "mixed"]
    for name, side in sides.items():
        assert table.loc[name, "parameters"] == 3 * (side // 4) ** 3
        ratio = 3 * (side // 4) ** 3 / side**3
        assert table.loc[name, "parameters_per_voxel"] == pytest.approx(ratio, rel=1e-5)
    rows, said = cells("models")
    assert rows[1:] == markdown("models")[1:]
    shown = [dict(zip(rows[0], row, strict=True)) for row in rows[1:]]
    assert {row["velocity"] for row in shown} == {"tensor with kernel"}
    assert [row["pairs"] for row in shown] == ["2", "0", "2"]
    assert [row["Dice"] for row in shown] == ["0.750 ± 0.071", DASH, "0.750 ± 0.071"]
    assert {row["reported Dice"] for row in shown} == {"0.769"}
    assert {row["reported parameters / voxel"] for row in shown} == {"1"}
    assert said.endswith("Columns called reported: arXiv 2108.03443, Table 3 (third).")


def test_dice_of_each_structure(rich_plan, run_script, metrics, dice):
    run_script(rich_plan.the("summarise"))
    table = read("dice_by_label")
    assert len(table) == len(EXPERIMENTS) * len(RUNS) * len(LABELS)
    for row in table.itertuples():
        label = {name: label for label, name in LABELS}[row.label_name]
        values = [
            v
            for (e, _, found, r), v in dice.items()
            if (e, found, r) == (row.experiment, label, row.run)
        ]
        assert row.dice_mean == pytest.approx(np.mean(values), abs=1e-5)
    rows, said = cells("dice_by_label")
    assert rows == markdown("dice_by_label")
    assert said == WHO + (
        "Mean Dice of each structure over pairs. It shows the 2 of 6 methods that the study "
        "chooses for its figures; dice_by_label.tsv has all."
    )
    assert rows[0] == ["experiment", "structure", "Learned title", "Brief title"]


def p_values(dice):
    """Return the p of Wilcoxon's test, by scipy, of each experiment and ordered pair of runs."""
    ordered = [(run, other) for run in RUNS for other in RUNS if run != other]
    return {
        (experiment, *both): stats.wilcoxon(
            *(mean_dice(dice, experiment, run) for run in both),
            alternative="greater",
            method="exact",
        ).pvalue
        for experiment in EXPERIMENTS
        for both in ordered
    }


def test_wilcoxon_of_each_experiment_and_the_largest_over_them(
    rich_plan, run_script, metrics, dice
):
    run_script(rich_plan.the("wilcoxon"))
    expected = p_values(dice)
    each = read("wilcoxon")
    p = each.set_index(["experiment", "run", "other"])["p"]
    assert p.to_dict() == pytest.approx(expected, abs=1e-5)
    largest = read("wilcoxon_largest_p")
    assert largest.columns.tolist() == ["run", "other", "experiments", "n", "p", "p_holm"]
    assert set(largest["experiments"]) == {2}
    bound = {
        key[1:]: max(expected["first", *key[1:]], expected["second", *key[1:]]) for key in expected
    }
    assert dict(
        zip(zip(largest["run"], largest["other"], strict=True), largest["p"], strict=True)
    ) == pytest.approx(bound, abs=1e-5)
    assert any(bound[key[1:]] > p + 0.1 for key, p in expected.items())
    assert any(
        bound[key[1:]] == expected["second", *key[1:]] != expected["first", *key[1:]]
        for key in expected
    )
    rows, said = cells("wilcoxon")
    assert rows == markdown("wilcoxon")
    assert len(rows) == 1 + len(EXPERIMENTS) * (len(RUNS) - 1)  # ours against the others
    assert {row[1] for row in rows[1:]} == {"Brief title"}
    assert said.startswith(
        WHO + "One-sided Wilcoxon signed-rank tests: is the mean Dice of method greater than that "
    )
    rows, said = cells("wilcoxon_largest_p")
    assert rows == markdown("wilcoxon_largest_p")
    assert {row[0] for row in rows[1:]} == {"Brief title"}
    assert said.startswith(WHO + "The largest p over the experiments, as it is and after Holm's")


def test_the_matrix_of_tests_shows_the_largest_p(rich_plan, run_script, metrics):
    run_script(rich_plan.the("wilcoxon"))
    drawn = run_script(
        rich_plan.the("significance"), "diffeode.figures.significance.significance_matrix"
    )
    largest = read("wilcoxon_largest_p")
    (tests, titles, outs, ours), _ = drawn.call
    pd.testing.assert_frame_equal(tests, largest)
    files = [
        Path(f"results/studies/rich/figures/significance.{kind}") for kind in ("svg", "png", "pdf")
    ]
    assert (titles["brief"], outs, ours) == ("Brief title", files, "brief")


@pytest.fixture
def receipts(rich_plan, run_script):
    """Of every registration; two have failed."""
    failed = []
    for number, unit in enumerate(rich_plan.units()):
        about = {"status": "done"}
        folder = Path(unit["registration"]["file"]).parent
        names = dict(zip(("experiment", "pair", "run"), folder.parts[-3:], strict=True))
        if number in (3, 8):
            about = {"status": "failed", "reason": f"Reason {number}."}
            failed.append((*names.values(), about["reason"], unit["log"]))
        write_receipt(folder, [], {**names, **about})
    return failed


def test_failures_and_their_page(rich_plan, run_script, receipts):
    run_script(rich_plan.the("failures"))
    expected = set(receipts)
    assert set(map(tuple, read("failures").to_numpy().tolist())) == expected
    rows, said = cells("failures")
    assert set(map(tuple, rows[1:])) == expected
    assert said == WHO + "Registrations that failed."


def test_a_label_map_that_an_evaluation_left_out_is_listed(rich_plan, run_script, receipts):
    """The row says of how many pairs it is, and the verdict counts the scan."""
    (unit, *_) = (u for u in rich_plan.units() if "/second/" in u["evaluation"]["file"])
    numbers = Path(unit["evaluation"]["file"])
    numbers.parent.mkdir(parents=True)
    numbers.write_text("metric\n", encoding="utf-8")
    reason = "It holds none of the ids."
    seal(numbers, Path("results"), origin_of([], {}), left_out={"moving_labels": reason})
    job = rich_plan.the("failures")
    run_script(job)
    moving = Path(unit["evaluation"]["inputs"]["moving_labels"]).parent.name
    (row,) = read("unusable_scans").to_dict("records")
    assert row == {
        **{"dataset": "drawn", "scan": moving, "step": "labels", "pairs": row["pairs"]},
        **{"reason": reason, "log": unit["log"]},
    }
    assert row["pairs"] > 0
    with pytest.raises(RegistrationError, match=r"^1 scan had no usable labels or landmarks: "):
        run_script(rich_plan.the("verdict"))


def test_the_verdict_counts_failures(rich_plan, run_script, receipts):
    run_script(rich_plan.the("failures"))
    verdict = rich_plan.the("verdict")
    with pytest.raises(
        RegistrationError,
        match=r"^2 of 24 registrations failed: the reasons are in results/studies/",
    ):
        run_script(verdict)
    table = Path(verdict.handed.input.failures)
    table.write_text(table.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    run_script(verdict)
    assert (
        Path(verdict.handed.output[0]).read_text(encoding="utf-8")
        == "24 of 24 registrations succeeded.\n"
    )
