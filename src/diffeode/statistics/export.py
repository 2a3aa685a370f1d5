"""Write a table as TSV, which holds all digits, and as Markdown and LaTeX, which are rounded.

Rounding follows :data:`diffeode.evaluation.catalogue.METRICS`: a metric is shown with its own
number of decimals, everything else with three significant digits. ``x_mean`` and ``x_sd`` become
one column ``mean ± SD``, and a missing value is shown as a dash.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from diffeode.evaluation.catalogue import METRICS
from diffeode.files.io import write_text

MISSING = "\N{EN DASH}"
_SIGNIFICANT_DIGITS = 6
_STATISTICS = ("mean", "sd", "median")
_LATEX = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "≤": r"$\le$",
    MISSING: "--",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}


def write_table(
    frame: pd.DataFrame, stem: Path, caption: str, bold: Sequence[str] = ()
) -> list[Path]:
    """Write ``stem.tsv``, ``stem.md`` and ``stem.tex`` (booktabs), each whole, and return their
    paths.

    Args:
        stem: path of the files without their suffix.
        bold: metrics whose best mean in each experiment is set in bold (``dice``, ``hd95_mm``,
            ...).

    Raises:
        InputError: the folder cannot be written.
    """
    shown = as_shown(frame)
    best = {
        METRICS[metric].heading: _best_rows(frame, metric)
        for metric in bold
        if f"{metric}_mean" in frame
    }
    texts = {
        ".tsv": frame.to_csv(
            sep="\t", index=False, float_format=f"%.{_SIGNIFICANT_DIGITS}g", lineterminator="\n"
        ),
        ".md": _markdown(_emphasise(shown.map(_escape_markdown), best, "**{}**"), caption),
        ".tex": _latex(_emphasise(shown.map(escape_latex), best, r"\textbf{{{}}}"), caption),
    }
    paths = [stem.with_name(stem.name + suffix) for suffix in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_text(path, text)
    return paths


def as_shown(frame: pd.DataFrame) -> pd.DataFrame:
    """Return ``frame`` as rounded text under its headings, with each mean joined with its SD.

    >>> as_shown(pd.DataFrame({"run": ["node"], "dice_mean": [0.7514], "dice_sd": [0.0231]}))
        run           Dice
    0  node  0.751 ± 0.023
    """
    columns = {}
    for column in frame.columns:
        metric, statistic = _split(column)
        if statistic == "sd" and f"{metric}_mean" in frame:
            continue
        text = [format_number(value, metric) for value in frame[column]]
        if statistic == "mean" and f"{metric}_sd" in frame:
            text = [
                _join(mean, format_number(sd, metric))
                for mean, sd in zip(text, frame[f"{metric}_sd"], strict=True)
            ]
        columns[_heading(metric, statistic)] = text
    return pd.DataFrame(columns)


def format_number(value: object, metric: str = "") -> str:
    """Return ``value`` as it is shown.

    Reals get the decimals of ``metric``, or three significant digits where it has none. Words and
    whole numbers stay as they are.

    >>> format_number(0.75149, "dice"), format_number(1234.5), format_number(12)
    ('0.751', '1.23e+03', '12')
    """
    if isinstance(value, float | np.floating):
        if np.isnan(value):
            return MISSING
        decimals = METRICS[metric].decimals if metric in METRICS else None
        return f"{value:.3g}" if decimals is None else f"{value:.{decimals}f}"
    return str(value)


def escape_latex(text: str) -> str:
    r"""Return ``text`` with every character escaped that LaTeX would take for a command.

    >>> print(escape_latex("50 % of sub_01"))
    50 \% of sub\_01
    """
    return "".join(_LATEX.get(character, character) for character in text)


def _escape_markdown(text: str) -> str:
    return text.replace("|", "\\|")


def _split(column: str) -> tuple[str, str]:
    metric, _, statistic = column.rpartition("_")
    return (metric, statistic) if statistic in _STATISTICS and metric in METRICS else (column, "")


def _heading(metric: str, statistic: str) -> str:
    if metric not in METRICS:
        return metric.replace("_", " ")
    return (
        f"{METRICS[metric].heading}, median" if statistic == "median" else METRICS[metric].heading
    )


def _join(mean: str, sd: str) -> str:
    return mean if MISSING in (mean, sd) else f"{mean} ± {sd}"


def _best_rows(frame: pd.DataFrame, metric: str) -> set[int]:
    """Return the positions of the rows whose mean of ``metric`` is the best of their experiment."""
    values = frame[f"{metric}_mean"].reset_index(drop=True)
    groups = (
        frame["experiment"].reset_index(drop=True)
        if "experiment" in frame
        else pd.Series(0, values.index)
    )
    extreme = "max" if METRICS[metric].better == "larger" else "min"
    return set(np.flatnonzero(values == values.groupby(groups).transform(extreme)))


def _emphasise(shown: pd.DataFrame, best: dict[str, set[int]], pattern: str) -> pd.DataFrame:
    marked = shown.copy()
    for heading, rows in best.items():
        cells = enumerate(shown[heading])
        marked[heading] = [
            pattern.format(cell) if position in rows else cell for position, cell in cells
        ]
    return marked


def _markdown(shown: pd.DataFrame, caption: str) -> str:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(cells)} |\n"

    head = line([_escape_markdown(heading) for heading in shown.columns])
    return f"{caption}\n\n{head}{line(['---'] * shown.shape[1])}{_lines(shown, line)}"


def _latex(shown: pd.DataFrame, caption: str) -> str:
    def line(cells: Sequence[str]) -> str:
        return " & ".join(cells) + " \\\\\n"

    head = line([escape_latex(heading) for heading in shown.columns])
    return (
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{escape_latex(caption)}}}\n"
        f"\\begin{{tabular}}{{{'l' * shown.shape[1]}}}\n"
        f"\\toprule\n{head}\\midrule\n{_lines(shown, line)}"
        "\\bottomrule\n\\end{tabular}\n\\end{table}\n"
    )


def _lines(shown: pd.DataFrame, line: Callable[[Sequence[str]], str]) -> str:
    return "".join(line(cells) for cells in shown.itertuples(index=False, name=None))
