"""Tables as pages: their content, and that no part of it is taken for markup."""

import re

import pandas as pd

from diffeode.statistics.export import write_page


def test_numbers_are_rounded_and_headed_as_elsewhere(tmp_path):
    frame = pd.DataFrame({"run": ["a"], "dice_mean": [0.71239], "dice_sd": [0.02]})
    write_page(frame, tmp_path / "table.html", "A caption")
    page = (tmp_path / "table.html").read_text(encoding="utf-8")
    assert "<p>A caption</p>" in page
    assert '<th class="number">Dice</th>' in page
    assert '<td class="number">0.712 ± 0.020</td>' in page


def test_text_is_no_markup(tmp_path):
    write_page(pd.DataFrame({"reason": ["x < y & z"]}), tmp_path / "table.html", "a < b")
    page = (tmp_path / "table.html").read_text(encoding="utf-8")
    assert "a &lt; b" in page
    assert "x &lt; y &amp; z" in page


def test_an_empty_table_says_so(tmp_path):
    write_page(pd.DataFrame({"run": []}), tmp_path / "table.html", "Failures")
    assert "No rows." in (tmp_path / "table.html").read_text(encoding="utf-8")


def test_the_best_is_strong_and_what_others_report_is_set_apart(tmp_path):
    frame = pd.DataFrame({"dice_mean": [0.7, 0.8], "reported Dice": ["0.9 (a paper)", ""]})
    write_page(frame, tmp_path / "table.html", "A caption", bold=["dice"])
    page = (tmp_path / "table.html").read_text(encoding="utf-8")
    assert page.count("<strong>") == page.count("<strong>0.800</strong>") == 1
    assert '<td class="reported">0.9 (a paper)</td>' in page
    assert ".reported {" in page


def test_the_rows_of_an_experiment_stand_under_its_title(tmp_path):
    frame = pd.DataFrame(
        {
            "experiment": ["A < B", "A < B", "Second", "Second"],
            "method": ["one", "two", "one", "two"],
            "dice_mean": [0.7, 0.8, 0.6, 0.5],
        }
    )
    write_page(frame, tmp_path / "table.html", "A caption", bold=["dice"])
    page = (tmp_path / "table.html").read_text(encoding="utf-8")
    rows = [
        re.findall("<t[hd].*?>(.*?)</t[hd]>", row)
        for row in re.findall("<tr.*?</tr>", page, re.DOTALL)
    ]
    assert rows == [
        ["method", "Dice"],
        ["A &lt; B"],
        ["one", "0.700"],
        ["two", "<strong>0.800</strong>"],
        ["Second"],
        ["one", "<strong>0.600</strong>"],
        ["two", "0.500"],
    ]
    assert page.count('<tr class="experiment"><th colspan="2">') == 2


def test_experiments_of_one_row_each_keep_their_column(tmp_path):
    frame = pd.DataFrame({"experiment": ["First", "Second"], "pairs": [3, 5]})
    write_page(frame, tmp_path / "table.html", "A caption")
    page = (tmp_path / "table.html").read_text(encoding="utf-8")
    assert '<td class="number">First</td><td class="number">3</td>' in page
    assert 'class="experiment"' not in page
