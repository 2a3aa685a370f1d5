"""The study on a real Slurm: what is refused before the first job, and what comes through."""

from __future__ import annotations

import json
import re

import pytest
import yaml
from clones import without_costs
from tiny import ALONE, METHODS, TABLES

pytestmark = [pytest.mark.workflow, pytest.mark.slow, pytest.mark.timeout(2400)]


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        (
            {"slurm_partition": "short", "runtime": "120"},
            r"Rule \w+ asks for 120 minutes, but the partition short allows 10; ",
        ),
        (
            {"slurm_partition": "nowhere"},
            r"Rule \w+ asks for the partition nowhere, but this cluster has only "
            "cpu, gpu and short; ",
        ),
        (
            {"gres": "gpu:9"},
            r"Rule \w+ asks for 9 GPUs, but no node of the partition cpu has more than 2; ",
        ),
        (
            {"gres": "tpu:1"},
            r"Slurm refuses a job as rule \w+ asks for it \(.*--gres=tpu:1\): .*gres",
        ),
    ],
)
def test_what_cannot_be_had_is_said_before_any_job(clone, cluster, asked, sentence):
    clone.write_profile("refused", **asked)
    run = clone.start(profile="refused")
    assert run.end() != 0
    assert re.search(f"(?m)^{sentence}", run.said), run.said
    assert "Traceback" not in run.said
    assert not clone.path("results/registrations").exists()
    assert cluster.queue() == []


def test_a_job_with_a_gpu_gets_one_and_the_scratch_of_its_node(clone, cluster, tmp_path):
    """Only node n1 has GPUs, two of them. One table is made, which tells what its job sees."""
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    seen = clone.note_surroundings("experiments")
    gpu = {"gpu": "1", "slurm_partition": "short", "slurm_gpu_partition": "gpu"}
    clone.write_profile("gpu", tmpdir=str(scratch), **gpu)
    run = clone.start("results/studies/tiny/tables/experiments.tsv", profile="gpu")
    assert run.end() == 0, run.said
    told = json.loads(seen.read_text(encoding="utf-8"))
    assert (told["SLURM_JOB_PARTITION"], told["SLURMD_NODENAME"]) == ("gpu", "n1")
    assert told["SLURM_GPUS_ON_NODE"] == "1"
    assert told["temporary"] == str(scratch)
    (facts,) = cluster.ask("scontrol", "-o", "show", "job", told["SLURM_JOB_ID"])
    assert re.search(r"\bTresPerJob=gres:gpu:1\b", facts), facts


def test_an_interrupt_leaves_no_job_behind(story):
    assert story.after_first_interrupt == []
    assert story.after_second_interrupt == []


def test_jobs_of_a_killed_run_are_waited_for_and_not_submitted_again(story, clone):
    assert story.left_by_kill
    names = {name for _, name, *_ in story.left_by_kill}
    assert all(re.match(r"diffeode-tiny-[0-9a-f]{8}_", name) for name in names)
    told = re.search(r"cancel them instead \(only these\): scancel --name=(\S+)", story.waiting)
    assert set(told[1].split(",")) == names
    assert "Job stats" not in story.waiting
    assert story.gated_while_waiting == len(clone.starts("gated")) == 2


def test_a_job_over_memory_is_tried_again_with_more(story, clone):
    assert [start.memory for start in clone.starts("hungry")] == ["1300M", "2600M"]
    failure = failure_of("hungry", story.final)
    assert "it needed more memory than the 1300 MB that it asked for" in failure
    assert "it is tried again (attempt 2 of 3)" in failure


def test_a_job_over_time_is_tried_again_with_more(story, clone):
    assert [start.limit for start in clone.starts("slow")] == ["00:10:00", "00:20:00"]
    failure = failure_of("slow", story.final)
    assert "it took longer than the 10 minutes that it asked for" in failure


def test_a_job_on_a_lost_node_runs_on_another_one(story, clone):
    first, *_, last = clone.starts("lost")
    assert first.node == story.lost_node != last.node


def test_the_report_on_the_study_says_what_runs_where(story, clone):
    lost = clone.starts("lost")[0]
    line = rf"registrations: tiny \S+ lost: Slurm job {lost.job} on {lost.node} since \d{{4}}-"
    assert re.search(line, story.status), story.status
    assert re.search(r"(?m)^ +of +done +missing +stale +failed +queued +running$", story.status)


def test_every_finished_job_is_counted_and_named(story):
    told = re.findall(r"(?m)^\[(\d+)/(\d+)(?:, about [^\]]*)?\] (.*)$", story.final)
    done = [int(count) for count, _, _ in told]
    assert done == sorted(done)
    assert done[-1] == int(told[-1][1])
    assert sum(len(names.split("; ")) for *_, names in told) == done[-1]
    assert all(name.strip() for *_, names in told for name in names.split("; "))


def test_the_study_ends_with_the_tables_of_a_run_on_this_machine(story, clone, local):
    require_finished(story, clone, local)


def test_arrays_end_with_the_tables_of_a_run_on_this_machine(
    story_of_arrays, clone_of_arrays, local
):
    require_finished(story_of_arrays, clone_of_arrays, local)


def require_finished(story, clone, local):
    """Every registration is done, and the tables are those of a run on this machine."""
    assert story.exit_code == 0, story.final
    for method in METHODS:
        receipt = json.loads(clone.path(clone.unit(method)).read_text(encoding="utf-8"))
        assert receipt["status"] == "done"
    for table in TABLES:
        path = f"results/studies/tiny/{table}"
        here, there = (without_costs(root / path) for root in (local, clone.root))
        assert here == there
        assert here


def test_alike_registrations_are_tasks_of_one_array(story_of_arrays, clone_of_arrays):
    """Affine registrations start no method, and so note no start."""
    first = [clone_of_arrays.starts(method)[0] for method in METHODS if method != "affine"]
    assert len({start.array for start in first}) == 1
    assert ALONE not in {start.array for start in first}
    assert len({start.job for start in first}) == len(first)
    (options,) = story_of_arrays.looked_up
    assert len(options) == len(METHODS)


def test_a_task_of_an_array_is_tried_again_alone(story_of_arrays, clone_of_arrays):
    first, again = clone_of_arrays.starts("hungry")
    # the plugin adds a megabyte for what it passes to an array
    assert (first.memory, again.memory) == ("1301M", "2600M")
    assert again.array == ALONE != first.array
    failure = failure_of("hungry", story_of_arrays.final)
    assert "it needed more memory than the 1300 MB that it asked for" in failure
    for method in ("gated", "slow", "lost"):
        assert len(clone_of_arrays.starts(method)) == 1


def test_the_lists_of_arrays_are_removed_but_not_those_of_another_study(story_of_arrays):
    mine = story_of_arrays.of_other_study.parents[1] / "tiny"
    assert story_of_arrays.looked_up
    assert not mine.exists()
    assert story_of_arrays.of_other_study.is_file()


def failure_of(method: str, console: str) -> str:
    """The first line that says that this registration failed."""
    return next(
        line for line in console.splitlines() if re.match(rf"Failed: .*\btiny {method}\b", line)
    )


def test_the_profile_has_at_most_five_lines_to_edit(clone):
    text = clone.path("workflow/profiles/slurm/config.yaml").read_text(encoding="utf-8")
    head = text.split("nothing to edit below")[0]
    editable = re.findall(r"(?m)^  # \w+: ", head)
    assert 1 <= len(editable) <= 5
    opened = re.sub(r"(?m)^  # (\w+: )", r"  \1", text)
    assert len(yaml.safe_load(opened)["default-resources"]) == len(editable) + 2
