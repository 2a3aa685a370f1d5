"""The benchmark of preparation: its inverted heads, its labels, its page."""

import numpy as np
import pytest
from _preparation_page import write_preparation_page
from _prepare import REFERENCE, _brain_scores, _segmentation_scores, inverted
from _tables import Table
from preparation import cases

from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.prepare.steps.subcortical import STRUCTURES

COSTS = {"cpu_seconds": 70.0, "seconds": 80.0, "peak_memory_mb": 2900.0}
ABOUT = {
    "threads": 1,
    "code": "c",
    "failed": "",
    "machine": "M",
    "torch": "2",
    "date": "2026-01-01",
}


def test_every_structure_has_its_labels_and_none_has_anothers():
    assert set(REFERENCE) == set(STRUCTURES[1:])
    labels = [label for ids in REFERENCE.values() for label in ids]
    assert len(labels) == len(set(labels))


def test_an_inverted_head_is_dark_where_it_was_bright_and_in_the_air():
    values = np.linspace(0, 100, 64, dtype=np.float32)
    turned = inverted(Image(values.reshape(4, 4, 4), Grid((4, 4, 4), np.eye(4)))).data.ravel()
    tissue = values > 10
    assert not turned[values < 9.5].any()
    assert (np.diff(turned[tissue]) <= 0).all()
    assert turned[tissue].min() > 0


def test_every_scan_is_judged_by_its_own_labels(tmp_path):
    """T1w throughout but for one skull-stripped T2w, which is its own mask."""
    for part, count in (("brain", 8), ("segmentation", 7)):
        found = list(cases(part, tmp_path))
        assert len(found) == count == len({(case.dataset, case.scan) for case in found})
        for case in found:
            assert case.part == part
            assert case.image.is_relative_to(tmp_path / case.dataset)
            assert (
                case.inverted == case.scan.endswith("-inverted") == ("inverted" in case.population)
            )
            if case.dataset == "ds000247":
                assert (case.image.name, case.labels.name) == ("T1.mgz", "aseg.mgz")
                continue
            assert case.image.name == f"{case.scan.removesuffix('-inverted')}.nii.gz"
            assert case.image.name.endswith(
                "_T2w.nii.gz" if case.dataset == "openms" else "_T1w.nii.gz"
            )
            expected = None if case.dataset == "openms" else case.image.name.replace("T1w", "dseg")
            assert (case.labels and case.labels.name) == expected
            assert case.labels is None or case.labels.parent == case.image.parent


def test_a_mask_is_scored_by_what_it_misses_and_adds():
    image = Image(np.ones((10, 10, 10)), Grid((10, 10, 10), np.diag([2.0, 2.5, 4.0, 1.0])))
    found, labels = np.zeros((2, 10, 10, 10), dtype=int)
    labels[0, :, :] = 7
    found[0, :4, :] = found[1, :8, :] = 1
    scores = _brain_scores(found > 0, labels, image)
    millilitres = {"found_ml": 2.4, "reference_ml": 2.0, "missed_ml": 1.2, "added_ml": 1.6}
    assert scores == pytest.approx({"dice": 80 / 220, **millilitres})


def test_each_structure_is_scored_by_its_own_labels_of_both_sides():
    image = Image(np.ones((40, 10, 2)), Grid((40, 10, 2), np.eye(4)))
    found, labels = np.zeros((2, *image.grid.shape), dtype=int)
    expected = {}
    for place, (number, ids) in enumerate(REFERENCE.items()):
        labels[place, :, 0], labels[place, :, 1] = ids[0], ids[-1]
        hit = place % 10
        found[place, :hit] = number
        expected[f"dice_{number}"] = 2 * hit / (hit + 10)
    assert _segmentation_scores(found, labels, image) == pytest.approx(expected)
    labels[labels == 14] = 0
    assert "dice_14" not in _segmentation_scores(found, labels, image)


def test_the_page_shows_every_scan_and_means_over_a_population(tmp_path):
    tables = {
        part: Table(tmp_path / f"{part}.tsv", ("scan",)) for part in ("brain", "segmentation")
    }
    volumes = {"found_ml": 1600.0, "reference_ml": 1500.0, "missed_ml": 10.0, "added_ml": 110.0}
    tables["brain"].put(
        {"scan": "head", "population": "adults", "dice": 0.9676} | volumes | COSTS | ABOUT
    )
    tables["brain"].put({"scan": "broken", "population": "adults"} | ABOUT | {"failed": "no head"})
    for scan, dice in (("one", 0.8), ("two", 0.9)):
        structures = {f"dice_{number}": 0.001 * number for number in STRUCTURES[1:]} | {
            "dice_10": dice
        }
        tables["segmentation"].put({"scan": scan, "population": "old"} | structures | COSTS | ABOUT)
    write_preparation_page(tables, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "| `head` | adults | 1 | 0.968 | 1600 | 1500 | 10 | 110 | 70 | 80 | 2900 |" in page
    assert "| structure | 2: old |" in page
    assert "| Thalamus | 0.850 ± 0.071 |" in page
    assert "| Amygdala | 0.018 ± 0.000 |" in page
    assert "| Hippocampus | 0.017 ± 0.000 |" in page
    assert "- broken failed: no head" in page
