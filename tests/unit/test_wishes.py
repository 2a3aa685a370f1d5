"""What users of other tools ask for: each such question of docs/faq.md is answered by a test, which
``wishes.tsv`` names.
"""

import ast
import csv
from pathlib import Path

import numpy as np

import diffeode as de
from diffeode.geometry.space import Grid

REPOSITORY = Path(__file__).parents[2]
NOT_WISHES = {"Do I need a GPU?", "Something looks wrong. What do I look at first?"}


def wishes() -> dict[str, str]:
    """Return the test of each question."""
    text = (REPOSITORY / "tests" / "wishes.tsv").read_text(encoding="utf-8")
    rows = csv.DictReader(text.splitlines(), delimiter="\t", quoting=csv.QUOTE_NONE)
    return {row["question"]: row["test"] for row in rows}


def test_every_wish_is_a_question_of_the_page_and_has_a_test_of_its_own():
    page = (REPOSITORY / "docs" / "faq.md").read_text(encoding="utf-8").splitlines()
    asked = {line.removeprefix("### ") for line in page if line.startswith("### ")}
    assert wishes().keys() == asked - NOT_WISHES
    assert len(set(wishes().values())) == len(wishes()) == 15
    for test in wishes().values():
        file, _, name = test.partition("::")
        tree = ast.parse((REPOSITORY / file).read_text(encoding="utf-8"))
        assert name in {node.name for node in tree.body if isinstance(node, ast.FunctionDef)}, test


def test_a_larger_weight_of_the_gradient_calms_the_map():
    """Two unlike textures pull hard; how far they bend the map falls with the weight."""
    grid = Grid((20, 20, 20), np.diag([2.0, 2, 2, 1]))
    points = grid.points_mm()
    fixed, moving = (
        de.Image(100 + 20 * np.sin(points / wave).sum(axis=-1) + points[..., 0], grid)
        for wave in (4.0, 5.0)
    )
    spreads = []
    for weight in (0.1, 0.35, 1.0, 5.0):
        settings = {"levels.factors": [1.0], "levels.iterations": [20]}
        settings["penalties.gradient.weight"] = weight
        found = de.register(
            fixed,
            moving,
            method="node-mind",
            init="identity",
            fixed_mask="none",
            moving_mask="none",
            settings=settings,
            threads=1,
        )
        spreads.append(found.metrics["sdlogj"])
    assert (np.diff(spreads) < 0).all(), spreads
    assert spreads[-1] < spreads[0] / 3
