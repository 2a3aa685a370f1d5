"""Write the table of the packages' licences in ``docs/licences.md``, from what is installed.

``python docs/make/licences.py`` replaces the part of the page between its two marks. A package of
``requirements.lock`` whose licence is not found is named, and the exit code is 1.
"""

from __future__ import annotations

import re
import sys
from importlib import metadata
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[2]
PAGE = REPOSITORY / "docs" / "licences.md"
BEGIN, END = "<!-- written by docs/make/licences.py -->", "<!-- end -->"
DIRECT = re.compile(r'^  "([A-Za-z0-9_.-]+)', re.M)

# What packages without an SPDX expression write in its place.
_STATED = {
    "Apache": "Apache-2.0",
    "Apache 2.0": "Apache-2.0",
    "Apache License, 2.0": "Apache-2.0",
    "Apache License, Version 2.0": "Apache-2.0",
    "Apache Software License": "Apache-2.0",
    "2-clause BSD": "BSD-2-Clause",
    "BSD 3-Clause License": "BSD-3-Clause",
    "MIT License": "MIT",
    "MIT OR AFL-2.1": "MIT OR AFL-2.1",
    "Mozilla Public License 2.0 (MPL 2.0)": "MPL-2.0",
    "PYTHON SOFTWARE FOUNDATION LICENSE VERSION 2": "PSF-2.0",
}
# Packages whose metadata name several licences without saying how they go together, or a licence
# that SPDX calls otherwise; their licence files were read.
_READ = {
    "docutils": "LicenseRef-Public-Domain AND 0BSD AND BSD-2-Clause AND GPL-3.0-or-later",
    "matplotlib": "PSF-2.0",
    "packaging": "Apache-2.0 OR BSD-2-Clause",
}
_SPDX = re.compile(r"[A-Za-z0-9.-]+( (AND|OR|WITH) [A-Za-z0-9.-]+)*")


def packages() -> dict[str, str]:
    """Return the version of every package of ``requirements.lock`` by its name."""
    text = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8")
    return dict(line.split("==") for line in text.split() if "==" in line)


def direct() -> set[str]:
    """Return the names of the packages that ``pyproject.toml`` asks for, in lower case."""
    text = (REPOSITORY / "pyproject.toml").read_text(encoding="utf-8")
    needed = text.partition("dependencies = [")[2].partition("\n]")[0]
    return {name.lower().replace("_", "-") for name in DIRECT.findall(needed)}


def licence(name: str) -> str:
    """Return the SPDX expression of an installed package's licence; empty where it is not found."""
    about = metadata.metadata(name)
    if about["License-Expression"]:
        return about["License-Expression"]
    if name in _READ:
        return _READ[name]
    stated = (about["License"] or "").strip().partition("\n")[0]
    classified = [
        line.rpartition(" :: ")[2]
        for line in about.get_all("Classifier") or []
        if line.startswith("License :: ") and "DFSG" not in line
    ]
    for words in (stated, *classified):
        if words in _STATED:
            return _STATED[words]
    if _SPDX.fullmatch(stated) and stated != "BSD":
        return stated
    return _of_text(name)


def _of_text(name: str) -> str:
    """Return which of the BSD and MIT licences the licence file of a package holds."""
    for file in metadata.files(name) or []:
        if re.match(r"(LICEN[CS]E|COPYING)", file.name, re.I):
            text = " ".join(file.locate().read_text(encoding="utf-8", errors="replace").split())
            if "Redistribution and use in source and binary forms" in text:
                third = re.search(r"(Neither|nor) the names?|may be used to endorse", text)
                return "BSD-3-Clause" if third else "BSD-2-Clause"
            if "Permission is hereby granted, free of charge" in text:
                return "MIT"
    return ""


def table() -> str:
    """Return the table as Markdown, packages that ``pyproject.toml`` asks for in bold."""
    asked = direct()
    rows = ["| package | version | licence (SPDX) |", "|---|---|---|"]
    for name, version in sorted(packages().items(), key=lambda item: item[0].lower()):
        shown = f"**{name}**" if name.lower().replace("_", "-") in asked else name
        rows.append(f"| {shown} | {version} | {licence(name)} |")
    return "\n".join(rows)


def page_with(rows: str) -> str:
    """Return the page with ``rows`` between its marks."""
    before, _, rest = PAGE.read_text(encoding="utf-8").partition(BEGIN)
    return f"{before}{BEGIN}\n\n{rows}\n\n{END}{rest.partition(END)[2]}"


def main() -> int:
    """Write the page; return the exit code."""
    PAGE.write_text(page_with(table()), encoding="utf-8")
    unknown = [name for name in packages() if not licence(name)]
    if unknown:
        print(f"No licence was found of {', '.join(unknown)}.", file=sys.stderr)
    return 1 if unknown else 0


if __name__ == "__main__":
    sys.exit(main())
