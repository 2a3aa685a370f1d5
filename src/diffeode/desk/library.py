"""Registration as users of the library call it: images in memory or files, a result in memory."""

from __future__ import annotations

import dataclasses
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeAlias, final

import nibabel as nib
import pandas as pd

from diffeode.desk import DEFAULT_RUN, DEFAULT_RUN_OF_SLICES
from diffeode.desk.delivery import delivered_whole, require_new
from diffeode.desk.given import ImageLike, as_file, name_of
from diffeode.desk.guide_files import read_guides
from diffeode.desk.inputs import Inputs, read_inputs, read_start
from diffeode.desk.landmarks import load_points
from diffeode.desk.measuring import Evaluation
from diffeode.desk.metrics import measured
from diffeode.desk.outputs import output_names
from diffeode.desk.registration import Registered, register_images, write_registered
from diffeode.desk.running import runnable_run
from diffeode.desk.transform import Transform
from diffeode.errors import InputError
from diffeode.files import io
from diffeode.geometry.plane import is_slice
from diffeode.geometry.transform import Affine
from diffeode.names import nearest
from diffeode.prepare.choices import NO_BACKGROUND, STARTS
from diffeode.process.surroundings import processors
from diffeode.registration.base import Machine, require_device

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_NAMES = {
    "fixed": "the fixed image",
    "moving": "the moving image",
    "fixed_labels": "the fixed label map",
    "labels": "the moving label map",
    "fixed_mask": "the fixed mask",
    "moving_mask": "the moving mask",
}
"""What messages call what is no file."""
PointsLike: TypeAlias = "str | os.PathLike[str] | pd.DataFrame"
"""Named points as users give them: a file, or a table with columns ``name x y z``, RAS mm."""
_SIDES = ("fixed", "moving")
_COSTS = ("seconds", "cpu_seconds", "peak_memory_mb")


@final
@dataclass(frozen=True, eq=False)
class RegistrationResult:
    """A pair that was registered.

    Attributes:
        registered: all that the registration knows, of which the properties below are the part that
            is stable.
        provenance: what :meth:`save` records of how the result was made.
    """

    registered: Registered
    provenance: Mapping[str, object]

    @property
    def transform(self) -> Transform:
        """The whole map, affine included, from points of the fixed scan to points of the moving
        scan, RAS mm, on the grid of the fixed scan.
        """
        result = self.registered.result
        return Transform(result.warp, result.inverse_warp, "the map of the registration")

    @property
    def inverse(self) -> Transform:
        """The map back, from points of the moving scan to points of the fixed scan, RAS mm, on the
        grid of the moving scan.
        """
        return self.transform.inverse

    @property
    def affine(self) -> Transform:
        """The affine alignment alone, from points of the fixed scan to points of the moving scan,
        RAS mm; of a start that bends, the affine nearest to it.
        """
        return Transform(self.registered.task.moving_to_scan, None, "the affine")

    @property
    def warped(self) -> nib.Nifti1Image:
        """The moving image on the grid of the fixed one, ``(X, Y, Z)``, with its own intensities,
        by one linear resampling.
        """
        image = self.registered.warped
        return io.nifti_of(image.data, image.grid)

    @property
    def warped_labels(self) -> nib.Nifti1Image | None:
        """The label map of the moving image on the grid of the fixed one, ``(X, Y, Z)``, by nearest
        neighbour; None where none was given.
        """
        labels = self.registered.warped_labels
        return None if labels is None else io.nifti_of(labels.data, labels.grid)

    @property
    def metrics(self) -> Mapping[str, float]:
        """The metrics by name, seconds and memory included; docs/metrics.md says what each is."""
        return self.evaluation.metrics

    @cached_property
    def evaluation(self) -> Evaluation:
        """All metrics, those of single labels included; computed when they are first asked for."""
        done = self.registered
        rows = measured(done.result, done.task, done.inputs, done.bent is not None)
        found = Evaluation.of(rows)
        costs = {name: float(getattr(done.result, name)) for name in _COSTS}
        return Evaluation({**found.metrics, **costs}, found.by_label)

    @property
    def suspect(self) -> str:
        """What makes the result suspect, as a sentence; empty where nothing does."""
        return self.registered.result.verdict.sentence

    @property
    def notes(self) -> tuple[str, ...]:
        """Sentences about this registration that a user should know."""
        return self.registered.result.notes

    def save(self, folder: str | os.PathLike[str], *, overwrite: bool = False) -> None:
        """Write the files that ``diffeode register`` writes to ``folder``: maps, warped scan,
        metrics and picture. They are written all together or not at all.

        Args:
            overwrite: whether the files of an earlier registration in ``folder`` are replaced, and
                those that this one has not are removed. Other files there stay in any case.

        Raises:
            InputError: a file of these names exists and may not be replaced, or the folder cannot
                be written.
        """
        names, whole = output_names(), Path(folder)
        require_new([whole / name for name in names], overwrite, "overwrite=True")
        with delivered_whole(whole, names) as staging:
            write_registered(self.registered, staging, self.provenance)

    def plot(self) -> Figure:
        """Return the picture of the pair as a figure of matplotlib: both scans, the warped one,
        contours, deformation and log-Jacobian.
        """
        from matplotlib import image as images
        from matplotlib.figure import Figure

        from diffeode.desk.overview import draw_pair

        with tempfile.TemporaryDirectory(prefix="diffeode-") as here:
            path = Path(here) / "pair.png"
            draw_pair(self.registered, path)
            pixels = images.imread(path)
        figure = Figure(figsize=(pixels.shape[1] / 200, pixels.shape[0] / 200), dpi=200)
        cell = figure.add_axes((0, 0, 1, 1))
        cell.imshow(pixels)
        cell.set_axis_off()
        return figure


def register(
    fixed: ImageLike | list[ImageLike],
    moving: ImageLike | list[ImageLike],
    *,
    method: str | None = None,
    init: str | os.PathLike[str] | Transform = "affine",
    fixed_mask: ImageLike | None = None,
    moving_mask: ImageLike | None = None,
    brain: bool = False,
    fixed_labels: ImageLike | None = None,
    labels: ImageLike | None = None,
    contrast_weights: Sequence[float] | None = None,
    label_weight: float = 0.0,
    landmarks: tuple[PointsLike, PointsLike] | None = None,
    landmark_weight: float = 0.0,
    stiff: ImageLike | None = None,
    settings: Mapping[str, Any] | None = None,
    weights: str | os.PathLike[str] | None = None,
    orientation: str | None = None,
    threads: int | None = None,
    device: str = "cpu",
    seed: int = 0,
    progress: Callable[[float, str], None] | None = None,
) -> RegistrationResult:
    """Register ``moving`` to ``fixed``, as ``diffeode register`` does; nothing is written.

    The map that is found sends points of the fixed scan to points of the moving scan, RAS mm.

    Args:
        fixed, moving: the scans: paths, images of nibabel, pairs of an array or a torch tensor with
            the affine from voxel index to RAS mm, or :class:`~diffeode.geometry.image.Image`. A
            list holds several contrasts of a scan, such as its T1w and T2w, in the same order on
            both sides; results lie on the grid of the first one, which is the one that is warped.
        method: a named run; ``diffeode methods`` lists them. By default ``node``, and ``node-2d``
            for slices.
        init: where the registration starts: from the positions in the headers (``identity``), with
            the centres together (``centre``), from an alignment that is found (``rigid``,
            ``similarity``, ``affine``), or from a transform of one's own, fixed to moving: a
            :class:`~diffeode.desk.transform.Transform`, or a file of ITK, ANTs, FSL or FreeSurfer
            (an affine, a displacement field or a composite).
        fixed_mask, moving_mask: images on the grids of the scans that are 1 where these count and
            0 elsewhere; ``"none"``: nothing is background. By default the background is found.
        brain: whether the skulls of two heads are stripped first.
        fixed_labels, labels: label maps of the fixed and of the moving scan, on their grids. That
            of the moving scan is warped; with both, the overlap is measured.
        contrast_weights: how much each contrast counts; the similarity is the mean with these
            weights. By default all count alike.
        label_weight: the weight, in the energy, of the squared difference between the distances
            from the borders of the two label maps, by which these guide the registration; 0.1 is a
            hint, 0.3 a good start, 1 is strong.
        landmarks: named points of the fixed and of the moving scan, to measure the errors of the
            map at them: tables with columns ``name x y z``, RAS mm, or files that
            :func:`~diffeode.desk.landmarks.load_points` reads; those of slices are pixel indices.
        landmark_weight: the weight, in the energy, of the squared distance of each landmark, by
            which these guide the registration; 0.1 is a hint, 1 a good start, 10 too much.
        stiff: an image on the grid of the fixed scan that is above 0 where the map is held stiff.
        settings: hyper-parameters of the run by dotted names (docs/methods.md), such as
            ``{"penalties.gradient.weight": 0.5}``.
        weights: the file of weights, for a run that is trained first.
        orientation: the orientation of images whose header does not tell it: ``sform``, ``qform``
            or three letters such as ``RAS``.
        threads: number of processors to use; by default all that this process may use.
        device: ``cpu``, ``cuda`` or ``cuda:N``.
        seed: seed of all random numbers.
        progress: called with the fraction done, 0 to 1, and what is being done.

    Raises:
        InputError: an image or an option is unusable; the message is one sentence.
        RegistrationError: the method could not register the pair.
    """
    if isinstance(init, str) and init not in STARTS and not Path(init).exists():
        raise InputError(f"{init!r} is no file and no kind of start{nearest(init, STARTS)}.")
    require_device(device)
    contrasts = {"fixed": _several(fixed, "fixed"), "moving": _several(moving, "moving")}
    scans: dict[str, ImageLike | None] = {side: given[0] for side, given in contrasts.items()}
    others = {"fixed_labels": fixed_labels, "labels": labels}
    masks = {"fixed_mask": fixed_mask, "moving_mask": moving_mask}
    inputs = _inputs({**scans, **others, **masks}, orientation, brain)
    inputs = _with_guides(
        inputs,
        [given[1:] for given in contrasts.values()],
        landmarks,
        stiff,
        weights=contrast_weights,
        label_weight=label_weight,
        landmark_weight=landmark_weight,
        orientation=orientation,
    )
    default = DEFAULT_RUN_OF_SLICES if is_slice(inputs.fixed.grid) else DEFAULT_RUN
    run = runnable_run(method or default, settings or {}, weights)
    if isinstance(init, Transform):
        start: str | Affine | Transform = Affine(init.matrix) if init.is_affine else init
    else:
        start = read_start(init if init in STARTS else Path(init), inputs)
    count = processors() if threads is None else threads
    if count < 1:
        raise InputError(f"threads is {threads}; give a whole number from 1 on.")
    watching = {} if progress is None else {"progress": progress}
    machine = Machine(count, seed, device, **watching)
    done = register_images(run, inputs, machine, start)
    said = {"init": init.name if isinstance(init, Transform) else str(init), "brain": brain}
    said |= {
        name: None if mask is None else name_of(mask, "an image") for name, mask in masks.items()
    }
    return RegistrationResult(done, {**said, "seed": seed, "threads": count, "device": device})


def _several(given: ImageLike | list[ImageLike], side: str) -> list[ImageLike]:
    """Return the contrasts of one side."""
    contrasts = given if isinstance(given, list) else [given]
    if not contrasts:
        raise InputError(f"The list of {side} scans is empty; give one scan at least.")
    return contrasts


def _with_guides(
    inputs: Inputs,
    further: Sequence[Sequence[ImageLike]],
    landmarks: tuple[PointsLike, PointsLike] | None,
    stiff: ImageLike | None,
    **weights: Any,
) -> Inputs:
    """Return ``inputs`` with what guides their registration, checked by the reader of the command
    line's files.

    Args:
        further: the further contrasts of the fixed and of the moving scan.
        weights: the other arguments of :func:`diffeode.desk.guide_files.read_guides`.
    """
    with ExitStack() as stack:

        def file_of(image: ImageLike, name: str) -> Path:
            return stack.enter_context(as_file(image, name_of(image, name)))

        names = [
            [name_of(image, f"the {side} image {place}") for place, image in enumerate(images, 2)]
            for side, images in zip(_SIDES, further, strict=True)
        ]
        files = [
            [file_of(image, name) for image, name in zip(images, called, strict=True)]
            for images, called in zip(further, names, strict=True)
        ]
        tables: dict[str, Any] = {}
        if landmarks is not None:
            if len(landmarks) != len(_SIDES):
                raise InputError(
                    f"landmarks has {len(landmarks)} tables; give that of the fixed scan and that "
                    "of the moving scan."
                )
            tables["landmarks"] = tuple(
                given if isinstance(given, pd.DataFrame) else load_points(given, scan=scan.grid)
                for given, scan in zip(landmarks, (inputs.fixed, inputs.moving), strict=True)
            )
            tables["landmark_names"] = tuple(
                name_of(given, f"the table of {side} landmarks")
                for given, side in zip(landmarks, _SIDES, strict=True)
            )
        held = None if stiff is None else file_of(stiff, "the stiff mask")
        fixed, moving = files
        read = read_guides(inputs, fixed, moving, stiff=held, **tables, **weights)
    named = [
        dataclasses.replace(other, fixed_name=here, moving_name=there)
        for other, here, there in zip(read.guides.contrasts, *names, strict=True)
    ]
    stiff_name = "" if stiff is None else name_of(stiff, "an image")
    guides = dataclasses.replace(read.guides, contrasts=tuple(named), stiff_name=stiff_name)
    return dataclasses.replace(read, guides=guides)


def _inputs(given: Mapping[str, ImageLike | None], orientation: str | None, brain: bool) -> Inputs:
    """Return what was given, checked by the reader of the command line's files.

    Args:
        given: the images by the names of :data:`_NAMES`.
    """
    with ExitStack() as stack:
        files: dict[str, Any] = {
            role: image
            if image is None or (isinstance(image, str) and image == NO_BACKGROUND)
            else stack.enter_context(as_file(image, name_of(image, _NAMES[role])))
            for role, image in given.items()
        }
        inputs = read_inputs(
            files["fixed"],
            files["moving"],
            files["fixed_labels"],
            files["labels"],
            orientation,
            files["fixed_mask"],
            files["moving_mask"],
            brain,
        )
    return dataclasses.replace(
        inputs,
        fixed_name=name_of(given["fixed"], _NAMES["fixed"]),
        moving_name=name_of(given["moving"], _NAMES["moving"]),
    )
