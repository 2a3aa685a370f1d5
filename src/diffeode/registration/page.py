"""The descriptions of all methods: the table of ``diffeode methods`` and the page
``docs/methods.md``.
"""

from __future__ import annotations

import dataclasses
import inspect
from collections.abc import Iterator
from typing import Any

from diffeode.registration.base import Method
from diffeode.registration.knobs import AnyOf, Domain, Family, Group, as_parameters, knob_of
from diffeode.registration.registry import (
    make_method,
    method_class,
    method_names,
    missing_needs,
    standing,
)
from diffeode.registration.runs import load_run, run_names
from diffeode.weights.catalogue import load_weights

_HEAD = """# Methods

<!-- Written by `diffeode methods --markdown > docs/methods.md`; a test compares them. -->

This page describes every registration method: its parameters with their defaults, its needs, its
licence and the publication to cite. All of it is taken from the method's own file.
[methods-interface.md](methods-interface.md) says how to add a method, [tools.md](tools.md) where to
get programs that pip does not install, and [envs](../envs/README.md) why there are several
environments. `diffeode methods` says for every named run whether it can work on your machine, and
if not, why.

## How parameters are given

A run's file (`config/methods/NAME.yaml`) names the parameters that differ from the defaults. A name
with dots stands for blocks within blocks: `penalties.gradient.weight` is the `weight` in the block
`gradient` in the block `penalties`.

```yaml
method: neural-ode
parameters:
  similarity:
    mind: {weight: 1}
    local_correlation: {weight: 0.15, window: 7}
  flow: {steps: 6}
```

- `similarity` and `penalties` are sets of terms. Where a file names terms of a set, exactly these
  terms are used and the default set is not. Where a file names no `similarity`, or no `penalties`,
  the default set is used. Parameters of a term that a file leaves out have the default in the table
  below. A weight of 0 leaves a term out.
- `velocity.field` and `velocity.kernel` are chosen by name. The name alone (`kernel: operator`)
  takes the defaults of that choice; a block (`kernel: {box: {width: 5}}`) changes them.
- All other blocks change single values of their defaults: `flow: {steps: 6}` changes the steps and
  keeps the solver.
- `diffeode register --set NAME=VALUE` changes single values of a run by their dotted names:
  `--set similarity.mind.weight=2` keeps the other values of the run's similarity, and adds the
  term where the run does not have it.

## The methods

| method | name | after `pip install .` | environment | GPU | licence |
|---|---|---|---|---|---|
"""
_TABLE_HEAD = ("| parameter | default | values | meaning |", "|---|---|---|---|")


def rows_here() -> list[tuple[str, str, str, str, str, str]]:
    """Return a row for every named run, below a row of headings: run, method, title, needs,
    standing on this machine, and the reason for it.
    """
    rows = [("RUN", "METHOD", "TITLE", "NEEDS", "HERE", "WHY")]
    for name in run_names():
        run = load_run(name)
        asked = (run.method, run.parameters)
        wants = ", ".join(_wants(make_method(*asked))) or "nothing more"
        rows.append(
            (name, run.method, run.title, wants, standing(*asked), "; ".join(missing_needs(*asked)))
        )
    return rows


def methods_page() -> str:
    """Return the text of ``docs/methods.md``, which does not depend on the machine."""
    table = "".join(_row(name) for name in method_names())
    return _HEAD + table + "".join(f"\n{_section(name)}" for name in method_names())


def standing_after_install(name: str) -> str:
    """Return ``run``, or the kinds of what a fresh installation without extras lacks."""
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
    return (
        f"| {cls.title} | `{name}` | {standing_after_install(name)} | {environment} | {gpu} | "
        f"{cls.licence} |\n"
    )


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
    """Return the names of the packages, programs and weights that a method needs."""
    needs = method.needs
    weights = [f"weights {name}" for name in method.pretrained] + (
        ["training"] if method.trained else []
    )
    return [
        *needs.packages,
        *needs.executables,
        *weights,
        *(["better with a GPU"] if needs.gpu else []),
    ]


def _weights(name: str) -> str:
    entry = load_weights(name)
    checksum = (
        f"SHA-256 `{entry.sha256}`" if entry.sha256 else "checksum unknown to us; yours is recorded"
    )
    return f"`{name}`, [{entry.file}]({entry.urls[0]}), {checksum}, {entry.licence}"


def _description(cls: type) -> str:
    """Return the docstring of a class, as Markdown."""
    return _markdown(inspect.getdoc(cls) or "")


def _parameter_table(cls: type[Method]) -> str:
    rows = list(_rows(cls, ""))
    if not rows:
        return "No parameters.\n\n"
    return "\n".join([*_TABLE_HEAD, *rows]) + "\n\n"


def _rows(cls: type, within: str) -> Iterator[str]:
    """Yield a row for every knob. The rows of a group or family stand below its own row."""
    for field in dataclasses.fields(cls):
        name, known = within + field.name, knob_of(field)
        domain, default = known.domain, field.default
        meaning = f"{known.meaning}."
        if isinstance(domain, Group):
            yield _table_row(name, "", "", meaning)
            yield from _rows(type(default), f"{name}.")
        elif isinstance(domain, Family):
            yield _table_row(name, f"`{_as_in_a_file(domain, default)}`", str(domain), meaning)
            for kind, member in domain.members.items():
                yield _table_row(f"{name}.{kind}", "", "", " ".join(_description(member).split()))
                yield from _rows(member, f"{name}.{kind}.")
        else:
            unit = f"({known.unit})" if known.unit else ""
            allowed = " ".join(filter(None, [_values_of(field, domain), unit]))
            yield _table_row(name, f"`{_shown(default)}`", allowed, meaning)


def _table_row(*cells: str) -> str:
    name, *others = cells
    return f"| {' | '.join([f'`{name}`', *others])} |"


def _values_of(field: dataclasses.Field, domain: Domain) -> str:
    return "`true`, `false`" if isinstance(field.default, bool) else str(domain)


def _as_in_a_file(domain: Family, default: Any) -> str:
    terms = default if isinstance(domain, AnyOf) else (default,)
    if not isinstance(domain, AnyOf) and not as_parameters(default):
        return default.name
    return _shown({term.name: as_parameters(term) for term in terms})


def _markdown(text: str) -> str:
    """Return a docstring's ``text`` with code marked as Markdown marks it."""
    return text.replace("``", "`")


def _shown(value: Any) -> str:
    """Return ``value`` as the file of a run would hold it."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{name}: {_shown(part)}" for name, part in value.items()) + "}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_shown, value))}]"
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:g}" if isinstance(value, float) else str(value) or '""'
