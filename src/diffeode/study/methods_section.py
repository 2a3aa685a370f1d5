"""The methods section of a study: what was done to which scans, with which programs and versions,
and what to cite.
"""

from __future__ import annotations

import dataclasses
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from html import escape
from itertools import filterfalse
from typing import Any, NamedTuple, final

from diffeode.datasets.scan import ANATOMICAL
from diffeode.prepare.affine import CITATION as ANTS
from diffeode.prepare.described import BY_AFFINE, described
from diffeode.registration.knobs import dotted, sets_of_terms
from diffeode.registration.registry import method_class
from diffeode.registration.runs import Run
from diffeode.study.model import Dataset, Experiment, Side, Study

Facts = dict[str, Any]
"""Plain words, numbers, lists and mappings."""

_STEPS = ("brain", "bias", "intensity", "template", "through", "labels", "spacing_mm")
_STEPS_OF_HEADS = ("bias", "brain", *_STEPS[2:])
_NOTHING = "None:"
"""How the citation begins of a method that needs none."""
_SNAKEMAKE = "Mölder et al., Sustainable data analysis with Snakemake, F1000Research 10:33, 2021"
_HD95 = (
    "Nikolov et al., Deep learning to achieve clinically applicable segmentation of head and "
    "neck anatomy for radiotherapy, arXiv 1809.04430, 2018"
)
_NDV = (
    "Liu et al., On finite difference Jacobian computation in deformable image registration, "
    "International Journal of Computer Vision, 2024"
)
_WILCOXON = "Wilcoxon, Individual comparisons by ranking methods, Biometrics Bulletin 1(6), 1945"
_SHOWN_DIGITS = 12


class Section(NamedTuple):
    """A heading, and items below it."""

    heading: str
    items: tuple[str, ...]


@final
class _References:
    """What has been cited, in the order of its first citation."""

    def __init__(self) -> None:
        self.cited: list[str] = []

    def cite(self, *citations: str) -> str:
        """Numbers in brackets, a blank before each; nothing for what is empty."""
        known = [
            text.removesuffix(".") for text in citations if text and not text.startswith(_NOTHING)
        ]
        self.cited += [citation for citation in dict.fromkeys(known) if citation not in self.cited]
        return "".join(f" [{self.cited.index(citation) + 1}]" for citation in known)


# -------------------------------------------------------------------------------- from the settings


def facts_of(study: Study) -> Facts:
    """What the settings of ``study`` say, as plain words that Snakemake can compare."""
    scans = study.scans().values()
    used = {name: [scan for scan in scans if scan.dataset == name] for name in study.datasets()}
    return {
        "title": study.title,
        "study": study.name,
        "seed": study.seed,
        "ours": study.run(study.ours).title if study.ours else None,
        "datasets": [
            _dataset_facts(
                dataset,
                Counter(scan.modality for scan in used[name]),
                len({s.person for s in used[name]}),
            )
            for name, dataset in study.datasets().items()
        ],
        "experiments": [_experiment_facts(experiment) for experiment in study.experiments],
        "train_on": [_training_facts(study, experiment) for experiment in study.trainings],
        "runs": [_run_facts(run) for run in study.runs],
    }


def _dataset_facts(dataset: Dataset, scans: Mapping[str, int], persons: int) -> Facts:
    about = {key: dataset.about.get(key, "") for key in ("source", "licence", "citation")}
    names = {"title": dataset.title, "population": dataset.population}
    recipe = {
        "recipe": dataclasses.asdict(dataset.recipe),
        "corrects_heads": dataset.recipe.corrects_heads,
    }
    recipe["labelled"] = bool(dataset.labels)
    counts = {"scans": dict(sorted(scans.items())), "persons": persons}
    return {**names, **counts, **about, **recipe}


def _experiment_facts(experiment: Experiment) -> Facts:
    sides = {side: _side(getattr(experiment, side)) for side in ("fixed", "moving")}
    pairs = {"pairs": len(experiment.pairs), "alignment": experiment.alignment}
    return {"title": experiment.title, "population": experiment.population, **sides, **pairs}


def _training_facts(study: Study, experiment: Experiment) -> Facts:
    studied = [e.title for e in study.experiments if study.train_on[e.name] == experiment]
    return {**_experiment_facts(experiment), "for": studied}


def _side(side: Side) -> str:
    return f"{side.selection.modality} of {side.dataset.title}"


def _run_facts(run: Run) -> Facts:
    method = method_class(run.method)
    # a method in the making may not say yet what its study is not to fail for
    stated = {
        "citation": getattr(method, "citation", ""),
        "licence": getattr(method, "licence", "not stated"),
    }
    parameters = dict(sorted(dotted(run.parameters).items()))
    return {
        "run": run.name,
        "title": run.title,
        "method": method.title,
        **stated,
        "parameters": parameters,
        "sets": sorted(sets_of_terms(method) & run.parameters.keys()),
        "trained": run.is_trained_first,
    }


# ------------------------------------------------------------------------------------------ to text


def methods_section(facts: Facts, receipts: Sequence[Facts], snakemake: str) -> list[Section]:
    """The sections, the references last.

    Args:
        facts: of :func:`facts_of`.
        receipts: of all units of the study.
        snakemake: its version.
    """
    references = _References()
    registrations = list(filter(_is_registration, receipts))
    sections = [
        Section("Data", tuple(_data(dataset, references) for dataset in facts["datasets"])),
        Section(
            "Preparation", tuple(_preparation(dataset, references) for dataset in facts["datasets"])
        ),
        Section("Pairs", tuple(_pairs(facts, references))),
        Section("Registration", tuple(_registration(facts, registrations, references))),
        Section("Evaluation", tuple(_evaluation(facts, references))),
        Section("Software", tuple(_software(receipts, snakemake, references))),
    ]
    return [
        *sections,
        Section("References", tuple(f"[{n}] {text}" for n, text in enumerate(references.cited, 1))),
    ]


def _data(dataset: Facts, references: _References) -> str:
    contrasts = " and ".join(f"{count} {modality}" for modality, count in dataset["scans"].items())
    source = f" Source: {_sentence(dataset['source'])}" if dataset["source"] else ""
    licence = f" Licence: {_sentence(dataset['licence'])}" if dataset["licence"] else ""
    scanned = f"{dataset['population']}; {contrasts} of {_counted(dataset['persons'], 'person')}."
    return f"{dataset['title']}{references.cite(dataset['citation'])}: {scanned}{source}{licence}"


def _preparation(dataset: Facts, references: _References) -> str:
    steps = _STEPS_OF_HEADS if dataset["corrects_heads"] else _STEPS
    clauses = [clause for step in steps if (clause := _clause(step, dataset, references))]
    return f"{dataset['title']}: {'; '.join(clauses)}."


def _clause(step: str, dataset: Facts, references: _References) -> str:
    """What is done at ``step``; empty where nothing is."""
    recipe, choice = dataset["recipe"], dataset["recipe"][step]
    goes_through = recipe["template"] != "none" and set(dataset["scans"]) - {ANATOMICAL}
    if (step == "through" and not goes_through) or (choice == "given" and not dataset["labelled"]):
        return ""
    done = described(step, choice)
    return done.text + references.cite(*done.citations)


def _pairs(facts: Facts, references: _References) -> list[str]:
    items = [_experiment(experiment, references) for experiment in facts["experiments"]]
    return [*items, *(_trained_on(experiment, references) for experiment in facts["train_on"])]


def _trained_on(experiment: Facts, references: _References) -> str:
    studied = ", ".join(experiment["for"])
    return (
        f"To train on, for {studied}: {_experiment(experiment, references)} None of these persons "
        "is registered there."
    )


def _experiment(experiment: Facts, references: _References) -> str:
    if experiment["alignment"] == "affine":
        how = f"aligned {BY_AFFINE}{references.cite(ANTS)}"
    else:
        how = "taken as their headers place them"
    what = (
        f"{experiment['moving']} to {experiment['fixed']}, {_counted(experiment['pairs'], 'pair')}"
    )
    return f"{experiment['title']} ({experiment['population']}): {what}, {how}."


def _registration(
    facts: Facts, registrations: Sequence[Facts], references: _References
) -> list[str]:
    machines = Counter(
        f"{_counted(r['threads'], 'thread')} on {r['device']}" for r in registrations
    )
    common = (
        "Every run registered the same aligned images, each pair in a process of its own; a "
        "registration is a map from points of the fixed scan to points of the moving scan, by "
        f"which the moving scan is resampled once. Seed {facts['seed']}; "
        f"{_shared(machines, 'registration')}. Defaults are in docs/methods.md of this version."
    )
    return [common, *(_run(run, registrations, references) for run in facts["runs"])]


def _run(run: Facts, registrations: Sequence[Facts], references: _References) -> str:
    mine = [receipt for receipt in registrations if receipt["run"] == run["run"]]
    given = ", ".join(f"{name} {_shown(value)}" for name, value in run["parameters"].items())
    others = f"; no other terms of {' and '.join(run['sets'])}" if run["sets"] else ""
    settings = f" with {given}{others}; all else at its defaults" if given else " at its defaults"
    trained = " Its network was trained first, on the pairs above." if run["trained"] else ""
    failed = sum(receipt["status"] == "failed" for receipt in mine)
    failures = f" {failed} of {_counted(len(mine), 'registration')} failed." if failed else ""
    method = f"{run['method']}{references.cite(run['citation'])}"
    return (
        f"{run['title']} ({run['run']}): {method}{settings}. Licence: "
        f"{run['licence']}.{trained}{failures}"
    )


def _evaluation(facts: Facts, references: _References) -> list[str]:
    ours = f" {facts['ours']} is put against the others." if facts["ours"] else ""
    hd95, ndv, wilcoxon = (references.cite(citation) for citation in (_HD95, _NDV, _WILCOXON))
    return [
        "Label maps are resampled once, by nearest neighbour, through the whole map. Overlap is "
        f"Dice; distance is the 95th percentile of that between surfaces (HD95){hd95}. Folds are "
        "voxels of the brain where the Jacobian determinant, by central or by one-sided "
        f"differences, is not positive; NDV is the volume that the map turns inside out{ndv}. "
        "Seconds, CPU seconds and peak memory are those of the method alone.",
        "Runs are compared by one-sided Wilcoxon signed-rank tests on the mean Dice of each "
        f"pair{wilcoxon}.{ours} Registrations that failed enter no mean and no test.",
    ]


def _software(receipts: Sequence[Facts], snakemake: str, references: _References) -> list[str]:
    kinds = {
        "Registrations": filter(_is_registration, receipts),
        "Preparation, alignment and training": filterfalse(_is_registration, receipts),
    }
    items = [f"The study was run by Snakemake {snakemake}{references.cite(_SNAKEMAKE)}."]
    for kind, given in kinds.items():
        versions = Counter(_listed(r["software"]) for r in given if r.get("software"))
        if versions:
            items.append(f"{kind}: {_shared(versions, 'unit')}.")
    programs = {
        f"{name} {about.get('version', 'of unknown version')} (SHA-256 "
        f"{about['sha256'][:_SHOWN_DIGITS]})"
        for receipt in receipts
        for name, about in receipt.get("programs", {}).items()
    }
    return [*items, *([f"Programs: {', '.join(sorted(programs))}."] if programs else [])]


def _is_registration(receipt: Facts) -> bool:
    return receipt.keys() >= {"pair", "run"}


def _shared(kinds: Mapping[str, int], thing: str) -> str:
    """What all things have in common, or how many of them have which."""
    if len(kinds) == 1:
        return next(iter(kinds))
    return "; ".join(f"{_counted(count, thing)}: {kind}" for kind, count in sorted(kinds.items()))


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def _shown(value: object) -> str:
    return "[" + ", ".join(map(str, value)) + "]" if isinstance(value, list | tuple) else str(value)


def _sentence(text: str) -> str:
    return text.strip().removesuffix(".") + "."


# ----------------------------------------------------------------------------------------- to files


def as_markdown(title: str, sections: Iterable[Section]) -> str:
    """Headings and lists."""
    blocks = [f"# {title}"]
    for heading, items in sections:
        blocks += [f"## {heading}", "\n".join(f"- {item}" for item in items)]
    return "\n\n".join(blocks) + "\n"


def as_html(title: str, sections: Iterable[Section]) -> str:
    """A page of its own, for the report."""
    body = [f"<h1>{escape(title)}</h1>"]
    for heading, items in sections:
        body += [
            f"<h2>{escape(heading)}</h2>",
            "<ul>",
            *(f"<li>{escape(item)}</li>" for item in items),
            "</ul>",
        ]
    style = (
        "body { font: 14px/1.5 system-ui, sans-serif; margin: 1.5em; max-width: 60em; color: "
        "#222; }"
    )
    head = f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<style>{style}</style>\n'
    return head + "\n".join(body) + "\n</html>\n"
