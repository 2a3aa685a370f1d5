"""Finished files are judged by their receipts and seals: damaged, failed, stale, or made from files
that are made again.
"""

import json
import os

import pytest

from diffeode.errors import DamagedFileError
from diffeode.provenance.checksums import Checksums
from diffeode.provenance.origin import as_json, origin_of
from diffeode.provenance.receipt import (
    add_origin,
    damage,
    read_receipt,
    require_intact,
    write_receipt,
)
from diffeode.provenance.seals import seal
from diffeode.provenance.upkeep import Kind, Planned, complaints

PARAMETERS = {"code": "a" * 64, "seed": 1, "run": {"method": "x", "parameters": {"levels": (2, 1)}}}


@pytest.fixture
def study(tmp_path):
    """A scan, the unit made from it, and a table made from the unit."""
    scan, unit, table = (
        tmp_path / "scan.nii",
        tmp_path / "results" / "unit",
        tmp_path / "results" / "table.tsv",
    )
    scan.write_bytes(b"scan")
    unit.mkdir(parents=True)
    (unit / "warp.nii").write_bytes(b"warp")
    write_receipt(unit, ["warp.nii"], {"status": "done"})
    add_origin(unit / "receipt.json", origin_of([scan], PARAMETERS))
    table.write_text("1\t2\n", encoding="utf-8")
    seal(table, tmp_path / "results", origin_of([unit / "receipt.json"], {"code": "b"}))
    return tmp_path


def judged(study, parameters=PARAMETERS, inputs=("scan.nii",), forced=lambda file: False):
    """Return kind and reason of each complaint, by the file's name."""
    receipt = study / "results" / "unit" / "receipt.json"
    plan = [
        Planned(study / "results" / "table.tsv", [str(receipt)], {"code": "b"}),
        Planned(receipt, [str(study / name) for name in inputs], parameters),
    ]
    found = complaints(plan, study / "results", Checksums(), forced)
    return {
        file.name: (complaint.kind, complaint.reason.replace(f"{study}/", ""))
        for file, complaint in found.items()
    }


DERIVED = (Kind.DERIVED, "their inputs are made again")


def test_a_finished_study_has_no_complaints(study):
    assert judged(study) == {}


def test_other_parameters_are_named(study):
    other = PARAMETERS | {"run": {"method": "x", "parameters": {"levels": (2, 2)}}}
    assert judged(study, other) == {
        "receipt.json": (Kind.STALE, "parameters changed (run.parameters.levels)"),
        "table.tsv": DERIVED,
    }
    assert judged(study, PARAMETERS | {"seed": 2})["receipt.json"][1] == "parameters changed (seed)"
    less = {key: value for key, value in PARAMETERS.items() if key != "seed"}
    assert judged(study, less)["receipt.json"][1] == "parameters changed (seed)"


def test_other_code_is_told_from_other_parameters(study):
    assert judged(study, PARAMETERS | {"code": "c"})["receipt.json"] == (Kind.STALE, "code changed")
    both = PARAMETERS | {"code": "c", "seed": 2}
    assert judged(study, both)["receipt.json"] == (Kind.STALE, "parameters changed (seed)")


def test_another_input_is_named(study):
    (study / "scan.nii").write_bytes(b"nacs")
    assert judged(study)["receipt.json"] == (Kind.STALE, "scan.nii changed")


def test_one_input_more_or_less_is_noticed(study):
    reason = "a file was added to their inputs or left out of them"
    (study / "labels.nii").write_bytes(b"labels")
    assert judged(study, inputs=("scan.nii", "labels.nii"))["receipt.json"] == (Kind.STALE, reason)
    assert judged(study, inputs=())["receipt.json"] == (Kind.STALE, reason)


def test_inputs_that_changed_places_are_noticed(study):
    receipt = study / "results" / "unit" / "receipt.json"
    (study / "labels.nii").write_bytes(b"labels")
    add_origin(receipt, origin_of([study / "scan.nii", study / "labels.nii"], PARAMETERS))
    assert judged(study, inputs=("labels.nii", "scan.nii"))["receipt.json"][0] is Kind.STALE


def test_an_input_that_cannot_be_read_leaves_what_is_finished(study, monkeypatch):
    """It cannot be compared, like one that is gone. Root may read all, so the answer is
    replaced.
    """
    (study / "scan.nii").write_bytes(b"another scan")
    monkeypatch.setattr("os.access", lambda path, mode: False)
    assert judged(study) == {}
    checksums = Checksums()
    checksums.compute_ahead([(study / "scan.nii", {})], print)
    monkeypatch.undo()
    assert set(judged(study)) == {"receipt.json", "table.tsv"}


def test_the_name_of_an_input_does_not_matter(study):
    (study / "moved.nii").write_bytes(b"scan")
    assert judged(study, inputs=("moved.nii",)) == {}


def test_damage_comes_before_staleness(study):
    warp = study / "results" / "unit" / "warp.nii"
    warp.write_bytes(b"prav")
    assert judged(study, PARAMETERS | {"seed": 2}) == {
        "receipt.json": (Kind.DAMAGED, "results/unit/warp.nii has changed since it was made"),
        "table.tsv": DERIVED,
    }
    warp.write_bytes(b"war")
    assert judged(study)["receipt.json"][1] == "results/unit/warp.nii has 3 bytes instead of 4"
    warp.unlink()
    assert judged(study)["receipt.json"][1] == "results/unit/warp.nii is missing"


def test_what_is_lost_makes_again_what_was_made_from_it(study):
    (study / "results" / "unit" / "receipt.json").unlink()
    assert judged(study) == {"table.tsv": DERIVED}


def test_what_the_user_forces_makes_again_what_was_made_from_it(study):
    assert judged(study, forced=lambda file: file.name == "receipt.json") == {"table.tsv": DERIVED}


def test_a_table_without_a_seal_is_made_again(study):
    (study / "results" / ".seals" / "table.tsv.json").write_text("", encoding="utf-8")
    assert judged(study)["table.tsv"] == (Kind.DAMAGED, "it was never sealed, or its seal was lost")


def test_a_table_that_was_edited_is_made_again(study):
    (study / "results" / "table.tsv").write_text("1\t3\n", encoding="utf-8")
    assert judged(study)["table.tsv"] == (Kind.DAMAGED, "it was changed")


def edited(study, **entries):
    receipt = study / "results" / "unit" / "receipt.json"
    content = read_receipt(receipt) | entries
    receipt.write_text(
        json.dumps({k: v for k, v in content.items() if v is not None}), encoding="utf-8"
    )
    return receipt


def test_who_reads_a_unit_compares_checksums_whatever_sizes_and_times_say(study):
    warp = study / "results" / "unit" / "warp.nii"
    before = warp.stat()
    warp.write_bytes(b"prav")
    os.utime(warp, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(DamagedFileError, match=r"warp\.nii has changed since it was made"):
        require_intact(study / "results" / "unit" / "receipt.json")


@pytest.mark.parametrize(
    "entries", [{"status": "fine"}, {"outputs": {}}, {"made_from": {}}, {"more": 1}]
)
def test_a_receipt_that_was_edited_is_damaged(study, entries):
    receipt = edited(study, **entries)
    assert "receipt.json is not as it was written" in judged(study)["receipt.json"][1]
    with pytest.raises(DamagedFileError, match="not as it was written"):
        require_intact(receipt)


def test_a_receipt_whose_checksum_was_lost_or_misspelt_is_damaged(study):
    before = read_receipt(study / "results" / "unit" / "receipt.json")["receipt_sha256"]
    for entries in ({"receipt_sha256": None}, {"receipt_sha256": None, "receipt_sha25x": before}):
        receipt = edited(study, outputs=OTHER_OUTPUTS, **entries)
        assert judged(study)["receipt.json"][0] is Kind.DAMAGED
        assert "is not as it was written" in damage(receipt)


OTHER_OUTPUTS = {"warp.nii": {"bytes": 4, "sha256": "0" * 64}}


def test_a_receipt_that_lists_no_files_is_damaged(study):
    edited(study, outputs={}, receipt_sha256=None)
    assert judged(study)["receipt.json"] == (
        Kind.DAMAGED,
        "results/unit/receipt.json lists no files",
    )


@pytest.mark.parametrize(
    "origin", [None, {}, 1, {"inputs": 1, "parameters": {}}, {"inputs": [{}], "parameters": {}}]
)
def test_a_receipt_that_does_not_say_what_it_was_made_from_is_stale(study, origin):
    receipt = edited(study, made_from=origin, receipt_sha256=None)
    assert damage(receipt) is None
    assert judged(study)["receipt.json"] == (Kind.STALE, "it is not known what they were made from")


def test_a_failure_is_tried_again_whatever_else_is_wrong(study):
    edited(study, status="failed", reason="It is hopeless.", outputs={})
    assert judged(study, PARAMETERS | {"seed": 2})["receipt.json"] == (
        Kind.FAILED,
        "it failed last time (It is hopeless.)",
    )


@pytest.mark.parametrize(
    "text", ["", "{}", "[]", '{"outputs": {"warp.nii": 1}}', '{"outputs": {"warp.nii": {}}}']
)
def test_a_receipt_that_is_no_receipt_is_damaged(study, text):
    (study / "results" / "unit" / "receipt.json").write_text(text, encoding="utf-8")
    kind, reason = judged(study)["receipt.json"]
    assert (kind, "missing or damaged" in reason) == (Kind.DAMAGED, True)


def test_parameters_are_compared_as_json_keeps_them(tmp_path):
    assert as_json({"path": tmp_path, "pair": (1, 2.5), 3: None}) == {
        "path": str(tmp_path),
        "pair": [1, 2.5],
        "3": None,
    }
