"""The runs of a study: named ones, named ones with other settings, and sweeps of a setting.

An entry of a study's ``runs`` is the name of a run, or a block::

    run: node-mind                            # a file of config/methods
    set: {similarity.mind.dilation: 1}        # settings that differ from that file
    sweep: {penalties.jacobian.barrier: [0.1, 0.3, 0.5]}   # one run for each value
    name: node-mind-near                      # in place of the name that is made of these
    title: MIND, barrier {barrier}            # {barrier} stands for the value of each run

A sweep of several settings makes one run for each combination of their values.
"""

from __future__ import annotations

import itertools
import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

from diffeode.errors import InputError
from diffeode.names import nearest
from diffeode.registration.knobs import dotted
from diffeode.registration.runs import Run, load_run

_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_WRITABLE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")


@final
@dataclass(frozen=True)
class Sweep:
    """The runs that one entry with ``sweep`` makes.

    Attributes:
        run: name of the run whose settings are varied.
        name: the beginning of the names of its runs: the block's own name, or ``run``.
        settings: dotted names of the settings that are varied.
        points: by the name of each run, the values of these settings, in the order of ``settings``,
            as numbers and words; a list of one value, as of iterations on one level, counts as that
            value.
        title: the title of ``run``, and what else the block sets where another sweep varies the
            same settings of that run and sets something else.
    """

    run: str
    name: str
    settings: tuple[str, ...]
    points: Mapping[str, tuple[float | str, ...]]
    title: str


def read_runs(entries: Sequence[Any], where: str) -> tuple[tuple[Run, ...], tuple[Sweep, ...]]:
    """Return the runs and the sweeps that the entries of a study's ``runs`` stand for, in order.

    Runs that share a title get their names added to it.

    Args:
        entries: the entries, which the study's schema allows.
        where: the file or the configuration that holds the entries, for messages.

    Raises:
        InputError: there is no such run or setting, a value does not fit, two runs have one name,
            or a title names a setting that is not varied.
    """
    runs: list[Run] = []
    sweeps: list[tuple[Sweep, tuple[str, ...]]] = []
    for entry in entries:
        if isinstance(entry, str):
            runs.append(load_run(entry))
            continue
        made = list(_runs_of(entry, where))
        runs += [run for run, _ in made]
        if "sweep" in entry:
            points = {run.name: tuple(map(_compared, values.values())) for run, values in made}
            name, title = entry.get("name", entry["run"]), load_run(entry["run"]).title
            sweep = Sweep(entry["run"], name, tuple(dotted(entry["sweep"])), points, title)
            sweeps.append((sweep, _in_words(_by_short_name(dotted(entry.get("set", {}))))))
    _require_distinct_names(runs, where)
    return tuple(_told_apart(runs)), tuple(_sweeps_told_apart(sweeps))


def crossed(sweeps: Iterable[Sweep]) -> dict[str, Sweep]:
    """Return the sweeps of two settings, each under a word that can be the name of a file, such as
    ``nodeo-steps-iterations``.
    """
    found: dict[str, Sweep] = {}
    alike: Counter[str] = Counter()
    for sweep in sweeps:
        if len(sweep.settings) == 2:
            word = "-".join([sweep.name, *_by_short_name(dict.fromkeys(sweep.settings))])
            alike[word] += 1
            found[word if alike[word] == 1 else f"{word}-{alike[word]}"] = sweep
    return found


def _runs_of(entry: Mapping[str, Any], where: str) -> Iterator[tuple[Run, dict[str, Any]]]:
    """Yield each run of a block, and the values of the settings that are varied in it."""
    base = load_run(entry["run"])
    fixed = dotted(entry.get("set", {}))
    varied = dotted(entry.get("sweep", {}))
    if not fixed and not varied:
        raise InputError(
            f"{where} has a block for run {base.name} that changes nothing; give it set or sweep, "
            "or write the name of the run alone."
        )
    for name, values in varied.items():
        if not isinstance(values, list) or not values or any(map(_is_block, values)):
            raise InputError(
                f"{where} sweeps {name} of run {base.name} over {values!r}; give a list of numbers "
                "or words."
            )
    for combination in itertools.product(*varied.values()):
        point = dict(zip(varied, combination, strict=True))
        yield _variant(entry, base, fixed, point, where), point


def _variant(
    entry: Mapping[str, Any],
    base: Run,
    fixed: Mapping[str, Any],
    point: Mapping[str, Any],
    where: str,
) -> Run:
    try:
        run = base.changed({**fixed, **point})
    except InputError as error:
        raise InputError(f"{where}, block of run {base.name}: {error}") from None
    changes = _by_short_name({**fixed, **point})
    in_name = _by_short_name(point) if "name" in entry else changes
    parts = (f"{setting}-{value}" for setting, value in in_name.items())
    name = "-".join([entry.get("name", base.name), *parts])
    if not _WRITABLE.fullmatch(name):
        raise InputError(
            f"{where} makes a run called {name!r}, which cannot be the name of a file; give its "
            "block a name of letters, digits, dots and dashes."
        )
    return replace(run, name=name, title=_title(entry, base, changes, where))


def _by_short_name(values: Mapping[str, Any]) -> dict[str, str]:
    """Return the values as they are shown, by the last part of their settings' dotted names.

    Two settings that end alike, as weights do, keep the part before it.
    """
    parts = {setting: setting.split(".") for setting in values}
    last = Counter(part[-1] for part in parts.values())
    return {
        "_".join(part[-1:] if last[part[-1]] == 1 else part[-2:]): _shown(values[setting])
        for setting, part in parts.items()
    }


def _is_block(value: Any) -> bool:
    return isinstance(value, Mapping)


def _compared(value: Any) -> float | str:
    """Return a value as tables and figures compare it: a number or a word."""
    alone = value[0] if isinstance(value, list) and len(value) == 1 else value
    is_number = isinstance(alone, int | float) and not isinstance(alone, bool)
    return alone if is_number else _shown(alone)


def _shown(value: Any) -> str:
    """Return a value as YAML writes it, with the values of a list joined by dashes."""
    if isinstance(value, list):
        return "-".join(map(_shown, value))
    return str(value).lower() if isinstance(value, bool) or value is None else str(value)


def _title(entry: Mapping[str, Any], base: Run, words: Mapping[str, str], where: str) -> str:
    if "title" not in entry:
        return ", ".join([base.title, *_in_words(words)])
    for name in _PLACEHOLDER.findall(entry["title"]):
        if name not in words:
            raise InputError(
                f"{where} has the title {entry['title']!r}, but its block changes no setting "
                f"called {name!r}{nearest(name, words)}."
            )
    return _PLACEHOLDER.sub(lambda match: words[match[1]], entry["title"])


def _in_words(values: Mapping[str, str]) -> tuple[str, ...]:
    return tuple(f"{setting.replace('_', ' ')} {value}" for setting, value in values.items())


def _require_distinct_names(runs: Sequence[Run], where: str) -> None:
    counts = Counter(run.name for run in runs)
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise InputError(
            f"{where} has two runs with the name {twice[0]!r}, whose results would lie in one "
            "place; give one of their blocks another name."
        )


def _told_apart(runs: Sequence[Run]) -> Iterator[Run]:
    """Yield ``runs``; those that share a title get their name added to it."""
    counts = Counter(run.title for run in runs)
    for run in runs:
        if counts[run.title] == 1:
            yield run
        else:
            yield replace(run, title=f"{run.title} ({run.name})")


def _sweeps_told_apart(sweeps: Sequence[tuple[Sweep, tuple[str, ...]]]) -> Iterator[Sweep]:
    """Yield each sweep, which comes with what its block sets, in words. Those that vary the same
    settings of one run and set different things get these words added to their titles: figures
    draw one curve for each title.
    """
    alike: defaultdict[tuple[str, tuple[str, ...]], set[tuple[str, ...]]] = defaultdict(set)
    for sweep, words in sweeps:
        alike[sweep.run, sweep.settings].add(words)
    for sweep, words in sweeps:
        differs = len(alike[sweep.run, sweep.settings]) > 1
        yield replace(sweep, title=", ".join([sweep.title, *words])) if differs else sweep
