"""The rooms of docs/architecture.md import one way only, and every public file says what it is."""

import ast
from functools import cache
from pathlib import Path

import pytest

import diffeode

SOURCE = Path(diffeode.__file__).parent
FILES = sorted(SOURCE.rglob("*.py"))

BELOW = {
    "errors": set(),
    "names": set(),
    "formerly": set(),
    "process": {"errors"},
    "fused": {"process"},
    "geometry": {"errors", "fused"},
    "files": {"errors", "names", "process", "geometry"},
    "provenance": {"errors", "formerly", "files"},
    "programs": {"errors", "names", "geometry", "files"},
    "weights": {"errors", "names", "files"},
    "units": {"errors", "geometry", "files", "provenance"},
    "datasets": {"errors", "names", "geometry", "files", "process", "provenance", "weights"},
    "descriptors": {"errors", "names", "geometry", "files", "provenance", "weights"},
    "losses": {"fused", "geometry", "descriptors"},
    "flows": {"fused", "geometry", "losses"},
    "optimise": {"errors", "geometry", "flows"},
    "networks": {"geometry"},
    "evaluation": {"errors", "names", "geometry", "files", "units"},
    "prepare": {
        *(
            "errors",
            "names",
            "process",
            "geometry",
            "files",
            "provenance",
            "programs",
            "weights",
            "units",
            "datasets",
        ),
        *("optimise", "evaluation"),
    },
    "statistics": {"errors", "names", "files", "evaluation"},
    "figures": {
        "errors",
        "names",
        "geometry",
        "files",
        "provenance",
        "units",
        "evaluation",
        "statistics",
    },
    "registration": {
        *(
            "errors",
            "names",
            "process",
            "geometry",
            "files",
            "provenance",
            "programs",
            "weights",
            "units",
        ),
        # the registry finds the files in there by looking for them, and names none
        *("evaluation", "methods"),
    },
    "learning": {
        *(
            "errors",
            "names",
            "process",
            "geometry",
            "files",
            "provenance",
            "weights",
            "units",
            "datasets",
        ),
        *("descriptors", "networks", "prepare", "registration"),
    },
    "methods": {
        *(
            "errors",
            "process",
            "geometry",
            "files",
            "programs",
            "weights",
            "descriptors",
            "losses",
            "flows",
            "fused",
        ),
        *("optimise", "networks", "prepare", "registration", "learning"),
    },
    "longitudinal": {
        *(
            "errors",
            "geometry",
            "datasets",
            "flows",
            "evaluation",
            "prepare",
            "statistics",
            "registration",
            "methods",
        ),
    },
    "study": {
        *(
            "errors",
            "names",
            "files",
            "provenance",
            "datasets",
            "prepare",
            "evaluation",
            "registration",
            "learning",
            "longitudinal",
        ),
    },
    "desk": {
        *(
            "errors",
            "names",
            "process",
            "geometry",
            "files",
            "provenance",
            "programs",
            "weights",
            "units",
            "datasets",
            "prepare",
            "evaluation",
        ),
        *("figures", "registration", "learning"),
    },
    "bids_app": {
        *(
            "errors",
            "names",
            "geometry",
            "files",
            "provenance",
            "units",
            "datasets",
            "prepare",
        ),
        *("evaluation", "registration", "study"),
    },
}
"""The rooms that each room may import from; the command line and the package itself may import
all.
"""


def room_of(path: Path) -> str:
    return path.relative_to(SOURCE).with_suffix("").parts[0]


def rooms_imported_by(path: Path) -> set[str]:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    names = [
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.Import)
        for alias in node.names
    ]
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            names += [f"{node.module}.{alias.name}" for alias in node.names]
    return {name.split(".")[1] for name in names if name.startswith("diffeode.")}


@pytest.mark.parametrize(
    "path", [f for f in FILES if room_of(f) in BELOW], ids=lambda p: str(p.relative_to(SOURCE))
)
def test_imports_point_one_way(path):
    room = room_of(path)
    assert rooms_imported_by(path) <= BELOW[room] | {room}


def test_every_room_is_placed():
    assert {room_of(path) for path in FILES} - set(BELOW) == {"__init__", "__main__", "cli"}


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SOURCE)))
def test_every_file_says_what_it_is(path):
    assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8")))


def test_align_corners_has_one_home():
    assert [f.name for f in FILES if "align_corners=" in f.read_text(encoding="utf-8")] == [
        "warp.py"
    ]


@pytest.mark.parametrize(
    "name",
    [
        *("moving_to_scan.txt", "trace.tsv", '"landmarks.tsv"'),
        *('"image.nii.gz"', '"labels.nii.gz"', '"to_scan.txt"'),
    ],
)
def test_the_name_of_a_unit_s_file_is_written_down_in_one_place(name):
    """A unit's folder is read and written through diffeode.units alone."""
    found = [file.relative_to(SOURCE) for file, text in _all_code().items() if name in text]
    assert [file.parent.name for file in found] == ["units"]


@cache
def _all_code() -> dict[Path, str]:
    """Return the code of every file without its docstrings, which takes seconds."""
    repository = Path(__file__).resolve().parents[2]
    folders = (SOURCE, repository / "workflow" / "scripts", repository / "benchmarks")
    files = [file for folder in folders for file in sorted(folder.rglob("*.py"))]
    return {file: ast.unparse(_without_docstrings(file)).replace("'", '"') for file in files}


def _without_docstrings(path: Path) -> ast.Module:
    tree = ast.parse(path.read_text(encoding="utf-8"))
    for node in ast.walk(tree):
        if hasattr(node, "body") and isinstance(node.body, list):
            is_text = [
                isinstance(part, ast.Expr) and isinstance(part.value, ast.Constant)
                for part in node.body
            ]
            node.body = [
                part for part, text in zip(node.body, is_text, strict=True) if not text
            ] or [ast.Pass()]
    return tree
