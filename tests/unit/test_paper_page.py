"""The page with every table and figure of the papers."""

import base64
from pathlib import Path

import pandas as pd
import pytest
import yaml

from diffeode.errors import InputError
from diffeode.statistics.paper_page import Results, judge, write_paper_page

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "config" / "pages" / "paper.yaml"
PICTURE = b"\x89PNG a picture"


def write_results(folder: Path) -> Results:
    """A study of two experiments and four runs, as its tables tell it."""
    (folder / "tables").mkdir(parents=True)
    (folder / "figures" / "beside" / "one").mkdir(parents=True)
    (folder / "metrics.tsv").write_text("there\n")
    means = {
        "ours": (0.8, 0.7),
        "other": (0.6, 0.71),
        "swept-1": (0.5, 0.6),
        "swept-2": (0.53, 0.6),
    }
    rows = [
        {"experiment": experiment, "run": run, "dice_mean": values[index], "folds_mean": index / 10}
        for index, experiment in enumerate(("one", "two"))
        for run, values in means.items()
    ]
    pd.DataFrame(rows).to_csv(folder / "tables" / "summary.tsv", sep="\t", index=False)
    tests = [("ours", "other", 0.01), ("ours", "swept-1", 0.3), ("other", "ours", "")]
    tests = pd.DataFrame(tests, columns=["run", "other", "p"]).assign(experiments=2, n=9)
    tests.to_csv(folder / "tables" / "wilcoxon_largest_p.tsv", sep="\t", index=False)
    (folder / "tables" / "summary.html").write_text("<p>Above</p><table>the numbers</table></html>")
    for name in ("a", "b"):
        (folder / "figures" / "beside" / "one" / f"{name}.png").write_bytes(PICTURE)
    return Results("A study", folder, "snakemake study")


@pytest.fixture
def results(tmp_path):
    return write_results(tmp_path / "results" / "studies" / "mine")


@pytest.mark.parametrize(
    ("claim", "outcome", "why"),
    [
        ({"greater": {"run": "ours", "than": ["other"]}}, "holds", "other: p = 0.01"),
        (
            {"greater": {"run": "ours", "than": ["other", "swept-1"]}},
            "does not hold",
            "swept-1: p = 0.3",
        ),
        (
            {"greater": {"run": "ours", "than": ["other", "syn"]}},
            "holds",
            "ours was not compared with syn here",
        ),
        ({"greater": {"run": "ours", "than": ["syn"]}}, "not tested", "not compared with syn"),
        ({"greater": {"run": "other", "than": ["ours"]}}, "not tested", "not compared with ours"),
        ({"at_most": {"metric": "folds", "runs": ["ours"], "value": 0.1}}, "holds", "0.1"),
        ({"at_most": {"metric": "folds", "runs": ["ours"], "value": 0.09}}, "does not hold", "0.1"),
        (
            {"at_most": {"metric": "folds", "runs": ["syn"], "value": 1}},
            "not tested",
            "syn did not",
        ),
        ({"steady": {"metric": "dice", "runs": ["swept-*"], "within": 0.031}}, "holds", "0.03"),
        (
            {"steady": {"metric": "dice", "runs": ["swept-*"], "within": 0.029}},
            "does not hold",
            "0.03",
        ),
        ({"steady": {"metric": "dice", "runs": ["ours"], "within": 1}}, "holds", "0"),
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
        {"title": "Later", "source": "paper", "places": [], "study": "later", "caption": "Text."},
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
    write_paper_page(repository / "config" / "page.yaml", repository, small, out)
    return out.read_text()


def test_the_page_holds_tables_figures_reported_numbers_and_verdicts(repository):
    page = page_of(repository)
    assert "<table>the numbers</table>" in page
    assert "Above" not in page
    assert page.count(base64.b64encode(PICTURE).decode()) == 2
    assert "NODE + MIND, oasis3-oasis3, dice: 75.64 ± 1.7 %" in page
    assert "Ours wins." in page
    assert '<span class="outcome holds">holds</span>' in page
    assert "The poster &amp; its table" in page
    assert "All." in page


def test_a_study_that_did_not_run_is_named_with_its_command(repository):
    page = page_of(repository)
    assert "not been run yet: snakemake" in page
    assert "--configfile config/later.yaml" in page
    assert page.count("There is no study of it at this size.") == 1
    small = page_of(repository, small=True)
    assert "Less." in small
    assert small.count("There is no study of it at this size.") == 2


def test_a_figure_or_table_that_is_missing_is_named(repository, results):
    (results.folder / "tables" / "summary.html").write_text("<p>Nothing</p>")
    with pytest.raises(InputError, match=r"summary\.html holds no table"):
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
        for place in item["places"]:
            assert (item["source"], place) in known
    assert used == set(content["studies"])
    for files in content["studies"].values():
        for file in files.values():
            assert (REPOSITORY / file).is_file()
