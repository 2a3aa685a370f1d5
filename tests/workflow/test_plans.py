"""Dry runs of every study and profile, and the messages about a wrong configuration."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from plans import counts
from trees import write_papers_folders
from warm import warm_python

pytestmark = [pytest.mark.workflow, pytest.mark.slow]

REPOSITORY = Path(__file__).resolve().parents[2]
STUDIES = sorted(path.name for path in (REPOSITORY / "config").glob("*.yaml"))
PROFILES = sorted(
    path.name for path in (REPOSITORY / "workflow" / "profiles").iterdir() if path.is_dir()
)


def command(folder: Path, *arguments: str) -> list[str]:
    return [
        *("-m", "snakemake", *arguments),
        *("--snakefile", str(REPOSITORY / "Snakefile"), "--directory", str(folder), "--cores", "2"),
    ]


def environment(given: dict[str, str]) -> dict[str, str]:
    return {key: value for key, value in os.environ.items() if key != "PYTHONPATH"} | given


def snakemake(folder: Path, *arguments: str, **given: str) -> subprocess.CompletedProcess[str]:
    """Run Snakemake on the study of this repository, in ``folder``."""
    return warm_python().run(command(folder, *arguments), folder, environment(given))


def snakemake_apart(
    folder: Path, *arguments: str, **given: str
) -> subprocess.CompletedProcess[str]:
    """The same in a Python of its own, as a user starts it."""
    call, output = [sys.executable, *command(folder, *arguments)], {"stdout": subprocess.PIPE}
    return subprocess.run(
        call,
        env=environment(given),
        text=True,
        stderr=subprocess.STDOUT,
        check=False,
        cwd=folder,
        **output,
    )


MADE_UP = {
    "paper.yaml": ["experiments=[ixi-oasis3]"],
    "paper-descriptors.yaml": ["experiments=[ixi-ixi]", "runs=[identity,paper-mind]"],
    "paper-regularisation.yaml": ["experiments=[ixi-ixi]", "runs=[paper-mind]", "ours=paper-mind"],
    "poster.yaml": ["runs=[identity,paper-lddmm]"],
    "checks.yaml": ["experiments=[oasis3-severe]"],
    "questions.yaml": ["experiments=[oasis3-severe]"],
    "unseen-contrast.yaml": ["runs=[identity,ants-syn,convexadam,synthmorph,paper-mind]"],
    "nodeo.yaml": ["experiments=[candi]"],
    "nodeo-ablation.yaml": ["runs=[nodeo]", "ours=nodeo"],
}
"""Studies whose scans need an agreement, which are planned on made-up trees, and what is planned of
each: the descriptor of ``paper-cl``, which a thousand jobs are made for, in two of them alone.
``tests/unit/test_paper_studies.py`` looks at all their runs.
"""


@pytest.fixture(scope="module")
def trees(tmp_path_factory) -> dict[str, str]:
    """The folders of the made-up trees, by the variables that name them."""
    folders = write_papers_folders(tmp_path_factory.mktemp("trees"))
    return {variable: str(folder) for variable, folder in folders.items()}


@pytest.mark.parametrize("study", STUDIES)
def test_every_study_is_planned(study, tmp_path, request):
    """Every study is planned; of the papers' large studies a part is planned here."""
    part = MADE_UP.get(study)
    run = snakemake(
        tmp_path,
        *("--dry-run", "--quiet", "rules", "--configfile", str(REPOSITORY / "config" / study)),
        *(("--config", *part) if part else ()),
        **variables(study, request),
    )
    assert run.returncode == 0, run.stdout
    assert planned(run)["register"] > 0
    assert not (tmp_path / "results").exists()


def variables(study: str, request) -> dict[str, str]:
    """Return the variables that tell where the scans of a study lie: nowhere, in made-up trees, or
    among the real ones.
    """
    if study == "config.yaml":
        return {}
    if study in MADE_UP:
        return request.getfixturevalue("trees")
    return {"DIFFEODE_DATA": str(request.getfixturevalue("data_root"))}


@pytest.mark.slow
def test_runs_of_the_command_line_need_an_ours_where_the_study_s_own_is_a_block_s(tmp_path, trees):
    """One sentence says so, before any job."""
    file = ("--configfile", str(REPOSITORY / "config" / "nodeo-ablation.yaml"))
    run = snakemake(tmp_path, "--dry-run", *file, "--config", "runs=[identity,nodeo]", **trees)
    assert run.returncode == 1
    assert "The study's file puts run 'nodeo-steps-1-iterations-300' against" in run.stdout
    assert "name one of the runs of the command line as ours there, too: ours=nodeo." in run.stdout
    assert "Traceback" not in run.stdout
    assert not (tmp_path / "results").exists()


def planned(run: subprocess.CompletedProcess[str]) -> dict[str, int]:
    """Jobs of each rule that a dry run would start, and registrations that it would make."""
    return counts(run.stdout)


PAIRS = {"paper.yaml": 300, "nodeo.yaml": 280}


@pytest.mark.parametrize("study", PAIRS)
def test_pairs_of_the_papers(study, tmp_path, trees):
    """The studies are planned with all experiments and one run."""
    run = snakemake(
        tmp_path,
        *("--dry-run", "--quiet", "rules", "--configfile", str(REPOSITORY / "config" / study)),
        *("--config", "runs=[identity]"),
        **trees,
    )
    assert run.returncode == 0, run.stdout
    assert planned(run)["align"] == planned(run)["register"] == PAIRS[study]


def test_a_missing_dataset_says_how_to_get_it(tmp_path):
    study = str(REPOSITORY / "config" / "paper.yaml")
    run = snakemake(tmp_path, "--dry-run", "--configfile", study, OASIS3=str(tmp_path / "nowhere"))
    assert run.returncode == 1
    assert "Dataset oasis3 has no folder" in run.stdout
    assert "Traceback" not in run.stdout


@pytest.mark.parametrize("profile", PROFILES)
def test_every_profile_is_understood(profile, tmp_path):
    if profile == "slurm":
        pytest.importorskip(
            "snakemake_executor_plugin_slurm", reason="the extra 'slurm' is not installed"
        )
    folder = REPOSITORY / "workflow" / "profiles" / profile
    run = snakemake(tmp_path, "--dry-run", "--workflow-profile", str(folder))
    assert run.returncode == 0, run.stdout


def test_the_demo_makes_these_files(tmp_path):
    expected = (
        (Path(__file__).parent / "expected_outputs.txt").read_text(encoding="utf-8").splitlines()
    )
    run = snakemake(tmp_path, "--summary")
    rows = run.stdout.splitlines()
    start = next(n for n, row in enumerate(rows) if row.startswith("output_file"))
    assert sorted(row.split("\t")[0] for row in rows[start + 1 :]) == expected


SENTENCES = {
    "stduy=x": "has an unknown key 'stduy'; did you mean 'study'",
    "runs=[node-mnd]": "There is no run 'node-mnd'; did you mean 'node-mind'",
    "experiments=[virtual-helthy]": "There is no experiment 'virtual-helthy'; did you mean "
    "'virtual-healthy'",
    "seed=many": "has seed: 'many', which is not a whole number",
}


@pytest.mark.parametrize(("setting", "sentence"), SENTENCES.items())
def test_a_wrong_setting_stops_with_one_sentence(setting, sentence, tmp_path):
    run = snakemake(tmp_path, "--config", setting)
    assert run.returncode == 1
    (said,) = [line for line in run.stdout.splitlines() if sentence in line]
    assert said.endswith(".")
    assert "Traceback" not in run.stdout
    assert "Error" not in run.stdout


def test_results_that_cannot_be_written_stop_with_one_sentence(tmp_path):
    (tmp_path / "results").write_text("a file", encoding="utf-8")
    run = snakemake_apart(tmp_path)
    assert run.returncode == 1
    assert "Cannot write results to results" in run.stdout
    assert "Traceback" not in run.stdout


def test_runs_and_experiments_can_be_chosen(tmp_path):
    run = snakemake_apart(
        tmp_path, "--dry-run", "--config", "runs=[identity]", "experiments=[virtual-healthy]"
    )
    assert run.returncode == 0, run.stdout
    assert (planned(run)["register"], planned(run)["align"]) == (5, 5)


def test_planning_the_demo_imports_neither_torch_nor_what_draws_and_computes(tmp_path, copied):
    modules = copied(tmp_path / "clone").plan().modules
    assert "diffeode.methods.neural_ode" in modules
    assert modules.isdisjoint(
        {"torch", "numba", "matplotlib", "seaborn", "scipy.stats", "SimpleITK", "ants"}
    )
    # these two are there before their first use, but not what they consist of
    assert modules.isdisjoint({"scipy.ndimage._interpolation", "scipy.optimize._optimize"})
