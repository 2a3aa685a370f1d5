"""A job's parameter ``code`` covers all code that its script uses, and no other code."""

import ast
from collections.abc import Iterator
from importlib import util
from pathlib import Path

import pytest
from made import kinds
from plans import Job, Plan

from diffeode.prepare.registry import scaling_tool
from diffeode.provenance.source import CANNOT_CHANGE_NUMBERS
from diffeode.provenance.upkeep import flat
from diffeode.registration.registry import method_class, method_module
from diffeode.weights.catalogue import load_weights

pytestmark = pytest.mark.workflow

REPOSITORY = Path(__file__).resolve().parents[2]
SCRIPTS = REPOSITORY / "workflow" / "scripts"
# another layout of a figure must not train a network again
LEFT_OUT = {"descriptor_weights": {"diffeode.figures.training_curves"}}
"""Modules that scripts import, but that their rules leave out of the identity on purpose."""
CHOSEN_BY = {
    "strip": "brain",
    "correct": "bias",
    "place": "template",
    "prepare": "intensity",
    "segment": "labels",
    "inspect_scan": "template",
}
"""Steps that find the tools of a recipe by name."""
IN_CHUNKS = {
    "align": {"alignment": "_aligning.py"},
    "register": {"registration": "_registering.py", "evaluation": "_evaluating.py"},
}
"""By each rule that works on chunks of pairs, the script of each of its steps."""


def kind_of(job: Job) -> str:
    """Return the kind of result that a job makes, by its name in ``made.kinds``."""
    if job.rule == "train":
        return f"train {job.handed.params.run['method']}"
    if job.rule not in CHOSEN_BY:
        return job.script.stem
    choices = job.handed.params.choices
    choice = choices[CHOSEN_BY[job.rule]]
    if job.rule == "prepare":
        return f"prepare {scaling_tool(choice).name}"
    if not isinstance(choice, str) or choice == "none":
        return job.rule
    both = (
        job.rule == "correct"
        and choices["intensity"] == "freesurfer"
        and "T1w" in job.wildcards["scan"]
    )
    return f"{job.rule} {choice} T1w" if both else f"{job.rule} {choice}"


def test_every_job_s_identity_is_that_of_what_it_makes(rich_plan):
    """The table in docs/workflow.md is tested on ``made.kinds``; this test shows that the rules
    have the same identities.
    """
    with_script = [job for job in rich_plan.jobs if job.script]
    for job in with_script:
        if job.rule not in IN_CHUNKS:
            assert job.handed.params.code == kinds()[kind_of(job)].code(), job.rule
    for unit in rich_plan.units("align"):
        assert unit["alignment"]["parameters"]["code"] == kinds()["align"].code()
    for unit in rich_plan.units():
        registration, evaluation = (unit[step] for step in ("registration", "evaluation"))
        method = registration["parameters"]["run"]["method"]
        assert registration["parameters"]["code"] == kinds()[f"register {method}"].code()
        assert evaluation["parameters"]["code"] == kinds()["evaluate"].code()
    scripts = {file.name for file in (REPOSITORY / "workflow" / "scripts").glob("[a-z]*.py")}
    assert {job.script.name for job in with_script} == scripts - {"fetch_ixi.py"}


def imports_of(script: Path) -> Iterator[tuple[str, str]]:
    """Module and name of all that a script imports of this package and of the file beside it; of a
    module that is imported whole, the names that the script uses.
    """
    tree = ast.parse(script.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and node.module == "_scan":
            yield from (("_scan", alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "diffeode":
            for alias in node.names:
                whole = f"{node.module}.{alias.name}"
                if util.find_spec(node.module).submodule_search_locations and util.find_spec(whole):
                    yield from ((whole, used) for used in attributes_of(alias.name, tree))
                else:
                    yield node.module, alias.name


def attributes_of(name: str, tree: ast.AST) -> set[str]:
    """The attributes of ``name`` that are used in ``tree``."""
    return {
        node.attr
        for node in ast.walk(tree)
        if isinstance(node, ast.Attribute)
        and isinstance(node.value, ast.Name)
        and node.value.id == name
    }


def identities(plan: Plan) -> Iterator[tuple[str, str, Path]]:
    """Yield the rule, the identity and the script of everything that is made."""
    for job in (job for job in plan.jobs if job.script and job.rule not in IN_CHUNKS):
        yield job.rule, job.handed.params.code, job.script
    for rule, scripts in IN_CHUNKS.items():
        for unit in plan.units(rule):
            for step, script in scripts.items():
                yield step, unit[step]["parameters"]["code"], SCRIPTS / script


def test_every_job_s_identity_covers_what_its_script_imports(rich_plan):
    for rule, code, script in identities(rich_plan):
        covered = rich_plan.covered[code]
        without = CANNOT_CHANGE_NUMBERS.keys() | LEFT_OUT.get(rule, set())
        needed = {
            f"{module}:{name}" for module, name in imports_of(script) if module not in without
        }
        assert needed <= covered, rule
        assert not {name for name in covered if name.split(":")[0] in without}, rule


@pytest.mark.parametrize("rule", ["register", "train"])
def test_a_run_s_identity_covers_its_own_method_and_no_other(rich_plan, rule):
    made = [unit["registration"]["parameters"] for unit in rich_plan.units()]
    names = {parameters["run"]["method"] for parameters in made}
    trainings = [{**job.handed.params} for job in rich_plan.of("train")]
    for parameters in made if rule == "register" else trainings:
        covered = rich_plan.covered[parameters["code"]]
        own = parameters["run"]["method"]
        assert f"{method_class(own).__module__}:{method_class(own).__name__}" in covered
        assert {name.split(":")[0] for name in covered}.isdisjoint(
            method_module(name) for name in names - {own}
        )
    trained = {"diffeode.networks.voxelmorph", "diffeode.learning.loop"}
    assert trained <= {
        name.split(":")[0]
        for name in rich_plan.covered[
            rich_plan.the("train", train_on="learned-from").handed.params.code
        ]
    }


def test_times_of_files_decide_nothing(rich_plan):
    """Receipts and seals tell what is up to date; for Snakemake every input is older than all
    results.
    """
    for job in (job for job in rich_plan.jobs if job.script):
        after = flat(job.handed.input.get("after", []))  # jobs of this run of the workflow
        assert list(job.times_count) == after, job.rule


def test_a_step_s_identity_covers_the_tools_that_were_chosen_and_no_others(rich_plan):
    found = {}
    for job in (job for rule in ALL_TOOLS for job in rich_plan.of(rule)):
        kind = "T1w" if "T1w" in job.wildcards["scan"] else "T2w"
        covered = rich_plan.covered[job.handed.params.code]
        tools = {
            name.removeprefix(STEPS).split(":")[0] for name in covered if name.startswith(STEPS)
        }
        found.setdefault((job.rule, job.wildcards["dataset"]), {}).setdefault(kind, set()).add(
            frozenset(tools)
        )
    assert found == {
        (rule, dataset): {kind: {frozenset(tools)} for kind, tools in kinds.items()}
        for rule, datasets in ALL_TOOLS.items()
        for dataset, kinds in datasets.items()
    }


def test_a_step_is_known_by_the_weights_that_its_tools_read(rich_plan):
    """Every rule does so, because a new tool of any step may read weights."""
    mindgrab = {"meshnet-mindgrab": load_weights("meshnet-mindgrab").sha256}
    jobs = [
        job
        for rule in ("strip", "correct", "place", "prepare", "segment")
        for job in rich_plan.of(rule)
    ]
    for job in jobs:
        reads_mindgrab = (job.rule, job.wildcards["dataset"]) == ("strip", "drawn")
        assert job.handed.params.reads == (mindgrab if reads_mindgrab else {})


STEPS = "diffeode.prepare.steps."


def both(*tools: str) -> dict[str, set[str]]:
    """The same tools for both contrasts."""
    return {kind: set(tools) for kind in ("T1w", "T2w")}


ALL_TOOLS = {
    "strip": {"heads": both("synthstrip"), "drawn": both("mindgrab")},
    # mri_normalize works on T1w alone
    "correct": {
        "heads": both("n4"),
        "drawn": {"T1w": {"nu_correct", "mri_normalize"}, "T2w": {"nu_correct"}},
    },
    "place": {"heads": both("icbm152"), "drawn": both()},
    "prepare": {"heads": both("white_stripe"), "drawn": both("robust"), "cohort": both("robust")},
    "segment": {"heads": both("synthseg")},
    "inspect_scan": {"heads": both("icbm152"), "drawn": both()},
}
"""By rule, dataset and contrast, the files of diffeode.prepare.steps whose code decides on the
result.
"""
