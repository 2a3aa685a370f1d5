"""Names from outside, at every door through which one comes: each is refused in a sentence or
treated as a name, and none leaves its folder, ends a page's text or names a command.
"""

import io as streams
import json
import re
import shutil
import tarfile
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import yaml
from ellipsoids import DATASET as FOLDER
from ellipsoids import LABELS, write_person
from fuzzed import DATASET, EXPERIMENT, RUN, STUDY
from hostile import FEW, NAMES

from diffeode.cli import main
from diffeode.datasets import ixi_download
from diffeode.datasets.bids import list_scans
from diffeode.datasets.ixi_download import ARCHIVES, TABLE, Source, fetch_ixi
from diffeode.errors import InputError
from diffeode.files.presence import require_plain_name
from diffeode.registration import runs
from diffeode.statistics.export import write_page, write_table
from diffeode.study.files import load_dataset, load_study, require_nameable, study_paths
from diffeode.weights.catalogue import load_weights, weights_names

REPOSITORY = Path(__file__).resolve().parents[2]


@pytest.fixture(params=NAMES)
def name(request) -> str:
    return NAMES[request.param]


@pytest.fixture(params=FEW)
def few(request) -> str:
    return NAMES[request.param]


@pytest.fixture
def repository(tmp_path, monkeypatch) -> Path:
    """A small repository in a folder of its own, which is the working folder."""
    root = tmp_path / "inside" / "repository"
    for kind in ("datasets", "experiments", "labels", "methods"):
        (root / "config" / kind).mkdir(parents=True)
    shutil.copytree(REPOSITORY / "workflow" / "schemas", root / "workflow" / "schemas")
    shutil.copy(REPOSITORY / "config" / "labels" / "virtual.tsv", root / "config" / "labels")
    (root / "config" / "datasets" / "tiny.yaml").write_text(DATASET, encoding="utf-8")
    (root / "config" / "experiments" / "tiny.yaml").write_text(EXPERIMENT, encoding="utf-8")
    monkeypatch.chdir(root)
    return root


def study(root: Path, **changes):
    return load_study(
        {**yaml.safe_load(STUDY), "runs": ["identity"], "ours": "identity"} | changes, root
    )


def require_inside(made) -> None:
    """Every path of a study that was accepted lies in its results or among its files."""
    paths = list(study_paths(made))
    require_nameable(paths)
    for path in paths:
        assert ".." not in Path(path).parts
        assert not Path(path).is_absolute() or Path(path).exists()
    assert re.fullmatch(r"[A-Za-z0-9-]+", made.name)


def refused_or_inside(make) -> bool:
    """Return whether ``make`` refuses in a sentence; otherwise it makes a study that is inside."""

    def checked():
        made = make()
        require_inside(made)
        return made

    made, said = outcome(checked)
    return made is None and is_sentence(said)


def outcome(make) -> tuple:
    """Return what ``make`` returns, or None and what it says as it refuses."""
    try:
        return make(), ""
    except InputError as error:
        return None, str(error)


def is_sentence(said: str) -> bool:
    assert re.fullmatch(r"[^\n]{5,2000}", said)
    return True


def put(root: Path, kind: str, name: str, text: str) -> None:
    """Write the file that a name leads to, also outside the folder, so that only a check can refuse
    it.
    """
    try:
        path = root / "config" / kind / f"{name}.yaml"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except (OSError, ValueError):
        pass


OUTSIDE = {"up", "absolute", "dots", "backslash", "NUL", "long", "newline", "braces", "hyphen"}
"""Names that no file of ours may have."""


@pytest.mark.parametrize("key", ["study", "experiments", "runs", "ours", "label table", "train_on"])
def test_names_in_a_study(repository, key, request, few):
    which = request.node.callspec.id
    put(repository, "experiments", few, EXPERIMENT)
    changes = {
        "study": {"study": few},
        "experiments": {"experiments": [few]},
        "runs": {"runs": [few]},
        "ours": {"ours": few},
        "label table": {},
        "train_on": {"train_on": few, "runs": ["voxelmorph"], "ours": "voxelmorph"},
    }[key]
    if key == "label table":
        changed = yaml.safe_load(DATASET) | {"labels": few}
        (repository / "config" / "datasets" / "tiny.yaml").write_text(yaml.safe_dump(changed))
    was_refused = refused_or_inside(lambda: study(repository, **changes))
    if key == "study" or any(which.endswith(f"-{word}") for word in OUTSIDE):
        assert was_refused


def test_names_of_runs_in_a_block(repository, few):
    block = {"run": "node-mind", "few": few, "set": {"similarity.mind.dilation": 3}}
    assert refused_or_inside(lambda: study(repository, runs=[block], ours="affine"))


@pytest.mark.parametrize("key", ["dataset", "modality", "subjects", "group"])
def test_names_in_an_experiment(repository, key, few):
    put(repository, "datasets", few, DATASET)
    content = yaml.safe_load(EXPERIMENT)
    content["fixed"][key] = [few] if key == "subjects" else few
    (repository / "config" / "experiments" / "tiny.yaml").write_text(yaml.safe_dump(content))
    refused_or_inside(lambda: study(repository))


def test_a_run_leaves_its_folder_by_no_name(tmp_path, monkeypatch, name):
    folder = tmp_path / "config" / "methods"
    folder.mkdir(parents=True)
    put(tmp_path, "methods", name, RUN)
    monkeypatch.setattr(runs, "runs_folder", lambda: folder)
    try:
        runs.load_run(name)
    except InputError:
        return
    assert (folder / f"{name}.yaml").resolve().parent == folder


@pytest.mark.parametrize("of", ["weights", "method"])
def test_names_of_weights_and_methods(tmp_path, monkeypatch, of, name):
    if of == "weights":
        with pytest.raises(InputError):
            load_weights(name)
    else:
        put(tmp_path, "methods", "named", yaml.safe_dump({"method": name}))
        monkeypatch.setattr(runs, "runs_folder", lambda: tmp_path / "config" / "methods")
        with pytest.raises(InputError):
            runs.load_run("named")


def test_a_plain_name_stays_in_its_folder(tmp_path, name):
    try:
        require_plain_name(name, "thing")
    except InputError:
        return
    assert (tmp_path / f"{name}.yaml").resolve().parent == tmp_path.resolve()
    (tmp_path / f"{name}.yaml").write_text("it can be written")


# ------------------------------------------------------------------------------------ scans, tables


def test_persons_of_a_folder(repository, few):
    """A person is called as the folder is; a few that no folder can have cannot come in."""
    (repository / "config" / "datasets" / "tiny.yaml").write_text(FOLDER)
    (repository / "config" / "labels" / "ellipsoid.tsv").write_text(LABELS)
    if set(few) & set("/\0") or len(few) > 200:
        assert not (repository / "scans").exists()
        return
    write_person(repository / "scans", "01", 4)
    write_person(repository / "scans", few, 5)
    text = EXPERIMENT.replace(", draw: 2", "").replace("pairs: 1", "pairs: all")
    (repository / "config" / "experiments" / "tiny.yaml").write_text(text)
    if not refused_or_inside(lambda: study(repository)):
        scans = list_scans("tiny", repository / "scans")
        assert f"sub-{few}_T1w" in [scan.id for scan in scans]


def test_a_group_of_a_table_is_a_text(repository, name):
    write_person(repository / "scans", "01", 4)
    table = repository / "scans" / "participants.tsv"
    pd.DataFrame({"participant_id": ["sub-01"], "group": [name]}).to_csv(
        table, sep="\t", index=False
    )
    try:
        found = {scan.group for scan in list_scans("tiny", repository / "scans")}
    except InputError:
        return
    assert found <= {name, None, name.partition("\r")[0]}


@pytest.mark.parametrize("kind", ["study", "dataset", "experiment", "run", "description"])
def test_titles_are_texts_on_one_line(repository, monkeypatch, kind, few):
    def titled() -> str:
        if kind == "study":
            return study(repository, title=few).title
        if kind == "run":
            put(
                repository,
                "methods",
                "named",
                yaml.safe_dump({"method": "identity", "title": few}),
            )
            monkeypatch.setattr(runs, "runs_folder", lambda: repository / "config" / "methods")
            return runs.load_run("named").title
        if kind == "description":
            (repository / "bids").mkdir()
            (repository / "bids" / "dataset_description.json").write_text(
                yaml.safe_dump(
                    {"Name": few}, default_flow_style=True, default_style='"', width=10**6
                )
            )
            put(repository, "datasets", "described", "kind: bids\nroot: bids\n")
            return load_dataset("described", repository).title
        file = repository / "config" / f"{kind}s" / "tiny.yaml"
        file.write_text(yaml.safe_dump(yaml.safe_load(file.read_text()) | {"title": few}))
        made = study(repository).experiments[0]
        return made.title if kind == "experiment" else made.fixed.dataset.title

    title, said = outcome(titled)
    assert is_sentence(said) if title is None else not set(title) & set("\n\r\t\0")


# ------------------------------------------------------------------------------------ what is shown


class _Tags(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[str, list]] = []

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, attrs))


def test_a_table_shows_every_name_as_text(tmp_path, name):
    frame = pd.DataFrame({"experiment": [name], "run": [name], "dice_mean": [0.5]})
    write_table(frame, tmp_path / "table", name)
    write_page(frame, tmp_path / "page.html", name)
    tags = _Tags()
    tags.feed((tmp_path / "page.html").read_text(encoding="utf-8"))
    assert {tag for tag, _ in tags.found} <= {
        *("html", "meta", "style", "p", "table", "thead", "tbody", "tr", "th", "td")
    }
    tex = (tmp_path / "table.tex").read_text(encoding="utf-8")
    assert "\\input" not in tex
    markdown = (tmp_path / "table.md").read_text(encoding="utf-8")
    assert len(markdown.strip().splitlines()) == (5 if name.strip() else 3)
    assert re.search(r"(?<!\\)<[A-Za-z/!]", markdown) is None


def test_a_report_takes_a_name_for_no_script(monkeypatch, name):
    """Snakemake writes titles and labels as JSON into a script of the page."""
    monkeypatch.syspath_prepend(str(REPOSITORY / "workflow" / "lib"))
    from snakemake_internals import _without_tags

    written = _without_tags(json.dumps)({"label": name})
    assert "<" not in written
    assert json.loads(written) == {"label": name}


@pytest.mark.parametrize(
    "text",
    [
        "`x <javascript:alert(1)>`_",
        ".. raw:: html\n\n   <script>alert(1)</script>",
        ".. include:: /etc/passwd",
        ".. csv-table::\n   :file: /etc/passwd",
        ".. image:: javascript:alert(1)",
        "<script>alert(1)</script>",
    ],
)
def test_a_caption_runs_and_reads_nothing(monkeypatch, text):
    monkeypatch.syspath_prepend(str(REPOSITORY / "workflow" / "lib"))
    from snakemake_internals import _harmless_parts

    parts = _harmless_parts(f"A title.\n\n{text}\n", writer_name="html")
    tags = _Tags()
    tags.feed(parts["body"])
    assert "script" not in {tag for tag, _ in tags.found}
    links = [value for _, attributes in tags.found for _, value in attributes]
    assert not [link for link in links if link and link.startswith("javascript")]
    assert "root:" not in parts["body"]
    assert "A title." in parts["body"]


# ------------------------------------------------------------------------------------ command line


@pytest.fixture
def scan(tmp_path) -> Path:
    write_person(tmp_path / "scans", "01", 4)
    return tmp_path / "scans" / "sub-01" / "anat" / "sub-01_T1w.nii.gz"


COMMANDS = {
    "register": ("register", "{}", "{scan}", "--run", "identity", "--out", "out"),
    "run": ("register", "{scan}", "{scan}", "--run", "{}", "--out", "out"),
    "apply": ("apply", "{}", "--moving", "{scan}", "--out", "out.nii.gz"),
    "weights": ("weights", "get", "{}"),
    "methods": ("methods", "{}"),
    "needs": ("needs", "{}"),
    "exclude": ("exclude", "{}"),
    "train": ("train", "{}"),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_the_command_line_takes_no_name_for_more(tmp_path, monkeypatch, capsys, scan, command, few):
    folder = tmp_path / "here"
    folder.mkdir()
    monkeypatch.chdir(folder)
    arguments = [part.replace("{scan}", str(scan)).replace("{}", few) for part in command]
    try:
        code = main(arguments)
    except SystemExit as end:
        code = end.code
    said = capsys.readouterr()
    assert code in (0, 2)
    assert "Traceback" not in said.err + said.out
    assert list(tmp_path.rglob("pwned")) == []
    assert {path.name for path in tmp_path.iterdir()} == {"here", "scans"}


# ----------------------------------------------------------------------------- archives, downloads


def _member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type, member.linkname, member.size = kind, link, 4 if kind == tarfile.REGTYPE else 0
    return member


@pytest.mark.parametrize(
    "member",
    [
        _member("../../IXI002-Guys-0828-T1.nii.gz"),
        _member("/tmp/h/IXI002-Guys-0828-T1.nii.gz"),
        _member("IXI002-Guys-0828-T1.nii.gz", tarfile.SYMTYPE, "/etc/passwd"),
        _member("IXI002-Guys-0828-T1.nii.gz", tarfile.LNKTYPE, "../../outside"),
        _member("IXI002-Guys-0828-T1.nii.gz", tarfile.CHRTYPE),
        _member("IXI002-Guys-0828-T1.nii.gz", tarfile.FIFOTYPE),
        _member("a/../IXI002-Guys-0828-T1.nii.gz"),
        _member("$(touch pwned).nii.gz"),
    ],
    ids=lambda member: f"{member.name} {member.type!r}",
)
def test_an_archive_writes_nowhere_else(tmp_path, monkeypatch, member):
    root = tmp_path / "inside" / "ixi"
    root.mkdir(parents=True)
    with tarfile.open(root / "IXI-T1.tar", "w") as archive:
        archive.addfile(member, streams.BytesIO(b"scan"))
        archive.addfile(_member("IXI012-HH-1211-T1.nii.gz"), streams.BytesIO(b"good"))
    monkeypatch.setattr(ixi_download, "fetch", lambda urls, to, **_: to)
    fetch_ixi(root, "IXI-T1", lambda *_: None, Source(("https://x",), "0"))
    written = {
        path.relative_to(tmp_path).as_posix() for path in tmp_path.rglob("*") if path.is_file()
    }
    allowed = {"IXI002-Guys-0828-T1.nii.gz", "IXI012-HH-1211-T1.nii.gz", "receipt.json"}
    assert written <= {f"inside/ixi/IXI-T1/{file}" for file in allowed}
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))
    assert "inside/ixi/IXI-T1/IXI012-HH-1211-T1.nii.gz" in written


def test_every_download_is_checked():
    """By a checksum, or, where we could not see the file, at least by coming over https."""
    weights = [load_weights(name) for name in weights_names()]
    for entry in weights:
        assert entry.urls
        assert all(url.startswith("https://") for url in entry.urls), entry.name
    for source in (*ARCHIVES.values(), TABLE):
        assert re.fullmatch("[0-9a-f]{32}", source.md5)
    assert all(entry.sha256 is None or len(entry.sha256) == 64 for entry in weights)


def test_a_report_opens_on_results_whatever_titles_hold(monkeypatch, name):
    """Our script stands before the part of Snakemake's page that starts it, and results keep all
    but the parameters of their rules.
    """
    monkeypatch.syspath_prepend(str(REPOSITORY / "workflow" / "lib"))
    from snakemake.report.html_reporter.common import get_resource_as_string
    from snakemake_internals import _with_script, _without_parameters

    script = REPOSITORY / "workflow" / "report" / "opening.js"
    reading = _with_script(script, get_resource_as_string)
    started = reading("components/app.js")
    assert started.startswith(script.read_text(encoding="utf-8"))
    assert started.count('this.content = "opening";') == 1
    assert reading("components/menu.js") == get_resource_as_string("components/menu.js")
    result = {"labels": {"shows": name}, "job_properties": {"rule": "panel", "params": name}}
    rendered = json.loads(_without_parameters(json.dumps)({"file": result}))
    result["job_properties"]["params"] = None
    assert rendered == {"file": result}
