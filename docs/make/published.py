"""Hooks of MkDocs that make the site of the pages as they lie in the repository.

Pages outside of ``docs``, such as the README and the tables of the benchmarks, are published where
they lie, and so is every file to which a page links. Links stay right in the repository and become
right on the site. Formulas become MathML here, so that a page loads nothing from the internet.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path

from latex2mathml.converter import convert
from mkdocs.config.defaults import MkDocsConfig
from mkdocs.structure.files import File, Files
from mkdocs.structure.pages import Page

REPOSITORY = Path(__file__).resolve().parents[2]
OUTSIDE = (
    "README.md",
    "CONTRIBUTING.md",
    "CHANGELOG.md",
    "config/README.md",
    "envs/README.md",
    "benchmarks/README.md",
    "benchmarks/results/*.md",
    "results/README.md",
    "workflow/profiles/README.md",
)
"""The pages outside of ``docs``, from the root of the repository."""

_LINK = re.compile(r"(?<!`)(\]\()([^)\s]+)(\))")
_FENCED = re.compile(r"^( *)(```+)[^\n]*\n.*?^\1\2 *$", re.S | re.M)
_SCRIPT = re.compile(r"^\[[^\]]+\]\(([^)\s]+\.py)\)$", re.M)
_ROLE = re.compile(r":\w+:(<code[^>]*>)~?(?:[\w.]*\.)?(\w+)(</code>)")
_INLINE = re.compile(r'<span class="arithmatex">\\\((.*?)\\\)</span>', re.S)
_DISPLAYED = re.compile(r'<div class="arithmatex">\s*\\\[(.*?)\\\]\s*</div>', re.S)


def on_files(files: Files, config: MkDocsConfig) -> Files:
    """Add the pages outside of ``docs`` and the files to which any page links."""
    for pattern in OUTSIDE:
        for path in sorted(REPOSITORY.glob(pattern)):
            _publish(files, config, path.relative_to(REPOSITORY).as_posix())
    for file in [file for file in files if file.is_documentation_page()]:
        page = _in_repository(file.src_uri)
        for link in _links(Path(str(file.abs_src_path)).read_text(encoding="utf-8")):
            target = _target(page, link)
            if target is not None and (REPOSITORY / target).is_file():
                _publish(files, config, target)
    return files


def on_page_markdown(markdown: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Lead links to where their targets lie on the site, and show scripts that stand alone."""
    here = _in_repository(page.file.src_uri)
    folder = posixpath.dirname(page.file.src_uri)

    def led(found: re.Match[str]) -> str:
        target = _target(here, found[2])
        if target is None:
            return found[0]
        anchor = found[2].partition("#")[2]
        link = posixpath.relpath(_on_site(target), folder or ".")
        return f"{found[1]}{link}{'#' + anchor if anchor else ''}{found[3]}"

    def shown(found: re.Match[str]) -> str:
        target = _target(here, found[1])
        script = (REPOSITORY / str(target)).read_text(encoding="utf-8")
        return f"{found[0]}\n\n```python\n{script.rstrip()}\n```"

    parts, end = [], 0
    for block in _FENCED.finditer(markdown):
        parts += [_LINK.sub(led, _SCRIPT.sub(shown, markdown[end : block.start()])), block[0]]
        end = block.end()
    return "".join([*parts, _LINK.sub(led, _SCRIPT.sub(shown, markdown[end:]))])


def on_page_content(html: str, page: Page, config: MkDocsConfig, files: Files) -> str:
    """Turn formulas into MathML, and Sphinx' roles of docstrings into plain names."""
    html = _INLINE.sub(lambda found: convert(_unescaped(found[1])), html)
    html = _DISPLAYED.sub(lambda found: convert(_unescaped(found[1]), display="block"), html)
    return _ROLE.sub(r"\1\2\3", html)


def _links(markdown: str) -> list[str]:
    return [found[2] for found in _LINK.finditer(_FENCED.sub("", markdown))]


def _publish(files: Files, config: MkDocsConfig, path: str) -> None:
    """Add the file at ``path``, from the root of the repository, unless it is there."""
    name = _on_site(path)
    if files.get_file_from_path(name) is None:
        files.append(File.generated(config, name, abs_src_path=str(REPOSITORY / path)))


def _target(page: str, link: str) -> str | None:
    """Return the path of a link's target from the root of the repository.

    None for addresses of the internet and for anchors of the page itself.

    Args:
        page: the path of the page that has the link, from the root of the repository.
    """
    path = link.partition("#")[0]
    if not path or re.match(r"[a-z]+:", path):
        return None
    return posixpath.normpath(posixpath.join(posixpath.dirname(page), path))


def _on_site(path: str) -> str:
    """Return where a file of the repository lies on the site."""
    return "index.md" if path == "README.md" else path.removeprefix("docs/")


def _in_repository(name: str) -> str:
    """Return where a file of the site lies in the repository."""
    if name == "index.md":
        return "README.md"
    return f"docs/{name}" if (REPOSITORY / "docs" / name).is_file() else name


def _unescaped(formula: str) -> str:
    return formula.replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
