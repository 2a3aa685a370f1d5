"""The inventory of a dataset says in words what is here, what is missing and how to get it."""

import re
from pathlib import Path

import pytest
from trees import CDR_TABLE, write_ixi, write_oasis3

from diffeode.cli import main
from diffeode.provenance.receipt import write_receipt
from diffeode.study.inventory import Inventory, dataset_names, description, overview, take_inventory

REPOSITORY = Path(__file__).resolve().parents[2]


def said(inventory: Inventory) -> dict[str, str]:
    """Return the lines of a description that stand under a name."""
    lines = [line[2:] for line in description(inventory) if line.startswith("  ")]
    return {line[:11].strip(): line[12:] for line in lines}


def test_every_dataset_has_a_file_that_is_right():
    names = dataset_names(REPOSITORY)
    assert {"oasis3", "ixi", "neurite-oasis", "candi", "albert", "openms", "virtual"} <= set(names)
    lines = overview([take_inventory(name, REPOSITORY) for name in names])
    assert [line.split()[0] for line in lines[1 : 1 + len(names)]] == names


def test_oasis3(tmp_path, monkeypatch):
    monkeypatch.setenv("OASIS3", str(tmp_path / "oasis3"))
    absent = take_inventory("oasis3", REPOSITORY)
    assert absent.problem.startswith(
        f"Dataset oasis3 has no folder {tmp_path / 'oasis3'}: ask for it at https://"
    )
    assert "\n" not in absent.problem

    write_oasis3(tmp_path / "oasis3", 40, seed=5)
    there = take_inventory("oasis3", REPOSITORY)
    words = said(there)
    t1w, t2w = (
        sum(scan.modality == modality for scan in there.scans) for modality in ("T1w", "T2w")
    )
    assert (words["persons"], words["sessions"], words["T1w"], words["T2w"]) == (
        "40",
        str(t1w),
        str(t1w),
        str(t2w),
    )
    assert words["no T2w"].startswith(f"{t1w - t2w} of {t1w} sessions: sub-OAS3")
    assert words["groups"].startswith("healthy ")
    assert words["groups"].count(",") == 4
    ungrouped = sum(scan.group is None for scan in there.scans)
    assert ungrouped > 0
    assert words["no group"].startswith(f"{ungrouped} of {len(there.scans)} scans: ")
    assert words["table"].endswith(CDR_TABLE)


def test_ixi_and_whether_it_is_complete(tmp_path, monkeypatch):
    monkeypatch.setenv("IXI", str(tmp_path))
    write_ixi(tmp_path, 20, seed=5)
    folder = tmp_path / "IXI-T1"
    names = sorted(path.name for path in folder.iterdir())
    assert "IXI-T1" not in said(take_inventory("ixi", REPOSITORY))
    write_receipt(folder, names, {})
    assert (
        said(take_inventory("ixi", REPOSITORY))["IXI-T1"] == "complete, 20 files as in its tar file"
    )
    (folder / names[3]).unlink()
    assert said(take_inventory("ixi", REPOSITORY))["IXI-T1"] == f"{folder / names[3]} is missing"


def test_the_command_line(tmp_path, monkeypatch, capsys):
    for variable in ("OASIS3", "IXI"):
        monkeypatch.setenv(variable, str(tmp_path / variable))
    write_ixi(tmp_path / "IXI", 10, seed=5)
    monkeypatch.chdir(REPOSITORY / "docs")
    assert main(["datasets"]) == 0
    shown = capsys.readouterr().out
    assert re.search(r"^ixi +ixi +10 persons: 10 T1w, ", shown, flags=re.MULTILINE)
    assert "ask for it at https://sites.wustl.edu/oasisbrains" in shown
    assert main(["datasets", "ixi"]) == 0
    assert "licence     CC BY-SA 3.0" in capsys.readouterr().out
    assert main(["datasets", "oasis"]) == 2
    assert "There is no dataset 'oasis'; did you mean 'oasis3'" in capsys.readouterr().err


@pytest.mark.parametrize("name", ["albert", "openms"])
def test_scans_that_are_here(name, data_root, monkeypatch):
    monkeypatch.setenv("DIFFEODE_DATA", str(data_root))
    inventory = take_inventory(name, REPOSITORY)
    assert inventory.problem is None
    assert said(inventory)["T1w"] == said(inventory)["T2w"]
