"""Checksums are computed where a file may have changed, and nowhere else."""

import os
import shutil

import pytest

from diffeode.provenance import checksums
from diffeode.provenance.checksums import Checksums, recorded


@pytest.fixture
def file(tmp_path):
    path = tmp_path / "scan.nii"
    path.write_bytes(b"0123456789")
    return path


@pytest.fixture
def computed(monkeypatch):
    """The files whose checksum was computed since, in order."""
    seen = []

    def sha256(path):
        seen.append(str(path))
        return real(path)

    real = checksums.sha256
    monkeypatch.setattr(checksums, "sha256", sha256)
    return seen


def without(record, *names):
    return {key: value for key, value in record.items() if key not in names}


def test_an_untouched_file_is_not_read(file, computed):
    record = recorded(file)
    computed.clear()
    assert Checksums().of(file, record) == record["sha256"]
    assert computed == []


def test_a_file_of_the_same_size_and_time_with_another_content_is_noticed(file):
    record = recorded(file)
    file.write_bytes(b"9876543210")
    os.utime(file, ns=(record["modified_ns"], record["modified_ns"]))
    assert Checksums().of(file, record) != record["sha256"]


def test_another_file_under_the_same_name_and_of_the_same_time_is_noticed(file, tmp_path):
    other = tmp_path / "other.nii"
    other.write_bytes(b"9876543210")
    shutil.copystat(file, other)
    record = recorded(file)
    other.rename(file)
    assert file.stat().st_mtime_ns == record["modified_ns"]
    assert Checksums().of(file, record) == recorded(file)["sha256"] != record["sha256"]


def test_where_the_time_of_the_system_is_not_on_record_size_and_time_decide(file, computed):
    record = without(recorded(file), "changed_ns")
    computed.clear()
    os.chmod(file, 0o600)
    assert Checksums().of(file, record) == record["sha256"]
    assert computed == []
    os.utime(file)
    Checksums().of(file, record)
    assert computed == [str(file)]


def test_what_was_computed_is_remembered_until_the_file_changes(file, tmp_path, computed):
    memory = tmp_path / "memory.json"
    first = Checksums(memory)
    found = first.of(file)
    first.save()
    computed.clear()
    assert Checksums(memory).of(file) == found
    assert computed == []
    file.write_bytes(b"9876543210")
    assert Checksums(memory).of(file) != found


def test_what_was_computed_outweighs_the_record(file, tmp_path):
    record = without(recorded(file), "changed_ns")
    file.write_bytes(b"9876543210")
    os.utime(file, ns=(record["modified_ns"], record["modified_ns"]))
    assert Checksums().of(file, record) == record["sha256"], "this is what verifying is for"
    verified = Checksums(tmp_path / "memory.json", thorough=True)
    assert verified.of(file, record) != record["sha256"]
    verified.save()
    assert Checksums(tmp_path / "memory.json").of(file, record) != record["sha256"]


@pytest.mark.parametrize("content", ["", "{", "[]", '{"a": 1}', '{"scan.nii": {"bytes": 1}}'])
def test_a_damaged_memory_is_no_memory(file, tmp_path, content):
    memory = tmp_path / "memory.json"
    memory.write_text(content, encoding="utf-8")
    assert Checksums(memory).of(file) == recorded(file)["sha256"]


def test_a_memory_that_cannot_be_kept_is_left(file, tmp_path):
    lost = Checksums(tmp_path / "nowhere" / "memory.json")
    lost.of(file)
    lost.save()
    assert not (tmp_path / "nowhere").exists()


def test_long_work_tells_its_progress(file, tmp_path, monkeypatch):
    monkeypatch.setattr(checksums, "_TOLD_FROM_BYTES", 15)
    monkeypatch.setattr(checksums, "_TOLD_EVERY_S", 0)
    other = tmp_path / "other.nii"
    other.write_bytes(b"0123456789")
    said = []
    Checksums().compute_ahead([(file, {}), (other, {}), (tmp_path / "absent", {})], said.append)
    assert [sentence.split(",")[0] for sentence in said] == [
        "Comparing checksums: 0.0 of 0.0 GB",
        "Comparing checksums: 0.0 of 0.0 GB",
    ]
    assert "about 0 min left" in said[-1]
    said.clear()
    Checksums().compute_ahead([(file, {})], said.append)
    assert said == []
