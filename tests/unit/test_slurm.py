"""What is understood of Slurm's answers; stand-ins print what its commands print."""

import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).parents[2] / "workflow" / "lib"))
import slurm

PARTITIONS = """\
PartitionName=cpu AllowAccounts=ALL AllowQos=ALL Default=YES MaxTime=2-00:00:00 State=UP
PartitionName=short AllowAccounts=ALL AllowQos=ALL Default=NO MaxTime=01:00:00 State=UP
PartitionName=gpu AllowAccounts=brains,hearts AllowQos=long Default=NO MaxTime=UNLIMITED State=UP
PartitionName=old AllowAccounts=ALL AllowQos=ALL Default=NO MaxTime=UNLIMITED State=DOWN
"""
NODES = """\
cpu|64|256000+|(null)
cpu|32|128000|(null)
short|64|256000|(null)
gpu|16|64000|gpu:a100:4(S:0-1),nvme:1
old|4|8000|(null)
"""


@pytest.fixture
def commands(tmp_path, monkeypatch):
    """A function that makes a command print a text."""
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")

    def say(name: str, script: str) -> None:
        (folder / name).write_text(f"#!/bin/sh\n{script}\n")
        (folder / name).chmod(0o755)

    say("scontrol", f"cat <<'END'\n{PARTITIONS}END")
    say("sinfo", f"cat <<'END'\n{NODES}END")
    say(
        "sacctmgr",
        'case "$*" in *assoc*) echo brains; echo lungs;; *) echo normal; echo long;; esac',
    )
    say("sbatch", "exit 0")
    return say


def request(**asked) -> slurm.Request:
    usual = {"rule": "register", "partition": None, "minutes": 60, "mem_mb": 1000, "cpus": 1}
    return slurm.Request(**{**usual, **asked})


@pytest.mark.parametrize(
    "asked",
    [
        {},
        {"minutes": 2880},
        {"partition": "short"},
        {"mem_mb": 256000, "cpus": 64},
        {"partition": "gpu", "gpus": 4, "minutes": 100_000, "account": "brains", "qos": "long"},
        {"partition": "gpu", "gres": "gpu:a100:2"},
        {"minutes": None, "mem_mb": None},
    ],
)
def test_what_can_be_had_is_not_complained_about(commands, asked):
    assert slurm.Cluster().complaint(request(**asked)) is None


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"minutes": 2881}, "asks for 2881 minutes, but the partition cpu allows 2880;"),
        ({"partition": "short", "minutes": 61}, "61 minutes, but the partition short allows 60;"),
        (
            {"partition": "gpuu"},
            "the partition gpuu, but this cluster has only cpu, gpu, old and short;",
        ),
        ({"partition": "old"}, "the partition old, which starts no jobs (DOWN);"),
        ({"account": "livers"}, "the account livers, but you may use only brains and lungs;"),
        (
            {"partition": "gpu", "account": "lungs"},
            "the account lungs, but the partition gpu allows only brains and hearts;",
        ),
        ({"qos": "fast"}, "(QOS) fast, but this cluster has only long and normal;"),
        ({"partition": "gpu", "qos": "normal"}, "the partition gpu allows only long;"),
        ({"mem_mb": 256001}, "asks for 256001 MB of memory, but no node of the partition cpu"),
        (
            {"cpus": 65},
            "asks for 65 processors, but no node of the partition cpu has more than 64;",
        ),
        ({"gpus": 1}, "asks for 1 GPUs, but no node of the partition cpu has more than 0;"),
        ({"partition": "gpu", "gpus": 5}, "no node of the partition gpu has more than 4;"),
        ({"partition": "gpu", "gres": "gpu:a100:8"}, "asks for 8 GPUs, but no node"),
    ],
)
def test_what_cannot_be_had_is_one_sentence_with_rule_request_and_limit(commands, asked, sentence):
    complaint = slurm.Cluster().complaint(request(**asked))
    assert complaint.startswith("Rule register asks for ")
    assert sentence in complaint
    assert "\n" not in complaint


def test_what_only_slurm_knows_is_told_in_its_words(commands):
    commands(
        "sbatch", "echo 'sbatch: error: Batch job submission failed: No such feature' >&2; exit 1"
    )
    complaint = slurm.Cluster().complaint(request(more=("--constraint=fast",)))
    assert complaint == (
        "Slurm refuses a job as rule register asks for it (--time=60 --mem=1000 "
        "--cpus-per-task=1 --constraint=fast): Batch job submission failed: No such feature; "
        "correct it in the profile."
    )


@pytest.mark.parametrize(
    ("states", "waits"), [("drained", True), ("idle\\ndown*", True), ("idle", False)]
)
def test_a_job_waits_for_nodes_that_start_no_jobs_now(commands, states, waits):
    """So says Slurm where each node that has enough is drained, though it would take the job."""
    refusal = "allocation failure: Requested node configuration is not available"
    commands("sbatch", f"echo '{refusal}' >&2; exit 1")
    of_default = f"*--partition=cpu*%T*) printf '{states}\\n';;"
    commands("sinfo", f"case \"$*\" in {of_default} *) cat <<'END'\n{NODES}END\n;; esac")
    complaint = slurm.Cluster().complaint(request())
    assert (complaint is None) == waits
    assert waits or refusal in complaint
    assert slurm.Cluster().complaint(request(mem_mb=256001)).startswith("Rule register asks")


def test_a_cluster_that_does_not_tell_is_not_guessed_about(commands):
    for name in ("scontrol", "sinfo", "sacctmgr"):
        commands(name, "echo Slurm accounting storage is disabled >&2; exit 1")
    asked = request(partition="any", account="any", qos="any", minutes=10**6, gpus=9)
    assert slurm.Cluster().complaint(asked) is None


@pytest.mark.parametrize(
    ("text", "minutes"),
    [
        ("UNLIMITED", None),
        ("30:00", 30),
        ("90", 90),
        ("01:30:00", 90),
        ("2-00:00:00", 2880),
        ("1-12", 2160),
        ("1-12:30", 2190),
    ],
)
def test_times_are_read_as_slurm_writes_them(text, minutes):
    assert slurm.minutes_of(text) == minutes


def test_names_of_jobs_hold_the_study_and_its_results(tmp_path):
    here, there = tmp_path / "a" / "results", tmp_path / "b" / "results"
    name = slurm.job_name("my study; rm *", here)
    assert name.startswith("diffeode-my-study-rm-")
    assert name != slurm.job_name("my study; rm *", there)
    assert len(slurm.job_name("long" * 30, here)) == 50
    assert slurm.job_name("long" * 30, here)[-8:] == name[-8:]


def queue_of(commands, *lines: str) -> None:
    commands("squeue", "cat <<'END'\n" + "\n".join(lines) + "\nEND")


def test_only_jobs_that_write_to_these_results_are_found(commands, tmp_path):
    (tmp_path / slurm.JOURNAL).touch()
    ours = slurm.job_name("demo", tmp_path)
    same = slurm.job_name("other-study", tmp_path)
    other = slurm.job_name("demo", tmp_path / "elsewhere")
    queue_of(
        commands,
        f"12|{ours}_0a-1b|RUNNING|n1|2026-01-01T10:00:00|None",
        f"13_4|{same}_0a-1b|PENDING||N/A|Priority",
        f"14|{other}_0a-1b|RUNNING|n1|2026-01-01T10:00:00|None",
        "15|bash|RUNNING|n1|2026-01-01T10:00:00|None",
    )
    jobs = slurm.jobs_that_write_to(tmp_path)
    assert [(job.number, job.runs, job.node) for job in jobs] == [
        ("12", True, "n1"),
        ("13_4", False, ""),
    ]
    assert slurm.cancelling(jobs) == f"scancel --name={ours}_0a-1b,{same}_0a-1b"


def test_slurm_is_not_asked_about_results_for_which_no_job_was_submitted(commands, tmp_path):
    looks = tmp_path / "looks"
    commands("squeue", f"echo x >> {looks}")
    assert slurm.jobs_that_write_to(tmp_path) == []
    assert not looks.exists()


def test_a_dry_run_says_what_the_next_run_waits_for(commands, tmp_path):
    (tmp_path / slurm.JOURNAL).touch()
    queue_of(commands, f"12|{slurm.job_name('demo', tmp_path)}_0a|RUNNING|n1|N/A|None")
    said = []
    slurm.wait_for_earlier_jobs(tmp_path, said.append, only_says=True)
    (sentence,) = said
    assert "0 wait and 1 run. The next run waits until they have ended." in sentence


def test_a_run_waits_until_the_earlier_jobs_have_ended(commands, tmp_path, monkeypatch):
    (tmp_path / slurm.JOURNAL).touch()
    line = f"12|{slurm.job_name('demo', tmp_path)}_0a|RUNNING|n1|N/A|None"
    looks = tmp_path / "looks"
    commands("squeue", f"echo x >> {looks}; [ $(wc -l < {looks}) -lt 3 ] && echo '{line}'; true")
    monkeypatch.setattr(slurm, "_SECONDS_BETWEEN_LOOKS", 0.01)
    slurm.wait_for_earlier_jobs(tmp_path, lambda _: None, only_says=False)
    assert looks.read_text().count("x") == 3


FAILED = "SLURM-job '7' failed, SLURM status is: '{}'. Detailed failure reason unavailable."


@pytest.mark.parametrize(
    ("state", "log", "why"),
    [
        ("OUT_OF_MEMORY", "", "it needed more memory than the 500 MB that it asked for"),
        (
            "FAILED",
            "slurmstepd: error: StepId=7.batch exceeded memory limit (9 > 5), being killed",
            "it needed more memory than the 500 MB that it asked for",
        ),
        (
            "FAILED",
            "slurmstepd: error: Detected 1 oom_kill event in StepId=7.0.",
            "it needed more memory than the 500 MB that it asked for",
        ),
        ("TIMEOUT", "", "it took longer than the 30 minutes that it asked for"),
        (
            "CANCELLED",
            "slurmstepd: error: *** JOB 7 ON n1 CANCELLED AT T DUE TO TIME LIMIT ***",
            "it took longer than the 30 minutes that it asked for",
        ),
        ("NODE_FAIL", "", "its node failed"),
        ("PREEMPTED", "", "other jobs took its place (preemption)"),
        ("CANCELLED", "", "it was cancelled (scancel)"),
        ("FAILED", "Traceback", None),
    ],
)
def test_the_reason_of_a_failure_is_told_in_words(state, log, why):
    assert slurm.cause(FAILED.format(state), log, 500, 30) == why


def test_a_job_that_slurm_refuses_says_why():
    message = "SLURM sbatch failed. The error message was 'Invalid\nqos'.\n    sbatch call: x"
    assert slurm.cause(message, "", 1, 1) == "Slurm refused it (Invalid qos)"


def test_sentences_of_scripts_are_found_in_the_output_of_a_job():
    text = "noise\nregister a b c: failed: It is hopeless. (log: logs/c.log)\nx (log: logs/d.log)"
    assert slurm.sentences(text, ["logs/c.log"]) == [
        "register a b c: failed: It is hopeless. (log: logs/c.log)"
    ]
    assert slurm.sentences(text, []) == []


def test_the_times_of_jobs_are_those_of_slurm(commands):
    queue_of(
        commands,
        "7|RUNNING|2026-01-01T10:00:00|2026-01-01T12:00:00",
        "8|COMPLETED|2026-01-01T10:00:00|2026-01-01T10:00:30",
        "9|PENDING|N/A|N/A",
    )
    times = slurm.times_of_jobs("any")
    assert times["7"][1] is None
    assert times["8"][1] - times["8"][0] == 30
    assert times["9"] == (None, None)
