"""Lists of excluded scans, and how flags come into them."""

import pandas as pd
import pytest

from diffeode.cli import main
from diffeode.datasets.exclusions import read_exclusions
from diffeode.evaluation.preparation import flag

LIST = "# left out by hand\nscan\treason\nIXI012\tghosting"


def prepared(tmp_path, *volumes):
    """The table that a preparation leaves: one scan for each brain volume."""
    rows = [
        {
            "scan": f"sub-{number:02}_T1w",
            "modality": "T1w",
            "volume_ml": volume,
            "overlap": 0.95,
            "nmi": 1.2,
            "t1w_correlation": 0.8,
            "ventricle_ratio": 0.3,
            "edge_percent": 0.0,
        }
        for number, volume in enumerate(volumes, 1)
    ]
    path = tmp_path / "preparation.tsv"
    flag(pd.DataFrame(rows), adults=True).to_csv(path, sep="\t", index=False)
    return path


def test_flagged_scans_come_below_what_was_listed_by_hand(tmp_path, capsys):
    table, to = prepared(tmp_path, 1400, 20, 3000), tmp_path / "list.tsv"
    to.write_text(LIST)
    assert main(["exclude", str(table), "--to", str(to)]) == 0
    text = to.read_text()
    assert text.startswith(LIST + "\n")
    assert read_exclusions(to) == {"IXI012", "02_T1w", "03_T1w"}
    assert "02_T1w\tbrain volume 20 ml, outside 250 to 2300 ml\n" in text
    assert "2 scans were added" in capsys.readouterr().out
    assert main(["exclude", str(table), "--to", str(to)]) == 0
    assert to.read_text() == text
    assert "0 scans were added" in capsys.readouterr().out


def test_rows_are_added_in_the_columns_that_a_list_has(tmp_path):
    to = tmp_path / "list.tsv"
    to.write_text('# by hand\n"reason"\tseen by\tscan\nghosting\tme\tIXI012\n')
    assert main(["exclude", str(prepared(tmp_path, 1400, 20)), "--to", str(to)]) == 0
    assert read_exclusions(to) == {"IXI012", "02_T1w"}


def test_a_scan_on_the_list_of_those_to_keep_is_not_excluded(tmp_path):
    table, to, keep = prepared(tmp_path, 20, 3000), tmp_path / "new.tsv", tmp_path / "keep.tsv"
    keep.write_text("scan\treason\nsub-01_T1w\tlooked at: the mask is right\n")
    assert main(["exclude", str(table), "--to", str(to), "--keep", str(keep)]) == 0
    assert read_exclusions(to) == {"02_T1w"}


@pytest.mark.parametrize("name", ["01", "sub-01", "01_T1w"])
def test_the_list_of_those_to_keep_may_name_persons(tmp_path, capsys, name):
    table, to, keep = prepared(tmp_path, 20, 3000), tmp_path / "new.tsv", tmp_path / "keep.tsv"
    keep.write_text(f"scan\treason\n{name}\tlooked at\n")
    assert main(["exclude", str(table), "--to", str(to), "--keep", str(keep)]) == 0
    assert read_exclusions(to) == {"02_T1w"}
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("name", ["1", "01_T2w", "01_ses-a"])
def test_a_name_to_keep_that_means_nobody_is_said(tmp_path, capsys, name):
    table, to, keep = prepared(tmp_path, 20, 3000), tmp_path / "new.tsv", tmp_path / "keep.tsv"
    keep.write_text(f"scan\treason\n02\tlooked at\n{name}\tlooked at\n")
    assert main(["exclude", str(table), "--to", str(to), "--keep", str(keep)]) == 0
    assert f"in the tables is called '{name}', as {keep} says" in capsys.readouterr().err
    assert read_exclusions(to) == {"01_T1w"}


@pytest.mark.parametrize(
    ("table", "listed", "keep", "sentence"),
    [
        ("name\tflags\na\tb\n", None, None, "no column 'scan'"),
        ("scan\tvolume_ml\na\t1\n", None, None, "no column 'flags'"),
        (None, "name\treason\na\tb\n", None, "no column 'scan'"),
        (None, None, "scan\treason\na\t\n", "reason"),
    ],
)
def test_an_unusable_table_changes_nothing(tmp_path, capsys, table, listed, keep, sentence):
    given, to = prepared(tmp_path, 20), tmp_path / "list.tsv"
    if table:
        given.write_text(table)
    if listed:
        to.write_text(listed)
    options = []
    if keep:
        (tmp_path / "keep.tsv").write_text(keep)
        options = ["--keep", str(tmp_path / "keep.tsv")]
    assert main(["exclude", str(given), "--to", str(to), *options]) == 2
    assert sentence in capsys.readouterr().err
    assert (to.read_text() if to.exists() else None) == listed
