"""The how-tos for a method, a similarity and a figure are followed literally: their files are
written where the pages say, in a folder that counts as part of the package, and used.
"""

import contextlib
import re
import runpy
import sys
import types
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from pages import REPOSITORY, MarkdownPage

from diffeode import figures, methods
from diffeode.errors import InputError
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.losses.similarity import Warped
from diffeode.registration import registry, runs
from diffeode.registration.base import Machine, Pair
from diffeode.statistics.tidy import write_tidy

METHOD, FIGURE = MarkdownPage("docs/methods-interface.md"), MarkdownPage("docs/howto/figure.md")
FOLLOWED = {
    "src/diffeode/methods/my_tool.py",
    "config/methods/my-tool.yaml",
    "src/diffeode/methods/neural_ode/similarities/absolute.py",
    "src/diffeode/figures/median_time.py",
    "workflow/scripts/median_time.py",
    "workflow/rules/figures.smk",
    "workflow/report/median_time.rst",
}
"""The files that this module writes and uses."""


@pytest.fixture
def written(tmp_path):
    """Write the blocks of both pages that name their file; return the folder."""
    titles = set()
    for block in (*METHOD.blocks, *FIGURE.blocks):
        if block.title is not None:
            titles.add(block.title)
            (tmp_path / block.title).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / block.title).write_text(block.text, encoding="utf-8")
    assert titles == FOLLOWED
    return tmp_path


@pytest.fixture
def with_my_tool(written, monkeypatch):
    """The method of the page is found, and the tool that it calls shifts every voxel."""
    monkeypatch.setattr(
        methods, "__path__", [*methods.__path__, str(written / "src/diffeode/methods")]
    )
    monkeypatch.setattr(runs, "runs_folder", lambda: written / "config" / "methods")
    tool = types.ModuleType("my_tool")

    def run(fixed, moving, stiffness, threads):
        return np.broadcast_to(np.array([stiffness, 0, 0]), (*fixed.shape, 3))

    tool.run = run
    monkeypatch.setitem(sys.modules, "my_tool", tool)
    registry.method_names.cache_clear()
    yield
    registry.method_names.cache_clear()
    registry.method_class.cache_clear()
    sys.modules.pop("diffeode.methods.my_tool", None)
    vars(methods).pop("my_tool", None)


def test_the_method_of_the_page_is_found_and_registers(with_my_tool):
    assert "my-tool" in registry.method_names()
    run = runs.load_run("my-tool")
    assert run.title == "My tool, stiff"
    grid = Grid((5, 6, 7), np.diag([2.0, 2, 2, 1]))
    image = Image(np.random.default_rng(0).random(grid.shape), grid)
    mask = np.ones(grid.shape, bool)
    found = run.build().register(Pair(image, image, mask, mask), Machine(1, 0, "cpu"))
    # the file of the run sets a stiffness of 2 voxels, each of 2 mm
    np.testing.assert_allclose(found.forward(np.full((1, 3), 4.0)), [[8.0, 4, 4]])
    with pytest.raises(InputError, match="stiffness"):
        registry.make_method("my-tool", {"stiffness": 101})


def test_the_similarity_of_the_page_compares_images(written):
    file = written / "src/diffeode/methods/neural_ode/similarities/absolute.py"
    similarity = runpy.run_path(str(file))["Absolute"](exponent=2.0)
    fixed, moving = torch.zeros(1, 1, 4, 5, 6), torch.full((1, 1, 4, 5, 6), 3.0)
    loss = similarity.to(fixed, moving, None, (1, 1, 1))
    assert loss(Warped(moving, torch.zeros(1, 3, 4, 5, 6))).item() == pytest.approx(9)


def timed(run, seconds):
    columns = ["experiment", "pair", "run", "fixed", "moving", "metric", "label", "label_name"]
    row = ["e", f"p{seconds}", run, "f", "m", "seconds", "", ""]
    return {**dict(zip(columns, row, strict=True)), "value": seconds}


def test_the_figure_of_the_page_is_drawn_by_its_script(written, monkeypatch, drawn):
    folder = str(written / "src/diffeode/figures")
    monkeypatch.setattr(figures, "__path__", [*figures.__path__, folder])
    stand_in = types.ModuleType("_job")
    stand_in.job = lambda snakemake: contextlib.nullcontext()
    monkeypatch.setitem(sys.modules, "_job", stand_in)
    times = {"node": (3.0, 5.0, 10.0), "affine": (1.0, 2.0, 6.0)}
    rows = [timed(run, value) for run, values in times.items() for value in values]
    write_tidy(written / "metrics.tsv", pd.DataFrame(rows))
    look = {
        "titles": {"affine": "Affine", "node": "Ours"},
        "experiments": {"e": "E"},
        "ours": "node",
    }
    job = SimpleNamespace(
        input=[written / "metrics.tsv"],
        output=[written / "median_time.svg"],
        params=SimpleNamespace(look=look),
    )
    script = str(written / "workflow/scripts/median_time.py")
    try:
        runpy.run_path(script, {"snakemake": job})
    finally:
        sys.modules.pop("diffeode.figures.median_time", None)
        vars(figures).pop("median_time", None)
    (panel,) = drawn[0].axes
    assert [bar.get_width() for bar in panel.patches] == [2.0, 5.0]
    assert [label.get_text() for label in panel.get_yticklabels()] == ["Affine", "Ours"]
    assert "median seconds" in panel.get_xlabel()


def test_the_rule_of_the_page_is_like_those_of_the_workflow(written):
    """Apart from names and words it is the rule of the figure ``regularity``."""
    ours = (written / "workflow/rules/figures.smk").read_text(encoding="utf-8")
    theirs = (REPOSITORY / "workflow/rules/figures.smk").read_text(encoding="utf-8")
    theirs = theirs.partition("rule regularity:")[2].partition("\n\n\nrule ")[0]
    like = ours.replace("median_time", "regularity").replace(
        "Median time", "Accuracy, folds and time"
    )
    like = like.replace("drawing median time", "drawing regularity")
    assert like.partition("rule regularity:")[2].strip() == theirs.strip()


def test_the_page_names_the_list_of_figures():
    targets = (REPOSITORY / "workflow/rules/targets.smk").read_text(encoding="utf-8")
    assert re.search(r"def figures\(\):.*?\"regularity\"", targets, re.S)


def test_the_caption_says_something(written):
    assert (written / "workflow/report/median_time.rst").read_text(encoding="utf-8").strip()
    assert yaml.safe_load((written / "config/methods/my-tool.yaml").read_text())["method"]
