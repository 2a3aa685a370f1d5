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

from diffeode.datasets.scan import ANATOMICAL, Scan
from diffeode.prepare.affine import CITATION as ANTS
from diffeode.prepare.described import BY_AFFINE, described
from diffeode.registration.knobs import as_parameters, dotted
from diffeode.registration.registry import method_class
from diffeode.registration.runs import Run
from diffeode.study import energy
from diffeode.study.bibliography import Entry, cited_by
from diffeode.study.descriptors import TrainedDescriptor
from diffeode.study.model import Dataset, Experiment, Side, Study

Facts = dict[str, Any]
"""Plain words, numbers, lists and mappings."""

_STEPS = ("brain", "bias", "intensity", "template", "through", "labels", "spacing_mm")
_STEPS_OF_HEADS = ("bias", "brain", *_STEPS[2:])
_NOTHING = "None:"
"""The beginning of the citation of a method that needs none."""
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
_HOLM = (
    "Holm, A simple sequentially rejective multiple test procedure, Scandinavian Journal of "
    "Statistics 6(2), 1979"
)
_KERBY = (
    "Kerby, The simple difference formula: an approach to teaching nonparametric correlation, "
    "Comprehensive Psychology 3, 2014"
)
_SESSIONS = {
    "all": "",
    "first": "the first session of each person",
    "last": "the last session of each person",
    "across_groups": "one session of each person, in as many groups as possible",
}
_SHOWN_DIGITS = 12


class Section(NamedTuple):
    """A heading, and items below it."""

    heading: str
    items: tuple[str, ...]


@final
class _References:
    """The works that were cited, in the order of their first citations."""

    def __init__(self) -> None:
        self.cited: list[str] = []

    def cite(self, *citations: str) -> str:
        """Return the number of each work in brackets, after a blank; an empty text has none."""
        known = [
            text.removesuffix(".") for text in citations if text and not text.startswith(_NOTHING)
        ]
        self.cited += [citation for citation in dict.fromkeys(known) if citation not in self.cited]
        return "".join(f" [{self.cited.index(citation) + 1}]" for citation in known)


# -------------------------------------------------------------------------------- from the settings


def facts_of(study: Study) -> Facts:
    """Return what the settings of ``study`` say, as plain words that Snakemake can compare."""
    datasets = study.datasets()
    used: dict[str, list[Scan]] = {name: [] for name in datasets}
    for scan in study.scans().values():
        used[scan.dataset].append(scan)
    return {
        "title": study.title,
        "study": study.name,
        "seed": study.seed,
        "ours": study.run(study.ours).title if study.ours else None,
        "datasets": [_dataset_facts(dataset, used[name]) for name, dataset in datasets.items()],
        "experiments": [_experiment_facts(experiment) for experiment in study.experiments],
        "has_labels": any(experiment.labels for experiment in study.experiments),
        "train_on": [_training_facts(study, experiment) for experiment in study.trainings],
        "descriptors": [_descriptor_facts(study, trained) for trained in study.descriptors],
        "runs": [_run_facts(run) for run in study.runs],
        "longitudinal": _longitudinal_facts(study),
    }


def _longitudinal_facts(study: Study) -> Facts | None:
    if study.longitudinal is None:
        return None
    settings = dotted(study.longitudinal.parameters)
    citation = method_class("neural-ode").citation
    return {**study.longitudinal.content, "settings": settings, "citation": citation}


def _dataset_facts(dataset: Dataset, scans: Sequence[Scan]) -> Facts:
    about = {key: dataset.about.get(key, "") for key in ("source", "licence", "citation")}
    names = {"title": dataset.title, "population": dataset.population}
    recipe = {
        "recipe": dataclasses.asdict(dataset.recipe),
        "corrects_heads": dataset.recipe.corrects_heads,
    }
    recipe["labelled"] = bool(dataset.labels)
    modalities = Counter(scan.modality for scan in scans)
    persons = len({scan.person for scan in scans})
    counts = {"scans": dict(sorted(modalities.items())), "persons": persons}
    return {**names, **counts, **about, **recipe}


def _experiment_facts(experiment: Experiment) -> Facts:
    sides = {side: _side(getattr(experiment, side)) for side in ("fixed", "moving")}
    pairs = {"pairs": len(experiment.pairs), "alignment": experiment.alignment}
    pairs["fixed_groups"] = experiment.fixed_groups
    return {"title": experiment.title, "population": experiment.population, **sides, **pairs}


def _training_facts(study: Study, experiment: Experiment) -> Facts:
    studied = [e.title for e in study.experiments if study.train_on[e.name] == experiment]
    return {**_experiment_facts(experiment), "for": studied}


def _descriptor_facts(study: Study, trained: TrainedDescriptor) -> Facts:
    about = {
        "name": trained.name,
        "runs": [study.run(name).title for name in trained.runs],
        "steps": trained.steps,
        "settings": dict(trained.settings),
    }
    experiment = study.taught_on.get(trained.name)
    if experiment is None:
        return {**about, "files": {key: list(files) for key, files in trained.files.items()}}
    contrasts = Counter(scan.modality for scan in experiment.scans)
    return {
        **about,
        "experiment": experiment.title,
        "population": experiment.population,
        "scans": dict(sorted(contrasts.items())),
        "persons": len(experiment.persons),
        "held_out": trained.held_out,
        "choice": [_chosen(side) for side in (experiment.fixed, experiment.moving)],
        "pairs": len(experiment.pairs),
    }


def _chosen(side: Side) -> str:
    """Return the rule by which the scans of a side are chosen."""
    chosen, draw = side.selection, side.selection.draw
    rules = [
        f"persons {', '.join(chosen.subjects)}" if chosen.subjects else "",
        f"groups {', '.join(chosen.groups)}" if chosen.groups else "",
        f"the part of its split to {chosen.part} on" if chosen.part else "",
        _SESSIONS[chosen.sessions],
    ]
    if draw:
        number = (
            f"{_counted(draw.persons, 'person')} in all"
            if draw.persons
            else f"{_counted(draw.per_group or 0, 'person')} of each group"
        )
        rules.append(f"{number}, drawn {'by name' if draw.order == 'name' else 'at random'}")
    return ", ".join(filter(None, [_side(side), *rules]))


def _side(side: Side) -> str:
    return f"{side.selection.modality} of {side.dataset.title}"


def _run_facts(run: Run) -> Facts:
    method = method_class(run.method)
    # A method that somebody is still writing may lack these, and its study should not fail for it.
    stated = {
        "citations": [getattr(method, "citation", "")],
        "licence": getattr(method, "licence", "not stated"),
        "parts": {},
    }
    if run.method == energy.METHOD:
        parts = energy.parts_of(run)
        stated["parts"] = {
            what: [[part.text, list(part.citations)] for part in found]
            for what, found in parts.items()
        }
        stated["citations"] = [energy.MULTIMODAL, energy.NODEO]
    settings = dotted(as_parameters(run.build(), whole=True))
    return {
        "run": run.name,
        "title": run.title,
        "method": method.title,
        **stated,
        "settings": settings,
        "changed": sorted(dotted(run.parameters)),
        "trained": run.is_trained_first,
    }


# ------------------------------------------------------------------------------------------ to text


def methods_section(
    facts: Facts, receipts: Sequence[Facts], snakemake: str, bibliography: Sequence[Entry] = ()
) -> list[Section]:
    """Return the sections; the references come last.

    Args:
        facts: the result of :func:`facts_of`.
        receipts: the receipts of all units of the study.
        snakemake: the version of Snakemake.
        bibliography: the entries in which DOIs and keys of the references are looked up.
    """
    references = _References()
    sections = _sections(facts, receipts, snakemake, references)
    cited = [
        f"[{number}] {_with_links(text, bibliography)}"
        for number, text in enumerate(references.cited, start=1)
    ]
    return [*sections, Section("References", tuple(cited))]


def cited_entries(
    facts: Facts, receipts: Sequence[Facts], snakemake: str, bibliography: Sequence[Entry]
) -> list[Entry]:
    """Return the entries of ``bibliography`` that the section of these facts cites, in order."""
    references = _References()
    _sections(facts, receipts, snakemake, references)
    return cited_by(references.cited, bibliography)


def _sections(
    facts: Facts, receipts: Sequence[Facts], snakemake: str, references: _References
) -> list[Section]:
    registrations = list(filter(_is_registration, receipts))
    return [
        Section("Data", tuple(_data(dataset, references) for dataset in facts["datasets"])),
        Section(
            "Preparation", tuple(_preparation(dataset, references) for dataset in facts["datasets"])
        ),
        Section("Pairs", tuple(_pairs(facts, references))),
        *_descriptors(facts["descriptors"]),
        Section("Registration", tuple(_registration(facts, registrations, references))),
        Section("Evaluation", tuple(_evaluation(facts, references))),
        *_longitudinal(facts["longitudinal"], references),
        Section("Software", tuple(_software(receipts, snakemake, references))),
    ]


def _with_links(citation: str, bibliography: Sequence[Entry]) -> str:
    """Return ``citation`` with the DOIs (or else the addresses) and the keys of its entries."""
    entries = cited_by([citation], bibliography)
    links = [
        entry.link for entry in entries if entry.link and (entry.doi or entry.link) not in citation
    ]
    keys = f" ({', '.join(entry.key for entry in entries)})" if entries else ""
    return f"{citation}. {', '.join(links)}{keys}" if links else f"{citation}{keys}"


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
    """Return a clause on what is done at ``step``; empty where nothing is done."""
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
    groups = ", ".join(f"{group} {count}" for group, count in experiment["fixed_groups"].items())
    fixed = f" The fixed scans are of these groups: {groups}." if groups else ""
    return f"{experiment['title']} ({experiment['population']}): {what}, {how}.{fixed}"


def _descriptors(trained: Sequence[Facts]) -> list[Section]:
    """Return the section on the training of descriptors; no section where none is trained."""
    items = tuple(map(_descriptor, trained))
    return [Section("Descriptors", items)] if items else []


def _descriptor(trained: Facts) -> str:
    given = ", ".join(said(name, value) for name, value in trained["settings"].items())
    how = (
        f"{_counted(trained['steps'], 'step')}, with {given or 'no other setting given'}; settings "
        "that are not named here have the values in config/README.md."
    )
    source = _trained_on_files if "files" in trained else _trained_on_prepared
    return (
        f"{trained['name']}, the descriptor of {', '.join(trained['runs'])}: {source(trained)} "
        f"The training took {how}"
    )


def _trained_on_files(trained: Facts) -> str:
    words = {"scans": "scans", "labels": "label maps", "validation": "scans to validate on"}
    files = "; ".join(
        f"{words[key]}: {', '.join(patterns)}" for key, patterns in trained["files"].items()
    )
    return (
        f"It was trained for this study on files below the folder of the data ({files}). None of "
        "their persons is registered."
    )


def _trained_on_prepared(trained: Facts) -> str:
    contrasts = " and ".join(f"{count} {modality}" for modality, count in trained["scans"].items())
    return (
        f"It was trained for this study on prepared scans, {contrasts} of "
        f"{_counted(trained['persons'], 'person')}: those in the "
        f"{_counted(trained['pairs'], 'pair')} of the experiment {trained['experiment']} "
        f"({trained['population']}), whose sides are {'; and '.join(trained['choice'])}. The "
        f"training held out {_counted(trained['held_out'], 'person')} of them, chosen by the seed "
        "among those with two contrasts of one visit, and kept the weights that were best there. "
        "None of these persons is registered."
    )


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
        f"{_shared(machines, 'registration')}. The settings' meanings and units are in "
        "docs/methods.md of this version."
    )
    return [common, *(_run(run, registrations, references) for run in facts["runs"])]


def _run(run: Facts, registrations: Sequence[Facts], references: _References) -> str:
    mine = [receipt for receipt in registrations if receipt["run"] == run["run"]]
    given = ", ".join(said(name, value) for name, value in run["settings"].items())
    settings = f" with {given}" if given else ", which has no settings"
    changed = [name for name in run["changed"] if name in run["settings"]]
    differing = f" Chosen for this run: {', '.join(changed)}." if changed else ""
    trained = " Its network was trained first, on the pairs above." if run["trained"] else ""
    failed = sum(receipt["status"] == "failed" for receipt in mine)
    failures = f" {failed} of {_counted(len(mine), 'registration')} failed." if failed else ""
    method = f"{run['method']}{references.cite(*run['citations'])}"
    parts = "".join(
        f" {what}: {', '.join(text + references.cite(*works) for text, works in found)}."
        for what, found in run["parts"].items()
        if found
    )
    return (
        f"{run['title']} ({run['run']}): {method}{settings}.{parts} Licence: "
        f"{run['licence']}.{differing}{trained}{failures}"
    )


def _evaluation(facts: Facts, references: _References) -> list[str]:
    if not facts["has_labels"]:
        return [
            "No pair has usable label maps of both sides, so neither overlap nor distance of "
            "structures was measured, and runs were not tested against each other. NMI is the "
            "normalised mutual information of the fixed scan and the warped moving scan; the SD "
            "of log|J| is that of the Jacobian determinant in the brain; inverse consistency is "
            "the mean distance by which the map and its inverse miss the point where they began.",
            f"{_folds_and_costs(references)} Registrations that failed enter no mean.",
        ]
    return [f"{_overlap(references)} {_folds_and_costs(references)}", _tests(facts, references)]


def _folds_and_costs(references: _References) -> str:
    return (
        "Folds are voxels of the brain where the Jacobian determinant, by central or by one-sided "
        "differences, is not positive; NDV is the volume that the map turns inside "
        f"out{references.cite(_NDV)}. Seconds, CPU seconds and peak memory are those of the method "
        "alone."
    )


def _overlap(references: _References) -> str:
    return (
        "Label maps are resampled once, by nearest neighbour, through the whole map. Overlap is "
        "Dice; distance is the 95th percentile of the distance between surfaces "
        f"(HD95){references.cite(_HD95)}."
    )


def _tests(facts: Facts, references: _References) -> str:
    ours = f" {facts['ours']} is put against the others." if facts["ours"] else ""
    wilcoxon, holm, kerby = (references.cite(work) for work in (_WILCOXON, _HOLM, _KERBY))
    return (
        "Runs are compared by one-sided Wilcoxon signed-rank tests on the mean Dice of each "
        f"pair{wilcoxon}, without and with Holm's correction{holm}. Effects are the median paired "
        f"difference and the matched-pairs rank-biserial correlation{kerby}.{ours} Registrations "
        "that failed enter no mean and no test."
    )


def _longitudinal(visits: Facts | None, references: _References) -> list[Section]:
    """Return the section about persons who were registered at several times, where there are
    such.
    """
    if visits is None:
        return []
    persons = ", ".join(f"{number:02d}" for number in visits["persons"])
    settings = ", ".join(said(name, value) for name, value in visits["settings"].items())
    whom = (
        f"{_counted(len(visits['persons']), 'virtual person')} ({persons}; seed {visits['seed']}), "
        f"scanned by nobody and ageing under known maps, at the times {_shown(visits['times'])} as "
        f"fractions of the whole time: T1w in voxels of {visits['spacing_mm']:g} mm, labels in "
        f"voxels of {visits['labels_mm']:g} mm."
    )
    how = (
        "Every later visit was registered to the first: all by one flow with a velocity that is "
        f"free in time ({visits['knots']} knots), periodic, or stationary, and each by itself with "
        f"a stationary velocity{references.cite(visits['citation'])}. Settings other than the "
        f"defaults: {settings}. The maps were compared with the true ones by landmarks, Dice, the "
        "volume of the lateral ventricles, and speed and acceleration of the brain's voxels."
    )
    return [Section("Several times of one person", (whom, how))]


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
    """Return the one kind of all things, or each kind with the number of things of that kind."""
    if len(kinds) == 1:
        return next(iter(kinds))
    return "; ".join(f"{_counted(count, thing)}: {kind}" for kind, count in sorted(kinds.items()))


def _listed(versions: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {version}" for name, version in versions.items())


def _counted(number: int, thing: str) -> str:
    return f"{number} {thing}{'' if number == 1 else 's'}"


def said(name: str, value: object) -> str:
    """Return a setting with its value in words.

    Args:
        name: the dotted name. Its last part is the value where ``value`` is an empty mapping, which
            stands for a choice without settings of its own.
    """
    if isinstance(value, Mapping):
        place, _, choice = name.rpartition(".")
        return f"{place} {choice}"
    return f"{name} {_shown(value)}"


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, list | tuple):
        return f"[{', '.join(map(str, value))}]"
    return str(value) or "none"


def _sentence(text: str) -> str:
    return text.strip().removesuffix(".") + "."


# ----------------------------------------------------------------------------------------- to files


def as_markdown(title: str, sections: Iterable[Section]) -> str:
    """Return the sections as Markdown, with a list below each heading."""
    blocks = [f"# {title}"]
    for heading, items in sections:
        blocks += [f"## {heading}", "\n".join(f"- {item}" for item in items)]
    return "\n\n".join(blocks) + "\n"


def as_html(title: str, sections: Iterable[Section]) -> str:
    """Return the sections as an HTML page for the report."""
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
