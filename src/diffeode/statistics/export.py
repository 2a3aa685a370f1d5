"""Write a table as TSV, which holds all digits, and as Markdown, LaTeX and HTML, which are rounded.

Rounding follows :data:`diffeode.evaluation.catalogue.METRICS`: a metric is shown with its own
number of decimals, everything else with three significant digits. ``x_mean`` and ``x_sd`` become
one column ``mean ± SD``, which says where ``x_missing`` pairs have no value, and a missing value is
shown as a dash. The best value of an experiment is bold in all three forms, unless it is a mean
over fewer pairs than another one. In HTML, rows of one experiment stand under a row with its title.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from html import escape
from pathlib import Path

import numpy as np
import pandas as pd

from diffeode.evaluation.catalogue import METRICS
from diffeode.files.io import write_text

MISSING = "\N{EN DASH}"
_SIGNIFICANT_DIGITS = 6
_STATISTICS = ("mean", "sd", "median", "missing")
_LATEX = {
    "\\": r"\textbackslash{}",
    **{character: f"\\{character}" for character in "&%$#_{}"},
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "±": r"$\pm$",
    "≤": r"$\le$",
    "\N{MULTIPLICATION SIGN}": r"$\times$",
    "·": r"$\cdot$",
    "\N{MINUS SIGN}": r"$-$",
    "\N{RIGHTWARDS ARROW}": r"$\to$",
    "\N{HORIZONTAL ELLIPSIS}": r"\ldots{}",
    MISSING: "--",
    "\N{EM DASH}": "---",
    "²": r"$^2$",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
}
_PAGE_STYLE = """
body { font: 14px/1.4 system-ui, sans-serif; margin: 1.5em; color: #222; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: 0.25em 0.8em; text-align: left; }
td.number { white-space: nowrap; }
td.number:first-child { white-space: normal; min-width: 8em; max-width: 16em; }
.grouped td.number:first-child { white-space: nowrap; max-width: none; }
tr.experiment th { background: #f3f3f3; }
th, td { border-bottom: 1px solid #ddd; }
thead th { vertical-align: bottom; border-bottom: 1.5px solid #222; }
thead th { position: sticky; top: 0; background: white; }
.reported { color: #6b6b6b; border-left: 1.5px solid #222; }
"""
REPORTED = "reported"
"""The beginning of the names of columns of reported numbers, which a rule sets apart."""


def write_table(
    frame: pd.DataFrame,
    stem: Path,
    caption: str,
    bold: Sequence[str] = (),
    shown: pd.DataFrame | None = None,
) -> list[Path]:
    """Write ``stem.tsv``, ``stem.md`` and ``stem.tex`` (booktabs), each whole, and return their
    paths.

    Args:
        stem: path of the files without their suffix.
        bold: metrics whose best mean in each experiment is set in bold (``dice``, ``hd95_mm``,
            ...).
        shown: what Markdown and LaTeX hold; ``frame`` where it is None.

    Raises:
        InputError: the folder cannot be written.
    """
    shown = frame if shown is None else shown
    texts = {
        ".tsv": frame.to_csv(
            sep="\t", index=False, float_format=f"%.{_SIGNIFICANT_DIGITS}g", lineterminator="\n"
        ),
        ".md": _markdown(_finished(shown, bold, _escape_markdown, "**{}**"), caption),
        ".tex": _latex(_finished(shown, bold, escape_latex, r"\textbf{{{}}}"), caption),
    }
    paths = [stem.with_name(stem.name + suffix) for suffix in texts]
    for path, text in zip(paths, texts.values(), strict=True):
        write_text(path, text)
    return paths


def write_page(frame: pd.DataFrame, path: Path, caption: str, bold: Sequence[str] = ()) -> None:
    """Write ``frame``, rounded, headed and with its best values as in the other forms of a table,
    as an HTML page with ``caption`` above.

    Raises:
        InputError: the folder cannot be written.
    """
    shown = _finished(frame, bold, escape, "<strong>{}</strong>")
    head = (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<style>{_PAGE_STYLE}</style>\n'
    )
    table = _html(shown) if len(shown) else "<p>No rows.</p>\n"
    write_text(path, f"{head}<p>{escape(caption)}</p>\n{table}</html>\n")


def as_shown(frame: pd.DataFrame) -> pd.DataFrame:
    """Return ``frame`` as rounded text under its headings, with each mean joined with its SD and
    with the number of pairs that it lacks.

    >>> as_shown(pd.DataFrame({"run": ["node"], "dice_mean": [0.7514], "dice_sd": [0.0231]}))
        run           Dice
    0  node  0.751 ± 0.023
    """
    columns = {}
    for column in frame.columns:
        metric, statistic = _split(column)
        if statistic in ("sd", "missing") and f"{metric}_mean" in frame:
            continue
        text = [format_number(value, metric) for value in frame[column]]
        if statistic == "mean" and f"{metric}_sd" in frame:
            text = [
                _join(mean, format_number(sd, metric))
                for mean, sd in zip(text, frame[f"{metric}_sd"], strict=True)
            ]
        if statistic == "mean" and f"{metric}_missing" in frame:
            text = [
                _and_missing(mean, missing)
                for mean, missing in zip(text, frame[f"{metric}_missing"], strict=True)
            ]
        is_plain = statistic != "median" and f"{metric}_median" not in frame
        columns[_heading(metric, "" if is_plain else statistic)] = text
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
    r"""Return ``text`` on one line, in which nothing is a cell's end or the beginning of HTML.

    >>> print(_escape_markdown("a|b <b>c</b> p < 0.05"))
    a\|b \<b>c\</b> p < 0.05
    """
    return re.sub(r"(\||<(?=[A-Za-z/!?]))", r"\\\1", " ".join(text.splitlines()))


def _split(column: str) -> tuple[str, str]:
    metric, _, statistic = column.rpartition("_")
    return (metric, statistic) if statistic in _STATISTICS and metric in METRICS else (column, "")


def _heading(metric: str, statistic: str) -> str:
    if metric not in METRICS:
        # A name with a dot is the key of a setting, which a reader may copy.
        return metric if "." in metric else metric.replace("_", " ")
    return f"{METRICS[metric].heading}, {statistic}" if statistic else METRICS[metric].heading


def _join(mean: str, sd: str) -> str:
    return mean if MISSING in (mean, sd) else f"{mean} ± {sd}"


def _and_missing(mean: str, missing: float) -> str:
    return f"{mean} ({missing:.0f} missing)" if missing > 0 and mean != MISSING else mean


def _finished(
    frame: pd.DataFrame, bold: Sequence[str], written: Callable[[str], str], pattern: str
) -> pd.DataFrame:
    """Return ``frame`` as text, every word changed by ``written`` and the best ones put into
    ``pattern``.
    """
    shown = as_shown(frame).map(written)
    best = {
        METRICS[metric].heading: _best_rows(frame, metric)
        for metric in bold
        if f"{metric}_mean" in frame
    }
    marked = _emphasise(shown, best, pattern)
    return marked.rename(columns={heading: written(heading) for heading in marked.columns})


def _best_rows(frame: pd.DataFrame, metric: str) -> set[int]:
    """Return the positions of the best mean of each experiment; none where all rows have
    the same, or where the best mean is over fewer pairs than another one.
    """
    frame = frame.reset_index(drop=True)
    values = frame[f"{metric}_mean"]
    groups = frame["experiment"] if "experiment" in frame else pd.Series(0, values.index)
    extreme = "max" if METRICS[metric].better == "larger" else "min"
    best = values == values.groupby(groups).transform(extreme)
    distinguishes = ~best.groupby(groups).transform("all") | (
        groups.map(groups.value_counts()) == 1
    )
    # Which pairs a mean leaves out may be all that makes it the best.
    is_doubtful = (best & _lacks_pairs(frame, metric, groups)).groupby(groups).transform("any")
    return set(np.flatnonzero(best & distinguishes & ~is_doubtful))


def _lacks_pairs(frame: pd.DataFrame, metric: str, groups: pd.Series) -> pd.Series:
    """Return which means are over fewer pairs than another mean of their group, bool."""
    if f"{metric}_missing" not in frame:
        return pd.Series(False, frame.index)
    missing = frame[f"{metric}_missing"].where(frame[f"{metric}_mean"].notna())
    return missing > missing.groupby(groups).transform("min")


def _emphasise(shown: pd.DataFrame, best: Mapping[str, set[int]], pattern: str) -> pd.DataFrame:
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

    head = line(list(shown.columns))
    rule = line(["---"] * shown.shape[1])
    return f"{_escape_markdown(caption)}\n\n{head}{rule}{_lines(shown, line)}"


def _latex(shown: pd.DataFrame, caption: str) -> str:
    def line(cells: Sequence[str]) -> str:
        return " & ".join(cells) + " \\\\\n"

    apart = r"@{\hspace{2em}}l"
    columns = "".join(apart if _is_reported(heading) else "l" for heading in shown.columns)
    return (
        "% needs \\usepackage{booktabs} and \\usepackage{graphicx}\n"
        "\\begin{table}\n\\centering\n"
        f"\\caption{{{escape_latex(caption)}}}\n"
        "\\resizebox{\\ifdim\\width>\\linewidth\\linewidth\\else\\width\\fi}{!}{%\n"
        f"\\begin{{tabular}}{{{columns}}}\n"
        f"\\toprule\n{line(list(shown.columns))}\\midrule\n{_lines(shown, line)}"
        "\\bottomrule\n\\end{tabular}}\n\\end{table}\n"
    )


def _html(shown: pd.DataFrame) -> str:
    """Return ``shown`` as a table. Where its first column holds experiments and one of them has
    several rows, a row above those of each experiment takes the place of that column.
    """
    is_grouped = shown.columns[0] == "experiment" and shown["experiment"].duplicated().any()
    if not is_grouped:
        return _html_table(list(shown.columns), _html_rows(shown))
    headings = list(shown.columns[1:])
    title = f'<tr class="experiment"><th colspan="{len(headings)}">{{}}</th></tr>\n'
    rows = [
        title.format(experiment) + _html_rows(of_experiment.iloc[:, 1:])
        for experiment, of_experiment in shown.groupby("experiment", sort=False)
    ]
    return _html_table(headings, "".join(rows), ' class="grouped"')


def _html_table(headings: Sequence[str], rows: str, kind: str = "") -> str:
    head = _html_line(headings, headings, "th")
    return f"<table{kind}>\n<thead>\n{head}</thead>\n<tbody>\n{rows}</tbody>\n</table>\n"


def _html_rows(shown: pd.DataFrame) -> str:
    headings = list(shown.columns)
    return _lines(shown, lambda cells: _html_line(headings, cells, "td"))


def _html_line(headings: Sequence[str], cells: Sequence[str], tag: str) -> str:
    kinds = ["reported" if _is_reported(heading) else "number" for heading in headings]
    inner = "".join(
        f'<{tag} class="{kind}">{cell}</{tag}>' for kind, cell in zip(kinds, cells, strict=True)
    )
    return f"<tr>{inner}</tr>\n"


def _is_reported(heading: str) -> bool:
    return heading.startswith(REPORTED)


def _lines(shown: pd.DataFrame, line: Callable[[Sequence[str]], str]) -> str:
    return "".join(line(cells) for cells in shown.itertuples(index=False, name=None))
