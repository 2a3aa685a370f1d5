"""Readers of broken files: thousands that are broken at random (``python tests/fuzz.py`` breaks
more), and those that are made to fill a memory.
"""

import gzip
import mmap
import os
import resource
import signal
import struct
import time
import zipfile

import nibabel as nib
import numpy as np
import pytest
from fuzz import End, Hang, case, fuzz, fuzz_once, judge
from fuzzed import KINDS, Kind

from diffeode.errors import DamagedFileError, InputError
from diffeode.files import io
from diffeode.files.checked_yaml import parse_yaml
from diffeode.files.itk import read_itk
from diffeode.files.tables import read_words
from diffeode.process.watch import watched
from diffeode.provenance.receipt import read_receipt

_FILES = 50
"""The number of files of each kind; the first one is whole."""
_LEAST_BROKEN = 2000
_SEED = 0


@pytest.mark.parametrize("name", KINDS)
def test_a_whole_file_is_read_and_broken_ones_are_read_rightly_or_refused(name):
    count, faults = fuzz(name, _SEED, End(files=_FILES))
    assert faults == []
    assert count == _FILES


def test_thousands_of_files_are_broken():
    assert len(KINDS) * (_FILES - 1) >= _LEAST_BROKEN


def test_the_fuzz_goes_on_after_a_fault_and_judges_no_file_twice(tmp_path, monkeypatch):
    """A reader that fails at every broken file costs each of them once, and those are kept."""
    failing = Kind("a.txt", lambda path: path.write_text("whole"), _failing_at_the_broken)
    monkeypatch.setitem(KINDS, "failing", failing)
    wholes = [case(failing, b"whole", _SEED, "failing", n) == b"whole" for n in range(5)]
    assert wholes[0]
    broken = [number for number, is_whole in enumerate(wholes) if not is_whole]
    count, faults = fuzz("failing", _SEED, End(files=5), tmp_path / "kept")
    assert (count, [fault.number for fault in faults]) == (5, broken)
    kept = {path.name: path.read_bytes() for path in (tmp_path / "kept").iterdir()}
    assert kept == {
        f"failing-{_SEED}-{n}-a.txt": case(failing, b"whole", _SEED, "failing", n) for n in broken
    }


def _ending_its_process(path):
    os.kill(os.getpid(), signal.SIGKILL)


def _failing_at_the_broken(path):
    if path.read_bytes() != b"whole":
        raise KeyError("it is broken")


def test_the_fuzz_ends_at_its_time_but_judges_one_file():
    count, _ = fuzz("landmarks", _SEED, End(until=time.monotonic()))
    assert count == 1


@pytest.mark.parametrize(
    ("name", "number"),
    [
        *(("ITK affine in HDF5", 104), ("ITK field in HDF5", 107), ("ITK field in HDF5", 142)),
        *(("ITK field in HDF5", 24), ("ITK field in HDF5", 57), ("ITK affine in text", 219)),
        *(("FreeSurfer matrix", 116), ("AFNI matrix", 74), ("Slicer markups", 25)),
        *(("PNG", 137), ("TIFF", 1), ("TIFF", 128)),
    ],
)
def test_files_at_which_readers_failed_once(name, number):
    """They ended the process, filled the memory, raised, printed or were read wrongly."""
    assert fuzz_once(name, _SEED, number) is None


@pytest.mark.parametrize("suffix", [".h5", ".hdf5", ".H5"])
def test_a_file_at_which_hdf5_ends_the_process_is_refused(tmp_path, monkeypatch, suffix):
    path = tmp_path / f"a{suffix}"
    path.write_bytes(b"any")
    monkeypatch.setattr("diffeode.files.itk._read_in_vain", _ending_its_process)
    with pytest.raises(InputError, match="cannot be read as a transform of ITK or ANTs; fetch"):
        read_itk(path)


@pytest.mark.parametrize("name", KINDS)
def test_the_whole_file_is_no_refusal(tmp_path, name):
    kind = KINDS[name]
    kind.make(tmp_path / kind.name)
    assert kind.is_right(tmp_path / kind.name, kind.read(tmp_path / kind.name))


@pytest.mark.parametrize("size", ["Infinity", "1e999", "NaN"])
def test_a_receipt_with_a_size_that_is_no_number_of_bytes_is_refused(tmp_path, size):
    receipt = tmp_path / "receipt.json"
    receipt.write_text(
        '{"outputs": {"a.txt": {"bytes": SIZE, "sha256": "0"}}}'.replace("SIZE", size)
    )
    with pytest.raises(DamagedFileError, match="missing or damaged"):
        read_receipt(receipt)


def _raising(path):
    raise KeyError(path)


def _unclear(path):
    raise InputError("two\nlines")


def _waiting(path):
    while True:
        pass


def _greedy(path):
    # of the system itself: an allocator may hand out memory that this process held before
    memory = mmap.mmap(-1, 200 * 2**20)
    memory.write(bytes(len(memory)))
    return memory


@pytest.mark.parametrize(
    ("read", "what"),
    [
        (_raising, "KeyError at test_fuzz.py"),
        (_unclear, "no sentence"),
        (_waiting, "it took longer"),
        (_greedy, "MiB"),
        (lambda path: "wrong", "read wrongly"),
    ],
)
def test_the_fuzz_sees_a_reader_that_fails(tmp_path, monkeypatch, read, what):
    monkeypatch.setattr("fuzz._LONGEST_S", 3.0)
    monkeypatch.setattr("fuzz._LARGEST_GROWTH_KIB", 50 * 1024)
    kind = Kind("a.txt", lambda path: path.write_text("a"), read, lambda path, answer: answer == 1)
    kind.make(tmp_path / "a.txt")
    # in a child, whose greatest memory so far is not that of all tests before
    assert what in watched(lambda: judge(kind, tmp_path / "a.txt"))
    assert issubclass(Hang, BaseException)


def test_a_seed_breaks_the_same_files(tmp_path):
    kind = KINDS["landmarks"]
    kind.make(tmp_path / kind.name)
    whole = (tmp_path / kind.name).read_bytes()
    broken = [[case(kind, whole, seed, "landmarks", n) for n in range(20)] for seed in (1, 1, 2)]
    assert broken[0] == broken[1] != broken[2]
    assert broken[0][0] == whole


# ------------------------------------------------------------------------------------------- bombs


def _taken_mib(work) -> int:
    """Return how much memory ``work`` takes at most, in a child process, whose greatest memory so
    far is not that of all tests before.
    """

    def measured() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        work()
        return (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024

    return watched(measured)


def _header(**fields) -> bytearray:
    scan = nib.Nifti1Image(np.arange(64, dtype=np.float32).reshape(4, 4, 4), np.eye(4))
    for name, value in fields.items():
        scan.header[name] = value
    return bytearray(scan.to_bytes())


def _write_zeros(path, start: bytes, count_mib: int) -> None:
    with gzip.open(path, "wb", 1) as file:
        file.write(start)
        for _ in range(count_mib):
            file.write(bytes(2**20))


def test_a_small_file_of_many_zeros_does_not_fill_the_memory(tmp_path):
    path = tmp_path / "bomb.nii.gz"
    _write_zeros(path, bytes(_header()), 600)

    def read() -> None:
        with pytest.raises(DamagedFileError, match=r"bomb.nii.gz is damaged: it holds far more"):
            io.read_image(path)

    assert _taken_mib(read) < 150


def test_an_extension_of_a_header_does_not_fill_the_memory(tmp_path):
    path = tmp_path / "bomb.nii.gz"
    start = _header()[:352]
    start[348] = 1
    start[108:112] = struct.pack("<f", 1e9)
    _write_zeros(path, bytes(start) + struct.pack("<ii", 600 * 2**20, 6), 600)

    def read() -> None:
        with pytest.raises(DamagedFileError, match="claims an extension of 629145600 bytes"):
            io.read_grid(path)

    assert _taken_mib(read) < 150


@pytest.mark.parametrize("name", ["a.nii", "a.nii.gz"])
def test_terabytes_that_a_header_claims_are_not_asked_for(tmp_path, name):
    start = _header()
    start[40:56] = struct.pack("<8h", 3, 32767, 32767, 32767, 1, 1, 1, 1)
    (tmp_path / name).write_bytes(gzip.compress(start) if name.endswith("gz") else start)
    with pytest.raises(DamagedFileError, match="claims 32767 x 32767 x 32767 voxels"):
        io.read_image(tmp_path / name)


def test_a_scan_larger_than_the_memory_is_refused_before_it_is_read(tmp_path, monkeypatch):
    nib.save(nib.Nifti1Image(np.arange(64.0).reshape(4, 4, 4), np.eye(4)), tmp_path / "a.nii")
    memory = type("Memory", (), {"total": 8 * 64 - 1})
    monkeypatch.setattr("psutil.virtual_memory", lambda: memory)
    with pytest.raises(InputError, match="does not fit into this computer's memory"):
        io.read_image(tmp_path / "a.nii")


def test_a_workbook_that_unpacks_to_gigabytes_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("diffeode.files.tables._LARGEST_WORKBOOK", 2**20)
    with zipfile.ZipFile(tmp_path / "a.xlsx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("xl/sharedStrings.xml", bytes(2**22))
    with pytest.raises(InputError, match=r"a.xlsx holds 4 MiB when it is unpacked"):
        read_words(tmp_path / "a.xlsx")


def test_aliases_that_multiply_are_refused():
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 12)]
    with pytest.raises(InputError, match=r"^It holds more than 100,000 values, most of them by"):
        parse_yaml("\n".join(lines), "It")


@pytest.mark.parametrize("text", ["&a [*a]", "a: &a {b: [*a]}"])
def test_a_value_that_contains_itself_is_refused(text):
    with pytest.raises(InputError, match="contains itself by an alias"):
        parse_yaml(text, "It")


def test_aliases_that_people_write_are_read():
    assert parse_yaml("a: &a {x: 1}\nb: {<<: *a, y: 2}\nc: *a\n", "It") == {
        "a": {"x": 1},
        "b": {"x": 1, "y": 2},
        "c": {"x": 1},
    }
