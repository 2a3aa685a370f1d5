"""From metric files to finished tables; what is missing stays missing."""

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from diffeode.errors import DamagedFileError, InputError
from diffeode.evaluation.catalogue import METRICS, ROW
from diffeode.statistics.effect import median_difference
from diffeode.statistics.export import as_shown, escape_latex, write_table
from diffeode.statistics.summary import dice_by_label, summarise
from diffeode.statistics.tidy import COLUMNS, collect, counts, mean_dice, read_tidy, write_tidy
from diffeode.statistics.wilcoxon import compare_runs, signed_rank_p, upper_bound

PAIRS = [f"sub-0{a}_T2w__sub-0{b}_T1w" for a in (1, 2, 3) for b in (4, 5)]


def unit_rows(dice: float, seconds: float = 10.0) -> list[tuple]:
    return [
        ("dice", "", "", dice),
        ("dice", "17", "left hippocampus", dice + 0.1),
        ("dice", "53", "right hippocampus", np.nan),
        ("seconds", "", "", seconds),
    ]


FAILED = [("failed", "", "", 1.0)]


def write_unit(root, experiment: str, pair: str, run: str, rows: list[tuple]):
    path = root / "metrics" / experiment / pair / f"{run}.tsv"
    write_tidy(path, pd.DataFrame(rows, columns=list(ROW)))
    return path


@pytest.fixture
def metrics(tmp_path) -> pd.DataFrame:
    """Six pairs; ours registers all, syn fails the first and lacks the last; all of 'broken'
    fails.
    """
    paths = []
    for index, pair in enumerate(PAIRS):
        paths.append(
            write_unit(
                tmp_path, "newborns", pair, "ours", unit_rows(0.7 + 0.01 * index, 10.0 * 2**index)
            )
        )
        if index < 5:
            paths.append(
                write_unit(tmp_path, "newborns", pair, "syn", unit_rows(0.6) if index else FAILED)
            )
        paths.append(write_unit(tmp_path, "newborns", pair, "broken", FAILED))
    return collect(paths)


def paired_values(differences, experiment="a") -> pd.DataFrame:
    """Return values of run ``b``, 0.5 everywhere, and of run ``a``, above it by ``differences``."""
    rows = [(experiment, f"p{i}", "a", 0.5 + d) for i, d in enumerate(differences)]
    rows += [(experiment, f"p{i}", "b", 0.5) for i in range(len(differences))]
    return pd.DataFrame(rows, columns=["experiment", "pair", "run", "value"])


# --------------------------------------------------------------------------------------- tidy table


def test_names_come_from_the_path_and_values_survive(metrics, tmp_path):
    assert tuple(metrics.columns) == COLUMNS
    first = metrics.iloc[0]
    assert (first["experiment"], first["pair"], first["run"]) == ("newborns", PAIRS[0], "ours")
    assert (first["fixed"], first["moving"]) == ("sub-01_T2w", "sub-04_T1w")
    write_tidy(tmp_path / "all.tsv", metrics)
    pd.testing.assert_frame_equal(read_tidy(tmp_path / "all.tsv"), metrics)


@pytest.mark.parametrize(
    "content", [None, "", "metric\tvalue\n", "metric\tlabel\tlabel_name\tvalue\n", "\x00\x01\n"]
)
def test_a_damaged_metric_file_is_refused(tmp_path, content):
    path = tmp_path / "e" / "a__b" / "ours.tsv"
    path.parent.mkdir(parents=True)
    if content is not None:
        path.write_text(content)
    with pytest.raises(DamagedFileError, match=r"ours\.tsv is missing, empty or no table"):
        collect([path])


def test_nothing_to_collect_is_refused():
    with pytest.raises(InputError, match="no metrics to collect"):
        collect([])


def test_failed_and_missing_pairs_are_counted_apart(metrics):
    table = counts(metrics)
    assert list(table.index.get_level_values("run")) == ["ours", "syn", "broken"]
    assert table.loc[("newborns", "ours")].to_dict() == {
        "pairs": 6,
        "n": 6,
        "suspect": 0,
        "failed": 0,
        "missing": 0,
    }
    assert table.loc[("newborns", "syn")].to_dict() == {
        "pairs": 6,
        "n": 4,
        "suspect": 0,
        "failed": 1,
        "missing": 1,
    }
    assert table.loc[("newborns", "broken")].to_dict() == {
        "pairs": 6,
        "n": 0,
        "suspect": 0,
        "failed": 6,
        "missing": 0,
    }


def test_a_pair_that_fails_everywhere_is_still_one_of_the_pairs(tmp_path):
    paths = [
        write_unit(tmp_path, "e", PAIRS[0], "ours", unit_rows(0.7)),
        write_unit(tmp_path, "e", PAIRS[1], "ours", FAILED),
    ]
    found = counts(collect(paths)).loc[("e", "ours")]
    assert found.to_dict() == {"pairs": 2, "n": 1, "suspect": 0, "failed": 1, "missing": 0}


def test_suspects_are_counted_and_stay_in_the_means(tmp_path):
    suspicions = (1.0, 0.0, 1.0)
    paths = [
        write_unit(tmp_path, "e", pair, "ours", [*unit_rows(dice), ("suspect", "", "", suspicion)])
        for pair, dice, suspicion in zip(PAIRS, (0.1, 0.7, 0.7), suspicions, strict=False)
    ]
    (row,) = summarise(collect(paths)).to_dict("records")
    assert (row["n"], row["suspect"], row["failed"]) == (3, 2, 0)
    assert row["dice_mean"] == pytest.approx(0.5)


def test_a_dice_without_value_does_not_enter(tmp_path):
    paths = [
        write_unit(tmp_path, "e", pair, "ours", unit_rows(dice))
        for pair, dice in zip(PAIRS, (0.7, np.nan), strict=False)
    ]
    assert mean_dice(collect(paths))["value"].tolist() == [0.7]


def test_a_failed_pair_is_missing_from_the_dice_and_never_zero(metrics):
    values = mean_dice(metrics)
    assert list(values.columns) == ["experiment", "pair", "run", "value"]
    assert values["run"].value_counts().to_dict() == {"ours": 6, "syn": 4}
    assert values["value"].min() == 0.6


# ------------------------------------------------------------------------------------------ summary


def test_summary_has_means_over_registered_pairs_only(metrics):
    table = summarise(metrics).set_index("run")
    assert table.loc["syn", "dice_mean"] == pytest.approx(0.6)
    assert table.loc["ours", "dice_mean"] == pytest.approx(0.725)
    assert table.loc["ours", "dice_sd"] == pytest.approx(np.std(0.01 * np.arange(6), ddof=1))
    assert table.loc["ours", "seconds_median"] == pytest.approx(60)
    assert table.loc["broken", ["n", "failed"]].tolist() == [0, 6]
    assert np.isnan(table.loc["broken", "dice_mean"])
    assert not [column for column in table if column.startswith(("tre", "hd95", "failed_"))]


def test_the_summary_counts_the_pairs_that_a_mean_leaves_out(metrics, tmp_path):
    """Ours has all six pairs, syn four; of a pair more, ours has no Dice but a time."""
    table = summarise(metrics).set_index("run")
    assert table["dice_missing"].to_dict() == {"ours": 0, "syn": 2, "broken": 6}
    unlabelled = [("seconds", "", "", 10.0)]
    more = collect([write_unit(tmp_path / "more", "newborns", "f__m", "ours", unlabelled)])
    table = summarise(pd.concat([metrics, more])).set_index("run")
    assert table.loc["ours", ["pairs", "n"]].tolist() == [7, 7]
    assert table["dice_missing"].to_dict() == {"ours": 1, "syn": 3, "broken": 7}
    assert table["seconds_missing"].to_dict() == {"ours": 0, "syn": 3, "broken": 7}


@pytest.fixture(scope="module")
def study() -> pd.DataFrame:
    """Two experiments, three runs and every metric, skewed and all different, in no order."""
    rng = np.random.default_rng(0)
    rows = []
    for experiment, pairs in (("b", 6), ("a", 9)):
        for pair in (f"p{number}__q" for number in range(pairs)):
            for run in ("syn", "ours", "affine"):
                where = (experiment, pair, run, *pair.split("__"))
                rows += [
                    (*where, metric, "", "", rng.random() ** 4)
                    for metric in METRICS
                    if metric != "failed"
                ]
                rows += [
                    (*where, metric, label, f"name {label}", 5 + rng.random() ** 4)
                    for metric in ("dice", "hd95_mm")
                    for label in ("4", "11")
                ]
    return (
        pd.DataFrame(rows, columns=list(COLUMNS))
        .sample(frac=1, random_state=0)
        .reset_index(drop=True)
    )


COSTS = ("seconds", "cpu_seconds", "peak_memory_mb")


def test_every_column_of_the_summary_is_what_its_heading_says(study):
    table = summarise(study).set_index(["experiment", "run"])
    shown = [name for name in METRICS if name not in ("failed", "suspect", "nmi_before")]
    statistics = ("mean", "sd", "missing", "median")
    expected = [f"{m}_{s}" for m in shown for s in statistics[: 4 if m in COSTS else 3]]
    assert list(table.columns) == ["pairs", "n", "suspect", "failed", "missing", *expected]
    assert len(table) == 6
    for (experiment, run), row in table.iterrows():
        assert (row["pairs"], row["n"]) == ((6, 6) if experiment == "b" else (9, 9))
        for metric in shown:
            values = chosen(study, experiment, run, metric)
            if metric in COSTS:
                assert row[f"{metric}_median"] == pytest.approx(np.median(values))
            assert row[f"{metric}_mean"] == pytest.approx(values.mean())
            assert row[f"{metric}_missing"] == 0
            assert row[f"{metric}_sd"] == pytest.approx(values.std(ddof=1))


def chosen(
    study: pd.DataFrame, experiment: str, run: str, metric: str, label: str = ""
) -> np.ndarray:
    asked = {"experiment": experiment, "run": run, "metric": metric, "label": label}
    return study[(study[list(asked)] == list(asked.values())).all(axis=1)]["value"].to_numpy()


def test_dice_by_label_is_of_its_own_label_run_and_experiment(study):
    table = dice_by_label(study)
    assert len(table) == 2 * 3 * 2
    for row in table.itertuples():
        values = chosen(study, row.experiment, row.run, "dice", row.label)
        assert row.label_name == f"name {row.label}"
        assert (row.n, row.dice_mean, row.dice_sd) == pytest.approx(
            (len(values), values.mean(), values.std(ddof=1))
        )


def test_the_mean_dice_is_that_of_the_whole_image(study):
    table = mean_dice(study)
    assert len(table) == 3 * (6 + 9)
    for (experiment, run), group in table.groupby(["experiment", "run"]):
        np.testing.assert_array_equal(
            np.sort(group["value"]), np.sort(chosen(study, experiment, run, "dice"))
        )
        assert not group["pair"].duplicated().any()


def test_dice_by_label_leaves_absent_labels_out(metrics):
    table = dice_by_label(metrics)
    assert set(table["label"]) == {"17"}
    assert table.set_index("run").loc["syn", ["n", "dice_mean"]].tolist() == pytest.approx([4, 0.7])


# ----------------------------------------------------------------------------------------- Wilcoxon


def test_a_case_by_hand():
    """Ranks of +1 +2 -3 +4 +5: the sum of positive ranks is 12; 5 of the 32 sign patterns reach 12
    or more.
    """
    assert signed_rank_p(np.array([1.0, 2.0, -3.0, 4.0, 5.0])) == pytest.approx(5 / 32)


def test_the_smallest_p_is_reached_when_every_pair_is_better():
    found = compare_runs(paired_values([0.01, 0.02, 0.03, 0.04, 0.05, 0.06])).set_index(
        ["run", "other"]
    )
    better, worse = found.loc[("a", "b")], found.loc[("b", "a")]
    assert better["p"] == better["smallest_p"] == 2**-6
    assert worse["p"] == 1
    assert better["median_difference"] == pytest.approx(0.035)
    assert worse["median_difference"] == pytest.approx(-0.035)


@pytest.mark.parametrize("n", [8, 30, 100])
def test_it_is_scipys_test(n):
    differences = np.random.default_rng(n).normal(0.2, 1, n)
    assert signed_rank_p(differences) == stats.wilcoxon(differences, alternative="greater").pvalue


def test_runs_are_compared_pair_by_pair_whatever_the_order_of_the_rows(study):
    found = compare_runs(mean_dice(study)).set_index(["experiment", "run", "other"])
    assert len(found) == 2 * 3 * 2
    for (experiment, run, other), row in found.iterrows():
        asked = study[
            (study["experiment"] == experiment)
            & (study["metric"] == "dice")
            & (study["label"] == "")
        ]
        table = asked.pivot(index="pair", columns="run", values="value")
        differences = (table[run] - table[other]).to_numpy()
        expected = stats.wilcoxon(
            table[run].to_numpy(), table[other].to_numpy(), alternative="greater"
        )
        assert row["p"] == pytest.approx(expected.pvalue)
        assert row["median_difference"] == pytest.approx(np.median(differences))
        assert row["low"] <= row["median_difference"] <= row["high"]
        assert (row["n"], row["zeros"], row["smallest_p"]) == (
            len(differences),
            0,
            0.5 ** len(differences),
        )


def test_the_exact_null_is_kept_up_to_fifty_differences():
    """With more differences the normal approximation is used; its p differs in the third digit."""
    for n, method in ((50, "exact"), (51, "approx")):
        differences = np.random.default_rng(n).normal(0.25, 1, n)
        p = {
            m: stats.wilcoxon(differences, alternative="greater", method=m).pvalue
            for m in ("exact", "approx")
        }
        assert p["exact"] != pytest.approx(p["approx"], rel=1e-4)
        assert signed_rank_p(differences) == p[method]


def test_five_differences_have_a_p():
    assert signed_rank_p(np.array([1.0, 2, 3, 4, 5])) == 1 / 32
    assert signed_rank_p(np.array([1.0, 2, 3, 4, 5, 0])) == 1 / 32


def test_equal_pairs_are_dropped_and_counted():
    with_zeros = compare_runs(paired_values([0, 0, 0.01, 0.02, 0.03, 0.04, -0.05, 0.06])).iloc[0]
    assert (with_zeros["n"], with_zeros["zeros"], with_zeros["smallest_p"]) == (6, 2, 2**-6)
    assert with_zeros["p"] == pytest.approx(signed_rank_p(np.array([1, 2, 3, 4, -5, 6.0])))


@pytest.mark.parametrize(
    ("differences", "patterns"),
    [
        ([1, 1, 1, 1, 1], 1),
        ([1, 1, 1, 1, -1], 6),
        ([1, 1, 2, 2, 3, 0], 1),
        ([-1, -1, -2, -2, -3], 32),
        ([-1, 1, 2, 2, 3], 3),
    ],
)
def test_the_test_of_ties_is_exact_by_hand(differences, patterns):
    """In the last case the ranks 1.5 1.5 3.5 3.5 5 sum to 15, and 13.5 is reached with all signs
    positive, or with one of the two smallest differences negative.
    """
    assert signed_rank_p(np.array(differences, dtype=float)) == patterns / 32


@pytest.mark.parametrize("n", [6, 9, 12])
def test_the_test_of_ties_is_scipys_over_all_signs(n):
    tied = np.random.default_rng(n).integers(1, 4, n) * np.where(np.arange(n) % 3, 1.0, -1.0)
    every = stats.PermutationMethod(n_resamples=2**n)
    expected = stats.wilcoxon(tied, alternative="greater", method=every).pvalue
    assert signed_rank_p(tied) == pytest.approx(expected, rel=1e-12)


def test_no_p_of_ties_lies_under_the_smallest():
    for n in (5, 20, 50):
        found = compare_runs(paired_values([0.25] * n)).iloc[0]
        assert found["p"] == found["smallest_p"] == 0.5**n


def test_more_than_fifty_ties_use_the_normal_approximation():
    tied = np.tile([1.0, 2.0, -1.0], 17)
    expected = stats.wilcoxon(tied, alternative="greater", method="approx").pvalue
    assert signed_rank_p(tied) == expected


def test_too_few_pairs_have_no_p():
    found = compare_runs(paired_values([0.1, 0.2, 0.3, 0.4])).iloc[0]
    assert np.isnan(found["p"])
    assert found["smallest_p"] == 1 / 16


def test_only_pairs_of_both_runs_are_compared(metrics):
    found = compare_runs(mean_dice(metrics)).set_index(["run", "other"])
    assert set(found.index) == {("ours", "syn"), ("syn", "ours")}
    assert found.loc[("ours", "syn"), "n"] == 4


def test_the_upper_bound_is_the_largest_p_and_unknown_where_one_is():
    strong, weak = paired_values([1, 2, 3, 4, 5, 6], "x"), paired_values([1, 2, -3, 4, 5], "y")
    bound = upper_bound(compare_runs(pd.concat([strong, weak]))).set_index(["run", "other"])
    assert bound.loc[("a", "b"), "p"] == pytest.approx(5 / 32)
    assert bound.loc[("a", "b"), ["experiments", "n"]].tolist() == [2, 5]
    few = paired_values([1, 2], "z")
    assert upper_bound(compare_runs(pd.concat([strong, few])))["p"].isna().all()


def test_a_study_without_labels_gives_tables_without_rows(tmp_path):
    unlabelled = [("nmi", "", "", 1.2)]
    metrics = collect(
        [
            write_unit(tmp_path, "openms", pair, run, unlabelled)
            for pair in PAIRS
            for run in ("ours", "syn")
        ]
    )
    tests = compare_runs(mean_dice(metrics))
    for table in (tests, upper_bound(tests), dice_by_label(metrics)):
        assert table.empty
        assert "run" in write_table(table, tmp_path / "t", "Nothing")[0].read_text()
    assert summarise(metrics)["nmi_mean"].tolist() == [1.2, 1.2]


def test_a_study_in_which_all_fails_still_has_its_counts(tmp_path):
    table = summarise(collect([write_unit(tmp_path, "e", pair, "ours", FAILED) for pair in PAIRS]))
    assert table.to_dict("records") == [
        {
            "experiment": "e",
            "run": "ours",
            "pairs": 6,
            "n": 0,
            "suspect": 0,
            "failed": 6,
            "missing": 0,
        }
    ]


# ------------------------------------------------------------------------------------------- effect


def test_an_effect_is_the_median_difference_inside_its_interval():
    other = np.linspace(0.5, 0.7, 21)
    effect = median_difference(other + np.linspace(0.0, 0.2, 21), other, seed=1)
    assert effect.median == pytest.approx(0.1)
    assert 0 < effect.low < 0.1 < effect.high < 0.2
    assert effect == median_difference(other + np.linspace(0.0, 0.2, 21), other, seed=1)


def test_the_interval_covers_the_true_median_about_95_times_in_100():
    rng = np.random.default_rng(0)
    covered = []
    for trial in range(100):
        _, low, high = median_difference(rng.normal(0.3, 1.0, 40), np.zeros(40), seed=trial)
        covered.append(low <= 0.3 <= high)
    assert 88 <= sum(covered) <= 100


def test_the_interval_holds_95_percent_of_the_bootstrap():
    """Of 41 values: P(resampled median <= k-th value) = P(Binomial(41, k / 41) >= 21), exactly;
    skewed on purpose.
    """
    ranks = np.arange(1, 42)
    below = stats.binom.sf(20, 41, ranks / 41)
    values = ranks.astype(float) ** 3
    expected = values[np.searchsorted(below, 0.025)], values[np.searchsorted(below, 0.975)]
    for seed in range(3):
        assert median_difference(values, np.zeros(41), seed)[1:] == expected


def test_one_pair_has_no_interval():
    effect = median_difference(np.array([0.8]), np.array([0.5]), seed=0)
    assert effect.median == pytest.approx(0.3)
    assert np.isnan([effect.low, effect.high]).all()


# ------------------------------------------------------------------------------------------- export

SUMMARY = pd.DataFrame(
    {
        "experiment": ["T1w_T2w", "T1w_T2w", "T1w_T2w"],
        "run": ["node-mind", "syn & co", "broken"],
        "n": [12, 12, 0],
        "dice_mean": [0.78649, 0.7349, np.nan],
        "dice_sd": [0.02, np.nan, np.nan],
        "ndv_percent_mean": [0.000123456, 0.0, np.nan],
        "ndv_percent_sd": [0.00001, 0.0, np.nan],
        "seconds_median": [61.26, 90.0, np.nan],
        "p": [0.000244140625, 1.0, np.nan],
    }
)


def test_shown_tables_join_mean_and_sd_and_round_as_the_metric_says():
    shown = as_shown(SUMMARY)
    assert list(shown.columns) == [
        "experiment",
        "run",
        "n",
        "Dice",
        "NDV (% of foreground)",
        "Time (s), median",
        "p",
    ]
    assert shown.iloc[0].tolist() == [
        "T1w_T2w", "node-mind", "12", "0.786 ± 0.020", "0.000123 ± 1e-05", "61.3", "0.000244",
    ]  # fmt: skip
    assert shown.iloc[1]["Dice"] == "0.735"
    assert shown.iloc[2, 3:].tolist() == ["\N{EN DASH}"] * 4


def test_a_mean_beside_a_median_is_said_to_be_one():
    frame = pd.DataFrame({"seconds_mean": [90.0], "seconds_median": [61.26], "dice_mean": [0.7]})
    shown = as_shown(frame)
    assert shown.to_dict("list") == {
        **{"Time (s), mean": ["90.0"], "Time (s), median": ["61.3"], "Dice": ["0.700"]}
    }
    assert list(as_shown(frame[["seconds_mean"]])) == ["Time (s)"]


def test_three_files_are_written_and_the_best_is_bold(tmp_path):
    paths = write_table(
        SUMMARY,
        tmp_path / "tables" / "summary.v1",
        "Dice of 50 % of pairs",
        bold=["dice", "hd95_mm"],
    )
    assert [path.name for path in paths] == ["summary.v1.tsv", "summary.v1.md", "summary.v1.tex"]
    tsv, markdown, latex = (path.read_text() for path in paths)
    assert "node-mind\t12\t0.78649\t0.02\t0.000123456" in tsv
    assert pd.read_csv(paths[0], sep="\t")["dice_mean"].tolist()[:2] == [0.78649, 0.7349]
    assert "**0.786 ± 0.020**" in markdown
    assert markdown.count("**") == 2
    assert markdown.splitlines()[0] == "Dice of 50 % of pairs"
    assert r"\textbf{0.786 $\pm$ 0.020}" in latex
    assert r"T1w\_T2w & syn \& co & 12 & 0.735 & " in latex
    assert r"\caption{Dice of 50 \% of pairs}" in latex
    assert latex.count("\\\\\n") == 4
    assert [word for word in ("toprule", "midrule", "bottomrule") if f"\\{word}" not in latex] == []


def test_the_best_of_every_metric_is_bold(tmp_path):
    """Large values of overlap, information and volume are best, and small values of everything
    else. Metrics without a better or worse are never bold.
    """
    larger = {"dice", "dice_subset", "min_jacobian", "nmi"}
    for name, metric in METRICS.items():
        expected = "larger" if name in larger else "neither" if name == "nmi_before" else "smaller"
        assert metric.better == expected, name
    for name in ("dice", "min_jacobian", "nmi", "hd95_mm", "tre_mm", "ndv_percent", "sdlogj"):
        frame = pd.DataFrame({"run": ["low", "high", "none"], f"{name}_mean": [0.25, 0.75, np.nan]})
        _, markdown, latex = (
            path.read_text() for path in write_table(frame, tmp_path / "t", "T", bold=[name])
        )
        best, other = ("0.75", "0.25") if name in larger else ("0.25", "0.75")
        assert f"**{best}" in markdown
        assert f"**{other}" not in markdown
        assert rf"\textbf{{{best}" in latex
        assert rf"\textbf{{{other}" not in latex


def test_units_are_those_that_names_say():
    units = {
        "_mm": "mm",
        "_grid_percent": "% of grid",
        "_percent": "% of foreground",
        "seconds": "s",
        "_mb": "MB",
    }
    for name, metric in METRICS.items():
        assert metric.unit == next(
            (unit for end, unit in units.items() if name.endswith(end)), ""
        ), name
        assert metric.heading == (
            f"{metric.title} ({metric.unit})" if metric.unit else metric.title
        )
    headings = [metric.heading for metric in METRICS.values()]
    assert len(set(headings)) == len(headings)


def test_bold_is_decided_within_each_experiment(tmp_path):
    frame = pd.DataFrame({"experiment": ["a", "a", "b"], "hd95_mm_mean": [3.0, 2.0, 9.0]})
    markdown = write_table(frame, tmp_path / "t", "HD95", bold=["hd95_mm"])[1].read_text()
    assert [text for text in ("3.00", "2.00", "9.00") if f"**{text}**" in markdown] == [
        "2.00",
        "9.00",
    ]


def test_markdown_bars_are_escaped(tmp_path):
    frame = pd.DataFrame({"run": ["a|b"], "folds_central_percent_mean": [0.0]})
    markdown = write_table(frame, tmp_path / "t", "Folds")[1].read_text()
    assert "| run | \\|J\\| ≤ 0, central (% of foreground) |" in markdown
    assert "| a\\|b | 0 |" in markdown


def test_latex_commands_are_disarmed():
    assert escape_latex(r"\a_b%{c}") == r"\textbackslash{}a\_b\%\{c\}"
