"""The tables as they are shown: cut to the question, in words, with what is missing said."""

import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from diffeode.errors import InputError
from diffeode.evaluation.catalogue import METRICS
from diffeode.statistics import longitudinal, tables
from diffeode.statistics.effect import rank_biserial
from diffeode.statistics.export import (
    MISSING,
    as_shown,
    escape_latex,
    write_page,
    write_table,
)
from diffeode.statistics.longitudinal import ALL_TIMES
from diffeode.statistics.longitudinal import COLUMNS as OF_VISITS
from diffeode.statistics.longitudinal import TITLES as WAYS
from diffeode.statistics.reported import COLUMNS
from diffeode.statistics.summary import absent_labels, dice_by_label, summarise
from diffeode.statistics.sweep import (
    FOLDS,
    beside_settings,
    points_table,
    settings_of,
    sources_of,
    sweep_table,
)
from diffeode.statistics.tidy import COLUMNS as TIDY
from diffeode.statistics.tidy import mean_dice
from diffeode.statistics.wilcoxon import COLUMNS as OF_TESTS
from diffeode.statistics.wilcoxon import compare_runs, holm, upper_bound
from diffeode.study.experiments_table import COLUMNS as OF_EXPERIMENTS

REPOSITORY = Path(__file__).resolve().parents[2]

TITLES = {"ours": "Our method", "syn": "SyN & co", "none": "Fails always"}
EXPERIMENTS = {"e1": "First_one (adults)", "e2": "Second (newborns)"}
WIDTH = 12
"""No shown table has more columns."""


@pytest.fixture(scope="module")
def metrics() -> pd.DataFrame:
    """Ours registers 6 pairs of e1 and 4 of e2; syn lacks two of e1; none fails everywhere."""
    rng = np.random.default_rng(0)
    rows = []
    for experiment, pairs in (("e1", 6), ("e2", 4)):
        for number in range(pairs):
            for run in TITLES:
                where = (experiment, f"p{number}", run, "f", "m")
                if run == "none" or ((experiment, run) == ("e1", "syn") and number < 2):
                    rows.append((*where, "failed", "", "", 1.0))
                    continue
                dice = 0.7 + 0.02 * (run == "ours") + 0.01 * rng.random()
                rows.append((*where, "dice", "", "", dice))
                rows.append((*where, "dice", "17", "Left-Hippocampus", dice - 0.1))
                rows.append((*where, "dice", "18", "Left-Amygdala", np.nan))
                rows += [
                    (*where, name, "", "", rng.random())
                    for name in ("hd95_mm", "folds_central_grid_percent", "nmi", "seconds")
                ]
    return pd.DataFrame(rows, columns=list(TIDY))


def reported_table(*rows: dict) -> pd.DataFrame:
    empty = dict.fromkeys(COLUMNS, "") | {"source": "nodeo", "place": "Table 1", "metric": "dice"}
    table = pd.DataFrame([empty | row for row in rows], columns=list(COLUMNS))
    return table.assign(**{name: pd.to_numeric(table[name]) for name in ("value", "spread", "n")})


REPORTED = reported_table(
    {"experiment": "e1", "run": "syn", "value": 0.5, "spread": 0.1},
    {
        **{"experiment": "e2", "run": "ours", "source": "poster"},
        **{"value": 75, "spread": 2, "unit": "%"},
    },
)


def test_main_results_have_what_the_question_needs(metrics):
    summary = summarise(metrics)
    table = tables.main_results(summary, TITLES, EXPERIMENTS, REPORTED)
    shown = as_shown(table)
    assert list(shown.columns) == [
        *("experiment", "method", "pairs", "Dice", "HD95 (mm)"),
        *("|J| ≤ 0, central (% of grid)", "Time (s), mean", "Time (s), median", "reported Dice"),
    ]
    rows = {(r["experiment"], r["method"]): r for r in shown.to_dict("records")}
    assert rows["First_one (adults)", "SyN & co"]["pairs"] == "4 of 6"
    assert rows["First_one (adults)", "Our method"]["pairs"] == "6"
    assert rows["Second (newborns)", "Fails always"]["pairs"] == "0 of 4"
    assert rows["Second (newborns)", "Fails always"]["Dice"] == MISSING
    said = {key: row["reported Dice"] for key, row in rows.items()}
    assert said.pop(("First_one (adults)", "SyN & co")).startswith("0.500 ± 0.100 (arXiv 2108")
    assert said.pop(("Second (newborns)", "Our method")).startswith("0.750 ± 0.020 (poster")
    assert set(said.values()) == {MISSING}
    first = metrics.query("experiment == 'e1' and run == 'ours' and metric == 'seconds'")["value"]
    assert rows["First_one (adults)", "Our method"]["Time (s), mean"] == f"{first.mean():.1f}"
    assert rows["First_one (adults)", "Our method"]["Time (s), median"] == f"{first.median():.1f}"
    values = mean_dice(metrics)
    (first,) = values.query("experiment == 'e1' and run == 'ours'").groupby("run")["value"]
    assert rows["First_one (adults)", "Our method"]["Dice"] == (
        f"{first[1].mean():.3f} ± {first[1].std():.3f}"
    )


def with_subset(metrics: pd.DataFrame, more: float) -> pd.DataFrame:
    """The tidy table with the Dice of a subset, which is larger by ``more`` than that of all."""
    rows = metrics[(metrics["metric"] == "dice") & (metrics["label"] == "")]
    subset = rows.assign(metric="dice_subset", value=rows["value"] + more)
    return pd.concat([metrics, subset], ignore_index=True)


def test_a_subset_of_the_structures_has_a_column_beside_that_of_all(metrics):
    summary = summarise(with_subset(metrics, 0.1))
    shown = as_shown(tables.main_results(summary, TITLES, EXPERIMENTS, REPORTED))
    assert list(shown.columns)[3:6] == ["Dice", "Dice, subset", "HD95 (mm)"]
    first = shown[shown["method"] == "Our method"].iloc[0]
    one, other = (float(first[name].split()[0]) for name in ("Dice", "Dice, subset"))
    assert other - one == pytest.approx(0.1, abs=0.0011)


def test_without_labels_and_landmarks_the_main_results_have_what_else_was_measured(metrics):
    without = metrics[~metrics["metric"].isin(("dice", "hd95_mm"))]
    shown = as_shown(tables.main_results(summarise(without), TITLES, EXPERIMENTS, REPORTED))
    assert "NMI" in shown
    assert "Dice" not in shown
    ours = summarise(without).query("experiment == 'e1' and run == 'ours'")
    first = shown.query("experiment == 'First_one (adults)' and method == 'Our method'")
    assert first["NMI"].item().startswith(f"{ours['nmi_mean'].item():.4f} ± ")


def test_a_best_mean_over_fewer_pairs_than_another_is_not_bold(tmp_path):
    """In the first experiment, run b may be best only because it failed on hard pairs. In the
    second, the best lacks no more pairs than others have, and in the third none has any other.
    """
    frame = pd.DataFrame(
        [
            *(("x", "a", 0.7, 0), ("x", "b", 0.9, 2), ("x", "c", 0.6, 0)),
            *(("y", "a", 0.8, 1), ("y", "b", 0.7, 2), ("y", "c", np.nan, 9)),
            *(("z", "a", 0.8, 3), ("z", "b", 0.7, 3), ("z", "c", np.nan, 0)),
        ],
        columns=["experiment", "run", "dice_mean", "dice_missing"],
    )
    markdown = write_table(frame, tmp_path / "t", "Dice", ["dice"])[1].read_text()
    assert re.findall(r"\| (\w) \| (\w) \| \*\*(.*?)\*\*", markdown) == [
        *(("y", "a", "0.800 (1 missing)"), ("z", "a", "0.800 (3 missing)"))
    ]
    assert as_shown(frame)["Dice"].tolist() == [
        *("0.700", "0.900 (2 missing)", "0.600"),
        *("0.800 (1 missing)", "0.700 (2 missing)", MISSING),
        *("0.800 (3 missing)", "0.700 (3 missing)", MISSING),
    ]


def test_registered_pairs_without_labels_are_said_beside_the_means_they_do_not_enter(metrics):
    """A scan of pair p0 has no labels, so its registrations have no Dice."""
    without = metrics[~((metrics["pair"] == "p0") & metrics["metric"].isin(["dice", "hd95_mm"]))]
    for table in (
        tables.main_results(summarise(without), TITLES, EXPERIMENTS, REPORTED),
        tables.models(summarise(without), sizes_of(TITLES), TITLES, EXPERIMENTS, REPORTED),
    ):
        ours = as_shown(table).iloc[0]
        assert ours["pairs"] == "6"
        assert ours["Dice"].endswith(" (1 missing)")
        assert "missing" not in ours["|J| ≤ 0, central (% of grid)"]


def sizes_of(runs) -> pd.DataFrame:
    sizes = {"velocity": "network", "steps": 1, "parameters": 3e6, "parameters_per_voxel": 0.8}
    return pd.DataFrame([{"experiment": "e1", "run": run, **sizes} for run in runs])


def test_where_all_are_equal_none_is_the_best(tmp_path):
    frame = pd.DataFrame(
        {"experiment": ["a", "a", "b", "b", "c"], "tre_mm_mean": [1.0, 1.0, 1.0, 2.0, 3.0]}
    )
    markdown = write_table(frame, tmp_path / "t", "TRE", ["tre_mm"])[1].read_text()
    assert re.findall(r"\| (\w) \| \*\*", markdown) == ["b", "c"]


def test_without_reported_numbers_there_is_no_column_for_them(metrics):
    nothing = REPORTED.assign(experiment="elsewhere")
    table = tables.main_results(summarise(metrics), TITLES, EXPERIMENTS, nothing)
    assert not [name for name in table if name.startswith("reported")]


def test_reported_numbers_change_none_of_ours(metrics, tmp_path):
    """Not even what is bold, though the reported number is larger."""
    summary = summarise(metrics)
    for name, reported in (("with", REPORTED), ("without", REPORTED.assign(run=""))):
        shown = tables.main_results(summary, TITLES, EXPERIMENTS, reported)
        write_table(summary, tmp_path / name, "T", tables.BOLD, shown)
    assert (tmp_path / "with.tsv").read_text() == (tmp_path / "without.tsv").read_text()
    rows = [(tmp_path / f"{name}.md").read_text().splitlines()[4:] for name in ("with", "without")]
    for one, other in zip(*rows, strict=True):
        assert one.rpartition(" | ")[0] == other.removesuffix(" |")


def test_all_forms_say_the_same_and_mark_the_same(metrics, tmp_path):
    summary = summarise(metrics)
    shown = tables.main_results(summary, TITLES, EXPERIMENTS, REPORTED)
    write_table(summary, tmp_path / "t", "Caption", tables.BOLD, shown)
    write_page(shown, tmp_path / "t.html", "Caption", tables.BOLD)
    page, markdown, latex = ((tmp_path / f"t.{kind}").read_text() for kind in ("html", "md", "tex"))
    strong = re.findall("<strong>(.*?)</strong>", page)
    assert strong == re.findall(r"\*\*(.*?)\*\*", markdown)
    assert strong == [
        cell.replace(r"$\pm$", "±") for cell in re.findall(r"\\textbf\{(.*?)\}", latex)
    ]
    assert len(strong) == 2 * 3
    rows = re.findall(r"<tr>.*?</tr>", page)
    assert len(rows) == markdown.count("\n|") - 1 == latex.count("\\\\\n") == 1 + len(shown)
    assert (tmp_path / "t.tsv").read_text().count("nmi_mean") == 1
    assert "NMI" not in page + markdown + latex


def all_shown(metrics, swept):
    """Every kind of table that a study writes, by the name of its file."""
    tests, summary = compare_runs(mean_dice(metrics)), summarise(with_subset(metrics, 0.1))
    sizes = sizes_of(TITLES)
    table = sweep_table(with_subset(swept, 0.1), POINTS)
    reported = reported_table({"settings": "steps=2;iterations=200", "value": 0.795})
    of_models = reported_table({"settings": "steps=1", "value": 0.8})
    row = [f"{name} & more" for name in OF_EXPERIMENTS]
    visits = [
        {"person": "02", "way": way, "time": at, **dict.fromkeys(list(OF_VISITS)[3:], 0.5)}
        for way in WAYS
        for at in ("0.5", "1", ALL_TIMES)
    ]
    visits = pd.DataFrame(visits, columns=list(OF_VISITS))
    return {
        "experiments": tables.experiments([row], OF_EXPERIMENTS, REPORTED),
        "summary": tables.main_results(summary, TITLES, EXPERIMENTS, REPORTED),
        "dice_by_label": tables.structures(
            dice_by_label(metrics), absent_labels(metrics), TITLES, EXPERIMENTS
        ),
        "wilcoxon": tables.comparisons(tests, TITLES, EXPERIMENTS, "ours"),
        "wilcoxon_largest_p": tables.largest(upper_bound(tests), TITLES, "ours"),
        "sweeps": tables.sweep(table, EXPERIMENTS, reported),
        "crossed": tables.crossed(table, *CROSSED, EXPERIMENTS, reported),
        "models": tables.models(summary, sizes, TITLES, EXPERIMENTS, of_models),
        "longitudinal_visits": longitudinal.shown(longitudinal.by_visit(visits)),
        "longitudinal_paths": longitudinal.shown(longitudinal.by_trajectory(visits)),
    }


def test_latex_is_well_formed(metrics, swept, tmp_path):
    """What pdflatex needs: ASCII, balanced braces and environments, as many cells as columns."""
    shown = all_shown(metrics, swept)
    written = (REPOSITORY / "workflow" / "rules").rglob("*.smk")
    named = {
        stem.replace("{CROSSED_TABLE}", "crossed").removeprefix("{TABLES}/")
        for file in written
        for stem in re.findall(r'f"(\S+)\{suffix\}" for suffix in SUFFIXES', file.read_text())
    }
    assert named - {"{stem}"} == set(shown)
    for name, table in shown.items():
        assert len(table), name
        assert len(as_shown(table).columns) <= WIDTH, name
        latex = write_table(table, tmp_path / name, "50 % & |J| ≤ 0 ±", tables.BOLD)[2].read_text()
        assert latex.isascii(), name
        bare = re.sub(r"\\[{}%&$#_\\]", "", latex)
        assert bare.count("{") == bare.count("}")
        assert bare.count("$") % 2 == 0
        for word in ("table", "tabular"):
            assert latex.count(f"\\begin{{{word}}}") == latex.count(f"\\end{{{word}}}") == 1
        columns = re.search(r"\\begin\{tabular\}\{(.*)\}", latex)[1]
        assert len(re.sub(r"@\{.*?\}\}", "", columns)) == len(as_shown(table).columns)
        lines = [line for line in latex.splitlines() if line.endswith(r" \\")]
        assert len(lines) == 1 + len(table)
        for line in lines:
            assert len(re.findall(r"(?<!\\)&", line)) == len(as_shown(table).columns) - 1


def test_everything_that_is_said_above_a_table_and_in_its_head_is_ascii_in_latex():
    """Captions stand in the rules, and headings of metrics in their list."""
    rules = (REPOSITORY / "workflow" / "rules").rglob("*.smk")
    said = [words for file in rules for words in re.findall(r'"([^"\n]+)"', file.read_text())]
    assert [words for words in said if "mm² per unit time" in words], "captions are among them"
    said += [metric.heading for metric in METRICS.values()]
    for words in said:
        assert escape_latex(words).isascii(), words


def test_tests_of_ours_alone_are_shown_with_common_pairs_and_n(metrics):
    tests = compare_runs(mean_dice(metrics))
    shown = tables.comparisons(tests, TITLES, EXPERIMENTS, "ours")
    assert shown[["experiment", "other", "common pairs"]].to_numpy().tolist() == [
        ["First_one (adults)", "SyN & co", "4"],
        ["Second (newborns)", "SyN & co", "4"],
    ]
    assert shown["p"].tolist() == shown["p (Holm)"].tolist() == [f"{MISSING} (n = 4)"] * 2
    assert shown["rank-biserial"].tolist() == ["1.00", "1.00"]
    first = tests[(tests["run"] == "ours") & (tests["experiment"] == "e1")].iloc[0]
    assert shown["median difference"].iloc[0] == (
        f"{first['median_difference']:+.3f} [{first['low']:+.3f}, {first['high']:+.3f}]"
    )
    assert len(tables.comparisons(tests, TITLES, EXPERIMENTS, None)) == len(tests)
    (row,) = tables.largest(upper_bound(tests), TITLES, "ours").to_dict("records")
    assert row["largest p"] == f"{MISSING} (n = 4)"


def test_every_number_of_a_test_stands_under_its_heading():
    found = (9, 8, 1, 0.013, 0.004, 0.03, 0.5, 0.01, 0.02, 2**-8)
    unknown = (7, 3, 4, -0.25, np.nan, np.nan, np.nan, np.nan, np.nan, 2**-3)
    rows = [("e1", "ours", "syn", *found), ("e2", "ours", "none", *unknown)]
    tests = pd.DataFrame(rows, columns=list(OF_TESTS))
    shown = tables.comparisons(tests, TITLES, EXPERIMENTS, "ours")
    dash = f"{MISSING} (n = 3)"
    assert shown.drop(columns=["experiment", "method"]).to_numpy().tolist() == [
        ["SyN & co", "9", "+0.013 [+0.004, +0.030]", "0.50", "0.01", "0.02"],
        ["Fails always", "7", "-0.250", MISSING, dash, dash],
    ]
    columns = ["run", "other", "experiments", "n", "p", "p_holm"]
    bound = pd.DataFrame([("ours", "syn", 2, 8, 0.01, 0.02)], columns=columns)
    (row,) = tables.largest(bound, TITLES, "ours").to_numpy().tolist()
    assert row == ["Our method", "SyN & co", "2", "0.01", "0.02"]


def test_structures_are_rows_and_methods_are_columns(metrics):
    table = tables.structures(dice_by_label(metrics), absent_labels(metrics), TITLES, EXPERIMENTS)
    assert list(table.columns) == ["experiment", "structure", "Our method", "SyN & co"]
    assert table["structure"].tolist() == [
        *["Left-Hippocampus"] * 2,
        *["Left-Amygdala (no scan has it)"] * 2,
    ]
    assert table["experiment"].tolist() == list(EXPERIMENTS.values()) * 2
    assert set(table["SyN & co"].iloc[2:]) == {MISSING}
    found = dice_by_label(metrics).set_index(["experiment", "run"])["dice_mean"]
    assert table["SyN & co"].iloc[1] == f"{found['e2', 'syn']:.3f}"


def test_labels_of_one_name_are_told_apart_by_their_ids():
    """The two sides of a structure may have one name, and one of them may be in no scan."""
    sides = {"17": ("Hippocampus", 0.7), "53": ("Hippocampus", 0.5), "16": ("Brain-Stem", 0.9)}
    sides |= {"18": ("Amygdala", 0.6), "54": ("Amygdala", np.nan)}
    rows = [
        ("e1", "p0", "ours", "f", "m", "dice", label, name, value)
        for label, (name, value) in sides.items()
    ]
    metrics = pd.DataFrame(rows, columns=list(TIDY))
    parts = dice_by_label(metrics), absent_labels(metrics), TITLES, EXPERIMENTS
    assert tables.structures(*parts).drop(columns="experiment").to_numpy().tolist() == [
        ["Hippocampus (17)", "0.700"],
        ["Hippocampus (53)", "0.500"],
        ["Brain-Stem", "0.900"],
        ["Amygdala (18)", "0.600"],
        ["Amygdala (54) (no scan has it)", MISSING],
    ]


def test_structures_are_shown_for_the_runs_that_are_chosen(metrics):
    """The first of them failed everywhere, and the others have the order of the choice."""
    parts = dice_by_label(metrics), absent_labels(metrics), TITLES, EXPERIMENTS
    table = tables.structures(*parts, ["none", "syn", "ours"])
    assert list(table.columns) == ["experiment", "structure", "SyN & co", "Our method"]
    pd.testing.assert_frame_equal(table[list(tables.structures(*parts))], tables.structures(*parts))
    (only,) = set(tables.structures(*parts, ["syn"]).columns) - {"experiment", "structure"}
    assert only == "SyN & co"


def test_holms_correction_by_hand():
    """Sorted .01 .03 .04: times 3, 2, 1 is .03 .06 .04, and no p may fall below the one before."""
    p = pd.Series([0.04, np.nan, 0.01, 0.03], index=[7, 8, 9, 10])
    assert holm(p).tolist() == pytest.approx([0.06, np.nan, 0.03, 0.06], nan_ok=True)
    assert holm(pd.Series([0.6, 0.7])).tolist() == [1.0, 1.0]
    assert holm(pd.Series([], dtype=float)).empty


def test_holms_correction_is_within_a_run_and_an_experiment():
    rng = np.random.default_rng(1)
    rows = [
        (experiment, f"p{i}", run, rng.random())
        for experiment in ("x", "y")
        for i in range(8)
        for run in ("a", "b", "c")
    ]
    tests = compare_runs(pd.DataFrame(rows, columns=["experiment", "pair", "run", "value"]))
    bound = upper_bound(tests)
    groups = [group for _, group in tests.groupby(["experiment", "run"])]
    for group in [*groups, *(group for _, group in bound.groupby("run"))]:
        assert len(group) == 2
        assert group["p_holm"].tolist() == pytest.approx(holm(group["p"]).tolist())
        assert group["p_holm"].min() == pytest.approx(min(1, 2 * group["p"].min()))
    assert bound["n"].tolist() == [8] * 6


def test_rank_biserial_by_hand():
    """Ranks of +1 +2 -3 +4 +5: (12 - 3) / 15."""
    assert rank_biserial(np.array([1.0, 2.0, -3.0, 4.0, 5.0, 0.0])) == pytest.approx(9 / 15)
    assert rank_biserial(np.array([-1.0, -2.0])) == -1
    assert np.isnan(rank_biserial(np.zeros(3)))


# ------------------------------------------------------------------------------------------- sweeps

POINTS = pd.DataFrame(
    [
        ("NODEO", f"nodeo-{steps}-{iterations}", parameter, value)
        for steps in (1, 2)
        for iterations in (200, 300)
        for parameter, value in (("flow.steps", steps), ("levels.iterations", iterations))
    ],
    columns=["series", "run", "parameter", "value"],
)


@pytest.fixture(scope="module")
def swept() -> pd.DataFrame:
    """Three pairs, the last of which has more of everything, so that no mean is a median."""
    rows = []
    for place, run in enumerate(POINTS["run"].unique()):
        for pair, more in enumerate((0, 0, 3)):
            where = ("e1", f"p{pair}", run, "f", "m")
            numbers = {
                "dice": 0.7 + 0.01 * place + 0.001 * more,
                FOLDS: 0.1 * place * more,
                "seconds": 10.0 + place + more,
            }
            rows += [(*where, metric, "", "", value) for metric, value in numbers.items()]
    return pd.DataFrame(rows, columns=list(TIDY))


def test_a_sweep_has_a_row_for_each_run_with_its_settings(swept):
    table = sweep_table(swept, POINTS)
    assert table[["flow.steps", "levels.iterations"]].to_numpy().tolist() == [
        *([1, 200], [1, 300]),
        *([2, 200], [2, 300]),
    ]
    assert table["dice_mean"].tolist() == pytest.approx([0.701, 0.711, 0.721, 0.731])
    assert table["dice_sd"].tolist() == pytest.approx([0.001 * 3**0.5] * 4)
    assert table[f"{FOLDS}_mean"].tolist() == pytest.approx([0, 0.1, 0.2, 0.3])
    assert table[f"{FOLDS}_sd"].tolist() == pytest.approx(0.1 * 3**0.5 * np.arange(4))
    assert table["seconds_median"].tolist() == [10, 11, 12, 13]
    assert table["n"].tolist() == [3] * 4
    other = swept.assign(experiment="e0", value=swept["value"] + 1)
    both = sweep_table(pd.concat([swept, other]), POINTS)
    assert both["experiment"].tolist() == ["e1"] * 4 + ["e0"] * 4
    means = [*table["dice_mean"], *table["dice_mean"] + 1]
    assert both["dice_mean"].tolist() == pytest.approx(means)


def test_reported_ablations_stand_beside_equal_settings(swept):
    reported = reported_table(
        {"settings": "steps=2;iterations=200", "value": 0.795},
        {"settings": "iterations=300", "value": 0.803},
        {"settings": "steps=3;iterations=200", "value": 0.1},
        {"settings": "least of a range", "value": 0.2},
    )
    table = beside_settings(sweep_table(swept, POINTS), reported, "dice", "reported Dice")
    assert table["reported Dice"].tolist() == ["", "0.803", "0.795", "0.803"]


def test_the_shown_sweep_has_settings_pairs_and_what_is_reported(swept):
    """One run lacks the pair that has more of everything."""
    gone = (swept["run"] == "nodeo-2-300") & (swept["pair"] == "p2")
    table = sweep_table(swept[~gone], POINTS)
    reported = reported_table(
        {"settings": "steps=2;iterations=200", "value": 79.5, "unit": "%"},
        {"settings": "iterations=300", "metric": FOLDS, "value": 0.38},
    )
    shown = as_shown(tables.sweep(table, EXPERIMENTS, reported))
    measured = ["experiment", "method", "flow.steps", "levels.iterations", "pairs", "Dice"]
    measured += ["|J| ≤ 0, central (% of grid)", "Time (s), median"]
    assert list(shown) == [*measured, "reported Dice", "reported |J| ≤ 0 (% of grid)"]
    of = ["First_one (adults)", "NODEO"]
    assert shown.to_numpy().tolist() == [
        [*of, "1", "200", "3", "0.701 ± 0.002", "0 ± 0", "10.0", MISSING, MISSING],
        [*of, "1", "300", "3", "0.711 ± 0.002", "0.1 ± 0.173", "11.0", MISSING, "0.38"],
        [*of, "2", "200", "3", "0.721 ± 0.002", "0.2 ± 0.346", "12.0", "0.795", MISSING],
        [
            *(*of, "2", "300", "2 of 3", "0.730 ± 0.000 (1 missing)", "0 ± 0 (1 missing)"),
            *("13.0", MISSING, "0.38"),
        ],
    ]
    assert list(as_shown(tables.sweep(table, EXPERIMENTS, REPORTED))) == measured


def test_the_key_of_a_setting_keeps_its_underscore_as_a_heading():
    """A reader can copy it; other columns have words."""
    frame = pd.DataFrame({"flow.step_size": [0.05], "median_difference": [0.1]})
    assert list(as_shown(frame)) == ["flow.step_size", "median difference"]


OF_TABLE_2 = reported_table(
    *(
        {"settings": "steps=2;iterations=200", "metric": metric, "value": value}
        for metric, value in (("dice", 0.795), (FOLDS, 0.38))
    ),
    {"settings": "steps=2", "value": 0.9},
    {"settings": "steps=2;iterations=200;barrier=1", "value": 0.9},
)
CROSSED = ("flow.steps", "levels.iterations")


def test_two_settings_are_crossed_and_what_is_reported_stands_apart(swept, tmp_path):
    table = tables.crossed(sweep_table(swept, POINTS), *CROSSED, EXPERIMENTS, OF_TABLE_2)
    assert table.columns.tolist() == [
        *("experiment", "method", "pairs", "steps", "iterations 200", "iterations 300"),
        *("reported iterations 200", "reported iterations 300"),
    ]
    assert table.to_numpy().tolist() == [
        [
            *("First_one (adults)", "NODEO", 3, 1),
            *("0.701 / 0 % / 10.0 s", "0.711 / 0.1 % / 11.0 s", MISSING, MISSING),
        ],
        [
            *("First_one (adults)", "NODEO", 3, 2),
            *("0.721 / 0.2 % / 12.0 s", "0.731 / 0.3 % / 13.0 s"),
            *(f"0.795 / 0.38 % / {MISSING}", MISSING),
        ],
    ]
    write_page(table, tmp_path / "t.html", "Caption")
    cells = re.findall(r'<td class="reported">(.*?)</td>', (tmp_path / "t.html").read_text())
    assert cells == [MISSING, MISSING, f"0.795 / 0.38 % / {MISSING}", MISSING]
    assert sources_of(OF_TABLE_2, CROSSED) == "arXiv 2108.03443, Table 1"
    assert sources_of(OF_TABLE_2.assign(experiment="e9"), CROSSED).endswith("Table 1 (e9)")
    assert sources_of(OF_TABLE_2, ("flow.steps", "spacing")) == ""


def test_a_crossed_cell_holds_the_dice_of_the_subset_where_there_is_one(swept):
    table = sweep_table(with_subset(swept, 0.1), POINTS)
    assert (table["dice_subset_mean"] - table["dice_mean"]).to_numpy() == pytest.approx(0.1)
    shown = tables.crossed(table, *CROSSED, EXPERIMENTS, OF_TABLE_2)
    assert shown["iterations 200"].tolist() == ["0.801 / 0 % / 10.0 s", "0.821 / 0.2 % / 12.0 s"]
    assert "dice_subset_mean" not in sweep_table(swept, POINTS)


def test_where_nothing_is_reported_the_crossed_table_has_no_such_column(swept):
    table = tables.crossed(sweep_table(swept, POINTS), *CROSSED, EXPERIMENTS, REPORTED)
    assert not [name for name in table if name.startswith("reported")]


def test_a_crossed_cell_says_which_pairs_are_missing(swept):
    """One run lacks a pair, another has none at all."""
    gone = (swept["run"] == "nodeo-1-200") & (swept["pair"] == "p2")
    failed = swept[swept["run"] == "nodeo-2-300"].iloc[:3].assign(metric="failed", value=1.0)
    failed = failed.assign(pair=["p0", "p1", "p2"])
    others = swept[~gone & (swept["run"] != "nodeo-2-300")]
    for metrics in (others, pd.concat([others, failed])):
        table = tables.crossed(sweep_table(metrics, POINTS), *CROSSED, EXPERIMENTS, REPORTED)
        assert table["iterations 200"].iloc[0] == "0.700 / 0 % / 10.0 s (2 of 3 pairs)"
        assert table["iterations 300"].iloc[1] == MISSING
        assert table["pairs"].tolist() == [3, 3]


def test_a_crossed_cell_counts_the_pairs_that_have_dice(swept):
    """A pair was registered, but its labels could not be used."""
    without = (swept["run"] == "nodeo-1-200") & (swept["pair"] == "p2")
    without &= swept["metric"] == "dice"
    table = sweep_table(swept[~without], POINTS)
    assert table["n"].tolist() == [3] * 4
    shown = tables.crossed(table, *CROSSED, EXPERIMENTS, REPORTED)
    assert shown["iterations 200"].iloc[0] == "0.700 / 0 % / 10.0 s (2 of 3 pairs)"
    assert shown["iterations 200"].iloc[1] == "0.721 / 0.2 % / 12.0 s"


def test_two_settings_that_end_alike_take_no_number_of_one_of_them(swept):
    """``weight=1`` is said of one setting, and both are called weight."""
    points = POINTS.replace({"flow.steps": "mind.weight", "levels.iterations": "jacobian.weight"})
    reported = reported_table({"settings": "weight=200", "value": 0.9})
    table = sweep_table(swept, points)
    shown = tables.crossed(table, "mind.weight", "jacobian.weight", EXPERIMENTS, reported)
    assert shown.columns.tolist()[3:] == ["weight", "weight 200", "weight 300"]


def test_values_keep_their_type_beside_those_of_another_sweep():
    """2 steps are not 2.0 because a barrier is 0.5, and find what is reported of 2 steps."""
    points = points_table([["A", "a", "flow.steps", 2], ["B", "b", "jacobian.barrier", 0.5]])
    assert settings_of(points).to_numpy().tolist() == [["A", "a", 2, ""], ["B", "b", "", 0.5]]
    reported = reported_table({"settings": "steps=2", "value": 0.9})
    table = beside_settings(settings_of(points), reported, "dice", "said")
    assert table["said"].tolist() == ["0.900", ""]


def test_representations_stand_with_their_parameters_and_what_is_reported(metrics):
    sizes = pd.DataFrame(
        {
            "experiment": ["e1", "e1", "e2"],
            "run": ["syn", "none", "ours"],
            "velocity": ["tensor with kernel", "network", "network"],
            "steps": [1, 1, 2],
            "parameters": [3_000_000, 830_000, 1],
            "parameters_per_voxel": [3.0, 0.83, 0.5],
        }
    )
    said = {"settings": "velocity=tensor with kernel;steps=1"}
    reported = reported_table(
        {**said, "value": 0.769}, {**said, "metric": "parameters_per_voxel", "value": 1}
    )
    summary = summarise(metrics)
    table = tables.models(summary, sizes, TITLES, EXPERIMENTS, reported)
    assert len(as_shown(table).columns) <= WIDTH
    rows = as_shown(table).set_index("method").to_dict("index")
    first = rows["SyN & co"]
    assert first["velocity"] == "tensor with kernel"
    assert (first["steps"], first["pairs"]) == ("1", "4 of 6")
    assert (first["parameters"], first["parameters / voxel"]) == ("3,000,000", "3.00")
    assert (first["reported Dice"], first["reported parameters / voxel"]) == ("0.769", "1")
    assert rows["Our method"]["parameters"] == "1"
    assert rows["Our method"]["reported Dice"] == MISSING
    assert rows["Fails always"]["Dice"] == MISSING
    assert "reported |J| ≤ 0 (% of grid)" not in first


def test_a_bad_table_of_sweeps_is_refused():
    with pytest.raises(InputError, match="no column 'series'"):
        settings_of(POINTS.drop(columns="series"))
    twice = pd.concat([POINTS, POINTS.iloc[:1].assign(value=9)])
    with pytest.raises(InputError, match=r"run nodeo-1-200 two values of flow\.steps"):
        settings_of(twice)
