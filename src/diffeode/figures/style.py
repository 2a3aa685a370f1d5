"""What all figures share: page, type, the look of each run, and saving whole.

This is the only place that sets fonts, sizes and colours. Statistical figures are drawn with
seaborn, pictures of scans with matplotlib; both take their style from :func:`page`. Its import
takes a third of a second, so this module, which every picture needs, does not import it.
"""

from __future__ import annotations

import math
import textwrap
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import matplotlib as mpl
from cycler import cycler
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties
from matplotlib.lines import Line2D
from matplotlib.textpath import TextPath
from matplotlib.transforms import Bbox

from diffeode.errors import InputError
from diffeode.files.io import written_whole
from diffeode.names import nearest, readable

FULL_WIDTH_IN = 7.2
"""The width of two columns of a journal page, in inches."""

INK, SOFT, FAINT = "#222222", "#6b6b6b", "#d9d9d9"
"""The colours of text and marks, of secondary text, and of rules and ticks."""
FAILED = "#b2182b"
ACCENT = "#0072b2"
"""The colour of a single curve that belongs to no run."""

_LEGEND_MARK_PT = 32
"""The width of the mark and the gaps of an entry of a legend."""
_LEGEND_ROW_IN = 0.155
"""The height of a row of a legend."""
_LETTERS_A_LINE = 110
"""How many letters of the size of a sentence fit on a page of the full width."""
_FORMATS = ("png", "svg", "pdf")
_REFERENCES = {"identity": "#b3b3b3", "affine": "#7a7a7a"}
_OURS = "#d55e00"
# Okabe and Ito's colours, then Tol's muted ones: told apart with every common colour deficiency;
# vermillion is ours.
_OTHERS = (
    "#0072b2",
    "#009e73",
    "#cc79a7",
    "#56b4e9",
    "#e69f00",
    "#332288",
    "#999933",
    "#882255",
    "#44aa99",
    "#ddcc77",
)
_MARKERS = ("o", "s", "D", "^", "v", "P", "X", "<", ">", "p", "h", "*")
_HATCHES = (
    "",
    "////",
    "....",
    "\\\\\\\\",
    "xxxx",
    "----",
    "++++",
    "||||",
    "oooo",
    "//..",
    "**",
    "--..",
)

_PAPER = 0.8
"""The scale of seaborn's context ``paper``."""
_SEABORN = {
    "axes.prop_cycle": cycler(
        color=(
            *("#4c72b0", "#dd8452", "#55a868", "#c44e52", "#8172b3"),
            *("#937860", "#da8bc3", "#8c8c8c", "#ccb974", "#64b5cd"),
        )
    ),
    "legend.title_fontsize": 12 * _PAPER,
    "lines.linewidth": 1.5 * _PAPER,
    "lines.markersize": 6 * _PAPER,
    "lines.solid_capstyle": "round",
    "patch.edgecolor": "w",
    "patch.force_edgecolor": True,
    "patch.linewidth": 1 * _PAPER,
    "xtick.minor.width": 1 * _PAPER,
    "ytick.minor.size": 4 * _PAPER,
    "ytick.minor.width": 1 * _PAPER,
}
"""What seaborn's style ``ticks`` in the context ``paper`` sets and :data:`_STYLE` does not, but the
default map of colours, which no figure uses.
"""
_STYLE = {
    "font.family": "sans-serif",
    "font.sans-serif": ["Helvetica", "Arial", "Nimbus Sans", "Liberation Sans", "DejaVu Sans"],
    "font.size": 7,
    "axes.titlesize": 8,
    "axes.titleweight": "bold",
    "axes.titlelocation": "left",
    "axes.labelsize": 7,
    "axes.edgecolor": SOFT,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.6,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": INK,
    "xtick.color": SOFT,
    "ytick.color": SOFT,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": 6.5,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "xtick.minor.size": 1.5,
    "grid.color": "#e6e6e6",
    "grid.linewidth": 0.5,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "savefig.dpi": 300,
    "figure.facecolor": "white",
    "image.interpolation": "nearest",
    # Names of files and groups are shown as they are: a $ in them begins no formula.
    "text.parse_math": False,
    "pdf.fonttype": 42,
    # Words stay words, so that an editor or a search finds them.
    "svg.fonttype": "none",
    "hatch.linewidth": 0.35,
    # Equal input, equal bytes: a figure that did not change is not a change.
    "svg.hashsalt": "diffeode",
}
Out: TypeAlias = Path | Sequence[Path]
"""The file of a figure, or its files in several formats, for which it is drawn once."""
_METADATA = {"png": {"Software": None}, "svg": {"Date": None}, "pdf": {"CreationDate": None}}


@dataclass(frozen=True)
class Look:
    """How one run is drawn, the same in every figure of a study.

    Runs differ in marker and hatch as well as in colour, so that they are told apart with any
    colour vision and in print without colours.
    """

    title: str
    colour: str
    marker: str
    hatch: str
    emphasised: bool

    @property
    def weight(self) -> str:
        """The font weight of the run's title."""
        return "bold" if self.emphasised else "normal"


def looks(titles: Mapping[str, str], ours: str | None = None) -> dict[str, Look]:
    """Return the look of each run, which its place in ``titles`` (run to shown title) decides.

    Identity and affine, the starting points, are grey, and no other run has the colour of ``ours``.
    """
    coloured = [run for run in titles if run != ours and run not in _REFERENCES]
    colours = (
        {run: _OTHERS[i % len(_OTHERS)] for i, run in enumerate(coloured)}
        | _REFERENCES
        | {str(ours): _OURS}
    )
    return {
        run: Look(
            title,
            colours[run],
            _MARKERS[i % len(_MARKERS)],
            _HATCHES[i % len(_HATCHES)],
            run == ours,
        )
        for i, (run, title) in enumerate(titles.items())
    }


@contextmanager
def page(
    out: Out, width_in: float, height_in: float, layout: str | None = "constrained"
) -> Iterator[Figure]:
    """Yield a figure in the house style, and save it at ``out`` when the block ends without an
    error.

    The suffix of a file chooses its format. A file is written whole or not at all, and it is the
    same to the bit whether it is saved alone or with others.

    Raises:
        InputError: a suffix names no format of figures, or a folder cannot be written.
    """
    outs = list(out) if isinstance(out, Sequence) else [out]
    kinds = [_format(file) for file in outs]
    with mpl.rc_context(), ExitStack() as files:
        temporaries = [files.enter_context(written_whole(file)) for file in outs]
        mpl.rcdefaults()
        mpl.rcParams.update(_SEABORN | _STYLE)
        figure = Figure(figsize=(width_in, height_in), layout=layout)
        yield figure
        places = [(axes, axes.get_position(original=True)) for axes in figure.axes]
        for temporary, kind in zip(temporaries, kinds, strict=True):
            figure.savefig(temporary, format=kind, metadata=_METADATA[kind])
            _put(places)


def _put(places: Iterable[tuple[Axes, Bbox]]) -> None:
    """Put panels where they were before a figure was saved: a layout begins at the one before, and
    that of another format differs by fractions of a pixel.
    """
    for axes, place in places:
        is_laid_out = axes.get_in_layout()
        axes.set_position(place)
        axes.set_in_layout(is_laid_out)


def say(out: Out, sentence: str) -> None:
    """Save a figure that holds a sentence or some, for where there is nothing to draw.

    Long lines are broken, so that none is cut off at the edge.
    """
    wrapped = [textwrap.wrap(readable(line), _LETTERS_A_LINE) for line in sentence.splitlines()]
    lines = "\n".join(part for parts in wrapped for part in parts)
    height_in = max(1.0, 0.4 + 0.15 * sum(map(len, wrapped)))
    with page(out, FULL_WIDTH_IN, height_in) as figure:
        figure.text(0.5, 0.5, lines, ha="center", va="center", color=SOFT, fontsize=8)


def set_page_title(figure: Figure, title: str, left_in: float) -> None:
    """Write ``title`` at the top of ``figure``, ``left_in`` inches from its left edge."""
    width_in, height_in = figure.get_size_inches()
    figure.text(
        left_in / width_in, 1 - 0.04 / height_in, title, va="top", fontsize=8, weight="bold"
    )


def add_note(figure: Figure, left: float, top: float, note: str) -> None:
    """Write ``note`` small and grey, its corner at ``left`` and ``top``, fractions of the page."""
    figure.text(left, top, note, va="top", fontsize=6, color=SOFT, linespacing=1.4)


def add_colour_bar(
    figure: Figure,
    box: tuple[float, float, float, float],
    colours: ScalarMappable,
    label: str,
    extend: str,
    ticks: Sequence[float] | None = None,
) -> None:
    """Draw a flat colour bar with small words.

    Args:
        box: left, bottom, width and height as fractions of the page.
        extend: the ends beyond which values lie: ``max`` or ``both``.
        ticks: the values that are marked; where there are none, about three round ones.
    """
    bar = figure.colorbar(
        colours,
        cax=figure.add_axes(box),
        orientation="horizontal",
        extend=extend,
        ticks=ticks,
    )
    bar.outline.set_visible(False)
    bar.ax.tick_params(labelsize=6, length=1.5, pad=1)
    if ticks is None:
        bar.ax.locator_params(nbins=3)
    bar.set_label(label, fontsize=6, labelpad=1)


def weigh_labels(labels: Sequence, run_looks: Sequence[Look]) -> None:
    """Set each of ``labels`` in the font weight of its run."""
    for label, look in zip(labels, run_looks, strict=True):
        label.set_fontweight(look.weight)


def set_titles(
    panels: Sequence[Axes],
    titles: Sequence[str],
    run_looks: Sequence[Look] | None = None,
    **text: float,
) -> None:
    """Give each panel its title, broken into lines that are no wider than the panel.

    Everything else that takes room must be drawn before.

    Args:
        run_looks: the look of each panel's run, in whose font weight its title is set; None where
            panels show no runs.
    """
    figure = panels[0].get_figure(root=True)
    figure.draw_without_rendering()
    shown_titles = [panel.set_title("", **text) for panel in panels]
    if run_looks is not None:
        weigh_labels(shown_titles, run_looks)
    for panel, title, shown in zip(panels, titles, shown_titles, strict=True):
        width_pt = panel.get_window_extent().width / figure.dpi * 72
        shown.set_text("\n".join(_lines(title, width_pt, shown.get_fontproperties())))


def _lines(text: str, width_pt: float, font: FontProperties) -> list[str]:
    """Return the words of ``text`` in lines of at most ``width_pt``; only a single word may be
    wider.
    """
    lines: list[str] = []
    for word in text.split():
        longer = f"{lines[-1]} {word}" if lines else word
        if lines and TextPath((0, 0), longer, prop=font).get_extents().width <= width_pt:
            lines[-1] = longer
        else:
            lines.append(word)
    return lines


def round_up(value: float, steps: Sequence[float] = (1, 2, 5, 10)) -> float:
    """Return the smallest number that is at least ``value`` and is one of ``steps`` times a power
    of ten; 1 where ``value`` is not positive.
    """
    if value <= 0:
        return 1.0
    decade = 10.0 ** math.floor(math.log10(value))
    return next(step * decade for step in steps if step * decade >= value * (1 - 1e-9))


def _format(out: Path) -> str:
    kind = Path(out).suffix.lstrip(".").lower()
    if kind not in _FORMATS:
        raise InputError(f"{out} names no format of figures{nearest(kind, _FORMATS)}.")
    return kind


def rgb(colour: str) -> tuple[float, float, float]:
    """Return ``colour`` as red, green and blue, each from 0 to 1."""
    return to_rgb(colour)


def legend_columns(titles: Iterable[str], most: int = 4) -> int:
    """Return the number of columns, at most ``most``, with which a legend of these titles is no
    wider than the page.
    """
    font = FontProperties(family="sans-serif", size=_STYLE["legend.fontsize"])
    widths = [TextPath((0, 0), title, prop=font).get_extents().width for title in titles]
    fitting = int(72 * FULL_WIDTH_IN / (max(widths) + _LEGEND_MARK_PT))
    return max(1, min(most, fitting, len(widths)))


def legend_height_in(run_looks: Collection[Look]) -> float:
    """Return the height of the legend that :func:`add_legend` draws, in inches."""
    columns = legend_columns(look.title for look in run_looks)
    return _LEGEND_ROW_IN * math.ceil(len(run_looks) / columns)


def legend_handles(run_looks: Iterable[Look]) -> list[Line2D]:
    """Return an entry of a legend for each run, with the run's marker."""
    return [
        Line2D([], [], color=look.colour, marker=look.marker, lw=0, ms=4, label=look.title)
        for look in run_looks
    ]


def add_legend(figure: Figure, run_looks: Collection[Look]) -> None:
    """Draw a legend below all panels, with an entry for each run."""
    figure.legend(
        handles=legend_handles(run_looks),
        loc="outside lower center",
        ncols=legend_columns(look.title for look in run_looks),
    )


def box_fill(look: Look) -> dict[str, object]:
    """Return how a run's box is filled: hatched, in a pale colour, with an edge of the
    full colour.
    """
    return {
        "facecolor": (*rgb(look.colour), 0.35 if look.emphasised else 0.15),
        "edgecolor": look.colour,
        "hatch": look.hatch,
        "linewidth": 1.1 if look.emphasised else 0.8,
    }
