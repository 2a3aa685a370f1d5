"""The label tables in ``config/labels`` name the structures as the authors of the numbers do."""

import re
from pathlib import Path

import pandas as pd
import pytest
from _comparisons import _CORTICAL, _NEURITE_27, _SUBCORTICAL
from _prepare import REFERENCE

from diffeode.evaluation.labels import read_label_table
from diffeode.prepare.steps.subcortical import STRUCTURES

FOLDER = Path(__file__).resolve().parents[2] / "config" / "labels"
TABLES = sorted(path.stem for path in FOLDER.glob("*.tsv"))

_OF_BOTH_SIDES = {
    "Cerebral-White-Matter": (2, 41), "Cerebral-Cortex": (3, 42), "Lateral-Ventricle": (4, 43),
    "Inf-Lat-Vent": (5, 44), "Cerebellum-White-Matter": (7, 46), "Cerebellum-Cortex": (8, 47), "Thalamus": (10, 49),
    "Caudate": (11, 50), "Putamen": (12, 51), "Pallidum": (13, 52), "Hippocampus": (17, 53), "Amygdala": (18, 54),
    "Accumbens-area": (26, 58), "VentralDC": (28, 60), "vessel": (30, 62), "choroid-plexus": (31, 63),
}  # fmt: skip
FREESURFER = {14: "3rd-Ventricle", 15: "4th-Ventricle", 16: "Brain-Stem", 24: "CSF"} | {
    number: f"{side}-{name}"
    for name, numbers in _OF_BOTH_SIDES.items()
    for side, number in zip(("Left", "Right"), numbers, strict=True)
}
"""Facts of ``FreeSurferColorLUT.txt`` (FreeSurfer 7),
https://surfer.nmr.mgh.harvard.edu/fswiki/FsTutorial/AnatomicalROI
"""

NEURITE = [number for number in sorted(FREESURFER) if number != 24]
"""neurite-OASIS (https://github.com/adalca/medical-datasets) numbers FreeSurfer's structures
without CSF from 1 to 35.
"""

BRAINCHOP = (
    "Unknown", "Cerebral-White-Matter", "Cerebral-Cortex", "Lateral-Ventricle", "Inferior-Lateral-Ventricle",
    "Cerebellum-White-Matter", "Cerebellum-Cortex", "Thalamus", "Caudate", "Putamen", "Pallidum", "3rd-Ventricle",
    "4th-Ventricle", "Brain-Stem", "Hippocampus", "Amygdala", "Accumbens-area", "VentralDC",
)  # fmt: skip
"""The classes of the subcortical MeshNet in the order of its channels (``colormap.json`` of
brainchop's model).
"""

DLMUSE = {
    "ventricle": {4: "third", 11: "fourth", 51: "right", 52: "left"}, "accumbens": (23, 30), "amygdala": (31, 32),
    "stem": {35: ""}, "caudate": (36, 37), "cerebellar "
                                           "cortex": (38, 39), "cerebellar white": (40, 41),
    "hippocampus": (47, 48), "pallidum": (55, 56), "putamen": (57, 58), "thalamus": (59, 60), "ventral dc": (61, 62),
    "frontal white": (81, 82), "occipital "
                               "white": (83, 84), "parietal white": (85, 86), "temporal white": (87, 88),
    "callosum": {95: ""}, "insula": (102, 103), "calcarine": (108, 109), "middle frontal": (142, 143),
    "middle temporal": (154, 155), "precuneus": (168, 169), "postcentral": (176, 177),
    "precentral": (182, 183), "superior frontal": (190, 191), "vermis 1": {71: ""},
    "vermis 6": {72: ""}, "vermis 8": {73: ""},
}  # fmt: skip
"""A word of the name and the ids, right and left, of MUSE's regions
(https://github.com/CBICA/DLMUSE).
"""


def names(table: str) -> dict[int, str]:
    return read_label_table(FOLDER / f"{table}.tsv").set_index("id")["name"].to_dict()


@pytest.mark.parametrize("table", ["albert", "synthseg", "virtual"])
def test_tables_of_freesurfers_numbers_have_its_names(table):
    found = names(table)
    assert found == {number: FREESURFER[number] for number in found}


def test_neurites_35_structures_are_freesurfers_counted_through():
    assert names("neurite35") == {
        place: FREESURFER[number] for place, number in enumerate(NEURITE, start=1)
    }


def test_meshnet_names_its_classes_in_the_order_of_its_channels():
    assert names("meshnet") == dict(zip(STRUCTURES[1:], BRAINCHOP[1:], strict=True))
    for number, name in zip(STRUCTURES[1:], BRAINCHOP[1:], strict=True):
        assert FREESURFER[number].removeprefix("Left-") == name.replace(
            "Inferior-Lateral-Ventricle", "Inf-Lat-Vent"
        )


def test_the_preparation_benchmark_judges_each_structure_by_its_own_labels():
    """The labels have FreeSurfer's numbers, those of cortical parcels, and that of OASIS-TRT-20's
    cerebellar cortex.
    """
    others = {3: set(range(1000, 3000)), 8: {6, 45, 630, 631, 632}}
    for number, labels in REFERENCE.items():
        structure = re.sub("^Left-", "", FREESURFER[number])
        sides = {
            n for n, name in FREESURFER.items() if re.sub("^(Left|Right)-", "", name) == structure
        }
        assert set(labels) == sides | others.get(number, set())


def test_dlmuse_has_the_names_of_muse():
    found = {number: name.lower() for number, name in names("dlmuse").items()}
    expected = {}
    for word, numbers in DLMUSE.items():
        sided = (
            numbers
            if isinstance(numbers, dict)
            else dict(zip(numbers, ("right", "left"), strict=True))
        )
        expected |= {number: (word, side) for number, side in sided.items()}
    assert set(found) == set(expected)
    assert {
        n: parts for n, parts in expected.items() if not all(part in found[n] for part in parts)
    } == {}


def test_dlmuse_agrees_with_the_list_that_comes_with_its_maps(real_data_root):
    """The names are the same, except the few for which MUSE has another word."""
    listed = pd.read_csv(real_data_root / "ixi2mm" / "muse_labels.csv").set_index("Index")["Name"]
    ours = {"vermis": "cerebellarvermallobules", "cerebellarcortex": "cerebellumexterior", "cerebellarwhitematter":
            "cerebellumwm", "whitematter": "wm", "third": "3rd", "fourth": "4th", "corpuscallosum": "corpcall",
            "accumbens": "accumbensarea", "thalamus": "thalamusproper"}  # fmt: skip
    for number, name in names("dlmuse").items():
        side = {"left": "l", "right": "r"}.get(name.split()[0].lower(), "")
        words = re.sub(
            r"[^a-z0-9]", "", re.sub(r"(?i)^(left|right) ", "", name).lower().replace("-", "to")
        )
        for mine, theirs in ours.items():
            words = words.replace(mine, theirs)
        assert words + side == re.sub(r"[^a-z0-9]", "", listed[number].lower()), f"{number} {name}"


@pytest.mark.parametrize("table", TABLES)
def test_both_sides_of_a_structure_agree_and_no_two_structures_share_a_name(table):
    rows = read_label_table(FOLDER / f"{table}.tsv")
    side = rows["name"].str.extract(r"(?i)^(left|right)[- ]")[0].str.lower()
    assert (side.fillna("none") == rows["hemisphere"]).all()
    structures = rows.assign(
        structure=rows["name"].str.replace(r"(?i)^(left|right)[- ]", "", regex=True)
    )
    for _, both in structures.groupby("structure"):
        assert sorted(both["hemisphere"]) in (["left", "right"], ["none"])
        assert both["abbreviation"].nunique() == both["group"].nunique() == 1
    assert not structures.drop_duplicates("structure")["abbreviation"].duplicated().any()


def test_the_benchmarks_labels_are_those_their_comments_name():
    left_out = {"Inf-Lat-Vent", "Accumbens-area", "vessel", "choroid-plexus"}
    plain = {
        place: re.sub("^(Left|Right)-", "", FREESURFER[n])
        for place, n in enumerate(NEURITE, start=1)
    }
    assert set(_NEURITE_27) == {place for place, name in plain.items() if name not in left_out}
    cerebrum = {2, 3, 41, 42}
    exterior = {6: 8, 45: 47}  # OASIS-TRT-20 draws the cerebellar cortex as FreeSurfer's "exterior"
    wanted = {n for n in FREESURFER if n not in cerebrum | {8, 24, 30, 31, 47, 62, 63}}
    assert set(_SUBCORTICAL) == wanted | set(exterior)
    regions = {
        label - side for side in (1000, 2000) for label in _CORTICAL if side < label < side + 1000
    }
    assert regions == set(range(2, 36)) - {
        4,
        32,
        33,
    }  # FreeSurfer's Desikan-Killiany without the regions that DKT31 leaves out
    assert len(_CORTICAL) == 2 * len(regions)


NODEO_28 = {
    *(2, 3, 4, 7, 8, 10, 11, 12, 13, 14, 15, 16, 17, 18, 24, 28),
    *(41, 42, 43, 46, 47, 49, 50, 51, 52, 53, 54, 60),
}
"""The structures of NODEO's evaluation (the list in the README of its code)."""


def test_nodeos_structures_are_a_subset_of_candis_and_of_neurites():
    """CANDI has the 32 structures in the README of NODEO's code; Neurite-OASIS has 27 of the 28 and
    no cerebrospinal fluid.
    """
    candi, neurite = (read_label_table(FOLDER / f"{name}.tsv") for name in ("candi", "neurite35"))
    assert set(candi["id"]) == NODEO_28 | {5, 26, 44, 58}
    assert set(candi["id"][candi["subset"]]) == NODEO_28
    assert set(neurite["id"][neurite["subset"]]) == set(_NEURITE_27)
    names = {FREESURFER[number] for number in NODEO_28 - {24}}
    assert set(neurite["name"][neurite["subset"]]) == names
