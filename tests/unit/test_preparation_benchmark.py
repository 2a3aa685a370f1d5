"""The benchmark of preparation: its inverted heads, its labels, its page."""

import numpy as np
from _preparation_page import write_preparation_page
from _prepare import REFERENCE, inverted
from _tables import Table

from diffeode.image import Image
from diffeode.prepare.subcortical import STRUCTURES
from diffeode.space import Grid

COSTS = {"cpu_seconds": 70.0, "seconds": 80.0, "peak_memory_mb": 2900.0}
ABOUT = {"threads": 1, "code": "c", "failed": "", "machine": "M", "torch": "2", "date": "2026-01-01"}


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


def test_the_page_shows_every_scan_and_means_over_a_population(tmp_path):
    tables = {part: Table(tmp_path / f"{part}.tsv", ("scan",)) for part in ("brain", "segmentation")}
    volumes = {"found_ml": 1600.0, "reference_ml": 1500.0, "missed_ml": 10.0, "added_ml": 110.0}
    tables["brain"].put({"scan": "head", "population": "adults", "dice": 0.9676} | volumes | COSTS | ABOUT)
    tables["brain"].put({"scan": "broken", "population": "adults"} | ABOUT | {"failed": "no head"})
    for scan, dice in (("one", 0.8), ("two", 0.9)):
        tables["segmentation"].put({"scan": scan, "population": "old", "dice_10": dice} | COSTS | ABOUT)
    write_preparation_page(tables, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text()
    assert "| `head` | adults | 1 | 0.968 | 1600 | 1500 | 10 | 110 | 70 | 80 | 2900 |" in page
    assert "| structure | 2: old |" in page
    assert "| Thalamus | 0.850 ± 0.071 |" in page
    assert "- broken failed: no head" in page
