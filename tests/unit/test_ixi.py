"""IXI as it unpacks: names, demographics in every format, and fetching it."""

import hashlib
import io as streams
import tarfile
import threading
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from trees import IXI_FIXED, ixi_table, write_ixi, write_xls

from diffeode.datasets.ixi import list_ixi
from diffeode.datasets.ixi_download import Source, fetch_ixi, fetch_table
from diffeode.errors import InputError
from diffeode.provenance.checksums import Checksums
from diffeode.provenance.receipt import damage, read_receipt

PERSONS = 120


@pytest.fixture(scope="session")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = tmp_path_factory.mktemp("ixi") / "ixi"
    write_ixi(root, PERSONS, seed=3)
    return root


def files(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_every_scan_of_a_tree(tree):
    scans = list_ixi("ixi", tree)
    t1w, t2w = (
        [scan for scan in scans if scan.modality == modality] for modality in ("T1w", "T2w")
    )
    assert [scan.image.name for scan in t1w] == sorted(
        path.name for path in (tree / "IXI-T1").iterdir()
    )
    assert len(t1w) == PERSONS > len(t2w)
    assert {scan.group for scan in scans} == {"healthy"}
    assert set(IXI_FIXED) <= {scan.subject for scan in t2w}
    assert t1w[0].id == f"sub-{t1w[0].subject}_T1w"
    assert {scan.image.name.split("-")[1] for scan in scans} == {"Guys", "HH", "IOP"}


def test_demographics_are_joined_by_number(tree):
    table = pd.read_excel(tree / "IXI.xls").dropna(subset="AGE").set_index("IXI_ID")
    scans = list_ixi("ixi", tree, ("T1w",))
    listed = [scan for scan in scans if int(scan.subject[3:]) in table.index]
    assert len(scans) > len(listed) == len(table)
    for scan in listed:
        row = table.loc[int(scan.subject[3:])]
        assert (scan.age, scan.sex) == (row["AGE"], "_MF"[int(row["SEX_ID (1=m, 2=f)"])])
    assert all((scan.age, scan.sex) == (None, None) for scan in scans if scan not in listed)


@pytest.mark.parametrize("suffix", [".xls", ".xlsx", ".csv", ".tsv"])
def test_every_format_of_the_table(tmp_path, suffix):
    root = files(tmp_path, "IXI186-Guys-0796-T1.nii.gz")
    table = ixi_table(["IXI186"], np.random.default_rng(1))
    path = root / f"IXI{suffix}"
    write = {".xls": partial(write_xls, path), ".xlsx": lambda t: t.to_excel(path, index=False)}
    write |= {
        end: lambda t, sep=sep: t.to_csv(path, sep=sep, index=False)
        for end, sep in ((".csv", ","), (".tsv", "\t"))
    }
    write[suffix](table)
    (scan,) = list_ixi("ixi", root, ("T1w",))
    assert scan.age == pytest.approx(table["AGE"].max())
    assert scan.sex == "_MF"[table["SEX_ID (1=m, 2=f)"].max()]


def test_flat_or_in_folders_and_other_files_are_left_alone(tmp_path):
    root = files(
        tmp_path,
        "IXI012-HH-1211-T1.nii.gz",
        "T2/IXI012-HH-1211-T2.nii",
        "IXI-PD/IXI012-HH-1211-PD.nii.gz",
    )
    files(root, "IXI012-HH-1211-MRA.nii.gz", "IXI012-HH-1211-DTI-00.nii.gz", "IXI-notes-T1.nii.gz")
    assert [scan.id for scan in list_ixi("ixi", root)] == ["sub-IXI012_T1w", "sub-IXI012_T2w"]
    assert [scan.id for scan in list_ixi("ixi", root, ("PDw",))] == ["sub-IXI012_PDw"]
    assert [scan.age for scan in list_ixi("ixi", root)] == [None, None]


def test_unusable(tmp_path):
    with pytest.raises(InputError, match=r"Dataset ixi has no folder .*absent"):
        list_ixi("ixi", tmp_path / "absent")
    with pytest.raises(
        InputError, match=r"has no scan IXI012-HH-1211-\(T1\|T2\)\.nii\.gz in .*make ixi"
    ):
        list_ixi("ixi", tmp_path)
    root = files(tmp_path, "IXI012-HH-1211-T1.nii.gz")
    with pytest.raises(InputError, match="IXI has no modality 'T1'; did you mean 'T1w'"):
        list_ixi("ixi", root, ("T1",))
    files(root, "IXI-T1/IXI012-HH-1211-T1.nii.gz")
    with pytest.raises(InputError, match=r"two scans named sub-IXI012_T1w: .* keep one"):
        list_ixi("ixi", root)


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        (
            "IXI.csv",
            b"IXI_ID,SEX,AGE\n1,1,30\n",
            r"no column 'SEX_ID \(1=m, 2=f\)'.*; it has: IXI_ID, SEX, AGE",
        ),
        ("IXI.xls", b"<html>not found</html>", r"IXI\.xls cannot be read as a table"),
        ("IXI.xlsx", b"PK\x03\x04 cut off", r"IXI\.xlsx cannot be read as a table"),
        (
            "IXI.xls",
            b"\x09\x00\x04\x00\x07\x00\x10\x00\x03\x00\xff",
            r"IXI\.xls cannot be read as a table",
        ),
        ("IXI.csv", b"", r"IXI\.csv is not a table: it is empty"),
    ],
)
def test_an_unusable_table(tmp_path, name, content, sentence):
    root = files(tmp_path, "IXI012-HH-1211-T1.nii.gz")
    (root / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        list_ixi("ixi", root)


def test_a_table_that_is_named(tmp_path):
    root = files(tmp_path, "IXI012-HH-1211-T1.nii.gz")
    with pytest.raises(InputError, match=r"There is no table .*people\.csv"):
        list_ixi("ixi", root, table=tmp_path / "people.csv")
    (tmp_path / "people.txt").touch()
    with pytest.raises(
        InputError,
        match=r"people\.txt is no table that can be read; give one of \.csv, \.tsv, \.xls, \.xlsx",
    ):
        list_ixi("ixi", root, table=tmp_path / "people.txt")


# ----------------------------------------------------------------------------------------- fetching


@pytest.fixture
def server(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A folder, and the address it is served at."""
    folder = tmp_path / "served"
    folder.mkdir()
    quiet = type("Quiet", (SimpleHTTPRequestHandler,), {"log_message": lambda *arguments: None})
    server = ThreadingHTTPServer(("127.0.0.1", 0), partial(quiet, directory=str(folder)))
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield folder, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()
    thread.join()


def archive(path: Path, members: dict[str, bytes]) -> str:
    """Write a tar file; its MD5."""
    with tarfile.open(path, "w") as tar:
        for name, content in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, streams.BytesIO(content))
    return hashlib.md5(path.read_bytes()).hexdigest()


SCANS = {
    "./IXI012-HH-1211-T1.nii.gz": b"one",
    "IXI-T1/IXI013-HH-1212-T1.nii.gz": b"two",
    "../readme.txt": b"x",
}


def test_an_archive_is_unpacked_and_listed(server, tmp_path):
    folder, address = server
    md5 = archive(folder / "IXI-T1.tar", SCANS)
    lines = []
    fetch_ixi(
        tmp_path / "ixi",
        "IXI-T1",
        lambda *line: lines.append(line),
        Source((f"{address}/IXI-T1.tar",), md5),
    )
    unpacked = tmp_path / "ixi" / "IXI-T1"
    assert sorted(path.name for path in unpacked.iterdir()) == [
        "IXI012-HH-1211-T1.nii.gz",
        "IXI013-HH-1212-T1.nii.gz",
        "receipt.json",
    ]
    assert (unpacked / "IXI013-HH-1212-T1.nii.gz").read_bytes() == b"two"
    assert not (tmp_path / "ixi" / "IXI-T1.tar").exists()
    assert read_receipt(unpacked / "receipt.json")["md5"] == md5
    assert damage(unpacked / "receipt.json", Checksums(thorough=True)) is None
    (unpacked / "IXI012-HH-1211-T1.nii.gz").unlink()
    assert "IXI012-HH-1211-T1.nii.gz is missing" in damage(unpacked / "receipt.json")
    assert any("unpacking" in line for _, line in lines)


def test_an_archive_of_something_else(server, tmp_path):
    folder, address = server
    md5 = archive(folder / "IXI-T1.tar", {"readme.txt": b"x"})
    with pytest.raises(InputError, match=r"IXI-T1\.tar holds no scans of IXI"):
        fetch_ixi(tmp_path, "IXI-T1", lambda *line: None, Source((f"{address}/IXI-T1.tar",), md5))
    (folder / "IXI-T2.tar").write_bytes(b"<html>" * 1000)
    md5 = hashlib.md5((folder / "IXI-T2.tar").read_bytes()).hexdigest()
    with pytest.raises(InputError, match=r"IXI-T2\.tar cannot be unpacked"):
        fetch_ixi(tmp_path, "IXI-T2", lambda *line: None, Source((f"{address}/IXI-T2.tar",), md5))
    assert not (tmp_path / "IXI-T2").exists()


def test_the_table_is_fetched_unless_there_is_one(server, tmp_path):
    folder, address = server
    (folder / "IXI.xls").write_bytes(b"table")
    source = Source((f"{address}/IXI.xls",), hashlib.md5(b"table").hexdigest())
    fetch_table(tmp_path, lambda *line: None, source)
    assert (tmp_path / "IXI.xls").read_bytes() == b"table"
    (tmp_path / "IXI.xls").write_bytes(b"my own")
    fetch_table(tmp_path, lambda *line: None, source)
    assert (tmp_path / "IXI.xls").read_bytes() == b"my own"
