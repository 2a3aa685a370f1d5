"""The table of licences names every package that is pinned, with the version that is pinned."""

import re
from importlib import metadata
from pathlib import Path

import licences

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = (REPOSITORY / "docs" / "licences.md").read_text(encoding="utf-8")
ROWS = re.findall(r"^\| (\*{0,2})([\w.-]+)\1 \| (\d[\w.]*) \| (.+) \|$", PAGE, re.M)


def test_the_table_is_that_of_the_lock_file():
    assert {name: version for _, name, version, _ in ROWS} == licences.packages()
    bold = {name.lower().replace("_", "-") for mark, name, _, _ in ROWS if mark}
    assert bold == {name.lower() for name in licences.direct()}


def is_pinned_version(name, version):
    """Return whether the package is installed in the version that is pinned."""
    try:
        return metadata.version(name) == version
    except metadata.PackageNotFoundError:
        return False


def test_a_licence_is_what_the_package_says():
    assert all(stated for *_, stated in ROWS)
    here = [(name, stated) for _, name, version, stated in ROWS if is_pinned_version(name, version)]
    assert {name: licences.licence(name) for name, _ in here} == dict(here)


def test_the_script_changes_nothing_but_its_table(monkeypatch):
    stated = {name: licence for _, name, _, licence in ROWS}
    monkeypatch.setattr(licences, "licence", stated.get)
    assert licences.page_with(licences.table()) == PAGE


def test_every_weight_and_dataset_has_a_row():
    for file in (REPOSITORY / "config" / "weights").glob("*.yaml"):
        assert f"`{file.stem}`" in PAGE
    for name in ("OASIS-3", "IXI", "Neurite-OASIS", "CANDI", "ALBERTs", "openms", "ds000247"):
        assert name in PAGE
