"""The tables that the statistics' scripts make of made-up numbers of two experiments, and where
they lie.
"""

import html
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from diffeode.errors import RegistrationError
from diffeode.provenance.receipt import write_receipt
from diffeode.statistics import tidy
from diffeode.statistics.reported import COLUMNS

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
    """Rows of the table on a page, and the sentence above it."""
    text = (TABLES / f"{name}.html").read_text(encoding="utf-8")
    rows = [
        re.findall(r"<t[hd][^>]*>(.*?)</t[hd]>", row, re.DOTALL)
        for row in re.findall(r"<tr.*?</tr>", text, re.S)
    ]
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


WHO = "A rich study (whole heads and persons with labels). "


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
    assert said.startswith(WHO + "Mean and standard deviation over pairs; time is a median.")
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
    text = (TABLES / "dice_by_label.md").read_text(encoding="utf-8")
    assert WHO + "Mean Dice of each structure over pairs." in text
    assert "| experiment | structure | Initial | Brief title | Learned title |" in text


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
    assert WHO + "The largest p over the experiments, as it is and after Holm's" in (
        TABLES / "wilcoxon_largest_p.md"
    ).read_text(encoding="utf-8")


def test_the_matrix_of_tests_shows_the_largest_p(rich_plan, run_script, metrics):
    run_script(rich_plan.the("wilcoxon"))
    drawn = run_script(
        rich_plan.the("significance"), "diffeode.figures.significance.significance_matrix"
    )
    largest = read("wilcoxon_largest_p")
    for kind, (arguments, _) in zip(("svg", "png", "pdf"), drawn.calls, strict=True):
        tests, titles, out, ours = arguments
        pd.testing.assert_frame_equal(tests, largest)
        assert (titles["brief"], out, ours) == (
            "Brief title",
            Path(f"results/studies/rich/figures/significance.{kind}"),
            "brief",
        )


@pytest.fixture
def receipts(rich_plan, run_script):
    """Of every registration; two have failed."""
    failed = []
    for number, job in enumerate(rich_plan.of("register")):
        about = {"status": "done"}
        if number in (3, 8):
            about = {"status": "failed", "reason": f"Reason {number}."}
            failed.append((job, about["reason"]))
        write_receipt(Path(job.handed.output[0]).parent, [], {**job.wildcards, **about})
    return failed


def test_failures_and_their_page(rich_plan, run_script, receipts):
    run_script(rich_plan.the("failures"))
    keys = ("experiment", "pair", "run")
    expected = {
        (*(job.wildcards[key] for key in keys), reason, str(job.handed.log[0]))
        for job, reason in receipts
    }
    assert set(map(tuple, read("failures").to_numpy().tolist())) == expected
    rows, said = cells("failures")
    assert set(map(tuple, rows[1:])) == expected
    assert said == WHO + "Registrations that failed."


def test_the_verdict_counts_failures(rich_plan, run_script, receipts):
    run_script(rich_plan.the("failures"))
    verdict = rich_plan.the("verdict")
    with pytest.raises(
        RegistrationError,
        match=r"^2 of 20 registrations failed: the reasons are in results/studies/",
    ):
        run_script(verdict)
    table = Path(verdict.handed.input.failures)
    table.write_text(table.read_text(encoding="utf-8").splitlines()[0] + "\n", encoding="utf-8")
    run_script(verdict)
    assert (
        Path(verdict.handed.output[0]).read_text(encoding="utf-8")
        == "20 of 20 registrations succeeded.\n"
    )
