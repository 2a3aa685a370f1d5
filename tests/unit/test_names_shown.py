"""Every figure shows names of files and groups unchanged, whatever characters they have."""

import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

import diffeode.figures
from diffeode.cli import main
from diffeode.figures import style
from diffeode.figures.training_curves import training_curves
from diffeode.files import io
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.names import readable, short

NAMES = [
    r"t1_$\frac$",
    "$x$",
    "$",
    r"\$5",
    "100 % {a} {0}",
    'it\'s "it" `it`',
    "-o",
    "_private",
    "ünï 日本",
    r"back\slash \n",
    "a^b_c~&#<b>",
]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("kind", ["png", "svg"])
def test_every_kind_of_text_takes_every_name(tmp_path, name, kind):
    with style.page(tmp_path / f"figure.{kind}", 3.0, 2.0) as figure:
        panel = figure.add_subplot()
        panel.plot([1, 2], [1, 2])
        handles = style.legend_handles(style.looks({"run": name}).values())
        texts = [
            figure.suptitle(name),
            panel.set_xlabel(name),
            panel.annotate(name, (1, 1)),
            figure.text(0, 0, name),
            *figure.legend(handles=handles).get_texts(),
        ]
        panel.set_xticks([1, 2], [name, name])
        style.set_titles([panel], [name])
        texts += panel.get_xticklabels()
        shown = {text._preprocess_math(text.get_text()) for text in texts}
        (title,) = {panel.get_title(loc=place) for place in ("left", "center")} - {""}
    assert shown == {(name, False)}
    assert title.split() == name.split()
    assert (tmp_path / f"figure.{kind}").stat().st_size > 0


def test_no_figure_is_drawn_past_the_page():
    """Every figure keeps within its page."""
    for file in Path(diffeode.figures.__file__).parent.glob("*.py"):
        text = file.read_text(encoding="utf-8")
        assert "pyplot" not in text
        assert ("Figure(" in text) == (file.name == "style.py"), file
        assert ("savefig(" in text) == (file.name == "style.py"), file


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        (os.fsdecode(b"bad\xff.nii.gz"), r"bad\xff.nii.gz"),
        ("two\nlines\t\x1b[31m", r"two\nlines\t\x1b[31m"),
        ("half of a pair: \ud83d", r"half of a pair: \ud83d"),
        *((name, name) for name in NAMES),
    ],
)
def test_what_cannot_be_written_is_spelled_out(name, shown):
    assert readable(name) == shown


def test_a_number_that_python_does_not_write_out_is_shown_as_one():
    assert short({"seed": 16**5000}) == "a number of thousands of digits"


def test_a_reason_that_names_a_strange_file_is_drawn(tmp_path):
    style.say(tmp_path / "figure.png", "title\nfailed: There is no file bad\udcff_$x.nii.gz.")
    assert (tmp_path / "figure.png").is_file()


def test_a_training_called_by_formulas_has_its_curves(tmp_path):
    pd.DataFrame({"step": [1, 2], "loss_$x$": [2.0, 1.0]}).to_csv(
        tmp_path / "curves.tsv", sep="\t", index=False
    )
    training_curves(tmp_path / "curves.tsv", r"$\frac$", tmp_path / "curves.png", "loss_$x$")
    assert (tmp_path / "curves.png").is_file()


@pytest.mark.parametrize("name", [r"t1_$\frac$", "bad\udcff", "two\nlines", "-dash", "{a} % 'b'"])
def test_a_registration_of_a_strange_name_has_its_picture(tmp_path, capsys, name):
    inside = np.linalg.norm(np.indices((16, 16, 16)) - 7.5, axis=0) < 6
    data = np.where(inside, np.random.default_rng(0).uniform(100, 900, inside.shape), 0)
    scan = tmp_path / f"{name}.nii.gz"
    io.write_image(scan, Image(data, Grid(data.shape, np.diag([8.0, 8, 8, 1]))))
    out = tmp_path / f"out {name}"
    arguments = [
        "register",
        str(scan),
        str(scan),
        "-o",
        str(out),
        "--method",
        "identity",
        "--init",
        "identity",
    ]
    assert main(arguments) == 0
    assert "overview" not in capsys.readouterr().err
    assert (out / "overview.png").is_file()
