"""The table in docs/workflow.md that shows which results a line of code makes again: it is read,
measured and written here.

Run as a program, ``python tests/made_again.py`` measures it and writes it into the page.
"""

from __future__ import annotations

import re
from collections import defaultdict
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from unittest import mock

from made import Made, kinds

from diffeode.provenance import source
from diffeode.provenance.definitions import Definitions
from diffeode.registration.registry import method_names

PACKAGE = Path(source.__file__).parents[1]
PAGE = Path(__file__).resolve().parents[1] / "docs" / "workflow.md"
RUNS_ON_IMPORT = "\nprint('added')\n"
_HEAD = "| a line that runs in | makes again |\n|---|---|\n"
_ALL_BUT = "everything but "
_OF_ITS_MODULES = "what any of its modules makes again"
_PACKAGES = "any other package's own file"


def names_of_modules() -> dict[str, Path]:
    """Return the file of every module by its name in the package; a package is
    ``losses.__init__``.
    """
    return {
        ".".join(file.relative_to(PACKAGE).with_suffix("").parts): file
        for file in sorted(PACKAGE.rglob("*.py"))
    }


MODULES = names_of_modules()


@cache
def groups() -> dict[str, set[str]]:
    """Return the words of the table that stand for several kinds of results, the widest first."""
    trained = [kind.removeprefix("train ") for kind in kinds() if kind.startswith("train ")]
    runs = {name: {f"train {name}", f"register {name}"} & kinds().keys() for name in method_names()}
    steps = ("strip", "correct", "place", "prepare", "segment")
    return {
        "everything": set(kinds()),
        "every run": set().union(*runs.values()),
        "every run that is trained": set().union(*(runs[name] for name in trained)),
        "every training": {f"train {name}" for name in trained},
        "every step of preparation": {kind for kind in kinds() if kind.split()[0] in steps},
        **{f"runs of {name}": made for name, made in runs.items()},
    }


# ----------------------------------------------------------------------------------------- measured


def before() -> dict[str, tuple[str, set[Path]]]:
    """Return the identity of every kind of result, and the files that were read for it."""
    found, read = {}, source._read
    for kind, made in kinds().items():
        files: set[Path] = set()

        def noting(file: Path, *how, noted: set[Path] = files) -> Definitions:
            noted.add(file)
            return read(file, *how)

        with mock.patch.object(source, "_read", noting):
            found[kind] = made.code(), files
    return found


def after(made: Made, changed: dict[Path, Definitions]) -> str:
    """Return the identity where files have another content."""
    read = source._read
    with mock.patch.object(
        source, "_read", lambda file, *how: changed.get(file) or read(file, *how)
    ):
        return made.code()


def with_text(name: str, added: str = "", old: str = "", new: str = "") -> dict[Path, Definitions]:
    """Return the module ``name`` with ``added`` at its end, or with ``old`` replaced."""
    text = MODULES[name].read_text(encoding="utf-8")
    assert old in text
    module = f"diffeode.{name}".removesuffix(".__init__")
    return {MODULES[name]: Definitions(module, text.replace(old, new, 1) + added)}


def measured() -> dict[str, set[str]]:
    """Return, for every module, the kinds of results whose identity is changed by a line that runs
    on import.
    """
    made_before, found = before(), {}
    for name, file in MODULES.items():
        # a file that was not read for an identity cannot change it
        asked = [kind for kind, (_, files) in made_before.items() if file in files]
        changed = with_text(name, RUNS_ON_IMPORT) if asked else {}
        found[name] = {
            kind for kind in asked if after(kinds()[kind], changed) != made_before[kind][0]
        }
    return found


# --------------------------------------------------------------------------------------------- read


def stated() -> dict[str, set[str]]:
    """Return, for every module, the kinds of results on the page. A row with ``*`` or ``<name>``
    holds for all modules that have no row of their own.
    """
    table = PAGE.read_text(encoding="utf-8").split(_HEAD)[1].split("\n\n")[0]
    rows = [row.split(" | ") for row in table.strip().splitlines()]
    patterns = [
        (pattern, made.strip(" |"))
        for modules, made in rows
        for pattern in re.findall("`([^`]+)`", modules)
    ]
    named = {pattern for pattern, _ in patterns}
    found: dict[str, set[str]] = {}
    for pattern, made in patterns:
        for module in MODULES:
            if module == pattern or (module not in named and _is_meant(module, pattern)):
                assert module not in found, f"two rows are about {module}"
                found[module] = _kinds_in(made, module.rpartition(".")[2])
    assert f"| {_PACKAGES} | {_OF_ITS_MODULES} |" in table
    packages = {name for name in MODULES if name.endswith("__init__")} - found.keys()
    return found | {name: _of_modules(name, found) for name in packages}


def _is_meant(module: str, pattern: str) -> bool:
    wanted = pattern.replace("<name>", "*")
    return (
        fnmatchcase(module, wanted)
        and not module.endswith("__init__")
        and module.count(".") == wanted.count(".")
    )


def _of_modules(package: str, made_again: dict[str, set[str]]) -> set[str]:
    folder = package.removesuffix("__init__")
    return set().union(*(made for name, made in made_again.items() if name.startswith(folder)))


def _kinds_in(made: str, name: str) -> set[str]:
    """Return the kinds of results that a cell stands for in the row of a module called ``name``."""
    if made.startswith(_ALL_BUT):
        return kinds().keys() - set(made.removeprefix(_ALL_BUT).split(" and "))
    found: set[str] = set()
    for part in made.split(", ") if made != "nothing" else ():
        meant = {part.replace("<name>", name), part.replace("<name>", name.replace("_", "-"))}
        of_groups = [groups()[word] for word in meant & groups().keys()]
        found |= set().union(meant & kinds().keys(), *of_groups) or {
            f"'{part}', which is nothing that is made"
        }
    return found


# ------------------------------------------------------------------------------------------ written


def table(made_again: dict[str, set[str]]) -> str:
    """Return the rows of the page, the widest change first."""
    modules = {
        name: made
        for name, made in made_again.items()
        if not _says_what_its_modules_say(name, made_again)
    }
    cells: dict[str, set[str]] = defaultdict(set)
    for name in sorted(modules, key=lambda name: (-len(modules[name]), sorted(modules[name]))):
        cells[_words(modules[name])].add(name)
    for pattern, words, names in _alike(cells):
        for those in cells.values():
            those.difference_update(names)
        cells[words].add(pattern)
    rows = sorted(
        ((words, names) for words, names in cells.items() if names),
        key=lambda row: row[0] == "nothing",
    )
    lines = [
        f"| {', '.join(f'`{name}`' for name in sorted(names))} | {words} |" for words, names in rows
    ]
    return _HEAD + "\n".join([*lines, f"| {_PACKAGES} | {_OF_ITS_MODULES} |"])


def _alike(cells: dict[str, set[str]]) -> list[tuple[str, str, set[str]]]:
    """Return, for each package, the largest group of at least three modules for which ``*`` or
    ``<name>`` can stand: the pattern, the words of its cell, and the modules.
    """
    found: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for words, names in cells.items():
        for name in (name for name in names if "." in name):
            package, _, own = name.rpartition(".")
            found[package][words].add(name)
            if words.endswith(f" {own.replace('_', '-')}") or words == own:
                found[package][words.removesuffix(words.split(" ")[-1]) + "<name>"].add(name)
    largest = {
        package: max(rows.items(), key=lambda row: len(row[1])) for package, rows in found.items()
    }
    return [
        (f"{package}.{'<name>' if words.endswith('<name>') else '*'}", words, names)
        for package, (words, names) in largest.items()
        if len(names) > 2
    ]


def _says_what_its_modules_say(name: str, made_again: dict[str, set[str]]) -> bool:
    if not name.endswith("__init__"):
        return False
    return made_again[name] == _of_modules(name, {k: v for k, v in made_again.items() if k != name})


def _words(made: set[str]) -> str:
    if 0 < len(lacking := kinds().keys() - made) < 3:
        return _ALL_BUT + " and ".join(sorted(lacking))
    left, words = set(made), []
    for word, group in groups().items():
        if group <= left:
            words.append(word)
            left -= group
    return ", ".join([*words, *sorted(left)]) or "nothing"


if __name__ == "__main__":
    text = PAGE.read_text(encoding="utf-8")
    old = _HEAD + text.split(_HEAD)[1].split("\n\n")[0]
    PAGE.write_text(text.replace(old, table(measured())), encoding="utf-8")
