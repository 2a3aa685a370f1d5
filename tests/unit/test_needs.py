"""What a study needs, and what of it is missing."""

import re
import shutil
from pathlib import Path

import pytest
import yaml
from trees import write_ixi, write_oasis3

from diffeode.cli import main
from diffeode.cli.needs import repository_of
from diffeode.study.needs import needs_of

REPOSITORY = Path(__file__).resolve().parents[2]
PAPER = ("niftyreg", "deedsbcv", "synthmorph", "multigradicon", "dinoreg")


@pytest.fixture
def repository(tmp_path, monkeypatch):
    """Configuration of one's own, on a machine without programs, weights and scans."""
    shutil.copytree(REPOSITORY / "config", tmp_path / "config")
    shutil.copytree(REPOSITORY / "workflow" / "schemas", tmp_path / "workflow" / "schemas")
    (tmp_path / "nothing").mkdir()
    for name in ("PATH", "DIFFEODE_TOOLS", "DIFFEODE_WEIGHTS", "XDG_CACHE_HOME"):
        monkeypatch.setenv(name, str(tmp_path / "nothing"))
    for name in ("OASIS3", "IXI"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.chdir(tmp_path)
    return tmp_path


def missing(study):
    return {need.name: need.problem for need in needs_of(study, Path()) if need.problem}


def test_the_paper_without_anything_lacks_its_scans_tools_and_programs(repository):
    study = repository / "config" / "paper.yaml"
    needs = needs_of(study, Path())
    assert len({(need.kind, need.name) for need in needs}) == len(needs)
    runs = yaml.safe_load(study.read_text())["runs"]
    assert [need.name for need in needs if need.kind == "run"] == [
        run if isinstance(run, str) else run["name"] for run in runs
    ]
    found = missing(study)
    assert "Dataset oasis3 has no folder" in found["oasis3"]
    assert "make ixi" in found["ixi"]
    assert {"brain: synthstrip", "labels: synthseg", "bias: freesurfer"} <= found.keys()
    assert set(PAPER) <= found.keys()
    assert not {"identity", "ants-syn", "otmorph-paper", "convexadam"} & found.keys()


def test_what_is_there_is_not_missing(repository):
    write_oasis3(repository / "OASIS3", 8, seed=2)
    write_ixi(repository / "IXI", 8, seed=2)
    assert not {"oasis3", "ixi"} & missing(repository / "config" / "paper.yaml").keys()
    assert missing(repository / "config" / "config.yaml") == {}


def test_datasets_that_are_only_trained_on_count(repository):
    study = yaml.safe_load((repository / "config" / "config.yaml").read_text())
    study |= {"runs": ["otmorph"], "ours": "otmorph"}
    for train_on in ("ixi-ixi", dict.fromkeys(study["experiments"], "ixi-ixi")):
        path = repository / "config" / "mine.yaml"
        path.write_text(yaml.safe_dump(study | {"train_on": train_on}))
        assert "ixi" in missing(path)


def test_a_template_of_one_s_own_is_looked_for(repository):
    path = repository / "config" / "datasets" / "ixi.yaml"
    content = yaml.safe_load(path.read_text())
    content["prepare"]["template"] = {"t1w": "t1w.nii.gz", "t2w": "t2w.nii.gz"}
    path.write_text(yaml.safe_dump(content))
    (repository / "t1w.nii.gz").touch()
    found = missing(repository / "config" / "paper.yaml")
    assert "template of ixi, t2w" in found
    assert "template of ixi, t1w" not in found


def test_the_command_lists_everything_and_fails_where_something_is_missing(repository, capsys):
    assert main(["needs", "config/config.yaml"]) == 0
    out = capsys.readouterr().out
    assert "run" in out
    assert "missing" not in out
    assert main(["needs", "config/paper.yaml"]) == 2
    shown = capsys.readouterr()
    assert "missing" in shown.out
    assert "things that config/paper.yaml needs are missing" in shown.err


def rows_of(shown):
    """Kind and name to state, of the table that the command prints, and the sentences below it."""
    table, _, sentences = shown.partition("\n\n")
    rows = [re.split(r"\s{2,}", line.strip()) for line in table.splitlines()[1:]]
    assert len({tuple(row[:2]) for row in rows}) == len(rows)
    return {(kind, name): state for kind, name, state in rows}, sentences.splitlines()


def test_what_several_studies_need_is_listed_once(repository, capsys):
    """The table has the datasets of all, then the preparation, then the runs."""
    files = ["config/paper.yaml", "config/poster.yaml", "config/config.yaml"]
    needed = [needs_of(Path(file), Path()) for file in files]
    assert main(["needs", *files, files[0]]) == 2
    shown = capsys.readouterr()
    rows, sentences = rows_of(shown.out)
    assert set(rows) == {(need.kind, need.name) for needs in needed for need in needs}
    assert len(rows) < sum(map(len, needed))
    assert [kind for kind, _ in rows] == sorted(kind for kind, _ in rows)
    lacking = {(need.kind, need.name) for needs in needed for need in needs if need.problem}
    assert {need for need, state in rows.items() if state == "missing"} == lacking
    assert len(sentences) == len(set(sentences)) == len(lacking)
    said = f"{len(lacking)} of the {len(rows)} things that these 3 studies need are missing"
    assert said in shown.err
    assert main(["needs", "config/config.yaml", "config/config.yaml"]) == 0


def test_a_run_that_one_of_two_studies_lacks_is_missing(repository, capsys):
    """The first has the weights of the descriptor that the second lacks."""
    study = yaml.safe_load((repository / "config" / "config.yaml").read_text())
    names = []
    for weights in ("results/descriptors/oasis3/best.safetensors", "one.st", "other.st"):
        described = {"run": "paper-cl", "set": {"similarity.descriptor.weights": weights}}
        described["name"] = "described"
        name = f"config/{Path(weights).stem}.yaml"
        Path(name).write_text(yaml.safe_dump(study | {"runs": [described], "ours": "described"}))
        names.append(name)
    for order in (names, names[::-1]):
        assert main(["needs", *order]) == 2
        rows, sentences = rows_of(capsys.readouterr().out)
        assert rows["run", "described"] == "missing"
        (sentence,) = (line for line in sentences if "one.st" in line)
        assert "other.st" in sentence


def test_of_several_studies_one_that_is_not_there_is_refused_before_anything_is_said(
    repository, capsys
):
    assert main(["needs", "config/config.yaml", "config/papr.yaml"]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "There is no study config/papr.yaml; name the file of a study, such as " in said.err


def test_datasets_that_only_a_descriptor_is_trained_on_count(repository):
    weights = "results/descriptors/oasis3/best.safetensors"
    described = {"run": "paper-cl", "set": {"similarity.descriptor.weights": weights}}
    described["name"] = "described"
    study = yaml.safe_load((repository / "config" / "config.yaml").read_text())
    path = repository / "config" / "mine.yaml"
    path.write_text(yaml.safe_dump(study | {"runs": [described], "ours": "described"}))
    found = missing(path)
    assert "oasis3" in found
    assert "described" not in found, "the study itself trains the weights of this descriptor"
    path.write_text(yaml.safe_dump(study | {"runs": [described], "results": "elsewhere"}))
    assert weights in missing(path)["described"]


def test_a_study_that_is_not_there_is_refused(repository, capsys):
    assert main(["needs", "config/papr.yaml"]) == 2
    said = capsys.readouterr().err
    assert "There is no study config/papr.yaml; name the file of a study, such as " in said


@pytest.mark.usefixtures("repository")
@pytest.mark.parametrize(
    ("root", "advice"),
    [
        ("${MY_SCANS:-nowhere}/one", "set MY_SCANS so that ${MY_SCANS:-nowhere}/one becomes"),
        ("${ONE:-a}/${TWO:-b}", "set ONE and TWO so that ${ONE:-a}/${TWO:-b} becomes"),
        ("nowhere/at/all", "name the folder where its scans lie"),
        ("${DIFFEODE_DATA:-nowhere}/one", "set DIFFEODE_DATA so that"),
    ],
)
def test_a_missing_folder_names_the_variables_of_its_own_root_alone(
    tmp_path_factory, monkeypatch, capsys, root, advice
):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    monkeypatch.delenv("DIFFEODE_DATA", raising=False)
    side = {"dataset": "ours", "modality": "T1w"}
    own = {"datasets": {"ours": {"kind": "bids", "root": root}}}
    own["experiments"] = {
        "ours": {"title": "Ours", "fixed": side, "moving": side, "alignment": "affine"}
    }
    study = study_elsewhere(elsewhere, own=own, experiments=["ours"])
    assert main(["needs", str(study)]) == 2
    said = capsys.readouterr().out
    assert "Dataset ours has no folder" in said
    assert advice in said
    assert ("DIFFEODE_DATA" in said) == ("DIFFEODE_DATA" in root)


def study_elsewhere(folder, **changes):
    """Write the demo's study to a folder that lies in no checkout, and return its path."""
    study = yaml.safe_load((REPOSITORY / "config" / "config.yaml").read_text())
    path = folder / "mine.yaml"
    path.write_text(yaml.safe_dump(study | changes))
    return path


@pytest.mark.usefixtures("repository")
def test_a_study_outside_of_a_checkout_is_read_by_what_is_installed(
    tmp_path_factory, monkeypatch, capsys
):
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    monkeypatch.chdir(elsewhere)
    own = {"datasets": {"ours": {"kind": "bids", "root": str(elsewhere / "scans")}}}
    own["experiments"] = {
        "ours": {
            "title": "Ours",
            "fixed": {"dataset": "ours", "modality": "T2w"},
            "moving": {"dataset": "ours", "modality": "T1w"},
            "alignment": "affine",
        }
    }
    study = study_elsewhere(elsewhere, own=own, experiments=["ours", "ixi-ixi"])
    assert repository_of(study) == REPOSITORY
    assert main(["needs", str(study)]) == 2
    said = capsys.readouterr()
    assert "Dataset ours has no folder" in said.out
    assert "Dataset ixi has no folder" in said.out


def test_without_a_workflow_a_sentence_says_what_to_install(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("diffeode.bids_app.repository.__file__", str(tmp_path / "a" / "b" / "c.py"))
    assert main(["needs", str(study_elsewhere(tmp_path))]) == 2
    said = capsys.readouterr().err
    assert said.startswith("diffeode: This installation of diffeode holds no workflow; install it")
