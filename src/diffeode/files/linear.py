"""Reading linear transforms that other programs wrote: ITK and ANTs, FSL FLIRT, FreeSurfer; and
writing those of FreeSurfer.

Each becomes a map from points of the fixed image to points of the moving image, RAS mm.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from diffeode.errors import InputError, brief_reason
from diffeode.files.fsl import of_flirt
from diffeode.files.io import write_text
from diffeode.files.itk import ARCHIVE_SUFFIXES, read_itk
from diffeode.files.presence import require_file
from diffeode.geometry.plane import affine_between, is_slice
from diffeode.geometry.space import Grid, flip_matrix_ras_lps
from diffeode.geometry.transform import Affine

if TYPE_CHECKING:
    import SimpleITK

_ITK_SUFFIXES = (".txt", ".tfm", ".mat", *ARCHIVE_SUFFIXES)
_FLIRT_SUFFIX = ".mat"
_PROBES_MM = np.array([[0, 0, 0], [100, 0, 0], [0, 100, 0], [0, 0, 100], [70, -40, 90]], float)
_LARGEST_BEND_MM = 1e-4
_GEOMETRY = ("volume", "voxelsize", "xras", "yras", "zras", "cras")
"""The lines by which an LTA describes the grid of an image."""


def read_linear(path: Path, fixed: Grid, moving: Grid) -> Affine:
    """Return the linear transform at ``path``.

    The kind of file is recognised: FreeSurfer's ``.lta``; a text of 4 x 4 numbers, which is RAS mm
    where our own header says so, and FSL's where it is named ``.mat``; and every transform that ITK
    reads (``.txt``, ``.tfm``, ``.mat``, ``.h5``) and that is linear. An ``.xfm`` of MNI holds RAS
    mm and leads from the moving to the fixed image, but ITK would take it for LPS mm and for a map
    from the fixed to the moving one, so it is refused.

    Args:
        fixed, moving: the grids of the two images; files of FSL and some of FreeSurfer have a
            meaning only together with them. FSL and FreeSurfer map moving to fixed, so the moving
            image must be the one that was their input.

    Raises:
        InputError: the file is missing, damaged, of no known kind, not linear, or not invertible,
            or it is a matrix that does not say in which frame.
    """
    require_file(path, "transform")
    if path.name.lower().endswith(".lta"):
        return read_lta(path, fixed, moving)
    matrix = _four_by_four(path)
    if matrix is not None and "RAS mm" in path.read_text(encoding="utf-8"):
        return _named(path, lambda: Affine(matrix))
    if matrix is not None and path.name.lower().endswith(_FLIRT_SUFFIX):
        return _named(path, lambda: of_flirt(matrix, fixed, moving))
    if matrix is not None:
        raise InputError(
            f"{path} holds a matrix but does not say in which frame; convert it with 'diffeode "
            f"convert --from ras', or end its name in {_FLIRT_SUFFIX} where FLIRT made it."
        )
    if path.name.lower().endswith(_ITK_SUFFIXES):
        return _itk(path, fixed, moving)
    raise InputError(
        f"{path} is no linear transform that is known here; give one of ITK or ANTs "
        f"({', '.join(_ITK_SUFFIXES)}), FSL (.mat) or FreeSurfer (.lta, which lta_convert --inmni "
        "makes of an .xfm)."
    )


def read_lta(path: Path, fixed: Grid, moving: Grid) -> Affine:
    """Return the linear transform of FreeSurfer (``.lta``) at ``path``, whose source is the moving
    image.

    Args:
        fixed, moving: the grids of the two images. An LTA of voxels (type 0) that describes its own
            images leads between the voxels of those, whose grids may differ from these two.

    Raises:
        InputError: the file is missing, damaged, of an unknown type, not invertible, or holds
            several transforms; or the two images are exchanged.
    """
    require_file(path, "transform")
    return _named(path, lambda: _lta(path.read_text(encoding="utf-8"), fixed, moving))


def write_lta(path: Path | str, affine: Affine, fixed: Grid, moving: Grid) -> None:
    """Write ``affine``, fixed to moving, as FreeSurfer's LTA of type 1 (RAS mm), whose source is
    the moving image and whose destination is the fixed one, as for ``mri_vol2vol --lta``.

    FreeSurfer's matrix leads from the source to the destination, ours from the fixed to the moving
    image.
    """
    rows = [" ".join(f"{v:.17g}" for v in row) for row in affine.inverse().matrix]
    lines = [
        "type      = 1 # LINEAR_RAS_TO_RAS",
        "nxforms   = 1",
        "mean      = 0.0000 0.0000 0.0000",
        "sigma     = 1.0000",
        "1 4 4",
        *rows,
        *_volume_info("src", "moving", moving),
        *_volume_info("dst", "fixed", fixed),
    ]
    write_text(path, "\n".join(lines) + "\n")


def _volume_info(side: str, name: str, grid: Grid) -> list[str]:
    """Return the lines by which an LTA describes an image; its centre is the voxel at half of the
    shape.
    """
    centre = grid.to_world(np.array(grid.shape) / 2)
    numbers = {
        "volume": grid.shape,
        "voxelsize": grid.spacing,
        **{f"{axis}ras  ": grid.direction[:, n] for n, axis in enumerate("xyz")},
        "cras  ": centre,
    }
    return [
        f"{side} volume info",
        "valid = 1  # volume info valid",
        f"filename = {name}.nii.gz",
        *(f"{key} = {' '.join(f'{v:.15g}' for v in values)}" for key, values in numbers.items()),
    ]


def _named(path: Path, read: Callable[[], Affine]) -> Affine:
    """Return what ``read`` reads of the text at ``path``; messages of its faults name the file."""
    try:
        return read()
    except StopIteration:
        raise InputError(
            f"{path} cannot be read as a transform (it has no type or no matrix); write it again."
        ) from None
    except (InputError, ValueError, IndexError, OSError) as error:
        reason = brief_reason(error).rstrip(".")
        raise InputError(
            f"{path} cannot be read as a transform ({reason}); write it again."
        ) from None


def _four_by_four(path: Path) -> np.ndarray | None:
    """Return the matrix where the file is a text of four rows of four numbers, else None."""
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        rows = [line.partition("#")[0].split() for line in lines]
        matrix = np.array([[float(word) for word in row] for row in rows if row])
    except (ValueError, OSError):
        return None
    return matrix if matrix.shape == (4, 4) else None


def _itk(path: Path, fixed: Grid, moving: Grid) -> Affine:
    transform = read_itk(path)
    if transform.GetDimension() == 2 and is_slice(fixed) and transform.IsLinear():
        return _named(path, lambda: _of_plane(transform, fixed, moving))
    if transform.GetDimension() != 3:
        raise InputError(
            f"{path} is a transform in {transform.GetDimension()}-D; give a linear one, in 3-D for "
            "volumes or in 2-D for slices."
        )
    there = np.array([transform.TransformPoint(point) for point in _PROBES_MM.tolist()])
    matrix = np.eye(4)
    matrix[:3, 3] = there[0]
    matrix[:3, :3] = (there[1:4] - there[0]).T / 100
    bend = np.abs(matrix[:3, :3] @ _PROBES_MM[4] + matrix[:3, 3] - there[4]).max()
    if not transform.IsLinear() and bend > _LARGEST_BEND_MM:
        raise InputError(
            f"{path} is not linear ({transform.GetName()}); give an affine, similarity or rigid "
            "transform."
        )
    return _named(path, lambda: Affine(flip_matrix_ras_lps(matrix)))


def _of_plane(transform: SimpleITK.Transform, fixed: Grid, moving: Grid) -> Affine:
    """Return a linear transform of ITK in 2-D, which maps plane coordinates, as a map of slices."""
    origin, first, second = (
        np.array(transform.TransformPoint(point)) for point in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))
    )
    matrix = np.eye(3)
    matrix[:2] = np.column_stack([first - origin, second - origin, origin])
    return affine_between(matrix, fixed, moving)


def _lta(text: str, fixed: Grid, moving: Grid) -> Affine:
    """Return the map for FreeSurfer's LTA, whose source is the moving image.

    Type 1 maps RAS mm; type 0 maps voxels.
    """
    lines = [line.partition("#")[0].split() for line in text.splitlines()]
    source, destination = _described(lines, "src"), _described(lines, "dst")
    _require_not_exchanged(source, destination, fixed, moving)
    kind = next(words[2] for words in lines if words[:2] == ["type", "="])
    count = next((words[2:] for words in lines if words[:2] == ["nxforms", "="]), ["1"])
    if count != ["1"]:
        raise ValueError(f"it holds {' '.join(count)} transforms; give an LTA of one")
    begin = next(n for n, words in enumerate(lines) if words == ["1", "4", "4"]) + 1
    rows = itertools.islice((words for words in lines[begin:] if words), 4)
    matrix = np.array([[float(word) for word in words] for words in rows])
    if matrix.shape != (4, 4) or kind not in ("0", "1"):
        raise ValueError(f"an LTA of type {kind} with a matrix of {matrix.shape}")
    if kind == "0":
        from_voxels = (destination or fixed).affine, (source or moving).affine
        with np.errstate(invalid="ignore", over="ignore"):  # Affine refuses what is not finite
            matrix = from_voxels[0] @ matrix @ np.linalg.inv(from_voxels[1])
    return Affine(np.linalg.inv(matrix))


def _described(lines: Sequence[list[str]], side: str) -> Grid | None:
    """Return the grid of an image as an LTA describes it; None where it does not.

    Args:
        lines: the words of each line.
        side: ``src`` or ``dst``.
    """
    title = [side, "volume", "info"]
    begin = next((n for n, words in enumerate(lines) if words == title), len(lines)) + 1
    block = itertools.takewhile(lambda words: words[1:] != title[1:], lines[begin:])
    said = {words[0]: words[2:] for words in block if words[1:2] == ["="]}
    if said.get("valid") != ["1"] or not said.keys() >= set(_GEOMETRY):
        return None
    x, y, z = (int(word) for word in said["volume"])
    size, *axes, centre = (np.array(said[key], dtype=np.float64) for key in _GEOMETRY[1:])
    affine = np.eye(4)
    with np.errstate(invalid="ignore", over="ignore"):  # Grid refuses what is no finite number
        affine[:3, :3] = np.column_stack(axes) * size
        affine[:3, 3] = centre - affine[:3, :3] @ (np.array([x, y, z]) / 2)
    return Grid((x, y, z), affine)


def _require_not_exchanged(
    source: Grid | None, destination: Grid | None, fixed: Grid, moving: Grid
) -> None:
    """Raise :class:`InputError` where the source of an LTA is the fixed image and not the moving
    one, and its destination the moving image.
    """
    if source is None or destination is None or source.matches(moving):
        return
    if source.matches(fixed) and destination.matches(moving):
        raise InputError(
            "it leads from the image that is given as the fixed one to that given as the moving "
            "one; exchange the two images, or invert the LTA by lta_convert --invert"
        )
