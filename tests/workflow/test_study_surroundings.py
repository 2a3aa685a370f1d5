"""The surroundings of a study, such as another dataset's file or a closed console, must not stop
it; where they must, a message says so before any job.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
_JOB = """
import os, sys
from types import SimpleNamespace
sys.path.insert(0, {scripts!r})
from _job import job

class Words(list):
    def items(self):
        return ()

    def get(self, name, default):
        return default

snakemake = SimpleNamespace(
    threads=1, log=["job.log"], rule="draw", wildcards=Words(), params=Words(), input=Words(),
    output=[], resources={{}}, config={{"results": "."}},
)
with job(snakemake) as say:
    import matplotlib
    say("it is drawn")
    print("into the log", os.environ["MPLBACKEND"])
"""


@pytest.mark.parametrize("closed", ["", "2>&-", "<&- >&- 2>&-"])
def test_a_job_works_with_a_closed_console_and_a_notebooks_backend(tmp_path, closed):
    program = _JOB.format(scripts=str(REPOSITORY / "workflow" / "scripts"))
    environment = {**os.environ, "MPLBACKEND": "module://matplotlib_inline.backend_inline"}
    done = subprocess.run(
        ["bash", "-c", f'umask 002; "$0" -c "$1" {closed}', sys.executable, program],
        cwd=tmp_path, env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    log = tmp_path / "job.log"
    assert done.returncode == 0, log.read_text() if log.exists() else done.stderr
    assert log.read_text().splitlines()[-1] == "into the log agg"
    assert log.stat().st_mode & 0o777 == 0o664
    assert done.stderr == ("" if closed else "draw: it is drawn (log: job.log)\n")


@pytest.mark.workflow
@pytest.mark.slow
def test_a_broken_file_of_ixi_stops_only_who_asks_for_ixi(fresh):
    fresh.write("config/datasets/ixi.yaml", "kind: [")
    assert fresh.planned("--config", "runs=[identity]", "ours=identity")["register"] == 10
    asked = fresh.snakemake("--dry-run", "ixi")
    assert asked.returncode == 1
    assert "config/datasets/ixi.yaml is not valid YAML" in asked.stdout
    assert "Traceback" not in asked.stdout


@pytest.mark.workflow
@pytest.mark.slow
def test_braces_in_the_repositorys_own_path_are_said(tmp_path, copied):
    run = copied(tmp_path / "{scan}").snakemake("--dry-run")
    assert run.returncode == 1
    assert "{scan} has braces, which the workflow takes for a wildcard" in run.stdout
    assert "Traceback" not in run.stdout
