"""The benchmarks' own arithmetic: which pairs, which voxels, which rows are kept, what the pages
say.
"""

import argparse
import re
from contextlib import nullcontext
from types import SimpleNamespace

import _accuracy_page
import _cases
import _register
import _speed_page
import _suspects_page
import _tables
import _units
import accuracy
import alignment
import contrasts
import demo
import descriptors
import desk
import gpu
import guidance
import histology
import nodeo_accuracy
import numpy as np
import preparation
import pytest
import speed
import torch
from _cases import Case, case_digest, cropped_neurite, ensure_case, halved, inverted, read_case
from _children import ask
from _comparisons import COMPARISONS, REPOSITORY, comparison_named, ordered_pairs
from _nodeo_reference import features
from _synthetic import synthetic_head
from _traffic import Traffic

from diffeode.errors import InputError
from diffeode.evaluation.jacobian import jacobian_everywhere
from diffeode.files import io
from diffeode.geometry.image import Image, Labels, sample
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, DisplacementField, densify
from diffeode.prepare.together import Aligned
from diffeode.statistics.export import MISSING

LIA = Grid(
    (160, 192, 224), np.array([[-1.0, 0, 0, 80], [0, 0, 1, -112], [0, -1, 0, 96], [0, 0, 0, 1]])
)
"""The axes of the neurite-OASIS scans run to the left, down and to the front."""
VOXEL = (70, 40, 108)
"""A voxel, counted from the right, from above and from behind."""


# -------------------------------------------------------------------------------------------- pairs


def test_all_ordered_pairs_of_four_newborns_are_twelve():
    pairs = ordered_pairs(COMPARISONS["albert"].subjects)
    assert len(pairs) == len(set(pairs)) == 12
    assert all(fixed != moving for fixed, moving in pairs)


def test_the_first_round_of_pairs_has_everyone_once_on_each_side():
    fixed, moving = zip(*ordered_pairs("abcdef", 6), strict=True)
    assert sorted(fixed) == sorted(moving) == list("abcdef")


def test_two_adults_of_the_neurite_tasks_are_one_pair_with_the_first_fixed():
    for name in ("neurite-half", "neurite-full"):
        assert ordered_pairs(COMPARISONS[name].subjects, COMPARISONS[name].pairs) == [
            ("0001", "0002")
        ]


def test_adults_move_to_the_template_and_lie_in_their_own_folder(tmp_path, monkeypatch):
    task, asked = COMPARISONS["oasistrt-to-icbm152"], []
    monkeypatch.setattr("_comparisons.ensure_case", lambda make, *folders: asked.append(folders))
    assert task.pairs_among(task.subjects, 2) == [("icbm152", "02"), ("icbm152", "04")]
    task.case("icbm152", "02", tmp_path, tmp_path / "work")
    scans, work = (
        tmp_path / "oasistrt" / "sub-02" / "anat",
        tmp_path / "work" / task.name / "icbm152__02",
    )
    assert asked == [(tmp_path / "icbm152", scans, work)]


@pytest.mark.parametrize(
    ("text", "subjects"),
    [
        ("07,08", ("07", "08")),
        ("01-03", ("01", "02", "03")),
        ("08-10,01", ("08", "09", "10", "01")),
        ("0001", ("0001",)),
    ],
)
def test_subjects_are_lists_and_ranges(text, subjects):
    assert _units.subjects_of(text) == subjects


def test_subjects_that_are_none_are_refused():
    with pytest.raises(InputError, match="give numbers"):
        _units.subjects_of("first")


def test_other_subjects_get_a_table_of_their_own():
    options = argparse.Namespace(subjects=("01", "02"), pairs=None, runs=("identity",), threads=1)
    units = accuracy.units_of(COMPARISONS["albert"], options)
    assert [(unit.table, unit.fixed, unit.moving) for unit in units] == [
        ("albert_01-02", "01", "02"),
        ("albert_01-02", "02", "01"),
    ]


def test_an_unknown_task_names_the_nearest():
    with pytest.raises(InputError, match="did you mean 'neurite-half'"):
        comparison_named("neurit-half")


def test_scores_are_over_as_many_labels_as_their_names_say():
    for comparison in COMPARISONS.values():
        for name, labels in comparison.scores.items():
            assert (
                int(name.removeprefix("dice").partition("_")[0]) == len(set(labels)) == len(labels)
            )


# ------------------------------------------------------------------------------------------- voxels


def marked(kind):
    data = np.zeros(LIA.shape, dtype=np.float32)
    data[VOXEL] = 1
    return kind(data, LIA)


@pytest.mark.parametrize("kind", [Image, Labels])
def test_cropping_puts_the_axes_in_order_and_leaves_a_voxel_where_it_is(kind):
    cropped = cropped_neurite(marked(kind))
    assert cropped.grid.shape == (160, 192, 144)
    found = np.argwhere(cropped.data)
    np.testing.assert_array_equal(found, [[70, 108 - 8, 40 - 15]])
    np.testing.assert_allclose(cropped.grid.to_world(found[0]), LIA.to_world(VOXEL))


def test_halving_takes_every_second_voxel_and_leaves_it_where_it_is():
    labels = cropped_neurite(Labels(np.arange(np.prod(LIA.shape)).reshape(LIA.shape) % 36, LIA))
    half = halved(labels)
    assert half.grid.shape == (80, 96, 72)
    np.testing.assert_array_equal(half.data[3, 5, 7], labels.data[6, 10, 14])
    np.testing.assert_allclose(half.grid.to_world([3, 5, 7]), labels.grid.to_world([6, 10, 14]))
    np.testing.assert_allclose(half.grid.spacing, 2)


def test_halving_smooths_scans_by_seven_tenths_of_a_voxel():
    data = np.zeros((16, 16, 16))
    data[8, 8, 8] = 1
    row = halved(Image(data, Grid(data.shape, np.eye(4)))).data[:, 4, 4]
    expected = np.exp(-0.5 * (np.array([0, 2]) / 0.7) ** 2)
    np.testing.assert_allclose(row[[5, 3]] / row[4], expected[1] / expected[0], rtol=1e-5)


def test_inversion_turns_bright_to_dark_and_keeps_the_background():
    grid = Grid((4, 1, 1), np.eye(4))
    data = np.array([0, 0.25, 0.5, 1.0]).reshape(grid.shape)
    found = inverted(Image(data, grid)).data.ravel()
    np.testing.assert_allclose(found, [0, 1 - 0.25**0.7, 1 - 0.5**0.7, 1e-3], rtol=1e-5)


def test_the_reference_counts_864_features_at_the_size_it_was_made_for():
    assert features((160, 192, 144)) == 864
    assert features((80, 96, 72)) == 32 * 2 * 2 * 2


# --------------------------------------------------------------------------- what pairs are made of

SMALL = Grid((16, 18, 20), np.diag([2.0, 2.0, 2.0, 1.0]))


def write_person(folder, seed: int) -> dict[str, Image]:
    """Write a brain in two unrelated contrasts, and its labels."""
    rng = np.random.default_rng(seed)
    inside = np.zeros(SMALL.shape, dtype=bool)
    inside[2 + seed % 3 : -2, 3:-3, 2:-4] = True
    name = folder.parent.name
    scans = {
        m: Image(np.where(inside, 10 + 90 * rng.random(SMALL.shape), 0), SMALL)
        for m in ("T1w", "T2w")
    }
    for modality, scan in scans.items():
        io.write_image(folder / f"{name}_{modality}.nii.gz", scan)
    io.write_labels(folder / f"{name}_dseg.nii.gz", Labels(inside * (1 + seed), SMALL))
    return scans


@pytest.fixture
def two_persons(tmp_path, monkeypatch) -> dict:
    """Folders and scans of a fixed and a moving person; nothing is aligned, and the box of NODEO is
    a small one.
    """
    monkeypatch.setattr(_cases, "align_pair", lambda fixed, scan, *a, **b: (scan, Affine()))
    monkeypatch.setattr(_cases, "NEURITE_CROP", ((1, 2, 3), (15, 18, 17)))
    folders = {side: tmp_path / f"sub-{side}" / "anat" for side in ("fixed", "moving")}
    return {
        side: (folder, write_person(folder, seed))
        for seed, (side, folder) in enumerate(folders.items(), 1)
    }


def correlation(image: Image, scan: Image) -> float:
    """Return the correlation of the voxels above zero, wherever ``image`` was cropped."""
    there = sample(scan.data, scan.grid.to_voxel(image.grid.points_mm()), order=0)
    return float(np.corrcoef(image.data[image.data > 0], there[image.data > 0])[0, 1])


@pytest.mark.parametrize(
    ("make", "fixed_modality", "moving_modality", "sign"),
    [
        (_cases.albert, "T2w", "T1w", 1),
        (_cases.albert_t1w, "T1w", "T1w", 1),
        (_cases.neurite_full, "T1w", "T1w", 1),
        (_cases.neurite_whole, "T1w", "T1w", 1),
        (_cases.oasistrt_inverted, "T1w", "T1w", -1),
        (_cases.oasistrt_to_icbm152, "T2w", "T1w", 1),
        (_cases.oasistrt_to_icbm152_t1w, "T1w", "T1w", 1),
    ],
)
def test_each_side_of_a_pair_is_its_own_person_in_its_own_contrast(
    two_persons, tmp_path, make, fixed_modality, moving_modality, sign
):
    (fixed_folder, fixed), (moving_folder, moving) = two_persons["fixed"], two_persons["moving"]
    if make in (_cases.oasistrt_to_icbm152, _cases.oasistrt_to_icbm152_t1w):
        for modality, scan in fixed.items():
            io.write_image(fixed_folder / f"tpl-MNI152_res-1_desc-brain_{modality}.nii.gz", scan)
        labels = io.read_labels(fixed_folder / "sub-fixed_dseg.nii.gz")
        io.write_labels(fixed_folder / "tpl-MNI152_res-1_atlas-OASISTRT20_dseg.nii.gz", labels)
    case = make(fixed_folder, moving_folder)
    assert correlation(case.fixed, fixed[fixed_modality]) > 0.9
    for image in (case.moving, case.moving_scan):
        assert sign * correlation(image, moving[moving_modality]) > 0.9
    assert set(np.unique(case.fixed_labels.data)) == {0, 2}
    assert set(np.unique(case.moving_labels.data)) == {0, 3}


@pytest.mark.parametrize("make", [_cases.mouse, _cases.hippocampus])
def test_a_pair_as_at_the_desk_keeps_its_sides_labels_and_what_counts(make, tmp_path, monkeypatch):
    counts = np.arange(np.prod(SMALL.shape)).reshape(SMALL.shape) % 3 > 0

    def aligned(fixed, moving, start, threads, seed):
        assert (start, threads, seed) == ("affine", 1, _cases.SEED)
        return Aligned(moving.image, Affine(), counts)

    monkeypatch.setattr(_cases, "align_sides", aligned)
    made = [write_person(tmp_path / f"sub-{seed}" / "anat", seed)["T1w"] for seed in (1, 2)]
    scans = {_cases.mouse: "sub-{0}", _cases.hippocampus: "images/crop_{0}.nii.gz"}[make]
    image, labels = {
        _cases.mouse: ("sub-{0}/sub-{0}_image.nii.gz", "sub-{0}/sub-{0}_dseg.nii.gz"),
        _cases.hippocampus: ("images/crop_{0}.nii.gz", "labels/crop_{0}.nii.gz"),
    }[make]
    for seed, scan in enumerate(made, 1):
        io.write_image(tmp_path / image.format(seed), scan)
        io.write_labels(tmp_path / labels.format(seed), Labels((scan.data > 0) * seed, SMALL))
    folder = ensure_case(make, *(tmp_path / scans.format(seed) for seed in (1, 2)), tmp_path / "c")
    case = read_case(folder)
    for found, scan in ((case.fixed, made[0]), (case.moving, made[1]), (case.moving_scan, made[1])):
        assert correlation(found, scan) > 0.9
    assert (case.fixed_labels.data.max(), case.moving_labels.data.max()) == (1, 2)
    np.testing.assert_array_equal(case.counts, counts)
    np.testing.assert_array_equal(case.pair().counts, counts)


def test_descriptors_are_compared_from_t1w_to_t2w(two_persons, tmp_path, monkeypatch):
    folder, scans = two_persons["fixed"]
    person = descriptors.read_person(folder.parent)
    whole = {m: Image(np.asarray(t[0, 0]), Grid(t.shape[2:], SMALL.affine)) for m, t in
             {"T1w": person.first, "T2w": person.second}.items()}  # fmt: skip
    for modality, image in whole.items():
        assert correlation(image, scans[modality]) > 0.9
    drawn = []
    monkeypatch.setattr(descriptors, "descriptor_distance", lambda *given: drawn.append(given))
    heats = [np.full(person.brain.shape[:2], n) for n in range(3)]
    descriptors._draw([("One", heats), ("Other", heats[::-1])], person, tmp_path)
    ((rows, first, second, _),) = drawn
    assert (first, second) == ("T1w", "T2w")
    for number, (row, point) in enumerate(zip(rows, descriptors._points(person), strict=True)):
        np.testing.assert_array_equal(row.first, person.first[0, 0, :, :, point[2]])
        np.testing.assert_array_equal(row.second, person.second[0, 0, :, :, point[2]])
        assert row.point == tuple(point[:2])
        assert {title: heat.max() for title, heat in row.distances.items()} == {
            "One": number,
            "Other": 2 - number,
        }


def test_alignments_are_judged_on_t1w_and_their_own_labels(tmp_path):
    for seed, subject in enumerate(("01", "02"), 1):
        write_person(tmp_path / "albert" / f"sub-{subject}" / "anat", seed)
    persons = alignment.read_persons("albert", tmp_path)
    assert [person.name for person in persons] == ["sub-01", "sub-02"]
    for seed, person in enumerate(persons, 1):
        scan = io.read_image(
            tmp_path / "albert" / person.name / "anat" / f"{person.name}_T1w.nii.gz"
        )
        np.testing.assert_array_equal(person.brain.data, scan.data)
        assert set(np.unique(person.labels.data)) == {0, 1 + seed}


# ------------------------------------------------------------------------------------------- scores


@pytest.mark.filterwarnings("ignore:Please import:DeprecationWarning")
@pytest.mark.parametrize("task", COMPARISONS)
def test_each_score_is_the_mean_over_its_own_labels(task):
    """Every label is a bar of six voxels, and the map misses each by another number of voxels."""
    comparison = comparison_named(task)
    labels = comparison.labels()
    misses = {label: int(label * 2654435761 % 7) for label in labels}
    fixed, moving = np.zeros((2, 10, 10, 14), dtype=int)
    for place, label in enumerate(labels):
        fixed[place // 10, place % 10, :6] = label
        moving[place // 10, place % 10, misses[label] : misses[label] + 6] = label
    grid = Grid(fixed.shape, np.eye(4))
    image = Image(np.random.default_rng(0).random(grid.shape) + 0.1, grid)
    case = Case(image, image, image, Affine(), Labels(fixed, grid), Labels(moving, grid))
    result = SimpleNamespace(warp=densify(Affine(), grid), inverse_warp=densify(Affine(), grid))
    found = _register._metrics(case, result, task)
    dice = {label: (6 - miss) / 6 for label, miss in misses.items()}
    expected = {
        name: np.mean([dice[label] for label in ids]) for name, ids in comparison.scores.items()
    }
    assert {name: found[name] for name in expected} == pytest.approx(expected)
    assert len({round(value, 6) for value in expected.values()}) == len(expected)
    assert (found["min_jacobian"], found["sdlogj"], found["inverse_consistency_mm"]) == (1, 0, 0)
    assert found["hd95_mm"] > 0


# ------------------------------------------------------------------------------------ command lines


@pytest.mark.parametrize(
    ("command", "names", "sentence"),
    [
        (preparation, "parts", "there is no part 'brian'; choose from brain, segmentation"),
        (speed, "measures", "there is no measure 'brian'; choose from iteration, pair, memory"),
    ],
)
def test_all_is_measured_unless_known_names_are_given(command, names, sentence, capsys):
    known = getattr(command, names.upper())
    assert getattr(command._options([]), names) == known
    assert getattr(command._options([known[1]]), names) == [known[1]]
    with pytest.raises(SystemExit) as stopped:
        command.main([known[1], "brian"])
    assert stopped.value.code == 2
    assert sentence in capsys.readouterr().err


def test_scans_that_are_missing_are_a_sentence_and_exit_code_2(tmp_path, capsys):
    folders = [f"--{name}={tmp_path / name}" for name in ("data", "work", "results")]
    assert nodeo_accuracy.main([f"--checkout={tmp_path}", *folders]) == 2
    assert str(tmp_path / "data" / "neuriteoasis") in capsys.readouterr().err
    assert not list(tmp_path.iterdir())


# --------------------------------------------------------------------------------------- kept pairs


def test_a_pair_is_made_once_and_again_where_a_file_of_it_is_lost(tmp_path):
    made = []

    def make(fixed, moving) -> Case:
        made.append(1)
        return synthetic_head((12, 10, 11))(fixed, moving)

    for expected in (1, 1):
        ensure_case(make, tmp_path / "a", tmp_path / "b", tmp_path / "pair")
        assert len(made) == expected
    (tmp_path / "pair" / "moving.nii.gz").unlink()
    ensure_case(make, tmp_path / "a", tmp_path / "b", tmp_path / "pair")
    assert len(made) == 2
    case, again = synthetic_head((12, 10, 11))(None, None), read_case(tmp_path / "pair")
    np.testing.assert_array_equal(case.moving.data, again.moving.data)


def test_a_pair_made_anew_is_the_same_pair_unless_its_files_differ(tmp_path):
    folders = [tmp_path / name for name in ("first", "again", "other")]
    for folder, shape in zip(folders, ((12, 10, 11), (12, 10, 11), (12, 10, 12)), strict=True):
        ensure_case(synthetic_head(shape), tmp_path, tmp_path, folder)
    first, again, other = map(case_digest, folders)
    assert first == again != other


def test_a_registration_runs_in_a_process_of_its_own(tmp_path):
    folder = ensure_case(synthetic_head((12, 10, 11)), tmp_path, tmp_path, tmp_path / "pair")
    request = {"case": str(folder), "run": "identity", "parameters": {}, "threads": 1, "task": None}
    found = ask("_register.py", request, 1)
    assert set(found) == {"cpu_seconds", "seconds", "peak_memory_mb", "import_cpu_seconds"}
    assert ask("_register.py", {**request, "case": "nowhere"}, 1)["failed"].startswith(
        "the process ended with code 1"
    )


# ------------------------------------------------------------------------------------------- tables


def row(run="node", code="a", pair="p", **more):
    return {"fixed": "07", "moving": "08", "run": run, "code": code, "pair": pair, **more}


def table(path):
    return _tables.Table(path, _units.KEYS, _units.STAMPS)


def test_a_row_is_there_after_a_kill_and_counts_only_for_the_code_and_the_pair_that_made_it(
    tmp_path,
):
    path = tmp_path / "t.tsv"
    table(path).put(row(dice=0.123456789))
    again = table(path)
    assert again.rows == [row(dice="0.123457")]
    assert again.has(row())
    assert not again.has(row(code="b"))
    assert not again.has(row(pair="q"))
    assert not again.has(row(run="greedy"))


def test_what_failed_is_tried_again(tmp_path):
    kept = table(tmp_path / "t.tsv")
    kept.put(row(failed="the process ended with code -9"))
    assert not kept.has(row())
    kept.put(row(failed=""))
    assert kept.has(row())


def test_a_new_measurement_takes_the_place_of_the_old_one(tmp_path):
    path = tmp_path / "t.tsv"
    kept = table(path)
    kept.put(row(dice=0.5))
    kept.put(row(run="greedy", failed="it said no"))
    written = kept.put(row(code="b", dice=0.75))
    assert (written["run"], written["dice"]) == (kept.rows[0]["run"], "0.75")
    assert [(r["run"], r["code"], r.get("dice")) for r in table(path).rows] == [
        ("node", "b", "0.75"),
        ("greedy", "a", ""),
    ]
    assert [r["failed"] for r in table(path).rows] == ["", "it said no"]


def test_numbers_are_shown_with_their_spread_and_zero_only_where_it_is_zero():
    assert _tables.mean_and_sd([0.7, 0.8], 3) == "0.750 ± 0.071"
    assert _tables.mean_and_sd([0.7], 3) == "0.700"
    assert _tables.mean_and_sd([], 3) == MISSING
    assert _tables.mean_percentage([0.0, 0.0]) == "0"
    assert _tables.mean_percentage([0.0, 1e-7]) == "5e-08"
    assert _tables.median([1.0, 2.0, 9.0], 1) == "2.0"
    assert _tables.numbers([{"x": "1"}, {"x": "nan"}, {"x": ""}, {}], "x") == [1.0]


def test_cells_of_markdown_keep_their_bars():
    assert (
        _tables.markdown_table(["a", "|J|"], [["b", "1"]])
        == "| a | \\|J\\| |\n| --- | ---: |\n| b | 1 |\n"
    )


MEASURED = {"machine": "a machine, 2 cores", "torch": "2", "date": "2026-01-01"}


def test_the_accuracy_page_has_a_line_for_each_run_and_says_what_is_old_or_failed(tmp_path):
    path = tmp_path / "accuracy_albert.tsv"
    today = _units.run_code("identity", 1)
    numbers = {
        "dice27": 0.5,
        "hd95_mm": 4.0,
        "ndv_percent": 0.0,
        "cpu_seconds": 1.0,
        "peak_memory_mb": 100.0,
    }
    for moving, dice in (("08", 0.5), ("09", 0.6)):
        good = row(
            "identity", today, failed="", threads=1, **MEASURED, **{**numbers, "dice27": dice}
        )
        table(path).put({**good, "moving": moving})
    table(path).put(row("greedy", "old", failed="it said no", threads=1, **MEASURED))
    _accuracy_page.write_accuracy_page(tmp_path)
    page = (tmp_path / "accuracy.md").read_text(encoding="utf-8")
    assert "| Initial (`identity`) | 2 | 0.5500 ± 0.0707 | 4.00 ± 0.00 |" in page
    assert f"| Greedy (`greedy`) † | 0 | {MISSING} |" in page
    assert "- greedy failed on 07/08: it said no" in page
    assert "newborns" in page
    assert "a machine, 2 cores; torch 2; 2026-01-01" in page


def test_a_run_that_lacks_pairs_stands_beside_the_others_on_its_own_pairs(tmp_path):
    """Its mean cannot be compared with means over more pairs."""
    scores = {("identity", "08"): 0.5, ("identity", "09"): 0.7, ("greedy", "09"): 0.8}
    for (run, moving), dice in scores.items():
        made = row(run, "old", failed="", threads=1, dice27=dice, **MEASURED)
        table(tmp_path / "accuracy_albert.tsv").put({**made, "moving": moving})
    _accuracy_page.write_accuracy_page(tmp_path)
    page = (tmp_path / "accuracy.md").read_text(encoding="utf-8")
    said = "Dice, 27 labels, on these: `identity` 0.7000, `greedy` 0.8000."
    assert f"`greedy` has 1 of the 2 pairs. {said}" in page
    assert "`identity` has" not in page


def test_every_column_of_the_accuracy_page_shows_its_own_number(tmp_path, monkeypatch):
    monkeypatch.setattr(_accuracy_page, "run_code", lambda run, threads: "a")
    path, runs = tmp_path / "accuracy_neurite-half.tsv", ("identity", "greedy")
    columns = {
        "dice35": (0.11, 0.13), "dice27": (0.21, 0.25), "hd95_mm": (3.0, 3.5), "folds_central_percent": (0.4, 0.6),
        "folds_onesided_percent": (1.4, 1.8), "ndv_percent": (0.02, 0.04), "sdlogj": (0.3, 0.5),
        "cpu_seconds": (60.0, 64.0), "peak_memory_mb": (700.0, 900.0), "seconds": (1.0, 2.0),
        "min_jacobian": (0.8, 0.9), "inverse_consistency_mm": (0.05, 0.06), "folds_central_grid_percent": (7.0, 8.0),
    }  # fmt: skip
    for factor, run in enumerate(runs, 1):
        for pair in (0, 1):
            about = row(run, failed="", threads=1, **MEASURED) | {"moving": f"0{pair}"}
            table(path).put(
                about | {name: factor * values[pair] for name, values in columns.items()}
            )
    _accuracy_page.write_accuracy_page(tmp_path)
    lines = (tmp_path / "accuracy.md").read_text(encoding="utf-8").splitlines()
    heading, _, *shown = [
        [cell.strip() for cell in line.split(" | ")] for line in lines if line.startswith("|")
    ]
    assert heading[2:4] == ["Dice, 35 labels", "Dice, 27 labels"]
    assert heading[4] == "HD95 (mm)"
    assert heading[-2:] == ["CPU s", "MB |"]
    assert [cells[1:] for cells in shown] == [
        ["2", "0.1200 ± 0.0141", "0.2300 ± 0.0283", "3.25 ± 0.35", "0.5", "1.6", "0.03", "0.400 ± 0.141", "62.0",
         "800 |"],
        ["2", "0.2400 ± 0.0283", "0.4600 ± 0.0566", "6.50 ± 0.71", "1", "3.2", "0.06", "0.800 ± 0.283", "124.0",
         "1600 |"],
    ]  # fmt: skip


def test_the_alignment_page_compares_the_same_pairs_under_each_alignment(tmp_path, monkeypatch):
    """A pair that our alignment refused counts nowhere; the least gain is that of a single pair."""
    monkeypatch.setattr(alignment, "RESULTS", tmp_path)
    dice = {"none": (0.2, 0.3, 0.9), "ants": (0.6, 0.5, 0.9), "ours": (0.62, 0.6)}
    seconds = {"none": 0, "ants": 40, "ours": 20}
    keys = ("dataset", "first", "second", "alignment", "spacing_mm")
    measured = _tables.Table(tmp_path / "alignment.tsv", keys)
    for how, values in dice.items():
        for pair, value in zip((("a", "b"), ("a", "c"), ("b", "d")), values, strict=False):
            about = {
                "dataset": "albert",
                "first": pair[0],
                "second": pair[1],
                "alignment": how,
                "spacing_mm": 1.0,
            }
            measured.put(
                about | {"dice": value, "cpu_seconds_a_scan": float(seconds[how]), **MEASURED}
            )
    alignment.write_alignment_page(measured)
    page = (tmp_path / "alignment.md").read_text(encoding="utf-8")
    assert (
        "| refused by ours | none | ants | ours | ours - ants, least | CPU s a scan, ants | ours |"
        in page
    )
    assert "| 2 | 1 | 0.250 ± 0.071 | 0.550 ± 0.071 | 0.610 ± 0.014 | +0.020 | 40 | 20 |" in page


def test_runs_that_had_other_files_of_one_pair_are_marked(tmp_path):
    numbers = {"dice27": 0.5, "cpu_seconds": 1.0, "failed": "", "threads": 1, **MEASURED}
    node, greedy = (_units.run_code(name, 1) for name in ("node", "greedy"))
    path = tmp_path / "accuracy_albert.tsv"
    table(path).put(row("node", node, **numbers))
    table(path).put(row("greedy", greedy, **numbers))
    _accuracy_page.write_accuracy_page(tmp_path)
    assert "†" not in (tmp_path / "accuracy.md").read_text(encoding="utf-8")
    table(path).put(row("greedy", greedy, pair="q", **numbers))
    _accuracy_page.write_accuracy_page(tmp_path)
    page = (tmp_path / "accuracy.md").read_text(encoding="utf-8")
    assert "(`node`) † | 1 |" in page
    assert "(`greedy`) † | 1 |" in page
    table(path).put(row("greedy", "old", pair="q", **numbers))
    _accuracy_page.write_accuracy_page(tmp_path)
    page = (tmp_path / "accuracy.md").read_text(encoding="utf-8")
    assert "(`node`) | 1 |" in page
    assert "(`greedy`) † | 1 |" in page


def test_the_speed_page_puts_each_run_beside_the_reference_and_the_peers(tmp_path):
    def put(measure, run, seconds):
        cells = {
            "cpu_seconds": seconds,
            "seconds": seconds,
            "peak_memory_mb": 10.0,
            "failed": "",
            "code": "a",
        }
        speed.put({"measure": measure, "run": run, "shape": "2x2x2", **cells, **MEASURED})

    speed = _tables.Table(tmp_path / "speed.tsv", ("measure", "run", "shape"))
    put("iteration", "nodeo", 0.5)
    _speed_page.write_speed_page(speed, tmp_path / "speed.md")
    assert "was not measured" in (tmp_path / "speed.md").read_text(encoding="utf-8")
    put("iteration", "nodeo-reference", 10.0)
    put("pair", "node", 30.0)
    put("pair", "convexadam", 60.0)
    _speed_page.write_speed_page(speed, tmp_path / "speed.md")
    page = (tmp_path / "speed.md").read_text(encoding="utf-8")
    assert f"| `nodeo` | 0.500 | 20.00 | {MISSING} | 10 |" in page
    assert f"| `node` | 30.0 | 30.0 | 0.50 | {MISSING} | 10 |" in page
    assert "was not measured" not in page


def test_a_run_has_another_code_with_other_threads():
    assert _units.run_code("identity", 1) != _units.run_code("identity", 2)
    assert len(_units.run_code("identity", 1)) == 12


# ------------------------------------------------------------------------------ what a GPU is asked


def test_bytes_are_counted_of_what_operations_read_and_write_and_of_what_is_held():
    values = torch.ones(1000)
    with Traffic() as traffic:
        more = values + 1
        other = more.view(10, 100) * more.view(10, 100)
        del more
        held = other.sum()
    assert held == 4000
    assert traffic.operations == 3
    assert traffic.bytes_moved == 4000 * (2 + 3 + 1) + 4
    assert traffic.bytes_held == 8000


def test_neither_what_is_repeated_nor_what_only_lends_its_shape_is_read():
    values = torch.ones(1000)
    with Traffic() as traffic:
        torch.zeros_like(values)
        values[:, None].expand(1000, 3) * 2
    assert traffic.bytes_moved == 4000 * (1 + 1 + 3)


def test_a_run_that_there_is_not_is_refused_in_a_sentence(tmp_path, capsys):
    assert gpu.main(["--runs", "node-mimd", "--results", str(tmp_path)]) == 2
    assert "There is no run 'node-mimd'; did you mean 'node-mind'" in capsys.readouterr().err


def test_a_gpu_is_timed_where_there_is_one_and_only_counted_where_there_is_none(
    tmp_path, monkeypatch
):
    asked = ["--runs", "node-mind", "--small", "--results", str(tmp_path)]
    assert gpu.main(asked) == 0
    single, half = _tables.Table(tmp_path / "gpu.tsv", ("run",)).rows
    assert (single["precision"], half["precision"]) == ("single", "half")
    assert single["gpu"] == half["gpu"] == "none"
    assert "seconds" not in single
    assert float(half["gigabytes_moved"]) < 0.8 * float(single["gigabytes_moved"])

    monkeypatch.setattr(gpu, "DEVICE", "cpu")
    monkeypatch.setattr(gpu, "ITERATIONS", 4)
    monkeypatch.setattr(gpu, "_COPIED", 2**20)
    answers = {"is_available": True, "get_device_name": "Stand-in", "synchronize": None}
    memory = {"reset_peak_memory_stats": None, "max_memory_allocated": 2e9, "memory_allocated": 7}
    for name, value in (answers | memory).items():
        monkeypatch.setattr(torch.cuda, name, lambda value=value: value)
    assert gpu.main(asked) == 0
    timed, _ = _tables.Table(tmp_path / "gpu.tsv", ("run",)).rows
    assert timed["gpu"] == "Stand-in"
    moved = float(timed["gigabytes_moved"]) * 4 / float(timed["seconds"])
    assert float(timed["bandwidth_fraction"]) == pytest.approx(
        moved / float(timed["copying_gigabytes_per_second"]), rel=1e-3
    )
    assert float(timed["left_behind_megabytes"]) == 0
    assert "| 2.0 |" in (tmp_path / "gpu.md").read_text(encoding="utf-8")


# ----------------------------------------------------------------------------------------- suspects


def suspects_row(
    kind: str, dice: float, margin: float, foreign: int = 0, refused: str = ""
) -> dict[str, str]:
    """Return a row of ``suspects.tsv`` in which only the margin can be suspicious."""
    pair = {"part": "report", "dataset": "d", "fixed": "1", "moving": "2", "kind": kind}
    signs = dict.fromkeys(_suspects_page.SIGNS, 1.0) | {"anatomical_margin": margin, "sdlogj": 0.2}
    signs |= {"displacement_share": 0.1, "motion_distance": 0.1, "folds_percent": 0.0}
    about = {
        "machine": "m",
        "torch": "2",
        "date": "2026-01-01",
        "foreign": str(foreign),
        "refused": refused,
    }
    return (
        pair
        | about
        | {"dice": str(dice)}
        | {name: "" if refused else str(value) for name, value in signs.items()}
    )


def test_good_and_spoiled_registrations_are_counted_by_their_labels(tmp_path):
    rows = [
        suspects_row("clean", 0.7, 9.0),
        suspects_row("rescued", 0.5, 5.0),
        suspects_row("good but odd", 0.5, 1.0),
        suspects_row("missed", 0.1, 9.0),
        suspects_row("caught", 0.1, 1.0),
        suspects_row("caught, too", 0.0, 0.0, refused="It cannot be read."),
        suspects_row("noise", 0.6, 1.0, foreign=1),
    ]
    assert [_suspects_page.is_good(row, rows) for row in rows] == [
        True,
        True,
        True,
        False,
        False,
        False,
        False,
    ]
    assert [_suspects_page.is_suspect(row) for row in rows] == [
        False,
        False,
        True,
        False,
        True,
        True,
        True,
    ]
    _suspects_page.write_suspects_page(rows, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert "| good | 3 | 2 | 1 | 67 % |" in page
    assert "| spoiled | 4 | 1 | 3 | 75 % |" in page
    assert "d 1 ← 2, missed | spoiled | 0.10 | nothing" in page
    assert "d 1 ← 2, caught |" not in page


# ----------------------------------------------------------------------------------------- guidance


def test_every_other_structure_and_landmark_guides_and_all_are_measured():
    grid = Grid((12, 4, 4), np.diag([2.0, 2.0, 2.0, 1.0]))
    ids = np.zeros(grid.shape, int)
    for place, label in enumerate((3, 5, 7, 9)):
        ids[3 * place : 3 * place + 2] = label
    labels, image = Labels(ids, grid), Image(ids > 0, grid)
    known = np.array([3, 5, 7, 9])
    centres = guidance.centres_mm(labels, known)
    np.testing.assert_allclose(centres, [[6 * place + 1, 3, 3] for place in range(4)])
    inputs = guidance.Inputs(image, image, fixed_labels=labels, moving_labels=labels)
    pair = guidance.Guided(inputs, known, guidance.Landmarks(centres, centres, "f", "m"))
    by_labels = guidance.guided_inputs(pair, True, 0.3)
    assert by_labels.guides.label_weight == 0.3
    for kept in (by_labels.fixed_labels, by_labels.moving_labels):
        np.testing.assert_array_equal(np.unique(kept.data), [0, 3, 7])
    by_landmarks = guidance.guided_inputs(pair, False, 2.0)
    assert by_landmarks.guides.landmark_weight == 2.0
    np.testing.assert_array_equal(by_landmarks.guides.landmarks.fixed_mm, centres[::2])
    np.testing.assert_array_equal(by_landmarks.fixed_labels.data, ids)


def test_the_page_of_guidance_has_a_table_for_each_task(tmp_path):
    about = {"machine": "M", "torch": "2", "date": "2026-01-01", "code": "c"}
    numbers = {"error_given": "1.5", "error_others": "2.25", "folds_percent": "0"}
    numbers |= {"min_jacobian": "0.3", "sdlogj": "0.2", "cpu_seconds": "7"}
    dice = {"dice_given": "0.7", "dice_others": "0.6"}
    rows = [
        {"task": "landmarks", "weight": weight, **dice, **numbers, **about}
        for weight in ("10", "0.1")
    ]
    rows.append({"task": "slices", "weight": "0", **numbers, **about})
    guidance.write_guidance_page(rows, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    volumes = page.index("| 0.1 | 0.700 | 0.600 | 1.50 | 2.25 | 0.00 | 0.30 | 0.200 | 7 |")
    assert volumes < page.index("| 10 | 0.700") < page.index("| 0 | 1.50 | 2.25")
    assert "full resolution" not in page


# ----------------------------------------------------------------------------------- stained slices


def test_the_page_of_stains_shows_pairs_that_settings_were_chosen_on_apart(tmp_path):
    """With ours, the error is 1 on a chosen pair, and 3 and 5 on the others."""
    about = {"machine": "M", "torch": "2", "date": "2026-01-01", "cpu_seconds": "7"}
    columns = ("before", "landmarks_affine", "affine", "mean_after", "max_after", "folds_percent")
    about |= dict.fromkeys(columns, "0.5")
    after = {("cc10", "cd31"): ("1", "2"), ("cc10", "he"): ("3", "4"), ("cc10", "ki67"): ("5", "4")}
    rows = [
        {"fixed": fixed, "moving": moving, "run": run, "after": error, **about}
        for (fixed, moving), errors in after.items()
        for run, error in zip(("node-2d", "ants-syn"), errors, strict=True)
    ]
    histology.write_histology_page(tmp_path / "page.md", rows)
    others, chosen = (tmp_path / "page.md").read_text().split("## ")[1:]
    assert "| diffeode (2-D, NCC + NGF) | 2 | 4.000 |" in others
    assert "smaller than that of ANTs SyN in 1 of 2 pairs" in others
    assert "| diffeode (2-D, NCC + NGF) | 1 | 1.000 |" in chosen
    assert "smaller than that of ANTs SyN in 1 of 1 pairs" in chosen


def test_the_pairs_that_settings_were_chosen_on_are_those_that_the_run_names():
    text = (REPOSITORY / "config" / "methods" / "node-2d.yaml").read_text(encoding="utf-8")
    named = re.search(r"lung lesion \((.*?)\)", " ".join(text.replace("#", "").split()))
    assert {tuple(pair.split("/")) for pair in named[1].split(", ")} == histology.CHOSEN_ON


# --------------------------------------------------------------------------------------------- desk


def test_the_page_of_a_desk_has_each_ratio_under_its_part(tmp_path):
    about = {"threads": "1", "machine": "M", "torch": "2", "date": "2026-01-01", "commit": "today"}
    command = {"cpu_seconds": "44", "reference_cpu_seconds": "22", "ratio": "2", "seconds": "45"}
    stripping = {
        "cpu_seconds": "30",
        "reference_cpu_seconds": "75",
        "ratio": "0.4",
        "seconds": "31",
    }
    rows = [
        {"part": "command", "scan": "b to a", **command, "dice": "", **about},
        {"part": "stripping", "scan": "head", **stripping, "dice": "0.9975", **about},
        {"part": "start", "scan": "register --help", "cpu_seconds": "0.2", "seconds": "1", **about},
    ]
    desk.write_desk_page(rows, tmp_path / "desk.md")
    page = (tmp_path / "desk.md").read_text()
    assert "| `b to a` | today | 1 | 44.00 | 22.00 | 2.00 | 45.00 |\n" in page
    assert "| `head` | today | 1 | 30.00 | 75.00 | 0.40 | 31.00 | 0.9975 |\n" in page
    assert "| `register --help` | today | 1 | 0.20 | 1.00 |\n" in page
    places = [
        page.index(text) for text in ("## `diffeode register`", "b to a", "## Skull", "head`")
    ]
    assert places == sorted(places)


def test_each_commit_of_a_desk_is_measured_beside_in_one_call(tmp_path, monkeypatch):
    asked = []

    def clone(commit):
        return nullcontext(SimpleNamespace(root=tmp_path / commit, commit=commit))

    def measure(program, data, threads):
        asked.append((program.commit, program.root, threads))
        others = dict.fromkeys(("seconds", "reference_cpu_seconds", "ratio", "dice"), 1)
        yield {"scan": "s", "cpu_seconds": len(asked)} | others

    monkeypatch.setattr(desk, "cloned", clone)
    monkeypatch.setattr(desk.Program, "compile_kernels", lambda program: asked.append(program.root))
    monkeypatch.setattr(desk, "_MEASURES", dict.fromkeys(desk.PARTS, measure))
    desk.main(["start", "stripping", "--before", "old", "--results", str(tmp_path)])
    here = ("today", desk.REPOSITORY, 1)
    assert asked == [tmp_path / "old", ("old", tmp_path / "old", 1), here, here]
    page = (tmp_path / "desk.md").read_text()
    assert "| `s` | old | 1 | 2.00 | 1.00 |\n| `s` | today | 1 | 3.00 | 1.00 |\n" in page


def test_a_command_of_a_desk_runs_the_package_of_its_commit(tmp_path):
    package = tmp_path / "src" / "diffeode"
    package.mkdir(parents=True)
    (package / "__init__.py").touch()
    (package / "__main__.py").write_text("import sys; sys.exit('--report' in sys.argv)\n")
    program = desk.Program("old", tmp_path)
    assert not program.makes_pages()
    assert 0 < program.cost(["register"], 1)["cpu_seconds"] < 10
    with pytest.raises(RuntimeError, match="diffeode register --report failed at commit old"):
        program.cost(["register", "--report"], 1)


# ------------------------------------------------------------------------------------ known maps


def test_the_known_map_is_smooth_repeats_and_has_the_size_that_is_said():
    grid = Grid((40, 40, 40), np.diag([4.0, 4.0, 4.0, 1.0]))
    known = contrasts.known_map(grid, 1)
    assert np.isclose(np.sqrt(np.mean(known.displacement_mm**2)), 4, rtol=1e-3)
    assert jacobian_everywhere(known).min() > 0.3
    again = contrasts.known_map(grid, 1).displacement_mm
    assert np.array_equal(again, known.displacement_mm)
    with pytest.raises(InputError, match="seed 2 nearly folds"):
        contrasts.known_map(grid, 2)


def test_the_page_of_contrasts_compares_the_same_visits(tmp_path):
    """A visit of which a contrast is not measured yet enters no mean, and whole heads and stripped
    ones have rows of their own.
    """
    errors = {
        **{("one", "T1w", "whole"): 1, ("one", "T2w", "whole"): 2, ("one", "FLAIR", "whole"): 3},
        **{("one", "T1w", "stripped"): 4, ("one", "T2w", "stripped"): 5},
        **{("one", "FLAIR", "stripped"): 6, ("two", "T1w", "whole"): 9},
    }
    columns = ("before_mm", "median_mm", "mean_mm", "p95_mm", contrasts.WITHOUT_MOTION)
    about = {"run": "node", "machine": "m", "torch": "t", "date": "d"}
    rows = [
        {**dict(zip(contrasts.KEYS, unit, strict=False)), **about}
        | dict.fromkeys(columns, str(error))
        for unit, error in errors.items()
    ]
    contrasts.write_contrasts_page(tmp_path / "page.md", rows)
    text = (tmp_path / "page.md").read_text()
    assert "| whole | T1w to T1w | 1 | 1.00 | 1.00 | 1.00 | 1.00 | 1.00 |" in text
    assert "| whole | T1w to FLAIR | 1 | 3.00 |" in text
    assert "| stripped | T1w to FLAIR | 1 | 6.00 |" in text
    assert "9.00" not in text


def test_errors_of_contrasts_are_those_in_the_brain(tmp_path, monkeypatch):
    """A found map that is the identity is wrong by the known map, and a rigid motion of all points
    is no error of its own.
    """
    grid = Grid((30, 30, 30), np.diag([3.0, 3.0, 3.0, 1.0]))
    inside = np.linalg.norm(grid.points_mm() - grid.centre_mm, axis=-1) <= 30
    head = Image(np.random.default_rng(0).uniform(50, 100, grid.shape), grid)
    for contrast in ("T1W", "FLAIR"):
        path = tmp_path / contrasts.FOLDER / f"visit_{contrast}.nii.gz"
        io.write_image(path, head)
    seen = []

    def register(fixed, moving, **settings):
        seen.append((fixed, moving))
        return SimpleNamespace(transform=SimpleNamespace(map=lambda points: points + 2.0))

    monkeypatch.setattr(contrasts, "mindgrab_mask", lambda image, threads: inside)
    monkeypatch.setattr(contrasts, "register", register)
    monkeypatch.setattr(
        contrasts,
        "known_map",
        lambda grid, seed: DisplacementField(np.full((*grid.shape, 3), 1.0), grid),
    )
    rows = [
        contrasts.rows_of(tmp_path, "visit", "FLAIR", heads, ("node",))[0]
        for heads in contrasts.HEADS
    ]
    for row in rows:
        assert row["before_mm"] == pytest.approx(np.sqrt(3))
        assert row["median_mm"] == pytest.approx(np.sqrt(3))
        assert row[contrasts.WITHOUT_MOTION] == pytest.approx(0, abs=1e-9)
        assert inside.sum() * 0.9 < row["points"] < inside.sum() * 1.5
    (whole, _), (stripped, moving) = seen
    assert (whole.data > 0).mean() > 0.9
    assert (stripped.data > 0).mean() < 0.5
    assert (moving.data > 0).mean() < 0.5


def test_the_demo_is_timed_at_every_commit_on_two_processors(tmp_path, monkeypatch, capsys):
    """The kernels of a commit are compiled from its own source before the clock starts."""
    clock, compiled = SimpleNamespace(now=0.0), []

    class Fake:
        def __init__(self, commit):
            self.root = tmp_path / commit

        def snakemake(self, *arguments, cores):
            assert (arguments[-1], cores) == ("config/config.yaml", 2)
            assert compiled[-1] == str(self.root / "src")
            clock.now += 200
            for unit in ("a/1/node", "a/1/identity", "b/2/node"):
                folder = self.root / "results" / "registrations" / unit
                folder.mkdir(parents=True)
                (folder / "receipt.json").touch()
            return SimpleNamespace(cpu_seconds=350.0)

    def compile_kernels(command, env, check):
        clock.now += 1000
        compiled.append(env["PYTHONPATH"])

    monkeypatch.setattr(demo, "cloned", lambda commit: nullcontext(Fake(commit)))
    monkeypatch.setattr(demo.subprocess, "run", compile_kernels)
    monkeypatch.setattr(demo.time, "monotonic", lambda: clock.now)
    assert demo.main(["--before", "v1", "--results", str(tmp_path)]) == 0
    page = (tmp_path / "demo_time.md").read_text(encoding="utf-8")
    assert "| v1 | 2 | 3 | 200 | 350 |" in page
    assert "| today | 2 | 3 | 200 | 350 |" in page
    assert len(capsys.readouterr().out.splitlines()) == 2
