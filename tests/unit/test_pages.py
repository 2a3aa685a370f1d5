"""The pages hold together: links, pictures, navigation, versions, and numbers that tables hold."""

import ast
import re
import tomllib
from pathlib import PurePosixPath

import histology
import numpy as np
import pandas as pd
import pytest
import yaml
from pages import REPOSITORY, MarkdownPage, all_pages

import diffeode

PAGES = {page.path: page for page in all_pages()}
README = PAGES["README.md"]
TABLES = REPOSITORY / "benchmarks" / "results"
LARGEST_PICTURE = 150_000
"""Bytes of a picture of the pages; what is larger slows every clone."""


def lead_to(page, link):
    """Return the path of a link's target, from the root of the repository, and its anchor."""
    path, _, anchor = link.partition("#")
    if not path:
        return page, anchor
    joined = PurePosixPath(page).parent / path
    return joined.as_posix() if ".." not in path else _resolved(joined), anchor


def _resolved(path):
    parts: list[str] = []
    for part in path.parts:
        parts = parts[:-1] if part == ".." else [*parts, part]
    return "/".join(parts)


@pytest.mark.parametrize("page", PAGES.values(), ids=list(PAGES))
def test_every_link_leads_to_a_file_and_a_heading(page):
    dead = []
    for link in page.links:
        if re.match(r"(https?|mailto):", link):
            continue
        path, anchor = lead_to(page.path, link)
        if not (REPOSITORY / path).is_file() or (
            anchor and anchor not in PAGES.get(path, MarkdownPage(path)).anchors
        ):
            dead.append(link)
    assert not dead, f"{page.path} links to what is not there: {', '.join(dead)}"


def test_every_picture_is_small_and_shown():
    pictures = {
        path.relative_to(REPOSITORY).as_posix(): path.stat().st_size
        for path in (REPOSITORY / "docs" / "images").rglob("*.*")
    }
    shown = {lead_to(page.path, link)[0] for page in PAGES.values() for link in page.links}
    assert set(pictures) <= shown
    assert {name for name, size in pictures.items() if size > LARGEST_PICTURE} == set()


def navigation():
    """Return the pages that the navigation of the site names, in the repository."""
    text = (REPOSITORY / "mkdocs.yml").read_text(encoding="utf-8")
    named = re.findall(r": (\S+\.md)$", text.partition("\nnav:")[2], re.M)
    inside = {path.removeprefix("docs/"): path for path in PAGES if path.startswith("docs/")}
    return [{"index.md": "README.md", **inside}.get(name, name) for name in named]


def test_the_navigation_names_every_page_once():
    assert sorted(navigation()) == sorted(PAGES)


def test_the_site_publishes_every_page_outside_of_docs():
    tree = ast.parse((REPOSITORY / "docs/make/published.py").read_text(encoding="utf-8"))
    (outside,) = [
        ast.literal_eval(node.value)
        for node in tree.body
        if isinstance(node, ast.Assign) and node.targets[0].id == "OUTSIDE"
    ]
    found = {path for pattern in outside for path in REPOSITORY.glob(pattern)}
    published = {path.relative_to(REPOSITORY).as_posix() for path in found}
    assert published == {path for path in PAGES if not path.startswith("docs/")}


def test_the_page_of_names_has_every_public_name():
    named = re.findall(r"^::: ([\w.]+)$", PAGES["docs/api.md"].text, re.M)
    homes = {f"diffeode.{diffeode._HOMES[name]}.{name}" for name in diffeode.__all__}
    assert set(named) == homes
    assert len(named) == len(homes)


def test_the_gallery_shows_every_script_and_its_picture():
    page, scripts = PAGES["docs/gallery/README.md"], (REPOSITORY / "docs/gallery").glob("*.py")
    names = sorted(path.stem for path in scripts)
    assert len(names) == 8
    assert sorted(page.links) == sorted(
        [
            "../virtual-cohort.md",
            *(f"{name}.py" for name in names),
            *(f"../images/gallery/{name}.png" for name in names),
        ]
    )
    for name in names:
        text = (REPOSITORY / f"docs/gallery/{name}.py").read_text(encoding="utf-8")
        assert len(text.splitlines()) <= 40
        assert f'savefig("{name}.png")' in text


# ------------------------------------------------------------------------------------ the version


def test_the_version_is_the_same_everywhere():
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    citation = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    assert project["version"] == citation["version"] == diffeode.__version__
    sections = re.findall(r"^## \[(.+?)\](?: - (\S+))?$", PAGES["CHANGELOG.md"].text, re.M)
    names = [name for name, _ in sections]
    assert names[0] == "Unreleased"
    assert names[1] == diffeode.__version__
    dates = [pd.Timestamp(date) for _, date in sections[1:]]
    assert dates == sorted(dates, reverse=True)
    versions = [tuple(map(int, name.split("."))) for name in names[1:]]
    assert versions == sorted(versions, reverse=True)
    kinds = set(re.findall(r"^### (.+)$", PAGES["CHANGELOG.md"].text, re.M))
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security"}


def test_the_readme_cites_the_paper_as_citation_cff_does():
    paper = yaml.safe_load((REPOSITORY / "CITATION.cff").read_text(encoding="utf-8"))
    wanted = paper["preferred-citation"]
    (block,) = [block for block in README.blocks if block.language == "bibtex"]
    plain = re.sub(r"[{}]|\\'", "", block.text)
    assert wanted["title"] in plain
    assert wanted["journal"] in plain
    assert str(wanted["year"]) in plain
    for author in wanted["authors"]:
        ascii_name = author["family-names"].translate(str.maketrans("íáóé", "iaoe"))
        assert ascii_name in plain


# --------------------------------------------------------------------------- numbers of the README

ACCURACY = {
    "T1w to T2w (newborns, ALBERTs 07 to 10)": "albert",
    "T1w to T2w of ICBM152 (adults, OASIS-TRT-20)": "oasistrt-to-icbm152",
    "T1w to inverted T1w (adults, OASIS-TRT-20), dev": "oasistrt-inverted",
    "crops of hippocampi, T1w (adults), dev": "hippocampus",
    "brains, one contrast (mice), dev": "mouse",
}
COLUMNS = ("identity", "ants-syn", "greedy", "convexadam", "node")


def rows_of_the_readme():
    lines = README.text.partition("| task (population) |")[2].partition("\n\n")[0].splitlines()[2:]
    cells = [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in lines]
    return {row[0]: row[1:] for row in cells}


def measured():
    """Return what the committed tables say: task to the number of pairs and the mean of a run."""
    found = {}
    for title, task in ACCURACY.items():
        table = pd.read_csv(TABLES / f"accuracy_{task}.tsv", sep="\t")
        labels = max(int(name[4:]) for name in table if re.fullmatch(r"dice\d+", name))
        dice = table.groupby("run")[f"dice{labels}"].mean()
        found[title] = [(table["run"] == "node").sum(), *(dice.get(run) for run in COLUMNS)]
    heads = pd.read_csv(TABLES / "heads_summary.tsv", sep="\t").query("experiment == 'heads-ixi'")
    dice = heads.set_index("run")["dice_mean"]
    title = "whole heads, T1w to T1w (adults, IXI)"
    found[title] = [heads["pairs"].iloc[0], *(dice.get(run) for run in COLUMNS)]
    slices = pd.read_csv(TABLES / "histology.tsv", sep="\t")
    pairs = pd.MultiIndex.from_frame(slices[["fixed", "moving"]])
    slices = slices[~pairs.isin(histology.CHOSEN_ON)]
    after = slices.groupby("run")["after"].mean()
    found["stained slices of a lung (2-D), dev"] = [
        slices.groupby("run").size()["node-2d"],
        *(slices["affine"].mean(), after["ants-syn"], after["greedy"], None, after["node-2d"]),
    ]
    newborns = pd.read_csv(TABLES / "accuracy_albert.tsv", sep="\t").groupby("run")
    seconds = newborns["cpu_seconds"].median()
    found["CPU seconds a pair of newborns"] = [
        None,
        None,
        *(seconds[run] for run in COLUMNS[1:]),
    ]
    return found


def test_every_number_of_the_readme_stands_in_a_committed_table():
    shown, tables = rows_of_the_readme(), measured()
    assert set(shown) == set(tables)
    for task, cells in shown.items():
        for cell, value in zip(cells, tables[task], strict=True):
            if not cell:
                assert value is None or pd.isna(value), task
                continue
            digits = len(cell.rstrip(" %").partition(".")[2])
            assert float(cell.rstrip(" %")) == pytest.approx(
                np.round(float(value), digits), abs=10**-digits / 100 + 1e-9
            ), task


def limitations() -> str:
    """Return the page of the limits on one line."""
    return " ".join((REPOSITORY / "docs" / "limitations.md").read_text().split())


def test_the_claims_of_the_papers_are_those_of_the_page_and_are_counted_rightly():
    table = pd.read_csv(TABLES / "paper_small_claims.tsv", sep="\t")
    page = yaml.safe_load((REPOSITORY / "config" / "pages" / "paper.yaml").read_text())
    claims = [
        (item["title"], claim["text"]) for item in page["items"] for claim in item.get("claims", ())
    ]
    assert list(table[["item", "claim"]].itertuples(index=False, name=None)) == claims
    counts = table["found"].value_counts()
    said = (
        f"Of {len(table)} claims, {counts['holds']} hold, {counts['holds in part']} holds in part, "
        f"{counts['does not hold']} do not hold, {counts['is not shown']} are not shown, because 5 "
        f"pairs are few, and {counts['not tested']} are not tested."
    )
    assert said in limitations()


def test_what_the_reduced_study_gave_is_that_of_its_table():
    table = pd.read_csv(TABLES / "paper_small_summary.tsv", sep="\t")
    dice = table.pivot(index="experiment", columns="run", values="dice_mean")
    assert (dice["paper-mind"] > dice[["ants-syn", "convexadam"]].max(axis="columns")).all()
    assert (dice["paper-lmi"] > dice["paper-mind"]).all()
    newborns = table.query("experiment == 'albert-third-test'").set_index("run")
    assert set(newborns["n"]) == {6}
    mean = newborns["dice_mean"].map("{:.3f}".format)
    said = (
        f"it has {mean['otmorph-small']} on six of the pairs, where the initial alignment has "
        f"{mean['identity']}"
    )
    assert said in limitations()


def test_the_papers_run_stands_beside_the_others_on_the_pairs_that_it_has():
    table = pd.read_csv(TABLES / "accuracy_albert.tsv", sep="\t")
    pairs = table.loc[table["run"] == "paper-mind", ["fixed", "moving"]]
    common = table.merge(pairs, on=["fixed", "moving"])
    runs = common[common["run"].isin(["paper-mind", "convexadam", "greedy", "ants-syn"])]
    assert (runs["run"].value_counts() == len(pairs)).all()
    dice = runs.groupby("run")["dice27"].mean()
    said = (
        f"On {len(pairs)} pairs of newborns 07 to 10 at full resolution, Neural ODE with MIND has "
        f"{dice['paper-mind']:.3f}, ConvexAdam {dice['convexadam']:.3f}, greedy "
        f"{dice['greedy']:.3f} and SyN {dice['ants-syn']:.3f}"
    )
    assert said in limitations()
    by_pair = table.pivot(index=["fixed", "moving"], columns="run", values="dice27")
    of_lmi = by_pair.dropna(subset="paper-lmi")
    behind = (of_lmi["paper-lmi"] < of_lmi["paper-mind"]).sum()
    said = (
        f"Local mutual information has {of_lmi['paper-lmi'].mean():.3f} there, less than MIND on "
        f"{behind} of the {len(of_lmi)} pairs"
    )
    assert said in limitations()


def test_what_another_contrast_costs_is_that_of_the_tables():
    def mean(task, run, column):
        table = pd.read_csv(TABLES / f"accuracy_{task}.tsv", sep="\t").query("run == @run")
        return len(table), f"{table[column].mean():.3f}"

    adults = {
        (task, run): mean(f"oasistrt-to-icbm152{task}", run, "dice89")
        for task in ("", "-t1w")
        for run in ("node", "identity")
    }
    newborns = [mean(task, "node", "dice27") for task in ("albert", "albert-t1w")]
    assert [count for count, _ in (*adults.values(), *newborns)] == [4] * 4 + [12] * 2
    dice = {key: value for key, (_, value) in adults.items()}
    assert (
        f"Over 89 labels, four adults reach a Dice of {dice['', 'node']} on the T2w of the ICBM152 "
        f"template and {dice['-t1w', 'node']} on its T1w; after the affine alone they have "
        f"{dice['', 'identity']} and {dice['-t1w', 'identity']}."
    ) in limitations()
    assert (
        f"Twelve pairs of newborns reach {newborns[0][1]} from T1w to T2w and {newborns[1][1]} "
        "from T1w to T1w"
    ) in limitations()


def test_what_a_descriptor_trained_on_newborns_reached_is_that_of_its_table():
    table = pd.read_csv(TABLES / "paper_small_newborns.tsv", sep="\t").set_index("run")
    assert set(table["n"]) == {6}
    mean = table["dice_mean"].map("{:.3f}".format)
    said = (
        "On six pairs of 07 to 10, the paper's run has a mean Dice of "
        f"{mean['paper-cl-newborns']} with these weights and {mean['paper-cl']} with those of the "
        f"package; MIND has {mean['paper-mind']} there, and the initial alignment "
        f"{mean['identity']}"
    )
    assert said in limitations()


def test_what_the_unseen_contrast_gave_is_that_of_its_table():
    table = pd.read_csv(TABLES / "unseen_summary.tsv", sep="\t").set_index("run")
    assert set(table["pairs"]) == {2}
    dice = table["dice_mean"].map("{:.3f}".format)
    said = (
        "On these two pairs, too few for a test, Neural ODE with MIND has a mean Dice of "
        f"{dice['paper-mind']}, with LMI {dice['paper-lmi']}, ConvexAdam {dice['convexadam']}, "
        f"ANTs SyN {dice['ants-syn']}, and the alignment before {dice['identity']}"
    )
    page = limitations()
    assert said in page
    assert f"T1w and T2w of newborns it has {dice['paper-cl']}," in page


def test_no_map_of_ours_folds_in_the_tables_of_the_readme():
    for task in ACCURACY.values():
        table = pd.read_csv(TABLES / f"accuracy_{task}.tsv", sep="\t").query("run == 'node'")
        assert (table["folds_onesided_percent"] == 0).all()
    slices = pd.read_csv(TABLES / "histology.tsv", sep="\t").query("run == 'node-2d'")
    assert (slices["folds_percent"] == 0).all()
    heads = pd.read_csv(TABLES / "heads_summary.tsv", sep="\t").query("run == 'node'")
    assert (heads["folds_onesided_percent_mean"] == 0).all()


# ----------------------------------------------------------------------------- files of the tracker


def test_the_hooks_call_the_programs_of_lint():
    config = yaml.safe_load((REPOSITORY / ".pre-commit-config.yaml").read_text(encoding="utf-8"))
    hooks = [hook for repo in config["repos"] for hook in repo["hooks"]]
    assert {repo["repo"] for repo in config["repos"]} == {"local"}
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    lint = makefile.partition("\nlint:")[2].partition("\n\n")[0]
    for hook in hooks:
        program, *rest = hook["entry"].split()
        called = " ".join([program.replace(".venv/bin", "$(BIN)"), *rest[:1]])
        assert called.partition(" --")[0] in lint, hook["id"]


def test_the_forms_of_issues_are_complete():
    folder = REPOSITORY / ".github" / "ISSUE_TEMPLATE"
    forms = [yaml.safe_load(path.read_text(encoding="utf-8")) for path in folder.glob("*.yml")]
    forms = [form for form in forms if "body" in form]
    assert len(forms) == 2
    for form in forms:
        assert form["name"]
        assert form["description"]
        fields = [part for part in form["body"] if part["type"] != "markdown"]
        names = [part["id"] for part in fields]
        assert len(set(names)) == len(names)
        assert all(part["attributes"]["label"] for part in fields)
    asked = " ".join(str(form) for form in forms)
    for command in re.findall(r"`diffeode (\w+)", asked):
        assert (REPOSITORY / "src" / "diffeode" / "cli" / f"{command}.py").is_file()
    assert "diffeode needs" in asked
    assert "metrics.json" in asked
