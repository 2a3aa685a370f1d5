"""Small stand-ins for the real scans, made by formulas, with the same folders and headers.

``albert``: ten persons with T1w, T2w and all structures of the ALBERTs' label table. Odd persons
lie on an LAS grid, even ones on an oblique LPS grid; voxels are anisotropic, and coarse but for the
persons in ``FINE``. ``openms``: two adults without labels, with the few negative values of
resampled scans. ``oasistrt``, ``synthseglabels``: six adults' T1w, and six label maps, for what is
trained on them. ``ds000247``: a whole head as FreeSurfer conforms it, with its brain. ``ixi2mm``:
the same head, coarse, six times.

No formula imitates the other real scans, which some tests need.
"""

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np
import pandas as pd
from scipy.spatial.transform import Rotation

from diffeode.datasets.virtual_anatomy import load_tissue_maps
from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid
from diffeode.prepare.resolution import resample_brain

NEWBORNS = tuple(f"{n:02d}" for n in range(1, 11))
FINE = ("01", "02", "06")
ADULTS = ("07", "26")
OTHERS = NEWBORNS[:6]
HEADS = ("IXI013", "IXI014", "IXI015", "IXI033", "IXI034", "IXI039")
ALBERT_LABELS = Path(__file__).resolve().parents[1] / "config" / "labels" / "albert.tsv"

_NEWBORN_MM = np.array([44.0, 54.0, 43.0])
_ADULT_MM = np.array([66.0, 83.0, 55.0])
_HEAD_MM = np.array([80.0, 100.0, 100.0])
"""Half axes of the ellipsoids of newborn brains, adult brains and heads."""
_TEXTURE_MM = 5.0
_NOISE = 0.02
_WAVES_MM, _WAVELENGTH_MM = 2.5, 15.0


def write_scans(root: Path) -> Path:
    """Write the stand-in under ``root`` and return it."""
    for subject in NEWBORNS:
        _write_newborn(root / "albert", subject)
    adults = (
        ("openms", ADULTS, ("T1w", "T2w")),
        ("oasistrt", OTHERS, ("T1w",)),
        ("synthseglabels", OTHERS, ("dseg",)),
    )
    for dataset, subjects, kinds in adults:
        for subject in subjects:
            _write_adult(root / dataset, subject, kinds)
    _write_heads(root / "ds000247" / "sub-0002" / "anat", root / "ixi2mm")
    return root


def _write_newborn(root: Path, subject: str) -> None:
    grid = _newborn_grid(int(subject))
    points = _person_map(int(subject))(grid.points_mm())
    structure, value = _anatomy(points / _NEWBORN_MM)
    stem = root / f"sub-{subject}" / "anat" / f"sub-{subject}"
    brain = structure > 0
    noise = np.random.default_rng(int(subject)).normal(0, _NOISE, (2, *grid.shape))
    for modality, contrast in zip(
        ("T1w", "T2w"), np.stack([value, 1.2 - value]) + noise, strict=True
    ):
        io.write_image(
            Path(f"{stem}_{modality}.nii.gz"), Image(np.where(brain, 800 * contrast, 0), grid)
        )
    io.write_labels(Path(f"{stem}_dseg.nii.gz"), Labels(structure, grid))


def _newborn_grid(person: int) -> Grid:
    """Return a grid of 106 x 126 x 104 mm about the origin: LAS, or LPS and oblique."""
    spacing, shape = np.array([1.6, 1.8, 2.0]), np.array([66, 70, 52])
    if f"{person:02d}" not in FINE:
        spacing, shape = 2 * spacing, shape // 2
    axes = np.diag([-1.0, 1.0, 1.0])
    if person % 2 == 0:
        axes = Rotation.from_euler("xyz", [9, -7, 11], degrees=True).as_matrix() @ np.diag(
            [-1.0, -1.0, 1.0]
        )
    affine = np.eye(4)
    affine[:3, :3] = axes * spacing
    affine[:3, 3] = -affine[:3, :3] @ (shape - 1) / 2
    return Grid(tuple(shape.tolist()), affine)


def _person_map(person: int):
    """Return the map from points of a person, RAS mm, to points of the common anatomy: it turns,
    scales, shifts and bends by waves.
    """
    random = np.random.default_rng(person)
    turn = Rotation.from_euler("xyz", random.uniform(-6, 6, 3), degrees=True).as_matrix()
    linear, shift = turn * random.uniform(0.95, 1.12, 3), random.uniform(-4, 4, 3)
    phases = random.uniform(0, 2 * np.pi, 3)

    def to_anatomy(points_mm: np.ndarray) -> np.ndarray:
        waves = np.sin(points_mm[..., [1, 2, 0]] / _WAVELENGTH_MM + phases)
        return points_mm @ linear.T + shift + _WAVES_MM * waves

    return to_anatomy


def _anatomy(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the structure's number, 0 outside the brain, and a smooth value in 0.2 to 1, at
    ``points (..., 3)``.

    The brain is the unit ball; each structure is what lies nearest to its centre.
    """
    numbers, centres = _structures()
    levels = np.random.default_rng(1).permutation(np.linspace(0.2, 1, len(numbers)))
    distances = ((points[..., None, :] - centres) ** 2).sum(-1)
    nearness = np.exp(
        (distances.min(-1, keepdims=True) - distances)
        / (2 * (_TEXTURE_MM / _NEWBORN_MM.mean()) ** 2)
    )
    brain = (points**2).sum(-1) < 1
    return np.where(brain, numbers[distances.argmin(-1)], 0), nearness @ levels / nearness.sum(-1)


def _structures() -> tuple[np.ndarray, np.ndarray]:
    """Numbers of the ALBERTs' structures and their centres in the unit ball; those on the right
    mirror the left.
    """
    table = pd.read_csv(ALBERT_LABELS, sep="\t")
    sides = {
        side: table[table["hemisphere"] == side].sort_values("abbreviation")
        for side in ("left", "right", "none")
    }
    middle = _spread(len(sides["none"]), lambda points: np.abs(points[:, 0]) < 0.02)
    left = _spread(len(sides["left"]), lambda points: points[:, 0] < -0.2)
    numbers = np.concatenate([sides[side]["id"] for side in ("none", "left", "right")])
    return numbers, np.concatenate([middle, left, left * [-1, 1, 1]])


def _spread(count: int, where) -> np.ndarray:
    """Return ``count`` points of the ball of radius 0.8, drawn one after the other far from those
    before.
    """
    points = np.random.default_rng(2).uniform(-0.8, 0.8, (60_000, 3))
    points = points[((points**2).sum(1) < 0.64) & where(points)]
    chosen = [points[0]]
    while len(chosen) < count:
        apart = np.min([((points - one) ** 2).sum(1) for one in chosen], axis=0)
        chosen.append(points[apart.argmax()])
    return np.array(chosen)


def _write_adult(root: Path, subject: str, kinds: Sequence[str]) -> None:
    """Write those of ``T1w``, ``T2w`` and ``dseg`` that are named."""
    affine = np.array([[-4.0, 0, 0, 88], [0, 4, 0, -124], [0, 0, 4, -70], [0, 0, 0, 1]])
    grid = Grid((45, 54, 45), affine)
    structure, value = _anatomy(
        (_person_map(int(subject))(grid.points_mm()) - [0, -20, 10]) / _ADULT_MM
    )
    rim = (structure == 0) & (grid.voxels().sum(-1) % 50 == 0)
    stem = root / f"sub-{subject}" / "anat" / f"sub-{subject}"
    for modality, contrast in (("T1w", value), ("T2w", 1.2 - value)):
        data = np.where(structure > 0, 1000 * contrast, np.where(rim, -5.0, 0))
        if modality in kinds:
            io.write_image(Path(f"{stem}_{modality}.nii.gz"), Image(data, grid))
    if "dseg" in kinds:
        io.write_labels(Path(f"{stem}_dseg.nii.gz"), Labels(structure, grid))


def _write_heads(conformed: Path, coarse: Path) -> None:
    """A head of 3 l whose neck leaves the box, and its brain: as FreeSurfer conforms it, and coarse
    for six persons.

    Conformed are 256 voxels of 1 mm a side, LIA. Blocks of 4 mm are made and then cut into voxels,
    which takes a fraction of the time.
    """
    directions = np.array([[-1.0, 0, 0], [0, 0, 1], [0, -1, 0]])
    grid = Grid((64,) * 3, _centred(4 * directions, 64))
    points = grid.points_mm()
    brain = (((points - [0, 0, 40]) / _ADULT_MM) ** 2).sum(-1) < 1
    neck = (np.linalg.norm(points[..., :2], axis=-1) < 60) & (points[..., 2] < 0)
    head = ((points / _HEAD_MM) ** 2).sum(-1) < 1
    intensity = np.where(brain, 90 + points[..., 0] % 20, 60 * (head | neck))
    sides = np.where(points[..., 0] < 0, 2, 41) * brain
    conformed.mkdir(parents=True)
    for name, blocks, kind in (("T1", intensity, np.uint8), ("aseg", sides, np.int32)):
        voxels = np.kron(blocks.astype(kind), np.ones((4, 4, 4), kind))
        nib.save(nib.MGHImage(voxels, _centred(directions, 256)), conformed / f"{name}.mgz")
    for subject in HEADS:
        stem = coarse / f"sub-{subject}" / "anat" / f"sub-{subject}"
        io.write_image(Path(f"{stem}_T1w.nii.gz"), Image(intensity, grid))
        io.write_labels(Path(f"{stem}_dseg.nii.gz"), Labels(sides, grid))


def _centred(directions: np.ndarray, side: int) -> np.ndarray:
    """The affine of a cube of ``side`` voxels about the origin."""
    affine = np.eye(4)
    affine[:3, :3] = directions
    affine[:3, 3] = -directions @ np.full(3, (side - 1) / 2)
    return affine


def template_brain() -> Image:
    """The template at 4 mm, with axes to the left and front, as many scanners store them."""
    template = load_tissue_maps()
    image, _ = resample_brain(
        Image(template.t1, template.grid), template.brain > 0, template.grid.resample(4.0)
    )
    flipped = image.grid.affine @ np.diag([-1.0, 1, 1, 1])
    flipped[:3, 3] = image.grid.to_world(np.array([image.grid.shape[0] - 1, 0, 0]))
    return Image(image.data[::-1], Grid(image.grid.shape, flipped))
