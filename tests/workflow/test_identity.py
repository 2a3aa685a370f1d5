"""What a job's parameter ``code`` covers: all that its script stands on, and nothing of what others stand on."""

import ast
from pathlib import Path

import pytest

from diffeode.methods.registry import method_module
from diffeode.source import imported_modules
from diffeode.weights import load_weights

pytestmark = pytest.mark.workflow

NAMING = frozenset({"diffeode.methods.registry", "diffeode.methods.runs"})
REPOSITORY = Path(__file__).resolve().parents[2]
LEFT_OUT = {
    # they find methods by name; the one they find and its parameters are in the identity by themselves
    "train": NAMING,
    # a training's receipt is an input; how it is read decides nothing
    "register": NAMING | {"diffeode.methods.training"},
    # another layout of a figure must not train a network again
    "descriptor_weights": frozenset({"diffeode.figures.training_curves"}),
}
"""What scripts import and their rules leave out of the identity on purpose."""
PLUMBING = {"_job.py", "diffeode.surroundings"}
"""What decides where a job's words go, not what it makes."""


def imports_of(script: Path, names: frozenset[str] | None = None) -> set[str]:
    """Modules of ``diffeode``, and files beside the script, that it imports, and those that these import for it.

    Args:
        names: of the functions that count; None for the whole file.
    """
    tree = ast.parse(script.read_text(encoding="utf-8"))
    body = [node for node in tree.body if names is None or getattr(node, "name", None) in names]
    found = set()
    for node in (node for part in body for node in ast.walk(part) if isinstance(node, ast.ImportFrom)):
        imported = [alias.name for alias in node.names]
        beside = script.with_name(f"{node.module}.py")
        if beside.is_file():
            found |= {beside.name} | imports_of(beside, frozenset(imported))
        elif node.module.split(".")[0] == "diffeode":
            found |= {node.module} | {f"{node.module}.{name}" for name in imported if is_module(node.module, name)}
    return found


def is_module(package: str, name: str) -> bool:
    try:
        imported_modules(f"{package}.{name}")
    except ModuleNotFoundError:
        return False
    return True


def test_every_job_s_identity_covers_what_its_script_imports(rich_plan):
    with_script = [job for job in rich_plan.jobs if job.script]
    missing = {}
    for job in with_script:
        covered = rich_plan.covered[job.handed.params.code]
        needed = {job.script.name} | imports_of(job.script) - PLUMBING - LEFT_OUT.get(job.rule, frozenset())
        if not needed <= covered:
            missing[job.rule] = sorted(needed - covered)
    assert missing == {}
    scripts = {file.name for file in (REPOSITORY / "workflow" / "scripts").glob("[a-z]*.py")}
    assert {job.script.name for job in with_script} == scripts - {"fetch_ixi.py", "progress.py"}


@pytest.mark.parametrize("rule", ["register", "train"])
def test_a_run_s_identity_covers_its_own_method_and_no_other(rich_plan, rule):
    methods = {job.handed.params.run["method"] for job in rich_plan.of("register")}
    for job in rich_plan.of(rule):
        covered = rich_plan.covered[job.handed.params.code]
        own = method_module(job.handed.params.run["method"])
        assert own in covered
        assert covered.isdisjoint({method_module(name) for name in methods} - imported_modules(own))
    trained = {"diffeode.networks.voxelmorph", "diffeode.training.loop"}
    assert trained <= rich_plan.covered[rich_plan.the("train").handed.params.code]


def test_a_step_s_identity_covers_the_tools_that_were_chosen_and_no_others(rich_plan):
    found = {}
    for job in (job for rule in ALL_TOOLS for job in rich_plan.of(rule)):
        kind = "T1w" if "T1w" in job.wildcards["scan"] else "T2w"
        covered = rich_plan.covered[job.handed.params.code]
        tools = {name.removeprefix(STEPS) for name in covered if name.startswith(STEPS)}
        found.setdefault((job.rule, job.wildcards["dataset"]), {}).setdefault(kind, set()).add(frozenset(tools))
    assert found == {
        (rule, dataset): {kind: {frozenset(tools)} for kind, tools in kinds.items()}
        for rule, datasets in ALL_TOOLS.items()
        for dataset, kinds in datasets.items()
    }


def test_a_step_is_known_by_the_weights_that_its_tools_read(rich_plan):
    """Every rule asks, so that a new tool of any step may read weights."""
    mindgrab = {"meshnet-mindgrab": load_weights("meshnet-mindgrab").sha256}
    jobs = [job for rule in ("strip", "correct", "place", "prepare", "segment") for job in rich_plan.of(rule)]
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
    "correct": {"heads": both("n4"), "drawn": {"T1w": {"nu_correct", "mri_normalize"}, "T2w": {"nu_correct"}}},
    "place": {"heads": both("icbm152"), "drawn": both()},
    "prepare": {"heads": both("white_stripe"), "drawn": both("robust"), "cohort": both("robust")},
    "segment": {"heads": both("synthseg")},
    "inspect_scan": {"heads": both("icbm152"), "drawn": both()},
}
"""By rule, dataset and contrast: the files of diffeode.prepare.steps whose code decides the result."""
