"""Studies are read, and every way to misname something stops with a sentence that names what was
meant.
"""

import json
import shutil
from pathlib import Path

import pytest
import yaml
from pages import MarkdownPage
from trees import write_ixi, write_oasis3

from diffeode.datasets.selection import Selection
from diffeode.errors import InputError
from diffeode.study.files import (
    expand,
    load_dataset,
    load_study,
    require_submittable,
    require_untrained,
    require_writable,
)
from diffeode.study.model import Side

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """A copy of the configuration and schemas."""
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    shutil.copytree(REPOSITORY / "workflow" / "schemas", tmp_path / "workflow" / "schemas")
    return tmp_path


def demo(**changes) -> dict:
    content = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text(encoding="utf-8"))
    return {key: value for key, value in (content | changes).items() if value is not None}


def rewrite(path: Path, **changes) -> None:
    content = yaml.safe_load(path.read_text(encoding="utf-8"))
    path.write_text(yaml.safe_dump(content | changes), encoding="utf-8")


def test_the_demo_is_ten_pairs_by_six_runs():
    study = load_study(REPOSITORY / "config" / "config.yaml", REPOSITORY)
    assert [len(experiment.pairs) for experiment in study.experiments] == [5, 5]
    assert len(study.units()) == 60
    assert all(
        pair.fixed.subject != pair.moving.subject for e in study.experiments for pair in e.pairs
    )
    assert {pair.fixed.group for pair in study.experiment("virtual-atrophy").pairs} == {"atrophy"}
    assert all("virtual" in experiment.population for experiment in study.experiments)
    assert study.experiments[0].labels == REPOSITORY / "config" / "labels" / "virtual.tsv"


def test_newborns_split_into_development_and_test(data_root, monkeypatch):
    monkeypatch.setenv("DIFFEODE_DATA", str(data_root))
    study = load_study(REPOSITORY / "config" / "albert.yaml", REPOSITORY)
    subjects = [
        {p.fixed.subject for p in e.pairs} | {p.moving.subject for p in e.pairs}
        for e in study.experiments
    ]
    assert subjects[0] <= {"01", "02", "03", "04", "05", "06"}
    assert subjects[1] == {"07", "08", "09", "10"}
    assert [len(e.pairs) for e in study.experiments] == [6, 12]
    assert {e.population for e in study.experiments} == {"newborns"}


def test_both_ways_of_giving_a_study_agree():
    assert load_study(demo(), REPOSITORY) == load_study(
        REPOSITORY / "config" / "config.yaml", REPOSITORY
    )


def test_time_limits_are_the_study_s_or_the_run_s_own(repository, monkeypatch):
    monkeypatch.setattr(
        "diffeode.registration.runs.runs_folder", lambda: repository / "config" / "methods"
    )
    rewrite(repository / "config" / "methods" / "ants-syn.yaml", time_limit_minutes=5)
    study = load_study(demo(time_limit_minutes=60), repository)
    assert (study.time_limit("ants-syn"), study.time_limit("identity")) == (5, 60)
    assert load_study(demo(), repository).time_limit("identity") is None


def test_experiments_that_share_a_title_are_told_apart_by_their_names(repository):
    """Tables know experiments by their titles alone, and would drop one of the two."""
    for name in ("virtual-healthy", "virtual-atrophy"):
        rewrite(repository / "config" / "experiments" / f"{name}.yaml", title="One")
    study = load_study(demo(), repository)
    titles = {experiment.name: experiment.title for experiment in study.experiments}
    assert titles == {name: f"One ({name})" for name in ("virtual-healthy", "virtual-atrophy")}
    (alone,) = load_study(demo(experiments=["virtual-healthy"]), repository).experiments
    assert alone.title == "One"


def test_ours_may_be_left_out_of_the_runs():
    assert load_study(demo(runs=["identity"]), REPOSITORY).ours is None


def test_a_block_s_run_that_the_command_line_leaves_out_needs_another_ours():
    """``--config runs=[identity]`` on a study whose ``ours`` is a run of a sweep."""
    file = REPOSITORY / "config" / "small" / "nodeo.yaml"
    content = yaml.safe_load(file.read_text(encoding="utf-8"))
    content |= {"runs": ["affine", "identity"], "experiments": ["virtual-healthy"]}
    sentence = (
        r"The study's file puts run 'nodeo-steps-1-iterations-300' against the others \(ours\), "
        r"and the command line replaces the file's runs \(runs=\[\.\.\.\]\), .*; name one of the "
        r"runs of the command line as ours there, too: ours=identity\."
    )
    with pytest.raises(InputError, match=sentence):
        load_study(content, REPOSITORY, replaced={"runs", "experiments"})
    study = load_study(content | {"ours": "affine"}, REPOSITORY, replaced={"runs", "ours"})
    assert (study.ours, study.shown.models) == ("affine", ())
    with pytest.raises(InputError, match="puts run 'affin' against the others, but there is no"):
        load_study(content | {"ours": "affin"}, REPOSITORY, replaced={"runs", "ours"})
    with pytest.raises(InputError, match="there is no such run; it is now 'paper-mind'"):
        load_study(content | {"ours": "node-mind-paper"}, REPOSITORY, replaced={"runs"})


WRONG = {
    "unknown key": (
        {"expriments": ["virtual-healthy"]},
        "unknown key 'expriments'; did you mean 'experiments'",
    ),
    "missing key": ({"runs": None}, "lacks the key 'runs'"),
    "unknown run": ({"runs": ["ants-sin"]}, "There is no run 'ants-sin'; did you mean 'ants-syn'"),
    "unknown experiment": (
        {"experiments": ["albert-tst"]},
        "no experiment 'albert-tst'; did you mean 'albert-test'",
    ),
    "unknown ours": (
        {"ours": "node-mimd"},
        "puts run 'node-mimd' against the others, but there is no such run; did you mean",
    ),
    "wrong type": ({"runs": "identity"}, "has runs: 'identity', which is not a list"),
    "a run twice": (
        {"runs": ["identity", "identity"]},
        "has runs: ['identity', 'identity'], which is not allowed",
    ),
    "negative panels": ({"panels": -1}, "has panels: -1, which is not allowed"),
    "a seed that ANTs cannot read": ({"seed": 2**31}, "has seed: 2147483648, which is not allowed"),
}


@pytest.mark.parametrize(("changes", "sentence"), WRONG.values(), ids=WRONG.keys())
def test_wrong_study(changes, sentence):
    with pytest.raises(InputError) as caught:
        load_study(demo(**changes), REPOSITORY)
    assert sentence in str(caught.value)
    assert "\n" not in str(caught.value)


WRONG_EXPERIMENT = {
    "unknown key": ({"aligment": "affine"}, "unknown key 'aligment'; did you mean 'alignment'"),
    "unknown value": ({"alignment": "afine"}, "has alignment: 'afine'; did you mean 'affine'"),
    "unknown dataset": (
        {"fixed": {"dataset": "virtuel", "modality": "T2w"}},
        "There is no dataset 'virtuel'; did you mean 'virtual'",
    ),
    "unknown group": (
        {"fixed": {"dataset": "virtual", "modality": "T2w", "group": "healthi"}},
        "group 'healthi'; did you mean 'healthy'",
    ),
    "unknown key of a side": (
        {"moving": {"dataset": "virtual", "modalty": "T1w"}},
        "unknown key 'modalty' under moving; did you mean 'modality'",
    ),
    "more pairs than there are": ({"pairs": 1000}, "1000 pairs are asked for"),
    "a seed that ANTs cannot read": ({"seed": 2**31}, "has seed: 2147483648, which is not allowed"),
    "what is done with grids that differ, where all are aligned": (
        {"alignment": "affine", "grids": "refuse"},
        "has the key 'grids', which has no effect beside its other keys",
    ),
    "one person": (
        {
            "fixed": {"dataset": "virtual", "modality": "T2w", "subjects": ["01"]},
            "moving": {"dataset": "virtual", "modality": "T1w", "subjects": ["01"]},
            "pairs": "all",
        },
        "No pairs are left",
    ),
}


@pytest.mark.parametrize(
    ("changes", "sentence"), WRONG_EXPERIMENT.values(), ids=WRONG_EXPERIMENT.keys()
)
def test_wrong_experiment(changes, sentence, repository):
    rewrite(repository / "config" / "experiments" / "virtual-healthy.yaml", **changes)
    with pytest.raises(InputError) as caught:
        load_study(demo(), repository)
    assert sentence in str(caught.value)


WRONG_DATASET = {
    "unknown label table": (
        {"labels": "virtul"},
        "label table 'virtul', which is not in config/labels; did you mean",
    ),
    "unknown step": (
        {"prepare": {"bais": "n4"}},
        "unknown key 'bais' under prepare; did you mean 'bias'",
    ),
    "unknown kind": ({"kind": "bidz"}, "has kind: 'bidz'; did you mean 'bids'"),
    "unknown key of the cohort": (
        {"cohort": {"persons": 4, "spacing_mm": 6.0, "seed": 1, "spacing": 2.0}},
        "unknown key 'spacing' under cohort; did you mean 'spacing_mm'",
    ),
    "no root": ({"kind": "bids"}, "lacks the key 'root'"),
    "no pattern": ({"kind": "folder", "root": "x"}, "lacks the key 'scans'"),
    "a pattern that its kind does not use": (
        {"label_maps": "x"},
        "has the key 'label_maps', which has no effect beside its other keys",
    ),
    "a cohort of scans that somebody has": ({"kind": "bids", "root": "x"}, "has the key 'cohort'"),
    "a root of scans that are made here": ({"root": "x"}, "has the key 'root', which has no"),
    "what is made here called scans": ({"are_scans": True}, "has the key 'are_scans', which has"),
    "an orientation of what is made here": ({"orientation": "RAS"}, "has the key 'orientation'"),
    "unknown column": (
        {
            "kind": "folder",
            "root": "x",
            "scans": {"T1w": "x"},
            "demographics": {"table": "x", "subjct": "x"},
        },
        "unknown key 'subjct' under demographics; did you mean 'subject'",
    ),
}


@pytest.mark.parametrize(("changes", "sentence"), WRONG_DATASET.values(), ids=WRONG_DATASET.keys())
def test_wrong_dataset(changes, sentence, repository):
    rewrite(repository / "config" / "datasets" / "virtual.yaml", **changes)
    with pytest.raises(InputError) as caught:
        load_study(demo(), repository)
    assert sentence in str(caught.value)


def test_days_between_visits_and_scans_need_a_column_of_days(repository, tmp_path):
    _three_folders(repository, tmp_path)
    table = {"table": "people.tsv", "subject": "id", "within_days": 9}
    one = {"kind": "folder", "root": str(tmp_path), "scans": {"T1w": "{subject}.nii.gz"}}
    file = repository / "config" / "datasets" / "one.yaml"
    file.write_text(yaml.safe_dump(one | {"demographics": table}), encoding="utf-8")
    study = demo(experiments=["one"])
    with pytest.raises(InputError, match=r"'demographics\.within_days', which has no effect"):
        load_study(study, repository)
    file.write_text(yaml.safe_dump(one | {"demographics": table | {"day": "d"}}), encoding="utf-8")
    with pytest.raises(InputError, match=r"people\.tsv"):
        load_study(study, repository)


def blocks(schema: dict, place: str = "") -> list[tuple[str, dict]]:
    """Every block of keys that a schema describes, and where."""
    found = [(place, schema)] if "properties" in schema else []
    for key, part in schema.get("properties", {}).items():
        for inner in (part, *part.get("oneOf", ()), *part.get("anyOf", ()), part.get("items", {})):
            found += blocks(inner, f"{place}.{key}")
    return found


@pytest.mark.parametrize(
    "path", sorted((REPOSITORY / "workflow" / "schemas").glob("*.yaml")), ids=lambda p: p.stem
)
def test_no_block_of_a_file_takes_a_key_that_it_does_not_know(path):
    described = blocks(yaml.safe_load(path.read_text(encoding="utf-8")))
    assert described
    assert [
        place for place, schema in described if schema.get("additionalProperties") is not False
    ] == []


def bids_folder(root: Path, *names: str) -> Path:
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


THREE_PERSONS = [f"sub-0{n}/anat/sub-0{n}_{m}.nii.gz" for n in (1, 2, 3) for m in ("T1w", "T2w")]


def test_two_lines_are_a_dataset(repository, tmp_path):
    root = bids_folder(tmp_path / "mine", *THREE_PERSONS)
    path = repository / "config" / "datasets" / "mine.yaml"
    path.write_text(f"kind: bids\nroot: {root}\n", encoding="utf-8")
    dataset = load_dataset("mine", repository)
    assert (dataset.title, dataset.population, dataset.labels) == ("mine", "participants", None)
    assert [scan.id for scan in dataset.scans("T2w")] == ["sub-01_T2w", "sub-02_T2w", "sub-03_T2w"]
    assert len(dataset.scans()) == 6
    (root / "dataset_description.json").write_text('{"Name": "My own"}', encoding="utf-8")
    assert load_dataset("mine", repository).title == "My own"
    (root / "dataset_description.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match=r"dataset_description\.json is not valid JSON"):
        load_dataset("mine", repository)


def test_the_page_on_datasets_is_followed(repository, tmp_path):
    """Its three examples: a BIDS folder, raw heads, and any other folder; and pairs of them."""
    page = MarkdownPage("docs/datasets.md")
    bids, heads, folder = [block.text for block in page.blocks if block.language == "yaml"]
    mine = bids_folder(tmp_path / "mine", *THREE_PERSONS)
    visits = [f"{person}/visit{visit}" for person in ("P_1", "P_2") for visit in (1, 2)]
    others = bids_folder(
        tmp_path / "others",
        *(
            f"{visit}/{name}"
            for visit in visits
            for name in ("t1_1.nii.gz", "t1_2.nii.gz", "t2.nii.gz", "aseg.mgz")
        ),
    )
    (others / "people.csv").write_text("ID,Age,Sex,Dx\nP_1,70,F,control\nP_2,66,M,patient\n")
    datasets = repository / "config" / "datasets"
    bids = bids.replace("/path/to/bids", str(mine))
    (datasets / "mine.yaml").write_text(bids)
    (datasets / "heads.yaml").write_text(bids + heads)
    (datasets / "others.yaml").write_text(folder.replace("/path", str(others)))
    assert load_dataset("mine", repository).recipe.brain == "nonzero"
    recipe = load_dataset("heads", repository).recipe
    assert (recipe.brain, recipe.bias, recipe.template) == ("mindgrab", "n4", "icbm152")
    scans = load_dataset("others", repository).scans("T1w")
    assert [scan.id for scan in scans] == [
        f"sub-P{person}_ses-{visit}_T1w" for person in (1, 2) for visit in (1, 2)
    ]
    assert {scan.image.name for scan in scans} == {"t1_1.nii.gz"}
    assert [scan.labels for scan in scans] == [others / visit / "aseg.mgz" for visit in visits]
    assert [(scan.group, scan.age, scan.sex) for scan in scans[1:3]] == [
        ("control", 70, "F"),
        ("patient", 66, "M"),
    ]
    for name, fixed, count in (("mine", "mine", 6), ("others", "mine", 12)):
        sides = {"fixed": {"dataset": fixed, "modality": "T2w"}}
        sides["moving"] = {"dataset": name, "modality": "T1w"}
        content = {"title": name, **sides, "alignment": "affine"}
        (repository / "config" / "experiments" / f"{name}.yaml").write_text(yaml.safe_dump(content))
        study = load_study(
            demo(experiments=[name], runs=["node", "affine"], ours="node"), repository
        )
        assert len(study.experiments[0].pairs) == count
        assert len(study.units()) == 2 * count


@pytest.mark.parametrize(
    ("said", "written", "brain"),
    [
        ({}, "", "nonzero"),
        ({"DatasetType": "derivative"}, "", "nonzero"),
        ({"DatasetType": "raw"}, "", "mindgrab"),
        ({"DatasetType": "raw"}, "prepare: {brain: nonzero}\n", "nonzero"),
    ],
)
def test_a_folder_that_calls_itself_raw_is_taken_for_whole_heads(
    repository, tmp_path, said, written, brain
):
    root = bids_folder(tmp_path / "mine", *THREE_PERSONS)
    (root / "dataset_description.json").write_text(json.dumps(said), encoding="utf-8")
    path = repository / "config" / "datasets" / "mine.yaml"
    path.write_text(f"kind: bids\nroot: {root}\n{written}", encoding="utf-8")
    assert load_dataset("mine", repository).recipe.brain == brain


def test_heads_that_are_stripped_by_labels_have_labels(repository, tmp_path):
    root = bids_folder(tmp_path / "mine", *THREE_PERSONS, "sub-01/anat/sub-01_dseg.nii.gz")
    (repository / "config" / "datasets" / "mine.yaml").write_text(
        f"kind: bids\nroot: {root}\nlabels: albert\nprepare: {{brain: labels}}\n"
    )
    dataset = load_dataset("mine", repository)
    one, other = dataset.scans("T1w")[:2]
    assert dataset.helpers_of(one) == []
    with pytest.raises(InputError, match=r"finds brains by label maps .* and sub-02_T1w has none"):
        dataset.helpers_of(other)


def test_labels_of_the_t1w_are_lent_in_a_common_space_only(repository, tmp_path):
    root = bids_folder(tmp_path / "mine", *THREE_PERSONS, "sub-04/anat/sub-04_T2w.nii.gz")
    path = repository / "config" / "datasets" / "mine.yaml"
    path.write_text(
        f"kind: bids\nroot: {root}\nprepare: {{labels: meshnet, template: icbm152}}\n",
        encoding="utf-8",
    )
    dataset = load_dataset("mine", repository)
    *with_t1w, without = dataset.scans("T2w")
    assert [scan.id for scan in dataset.helpers_of(with_t1w[0])] == ["sub-01_T1w"]
    assert dataset.helpers_of(dataset.scans("T1w")[0]) == []
    with pytest.raises(InputError, match="sub-04_T2w of dataset mine has no T1w of the same visit"):
        dataset.helpers_of(without)
    path.write_text(f"kind: bids\nroot: {root}\nprepare: {{labels: meshnet}}\n", encoding="utf-8")
    with pytest.raises(InputError, match="set template: icbm152 under prepare"):
        load_dataset("mine", repository).helpers_of(with_t1w[0])


def test_the_runs_of_a_study_on_a_bids_folder(tmp_path, monkeypatch):
    bids_folder(tmp_path / "mine", *THREE_PERSONS)
    monkeypatch.chdir(tmp_path)
    study = load_study(demo(bids="mine"), REPOSITORY)
    assert (study.name, study.title) == ("bids", "mine, T1w to T2w")
    (experiment,) = study.experiments
    assert (experiment.name, experiment.alignment, len(experiment.pairs)) == ("bids", "affine", 6)
    assert {pair.fixed.modality for pair in experiment.pairs} == {"T2w"}
    assert {pair.moving.modality for pair in experiment.pairs} == {"T1w"}
    assert study.runs == load_study(demo(), REPOSITORY).runs
    with pytest.raises(InputError, match=r"Dataset bids has no folder .*yours"):
        load_study(demo(bids="yours"), REPOSITORY)


def link_folder(mine: Path, link: Path) -> None:
    link.symlink_to(mine)


def link_persons(mine: Path, link: Path) -> None:
    link.mkdir()
    for person in mine.iterdir():
        (link / person.name).symlink_to(person)


def link_scans(mine: Path, link: Path) -> None:
    """Link scans under the names of other persons: sub-71 is sub-01."""
    for file in mine.rglob("*.nii.gz"):
        name = str(file.relative_to(mine)).replace("sub-0", "sub-7")
        (link / name).parent.mkdir(parents=True, exist_ok=True)
        (link / name).symlink_to(file)


def link_annexed(mine: Path, link: Path) -> None:
    """Link scans as DataLad does: each file is a link to a store without any person's name."""
    for number, file in enumerate(sorted(mine.rglob("*.nii.gz"))):
        file.rename(mine / f"{number}.content")
        file.symlink_to(mine / f"{number}.content")
    link.symlink_to(mine)


LINKED = (link_folder, link_persons, link_scans, link_annexed)


@pytest.mark.parametrize("how", LINKED)
@pytest.mark.parametrize("registered", ["mine", "link"])
def test_a_link_hides_nobody_who_was_trained_on(tmp_path, how, registered):
    """Whichever dataset has the link, a person who is registered must not be trained on."""
    mine = bids_folder(tmp_path / "mine", *THREE_PERSONS)
    how(mine, tmp_path / "link")
    elsewhere = (
        bids_folder(tmp_path / "elsewhere", *THREE_PERSONS)
        / "sub-02"
        / "anat"
        / "sub-02_T1w.nii.gz"
    )
    study = load_study(demo(bids=str(tmp_path / registered)), REPOSITORY)
    require_untrained(study, [elsewhere])
    other = tmp_path / ("link" if registered == "mine" else "mine")
    (trained,) = other.glob("sub-?2/anat/*_T1w.nii.gz")
    with pytest.raises(InputError, match="1 of the persons to test on are among those to train on"):
        require_untrained(study, [elsewhere, trained])


@pytest.mark.parametrize("how", LINKED)
def test_a_link_hides_nobody_who_is_trained_on_in_the_study_itself(repository, tmp_path, how):
    mine = bids_folder(tmp_path / "mine", *THREE_PERSONS)
    how(mine, tmp_path / "link")
    for name in ("mine", "link"):
        (repository / "config" / "datasets" / f"{name}.yaml").write_text(
            f"kind: bids\nroot: {tmp_path / name}\n"
        )
        sides = {
            side: {"dataset": name, "modality": m}
            for side, m in (("fixed", "T2w"), ("moving", "T1w"))
        }
        content = {"title": name, **sides, "alignment": "affine"}
        (repository / "config" / "experiments" / f"{name}.yaml").write_text(yaml.safe_dump(content))
    with pytest.raises(InputError, match="3 of the persons to test on are among those to train on"):
        load_study(
            demo(experiments=["mine"], train_on="link", runs=["voxelmorph"], ours="voxelmorph"),
            repository,
        )


@pytest.mark.parametrize(
    ("fixed", "moving"), [("virtual", "albert"), ("virtual", None), (None, "albert"), (None, None)]
)
def test_two_datasets_are_compared_by_the_labels_of_one_table_or_by_none(
    repository, tmp_path, fixed, moving
):
    for name, labels in (("one", fixed), ("two", moving), ("three", fixed)):
        root = bids_folder(tmp_path / name, *THREE_PERSONS)
        text = f"kind: bids\nroot: {root}\n" + (f"labels: {labels}\n" if labels else "")
        (repository / "config" / "datasets" / f"{name}.yaml").write_text(text, encoding="utf-8")

    def labels_of(one: str, other: str) -> Path | None:
        sides = {
            "fixed": {"dataset": one, "modality": "T2w"},
            "moving": {"dataset": other, "modality": "T1w"},
        }
        content = {"title": "Mixed", **sides, "alignment": "affine"}
        (repository / "config" / "experiments" / "mixed.yaml").write_text(
            yaml.safe_dump(content), encoding="utf-8"
        )
        return load_study(demo(experiments=["mixed"]), repository).experiments[0].labels

    assert labels_of("one", "two") is None
    assert labels_of("two", "one") is None
    assert labels_of("one", "three") == (
        repository / "config" / "labels" / f"{fixed}.tsv" if fixed else None
    )


def test_persons_without_the_contrast_are_named(repository, tmp_path):
    root = bids_folder(tmp_path / "mine", *THREE_PERSONS, "sub-04/anat/sub-04_T1w.nii.gz")
    path = repository / "config" / "datasets" / "mine.yaml"
    path.write_text(f"kind: bids\nroot: {root}\n", encoding="utf-8")
    dataset = load_dataset("mine", repository)
    assert len(Side(dataset, Selection("T2w")).scans("fixed", seed=0)) == 3
    with pytest.raises(
        InputError, match=r"Dataset mine has T1w but no T2w of sub-04; add it, or leave out"
    ):
        Side(dataset, Selection("T2w", subjects=("01", "04"))).scans("fixed", seed=0)
    with pytest.raises(InputError, match="subject '05'"):
        Side(dataset, Selection("T2w", subjects=("05",))).scans("fixed", seed=0)


def test_oasis3_with_ixi(repository, tmp_path, monkeypatch):
    write_oasis3(tmp_path / "oasis3", 30, seed=2)
    write_ixi(tmp_path / "ixi", 20, seed=2)
    monkeypatch.setenv("OASIS3", str(tmp_path / "oasis3"))
    monkeypatch.setenv("IXI", str(tmp_path / "ixi"))
    content = {
        "title": "IXI to OASIS-3",
        "fixed": {
            "dataset": "oasis3",
            "modality": "T2w",
            "group": "severe dementia",
            "subjects": ["OAS30682"],
        },
        "moving": {"dataset": "ixi", "modality": "T1w", "group": "healthy"},
        "alignment": "affine",
    }
    path = repository / "config" / "experiments" / "mixed.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    (experiment,) = load_study(demo(experiments=["mixed"]), repository).experiments
    assert {pair.fixed.cdr for pair in experiment.pairs} == {3.0}
    assert {pair.moving.subject for pair in experiment.pairs} >= {"IXI186", "IXI458"}


def test_a_file_that_is_no_yaml(repository):
    (repository / "config" / "experiments" / "virtual-healthy.yaml").write_text(
        "a: [", encoding="utf-8"
    )
    with pytest.raises(InputError, match=r"virtual-healthy\.yaml is not valid YAML"):
        load_study(demo(), repository)


def test_pairs_given_by_hand(repository):
    (repository / "config" / "hand.tsv").write_text(
        "fixed\tmoving\nsub-01_T2w\tsub-03_T1w\n", encoding="utf-8"
    )
    rewrite(repository / "config" / "experiments" / "virtual-healthy.yaml", pairs="config/hand.tsv")
    study = load_study(demo(experiments=["virtual-healthy"]), repository)
    assert [pair.id for pair in study.experiments[0].pairs] == ["sub-01_T2w__sub-03_T1w"]


def test_variables_are_expanded(monkeypatch):
    monkeypatch.delenv("SOMEWHERE", raising=False)
    assert expand("${SOMEWHERE:-../there}/x", "a file") == "../there/x"
    monkeypatch.setenv("SOMEWHERE", "/here")
    assert expand("${SOMEWHERE:-../there}/x", "a file") == "/here/x"
    monkeypatch.setenv("SOMEWHERE", "")
    assert expand("${SOMEWHERE:-../there}/x", "a file") == "../there/x"
    with pytest.raises(InputError, match="a file needs the environment variable SOMEWHERE"):
        expand("${SOMEWHERE}/x", "a file")


def test_results_that_cannot_be_written(tmp_path, monkeypatch):
    require_writable(tmp_path / "new" / "folder")
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="is a file; name another folder"):
        require_writable(tmp_path / "file" / "results")
    monkeypatch.setattr("os.access", lambda path, mode: False)
    with pytest.raises(InputError, match="no permission"):
        require_writable(tmp_path)


def _three_folders(repository, tmp_path, persons=4) -> None:
    """Experiments one, two and three, each on a folder of persons of its own."""
    for number, name in enumerate(("one", "two", "three")):
        people = [f"sub-{number}{person}" for person in range(1, persons + 1)]
        scans = [f"{who}/anat/{who}_{m}.nii.gz" for who in people for m in ("T1w", "T2w")]
        root = bids_folder(tmp_path / name, *scans)
        (repository / "config" / "datasets" / f"{name}.yaml").write_text(
            f"kind: bids\nroot: {root}\n"
        )
        sides = {
            side: {"dataset": name, "modality": m}
            for side, m in (("fixed", "T2w"), ("moving", "T1w"))
        }
        content = {"title": name, **sides, "alignment": "affine"}
        (repository / "config" / "experiments" / f"{name}.yaml").write_text(yaml.safe_dump(content))


def _learned(repository, experiments, train_on):
    trained = {"runs": ["voxelmorph"], "ours": "voxelmorph"}
    return load_study(demo(experiments=experiments, train_on=train_on, **trained), repository)


def test_each_experiment_may_have_its_own_experiment_to_train_on(repository, tmp_path):
    _three_folders(repository, tmp_path)
    study = _learned(repository, ["one", "two"], {"one": "three", "two": "one"})
    assert {name: e.name for name, e in study.train_on.items()} == {"one": "three", "two": "one"}
    assert sorted(e.name for e in study.trainings) == ["one", "three"]
    assert [e.name for e in study.drawn] == ["one", "two", "three"]
    fewer = _learned(repository, ["one"], {"one": "three", "two": "one"})
    assert {name: e.name for name, e in fewer.train_on.items()} == {"one": "three"}
    alike = _learned(repository, ["one", "two"], "three")
    assert {name: e.name for name, e in alike.train_on.items()} == {"one": "three", "two": "three"}
    assert [e.name for e in alike.trainings] == ["three"]


@pytest.mark.parametrize(
    ("train_on", "sentence"),
    [
        ({"one": "three"}, "does not say what to train on for its experiment two"),
        ({"one": "three", "tow": "three"}, r"experiment 'tow', which does not exist.*two"),
        ({"one": "three", "two": "two"}, "4 of the persons to test on are among those to train on"),
        ({"one": "three", "two": "thre"}, "no experiment 'thre'.*three"),
        ({"one": "three", "two": 3}, r"train_on\.two: 3, which is not a word"),
        (None, "name the experiment to train on by the key train_on"),
    ],
)
def test_what_to_train_on_is_checked(repository, tmp_path, train_on, sentence):
    _three_folders(repository, tmp_path)
    with pytest.raises(InputError, match=sentence):
        _learned(repository, ["one", "two"], train_on)


def test_what_to_train_on_is_checked_where_no_run_is_trained_too(repository, tmp_path):
    _three_folders(repository, tmp_path)

    def given(**train_on):
        return demo(experiments=["one"], train_on=train_on, runs=["affine"], ours="affine")

    assert load_study(given(one="three"), repository).train_on == {}
    with pytest.raises(InputError, match=r"experiment 'tow', which does not exist"):
        load_study(given(one="three", tow="three"), repository)
    with pytest.raises(InputError, match=r"no experiment 'thre'.*three"):
        load_study(given(one="thre"), repository)


def test_an_experiment_with_too_few_persons_to_train_on_is_refused(repository, tmp_path):
    """Two of three persons are held out, so that no pair of others is left. It is said before
    anything is prepared.
    """
    _three_folders(repository, tmp_path, persons=3)
    sentence = "trains voxelmorph on the experiment three. The 6 training pairs of 3 persons leave"
    with pytest.raises(InputError, match=sentence):
        _learned(repository, ["one"], "three")


def test_the_former_key_for_what_to_train_on_is_answered_with_the_new_one():
    with pytest.raises(InputError, match=r"unknown key .training..*train_on"):
        load_study(demo(training="virtual-healthy"), REPOSITORY)


def test_runs_with_other_settings_and_sweeps_are_runs_of_the_study():
    sweep = {"run": "node-mind", "sweep": {"penalties.jacobian.barrier": [0.1, 0.5]}}
    study = load_study(
        demo(runs=["affine", sweep], ours="node-mind-barrier-0.5", experiments=["virtual-healthy"]),
        REPOSITORY,
    )
    names = ["affine", "node-mind-barrier-0.1", "node-mind-barrier-0.5"]
    assert [run.name for run in study.runs] == names
    assert study.ours == names[2]
    assert list(study.sweeps[0].points) == names[1:]
    assert {run for _, _, run in study.units()} == set(names)


@pytest.mark.parametrize(
    ("run", "sentence"),
    [
        ({"run": "node-mind", "swep": {}}, "unknown key 'swep' under runs.0.*sweep"),
        ({"sweep": {}}, "lacks the key 'run' under runs.0"),
        ({"run": "node-mind", "sweep": 3}, "runs.0.sweep: 3, which is not a block of keys"),
        (7, "runs.0: 7, which is not a word or a block of keys"),
    ],
)
def test_a_block_of_runs_is_held_to_its_schema(run, sentence):
    with pytest.raises(InputError, match=sentence):
        load_study(demo(runs=[run]), REPOSITORY)


def test_two_contrasts_of_one_pattern_are_refused(repository):
    """Every scan would be both."""
    rewrite(
        repository / "config" / "datasets" / "mouse.yaml",
        scans={"T1w": "{subject}.nii", "T2w": "{subject}.nii"},
    )
    with pytest.raises(InputError, match=r"one pattern for T1w and T2w \(\{subject\}\.nii\)"):
        load_dataset("mouse", repository)


@pytest.mark.parametrize(
    ("tables", "said"),
    [(("albert", "albert"), False), (("albert", "candi"), True), ((None, "candi"), False)],
)
def test_a_study_says_where_differing_tables_leave_out_dice(repository, tables, said):
    own = {"datasets": {}}
    for name, table in zip(("one", "other"), tables, strict=True):
        scan = repository / name / f"sub-{name}" / "anat" / f"sub-{name}_T1w.nii.gz"
        scan.parent.mkdir(parents=True)
        scan.touch()
        about = {"kind": "bids", "root": name, "labels": table}
        own["datasets"][name] = about
    sides = {
        side: {"dataset": name, "modality": "T1w"}
        for side, name in (("fixed", "one"), ("moving", "other"))
    }
    own["experiments"] = {"both": {"title": "Both", "alignment": "affine", **sides}}
    study = load_study(demo(own=own, experiments=["both"], figures=None), repository)
    concern = study.experiments[0].concern
    assert ("Experiment both measures no Dice" in concern) == said
    assert (study.experiments[0].labels is not None) == (tables[0] == tables[1])


# ------------------------------------------------------------------------- where paths start


def test_a_root_that_the_environment_names_starts_in_the_working_folder(
    repository, tmp_path_factory, monkeypatch
):
    """So does every path that is given to a program."""
    monkeypatch.chdir(tmp_path_factory.mktemp("elsewhere"))
    monkeypatch.setenv("DIFFEODE_DATA", "scans")
    assert load_dataset("albert", repository).root == Path("scans/albert")
    monkeypatch.setenv("DIFFEODE_DATA", "/scans")
    assert load_dataset("albert", repository).root == Path("/scans/albert")
    for unset in ("", None):
        if unset is None:
            monkeypatch.delenv("DIFFEODE_DATA")
        else:
            monkeypatch.setenv("DIFFEODE_DATA", unset)
        assert load_dataset("albert", repository).root == repository / "../shared/data/albert"


def test_a_variable_within_a_root_does_not_decide_where_it_starts(repository, monkeypatch):
    monkeypatch.setenv("PART", "one")
    rewrite(repository / "config" / "datasets" / "albert.yaml", root="scans/${PART}")
    assert load_dataset("albert", repository).root == repository / "scans" / "one"


def test_without_a_clone_the_user_s_paths_start_in_the_working_folder(
    tmp_path, tmp_path_factory, monkeypatch
):
    """And what the package brings names what lies beside it there."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    installed = tmp_path / "site-packages" / "diffeode"
    for part in ("config", "workflow/schemas"):
        shutil.copytree(REPOSITORY / part, installed / "_workflow" / part)
    monkeypatch.setattr("diffeode.study.files._PACKAGE", installed)
    monkeypatch.chdir(elsewhere)
    for variable in ("DIFFEODE_DATA", "IXI"):
        monkeypatch.delenv(variable, raising=False)
    shutil.copy(REPOSITORY / "config" / "labels" / "albert.tsv", "mine.tsv")
    Path("out.tsv").write_text("scan\treason\nsub-09\tblurred\n", encoding="utf-8")
    for person in ("01", "02"):
        for contrast in ("T1w", "T2w"):
            scan = Path(f"scans/sub-{person}/anat/sub-{person}_{contrast}.nii.gz")
            scan.parent.mkdir(parents=True, exist_ok=True)
            scan.touch()
    Path("pairs.tsv").write_text("fixed\tmoving\nsub-01_T2w\tsub-02_T1w\n", encoding="utf-8")
    mine = {"kind": "bids", "root": "scans", "labels": "mine.tsv", "exclude": "out.tsv"}
    mine["prepare"] = {"template": {"t1w": "template.nii.gz"}}
    sides = {
        side: {"dataset": "mine", "modality": contrast}
        for side, contrast in (("fixed", "T2w"), ("moving", "T1w"))
    }
    experiment = {"title": "Mine", "alignment": "affine", "pairs": "pairs.tsv", **sides}
    own = {"datasets": {"mine": mine}, "experiments": {"mine": experiment}}
    content = demo(own=own, experiments=["mine"], figures=None, tools=["programs"])
    study = load_study(content, installed / "_workflow")
    dataset = study.datasets()["mine"]
    assert dataset.root == Path("scans")
    assert dataset.labels == Path("mine.tsv")
    assert dataset.recipe.template == {"t1w": "template.nii.gz"}
    assert dataset.excluded == {"09"}
    assert study.tools == (Path("programs"),)
    assert [pair.id for pair in study.experiments[0].pairs] == ["sub-01_T2w__sub-02_T1w"]
    shipped = load_dataset("ixi", installed / "_workflow")
    assert shipped.excluded == load_dataset("ixi", REPOSITORY).excluded
    assert shipped.root == Path("../data/ixi")


@pytest.mark.parametrize("letter", ['"', "$", "`", "\\", "%"])
def test_a_path_that_a_cluster_takes_for_more_than_a_name_is_refused(letter):
    with pytest.raises(InputError, match=r"^The path .* has one of \" \$ ` \\ %, which a cluster"):
        require_submittable([Path("fine"), f"/data/a{letter}b/results"])


def test_a_cluster_takes_spaces_single_quotes_and_other_alphabets():
    require_submittable([Path("/it's; a & test/ünï 名/*?[a]")])
