"""The report holds every figure and page of a study, under its heading."""

import base64
import json
import re
from html import unescape
from pathlib import Path

import pytest
from browser import CHROMIUM, WITHOUT, opened

pytestmark = pytest.mark.workflow

CATEGORIES = {
    "coronal_overview": "0 Scans",
    "experiments": "0 Scans",
    "summarise": "1 Overlap",
    "dice_boxplot": "1 Overlap",
    "dice_by_structure": "1 Overlap",
    "regularity": "1 Overlap",
    "wilcoxon": "2 Statistics",
    "significance": "2 Statistics",
    "sweeps": "2 Statistics",
    "crossed": "2 Statistics",
    "models": "2 Statistics",
    "failures": "2 Statistics",
    "panel": "3 Pairs",
    "beside": "3 Pairs",
    "convergence": "3 Pairs",
    "training_curves": "4 Training",
    "descriptor_weights": "4 Training",
    "methods_section": "5 Methods",
    "plane": "6 In the plane",
    "trajectories": "7 Several times",
}
"""By rule."""
ELSEWHERE = {"4 Training", "6 In the plane", "7 Several times"}
"""Headings of which the tiny study has nothing."""
APART = {"inspect_scan", "quality"}
"""Rules that draw for the pages of preparation, which lie beside the report."""


def shown(files) -> set[str]:
    """Return the pages and figures among ``files``; of a figure in several forms the vector graphic
    alone, and of panels, which are many, the smaller picture.
    """
    files = set(map(str, files))
    pictures = {file for file in files if file.endswith((".svg", ".html", ".png", ".pdf"))}

    def of_report(file: str) -> str:
        return str(Path(file).with_suffix(".png" if "/panels/" in file else ".svg"))

    return {file for file in pictures if of_report(file) == file or of_report(file) not in pictures}


def test_every_rule_s_figures_and_pages_are_for_the_report(rich_plan):
    jobs = [job for job in rich_plan.jobs if job.rule not in APART]
    assert {job.rule for job in jobs if shown(job.handed.output)} == CATEGORIES.keys()
    for job in jobs:
        assert set(job.in_report) == shown(job.handed.output), job.rule
        assert {about["category"] for about in job.in_report.values()} <= {CATEGORIES.get(job.rule)}


@pytest.fixture(scope="module")
def report(untouched, tmp_path_factory) -> str:
    """The report of the tiny study."""
    file = tmp_path_factory.mktemp("report") / "report.html"
    run = untouched.snakemake("--report", str(file))
    assert run.returncode == 0, run.stdout
    return file.read_text(encoding="utf-8")


def held(report: str, name: str) -> dict:
    """What the report's page keeps under ``name``."""
    begin = report.index(f"var {name} = {{")
    return json.JSONDecoder().raw_decode(report[report.index("{", begin) :])[0]


@pytest.mark.slow
def test_the_report_holds_every_figure_and_page_of_the_study(untouched, report):
    folder = untouched.path("results/studies/tiny")
    files = {str(file.relative_to(untouched.root)) for file in folder.rglob("*") if file.is_file()}
    results = held(report, "results")
    assert set(results) == shown(files)
    for name, result in results.items():
        kind, content = (
            result["data_uri"].split(";base64,")
            if ";base64," in result["data_uri"]
            else (None, None)
        )
        assert kind, name
        assert base64.b64decode(content) == untouched.path(name).read_bytes(), name
        assert result["caption"], name


@pytest.mark.slow
def test_everything_stands_under_its_heading(untouched, report):
    headings = {
        file: heading
        for heading, groups in held(report, "categories").items()
        for files in groups.values()
        for file in files
    }
    stems = {rule: heading for rule, heading in CATEGORIES.items() if heading not in ELSEWHERE}
    stems |= {
        "summary": "1 Overlap",
        "dice_by_label": "1 Overlap",
        "wilcoxon_largest_p": "2 Statistics",
        "suspects": "2 Statistics",
        "unusable_scans": "2 Statistics",
        "panels": "3 Pairs",
        "methods": "5 Methods",
    }
    for file, heading in headings.items():
        names = {Path(part).stem for part in Path(file).parts}
        assert {stems[name] for name in names & stems.keys()} == {heading}, file
    assert set(headings) == set(held(report, "results"))
    assert set(headings.values()) == set(CATEGORIES.values()) - ELSEWHERE
    labels = {file: result["labels"] for file, result in held(report, "results").items()}
    (panel,) = (labels[file] for file in labels if file.endswith("/brief.png"))
    (pair,) = {path.name for path in untouched.path("results/registrations/tiny").iterdir()}
    assert panel == {"pair": pair, "run": "brief"}


@pytest.mark.slow
def test_the_report_s_front_page_names_the_study_and_its_methods(report):
    assert "Tiny study" in report
    assert "Brief" in report


def test_no_parameters_of_rules_are_shown(report):
    properties = [result["job_properties"] for result in held(report, "results").values()]
    assert properties
    assert all(entry["params"] is None for entry in properties)


_LOOK = """
<script>
const texts = (where) => [...document.querySelectorAll(where)].map((found) => found.textContent);
const wait = (milliseconds) => new Promise((done) => setTimeout(done, milliseconds));
window.addEventListener("load", async () => {
  await wait(500);
  const headings = texts(".opening h2");
  const captions = texts(".opening .opening-caption").map((text) => text.length);
  const frame = document.querySelector(".opening-table");
  const table = frame.contentDocument.querySelectorAll("tbody tr:not(.experiment)").length;
  const links = [...document.querySelectorAll(".opening li .opening-link")];
  links.find((link) => link.textContent === "brief").click();
  await wait(500);
  const pair = texts(".opening-result h1").concat(texts(".opening-result .opening-caption"));
  const picture = document.querySelector(".opening-result img").naturalWidth;
  app.showCategory("1 Overlap");
  await wait(500);
  const list = texts("nav .opening-link");
  const overlap = categories["1 Overlap"];
  for (const group of Object.keys(overlap)) {
    overlap[group] = overlap[group].filter((path) => path.endsWith("/summary.html"));
  }
  app.setView({ content: "opening" });
  await wait(500);
  const unlabelled = texts(".opening h2");
  const said = { headings, captions, table, pair, picture, list, unlabelled };
  document.body.dataset.said = JSON.stringify(said);
});
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT)
@pytest.mark.slow
def test_the_report_opens_on_results_and_leads_to_each_pair(report, tmp_path):
    page = tmp_path / "report.html"
    page.write_text(report.replace("</body>", f"{_LOOK}</body>"), encoding="utf-8")
    document = opened(page, tmp_path / "browser")
    said = re.search(r'data-said="([^"]*)"', document)
    assert said
    found = json.loads(unescape(said[1]))
    shown = [
        "Summary table",
        "Mean Dice of each pair",
        "Dice of each structure",
        "Accuracy, folds and time",
        "Table of structures",
    ]
    assert found["headings"][: len(shown)] == shown
    assert {"Scans", "Statistics", "Pairs", "Methods"} <= set(found["headings"][len(shown) :])
    assert len(found["captions"]) == len(shown)
    assert min(found["captions"]) > 40
    assert found["table"] == 3
    assert found["pair"][0].endswith(", brief")
    assert len(found["pair"][1]) > 40
    assert found["picture"] > 500
    assert "Mean Dice of each pair" in found["list"]
    # without figures of Dice, the first pairs stand on the first page
    assert found["unlabelled"][0] == "Summary table"
    assert found["unlabelled"][1].endswith(", methods side by side")
