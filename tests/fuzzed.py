"""The kinds of files that the fuzz breaks: how a whole one is made, its reader, and what a right
answer of the reader is.
"""

from __future__ import annotations

import csv
import gzip
import io as streams
import json
import re
import shutil
import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import fuzzed_geometry as geometry
import nibabel as nib
import numpy as np
import pandas as pd
import torch
import yaml
from clones import tiny_dataset
from safetensors.torch import save_file
from scipy.io import loadmat
from surfaces import write_surface

from diffeode.datasets.demographics import Columns, read_demographics
from diffeode.datasets.exclusions import read_exclusions
from diffeode.datasets.pairs import pairs_drawn_before
from diffeode.errors import InputError
from diffeode.evaluation.labels import read_label_table
from diffeode.files import io
from diffeode.files.afni import read_matrix
from diffeode.files.checked_yaml import read_yaml
from diffeode.files.landmarks import read_landmarks
from diffeode.files.pictures import read_picture
from diffeode.files.points import Points, read_points
from diffeode.files.tables import read_numbers, read_words
from diffeode.files.transforms import read_transform
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid, flip_ras_lps
from diffeode.geometry.transform import Affine, DisplacementField
from diffeode.learning.descriptor.material import read_training
from diffeode.prepare.meshnet import read_tensors
from diffeode.programs.ants_bridge import affine_from_ants
from diffeode.provenance.checksums import Checksums
from diffeode.provenance.origin import origin_of
from diffeode.provenance.receipt import (
    add_origin,
    damage,
    origin_in,
    read_receipt,
    records_in,
    write_receipt,
)
from diffeode.provenance.seals import broken_seal, origin_of_sealed, seal
from diffeode.registration import runs
from diffeode.statistics.reported import read_reported
from diffeode.study.bibliography import read_bibliography
from diffeode.study.files import load_dataset, load_study
from diffeode.weights.checkpoint import About, read_checkpoint, write_checkpoint

REPOSITORY = Path(__file__).resolve().parents[1]
_SHAPE = (5, 6, 7)
_AFFINE = np.array(
    [[1.9, 0.1, 0, -8], [-0.1, 2.0, 0.2, -9], [0, -0.2, 2.1, -10], [0, 0, 0, 1]], dtype=float
)


@dataclass(frozen=True)
class Kind:
    """A kind of file.

    Attributes:
        name: the file's name, by which its readers choose the format.
        make: writes a whole file.
        read: reads a file with our reader; raises InputError where it refuses.
        is_right: returns whether an answer is right for a file, judged without our reader.
        is_text: whether the file is broken as text is.
        inside: whether what a gzip file holds is broken, and compressed again.
        fields: places and formats of the numbers of a binary header.
    """

    name: str
    make: Callable[[Path], None]
    read: Callable[[Path], Any]
    is_right: Callable[[Path, Any], bool] = lambda path, answer: True
    is_text: bool = False
    inside: bool = False
    fields: tuple[tuple[int, str], ...] = ()


# ----------------------------------------------------------------------------------------- volumes

NIFTI_FIELDS = (
    *((40 + 2 * n, "h") for n in range(8)),
    *((76 + 4 * n, "f") for n in range(8)),
    *((70, "h"), (72, "h"), (68, "h"), (108, "f"), (112, "f"), (116, "f"), (123, "B")),
    *((252, "h"), (254, "h"), *((256 + 4 * n, "f") for n in range(18))),
    *((344, "I"), (348, "B"), (352, "i"), (356, "i"), (0, "i")),
)
MGH_FIELDS = (
    *((4 * n, ">i") for n in range(7)),
    (28, ">h"),
    *((30 + 4 * n, ">f") for n in range(15)),
)


def _grid() -> Grid:
    return Grid(_SHAPE, _AFFINE)


def _values() -> np.ndarray:
    return np.random.default_rng(0).normal(100, 20, _SHAPE).astype(np.float32)


def write_nifti(path: Path) -> None:
    """A scan with an extension in its header, and the slope and intercept of whole numbers."""
    scan = nib.Nifti1Image(_values().astype(np.int16), _AFFINE)
    scan.set_sform(_AFFINE, 1)
    scan.header["xyzt_units"] = 2
    scan.header.set_slope_inter(0.5, -3)
    scan.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"drawn by nobody"))
    nib.save(scan, path)


def write_mgh(path: Path) -> None:
    nib.save(nib.MGHImage(_values(), _AFFINE @ np.eye(4)), path)


def write_labels(path: Path) -> None:
    data = np.zeros(_SHAPE, dtype=np.int32)
    data[1:4, 1:4, 1:5], data[2:4, 3:5, 2:6] = 3, 17
    io.write_labels(path, Labels(data, _grid()))


def write_field(path: Path) -> None:
    field = np.random.default_rng(1).normal(0, 2, (*_SHAPE, 3)).astype(np.float32)
    io.write_displacement(path, DisplacementField(field, _grid()))


def _by_nibabel(path: Path) -> tuple[np.ndarray, np.ndarray]:
    """The values and the affine, mm, as nibabel alone reads them."""
    volume = nib.load(path)
    content = gzip.decompress(path.read_bytes()) if path.suffix in (".gz", ".mgz") else None
    if content is not None:
        volume = type(volume).from_bytes(content)
    affine = np.array(volume.affine)
    if isinstance(volume.header, nib.Nifti1Header):
        scale = {1: 1000.0, 3: 0.001}.get(int(volume.header["xyzt_units"]) & 7, 1.0)
        affine = np.diag([scale] * 3 + [1.0]) @ affine
    return np.asarray(volume.dataobj, dtype=np.float64), affine


def _is_nibabels(path: Path, answer: Image | Labels) -> bool:
    values, affine = _by_nibabel(path)
    return bool(
        np.allclose(answer.grid.affine, affine, rtol=1e-5, atol=1e-4)
        and np.allclose(answer.data, values.reshape(answer.data.shape), rtol=1e-6, atol=0.3)
    )


def _is_nibabels_field(path: Path, answer: DisplacementField) -> bool:
    values, affine = _by_nibabel(path)
    vectors = flip_ras_lps(values.reshape(answer.displacement_mm.shape))
    return bool(
        np.allclose(answer.grid.affine, affine, rtol=1e-5, atol=1e-4)
        and np.allclose(answer.displacement_mm, vectors, rtol=1e-5, atol=1e-4)
    )


def _whole_image(path: Path, answer: Image) -> bool:
    """A compressed file has a checksum, so what is read is the scan that was written."""
    slope = 0.5 if ".nii" in path.name else 1.0
    stored = _values().astype(np.int16) * slope - 3 if ".nii" in path.name else _values()
    return bool(
        np.array_equal(answer.data, stored.astype(answer.data.dtype))
        and np.allclose(answer.grid.affine, _AFFINE, atol=1e-5)
    )


# ---------------------------------------------------------------------------------- affines, text


def write_affine(path: Path) -> None:
    io.write_affine(path, Affine(_AFFINE))


def _is_matrix(path: Path, answer: Affine) -> bool:
    rows = [line.split("#")[0].split() for line in path.read_text(encoding="utf-8").splitlines()]
    matrix = np.array([[float(cell) for cell in row] for row in rows if row])
    return bool(np.array_equal(answer.matrix, matrix) and np.isfinite(matrix).all())


def write_itk_mat(path: Path) -> None:
    """Write a transform as ANTs does: MATLAB 4 of two columns."""
    numbers = [*_AFFINE[:3, :3].ravel(), *_AFFINE[:3, 3]]
    with path.open("wb") as file:
        for name, column in (("AffineTransform_double_3_3", numbers), ("fixed", [1.0, 2.0, 3.0])):
            text = name.encode() + b"\0"
            file.write(struct.pack("<5i", 0, len(column), 1, 0, len(text)) + text)
            file.write(np.array(column, dtype="<f8").tobytes())


def _is_lps_affine(path: Path, answer: Affine) -> bool:
    """Return whether the affine moves the file's centre where the file says."""
    content = loadmat(path)
    (name,) = (name for name in content if "Transform_" in name)
    numbers, centre = (content[key].ravel().astype(float) for key in (name, "fixed"))
    moved = answer.matrix @ np.array([*(centre * [-1, -1, 1]), 1.0])
    wanted = (centre + numbers[9:]) * [-1, -1, 1]
    return bool(np.allclose(moved[:3], wanted, rtol=1e-4, atol=1e-4 * np.abs(numbers).max()))


_ITK_MAT_FIELDS = tuple((4 * n, "<i") for n in range(5))


# ------------------------------------------------------------------------------------------ tables


def write_text(text: str) -> Callable[[Path], None]:
    return lambda path: path.write_text(text, encoding="utf-8")


LANDMARKS = "name\tx\ty\tz\nleft pole\t-12.5\t3\t40.25\nac\t0\t1.5\t-2\npc\t0\t-24\t-1e0\n"
LABEL_TABLE = (
    "id\tname\tabbreviation\themisphere\tgroup\tsubset\n1\tLeft-Thalamus\tTh\tleft\tdeep\tyes\n"
    "2\tRight-Thalamus\tTh\tright\tdeep\tno\n14\tBrain-Stem\tBS\tnone\tstem\tno\n"
)
PARTICIPANTS = (
    "participant_id\tage\tsex\tcdr\tgroup\nsub-01\t71.5\tF\t0\thealthy\nsub-02\t80\tM\t0.5\tx\n"
)
PAIRS = (
    "pair\tfixed\tmoving\tfixed_dataset\tmoving_dataset\tseed\n"
    "sub-01_T2w__sub-02_T1w\tsub-01_T2w\tsub-02_T1w\ta\tb\t3\n"
)
EXCLUSIONS = "# why\nscan\treason\nsub-03\tmotion\nsub-04_T1w\tcut off\n"
METRICS = "experiment\tpair\trun\tmetric\tvalue\nheld\ta__b\tnode\tdice\t0.75\nx\ta__c\tb\thd\t\n"


def _are_vertices(path: Path, answer: Points) -> bool:
    return answer.coordinates.shape[1] == 3 and bool(np.isfinite(answer.coordinates).all())


def _is_table(**columns: type) -> Callable[[Path, pd.DataFrame], bool]:
    """Return a function that says whether every cell is the one that Python's own reader of tables
    finds.
    """

    def judge(path: Path, answer: pd.DataFrame) -> bool:
        text = path.read_bytes().decode("utf-8-sig").replace("\r\n", "\n").replace("\r", "\n")
        if '"' in text:
            return True
        rows = [row for row in csv.reader(streams.StringIO(text), delimiter="\t", quoting=3) if row]
        rows = [row for row in rows if any(cell.strip(" ") or len(row) > 1 for cell in row)]
        head, *body = rows
        body = [row for row in body if any(row)]
        for column, kind in columns.items():
            if column not in answer:
                continue
            place = head.index(column)
            wanted = [row[place] for row in body]
            found = list(answer[column])
            if len(found) != len(wanted):
                return False
            if kind is not str and not np.allclose(
                [float(cell or "nan") for cell in wanted],
                np.asarray(found, dtype=float),
                rtol=1e-12,
                atol=0,
                equal_nan=True,
            ):
                return False
            if kind is str and [str(f) for f in found] != wanted:
                return False
        return True

    return judge


def write_workbook(path: Path) -> None:
    rows = [line.split("\t") for line in PARTICIPANTS.splitlines()]
    pd.DataFrame(rows[1:], columns=rows[0]).to_excel(path, index=False)


# -------------------------------------------------------------------------------------------- YAML


@cache
def scratch() -> Path:
    """Return a folder with the files of a small repository, made anew for every process."""
    import tempfile

    folder = Path(tempfile.mkdtemp(prefix="fuzz-"))
    for name in ("datasets", "experiments", "methods", "labels", "descriptors"):
        (folder / "config" / name).mkdir(parents=True)
    shutil.copytree(REPOSITORY / "workflow" / "schemas", folder / "workflow" / "schemas")
    shutil.copy(REPOSITORY / "config" / "labels" / "virtual.tsv", folder / "config" / "labels")
    (folder / "config" / "datasets" / "tiny.yaml").write_text(DATASET, encoding="utf-8")
    (folder / "config" / "experiments" / "tiny.yaml").write_text(EXPERIMENT, encoding="utf-8")
    return folder


DATASET = tiny_dataset(persons=3) + "split: {test: 0.5, seed: 3}\n"
EXPERIMENT = """\
title: Tiny
fixed: {dataset: tiny, modality: T2w, draw: 2}
moving: {dataset: tiny, modality: T1w}
alignment: none
pairs: 1
seed: 2
"""
STUDY = """\
study: tiny
title: &t Tiny study
experiments: [tiny]
runs: [identity, {run: node-mind, name: other, title: *t, set: {similarity.mind.dilation: 3}}]
ours: affine
seed: 1
results: results
panels: 1
figures: {runs: [identity]}
"""
RUN = """\
method: neural-ode
title: Brief
parameters: {levels: {factors: [4, 2], iterations: [2, 1]}, similarity: {mind: {}}}
time_limit_minutes: 1.5
"""
TRAINING = """\
scans: ["toys/sub-31/anat/*"]
validation: ["toys/sub-32/anat/*"]
recipe: {crop: 16, locations: 32, width: 2, features: 2, halving: 0}
settings: {steps: 1, interval: 1, learning_rate: 1.0e-3}
"""


def _load_dataset(path: Path) -> Any:
    shutil.copy(path, scratch() / "config" / "datasets" / "fuzzed.yaml")
    return load_dataset("fuzzed", scratch())


def _load_experiment(path: Path) -> Any:
    shutil.copy(path, scratch() / "config" / "experiments" / "fuzzed.yaml")
    return load_study(
        yaml.safe_load(STUDY) | {"experiments": ["fuzzed"], "runs": ["identity"]}, scratch()
    )


def _load_run(path: Path) -> Any:
    shutil.copy(path, scratch() / "config" / "methods" / "fuzzed.yaml")
    before, runs.runs_folder = runs.runs_folder, lambda: scratch() / "config" / "methods"
    try:
        return runs.load_run("fuzzed").build()
    finally:
        runs.runs_folder = before


def _load_bids(path: Path) -> Any:
    (scratch() / "bids").mkdir(exist_ok=True)
    shutil.copy(path, scratch() / "bids" / "dataset_description.json")
    (scratch() / "config" / "datasets" / "described.yaml").write_text(
        "kind: bids\nroot: bids\n", encoding="utf-8"
    )
    dataset = load_dataset("described", scratch())
    assert isinstance(dataset.title, str), "a title that is no text"
    return dataset


def _same_yaml(path: Path, answer: Any) -> bool:
    return str(yaml.safe_load(path.read_bytes().decode("utf-8-sig"))) == str(answer)


# --------------------------------------------------------------------------------- weights, records


def write_weights(path: Path) -> None:
    write_checkpoint(path, _tensors(), About("fuzzed", 1, {"width": 2}, {"a": "b"}, "c", 3))


def write_plain_weights(path: Path) -> None:
    save_file(_tensors(), path)


def write_archive(path: Path) -> None:
    torch.save(_tensors(), path)


def _tensors() -> dict[str, torch.Tensor]:
    return {"0.weight": torch.arange(24.0).view(2, 3, 4), "0.bias": torch.ones(2)}


def _same_tensors(path: Path, answer: Any) -> bool:
    found = getattr(answer, "tensors", answer)
    return found.keys() == _tensors().keys() and all(
        torch.equal(found[name], tensor) for name, tensor in _tensors().items()
    )


def _are_tensors(path: Path, answer: Any) -> bool:
    return isinstance(answer, dict) and all(
        isinstance(name, str) and isinstance(tensor, torch.Tensor)
        for name, tensor in answer.items()
    )


def write_record(path: Path) -> None:
    (path.parent / "warp.nii.gz").write_bytes(b"a warp")
    (path.parent / "input.tsv").write_bytes(b"an input")
    write_receipt(path.parent, ["warp.nii.gz"], {"status": "done", "seconds": 1.5})
    (path.parent / "receipt.json").replace(path)
    add_origin(path, origin_of([path.parent / "input.tsv"], {"seed": 1, "run": {"a": [1]}}))


def _use_receipt(path: Path) -> Any:
    content = read_receipt(path)
    records, origin = records_in(content), origin_in(content)
    for name, record in records.items():
        assert ".." not in Path(name).parts, "a file outside the unit's folder"
        assert not Path(name).is_absolute(), "a file outside the unit's folder"
        Checksums().of(path.parent / "warp.nii.gz", record)
    return {"damage": damage(path), "outputs": content["outputs"], "origin": origin}


def _is_receipt(path: Path, answer: Any) -> bool:
    """Return whether a receipt in which nothing wrong was found says what was written."""
    if answer["damage"] is not None:
        return True
    whole = path.parent / "whole"
    shutil.rmtree(whole, ignore_errors=True)
    whole.mkdir()
    write_record(whole / path.name)
    written = json.loads((whole / path.name).read_text(encoding="utf-8"))
    return answer["outputs"] == written["outputs"]


def write_seal(path: Path) -> None:
    table = path.parent / "table.tsv"
    table.write_bytes(b"a table")
    (path.parent / "input.tsv").write_bytes(b"an input")
    seal(table, path.parent, origin_of([path.parent / "input.tsv"], {"seed": 1}))
    shutil.copy(path.parent / ".seals" / "table.tsv.json", path)


def _use_seal(path: Path) -> Any:
    (path.parent / ".seals").mkdir(exist_ok=True)
    (path.parent / "table.tsv").write_bytes(b"a table")
    shutil.copy(path, path.parent / ".seals" / "table.tsv.json")
    table = path.parent / "table.tsv"
    return broken_seal(table, path.parent), origin_of_sealed(table, path.parent)


def write_memory(path: Path) -> None:
    (path.parent / "scan.nii").write_bytes(b"a scan")
    memory = Checksums(path)
    memory.of(path.parent / "scan.nii")
    memory.save()


def _use_memory(path: Path) -> str:
    (path.parent / "scan.nii").write_bytes(b"a scan")
    return Checksums(path).of(path.parent / "scan.nii")


BIBLIOGRAPHY = (
    "@article{a2020,\n  title = {A map},\n  author = {Nobody},\n}\n\n@book{b,\n  title = {B},\n}\n"
)


# --------------------------------------------------------------------------------------- the kinds

_READ = (io.read_image, _is_nibabels)
KINDS = {
    "NIfTI": Kind("a.nii", write_nifti, *_READ, fields=NIFTI_FIELDS),
    "NIfTI in gzip": Kind("a.nii.gz", write_nifti, *_READ, inside=True, fields=NIFTI_FIELDS),
    "gzip of NIfTI": Kind("a.nii.gz", write_nifti, io.read_image, _whole_image),
    "MGH": Kind("a.mgh", write_mgh, *_READ, fields=MGH_FIELDS),
    "MGZ": Kind("a.mgz", write_mgh, *_READ, inside=True, fields=MGH_FIELDS),
    "gzip of MGH": Kind("a.mgz", write_mgh, io.read_image, _whole_image),
    "label map": Kind("a.nii", write_labels, io.read_labels, _is_nibabels, fields=NIFTI_FIELDS),
    "weight map": Kind("a.nii", write_nifti, io.read_weights, _is_nibabels, fields=NIFTI_FIELDS),
    "ITK field": Kind(
        "a.nii", write_field, io.read_displacement, _is_nibabels_field, fields=NIFTI_FIELDS
    ),
    "ITK field in gzip": Kind(
        "a.nii.gz",
        write_field,
        io.read_displacement,
        _is_nibabels_field,
        inside=True,
        fields=NIFTI_FIELDS,
    ),
    "affine": Kind("a.txt", write_affine, io.read_affine, _is_matrix, is_text=True),
    "ITK affine": Kind(
        "a.mat", write_itk_mat, affine_from_ants, _is_lps_affine, fields=_ITK_MAT_FIELDS
    ),
    "ITK affine in text": Kind(
        "a.tfm",
        geometry.write_affine_of_itk,
        read_transform,
        geometry.is_the_map_of_itk,
        is_text=True,
    ),
    "ITK affine in HDF5": Kind(
        "a.h5", geometry.write_affine_of_itk, read_transform, geometry.is_the_map_of_itk
    ),
    "ITK field in HDF5": Kind(
        "a.h5", geometry.write_field_of_itk, read_transform, geometry.is_the_map_of_itk
    ),
    "FreeSurfer matrix": Kind(
        "a.lta",
        geometry.write_matrix_of_freesurfer,
        geometry.read_matrix_of_freesurfer,
        geometry.is_matrix_of_freesurfer,
        is_text=True,
    ),
    "FLIRT matrix": Kind(
        "a.mat",
        geometry.write_matrix_of_flirt,
        geometry.read_matrix_of_flirt,
        geometry.is_matrix_of_flirt,
        is_text=True,
    ),
    "AFNI matrix": Kind(
        "a.aff12.1D",
        geometry.write_matrix_of_afni,
        read_matrix,
        geometry.is_matrix_of_afni,
        is_text=True,
    ),
    "Slicer landmarks": Kind(
        "a.fcsv",
        geometry.write_landmarks_of_slicer,
        read_points,
        geometry.are_points_of_fcsv,
        is_text=True,
    ),
    "Slicer markups": Kind(
        "a.mrk.json",
        geometry.write_landmarks_of_slicer,
        read_points,
        geometry.are_points_of_markups,
        is_text=True,
    ),
    "PNG": Kind("a.png", geometry.write_colours, read_picture, geometry.is_the_picture),
    "JPEG": Kind("a.jpg", geometry.write_colours, read_picture, geometry.is_pillows_picture),
    "TIFF": Kind("a.tif", geometry.write_colours, read_picture, geometry.is_pillows_picture),
    "landmarks": Kind(
        "a.tsv",
        write_text(LANDMARKS),
        read_landmarks,
        _is_table(name=str, x=float, y=float, z=float),
        is_text=True,
    ),
    "surface": Kind("a.surf.gii", write_surface, read_points, _are_vertices, is_text=True),
    "label table": Kind(
        "a.tsv",
        write_text(LABEL_TABLE),
        read_label_table,
        _is_table(id=float, name=str, abbreviation=str, hemisphere=str, group=str),
        is_text=True,
    ),
    "demographics": Kind(
        "a.tsv",
        write_text(PARTICIPANTS),
        lambda path: read_demographics(
            path, Columns("participant_id", None, "age", "sex", "cdr", "group")
        ).of("01"),
        is_text=True,
    ),
    "pairs": Kind(
        "a.tsv", write_text(PAIRS), lambda path: pairs_drawn_before(path, 3), is_text=True
    ),
    "exclusions": Kind("a.tsv", write_text(EXCLUSIONS), read_exclusions, is_text=True),
    "metrics": Kind(
        "a.tsv",
        write_text(METRICS),
        lambda path: read_numbers(path, texts=["experiment", "pair", "run", "metric"]),
        _is_table(experiment=str, pair=str, run=str, metric=str),
        is_text=True,
    ),
    "comma-separated": Kind(
        "a.csv", write_text(PARTICIPANTS.replace("\t", ",")), read_words, is_text=True
    ),
    "workbook": Kind("a.xlsx", write_workbook, read_words),
    "reported numbers": Kind(
        "a.tsv",
        lambda path: shutil.copy(REPOSITORY / "config" / "reported.tsv", path),
        read_reported,
        is_text=True,
    ),
    "bibliography": Kind("a.bib", write_text(BIBLIOGRAPHY), read_bibliography, is_text=True),
    "YAML": Kind("a.yaml", write_text(STUDY), read_yaml, _same_yaml, is_text=True),
    "study": Kind(
        "a.yaml", write_text(STUDY), lambda path: load_study(path, scratch()), is_text=True
    ),
    "dataset": Kind("a.yaml", write_text(DATASET), _load_dataset, is_text=True),
    "experiment": Kind("a.yaml", write_text(EXPERIMENT), _load_experiment, is_text=True),
    "run": Kind("a.yaml", write_text(RUN), _load_run, is_text=True),
    "training": Kind("a.yaml", write_text(TRAINING), read_training, is_text=True),
    "description of BIDS": Kind(
        "a.json",
        write_text('{"Name": "A set", "BIDSVersion": "1.8.0", "DatasetType": "raw"}'),
        _load_bids,
        is_text=True,
    ),
    "checkpoint": Kind(
        "a.safetensors",
        write_weights,
        lambda path: read_checkpoint(path, "fuzzed", 1),
        _same_tensors,
    ),
    "safetensors": Kind("a.safetensors", write_plain_weights, read_tensors, _are_tensors),
    "PyTorch archive": Kind("a.pth", write_archive, read_tensors, _are_tensors),
    "receipt": Kind("a.json", write_record, _use_receipt, _is_receipt, is_text=True),
    "seal": Kind("a.json", write_seal, _use_seal, is_text=True),
    "memory of checksums": Kind("a.json", write_memory, _use_memory, is_text=True),
}
REFUSAL = re.compile(r"[^\n\r]{5,4000}", re.DOTALL)
"""A refusal is one line, and no longer than somebody reads."""

__all__ = ["KINDS", "REFUSAL", "InputError", "Kind"]
