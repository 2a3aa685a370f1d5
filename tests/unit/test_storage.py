"""What a study keeps of its registrations: files that were removed on purpose are no damage, and
whoever needs one of them is told so; maps that are rounded say by how much.
"""

import json
import multiprocessing
import os
import shutil
from concurrent.futures import ProcessPoolExecutor

import numpy as np
import pytest
import SimpleITK as sitk  # noqa: N813
import storage
import yaml
from storage import FORMS, error_mm
from test_harness import GRID, SCAN_GRID, FakeRun, Stepping, a_task

from diffeode.cli.main import main
from diffeode.errors import DamagedFileError, InputError, RegistrationError
from diffeode.figures.pair_panel import read_scene
from diffeode.files import io
from diffeode.geometry.transform import DisplacementField, KeptVelocity, rounded
from diffeode.provenance.checksums import Checksums
from diffeode.provenance.origin import origin_of
from diffeode.provenance.receipt import RECEIPT, add_origin, damage, read_receipt, write_receipt
from diffeode.provenance.removal import NOTE, remove_files
from diffeode.provenance.seals import seal
from diffeode.provenance.upkeep import Kind, Planned, complaints
from diffeode.registration.base import Machine
from diffeode.registration.harness import (
    register,
    register_to_folder,
    restore_maps,
    write_result,
)
from diffeode.registration.runs import Run
from diffeode.study.files import load_study
from diffeode.units.pair import PairUnit
from diffeode.units.registration import (
    FIELDS,
    INVERSE_WARP,
    KEPT,
    READ_BY_CURVES,
    READ_BY_EVALUATION,
    READ_BY_PANELS,
    ROUNDED_TO_MM,
    TRACE,
    VELOCITY,
    WARP,
    WARPED,
    RegistrationUnit,
    must_hold,
)

REPOSITORY = storage.Path(__file__).resolve().parents[2]
ALL = {WARP, INVERSE_WARP, WARPED, TRACE}
STAYS = {
    "all": ALL,
    "maps": ALL - {WARPED},
    "velocity": ALL - {WARPED},  # the method of these tests has no velocity
    "numbers": set(),
}
THOROUGH = Checksums(thorough=True)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """The folder of a finished registration."""
    folder = tmp_path_factory.mktemp("finished")
    assert register_to_folder(FakeRun(Stepping()), a_task(), Machine(), folder, {})
    return folder


@pytest.fixture
def unit(finished, tmp_path):
    """A finished registration of which everything is there."""
    return RegistrationUnit(shutil.copytree(finished, tmp_path / "results" / "unit"))


def files_in(unit):
    return {file.name for file in unit.folder.iterdir()} - {RECEIPT, NOTE}


# ---------------------------------------------------------------------------------------- removing


@pytest.mark.parametrize("keep", KEPT)
def test_a_reduced_unit_holds_what_is_kept_and_is_intact(unit, keep):
    before = {file.name: file.read_bytes() for file in unit.folder.iterdir()}
    freed = unit.reduce(keep)
    assert files_in(unit) == STAYS[keep]
    assert freed == sum(len(before[name]) for name in ALL - STAYS[keep])
    assert damage(unit.receipt, THOROUGH) is None
    assert unit.require_intact()["outputs"].keys() == ALL, "the receipt still says what was made"
    left = {file.name: file.read_bytes() for file in unit.folder.iterdir() if file.name != NOTE}
    assert left == {name: before[name] for name in left}, "nothing that stays is touched"
    assert unit.reduce(keep) == 0


def test_a_unit_of_which_everything_is_kept_has_no_note(unit):
    unit.reduce("all")
    assert not (unit.folder / NOTE).exists()


def test_what_was_removed_stays_noted_when_more_is_removed(unit):
    unit.reduce("maps")
    unit.reduce("numbers")
    assert damage(unit.receipt, THOROUGH) is None
    assert unit.reduce("all") == 0
    assert files_in(unit) == set()


def test_a_file_that_is_lost_is_damage_beside_one_that_was_removed(unit):
    unit.reduce("maps")
    unit.warp_file.unlink()
    assert damage(unit.receipt) == f"{unit.warp_file} is missing"


def test_a_file_that_came_back_different_is_damage(unit):
    unit.reduce("numbers")
    unit.warp_file.write_bytes(b"something else")
    assert "bytes instead of" in damage(unit.receipt)


def test_the_note_of_an_earlier_unit_hides_no_loss(unit):
    unit.reduce("numbers")
    task = a_task()
    write_result(register(Stepping(), task, Machine()), task, unit.folder)
    unit.warp_file.write_bytes(b"another map")
    write_receipt(unit.folder, sorted(ALL), {"status": "done"})
    unit.warp_file.unlink()
    assert damage(unit.receipt) == f"{unit.warp_file} is missing"


@pytest.mark.parametrize("text", ["", "[]", "{", '{"removed": 1}', '{"removed": {"warp": 1}}'])
def test_a_note_that_is_damaged_hides_no_loss(unit, text):
    unit.reduce("numbers")
    (unit.folder / NOTE).write_text(text, encoding="utf-8")
    assert damage(unit.receipt).endswith("is missing")
    with pytest.raises(DamagedFileError, match="is missing"):
        unit.require_intact()


def test_a_process_that_dies_while_it_removes_leaves_an_intact_unit(unit, monkeypatch):
    monkeypatch.setattr(type(unit.folder), "unlink", lambda *given, **named: os.kill)
    unit.reduce("numbers")
    monkeypatch.undo()
    assert files_in(unit) == ALL
    assert damage(unit.receipt, THOROUGH) is None
    unit.warp_file.unlink()
    assert damage(unit.receipt, THOROUGH) is None, "the note was written before"
    unit.reduce("numbers")
    assert files_in(unit) == set()


def test_a_note_that_cannot_be_written_removes_nothing(unit, monkeypatch):
    def full(path, content):
        raise InputError("the disk is full")

    monkeypatch.setattr("diffeode.provenance.removal.write_json", full)
    with pytest.raises(InputError, match="the disk is full"):
        unit.reduce("numbers")
    assert files_in(unit) == ALL


def test_only_files_of_the_receipt_are_removed(unit):
    (unit.folder / "mine.txt").write_text("mine", encoding="utf-8")
    assert remove_files(unit.folder, read_receipt(unit.receipt)["outputs"], ["mine.txt"]) == 0
    assert (unit.folder / "mine.txt").is_file()


def test_a_failed_registration_has_nothing_to_remove(tmp_path):
    write_receipt(tmp_path, [], {"status": "failed", "reason": "no"})
    assert RegistrationUnit(tmp_path).reduce("numbers") == 0
    assert [file.name for file in tmp_path.iterdir()] == [RECEIPT]


def test_the_origin_of_a_unit_is_recorded_after_it_was_reduced(unit):
    unit.reduce("maps")
    add_origin(unit.receipt, origin_of([], {"code": "a"}))
    assert read_receipt(unit.receipt)["modified_ns"].keys() == ALL - {WARPED}
    assert damage(unit.receipt) is None


# ----------------------------------------------------------------------------------------- readers


def test_who_reads_a_removed_file_is_told_so_in_one_sentence(unit, tmp_path, capsys):
    unit.reduce("numbers")
    task, pair = a_task(), tmp_path / "pair"
    PairUnit(pair).write(task.fixed, task.moving, task.moving_to_scan, {})
    readers = {
        WARP: [unit.warp, lambda: read_scene(unit.folder, pair)],
        INVERSE_WARP: [unit.inverse_warp],
        WARPED: [unit.warped],
        TRACE: [lambda: unit.kept(unit.trace_file)],
    }
    for name, reads in readers.items():
        for read in reads:
            with pytest.raises(InputError, match=f"({name}|{WARPED}) was removed to save space"):
                read()
    scan = tmp_path / "scan.nii.gz"
    io.write_image(scan, task.moving_scan)
    out = tmp_path / "out.nii.gz"
    assert main(["apply", str(unit.warp_file), str(scan), "-o", str(out)]) == 2
    assert f"{WARP} was removed to save space, as the key keep" in capsys.readouterr().err
    assert not out.exists()


def test_a_file_that_was_never_there_was_not_removed(unit, tmp_path):
    unit.reduce("maps")
    unit.trace_file.unlink()
    assert unit.kept(unit.trace_file) == unit.trace_file
    with pytest.raises(InputError, match="There is no file"):
        RegistrationUnit(tmp_path / "nowhere").warp()


# ---------------------------------------------------------------------------------------- judgement


def judged(unit, keep, readers=None, missing=()):
    """Return kind and reason of each complaint, of a unit and of a panel and metrics made of it."""
    results, receipt = unit.folder.parent, str(unit.receipt)
    readers = readers or {"panel.png": READ_BY_PANELS, "metrics.tsv": READ_BY_EVALUATION}
    if not read_receipt(unit.receipt).get("made_from"):
        add_origin(unit.receipt, origin_of([], {}))
    plan = [Planned(unit.receipt, [], {}, must_hold(keep))]
    for name, reads in readers.items():
        file = results / name
        if name in missing:
            file.unlink(missing_ok=True)
        elif not file.exists():
            file.write_text(name, encoding="utf-8")
            seal(file, results, origin_of([receipt], {}))
        plan.append(Planned(file, [receipt] if file.exists() else [], {}, (), {receipt: reads}))
    found = complaints(plan, results, Checksums())
    return {file.name: (complaint.kind, complaint.reason) for file, complaint in found.items()}


@pytest.mark.parametrize("kept", KEPT)
@pytest.mark.parametrize("asked", KEPT)
def test_a_study_makes_again_only_what_it_keeps_and_the_unit_does_not_hold(unit, kept, asked):
    judged(unit, "all")
    unit.reduce(kept)
    found = judged(unit, asked)
    lost = [name for name in must_hold(asked) if name not in STAYS[kept]]
    if not lost:
        assert found == {}
    else:
        kind, reason = found[RECEIPT]
        assert kind is Kind.REDUCED
        assert reason.startswith(f"the study keeps {', '.join(lost)}, which the unit does not hold")
        assert found["panel.png"][0] is Kind.DERIVED


@pytest.mark.parametrize(
    ("kept", "missing", "needed"),
    [
        ("numbers", "metrics.tsv", "warp.nii.gz, inverse_warp.nii.gz"),
        ("numbers", "panel.png", "warp.nii.gz, warped.nii.gz"),
        ("maps", "panel.png", "warped.nii.gz"),
        ("maps", "metrics.tsv", None),
        ("all", "panel.png", None),
    ],
)
def test_a_unit_is_made_again_where_a_figure_needs_what_was_removed(unit, kept, missing, needed):
    judged(unit, "all")
    unit.reduce(kept)
    found = judged(unit, "numbers", missing=[missing])
    if needed is None:
        assert found == {}
    else:
        assert found[RECEIPT][0] is Kind.REDUCED
        assert f"to be made needs {needed}, which the unit does not hold" in found[RECEIPT][1]
        other = {"metrics.tsv", "panel.png"} - {missing}
        assert {found[name][0] for name in other} == {Kind.DERIVED}


def test_a_unit_that_is_made_again_anyway_needs_no_second_reason(unit):
    judged(unit, "all")
    unit.reduce("numbers")
    unit.folder.joinpath(NOTE).unlink()
    assert judged(unit, "numbers", missing=["panel.png"])[RECEIPT][0] is Kind.DAMAGED


def test_curves_need_the_trace(unit):
    readers = {"convergence.svg": READ_BY_CURVES}
    judged(unit, "all", readers)
    unit.reduce("maps")
    assert judged(unit, "maps", readers, missing=readers) == {}
    unit.reduce("numbers")
    assert "needs trace.tsv" in judged(unit, "numbers", readers, missing=readers)[RECEIPT][1]


# ------------------------------------------------------------------------------------------ fields


def smooth(grid, seed=0):
    draw = np.random.default_rng(seed).normal(0, 12, (*grid.shape, 3))
    return DisplacementField(draw.astype(np.float32), grid)


@pytest.mark.parametrize("step_mm", [ROUNDED_TO_MM, 0.25])
def test_rounding_moves_no_component_by_more_than_half_a_step(step_mm):
    field = smooth(GRID)
    found = rounded(field, step_mm)
    apart = np.abs(found.displacement_mm.astype(np.float64) - field.displacement_mm)
    assert 0.45 * step_mm < apart.max() <= step_mm / 2
    steps = found.displacement_mm.astype(np.float64) / step_mm
    np.testing.assert_array_equal(steps, np.rint(steps))
    assert found.grid is field.grid


def test_the_stated_error_of_rounded_maps_holds():
    """docs/scale.md and config/README.md state 0.0034 mm."""
    assert 0.5 * ROUNDED_TO_MM * np.sqrt(3) == pytest.approx(0.0034, abs=5e-5)


def test_rounded_maps_are_float32_that_itk_reads_exactly(tmp_path):
    task = a_task()
    result = register(Stepping(), task, Machine())
    write_result(result, task, tmp_path, fields="rounded")
    for name, before in ((WARP, result.warp), (INVERSE_WARP, result.inverse_warp)):
        expected = rounded(before, ROUNDED_TO_MM).displacement_mm
        assert np.abs(expected - before.displacement_mm).max() > 0
        image = sitk.ReadImage(str(tmp_path / name))
        assert image.GetPixelIDTypeAsString() == "vector of 32-bit float"
        theirs = sitk.GetArrayFromImage(image).transpose(2, 1, 0, 3) * (-1, -1, 1)
        np.testing.assert_array_equal(theirs, expected)
        np.testing.assert_array_equal(
            io.read_displacement(tmp_path / name).displacement_mm, expected
        )


def test_rounded_maps_take_less_room(tmp_path):
    grid = type(GRID)((40, 40, 40), np.eye(4))
    io.write_displacement(tmp_path / "as-it-is.nii.gz", smooth(grid))
    io.write_displacement(tmp_path / "rounded.nii.gz", rounded(smooth(grid), ROUNDED_TO_MM))
    sizes = [(tmp_path / f"{name}.nii.gz").stat().st_size for name in ("rounded", "as-it-is")]
    assert sizes[0] < 0.75 * sizes[1]


def test_without_the_keys_files_are_written_as_ever(tmp_path):
    task = a_task()
    result = register(Stepping(), task, Machine())
    assert write_result(result, task, tmp_path) == list(KEPT["all"])
    io.write_displacement(tmp_path / "expected.nii.gz", result.warp)
    assert (tmp_path / WARP).read_bytes() == (tmp_path / "expected.nii.gz").read_bytes()


@pytest.mark.parametrize("keep", KEPT)
def test_only_a_study_that_keeps_all_writes_the_warped_image(tmp_path, keep):
    about = {"keep": keep, "fields": "rounded"}
    assert register_to_folder(FakeRun(Stepping()), a_task(), Machine(), tmp_path, {}, **about)
    outputs = read_receipt(tmp_path / RECEIPT)["outputs"]
    assert outputs.keys() == (ALL if keep == "all" else ALL - {WARPED})
    assert damage(tmp_path / RECEIPT, THOROUGH) is None
    steps = io.read_displacement(tmp_path / WARP).displacement_mm / ROUNDED_TO_MM
    np.testing.assert_array_equal(steps, np.rint(steps))


# ----------------------------------------------------------------------------------------- velocity


BRIEF = Run("brief", "neural-ode", "Brief", {"levels": {"factors": [2], "iterations": [3]}})
FILES_OF_FLOW = {WARP, INVERSE_WARP, TRACE, VELOCITY}


def in_a_python_of_its_own():
    """Return a process, in which work can be done.

    It is not forked, for OpenMP refuses to work in a process that was forked from one in which it
    has worked, as it may have in the tests before.
    """
    return ProcessPoolExecutor(1, multiprocessing.get_context("spawn"))


def register_with_velocity(folder, fields):
    about = {"keep": "velocity", "fields": fields}
    return register_to_folder(BRIEF, a_task(), Machine(), folder, {}, **about)


@pytest.fixture(scope="module")
def units_of_flow(tmp_path_factory):
    """A registration that keeps its velocity, for each of ``FIELDS``, made in one process."""
    folders = {fields: tmp_path_factory.mktemp(fields) for fields in FIELDS}
    with in_a_python_of_its_own() as apart:
        for fields, folder in folders.items():
            assert apart.submit(register_with_velocity, folder, fields).result()
    return folders


@pytest.fixture
def velocity_unit(units_of_flow, tmp_path):
    """A function that copies the registration of given ``fields`` for one test."""

    def copied(fields):
        folder = tmp_path / "results" / "unit"
        return RegistrationUnit(shutil.copytree(units_of_flow[fields], folder))

    return copied


@pytest.fixture(scope="module")
def restored():
    """A function that restores the maps of a unit, in another process than that which made them."""
    with in_a_python_of_its_own() as apart:
        yield lambda unit: apart.submit(restore_in, unit.folder).result()


def restore_in(folder):
    restore_maps(folder, a_task())


@pytest.mark.parametrize("fields", FIELDS)
def test_both_maps_are_made_again_from_the_velocity_to_the_bit(velocity_unit, restored, fields):
    unit = velocity_unit(fields)
    before = {name: (unit.folder / name).read_bytes() for name in (WARP, INVERSE_WARP)}
    assert files_in(unit) == FILES_OF_FLOW
    assert np.abs(unit.velocity().values).max() > 0
    unit.reduce("velocity")
    assert files_in(unit) == {VELOCITY, TRACE}
    assert damage(unit.receipt, THOROUGH) is None
    restored(unit)
    assert files_in(unit) == FILES_OF_FLOW
    assert {name: (unit.folder / name).read_bytes() for name in before} == before
    assert damage(unit.receipt, THOROUGH) is None


def test_a_map_that_comes_out_otherwise_is_refused_and_not_written(velocity_unit, restored):
    unit = velocity_unit("float32")
    kept = unit.velocity()
    unit.write_velocity(KeptVelocity(kept.values * np.float32(1.01), kept.grid))
    receipt = {k: v for k, v in read_receipt(unit.receipt).items() if k != "receipt_sha256"}
    sizes = receipt["outputs"]
    unit.reduce("velocity")
    with pytest.raises(DamagedFileError, match=r"velocity\.npz has"):
        restored(unit)
    file = unit.velocity_file
    sizes[VELOCITY] = {"bytes": file.stat().st_size, "sha256": io.sha256(file)}
    io.write_json(unit.receipt, receipt)
    with pytest.raises(RegistrationError, match=r"warp\.nii\.gz .* the device is another"):
        restored(unit)
    assert files_in(unit) == {VELOCITY, TRACE}


def test_a_unit_without_a_velocity_says_so(unit, restored):
    unit.reduce("velocity")
    assert files_in(unit) == ALL - {WARPED}, "its maps stay"
    with pytest.raises(InputError, match="There is no velocity"):
        restored(unit)


def test_a_method_without_a_velocity_makes_no_map_of_one(tmp_path):
    kept = KeptVelocity(np.zeros((1, 3, 2, 2, 2), np.float32), GRID)
    with pytest.raises(RegistrationError, match="Fake has no velocity"):
        Stepping().expanded(kept, Machine())


@pytest.mark.parametrize("content", [b"", b"PK", b"velocity"])
def test_a_velocity_that_is_damaged_is_one_sentence(unit, content):
    unit.velocity_file.write_bytes(content)
    with pytest.raises(DamagedFileError, match=r"is damaged .*register the pair again"):
        unit.velocity()


# -------------------------------------------------------------------------------------------- study


def demo(**changes):
    text = (REPOSITORY / "config" / "config.yaml").read_text(encoding="utf-8")
    return yaml.safe_load(text) | changes


def test_a_study_names_what_it_keeps():
    study = load_study(demo(), REPOSITORY)
    assert (study.keep, study.fields) == ("all", "float32")
    study = load_study(demo(keep="numbers", fields="rounded", panels=2), REPOSITORY)
    assert (study.keep, study.fields) == ("numbers", "rounded")
    pairs = [(e.name, pair.id) for e in study.experiments for pair in e.pairs]
    whole = [pair for pair in pairs if study.keep_meanwhile(*pair) == "all"]
    assert whole == study.shown_pairs()
    assert len(whole) == 4
    assert {study.keep_meanwhile(*pair) for pair in pairs} == {"all", "numbers"}


@pytest.mark.parametrize(
    ("key", "value", "sentence"),
    [
        ("keep", "number", "has keep: 'number'; did you mean 'numbers'"),
        ("keep", None, r"has keep: None .*known: all, maps, numbers, velocity"),
        ("keep", ["all"], "has keep"),
        ("fields", "int16", r"has fields: 'int16' .*known: float32, rounded"),
        ("field", "rounded", "unknown key 'field'; did you mean 'fields'"),
    ],
)
def test_a_key_that_is_wrong_is_named(key, value, sentence):
    with pytest.raises(InputError, match=sentence):
        load_study(demo(**{key: value}), REPOSITORY)


def test_the_schema_has_the_values_that_units_know():
    path = REPOSITORY / "workflow" / "schemas" / "study.schema.yaml"
    known = yaml.safe_load(path.read_text(encoding="utf-8"))["properties"]
    assert known["keep"]["enum"] == list(KEPT)
    assert known["fields"]["enum"] == list(FIELDS)


# ---------------------------------------------------------------------------------------- benchmark


@pytest.mark.parametrize("form", FORMS, ids=lambda form: f"{form.name}, level {form.level}")
def test_the_benchmark_reads_what_it_wrote(form, tmp_path):
    field, path = smooth(SCAN_GRID), tmp_path / "map.nii.gz"
    form.write(path, form.made(field))
    read = form.read(path, field)
    np.testing.assert_allclose(read.displacement_mm, form.made(field).displacement_mm, atol=1e-6)


def test_the_benchmark_s_error_is_a_distance():
    field = smooth(GRID)
    moved = DisplacementField(field.displacement_mm + np.float32([3, 4, 0]), GRID)
    np.testing.assert_allclose(error_mm(field, moved), 5, atol=1e-5)


def test_notes_are_json_with_size_and_checksum(unit):
    unit.reduce("maps")
    noted = json.loads((unit.folder / NOTE).read_text(encoding="utf-8"))["removed"]
    assert noted == {WARPED: read_receipt(unit.receipt)["outputs"][WARPED]}
