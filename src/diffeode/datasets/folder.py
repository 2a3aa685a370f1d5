"""Scans of any folder, which are found by a pattern such as
``OASIS_OAS1_{subject}_MR{session}/aligned_norm.nii.gz``.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import final

from diffeode.datasets.demographics import Demographics, subject_key
from diffeode.datasets.scan import Scan, require_distinct, require_folder
from diffeode.errors import InputError
from diffeode.files.presence import without_hidden
from diffeode.names import nearest, short

PLACEHOLDERS = ("subject", "session", "run", "group")
"""The placeholders of a pattern. Besides, ``*`` stands for anything within one name, and ``**/``
at the beginning of a name for any number of folders.
"""

_TOKEN = re.compile(r"\{(\w*)\}|((?:^|(?<=/))\*\*/)|(\*+)")


def list_folder(
    dataset: str,
    root: Path,
    patterns: Mapping[str, str],
    modalities: Sequence[str],
    label_maps: str | None = None,
    demographics: Demographics | None = None,
) -> list[Scan]:
    """Return every scan of ``modalities`` under ``root``, sorted by name.

    Each comes with its label map and what is known of the person. The names of subjects and
    sessions are reduced to their letters and digits (``BPDwPsy_065`` becomes ``BPDwPsy065``). Of
    several runs the first is taken. Where sessions are numbers, they are taken for days, by which
    demographics with days are joined.

    Args:
        patterns: for each modality, the path of its scans below ``root``, with ``{subject}`` and,
            where there are any, ``{session}``, ``{run}`` and ``{group}``. A group in the path takes
            precedence over the demographics.
        label_maps: the same for label maps; a label map without a session belongs to all sessions
            of the person.

    Raises:
        InputError: there is no such folder, no pattern for a modality, no scan, two files for one
            scan, or a subject or session without letters and digits; or a pattern lacks
            ``{subject}``, has an unknown placeholder, or begins at the root of the file system.
    """
    root = Path(root)
    require_folder(dataset, root)
    labels = _found(root, label_maps, dataset, "label maps") if label_maps else {}
    scans = []
    for modality in modalities:
        if modality not in patterns:
            raise InputError(
                f"Dataset {dataset} has no pattern for {short(modality)}"
                f"{nearest(modality, patterns)}."
            )
        for (subject, session), path in _found(
            root, patterns[modality], dataset, f"{modality} scans"
        ).items():
            person = (demographics or Demographics()).of(subject, _day(session))
            labelled = labels.get((subject, session)) or labels.get((subject, None))
            known = person.as_fields() | _named_group(
                patterns[modality], path.relative_to(root), dataset
            )
            scans.append(Scan(dataset, subject, session, modality, path, labelled, None, **known))
    require_distinct(scans)
    return sorted(scans, key=lambda scan: scan.id)


@final
@dataclass(frozen=True)
class _Pattern:
    """A compiled pattern: ``glob`` lists candidates in a folder, and ``regex`` tells which of them
    fit.
    """

    glob: str
    regex: re.Pattern[str]


def _found(root: Path, pattern: str, dataset: str, what: str) -> dict[tuple[str, str | None], Path]:
    """Return the files that fit ``pattern``, by subject and session."""
    compiled = _compile(pattern, dataset)
    runs: dict[tuple[str, str | None], dict[int, Path]] = {}
    spelled: dict[tuple[str, str | None], tuple[str, str | None]] = {}
    for path in without_hidden(root.glob(compiled.glob)):
        match = compiled.regex.fullmatch(path.relative_to(root).as_posix())
        if match is None:
            continue
        parts = match.groupdict()
        names = parts["subject"], parts.get("session")
        scan = _key(names[0], path), None if names[1] is None else _key(names[1], path)
        of_scan = runs.setdefault(scan, {})
        run = int(parts.get("run") or 0)
        if run in of_scan:
            raise InputError(
                f"Dataset {dataset} has {of_scan[run]} and {path} for one scan; keep one."
            )
        if spelled.setdefault(scan, names) != names:
            other = next(iter(of_scan.values()))
            raise InputError(
                f"Dataset {dataset} has {other} and {path}, whose subjects and sessions have the "
                "same letters and digits; rename one."
            )
        of_scan[run] = path
    if not runs:
        raise InputError(
            f"Dataset {dataset} has no {what} {pattern} under {root}; correct the pattern or the "
            "root of the dataset."
        )
    return {scan: of_scan[min(of_scan)] for scan, of_scan in runs.items()}


def _key(name: str, path: Path) -> str:
    """Return the letters and digits of the name of a subject or session in ``path``."""
    key = subject_key(name)
    if not key:
        raise InputError(
            f"{path} has the subject or session {short(name)}, which has no letter and no digit; "
            "rename it."
        )
    return key


def _named_group(pattern: str, path: Path, dataset: str) -> dict[str, str]:
    match = _compile(pattern, dataset).regex.fullmatch(path.as_posix())
    return {"group": match["group"]} if "group" in match.groupdict() else {}


def _compile(pattern: str, dataset: str) -> _Pattern:
    if pattern.startswith("/"):
        raise InputError(
            f"Dataset {dataset} has the pattern {pattern!r}, which begins with '/'; give the path "
            "below the root of the dataset."
        )
    glob, regex, seen, position = "", "", set(), 0
    for token in _TOKEN.finditer(pattern):
        literal = pattern[position : token.start()]
        name, folders, anything = token.groups()
        if name is not None and name not in PLACEHOLDERS:
            raise InputError(
                f"Dataset {dataset} has the pattern {pattern!r}, whose {{{name}}} is no placeholder"
                f"{nearest(name, PLACEHOLDERS)}."
            )
        glob += _escaped(literal)
        if folders:
            glob += folders
        elif not glob.endswith("*"):  # two stars side by side would stand for folders
            glob += "*"
        regex += re.escape(literal) + (
            "(?:.*/)?" if folders else "[^/]*" if anything else _group(name, seen)
        )
        position = token.end()
    if "subject" not in seen:
        raise InputError(
            f"Dataset {dataset} has the pattern {pattern!r} without {{subject}}; say where the "
            "subject is."
        )
    return _Pattern(
        glob + _escaped(pattern[position:]), re.compile(regex + re.escape(pattern[position:]))
    )


def _group(name: str, seen: set[str]) -> str:
    """Return the regular expression of a placeholder; where it was ``seen`` before, the same text
    must come again.
    """
    if name in seen:
        return f"(?P={name})"
    seen.add(name)
    return rf"(?P<{name}>\d+)" if name == "run" else f"(?P<{name}>[^/]+?)"


def _escaped(literal: str) -> str:
    """Return ``literal`` for a glob, in which brackets and question marks stand for themselves."""
    return re.sub(r"([\[?])", r"[\1]", literal)


def _day(session: str | None) -> int | None:
    return int(session) if session and session.isdecimal() else None
