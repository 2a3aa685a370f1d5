"""The bibliography: every citation has its entry, and a file with a fault is refused."""

from pathlib import Path

import pytest

from diffeode.errors import InputError
from diffeode.files.checked_yaml import read_yaml
from diffeode.prepare.described import described
from diffeode.prepare.recipe import recipe_choices
from diffeode.registration.registry import method_class, method_names
from diffeode.study import energy, methods_section
from diffeode.study.bibliography import cited_by, read_bibliography

CONFIG = Path(__file__).resolve().parents[2] / "config"
BIBLIOGRAPHY = read_bibliography(CONFIG / "references.bib")


def citations() -> dict[str, str]:
    """Every citation of the repository, by where it stands."""
    found = {f"method {name}": method_class(name).citation for name in method_names()}
    for kind in ("datasets", "weights"):
        for file in (CONFIG / kind).glob("*.yaml"):
            found[f"{kind} {file.stem}"] = read_yaml(file).get("citation", "")
    for step, choices in recipe_choices().items():
        for choice in choices:
            for place, text in enumerate(described(step, choice).citations):
                found[f"{step} {choice} {place}"] = text
    found |= {f"energy {number}": work for number, work in enumerate(energy.WORKS)}
    for name in ("_HD95", "_NDV", "_WILCOXON", "_HOLM", "_KERBY", "_SNAKEMAKE"):
        found[name] = getattr(methods_section, name)
    return {where: text for where, text in found.items() if text and not text.startswith("None:")}


@pytest.mark.parametrize("where", citations())
def test_every_citation_has_an_entry_for_each_of_its_works(where):
    text = citations()[where]
    works = text.count("; ") + text.count(" With: ") + ("Wu, Y. et al." in text) + 1
    assert len(cited_by([text], BIBLIOGRAPHY)) == works


def test_every_entry_is_cited_somewhere():
    used = {entry.key for entry in cited_by(citations().values(), BIBLIOGRAPHY)}
    assert used == {entry.key for entry in BIBLIOGRAPHY}


def test_dois_have_the_form_of_a_doi():
    dois = [entry.doi for entry in BIBLIOGRAPHY if entry.doi]
    assert len(set(dois)) == len(dois) > 30
    for doi in dois:
        prefix, _, suffix = doi.partition("/")
        assert prefix.startswith("10.")
        assert suffix
        assert " " not in doi


def test_every_entry_has_a_doi_or_an_address():
    lacking = [entry.key for entry in BIBLIOGRAPHY if not entry.link]
    assert lacking == []
    for entry in BIBLIOGRAPHY:
        assert entry.link.startswith(f"doi:{entry.doi}" if entry.doi else "http")


def test_a_title_is_matched_by_whole_words(tmp_path):
    path = tmp_path / "two.bib"
    path.write_text(
        "% a comment\n@misc{one,\n  title = {Free Surfer},\n  shorttitle = {MUSE},\n}\n"
    )
    (entry,) = read_bibliography(path)
    assert entry.is_meant_by("X, free-surfer, 2012")
    assert entry.is_meant_by("Doshi, MUSE, 2016")
    assert not entry.is_meant_by("Free Surfers of the museum")
    assert entry.doi == ""
    assert entry.text.startswith("@misc{one,")


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("@misc{a,\n title = {A},\n}\n@misc{a,\n title = {B},\n}\n", "two entries with the key a"),
        ("@misc{a,\n year = {2000},\n}\n", "The entry a of .* has no title"),
        ("@misc{a,\n title = {A},\n", "The entry a of .* has no end"),
        ("@misc{a, title = {A}}\n", "Line 1 of .* is neither"),
        ("@misc{a,\n title = {A},\n year 2000\n}\n", "Line 3 of .* write one field a line"),
    ],
)
def test_a_fault_is_refused(tmp_path, text, sentence):
    path = tmp_path / "bad.bib"
    path.write_text(text)
    with pytest.raises(InputError, match=sentence):
        read_bibliography(path)
