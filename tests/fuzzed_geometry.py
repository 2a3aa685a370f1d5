"""Files of transforms, points and pictures that the fuzz breaks: how a whole one is written, and
what a right answer of its reader is.
"""

from __future__ import annotations

import csv
import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import PIL.Image
import SimpleITK
from numpy.typing import ArrayLike

from diffeode.files.afni import write_matrix
from diffeode.files.fsl import read_flirt, write_flirt
from diffeode.files.linear import read_lta, write_lta
from diffeode.files.pictures import Picture, write_picture
from diffeode.files.points import Points, write_points
from diffeode.files.transforms import write_transform
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, DisplacementField, Transform

_AFFINE = np.array(
    [[1.02, 0.11, 0, -8], [-0.1, 0.97, 0.2, -9.5], [0.03, -0.2, 1.1, 10], [0, 0, 0, 1]], dtype=float
)
_GRID = Grid((5, 6, 7), np.diag([-1.0, 1, 1, 1]))
"""A grid whose FSL's mm are its voxel indices: it has radiological order, voxels of 1 mm and its
first voxel at the origin.
"""
_FSL = np.diag([-1.0, 1, 1, 1])
_LPS = np.array([-1.0, -1, 1])
_PLACES_MM = np.array([[-1.0, 2, 3], [-2, 1, 1], [-3, 4, 2], [-0.5, 0.25, 5]])
_LANDMARKS = Points(
    ("left pole", "ac", "pc, behind"),
    np.array([[-12.5, 3, 40.25], [0, 1.5, -2], [0, -24, -1]]),
)


# -------------------------------------------------------------------------------------- transforms


def write_affine_of_itk(path: Path) -> None:
    write_transform(path, Affine(_AFFINE))


def write_field_of_itk(path: Path) -> None:
    vectors = np.random.default_rng(2).normal(0, 0.5, (*_GRID.shape, 3)).astype(np.float32)
    write_transform(path, DisplacementField(vectors, _GRID))


def is_the_map_of_itk(path: Path, answer: Transform) -> bool:
    """Return whether points go where ITK's own transform sends them."""
    of_itk = SimpleITK.ReadTransform(str(path))
    d = of_itk.GetDimension()
    wanted = _PLACES_MM.copy()
    for row, place in zip(wanted, _PLACES_MM * _LPS, strict=True):
        row[:d] = _LPS[:d] * of_itk.TransformPoint(place[:d].tolist())
    found = answer(_PLACES_MM)
    close = 1e-4 * max(1.0, np.abs(wanted).max())
    return bool(np.isfinite(found).all() and np.allclose(found, wanted, atol=close))


def write_matrix_of_freesurfer(path: Path) -> None:
    write_lta(path, Affine(_AFFINE), _GRID, _GRID)


def read_matrix_of_freesurfer(path: Path) -> Affine:
    return read_lta(path, _GRID, _GRID)


def is_matrix_of_freesurfer(path: Path, answer: Affine) -> bool:
    """Return whether the answer undoes the file's first matrix, which leads from voxels to voxels
    in type 0 and from mm to mm in type 1.
    """
    text = re.sub(r"#.*", "", path.read_text(encoding="utf-8"))
    kind = re.search(r"(?m)^\s*type\s+=\s+(\S+)", text)
    assert kind is not None
    numbers = re.split(r"(?m)^\s*1\s+4\s+4\s*$", text)[1].split()[:16]
    matrix = np.array([float(number) for number in numbers]).reshape(4, 4)
    if kind[1] == "0":
        matrix = _FSL @ matrix @ _FSL
    return _undoes(answer.matrix, matrix)


def write_matrix_of_flirt(path: Path) -> None:
    write_flirt(path, Affine(_AFFINE), _GRID, _GRID)


def read_matrix_of_flirt(path: Path) -> Affine:
    return read_flirt(path, _GRID, _GRID)


def is_matrix_of_flirt(path: Path, answer: Affine) -> bool:
    return _undoes(answer.matrix, _FSL @ _numbers(path).reshape(4, 4) @ _FSL)


def write_matrix_of_afni(path: Path) -> None:
    write_matrix(path, Affine(_AFFINE))


def is_matrix_of_afni(path: Path, answer: Affine) -> bool:
    wanted = np.array([*_numbers(path), 0, 0, 0, 1]).reshape(4, 4)
    to_lps = np.diag([*_LPS, 1.0])
    return bool(np.allclose(answer.matrix, to_lps @ wanted @ to_lps, rtol=1e-9))


def _numbers(path: Path) -> np.ndarray:
    lines = path.read_text(encoding="utf-8").splitlines()
    return np.array([float(word) for line in lines for word in line.partition("#")[0].split()])


def _undoes(one: ArrayLike, other: ArrayLike) -> bool:
    one, other = np.asarray(one), np.asarray(other)
    size = np.abs(one).max() * np.abs(other).max()
    return bool(np.isfinite(one).all() and np.allclose(one @ other, np.eye(4), atol=1e-8 * size))


# ------------------------------------------------------------------------------------------ points


def write_landmarks_of_slicer(path: Path) -> None:
    write_points(path, _LANDMARKS)


def are_points_of_fcsv(path: Path, answer: Points) -> bool:
    """Return whether names, places and frame are those of the file's lines."""
    lines = path.read_bytes().decode("utf-8-sig").splitlines()
    head = [line.lstrip("# ") for line in lines if line.startswith("#")]
    said = {key.strip(): value.strip() for key, _, value in (h.partition("=") for h in head)}
    columns = [name.strip() for name in said.get("columns", "id,x,y,z").split(",")]
    rows = [row for row in csv.reader(line for line in lines if not line.startswith("#")) if row]
    wanted = [[float(row[columns.index(axis)]) for axis in "xyz"] for row in rows]
    frame = {"0": "ras", "1": "lps"}.get(said["CoordinateSystem"], said["CoordinateSystem"].lower())
    return (
        answer.frame == frame
        and len(answer.names) == len(wanted)
        and np.array_equal(answer.coordinates, np.array(wanted).reshape(-1, 3))
    )


def are_points_of_markups(path: Path, answer: Points) -> bool:
    """Return whether the placed points of the file are there, in their order."""
    markups = json.loads(path.read_bytes().decode("utf-8-sig"))["markups"]
    points = [point for markup in markups for point in markup["controlPoints"]]
    wanted = [
        [float(number) for number in point["position"]]
        for point in points
        if point.get("positionStatus", "defined") == "defined" and "position" in point
    ]
    frames = {markup.get("coordinateSystem", "LPS").lower() for markup in markups}
    return frames == {answer.frame} and np.array_equal(answer.coordinates, np.array(wanted))


# ---------------------------------------------------------------------------------------- pictures


@cache
def _pixels() -> np.ndarray:
    """Some colours that vary, ``(X, Y, 3)`` uint8."""
    x, y = np.mgrid[:20, :24]
    return np.stack([10 * x, 9 * y, 5 * (x + y)], axis=-1).astype(np.uint8)


def write_colours(path: Path) -> None:
    write_picture(path, Picture(_pixels(), path.suffix))


def is_the_picture(path: Path, answer: Picture) -> bool:
    """Return whether all pixels are those that were written: the parts of a PNG have checksums."""
    return np.array_equal(answer.values, _pixels())


def is_pillows_picture(path: Path, answer: Picture) -> bool:
    """Return whether Pillow sees a picture of that size; these kinds of files have no checksum."""
    with PIL.Image.open(path) as opened:
        return set(answer.values.shape[:2]) == set(opened.size)
