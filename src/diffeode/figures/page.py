"""One page about one registration, in a single file that needs no network: before and after,
deformation, scores, which way the maps go, and how it was made.
"""

from __future__ import annotations

import base64
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import jinja2
import matplotlib as mpl
import numpy as np
from matplotlib.colors import to_hex

from diffeode.figures.convergence import read_trace
from diffeode.figures.edges import EDGE_COLOUR
from diffeode.figures.page_energy import energy_picture
from diffeode.figures.page_scores import WORDS, Score, Structure, score_of_slices
from diffeode.figures.page_slices import LONGEST_PX, view_of_slices
from diffeode.figures.page_views import View, views_of
from diffeode.figures.pair_panel import FOLD_COLOUR, LOG_J_LIMIT, Scene
from diffeode.figures.slice_panel import SliceScene
from diffeode.files.io import write_text

LARGEST_BYTES = 3_000_000
"""A page that would be larger shows fewer slices."""
_SLICES = (7, 5, 3, 1)
_TEMPLATE = Path(__file__).with_name("page.html")


@final
@dataclass(frozen=True)
class Use:
    """A way to apply the maps.

    Attributes:
        what: what it does, a sentence.
        command: what to type.
    """

    what: str
    command: str


@final
@dataclass(frozen=True, eq=False)
class Account:
    """What a page says in words and numbers.

    Attributes:
        fixed_name, moving_name: the names of the two scans.
        method: the title of the method.
        program: name and version of the program that registered.
        suspect, verdict: whether the registration is suspect, and why, a sentence.
        signs: the numbers behind the verdict.
        notes: sentences of the method.
        scores: the metrics.
        structures: the overlap of each structure; empty where no labels were given.
        warp, inverse: names of the files of the two maps.
        inverse_origin: where the inverse comes from, a sentence.
        uses: how the maps are applied.
        files: name and meaning of each file beside the page.
        command: what was typed; empty where nothing was.
        made: further facts about how the registration was made, by name.
        settings: every hyper-parameter of the method, by name.
        versions: of the packages that computed.
        brought: where the moving image lies before the registration, in words.
    """

    fixed_name: str
    moving_name: str
    method: str
    program: str
    suspect: bool
    verdict: str
    signs: Sequence[Score]
    notes: Sequence[str]
    scores: Sequence[Score]
    structures: Sequence[Structure]
    warp: str
    inverse: str
    inverse_origin: str
    uses: Sequence[Use]
    files: Sequence[tuple[str, str]]
    command: str
    made: Mapping[str, str]
    settings: Mapping[str, str]
    versions: Mapping[str, str]
    brought: str = "after the affine"


def write_page(scene: Scene | SliceScene, account: Account, trace: Path | None, out: Path) -> None:
    """Write the page of a registration to ``out``, whole or not at all.

    Names and texts are shown as they are, and never run as code.

    Args:
        trace: the table of the energy of each iteration; None where the method keeps none.

    Raises:
        InputError: ``out`` cannot be written, or the foreground is empty.
        DamagedFileError: the trace is no table.
    """
    if isinstance(scene, SliceScene):
        account = _of_slices(account, scene.unit)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined)
    template = environment.from_string(_TEMPLATE.read_text(encoding="utf-8"))
    about = {name: getattr(account, name) for name in account.__dataclass_fields__}
    tables = {name: about[name].items() for name in ("made", "settings", "versions")}
    shown = dict(
        **{**about, **tables},
        words=WORDS,
        kind=_Kind.of(scene),
        aligned=scene.aligned,
        before_word=f"moving, {account.brought}" if scene.aligned else "moving",
        displacement=_displacement_in_words(scene),
        folds=_folds_in_words(scene),
        energy=_energy_address(trace, account.method),
        edge_colour=EDGE_COLOUR,
        fold_colour=FOLD_COLOUR,
        limit=f"{LOG_J_LIMIT:g}",
        scale=[to_hex(colour) for colour in mpl.colormaps["RdBu_r"](np.linspace(0, 1, 11))],
    )
    for size in range(len(_SLICES)):
        page = template.render(**shown, views=_views(scene, size))
        if len(page.encode("utf-8", "replace")) <= LARGEST_BYTES:
            break
    write_text(out, page)


@final
@dataclass(frozen=True)
class _Kind:
    """The words for what is registered.

    Attributes:
        scan, voxel, volume: what an image, its smallest part and its measure are called.
        flat: whether the images are slices.
        pictures: whether they are pictures, whose unit of length is a pixel.
    """

    scan: str = "scan"
    voxel: str = "voxel"
    volume: str = "volume"
    flat: bool = False
    pictures: bool = False

    @classmethod
    def of(cls, scene: Scene | SliceScene) -> _Kind:
        if isinstance(scene, Scene):
            return cls()
        return cls("slice", "pixel", "area", flat=True, pictures=scene.unit == "pixels")


def _views(scene: Scene | SliceScene, size: int) -> list[View]:
    """Return the pictures of a page: with ``size`` 0 as many and as large ones as there are, and
    with each larger ``size`` fewer or smaller ones.
    """
    if isinstance(scene, SliceScene):
        return [view_of_slices(scene, LONGEST_PX[size])]
    return views_of(scene, _SLICES[size])


def _of_slices(account: Account, unit: str) -> Account:
    """Return ``account`` in words that suit slices."""
    signs, scores = (
        [score_of_slices(score, unit) for score in some] for some in (account.signs, account.scores)
    )
    return replace(account, signs=signs, scores=scores)


def _displacement_in_words(scene: Scene | SliceScene) -> str:
    if isinstance(scene, SliceScene):
        displacement, unit = scene.own.displacement_mm[:, :, 0][scene.tissue], scene.unit
        moved = np.linalg.norm(displacement, axis=-1)
    else:
        moved, unit = scene.moved_mm, "mm"
    half, most = np.quantile(moved, [0.5, 0.995])
    return (
        f"Half of the foreground moves by more than {half:.2g} {unit}, and almost all of it by "
        f"less than {most:.2g} {unit}."
    )


def _folds_in_words(scene: Scene | SliceScene) -> str:
    folded, counted = scene.folds()
    voxel = _Kind.of(scene).voxel
    if not folded:
        return f"No {voxel} folds."
    return f"{folded:,} of {counted:,} {voxel}s fold ({100 * folded / counted:.2g} %)."


def _energy_address(trace: Path | None, title: str) -> str:
    """Return an address that holds the picture of the energy; empty where there is no energy."""
    if trace is None:
        return ""
    table = read_trace(trace)
    if "energy" not in table or not len(table):
        return ""
    picture = energy_picture(table, title)
    if not picture:
        return ""
    return f"data:image/svg+xml;base64,{base64.b64encode(picture.encode()).decode()}"
