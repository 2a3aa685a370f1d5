"""The files of studies, datasets and experiments, which are read and checked before any work."""

from __future__ import annotations

import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from diffeode.datasets.bids import read_description
from diffeode.datasets.exclusions import read_exclusions
from diffeode.datasets.pairs import draw_pairs, pairs_drawn_before
from diffeode.datasets.person import person_of_file
from diffeode.datasets.selection import Draw, Selection, Split, person_named
from diffeode.errors import InputError
from diffeode.evaluation.labels import read_label_table
from diffeode.files.checked_yaml import read_mapping, require_schema
from diffeode.files.presence import require_plain_name, without_hidden
from diffeode.learning.pairs import require_no_test_person, split_by_person
from diffeode.names import nearest, readable, short
from diffeode.prepare.recipe import Recipe, recipe_schema
from diffeode.registration.runs import FORMERLY, Run, name_today, run_names
from diffeode.study.descriptors import Taught, descriptor_of, taught, trained_descriptors
from diffeode.study.model import Dataset, Experiment, Side, Study
from diffeode.study.runs import read_runs
from diffeode.study.shown import read_shown

if TYPE_CHECKING:
    from diffeode.longitudinal.design import Design

_VARIABLE = re.compile(r"\$\{(\w+)(?::-([^}]*))?\}")
_UNWRITABLE = re.compile("[\x00-\x1f\x7f\udc80-\udcff]")
_OF_SHELLS = ('"', "$", "`", "\\", "%")
_LONGEST_NAME = 200
_PACKAGE = Path(__file__).resolve().parents[1]
_RAW_HEADS = {"brain": "mindgrab", "bias": "n4", "template": "icbm152"}


def load_dataset(name: str, repository: Path) -> Dataset:
    """Return the dataset in ``config/datasets/<name>.yaml``; a virtual one lies under ``results``.

    Raises:
        InputError: there is none of that name, or its file has an unknown, missing or misspelt key.
    """
    return _Reader(Path(repository)).dataset(name, Path("results"))


def load_study(
    source: Path | str | Mapping[str, Any], repository: Path, replaced: Iterable[str] = ()
) -> Study:
    """Return the study in a file, or in a mapping of the same keys, with all that it names.

    Args:
        repository: the folder that holds ``config`` and ``workflow/schemas``; relative paths in
            files start there or, where it is the copy in an installed package, in the working
            folder. Those that begin with an environment variable always start in the latter.
        replaced: the keys that the command line gives in place of the study's file
            (``--config runs=[...]``).

    Raises:
        InputError: a key is unknown, missing or misspelt, or a run, dataset, experiment, label
            table, subject, group or parameter does not exist; the message names the nearest one.
    """
    reader = _Reader(Path(repository), replaced=frozenset(replaced))
    if isinstance(source, Mapping):
        return reader.study(dict(source), "The study's configuration")
    return reader.study(read_mapping(source), str(source))


def parts_of_study(source: Path, repository: Path) -> tuple[list[Dataset], tuple[Run, ...]]:
    """Return the datasets and the runs of the study in a file, even where scans are missing.

    Args:
        repository: as for :func:`load_study`.

    Raises:
        InputError: as :func:`load_study`, except for faults of scans.
    """
    reader, where = _Reader(Path(repository)), str(source)
    content = read_mapping(source)
    reader.check(content, "study", where)
    reader = reader.with_own(content)
    given = content.get("train_on", {})
    trained = [given] if isinstance(given, str) else given.values()
    results = Path(content["results"])
    runs, _ = read_runs(content["runs"], where)
    taught_on = [how.experiment for how in reader.taught(runs, results).values()]
    datasets: dict[str, Dataset] = {}
    for experiment in (*content["experiments"], *trained, *taught_on):
        for side in reader.sides(experiment, results):
            datasets[side.dataset.name] = side.dataset
    return list(datasets.values()), runs


@dataclass(frozen=True)
class _Reader:
    """Reads the files under ``repository``.

    ``given`` holds the content of files that do not exist, by kind and name; ``replaced`` is as for
    :func:`load_study`; ``read`` holds the datasets that were read, so that the scans of each are
    listed once.
    """

    repository: Path
    given: dict[tuple[str, str], dict[str, Any]] = field(default_factory=dict)
    replaced: frozenset[str] = frozenset()
    read: dict[str, Dataset] = field(default_factory=dict)

    def study(self, content: Any, where: str) -> Study:
        self.check(content, "study", where)
        if "bids" in content:
            return self.study_of_bids(content, where)
        reader = self.with_own(content)
        found = reader.study_of_names(content, where)
        if "own" in content and not self.replaced:
            reader.require_own_used(content, where)
        return found

    def with_own(self, content: Mapping[str, Any]) -> _Reader:
        """Return a reader that knows the datasets and experiments in the study's own file."""
        own = {}
        for kind, blocks in content.get("own", {}).items():
            for name, block in blocks.items():
                require_plain_name(str(name), kind.removesuffix("s"))
                own[kind, name] = block
        return replace(self, given={**self.given, **own})

    def require_own_used(self, content: Mapping[str, Any], where: str) -> None:
        """Raise :class:`InputError` where the study's own file holds a block that nothing names. A
        file of the repository may have the name that was meant, and would be taken for it.
        """
        runs, _ = read_runs(content["runs"], where)
        taught = self.taught(runs, Path(content["results"])).values()
        train_on = content.get("train_on", {})
        trained = [train_on] if isinstance(train_on, str) else train_on.values()
        experiments = {*content["experiments"], *trained, *(how.experiment for how in taught)}
        datasets = set()
        for name in sorted(experiments):
            block, place = self.named("experiments", name)
            self.check(block, "experiment", place)
            datasets |= {block[side]["dataset"] for side in ("fixed", "moving")}
        used = {"experiments": experiments, "datasets": datasets}
        for kind, own in content.get("own", {}).items():
            for name in sorted(own.keys() - used[kind]):
                raise InputError(
                    f"{where} has the {kind.removesuffix('s')} {name!r} (own), which nothing in "
                    f"the study names{nearest(name, used[kind])}; name it, or take it out."
                )

    def study_of_names(self, content: dict[str, Any], where: str) -> Study:
        """Return the study of a checked file whose experiments are names."""
        results = Path(content["results"])
        names = content["experiments"]
        runs, sweeps = read_runs(content["runs"], where)
        experiments = tuple(_told_apart([self.experiment(name, results) for name in names]))
        return Study(
            name=content["study"],
            title=content["title"],
            experiments=experiments,
            runs=runs,
            ours=self.ours(content["ours"], [run.name for run in runs], where),
            seed=content["seed"],
            results=results,
            panels=content.get("panels", 1),
            pairs_per_job=content.get("pairs_per_job", Study.pairs_per_job),
            time_limit_minutes=content.get("time_limit_minutes"),
            gpu=content.get("gpu", 0),
            strict=content.get("strict", 0),
            keep=content.get("keep", "all"),
            fields=content.get("fields", "float32"),
            tools=tuple(self.located(folder, where) for folder in content.get("tools", ())),
            sweeps=sweeps,
            shown=read_shown(
                content.get("figures", {}),
                runs,
                [e.labels for e in experiments if e.labels],
                where,
                all_runs="runs" not in self.replaced,
            ),
            train_on=self.train_on(content, runs, experiments, where),
            taught_on=self.taught_on(runs, experiments, results),
            descriptors=trained_descriptors(runs, self.repository, results),
            longitudinal=_longitudinal(content.get("longitudinal"), where),
        )

    def ours(self, name: str, runs: Sequence[str], where: str) -> str | None:
        """Return ``name`` if it is among ``runs``; None if it is another run of config/methods."""
        known = {*run_names(), *runs}
        if name in runs:
            return name
        if name in known:
            return None
        of_file = self.replaced & {"runs", "ours"} == {"runs"} and name not in FORMERLY
        if of_file:
            raise InputError(
                f"The study's file puts run {short(name)} against the others (ours), and the "
                "command line replaces the file's runs (runs=[...]), whose blocks make such runs; "
                f"name one of the runs of the command line as ours there, too: ours={runs[-1]}."
            )
        raise InputError(
            f"{where} puts run {short(name)} against the others, but there is no such "
            f"run{name_today(name, known)}."
        )

    def train_on(
        self,
        content: Mapping[str, Any],
        runs: tuple[Run, ...],
        experiments: tuple[Experiment, ...],
        where: str,
    ) -> dict[str, Experiment]:
        """Return the experiment to train on, by the name of the experiment that is registered."""
        given, results = content.get("train_on"), Path(content["results"])
        studied = [experiment.name for experiment in experiments]
        names = dict.fromkeys(studied, given) if isinstance(given, str) else given or {}
        self.require_experiments_to_train_for(names, studied, where)
        untrained = [run for run in runs if run.is_trained_first]
        if not untrained:
            return {}
        if given is None:
            runs_named = ", ".join(run.name for run in untrained)
            raise InputError(
                f"{where} has runs that are trained first ({runs_named}); name the experiment to "
                "train on by the key train_on."
            )
        for name in studied:
            if name not in names:
                raise InputError(
                    f"{where} does not say what to train on for its experiment {name}; add it to "
                    "train_on."
                )
        used = {names[name] for name in studied}
        training = {name: self.experiment(name, results) for name in sorted(used)}
        for experiment in experiments:
            require_no_test_person(training[names[experiment.name]].persons, experiment.persons)
        for run in untrained:
            for experiment in training.values():
                _require_pairs_to_train_on(run, experiment, content["seed"], where)
        return {name: training[names[name]] for name in studied}

    def taught(self, runs: Iterable[Run], results: Path) -> dict[str, Taught]:
        """Return how each descriptor is trained that some run uses and that is trained on prepared
        scans.
        """
        used = (descriptor_of(run, self.repository, results) for run in runs)
        found = {name: taught(name, self.repository) for name in filter(None, used)}
        return {name: how for name, how in found.items() if how}

    def taught_on(
        self, runs: tuple[Run, ...], experiments: tuple[Experiment, ...], results: Path
    ) -> dict[str, Experiment]:
        """Return the experiment whose prepared scans a descriptor is trained on, by the name of the
        descriptor.
        """
        found = {}
        for name, how in self.taught(runs, results).items():
            training = self.experiment(how.experiment, results)
            how.require_persons(training.scans)
            for experiment in experiments:
                require_no_test_person(training.persons, experiment.persons)
            found[name] = training
        return found

    def require_experiments_to_train_for(
        self, names: Mapping[str, str], studied: Sequence[str], where: str
    ) -> None:
        """Raise :class:`InputError` where ``train_on`` names an experiment that does not exist, to
        be registered or to train on, whether or not a run is trained.

        It may name experiments that the study leaves out, as by ``--config experiments=[...]``.
        """
        for name in sorted({*names.values()}):
            self.named("experiments", name)
        for name in names:
            require_plain_name(name, "experiment")
            if (
                name not in studied
                and ("experiments", name) not in self.given
                and not self.path_of("experiments", name).is_file()
            ):
                raise InputError(
                    f"{where} says what to train on for the experiment {name!r}, which does not "
                    f"exist{nearest(name, studied)}."
                )

    def study_of_bids(self, content: dict[str, Any], where: str) -> Study:
        """Return the study with a BIDS folder in place of its experiments.

        Every T1w is registered to every T2w of another person.
        """
        root = os.path.abspath(content["bids"])
        name = read_description(Path(root)).get("Name") or Path(root).name
        title = f"{readable(name)}, T1w to T2w"
        sides = {
            side: {"dataset": "bids", "modality": m}
            for side, m in (("fixed", "T2w"), ("moving", "T1w"))
        }
        given = {
            ("datasets", "bids"): {"kind": "bids", "root": root},
            ("experiments", "bids"): {
                "title": title,
                **sides,
                "alignment": "affine",
                "seed": content["seed"],
            },
        }
        rest = {key: value for key, value in content.items() if key != "bids"}
        return replace(self, given=given).study(
            rest | {"study": "bids", "title": title, "experiments": ["bids"]}, where
        )

    def sides(self, name: str, results: Path) -> tuple[Side, Side]:
        """Return the fixed and the moving side of the experiment called ``name``."""
        content, where = self.named("experiments", name)
        self.check(content, "experiment", where)
        return self.side(content["fixed"], results), self.side(content["moving"], results)

    def experiment(self, name: str, results: Path) -> Experiment:
        fixed, moving = self.sides(name, results)
        content, _ = self.named("experiments", name)
        seed = content.get("seed", 0)
        before = pairs_drawn_before(results / "pairs" / name / "pairs.tsv", seed)
        kept_fixed = {fixed_scan for fixed_scan, _ in before}
        kept_moving = {moving_scan for _, moving_scan in before}
        disjoint = content.get("disjoint", False)
        spared = {person_named(key) for key in kept_moving} if disjoint else set()
        fixed_scans = fixed.scans("fixed", seed, kept_fixed, spared)
        moving_scans = moving.scans(
            "moving", seed, kept_moving, apart_from=fixed_scans if disjoint else ()
        )
        pairs = draw_pairs(
            fixed_scans,
            moving_scans,
            self.how(content.get("pairs", "all"), self.start_of("experiments", name)),
            seed,
            before,
            of_one_person=content.get("persons") == "same",
        )
        return Experiment(
            name=name,
            title=content["title"],
            fixed=fixed,
            moving=moving,
            alignment=content["alignment"],
            grids=content.get("grids", "resample"),
            pairs=tuple(pairs),
            seed=seed,
        )

    def side(self, content: dict[str, Any], results: Path) -> Side:
        return Side(
            dataset=self.dataset(content["dataset"], results),
            selection=Selection(
                modality=content["modality"],
                subjects=_words(content.get("subjects")),
                groups=_words(content.get("group")),
                part=content.get("split"),
                sessions=content.get("sessions", "all"),
                draw=_draw(content.get("draw")),
            ),
        )

    def dataset(self, name: str, results: Path) -> Dataset:
        """Return the dataset called ``name``."""
        if name not in self.read:
            self.read[name] = self._dataset(name, results)
        return self.read[name]

    def _dataset(self, name: str, results: Path) -> Dataset:
        content, where = self.named("datasets", name)
        self.check(content, "dataset", where)
        virtual = content["kind"] == "virtual"
        root_as_given = "" if virtual else content["root"]
        root = results / "sources" / name if virtual else self.located(root_as_given, where)
        _require_own_patterns(content.get("scans", {}), where)
        about = read_description(root) if content["kind"] == "bids" else {}
        return Dataset(
            name=name,
            title=content.get("title") or readable(about.get("Name", "")) or name,
            population=content.get("population", "participants"),
            kind=content["kind"],
            root=root,
            labels=self.label_table(content.get("labels"), where),
            recipe=self.recipe(content.get("prepare") or _default_preparation(about), where),
            cohort=content.get("cohort", {}),
            layout={
                key: content[key]
                for key in ("scans", "label_maps", "demographics", "table")
                if key in content
            },
            about={
                key: content[key]
                for key in ("source", "licence", "citation", "access")
                if key in content
            },
            excluded=read_exclusions(self.start_of("datasets", name) / content["exclude"])
            if "exclude" in content
            else frozenset(),
            split=_split(content.get("split")),
            orientation=content.get("orientation"),
            are_scans=content.get("are_scans", False),
            root_as_given=root_as_given,
            root_variables=_variables_in(root_as_given),
        )

    def recipe(self, content: dict[str, Any], where: str) -> Recipe:
        template = content.get("template", "none")
        if not isinstance(template, str):
            paths = {
                contrast: str(self.located(path, where)) for contrast, path in template.items()
            }
            content = {**content, "template": paths}
        try:
            return Recipe(**content)
        except InputError as error:
            raise InputError(f"{where}: {error}") from None

    def label_table(self, name: str | None, where: str) -> Path | None:
        if name is None:
            return None
        if name.endswith(".tsv"):
            path = self.located(name, where)
            read_label_table(path)
            return path
        require_plain_name(name, "label table")
        folder = self.repository / "config" / "labels"
        path = folder / f"{name}.tsv"
        if not path.is_file():
            known = (table.stem for table in without_hidden(folder.glob("*.tsv")))
            raise InputError(
                f"{where} names label table {name!r}, which is not in config/labels"
                f"{nearest(name, known)}."
            )
        read_label_table(path)
        return path

    def how(self, pairs: str | int, start: Path) -> str | int | Path:
        return pairs if isinstance(pairs, int) or pairs == "all" else start / pairs

    @property
    def start(self) -> Path:
        """The folder from which relative paths start that users write into files: the repository
        or, where that is the copy in an installed package, the working folder.
        """
        is_installed = self.repository.resolve().is_relative_to(_PACKAGE)
        return Path() if is_installed else self.repository

    def start_of(self, kind: str, name: str) -> Path:
        """Return the folder from which paths start in what describes ``name``: files of the
        repository name what lies beside them there.
        """
        return self.start if (kind, name) in self.given else self.repository

    def located(self, text: str, where: str) -> Path:
        """Return the path that ``text`` names once its environment variables are replaced
        (:func:`expand`).

        Where it begins with the value of a variable, it starts in the working folder, as it does
        for every program; else it starts where paths in files start.
        """
        first = _VARIABLE.match(text)
        of_environment = first is not None and bool(os.environ.get(first.group(1)))
        return (Path() if of_environment else self.start) / expand(text, where)

    def named(self, kind: str, name: str) -> tuple[Any, str]:
        """Return the content of ``config/<kind>/<name>.yaml`` and its path as messages show it."""
        if (kind, name) in self.given:
            return self.given[kind, name], f"{kind.removesuffix('s')} {name!r}"
        require_plain_name(name, kind.removesuffix("s"))
        path = self.path_of(kind, name)
        if not path.is_file():
            known = (file.stem for file in without_hidden(path.parent.glob("*.yaml")))
            raise InputError(
                f"There is no {kind.removesuffix('s')} {name!r}{nearest(name, known)}."
            )
        return read_mapping(path), f"config/{kind}/{name}.yaml"

    def path_of(self, kind: str, name: str) -> Path:
        return self.repository / "config" / kind / f"{name}.yaml"

    def check(self, content: Any, schema: str, where: str) -> None:
        rules = read_mapping(self.repository / "workflow" / "schemas" / f"{schema}.schema.yaml")
        if schema == "dataset":
            rules["$defs"]["recipe"] = recipe_schema()
        require_schema(content, rules, where)


def expand(text: str, where: str) -> str:
    """Return ``text`` with ``${NAME}`` and ``${NAME:-default}`` replaced from the environment.

    An empty variable counts as unset.

    Raises:
        InputError: a variable without a default is not set, or the path comes out empty.
    """

    def value(match: re.Match[str]) -> str:
        name, default = match.groups()
        found = os.environ.get(name) or default
        if found is None:
            raise InputError(
                f"{where} needs the environment variable {name}, which is not set; set it."
            )
        return found

    expanded = _VARIABLE.sub(value, text)
    if not expanded:
        raise InputError(
            f"{where} has the path {text!r}, which comes out empty; set the variable in it."
        )
    return expanded


def _variables_in(text: str) -> tuple[str, ...]:
    """Return the names of the environment variables that :func:`expand` replaces in ``text``."""
    return tuple(dict.fromkeys(match.group(1) for match in _VARIABLE.finditer(text)))


def _told_apart(experiments: Sequence[Experiment]) -> Iterator[Experiment]:
    """Yield ``experiments``; those that share a title get their name added to it.

    Tables show titles alone, and would take two experiments of one title for one.
    """
    counts = Counter(experiment.title for experiment in experiments)
    for experiment in experiments:
        if counts[experiment.title] == 1:
            yield experiment
        else:
            yield replace(experiment, title=f"{experiment.title} ({experiment.name})")


def _default_preparation(description: dict[str, Any]) -> dict[str, Any]:
    """Return the recipe of a BIDS folder for which none is given: raw scans are whole heads."""
    return dict(_RAW_HEADS) if description.get("DatasetType") == "raw" else {}


def _require_own_patterns(patterns: Mapping[str, str], where: str) -> None:
    """Raise :class:`InputError` where two contrasts have one pattern, and so the same files."""
    contrasts: dict[str, str] = {}
    for contrast, pattern in patterns.items():
        if other := contrasts.get(pattern):
            raise InputError(
                f"{where} has one pattern for {other} and {contrast} ({pattern}), so that one file "
                "would be both; give each contrast its own."
            )
        contrasts[pattern] = contrast


def _require_pairs_to_train_on(run: Run, experiment: Experiment, seed: int, where: str) -> None:
    """Raise :class:`InputError` where the training of ``run`` would find no pairs."""
    # few studies train, and plans of the others need not know what trains
    from diffeode.learning.method_training import trained_method

    method = trained_method(run)
    try:
        split_by_person(experiment.pairs, method.validation_persons, seed)
    except InputError as error:
        raise InputError(
            f"{where} trains {run.name} on the experiment {experiment.name}. {error}"
        ) from error


def _longitudinal(given: dict[str, Any] | None, where: str) -> Design | None:
    if given is None:
        return None
    # few studies have visits, and plans of the others need not know what makes virtual persons
    from diffeode.longitudinal.design import read_design

    return read_design(given, where)


def _words(given: str | list[str] | None) -> tuple[str, ...] | None:
    return (given,) if isinstance(given, str) else tuple(given) if given else None


def _draw(given: int | dict[str, Any] | None) -> Draw | None:
    return Draw(persons=given) if isinstance(given, int) else Draw(**given) if given else None


def _split(given: dict[str, Any] | None) -> Split | None:
    always = frozenset(given.get("always_test", ())) if given else frozenset()
    return Split(given["test"], given["seed"], always) if given else None


def require_untrained(study: Study, files: Iterable[Path]) -> None:
    """Raise :class:`InputError` where one of ``files``, to train on, is of a person whom ``study``
    registers.

    A file that lies in no person's folder is an error too.
    """
    shown = (person_of_file(file) for file in files)
    require_no_test_person(
        shown, (person for experiment in study.experiments for person in experiment.persons)
    )


def study_paths(study: Study) -> Iterator[Path]:
    """Yield the paths in a plan of ``study``: its results, label tables, scans and their files.

    Raises:
        InputError: a scan lacks the T1w that its preparation needs.
    """
    yield study.results
    yield from (dataset.labels for dataset in study.datasets().values() if dataset.labels)
    for scan in study.prepared_scans().values():
        yield from filter(None, (scan.image, scan.labels, scan.landmarks))
    yield study.results / "studies" / study.name
    for experiment, pair, run in study.units():
        yield study.results / "registrations" / experiment / pair / run


def require_nameable(paths: Iterable[Path | str]) -> None:
    """Raise :class:`InputError` where Snakemake would misread a path as a wildcard, or cannot write
    it down.
    """
    for path in map(str, paths):
        if "{" in path or "}" in path:
            raise InputError(
                f"The path {path} has braces, which the workflow takes for a wildcard; rename "
                "that folder or file, or reach it by a link without braces."
            )
        if any(len(os.fsencode(part)) > _LONGEST_NAME for part in Path(path).parts):
            raise InputError(
                f"The path {path[:_LONGEST_NAME]}... has a name of more than {_LONGEST_NAME} "
                "bytes, to which temporary files could add no more; give that file, person, run or "
                "experiment a shorter one."
            )
        if _UNWRITABLE.search(path):
            raise InputError(
                f"The path {readable(path)} has a byte that is no UTF-8 or a control character, "
                "which the workflow cannot write down; rename that folder or file."
            )


def require_submittable(paths: Iterable[Path | str]) -> None:
    """Raise :class:`InputError` where a shell, or Slurm, would take a part of a path for more than
    a name: Snakemake's plugins write paths between double quotes as they submit a job.
    """
    for path in map(str, paths):
        if any(letter in path for letter in _OF_SHELLS):
            raise InputError(
                f"The path {path} has one of {' '.join(_OF_SHELLS)}, which a cluster takes for "
                "more than a letter of a name when jobs are submitted; give that folder or file "
                "another name, or use the profile default, which submits nothing."
            )


def require_writable(folder: Path) -> None:
    """Raise :class:`InputError` where ``folder`` cannot be written, nor made if it is missing."""
    there = next(f for f in (folder.absolute(), *folder.absolute().parents) if f.exists())
    if not there.is_dir():
        raise InputError(
            f"Cannot write results to {folder}: {there} is a file; name another folder (results: "
            "...)."
        )
    if not os.access(there, os.W_OK | os.X_OK):
        raise InputError(
            f"Cannot write results to {folder}: no permission in {there}; name another folder "
            "(results: ...)."
        )
