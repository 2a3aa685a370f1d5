"""The report on a study says what is done, missing, stale and failed, and why it is made again."""

import json

import pytest

pytestmark = [pytest.mark.workflow, pytest.mark.slow]


def row(report: str, stage: str) -> list[str]:
    """Counts of a stage: of, done, missing, stale, failed."""
    (line,) = [line for line in report.splitlines() if line.startswith(f"  {stage}  ")]
    return line.removeprefix(f"  {stage}").split()


def test_a_study_that_was_never_run(fresh):
    report = fresh.status("--config", "runs=[identity]", "experiments=[virtual-healthy]")
    assert report.startswith(
        "Virtual cohort, T1w to T2w: study demo, 1 experiment, 5 pairs, 1 run; results in results"
    )
    assert row(report, "aligned pairs") == ["5", "-", "5", "-", "-"]
    assert "Failed" not in report
    assert "Made again" not in report
    assert not fresh.path("results").exists()


def test_a_finished_study(untouched):
    report = untouched.status_apart()
    assert row(report, "registrations") == ["3", "3", "-", "-", "-"]
    assert report.rstrip().endswith("Everything is there and up to date.")


def test_what_was_changed_is_told_apart(finished):
    finished.replace("config/methods/brief.yaml", "iterations: [2]", "iterations: [3]")
    finished.replace(
        "src/diffeode/methods/identity.py",
        "Registration(Affine(), Affine())",
        "Registration(Affine(), Affine(), trace=())",
    )
    report = finished.status()
    assert row(report, "registrations") == ["3", "1", "-", "2", "-"]
    (pair,) = {path.parent.name for path in finished.path("results/registrations/tiny").glob("*/*")}
    assert f"  1 registrations (tiny {pair} brief): parameters changed" in report
    assert f"  1 registrations (tiny {pair} identity): code changed" in report
    assert ": their inputs are made again" in report


def test_failed_lost_and_damaged_units(finished):
    receipt = finished.unit("affine") / "receipt.json"
    content = json.loads(receipt.read_text(encoding="utf-8"))
    receipt.write_text(
        json.dumps(content | {"status": "failed", "reason": "It is hopeless."}), encoding="utf-8"
    )
    (finished.unit("brief") / "receipt.json").unlink()
    (finished.unit("identity") / "warp.nii.gz").unlink()
    report = finished.status()
    assert row(report, "registrations") == ["3", "-", "1", "1", "1"]
    assert "affine: it failed last time (It is hopeless.)" in report
    assert "identity/warp.nii.gz is missing" in report
    assert receipt.is_file()


def test_a_job_that_failed_says_why(finished):
    (finished.unit("brief") / "receipt.json").unlink()
    (log,) = finished.path("results/logs/register/tiny").glob("*/brief.log")
    log.write_text(
        "Traceback (most recent call last):\n  ...\ndiffeode.errors.InputError: It cannot be.\n"
    )
    report = finished.status()
    assert row(report, "registrations")[-1] == "1"
    assert "brief: InputError: It cannot be. (log: results/logs/register/tiny/" in report


def test_a_wrong_configuration_is_one_sentence(fresh):
    report = fresh.status("--config", "runs=[node-mnd]", fails=True)
    assert "There is no run 'node-mnd'; did you mean 'node-mind'" in report
    assert "Traceback" not in report
