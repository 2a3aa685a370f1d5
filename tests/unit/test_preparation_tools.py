"""A tool of preparation is one file: whoever adds one edits nothing else."""

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import diffeode
from diffeode.prepare import steps
from diffeode.prepare.page import tools_table
from diffeode.prepare.recipe import Recipe, recipe_choices

REPOSITORY = Path(__file__).resolve().parents[2]
PACKAGE = Path(diffeode.__file__).parent

NEW_TOOL = '''
"""Keeps the left half of a head."""

from diffeode.prepare.step_tool import StepTool
from diffeode.programs.tools import Tool


def left_half(image, scan_name, resources):
    resources.progress(1.0, f"halving {scan_name}")
    return (image.data > 0) & (image.grid.points_mm()[..., 0] < 0)


TOOL = StepTool(
    step="brain",
    name="left-half",
    clause="only the left half is kept",
    function=left_half,
    program=Tool("halver", "Halver", "https://example.org/halver"),
    citations=("Nobody, Halves, 2026",),
)
'''

ASKED = """
import json, sys
from pathlib import Path
import numpy as np
from diffeode.files import io
from diffeode.datasets.bids import list_scans
from diffeode.errors import InputError
from diffeode.geometry.image import Image
from diffeode.study.methods_section import facts_of, methods_section
from diffeode.prepare.needs import missing
from diffeode.prepare.page import tools_table
from diffeode.prepare.recipe import Recipe
from diffeode.prepare.strip import strip
from diffeode.prepare.units import Before
from diffeode.provenance.source import code_hash
from diffeode.geometry.space import Grid
from diffeode.study.files import load_dataset, load_study

def refused(call):
    try:
        call()
    except InputError as error:
        return str(error)

repository, heads = map(Path, sys.argv[1:])
grid = Grid((24, 24, 24), np.diag([4.0, 4, 4, 1]) - np.array([[0, 0, 0, 46]] * 3 + [[0] * 4]))
image = Image(np.random.default_rng(0).uniform(1, 2, grid.shape), grid)
io.write_image(heads / "sub-01/anat/sub-01_T1w.nii.gz", image)
scan = list_scans("heads", heads)[0]
dataset = load_dataset("halves", repository)
(tool,) = dataset.recipe.tools_of("strip", scan)
strip(scan, "left-half", Before(), heads / "unit")
facts = facts_of(load_study(repository / "config" / "config.yaml", repository))
facts["datasets"][0]["recipe"]["brain"] = "left-half"
sections = methods_section(facts, [], "9")
print(json.dumps({
    "finds_brain": dataset.recipe.finds_brain,
    "misspelt": refused(lambda: Recipe(brain="left-halve")),
    "misspelt in a file": refused(lambda: load_dataset("misspelt", repository)),
    "missing": missing("brain", "left-half"),
    "kept": float(io.read_labels(heads / "unit/mask.nii.gz").data.mean()),
    "preparation": sections[1].items[0],
    "references": list(sections[-1].items),
    "code": [code_hash("diffeode.prepare.strip", tool.module), code_hash("diffeode.prepare.strip")],
    "table": tools_table(),
}))
"""


@pytest.fixture(scope="module")
def extended(tmp_path_factory) -> Path:
    """A copy of the package with one more file in it, beside what a study is read from."""
    folder = tmp_path_factory.mktemp("extended")
    shutil.copytree(
        PACKAGE, folder / "src" / "diffeode", ignore=shutil.ignore_patterns("__pycache__")
    )
    shutil.copytree(REPOSITORY / "config", folder / "config")
    shutil.copytree(REPOSITORY / "workflow" / "schemas", folder / "workflow" / "schemas")
    (folder / "src/diffeode/prepare/steps/left_half.py").write_text(
        NEW_TOOL.lstrip(), encoding="utf-8"
    )
    for name, choice in (("halves", "left-half"), ("misspelt", "left-halve")):
        recipe = f"kind: bids\nroot: heads\nprepare: {{brain: {choice}}}\n"
        (folder / f"config/datasets/{name}.yaml").write_text(recipe, encoding="utf-8")
    return folder


def answers(extended: Path, heads: Path) -> dict:
    """Return what the package in ``extended`` says about the new tool, in a process of its own."""
    environment = {**os.environ, "PYTHONPATH": str(extended / "src")}
    command = [sys.executable, "-c", ASKED, str(extended), str(heads)]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, check=False)
    assert run.returncode == 0, run.stderr
    return json.loads(run.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def found(extended, tmp_path_factory) -> dict:
    return answers(extended, tmp_path_factory.mktemp("heads"))


def test_a_recipe_and_a_dataset_s_file_accept_the_new_name_and_no_misspelt_one(found):
    assert found["finds_brain"] is True
    nearest = "did you mean 'left-half'"
    assert found["misspelt"] == f"Preparation step brain has no choice 'left-halve'; {nearest}."
    file = "config/datasets/misspelt.yaml"
    assert found["misspelt in a file"] == f"{file} has prepare.brain: 'left-halve'; {nearest}."


def test_the_step_runs_the_new_tool(found):
    assert found["kept"] == 0.5


def test_its_program_is_looked_for_before_any_work(found):
    assert found["missing"].startswith(
        "brain: left-half cannot run here: the program halver of Halver is neither"
    )


def test_the_methods_section_and_the_table_of_the_docs_speak_of_it(found):
    number = re.search(r"only the left half is kept \[(\d+)\]", found["preparation"])[1]
    assert f"[{number}] Nobody, Halves, 2026" in found["references"]
    (row,) = [line for line in found["table"].splitlines() if "`left-half`" in line]
    assert "only the left half is kept" in row
    assert "https://example.org/halver" in row


def test_its_code_is_part_of_what_it_makes(found, extended, tmp_path):
    file = extended / "src/diffeode/prepare/steps/left_half.py"
    file.write_text(NEW_TOOL.lstrip().replace("< 0)", "<= 0)"), encoding="utf-8")
    with_tool, without = answers(extended, tmp_path)["code"]
    assert with_tool != found["code"][0]
    assert without == found["code"][1]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("'''No record.'''\n", "must define TOOL, the record of a tool"),
        (
            (PACKAGE / "prepare/steps/nonzero.py").read_text(),
            "is a second tool 'nonzero' for the step brain",
        ),
        (
            "from diffeode.prepare.steps.robust import TOOL\n",
            "must define TOOL, the record of a tool",
        ),
    ],
)
def test_a_file_that_holds_no_tool_of_its_own_is_refused(text, message, tmp_path, monkeypatch):
    from diffeode.prepare import registry

    (tmp_path / "zz_more.py").write_text(text, encoding="utf-8")
    monkeypatch.setattr(steps, "__path__", [*steps.__path__, str(tmp_path)])
    monkeypatch.delitem(sys.modules, "diffeode.prepare.steps.zz_more", raising=False)
    with pytest.raises(TypeError, match=message):
        registry._tools.__wrapped__()


def test_the_committed_table_is_up_to_date():
    page = (REPOSITORY / "docs" / "preparation.md").read_text(encoding="utf-8")
    assert tools_table() in page, "replace the table by what python -m diffeode.prepare.page prints"


def test_the_page_of_the_configuration_lists_the_choices_and_defaults():
    page = (REPOSITORY / "config" / "README.md").read_text(encoding="utf-8")
    for key, words in recipe_choices().items():
        (row,) = [line for line in page.splitlines() if line.startswith(f"| `prepare.{key}` |")]
        choices, default = row.split("|")[2:4]
        own = {"{t1w, t2w}"} if key == "template" else set()
        assert set(re.findall(r"`([^`]*)`", choices)) == {*words, *own}
        assert default.strip() == f"`{getattr(Recipe(), key)}`"
