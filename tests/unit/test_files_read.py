"""What is wrong with a table or a YAML file is said in one sentence, by every reader of one."""

from collections.abc import Callable
from pathlib import Path

import pytest

from diffeode.datasets.demographics import Columns, read_demographics
from diffeode.datasets.exclusions import read_exclusions
from diffeode.datasets.listed import COLUMNS as COLUMNS_OF_SCANS
from diffeode.datasets.listed import read_list
from diffeode.datasets.pairs import draw_pairs
from diffeode.datasets.scan import Scan
from diffeode.errors import InputError
from diffeode.evaluation.labels import read_label_table
from diffeode.files.checked_yaml import parse_yaml, read_mapping
from diffeode.files.landmarks import read_landmarks
from diffeode.files.tables import (
    ID,
    NAME,
    NUMBER,
    SUFFIXES,
    TEXT,
    read_numbers,
    read_table,
    read_words,
    write_rows,
)
from diffeode.learning.descriptor.material import read_training
from diffeode.registration import runs
from diffeode.statistics.tidy import read_tidy
from diffeode.study.files import load_study
from diffeode.weights import catalogue

REPOSITORY = Path(__file__).resolve().parents[2]

Reader = Callable[[Path], object]
TABLES: dict[str, tuple[Reader, tuple[str, ...]]] = {
    "label table": (read_label_table, ("id", "name", "abbreviation", "hemisphere", "group")),
    "landmarks": (read_landmarks, ("name", "x", "y", "z")),
    "exclusions": (read_exclusions, ("scan", "reason")),
    "scans": (
        lambda path: read_list("listed", path.parent, path, ["T1w"]),
        tuple(COLUMNS_OF_SCANS),
    ),
    "pairs": (lambda path: draw_pairs([], [], path, 0), ("fixed", "moving")),
    "metrics": (
        read_tidy,
        ("experiment", "pair", "run", "fixed", "moving", "metric", "label", "label_name", "value"),
    ),
}
"""What reads a table, and the columns that it must have."""

WRONG = {
    "nothing": (lambda names: b"", "is not a table: it is empty"),
    "blank lines": (lambda names: b"\n \n\r\n", "is not a table: it is empty"),
    "no column": (lambda names: _line(names[1:]), "has no column {0!r}"),
    "a misspelt column": (
        lambda names: _line([f"{names[0]}s", *names[1:]]),
        "has no column {0!r}; did you mean '{0}s'",
    ),
    "a column twice": (
        lambda names: _line([*names, names[0]]),
        "has the column {0!r} twice; rename or remove one",
    ),
    "commas": (lambda names: ",".join(names).encode(), "has no tabs in its first line"),
    "too few cells": (
        lambda names: _line(names) + b"\n" + _line(names[:-1]),
        "has too few cells in line 3",
    ),
    "too many cells": (
        lambda names: _line(names) + _line([*names, "more"]),
        "has too many cells in line 2",
    ),
    "Latin-1": (
        lambda names: _line(names) + "caf\xe9".encode("latin-1"),
        "cannot be read as a table (line 2 is not text in UTF-8)",
    ),
    "UTF-16": (
        lambda names: _line(names).decode().encode("utf-16"),
        "cannot be read as a table (line 1 is not text in UTF-8)",
    ),
    "bytes of no text": (lambda names: _line(names) + b"\0\0", "has bytes of value 0"),
    "an open quotation mark": (
        lambda names: _line(names) + b'"' + _line(names),
        "a quotation mark begins a cell and no other one ends it",
    ),
    "quotation marks around two lines": (
        lambda names: _line(names) + _line([*names[:-1], '"a']) + b'b"\n',
        "has a cell of several lines in column {1!r}, which begins with 'a'",
    ),
}


def _line(cells: tuple[str, ...] | list[str]) -> bytes:
    return ("\t".join(cells) + "\n").encode()


def refusal(read: Reader, path: Path) -> str:
    """What ``read`` says of ``path``: one sentence with its name."""
    with pytest.raises(InputError) as error:
        read(path)
    message = str(error.value)
    assert str(path) in message
    assert "\n" not in message
    return message


@pytest.mark.parametrize("wrong", WRONG.values(), ids=WRONG)
@pytest.mark.parametrize("table", TABLES.values(), ids=TABLES)
def test_every_reader_says_what_is_wrong_with_a_table(tmp_path, table, wrong):
    (read, names), (content, said) = table, wrong
    (tmp_path / "table.tsv").write_bytes(content(names))
    expected = said.format(names[0], names[-1])
    if content(names).count(b"\t") == 0 and said.startswith("has no column"):
        expected = expected.partition(";")[0]
    assert expected in refusal(read, tmp_path / "table.tsv")


def test_a_table_keeps_texts_as_they_are(tmp_path):
    path = tmp_path / "table.tsv"
    texts = ["NA", "007", "1e5", "1.0", "None", "nan", "true", "#1", " spaced ", "Größe", "2/1"]
    lines = [f"{text}\t{number}" for number, text in enumerate(texts)]
    for mark, end in ((b"", "\n"), (b"\xef\xbb\xbf", "\r\n"), (b"", "\r")):
        path.write_bytes(mark + end.join(["name\tnumber", "", *lines, "\t", ""]).encode())
        table = read_table(path, {"name": NAME, "number": NUMBER})
        assert table["name"].tolist() == texts
        assert table["number"].tolist() == list(range(len(texts)))


def test_a_table_without_rows_has_its_columns(tmp_path):
    (tmp_path / "table.tsv").write_text("other\tname\n")
    table = read_table(tmp_path / "table.tsv", {"name": NAME})
    assert table.columns.tolist() == ["name"]
    assert table.empty


def test_a_missing_column_is_answered_by_those_that_are_there_once(tmp_path):
    path = tmp_path / "table.tsv"
    path.write_text("weight\tsex\n1\tF\n")
    with pytest.raises(InputError) as refused:
        read_table(path, {"quotient": NUMBER})
    assert str(refused.value) == f"{path} has no column 'quotient'; it has: weight, sex."


def test_an_optional_column_is_read_where_it_is_there(tmp_path):
    """Without it the table has the other columns; a required one may not be missing."""
    columns, path = {"name": NAME, "number": NUMBER}, tmp_path / "table.tsv"
    path.write_text("name\na\n")
    assert read_table(path, columns, optional=["number"]).columns.tolist() == ["name"]
    with pytest.raises(InputError, match="has no column 'number'"):
        read_table(path, columns)
    path.write_text("name\tnumber\na\t2\n")
    assert read_table(path, columns, optional=["number"])["number"].tolist() == [2]
    path.write_text("name\tnumber\na\tb\n")
    with pytest.raises(InputError, match="column 'number'; give a finite number"):
        read_table(path, columns, optional=["number"])


@pytest.mark.parametrize(
    ("kind", "cell", "wanted"),
    [
        (NAME, " ", "a name"),
        (NUMBER, "1,5", "a finite number"),
        (NUMBER, "inf", "a finite number"),
        (NUMBER, "", "a finite number"),
        (NUMBER, "True", "a finite number"),
        (ID, "0", "a whole number from 1 on"),
        (ID, "1e5", "a whole number from 1 on"),
        (ID, "1.0", "a whole number from 1 on"),
        (ID, "9" * 30, "a whole number from 1 on"),
    ],
)
def test_a_cell_of_another_kind_is_named_by_line_and_column(tmp_path, kind, cell, wanted):
    path = tmp_path / "table.tsv"
    path.write_text(f"# about\n\nnote\tvalue\nx\t1\n\n# more\ny\t{cell}\nz\t2\n")
    with pytest.raises(InputError) as error:
        read_table(path, {"note": TEXT, "value": kind}, comments=True)
    assert str(error.value) == f"{path} has {cell!r} in line 7, column 'value'; give {wanted}."


def test_a_value_twice_is_named_by_both_lines(tmp_path):
    path = tmp_path / "table.tsv"
    path.write_text("name\n1\n01\n\n1\n")
    with pytest.raises(InputError, match=r"lists name '1' twice, in lines 2 and 5; keep one row\."):
        read_table(path, {"name": NAME}, unique=["name"])


def test_numbers_are_read_as_they_were_written(tmp_path):
    path = tmp_path / "numbers.tsv"
    rows = [{"run": "007", "p": 0.25}, {"run": "NA"}, {"run": "x", "p": -1.5}]
    write_rows(path, ["run", "p"], rows)
    assert path.read_bytes() == b"run\tp\n007\t0.25\nNA\t\nx\t-1.5\n"
    table = read_numbers(path, texts=("run",))
    assert table["run"].tolist() == ["007", "NA", "x"]
    assert table["p"].isna().tolist() == [False, True, False]
    assert table["p"].dropna().tolist() == [0.25, -1.5]
    path.write_text("run\tp\nx\tlow\n")
    with pytest.raises(InputError, match="has 'low' in line 2, column 'p'; give a number"):
        read_numbers(path, texts=("run",))


@pytest.mark.parametrize("suffix", [".csv", ".tsv", ".xlsx"])
def test_a_person_may_be_called_na_and_numbers_keep_their_zeros(tmp_path, suffix):
    """pandas takes ``NA`` for a missing value and ``007`` for 7."""
    import pandas as pd

    assert suffix in SUFFIXES
    path = tmp_path / f"people{suffix}"
    rows = [("NA", "61"), ("007", "NA"), ("1e5", ""), ("", "5"), ("n/a", "6")]
    table = pd.DataFrame(rows, columns=["subject", "age"])
    if suffix == ".xlsx":
        table.to_excel(path, index=False)
    else:
        table.to_csv(path, sep="\t" if suffix == ".tsv" else ",", index=False)
    people = read_demographics(path, Columns("subject", age="age"))
    assert set(people.visits) == {"NA", "007", "1e5"}
    assert people.of("NA").age == 61
    assert people.of("007").age is None


def test_a_foreign_table_may_have_what_nobody_asks_for(tmp_path):
    path = tmp_path / "people.csv"
    path.write_text('subject,note,note,age\n1,"two\nlines",,30\n2\n')
    people = read_demographics(path, Columns("subject", age="age"))
    assert (people.of("1").age, people.of("2").age) == (30, None)
    with pytest.raises(InputError, match="has the column 'note' twice"):
        read_demographics(path, Columns("subject", group="note"))
    assert read_words(path).shape == (2, 4)


def test_a_scan_may_be_excluded_that_is_called_na(tmp_path):
    text = "# by hand\nscan\treason\nNA\tmoved # twice\nsub-007\tNA\n"
    (tmp_path / "bad.tsv").write_text(text, encoding="utf-8-sig")
    assert read_exclusions(tmp_path / "bad.tsv") == {"NA", "007"}


def test_a_pair_may_be_of_scans_that_are_numbers(tmp_path):
    def scan(subject: str, modality: str) -> Scan:
        file = Path(f"sub-{subject}_{modality}.nii.gz")
        return Scan("study", subject, None, modality, file, None, None, None)

    fixed, moving = scan("007", "T2w"), scan("1e5", "T1w")
    (tmp_path / "pairs.tsv").write_bytes(b"\xef\xbb\xbffixed\tmoving\r\nsub-007_T2w\tsub-1e5_T1w")
    (pair,) = draw_pairs([fixed], [moving], tmp_path / "pairs.tsv", seed=0)
    assert pair.id == "sub-007_T2w__sub-1e5_T1w"


# --------------------------------------------------------------------------------------------- YAML


def _run(path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(runs, "runs_folder", lambda: path.parent)
    return runs.load_run(path.stem)


def _weights(path: Path, monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(catalogue, "_catalogue", lambda: path.parent)
    return catalogue.load_weights.__wrapped__(path.stem)


MAPPINGS = {
    "run": (_run, "method"),
    "weights": (_weights, "urls"),
    "training": (lambda path, _: read_training(path), "scans"),
    "study": (lambda path, _: load_study(path, REPOSITORY), "runs"),
    "any": (lambda path, _: read_mapping(path), None),
}
"""What reads a YAML file, and one of its keys; None where it takes any."""

BROKEN = {
    "nothing": (b"", "is empty; write keys and values"),
    "a comment": (b"# later\n", "is empty; write keys and values"),
    "a list": (b"- a\n", "does not hold keys and values"),
    "a word": (b"a\n", "does not hold keys and values"),
    "a broken list": (b"a: 1\nb: [\n", "is not valid YAML (line 3, column 1: "),
    "a tab": (b"a:\n\t- b\n", "is not valid YAML (line 2, column 1: "),
    "a key twice": (b"a: 1\nb: 2\na: 1\n", "(line 3, column 1: the key 'a' comes twice; keep one)"),
    "an inner key twice": (b"a: {b: 1, 'b': 2}\n", "the key 'b' comes twice; keep one"),
    "an inner key of a list twice": (b"a: [{b: 1, b: 2}]\n", "the key 'b' comes twice"),
    "two documents": (b"a: 1\n---\nb: 2\n", "is not valid YAML"),
    "an object": (b"a: !!python/name:os.system\n", "is not valid YAML (line 1, column 4: "),
    "a date that is none": (b"a: 2026-13-45\n", "is not valid YAML (month must be in 1..12"),
    "too many brackets": (b"[" * 100_000, "is not valid YAML"),
    "Latin-1": ("a: \xe9\n".encode("latin-1"), "is not text in UTF-8 (byte 3); save it as such."),
    "UTF-16": ("a: 1\n".encode("utf-16"), "is not text in UTF-8 (byte 0)"),
}


@pytest.mark.parametrize("broken", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("mapping", MAPPINGS.values(), ids=MAPPINGS)
def test_every_reader_says_what_is_wrong_with_a_yaml_file(tmp_path, monkeypatch, mapping, broken):
    (read, _), (content, said) = mapping, broken
    path = tmp_path / "mine.yaml"
    path.write_bytes(content)
    assert said in refusal(lambda file: read(file, monkeypatch), path)


@pytest.mark.parametrize("name", [name for name, (_, key) in MAPPINGS.items() if key])
def test_a_misspelt_key_is_answered_with_the_nearest(tmp_path, monkeypatch, name):
    read, key = MAPPINGS[name]
    path = tmp_path / "mine.yaml"
    path.write_text(f"{key}x: 1\n")
    said = refusal(lambda file: read(file, monkeypatch), path)
    assert f"has an unknown key '{key}x'; did you mean '{key}'" in said


def test_a_key_of_the_catalogue_has_its_kind(tmp_path, monkeypatch):
    entry = (REPOSITORY / "config" / "weights" / "meshnet-mindgrab.yaml").read_text()
    path = tmp_path / "mine.yaml"
    path.write_text(entry)
    assert _weights(path, monkeypatch).name == "mine"
    path.write_text(entry.replace("urls:\n  - ", "urls: "))
    said = refusal(lambda file: _weights(file, monkeypatch), path)
    assert "give a list of texts" in said
    path.write_text(entry.replace("licence", "# licence"))
    said = refusal(lambda file: _weights(file, monkeypatch), path)
    assert "lacks the key 'licence'; give a text" in said


def test_a_training_file_may_leave_its_settings_out(tmp_path):
    (tmp_path / "mine.yaml").write_bytes(b"\xef\xbb\xbfscans: [a]\nlabels:\r\n")
    training = read_training(tmp_path / "mine.yaml")
    assert (training.scans, training.labels, training.settings.steps) == (("a",), (), 2000)
    (tmp_path / "mine.yaml").write_text("scans: [a]\nsettings: {seed: 3}\n")
    training = read_training(tmp_path / "mine.yaml")
    assert (training.settings.seed, training.settings.criterion) == (3, "validation_loss")


@pytest.mark.parametrize(
    ("settings", "wanted"),
    [
        ("seed: -1", "a whole number from 0 to 2147483647"),
        ("seed: 2147483648", "a whole number from 0 to 2147483647"),
        ("criterion: validation_retrieval", "one of validation_loss, "),
        ("criterion: validation_los", "one of validation_loss, "),
    ],
)
def test_a_setting_of_a_training_that_no_step_could_use_is_refused(tmp_path, settings, wanted):
    """The least value of the criterion is kept, and of retrieval that would be the worst."""
    (tmp_path / "mine.yaml").write_text(f"scans: [a]\nsettings: {{{settings}}}\n")
    said = refusal(read_training, tmp_path / "mine.yaml")
    assert f"has {settings} under settings; give {wanted}" in said.replace("'", "")


def test_who_changes_what_was_read_changes_it_for_nobody_else(tmp_path):
    file = tmp_path / "run.yaml"
    file.write_text("levels: {factors: [2, 1]}\n", encoding="utf-8")
    read_mapping(file)["levels"]["factors"].append(0.5)
    assert read_mapping(file) == {"levels": {"factors": [2, 1]}}
    file.write_text("levels: {factors: [4]}\n", encoding="utf-8")
    assert read_mapping(file) == {"levels": {"factors": [4]}}


def test_merged_keys_may_be_set_again():
    """YAML's ``<<`` is there to be overridden."""
    text = "a: &a {x: 1, y: 2}\nz: &z {z: 4}\nb: {<<: *a, <<: *z, y: 3}\n"
    assert parse_yaml(text, "text")["b"] == {"x": 1, "y": 3, "z": 4}
