"""What a job's parameter ``code`` covers: all that its script stands on, and nothing of what others stand on."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest
from made import kinds
from plans import Job

from diffeode.methods.registry import method_class, method_module
from diffeode.prepare.backends import backend_functions
from diffeode.source import CANNOT_CHANGE_NUMBERS

pytestmark = pytest.mark.workflow

REPOSITORY = Path(__file__).resolve().parents[2]
DATASETS = ("heads", "drawn")
# another layout of a figure must not train a network again
LEFT_OUT = {"descriptor_weights": {"diffeode.figures.training_curves"}}
"""What scripts import and their rules leave out of the identity on purpose."""
NAMED = {"strip": ["brain"], "correct": ["bias", "intensity"], "segment": ["labels"]}
"""Steps that find the functions for these choices by name."""


def kind_of(job: Job) -> str:
    """What a job makes, as ``made.kinds`` names it."""
    if job.rule in ("register", "train"):
        return f"{job.rule} {job.handed.params.run['method']}"
    if job.rule in NAMED:
        return f"{job.rule} {job.handed.params.choices[NAMED[job.rule][0]]}"
    return job.script.stem


def test_every_job_s_identity_is_that_of_what_it_makes(rich_plan):
    """The table in docs/workflow.md is tried on ``made.kinds``; here is shown that the rules mean the same."""
    with_script = [job for job in rich_plan.jobs if job.script]
    for job in with_script:
        assert job.handed.params.code == kinds()[kind_of(job)].code(), job.rule
    scripts = {file.name for file in (REPOSITORY / "workflow" / "scripts").glob("[a-z]*.py")}
    assert {job.script.name for job in with_script} == scripts - {"fetch_ixi.py"}


def imports_of(script: Path) -> Iterator[tuple[str, str]]:
    """Module and name of all that a script imports of this package and of the file beside it."""
    for node in ast.walk(ast.parse(script.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == "diffeode":
            yield from ((node.module, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module == "_scan":
            yield from (("_scan", alias.name) for alias in node.names)


def test_every_job_s_identity_covers_what_its_script_imports(rich_plan):
    for job in (job for job in rich_plan.jobs if job.script):
        covered = rich_plan.covered[job.handed.params.code]
        without = CANNOT_CHANGE_NUMBERS.keys() | LEFT_OUT.get(job.rule, set())
        needed = {f"{module}:{name}" for module, name in imports_of(job.script) if module not in without}
        assert needed <= covered, job.rule
        assert not {name for name in covered if name.split(":")[0] in without}, job.rule


@pytest.mark.parametrize("rule", ["register", "train"])
def test_a_run_s_identity_covers_its_own_method_and_no_other(rich_plan, rule):
    names = {job.handed.params.run["method"] for job in rich_plan.of("register")}
    for job in rich_plan.of(rule):
        covered = rich_plan.covered[job.handed.params.code]
        own = job.handed.params.run["method"]
        assert f"{method_module(own)}:{method_class(own).__name__}" in covered
        assert {name.split(":")[0] for name in covered}.isdisjoint(method_module(name) for name in names - {own})
    trained = {"diffeode.networks.voxelmorph", "diffeode.training.loop"}
    assert trained <= {name.split(":")[0] for name in rich_plan.covered[rich_plan.the("train").handed.params.code]}


@pytest.mark.parametrize(("rule", "choices"), NAMED.items())
def test_a_step_s_identity_covers_the_tools_that_were_chosen(rich_plan, rule, choices):
    for job in rich_plan.of(rule):
        functions = backend_functions(**{choice: job.handed.params.choices[choice] for choice in choices})
        assert functions
        assert set(functions) <= rich_plan.covered[job.handed.params.code]
    (strips, others) = ({job.handed.params.code for job in rich_plan.of("strip", dataset=name)} for name in DATASETS)
    assert len(strips) == len(others) == 1
    assert strips.isdisjoint(others)


def test_times_of_files_decide_nothing(rich_plan):
    """What is up to date is judged by receipts and seals; to Snakemake every input is older than all that is made."""
    for job in (job for job in rich_plan.jobs if job.script):
        assert job.times_count == (), job.rule
