"""The page with every table and figure of the papers."""

import base64
import fnmatch
import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import yaml

from diffeode.errors import InputError
from diffeode.files.pictures import Picture, write_picture
from diffeode.statistics.claims import judge
from diffeode.statistics.export import write_page
from diffeode.statistics.paper_page import _FIGURES, write_paper_page
from diffeode.statistics.results import Results
from diffeode.study.runs import crossed, read_runs

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "config" / "pages" / "paper.yaml"
WIDTH_PX = 12
KINDS = ("greater", "not_greater", "at_most", "steady")


def write_results(folder: Path) -> Results:
    """Write the tables of a study of two experiments and five runs, one of which failed on all
    pairs of the second experiment.
    """
    (folder / "tables").mkdir(parents=True)
    (folder / "figures" / "beside" / "one").mkdir(parents=True)
    (folder / "metrics.tsv").write_text("there\n")
    means = {
        "ours": (0.8, 0.7),
        "other": (0.6, 0.71),
        "swept-1": (0.5, 0.6),
        "swept-2": (0.53, 0.6),
        "failed": (0.4, np.nan),
    }
    rows = [
        {
            **{"experiment": experiment, "run": run, "pairs": 9},
            **{"n": 9 - index - (run == "swept-2")},
            **{"dice_mean": values[index], "folds_mean": index / 10 + 0 * values[index]},
            **{"still_mean": 0.0},
        }
        for index, experiment in enumerate(("one", "two"))
        for run, values in means.items()
    ]
    pd.DataFrame(rows).to_csv(folder / "tables" / "summary.tsv", sep="\t", index=False)
    tests = [
        *(("ours", "other", 0.01), ("ours", "swept-1", 0.05), ("other", "ours", "")),
        *(("swept-2", "other", 0.04), ("swept-2", "swept-1", 1), ("ours", "swept-2", "")),
    ]
    tests = pd.DataFrame(tests, columns=["run", "other", "p"]).assign(experiments=2, n=8)
    tests.loc[len(tests)] = ("ours", "failed", 0.01, 1, 9)
    tests.to_csv(folder / "tables" / "wilcoxon_largest_p.tsv", sep="\t", index=False)
    tests = [
        *(("one", "swept-1", "swept-2", 0.05, 7), ("two", "swept-1", "swept-2", 0.02, 7)),
        *(("one", "swept-1", "other", 0.3, 8), ("two", "swept-1", "other", 0.06, 7)),
        *(("one", "swept-1", "ours", 0.5, 6), ("two", "swept-1", "ours", "", 4)),
        *(("one", "failed", "other", "", 3), ("two", "failed", "other", "", 2)),
    ]
    tests = pd.DataFrame(tests, columns=["experiment", "run", "other", "p", "n"])
    tests.to_csv(folder / "tables" / "wilcoxon.tsv", sep="\t", index=False)
    shown = pd.DataFrame(rows).rename(columns={"run": "method"}).drop(columns="n")
    shown["experiment"] = shown["experiment"].map({"one": "First & best (adults)", "two": "Second"})
    shown["method"] = shown["method"].map(lambda name: f"Method {name}")
    write_page(shown, folder / "tables" / "summary.html", "A study (adults). Means over pairs.")
    for name in ("f__m", "g__m"):
        picture = Picture(np.zeros((WIDTH_PX, 3, 1), np.uint8), ".png")
        write_picture(folder / "figures" / "beside" / "one" / f"{name}.png", picture)
    return Results("A study", folder, "snakemake study", {"ants": "ANTs", "ours": "Not this one"})


@pytest.mark.parametrize(
    ("reverse", "outcome", "why"),
    [
        (
            0.6,
            "is not shown",
            "Method swept-1 is not shown to be more accurate than Method ours on First & best "
            "(adults) (p = 0.5, n = 6).",
        ),
        (0.01, "does not hold", "Method ours is more accurate on First & best (adults) (p = 0.01"),
    ],
)
@pytest.mark.parametrize("than", [["ours"], ["ours", "failed"]])
def test_too_few_pairs_in_one_experiment_hide_no_test_of_another(
    results, than, reverse, outcome, why
):
    """The largest p of the run against ours is unknown; that against the failed one is small."""
    tables = results.folder / "tables"
    with (tables / "wilcoxon_largest_p.tsv").open("a") as file:
        file.write("swept-1\tours\t\t2\t4\nswept-1\tfailed\t0.01\t2\t9\n")
    with (tables / "wilcoxon.tsv").open("a") as file:
        file.write(f"one\tours\tswept-1\t{reverse}\t6\n")
    claim = {"text": "A claim.", "greater": {"run": "swept-1", "than": than}}
    verdict = judge(claim, results)
    assert verdict.outcome == outcome
    assert why in verdict.why


def test_too_few_pairs_in_one_experiment_leave_a_claim_that_another_shows_in_part(results):
    tables = results.folder / "tables"
    with (tables / "wilcoxon_largest_p.tsv").open("a") as file:
        file.write("swept-1\tfailed\t\t2\t4\n")
    with (tables / "wilcoxon.tsv").open("a") as file:
        file.write("one\tswept-1\tfailed\t0.01\t7\ntwo\tswept-1\tfailed\t\t4\n")
    claim = {"text": "A claim.", "greater": {"run": "swept-1", "than": ["failed"]}}
    verdict = judge(claim, results)
    assert verdict.outcome == "holds in part"
    assert "Method failed: too few pairs for a test, n = 4" in verdict.why
    assert (
        "Method swept-1 is more accurate than Method failed on First & best (adults) (p = 0.01, "
        "n = 7)." in verdict.why
    )


@pytest.fixture
def results(tmp_path):
    return write_results(tmp_path / "results" / "studies" / "mine")


@pytest.mark.parametrize(
    ("claim", "outcome", "why"),
    [
        ({"greater": {"run": "ours", "than": ["other"]}}, "holds", "Method other: p = 0.01, n = 8"),
        (
            {"greater": {"run": "ours", "than": ["other", "swept-1"]}},
            "is not shown",
            "Method swept-1: p = 0.05, n = 8",
        ),
        (
            {"greater": {"run": "ours", "than": ["other", "syn"]}},
            "holds in part",
            "Method ours was not compared with syn here",
        ),
        (
            {"greater": {"run": "ours", "than": ["other", "swept-2"]}},
            "holds in part",
            "Method swept-2: too few pairs for a test, n = 8",
        ),
        ({"greater": {"run": "ours", "than": [["syn", "other"]]}}, "holds", "Method other: p"),
        ({"greater": {"run": "ours", "than": [["ants", "syn"]]}}, "not tested", "with ANTs here"),
        (
            {"greater": {"run": "swept-2", "than": ["other", "swept-1"]}},
            "does not hold",
            "n = 8. Method swept-1 is more accurate on Second (p = 0.02, n = 7).",
        ),
        (
            {"greater": {"run": ["ours", "swept-2"], "than": ["other"]}},
            "holds",
            "Method other: p = 0.01, n = 8. Largest p of Method swept-2",
        ),
        ({"greater": {"run": ["ours", "syn"], "than": ["other"]}}, "holds in part", "syn was not"),
        ({"greater": {"run": ["ours", "swept-2"], "than": ["swept-1"]}}, "does not hold", "p = 1"),
        ({"greater": {"run": "ours", "than": ["syn"]}}, "not tested", "not compared with syn"),
        ({"greater": {"run": "other", "than": ["ours"]}}, "not tested", "too few pairs"),
        (
            {"not_greater": {"run": "swept-1", "than": ["swept-2"]}},
            "does not hold",
            "Smallest p of Method swept-1 over the experiments, n the number of pairs there: "
            "Method swept-2: p = 0.02, n = 7. Method swept-1 is more accurate on Second (p = 0.02,",
        ),
        (
            {"not_greater": {"run": "swept-1", "than": ["other"]}},
            "holds",
            "Method other: p = 0.06, n = 7.",
        ),
        (
            {"not_greater": {"run": "swept-1", "than": [["syn", "other"], "ants"]}},
            "holds in part",
            "Method other: p = 0.06, n = 7. Method swept-1 was not compared with ANTs here.",
        ),
        (
            {"not_greater": {"run": "swept-1", "than": ["other", "ours"]}},
            "holds in part",
            "Method other: p = 0.06, n = 7; Method ours: p = 0.5, n = 6.",
        ),
        (
            {"not_greater": {"run": ["swept-1", "other"], "than": ["swept-2"]}},
            "does not hold",
            "Method swept-1 is more accurate on Second (p = 0.02, n = 7). Method other was not",
        ),
        (
            {"not_greater": {"run": ["swept-1", "failed"], "than": ["other"]}},
            "holds in part",
            "Method other: too few pairs for a test, n = 3.",
        ),
        ({"not_greater": {"run": "failed", "than": ["other"]}}, "not tested", "too few pairs"),
        (
            {"not_greater": {"run": "ours", "than": ["ants"]}},
            "not tested",
            "Method ours was not compared with ANTs here.",
        ),
        (
            {"at_most": {"metric": "folds", "runs": ["ours"], "value": 0.1}},
            "holds",
            "The largest mean is 0.1, that of Method ours on Second (n = 8); the claim's limit is",
        ),
        ({"at_most": {"metric": "folds", "runs": ["ours"], "value": 0.09}}, "does not hold", "0.1"),
        (
            {"at_most": {"metric": "still", "runs": ["ours", "other"], "value": 0}},
            "holds",
            "Each of the 4 means is 0; the claim's limit is 0.",
        ),
        (
            {"at_most": {"metric": "folds", "runs": ["ants"], "value": 1}},
            "not tested",
            "ANTs did not run here.",
        ),
        (
            {"at_most": {"metric": "folds", "runs": ["syn"], "value": 1}},
            "not tested",
            "syn did not",
        ),
        (
            {"steady": {"metric": "dice", "runs": ["swept-*"], "within": 0.031}},
            "holds",
            "2 runs differ by at most 0.03, on First & best (adults) (n = 8); the claim's limit is",
        ),
        (
            {"steady": {"metric": "dice", "runs": ["swept-*"], "within": 0.029}},
            "does not hold",
            "0.03",
        ),
        (
            {"steady": {"metric": "dice", "runs": ["ours"], "within": 1}},
            "not tested",
            "Fewer than two of Method ours ran here.",
        ),
        (
            {"steady": {"metric": "dice", "runs": ["swept-*", "syn"], "within": 0.031}},
            "holds in part",
            "There is no mean of syn.",
        ),
        (
            {"at_most": {"metric": "folds", "runs": ["ours", "failed"], "value": 0.1}},
            "holds in part",
            "There is no mean of Method failed on Second.",
        ),
        (
            {"at_most": {"metric": "folds", "runs": ["ours", "failed"], "value": 0.09}},
            "does not hold",
            "There is no mean of Method failed on Second.",
        ),
        (
            {"greater": {"run": "ours", "than": ["other", "failed"]}},
            "holds in part",
            "Method failed was compared in 1 of the 2 experiments.",
        ),
        ({"steady": {"metric": "dice", "runs": ["syn"], "within": 1}}, "not tested", "Fewer than"),
    ],
)
def test_a_claim_is_judged_by_the_tables_of_its_study(results, claim, outcome, why):
    verdict = judge({"text": "A claim.", **claim}, results)
    assert (verdict.claim, verdict.outcome) == ("A claim.", outcome)
    assert why in verdict.why


@pytest.mark.parametrize(
    ("claim", "sentence"),
    [
        ({}, "says no test"),
        ({"at_most": {"metric": "dise", "runs": ["ours"], "value": 1}}, "no metric 'dise'"),
    ],
)
def test_a_claim_that_cannot_be_judged_is_refused(results, claim, sentence):
    with pytest.raises(InputError, match=sentence):
        judge({"text": "A claim.", **claim}, results)


@pytest.fixture
def repository(tmp_path, results):
    """A page of three items: a study that ran, one that did not, and one that is not there."""
    (tmp_path / "config").mkdir()
    reported = (REPOSITORY / "config" / "reported.tsv").read_text()
    (tmp_path / "config" / "reported.tsv").write_text(reported)
    for name in ("mine", "later"):
        (tmp_path / "config" / f"{name}.yaml").write_text(
            yaml.safe_dump({"study": name, "title": f"Study {name}", "results": "results"})
        )
    items = [
        {
            "title": "The poster & its table",
            "source": "poster",
            "places": ["Table of Figure 3"],
            "study": "mine",
            "caption": "A caption.",
            "tables": ["summary"],
            "figures": ["beside/*/*.png"],
            "claims": [{"text": "Ours wins.", "greater": {"run": "ours", "than": ["other"]}}],
        },
        {
            **{"title": "Later", "source": "nodeo", "places": ["Table 1"]},
            **{"study": "later", "caption": "Text."},
        },
        {"title": "Never", "source": "paper", "places": [], "study": "never", "caption": "Text."},
    ]
    page = {"title": "The page", "sizes": {"full": "All.", "small": "Less."}, "items": items}
    page["studies"] = {
        "mine": {"full": "config/mine.yaml", "small": "config/mine.yaml"},
        "later": {"full": "config/later.yaml"},
    }
    (tmp_path / "config" / "page.yaml").write_text(yaml.safe_dump(page))
    return tmp_path


def page_of(repository, small=False):
    out = repository / "out" / "index.html"
    out.parent.mkdir(exist_ok=True)
    titles = {"syn": "SyN & others"}
    write_paper_page(repository / "config" / "page.yaml", repository, small, out, titles)
    return out.read_text()


def test_the_page_holds_tables_figures_reported_numbers_and_verdicts(repository):
    page = page_of(repository)
    (picture,) = {file.read_bytes() for file in repository.rglob("beside/*/*.png")}
    shown = f'base64,{base64.b64encode(picture).decode()}" width="{WIDTH_PX // 2}"'
    assert page.count(shown) == 2
    assert "<tr><td>NODE + MIND, oasis3-oasis3</td><td>75.64 ± 1.7 %</td>" in page
    assert "<tr><td>SYMNet, candi, structures 28, n = 80</td><td>0.778 ± 0.091</td>" in page
    assert "<th></th><th>Dice</th><th>Sum of -|J| where |J| ≤ 0, central</th>" in page
    assert page.count("Ours wins.") == 2
    assert page.count('<span class="outcome holds">holds</span>') == 2
    assert "The poster &amp; its table" in page
    assert "All." in page


def test_a_run_stands_in_for_one_that_the_study_has_under_another_name(repository):
    """A claim on the run that stands in for another is judged by its numbers, and on a run that is
    there by its own.
    """
    file = repository / "config" / "page.yaml"
    content = yaml.safe_load(file.read_text())
    content["items"][0] |= {
        "stands_in": {"published": "ours", "other": "swept-1"},
        "claims": [
            {"text": "It wins.", "greater": {"run": "published", "than": [["syn", "other"]]}},
            {"text": "It is.", "at_most": {"metric": "dice", "runs": ["published"], "value": 0.8}},
            {"text": "SyN wins.", "greater": {"run": "syn", "than": ["other"]}},
        ],
    }
    file.write_text(yaml.safe_dump(content))
    page = page_of(repository)
    assert "Method other: p = 0.01, n = 8" in page
    assert "The largest mean is 0.8, that of Method ours on" in page
    assert "SyN &amp; others was not compared with Method other here." in page


def test_reported_numbers_of_many_kinds_stand_in_one_column(repository):
    """A table with a column for each would not fit on the page."""
    file = repository / "config" / "page.yaml"
    content = yaml.safe_load(file.read_text())
    content["items"][0] |= {"source": "paper", "places": ["Section IV-C", "Section III-D3"]}
    file.write_text(yaml.safe_dump(content))
    assert "<th></th><th>Reported</th></tr>" not in page_of(repository)
    content["items"][0]["places"] = ["Section III-D1", "Section IV-C", "Appendix B2", "Appendix B3"]
    file.write_text(yaml.safe_dump(content))
    page = page_of(repository)
    assert "<th></th><th>Reported</th></tr>" in page
    assert "1; Factor of the network&#39;s one halving: 2</td>" in page


def test_all_claims_stand_in_a_table_beside_the_page(repository):
    page_of(repository)
    table = pd.read_csv(repository / "out" / "claims.tsv", sep="\t", keep_default_na=False)
    assert table.columns.tolist() == ["item", "claim", "found", "why", "study"]
    (row,) = table.itertuples(index=False, name=None)
    assert row[:3] == ("The poster & its table", "Ours wins.", "holds")
    assert "Method other: p = 0.01, n = 8" in row[3]
    assert row[4] == "Study mine"


def test_the_page_says_on_which_data_and_how_many_pairs(repository):
    page = page_of(repository)
    said = "on: First &amp; best (adults), 9 pairs; Second, 9 pairs."
    assert said in page
    assert "Means over pairs." in page
    assert "A study (adults)" not in page


def test_an_item_may_rest_on_other_data_than_the_experiments_of_its_study(repository):
    file = repository / "config" / "page.yaml"
    content = yaml.safe_load(file.read_text())
    content["items"][0]["data"] = "persons whom nobody scanned"
    file.write_text(yaml.safe_dump(content))
    page = page_of(repository)
    assert "on: persons whom nobody scanned." in page
    assert "9 pairs" not in page


def test_the_rows_of_a_table_stand_under_their_experiment(repository):
    """The experiment is said once, and every row keeps its numbers."""
    page = page_of(repository)
    table = re.search('<table class="grouped">.*?</table>', page, re.DOTALL)[0]
    rows = [re.findall(r"<t[hd].*?>(.*?)</t[hd]>", row) for row in re.findall("<tr.*?</tr>", table)]
    assert len(rows) == 1 + 2 + 10
    assert rows[1] == ["First &amp; best (adults)"]
    assert rows[2][:3] == ["Method ours", "9", "0.800"]
    assert rows[7] == ["Second"]
    assert {len(row) for row in rows if len(row) > 1} == {len(rows[0])}
    assert "experiment" not in rows[0]


def test_an_item_may_cut_the_summary_to_some_runs(repository):
    file = repository / "config" / "page.yaml"
    content = yaml.safe_load(file.read_text())
    content["items"][0]["runs"] = ["other", "swept-1"]
    file.write_text(yaml.safe_dump(content))
    page = page_of(repository)
    table = re.search('<table class="grouped">.*?</table>', page, re.DOTALL)[0]
    assert re.findall("Method [a-z0-9-]+", table) == ["Method other", "Method swept-1"] * 2
    assert "3 other runs of the study are left out" in page


def test_figures_are_captioned_in_words(repository):
    page = page_of(repository)
    assert "First &amp; best (adults). a__b." not in page
    assert page.count("Methods side by side, in the coronal plane") == 4
    assert "First &amp; best (adults). m to f.</figcaption>" in page


def test_a_claim_of_a_study_that_did_not_run_is_not_tested(repository):
    file = repository / "config" / "page.yaml"
    content = yaml.safe_load(file.read_text())
    claim = {"text": "Later wins.", "greater": {"run": "ours", "than": ["other"]}}
    content["items"][1]["claims"] = content["items"][2]["claims"] = [claim]
    file.write_text(yaml.safe_dump(content))
    page = page_of(repository)
    assert page.count("not tested</span>") == 4
    assert page.count("none at this size, or not run yet") == 2


def test_a_study_that_did_not_run_is_named_with_its_command(repository):
    page = page_of(repository)
    assert "not been run yet: snakemake" in page
    assert "--configfile config/later.yaml" in page
    assert page.count("There is no study of it at this size.") == 1
    small = page_of(repository, small=True)
    assert "Less." in small
    assert small.count("There is no study of it at this size.") == 2


def test_a_summary_whose_page_has_other_rows_is_refused(repository, results):
    """The titles of methods would be those of others, or missing."""
    page = results.folder / "tables" / "summary.html"
    rows = page.read_text().splitlines(keepends=True)
    last = max(n for n, row in enumerate(rows) if row.startswith("<tr>"))
    page.write_text("".join(rows[:last] + rows[last + 1 :]))
    sentence = r"summary\.html has 9 rows and summary\.tsv 10; have the study make both again"
    with pytest.raises(InputError, match=sentence):
        page_of(repository)


def test_a_figure_or_table_that_is_missing_is_named(repository, results):
    file = repository / "config" / "page.yaml"
    content = yaml.safe_load(file.read_text())
    content["items"][0]["tables"] = ["sweeps"]
    file.write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match=r"sweeps\.html"):
        page_of(repository)
    (results.folder / "tables" / "sweeps.html").write_text("<p>Nothing</p>")
    with pytest.raises(InputError, match=r"sweeps\.html holds no table"):
        page_of(repository)
    (results.folder / "tables" / "summary.html").unlink()
    with pytest.raises(InputError, match=r"summary\.html"):
        page_of(repository)


def test_every_study_run_metric_and_place_of_the_committed_page_exists():
    """A claim on a run that no study has would be 'not tested' for ever."""
    content = yaml.safe_load(PAGE.read_text())
    reported = pd.read_csv(REPOSITORY / "config" / "reported.tsv", sep="\t", dtype=str)
    known = set(zip(reported["source"], reported["place"], strict=True))
    used = set()
    for item in content["items"]:
        used.add(item["study"])
        for pattern in item.get("figures", ()):
            assert Path(pattern).parts[0].removesuffix(".png") in _FIGURES
        for place in item["places"]:
            assert (item["source"], place) in known
    assert used == set(content["studies"])
    for files in content["studies"].values():
        for file in files.values():
            assert (REPOSITORY / file).is_file()


def test_every_reported_number_stands_on_the_committed_page():
    content = yaml.safe_load(PAGE.read_text())
    shown = {(item["source"], place) for item in content["items"] for place in item["places"]}
    reported = pd.read_csv(REPOSITORY / "config" / "reported.tsv", sep="\t", dtype=str)
    assert set(zip(reported["source"], reported["place"], strict=True)) == shown


ON_REQUEST = ("plane_boundary.png", "plane_regularisation.png", "longitudinal.png")


def parts_of(files):
    """Names of the runs, of the tables and of those figures of studies that are asked for by a
    key.
    """
    runs, tables, asked = set(), {"experiments", "summary", "wilcoxon"}, set()
    for file in files:
        content = yaml.safe_load((REPOSITORY / file).read_text())
        made, sweeps = read_runs(content["runs"], file)
        runs |= {run.name for run in made}
        tables |= {f"crossed-{word}" for word in crossed(sweeps)} | {"sweeps"} if sweeps else set()
        figures = content.get("figures", {})
        tables |= {"models"} if "models" in figures else set()
        asked |= set(ON_REQUEST[:2]) if "plane" in figures else set()
        if "longitudinal" in content:
            tables |= {"longitudinal_visits", "longitudinal_paths"}
            asked.add(ON_REQUEST[2])
    return runs, tables, asked


CONTENT = yaml.safe_load(PAGE.read_text())


@pytest.mark.parametrize("item", CONTENT["items"], ids=lambda item: item["title"])
def test_every_run_and_table_of_the_committed_page_is_of_its_study(item):
    """Each claim can be tested at one size at least, and each table is there at both."""
    files = CONTENT["studies"][item["study"]]
    runs, _, _ = parts_of(files.values())
    assert set(item.get("runs", ())) <= runs
    assert {run for pair in item.get("stands_in", {}).items() for run in pair} <= runs
    for claim in item.get("claims", ()):
        (test,) = (claim[kind] for kind in KINDS if kind in claim)
        for named in (*test.get("runs", ()), *test.get("than", ()), test.get("run", ())):
            for name in [named] if isinstance(named, str) else named:
                assert fnmatch.filter(runs, name), (claim["text"], name)
    for file in files.values():
        _, tables, asked = parts_of([file])
        assert set(item.get("tables", ())) <= tables, file
        assert set(item.get("figures", ())) & set(ON_REQUEST) <= asked, file


def claims_of(kind):
    """The text and the test of each claim of this kind on the committed page, and its item."""
    return [
        (item["title"], claim["text"], claim[kind])
        for item in CONTENT["items"]
        for claim in item.get("claims", ())
        if kind in claim
    ]


def test_a_limit_that_no_paper_names_is_said_to_be_ours():
    claims = claims_of("steady")
    assert [test["within"] for _, _, test in claims] == [0.02, 0.005]
    for _, text, test in claims:
        assert f"the limit of {test['within']:g} is ours" in text


def pairs_of(kind):
    """The run and the other of each comparison of this kind that Figure 6 judges."""
    judged = set()
    for title, _, test in claims_of(kind):
        if not title.startswith("Figure 6"):
            continue
        runs = test["run"] if isinstance(test["run"], list) else [test["run"]]
        others = [name for names in test["than"] for name in np.atleast_1d(names)]
        judged |= {(run, other) for run in runs for other in others}
    return judged


def test_every_comparison_with_the_two_weaker_variants_is_judged():
    """Section IV-D compares them with eight methods. Against three it finds no evidence for them,
    and section V-C none for contrastive descriptors against MIND.
    """
    judged, without_evidence = pairs_of("greater"), pairs_of("not_greater")
    for variant in ("paper-cl", "paper-lmi"):
        better = {run for run, other in judged if other == variant}
        assert better == {"synthmorph", "convexadam", "deedsbcv", "paper-mind"}
        worse = {other for run, other in judged if run == variant}
        assert worse >= {"ants-syn", "niftyreg", "otmorph-paper", "transmatch"}
        no_worse = {other for run, other in without_evidence if run == variant}
        assert no_worse >= {"deedsbcv", "multigradicon", "synthmorph"}
    assert ("paper-cl", "paper-mind") in without_evidence


def test_no_run_of_the_poster_folds_but_that_of_global_mutual_information():
    """The poster's table has 0 in every row but one."""
    ((_, _, test),) = (claim for claim in claims_of("at_most") if "poster" in claim[0])
    runs, _, _ = parts_of(["config/poster.yaml"])
    assert set(test["runs"]) == runs - {"identity", "paper-mi"}
    assert test["value"] == 0


def test_the_eighth_figure_shows_the_methods_of_the_first_experiment():
    """Section IV-E compares with "other state-of-the-art baselines", not with descriptors alone."""
    (figure,) = (item for item in CONTENT["items"] if item["title"].startswith("Figure 8"))
    for file in CONTENT["studies"][figure["study"]].values():
        runs, _, _ = parts_of([file])
        assert {"ants-syn", "convexadam", "paper-mind", "paper-cl", "paper-lmi"} <= runs
        content = yaml.safe_load((REPOSITORY / file).read_text())
        assert content["panels"] > 0
        assert "runs" not in content.get("figures", {}), "all methods are side by side"
