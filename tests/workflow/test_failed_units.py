"""A job of preparation that fails in any way writes the receipt of a failed unit, and the jobs that
read this unit fail for the same reason.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from ellipsoids import DATASET, LABELS, write_person

from diffeode.errors import AlignmentError
from diffeode.provenance.checksums import Checksums
from diffeode.provenance.origin import origin_of
from diffeode.provenance.receipt import failure_in, write_receipt
from diffeode.provenance.seals import failure_sealed, left_out_sealed, seal
from diffeode.provenance.upkeep import Kind, Planned, complaints

pytestmark = pytest.mark.workflow

REPOSITORY = Path(__file__).resolve().parents[2]
_JOB = """
import os, signal, sys
from types import SimpleNamespace
sys.path.insert(0, {scripts!r})
# as a job of a terminal has it: tests that a shell runs in the background ignore interrupts
signal.signal(signal.SIGINT, signal.default_int_handler)
from _job import job

class Given(dict):
    __getattr__ = dict.__getitem__
    __iter__ = lambda self: iter(self.values())

snakemake = SimpleNamespace(
    threads=1, log=["job.log"], rule="strip", wildcards=Given(dataset="heads", scan="a"),
    params=Given({params}), input=Given(read={read!r}{inputs}),
    output={output!r},
    resources=Given({resources}), config={{"results": "."}},
)
with job(snakemake) as say:
    open("begun", "w").close()
    from diffeode.errors import InputError
    {body}
"""
_LAST, _FIRST = "last_attempt=1", "last_attempt=0"
FAULTS = {
    "an error": ("raise InputError('It is no head.')", "It is no head."),
    "a bug": ("1 / 0", "ZeroDivisionError: division by zero"),
    "too little memory": ("os.kill(os.getpid(), signal.SIGKILL)", "It was killed (SIGKILL)"),
    "a crash": ("os.kill(os.getpid(), signal.SIGSEGV)", "It crashed (SIGSEGV)"),
}


@pytest.fixture
def run(tmp_path):
    """A function that runs a job in ``tmp_path``."""

    def run_it(
        body: str,
        resources: str = _LAST,
        read: str = "scan.nii.gz",
        output: tuple[str, ...] = ("unit/brain/receipt.json", "unit/brain/mask.nii.gz"),
        **given: str,
    ):
        return subprocess.run(
            _command(tmp_path, body, resources, read, output, **given),
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=False,
            timeout=100,
        )

    return run_it


def _command(
    folder: Path,
    body: str,
    resources: str = _LAST,
    read: str = "scan.nii.gz",
    output: tuple[str, ...] = ("unit/brain/receipt.json",),
    params: str = "",
    inputs: str = "",
) -> list[str]:
    """Return the command of a job whose files lie in ``folder``."""
    (folder / "unit/brain").mkdir(parents=True, exist_ok=True)
    (folder / "scan.nii.gz").touch()
    scripts = str(REPOSITORY / "workflow" / "scripts")
    given = {"read": read, "resources": resources, "output": list(output)}
    given |= {"params": params, "inputs": inputs}
    return [sys.executable, "-c", _JOB.format(scripts=scripts, body=body, **given)]


@pytest.mark.parametrize("fault", FAULTS)
def test_a_failure_is_written_down_and_ends_the_job_like_any_other(fault, run, tmp_path):
    body, reason = FAULTS[fault]
    (tmp_path / "unit/brain").mkdir(parents=True)
    (tmp_path / "unit/brain/image.nii.gz").write_text("of an earlier run")
    done = run(body)
    assert done.returncode == 0, done.stderr
    said = f"strip heads a: failed, and so does all that is made from it: {reason}"
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == 1
    receipt = json.loads((tmp_path / "unit/brain/receipt.json").read_text(encoding="utf-8"))
    told = {"dataset": "heads", "scan": "a", "step": "strip", "status": "failed", "outputs": {}}
    assert told.items() <= receipt.items()
    assert receipt["reason"].startswith(reason)
    # Snakemake asks for all outputs of a rule
    assert (tmp_path / "unit/brain/mask.nii.gz").read_bytes() == b""
    assert not (tmp_path / "unit/brain/image.nii.gz").exists()
    plan = [Planned(tmp_path / "unit/brain/receipt.json", (), {})]
    (complaint,) = complaints(plan, tmp_path, Checksums()).values()
    assert complaint.kind is Kind.FAILED


def test_a_job_that_is_killed_is_tried_again_where_it_may_be(run, tmp_path):
    assert run(FAULTS["too little memory"][0], _FIRST).returncode == 128 + 9
    assert not (tmp_path / "unit/brain/receipt.json").exists()
    assert run(FAULTS["an error"][0], _FIRST).returncode == 0
    assert failure_in(tmp_path / "unit/brain/receipt.json") == "It is no head."


_CLEANING = """import time
    try:
        open("working", "w").close()
        time.sleep(60)
    finally:
        time.sleep(5)
        open("cleaned", "w").close()
"""


def test_a_job_that_is_interrupted_may_clean_up(tmp_path):
    """Ctrl-C reaches the whole group of processes, and what is to be removed may be large."""
    job = subprocess.Popen(
        _command(tmp_path, _CLEANING),
        cwd=tmp_path,
        start_new_session=True,
        stderr=subprocess.DEVNULL,
    )
    until = time.monotonic() + 60
    while not (tmp_path / "working").exists() and time.monotonic() < until:
        time.sleep(0.05)
    os.killpg(job.pid, signal.SIGINT)
    assert job.wait(60) != 0
    assert (tmp_path / "cleaned").exists()
    assert not (tmp_path / "unit/brain/receipt.json").exists()


def test_a_rule_that_notes_no_failures_fails(run, tmp_path):
    done = run(FAULTS["an error"][0], resources="")
    assert done.returncode == 1
    assert done.stderr.startswith("strip heads a: It is no head.")
    assert not (tmp_path / "unit/brain/receipt.json").exists()


def test_a_job_that_reads_a_failed_unit_does_not_begin_and_fails_for_the_same_reason(run, tmp_path):
    (tmp_path / "before").mkdir()
    write_receipt(tmp_path / "before", [], {"status": "failed", "reason": "It is cut."})
    done = run("pass", read="before/receipt.json")
    assert (done.returncode, done.stderr) == (0, "")
    assert not (tmp_path / "begun").exists()
    assert failure_in(tmp_path / "unit/brain/receipt.json") == "It is cut."


def test_a_training_of_a_descriptor_that_fails_leaves_a_seal_with_the_reason(run, tmp_path):
    files = ("best.safetensors", "curves.png")
    assert run(FAULTS["an error"][0], output=files).returncode == 0
    assert {failure_sealed(tmp_path / name, tmp_path) for name in files} == {"It is no head."}
    assert (tmp_path / "best.safetensors").read_bytes() == b""
    assert (tmp_path / "curves.png").read_bytes().startswith(b"\x89PNG")


def scan_of(folder: Path, name: str, dataset: str, voxels: bytes) -> str:
    """Write the unit of a prepared scan, and return its receipt."""
    unit = folder / dataset / name
    unit.mkdir(parents=True)
    (unit / "image.nii.gz").write_bytes(voxels)
    write_receipt(unit, ["image.nii.gz"], {"status": "done", "dataset": dataset})
    return str(unit / "receipt.json")


@pytest.mark.parametrize(
    ("dataset", "voxels", "fails", "said"),
    [("one", b"a", True, False), ("other", b"a", False, True), ("one", b"b", False, False)],
    ids=["a copy", "a template that is one of the scans", "two images"],
)
def test_a_copy_of_a_scan_is_not_registered_to_it(
    dataset, voxels, fails, said, tmp_path, monkeypatch
):
    """Such a pair was registered perfectly, and entered all means."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "workflow" / "scripts"))
    pairs = importlib.import_module("_alignment_unit")
    inputs = {
        "fixed": scan_of(tmp_path, "sub-01_T1w", "one", b"a"),
        "moving": scan_of(tmp_path, "sub-02_T1w", dataset, voxels),
    }
    step = {"file": str(tmp_path / "pair.json"), "inputs": inputs, "parameters": {}}
    job = SimpleNamespace(config={"results": str(tmp_path)})
    unit = pairs.AlignedPair({"pair": "a__b", "alignment": step}, job)
    sentences = []
    if fails:
        with pytest.raises(AlignmentError, match="sub-01_T1w and sub-02_T1w are the same image"):
            unit._require_two_images(sentences.append)
    else:
        unit._require_two_images(sentences.append)
    assert len(sentences) == int(said)


_FINISH = (
    "from diffeode.provenance.receipt import write_receipt; from pathlib import Path; "
    "write_receipt(Path('unit/brain'), [], {'status': 'done'})"
)


@pytest.mark.parametrize(
    ("contrast", "looks", "earlier", "refused"),
    [
        ("dseg", 1, "", True),
        ("dseg", 0, "", False),
        ("dseg", 1, ", corrected='before/receipt.json'", False),
        ("T1w", 1, "", False),
    ],
    ids=["a label map", "one that the dataset calls a scan", "one that was looked at", "a scan"],
)
def test_a_label_map_in_place_of_a_scan_costs_that_scan(
    contrast, looks, earlier, refused, run, tmp_path
):
    write_person(tmp_path / "scans", "01", 5)
    write_receipt(tmp_path / "before", [], {"status": "done"})
    image = f"scans/sub-01/anat/sub-01_{contrast}.nii.gz"
    scan = f"scan=dict(dataset='heads', subject='01', modality='T1w', image='{image}')"
    done = run(_FINISH, f"{_LAST}, looks_at_scan={looks}", params=scan, inputs=earlier)
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "begun").exists() != refused
    reason = failure_in(tmp_path / "unit/brain/receipt.json")
    assert (reason is not None) == refused
    if refused:
        assert reason.startswith(f"{image} looks like a label map or a mask")
        assert reason.endswith("by are_scans: true in its dataset, or diffeode study --are-scans.")
        assert done.stderr.count(reason) == 1


def test_what_succeeds_says_nothing_of_a_failure(run, tmp_path):
    done = run(_FINISH)
    assert (done.returncode, done.stderr) == (0, "")
    receipt = json.loads((tmp_path / "unit/brain/receipt.json").read_text(encoding="utf-8"))
    assert [file["path"] for file in receipt["made_from"]["inputs"]] == ["scan.nii.gz"]
    assert failure_in(tmp_path / "unit/brain/receipt.json") is None


def test_a_file_that_does_not_hold_what_it_should_is_made_again(tmp_path):
    file = tmp_path / "metrics.tsv"
    file.write_text("failed\n")
    seal(file, tmp_path, origin_of([], {}), failure="No structure is in the table.")
    assert failure_sealed(file, tmp_path) == "No structure is in the table."
    (complaint,) = complaints([Planned(file, (), {})], tmp_path, Checksums()).values()
    assert complaint.kind is Kind.FAILED
    assert "No structure is in the table." in complaint.reason
    seal(file, tmp_path, origin_of([], {}))
    assert failure_sealed(file, tmp_path) is None
    assert complaints([Planned(file, (), {})], tmp_path, Checksums()) == {}


def test_a_file_that_was_made_without_some_inputs_is_not_made_again_for_that(tmp_path):
    file = tmp_path / "metrics.tsv"
    file.write_text("nmi\n")
    seal(file, tmp_path, origin_of([], {}), left_out={"moving_labels": "It holds none."})
    assert left_out_sealed(file, tmp_path) == {"moving_labels": "It holds none."}
    assert failure_sealed(file, tmp_path) is None
    assert complaints([Planned(file, (), {})], tmp_path, Checksums()) == {}
    seal(file, tmp_path, origin_of([], {}))
    assert left_out_sealed(file, tmp_path) == {}


@pytest.mark.parametrize("failed", [True, False])
def test_a_failed_unit_is_not_kept_in_snakemake_s_cache(failed, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(str(REPOSITORY / "workflow" / "lib"))
    internals = importlib.import_module("snakemake_internals")
    stored = []

    async def store(cache, job):
        stored.append(job)

    about = {"status": "failed", "reason": "It is cut."} if failed else {}
    write_receipt(tmp_path, [], about)
    job = SimpleNamespace(output=[str(tmp_path / "receipt.json"), str(tmp_path / "mask.nii.gz")])
    asyncio.run(internals._unless_it_failed(store)(None, job))
    assert stored == ([] if failed else [job])


_EXPERIMENT = """\
title: Ellipsoids
fixed: {dataset: folder, modality: T2w, subjects: ["01"]}
moving: {dataset: folder, modality: T1w, subjects: ["02"]}
alignment: none
pairs: 1
seed: 2
"""
_STUDY = """\
study: two
title: A study of two scans
experiments: [two]
runs: [identity]
ours: identity
seed: 1
results: results
"""


def begin(clone, bias: str) -> Path:
    """Write a study of two scans, and return the file of the moving one."""
    for subject in ("01", "02"):
        write_person(clone.path("scans"), subject, 5)
    clone.write("config/datasets/folder.yaml", DATASET.replace("bias: none", f"bias: {bias}"))
    clone.write("config/labels/ellipsoid.tsv", LABELS)
    clone.write("config/experiments/two.yaml", _EXPERIMENT)
    clone.write("config/config.yaml", _STUDY)
    return clone.path("scans/sub-02/anat/sub-02_T1w.nii.gz")


def receipts(clone, step: str) -> dict[str, Path]:
    """Return the receipts of a step, by the name of the scan."""
    scans = clone.path("results/prepared/folder").iterdir()
    return {scan.name: scan / step / "receipt.json" for scan in scans}


@pytest.mark.slow
def test_a_study_hands_no_failed_unit_to_snakemake_s_cache(fresh, tmp_path, monkeypatch):
    """Of two scans to correct, one is empty: the cache then holds the other one alone."""
    begin(fresh, bias="n4").write_bytes(b"")
    (tmp_path / "cache").mkdir()
    monkeypatch.setenv("SNAKEMAKE_OUTPUT_CACHE", str(tmp_path / "cache"))
    run = fresh.snakemake("--cache", "--until", "correct")
    assert run.returncode == 0, run.stdout
    corrected = receipts(fresh, "corrected")
    assert failure_in(corrected["sub-01_T2w"]) is None
    assert "is empty" in failure_in(corrected["sub-02_T1w"])
    kept = [name for name, receipt in corrected.items() if receipt.is_symlink()]
    assert kept == ["sub-01_T2w"]
    assert len(list((tmp_path / "cache").iterdir())) == 2


@pytest.mark.slow
def test_a_scan_that_is_gone_fails_alone_once_its_preparation_is_stale(fresh):
    """What was made of it stays until then."""
    gone = begin(fresh, bias="none")
    preparing = ("--until", "prepare")
    run = fresh.snakemake(*preparing)
    assert run.returncode == 0, run.stdout
    gone.unlink()
    gone.symlink_to("../../nowhere.nii.gz")
    assert "\ntotal        0\n" in fresh.snakemake("--dry-run", *preparing).stdout
    fresh.replace("config/datasets/folder.yaml", "bias: none", "bias: n4")
    run = fresh.snakemake(*preparing)
    assert run.returncode == 0, run.stdout
    for step in ("corrected", "."):
        found = receipts(fresh, step)
        assert failure_in(found["sub-01_T2w"]) is None
        assert "nowhere.nii.gz, which is not there" in failure_in(found["sub-02_T1w"])
