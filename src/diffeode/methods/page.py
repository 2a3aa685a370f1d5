"""What the methods say of themselves: the table of ``diffeode methods`` and the page ``docs/methods.md``."""

from __future__ import annotations

import dataclasses
import inspect
import re
from typing import Any

from diffeode.methods.base import Method
from diffeode.methods.registry import make_method, method_class, method_names, missing_needs, standing
from diffeode.methods.runs import load_run, run_names
from diffeode.weights import load_weights

_HEAD = """# Methods

<!-- Written by `diffeode methods --markdown > docs/methods.md`; a test compares them. -->

Every registration method, from what its file says: what it is, its parameters and their defaults, what it needs, its
licence and what to cite. How to add one: [methods-interface.md](methods-interface.md). Programs from elsewhere:
[tools.md](tools.md). Environments, and why there are several: [envs](../envs/README.md). `diffeode methods`
tells for every named run whether it can work on your machine, and why not.

| method | name | after `pip install .` | environment | GPU | licence |
|---|---|---|---|---|---|
"""
_ENTRY = re.compile(r"^(\w+(?:, \w+)*): (.*)$")


def rows_here() -> list[tuple[str, str, str, str, str, str]]:
    """Run, method, title, what it needs, standing here and why, for every named run, below their names."""
    rows = [("RUN", "METHOD", "TITLE", "NEEDS", "HERE", "WHY")]
    for name in run_names():
        run = load_run(name)
        asked = (run.method, run.parameters)
        wants = ", ".join(_wants(make_method(*asked))) or "nothing more"
        rows.append((name, run.method, run.title, wants, standing(*asked), "; ".join(missing_needs(*asked))))
    return rows


def methods_page() -> str:
    """``docs/methods.md``: nothing of it depends on the machine."""
    table = "".join(_row(name) for name in method_names())
    return _HEAD + table + "".join(f"\n{_section(name)}" for name in method_names())


def parameters_of(cls: type[Method]) -> dict[str, str]:
    """What each hyper-parameter means, from the ``Attributes`` of the class and of those it builds on.

    One without an entry of its own that another entry explains leads there.
    """
    own = {name: text for base in reversed(cls.__mro__) for name, text in _attributes(base).items()}
    quoted = {name: " ".join(re.findall(r"``(.*?)``", text)) for name, text in own.items()}
    named_in = {word: name for name, text in reversed(quoted.items()) for word in re.findall(r"\w+", text)}
    elsewhere = {f.name: f"see ``{named_in[f.name]}``" for f in dataclasses.fields(cls) if f.name in named_in}
    return elsewhere | own


def standing_after_install(name: str) -> str:
    """``run``, or what a fresh installation without extras lacks."""
    method = make_method(name, {})
    lacks = {
        "needs-package": method.needs.environment != "base" and not method.needs.executables,
        "needs-binary": bool(method.needs.executables),
        "needs-weights": bool(method.pretrained),
        "needs-training": method.trained,
    }
    return ", ".join(kind for kind, lacking in lacks.items() if lacking) or "run"


def _row(name: str) -> str:
    cls = method_class(name)
    environment = f"[{cls.needs.environment}](../envs/{cls.needs.environment}.yaml)"
    gpu = "uses one" if cls.needs.gpu else ""
    return f"| {cls.title} | `{name}` | {standing_after_install(name)} | {environment} | {gpu} | {cls.licence} |\n"


def _section(name: str) -> str:
    cls = method_class(name)
    runs = [run for run in run_names() if load_run(run).method == name]
    facts = {
        "Runs": ", ".join(f"`{run}`" for run in runs) or "none named",
        "Needs": ", ".join(_wants(make_method(name, {}))) or "nothing more",
        "Weights": "; ".join(_weights(w) for w in make_method(name, {}).pretrained),
        "Licence": cls.licence,
        "Cite": cls.citation,
    }
    told = "\n".join(f"- {key}: {value}" for key, value in facts.items() if value)
    return f"## {cls.title} (`{name}`)\n\n{_description(cls)}\n\n{_parameter_table(cls)}{told}\n"


def _wants(method: Method) -> list[str]:
    """What a method needs, by the names of its packages, programs and weights."""
    needs = method.needs
    weights = [f"weights {name}" for name in method.pretrained] + (["training"] if method.trained else [])
    return [*needs.packages, *needs.executables, *weights, *(["better with a GPU"] if needs.gpu else [])]


def _weights(name: str) -> str:
    entry = load_weights(name)
    checksum = f"SHA-256 `{entry.sha256}`" if entry.sha256 else "checksum unknown to us; yours is recorded"
    return f"`{name}`, [{entry.file}]({entry.urls[0]}), {checksum}, {entry.licence}"


def _description(cls: type[Method]) -> str:
    """The class's docstring down to its first section."""
    return _markdown(re.split(r"\n+(?:Attributes|Raises):", inspect.getdoc(cls))[0].strip())


def _parameter_table(cls: type[Method]) -> str:
    meaning = parameters_of(cls)
    lines = [f"| `{f.name}` | `{_shown(f.default)}` | {_markdown(meaning[f.name])} |" for f in dataclasses.fields(cls)]
    head = ["| parameter | default | meaning |", "|---|---|---|"] if lines else ["No parameters."]
    return "\n".join([*head, *lines]) + "\n\n"


def _markdown(text: str) -> str:
    """Without the marks of Sphinx; ``|`` would end a cell."""
    return re.sub(r":\w+:`~?([^`]+)`", r"`\1`", text).replace("``", "`").replace("|", "\\|")


def _shown(default: Any) -> str:
    """As in a run's file."""
    if isinstance(default, tuple):
        return f"[{', '.join(_shown(part) for part in default)}]"
    if isinstance(default, bool):
        return str(default).lower()
    return f"{default:g}" if isinstance(default, float) else str(default) or '""'


def _attributes(cls: type) -> dict[str, str]:
    """The entries under ``Attributes:`` of the class's own docstring, each on one line."""
    text = inspect.cleandoc(cls.__dict__.get("__doc__") or "")
    section = re.search(r"^Attributes:\n(.*?)(?=^\S|\Z)", text, re.DOTALL | re.MULTILINE)
    found: dict[str, str] = {}
    names: list[str] = []
    for line in inspect.cleandoc(section.group(1)).splitlines() if section else ():
        entry = _ENTRY.match(line)
        if entry:
            names = entry.group(1).split(", ")
            together = f"{', '.join(f'``{name}``' for name in names)}: " if len(names) > 1 else ""
            found |= dict.fromkeys(names, together + entry.group(2))
        else:
            found |= {name: f"{found[name]} {line.strip()}" for name in names}
    return found
