"""Every command and every block of code on a page runs, one after the other, in a folder with the
files that the pages name. What does not run stands in ``tests/blocks_not_run.tsv`` with its reason.

Blocks that name the file to which they belong are followed in ``test_howtos.py``.
"""

import re
import shutil
import warnings
from pathlib import Path

import jsonschema
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
import yaml
from pages import REPOSITORY, all_pages
from PIL import Image as Pictures
from test_howtos import FOLLOWED

import diffeode as de
from diffeode import cli
from diffeode.desk import registration
from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid
from diffeode.prepare.recipe import recipe_schema
from diffeode.registration.registry import make_method
from diffeode.registration.runs import load_run

PAGES = {page.path: page for page in all_pages()}
EXCUSES = pd.read_csv(REPOSITORY / "tests" / "blocks_not_run.tsv", sep="\t")
LANGUAGES = {"bash", "python", "yaml", "text", "bibtex", "rst"}
RUNNABLE = {"bash", "python"}
WITH_BLOCKS = [p for p, page in PAGES.items() if {b.language for b in page.blocks} & RUNNABLE]

GRID = Grid(
    (24, 24, 24), np.array([[-4.0, 0, 0, 46], [0, 4, 0, -46], [0, 0, 4, -46], [0, 0, 0, 1]])
)
LANDMARKS = pd.DataFrame({"name": ["a", "b"], "x": [1.0, 5], "y": [2.0, -4], "z": [3.0, 8]})


def write_files(folder):
    """Write every file that a page names: a ball with waves, and the same 3 mm to the right."""
    for name, shift in (("fixed", 0), ("moving", 3), ("head", 0), ("other_head", 3), ("brain", 0)):
        points = GRID.points_mm() - [shift, 0, 0]
        inside = np.linalg.norm(points / (36, 34, 35), axis=-1) < 1
        waves = np.sin(points / 7).sum(axis=-1)
        scan = Image(np.where(inside, 300 + 60 * waves, 0), GRID)
        io.write_image(folder / f"{name}.nii.gz", scan)
        io.write_labels(folder / f"{name}_dseg.nii.gz", Labels(inside * (1 + (waves > 0)), GRID))
        second = Image(np.where(inside, 300 - 90 * waves, 0), GRID)
        io.write_image(folder / f"{name}_T2w.nii.gz", second)
    coarse = GRID.resample(9.0)
    io.write_image(folder / "coarse.nii.gz", Image(coarse.voxels()[..., 0], coarse))
    lesion = np.linalg.norm(GRID.points_mm() - [10, 5, 0], axis=-1) < 9
    io.write_labels(folder / "lesion.nii.gz", Labels(lesion, GRID))
    de.save_points(folder / "landmarks.fcsv", LANDMARKS)
    de.save_points(folder / "fixed_landmarks.csv", LANDMARKS)
    de.save_points(folder / "moving_landmarks.fcsv", LANDMARKS.assign(x=LANDMARKS.x + 3))
    for name in ("fixed.png", "moving.png", "moving.jpg"):
        side = io.read_image(folder / f"{name.split('.')[0]}.nii.gz").data[:, :, 12]
        Pictures.fromarray((side / side.max() * 255).astype("uint8")).save(folder / name)


def quick(given, named):
    """Return the options of a registration with a quicker method in place of the given one."""
    masked = any(named.get(side) is not None for side in ("fixed_mask", "moving_mask"))
    guided = isinstance(given[0], list)
    own = {"method": "identity"}
    if masked or guided:  # only our own method can leave out voxels or be guided
        own = {"settings": {"levels.iterations": [1, 1, 1]}}
    return {**named, "init": "centre", "threads": 1, **own}


def quick_command(words):
    """Return the words of ``diffeode register`` with a quicker method in place of the given one."""
    masked = any(word.endswith("-mask") for word in words)
    own = ["--set", "levels.iterations=[1, 1, 1]"] if masked else ["--method", "identity"]
    return [*words, "--init", "centre", "--threads", "1", *own]


def draw_nothing(registered, folder, report, begin):
    """Stands for the pictures of a pair, which other tests draw."""
    (folder / "overview.png").touch()


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """The files of all pages, and a registration of the two scans in ``OUT``."""
    folder = tmp_path_factory.mktemp("pages")
    write_files(folder)
    scans = folder / "fixed.nii.gz", folder / "moving.nii.gz"
    labels = {"fixed_labels": folder / "fixed_dseg.nii.gz", "labels": folder / "moving_dseg.nii.gz"}
    result = de.register(*scans, **quick(scans, labels))
    draw, registration._draw = registration._draw, draw_nothing
    result.save(folder / "OUT")
    registration._draw = draw
    return folder


@pytest.fixture
def here(files, tmp_path, monkeypatch):
    """A folder with the files of all pages, in which a page's blocks run."""
    folder = tmp_path / "here"
    shutil.copytree(files, folder)
    (folder / "config").symlink_to(REPOSITORY / "config")
    monkeypatch.chdir(folder)
    register = de.register
    monkeypatch.setattr(
        de, "register", lambda *given, **named: register(*given, **quick(given, named))
    )
    return folder


def excuse(block, command):
    """Return why a command or block is not run; empty where nothing excuses it."""
    for row in EXCUSES.itertuples():
        if row.page in ("*", block.page) and f"{command} ".startswith(f"{row.begins} "):
            return row.reason
    return ""


def first_line(block):
    return block.text.splitlines()[0].partition("; ")[0]


def run_command(block, words):
    """Run a command of the shell, or see that it may be left out and names what is there."""
    if reason := excuse(block, " ".join(words)):
        assert reason.endswith(".")
        require_what_it_names(block, words)
        return
    program, *options = words
    if Path(program).name != "diffeode":
        pytest.fail(f"{block.place}: nothing runs {' '.join(words)!r}, and nothing excuses it")
    if options[0] == "register":
        named = options[options.index("--method") + 1 :] if "--method" in options else []
        assert all(load_run(name) for name in named[:1])
        options = quick_command(options)
    assert cli.main(options) == 0, f"{block.place}: {' '.join(words)}"


def require_what_it_names(block, words):
    program, *rest = words
    if program == "make":
        targets = re.findall(r"^([\w-]+):", (REPOSITORY / "Makefile").read_text(), re.M)
        assert next(word for word in rest if "=" not in word) in targets, block.place
    files = [word for word in rest if re.match(r"(config|benchmarks|tests)/[\w./-]+\.\w+$", word)]
    files += [word.partition("=")[2] for word in rest if word.startswith("CONFIG=")]
    for file in files:
        assert (REPOSITORY / file).is_file(), f"{block.place} names {file}"


def makes_out(page):
    """Return whether a registration of the page itself writes ``OUT``."""
    runs = [block for block in page.blocks if block.language in RUNNABLE]
    return any(re.search(r"register .*-o OUT\b|\.save\(\"OUT\"", b.text) for b in runs)


@pytest.mark.parametrize("path", WITH_BLOCKS)
def test_every_block_of_a_page_runs(path, here, monkeypatch, capsys):
    monkeypatch.setattr(registration, "_draw", draw_nothing)
    names: dict = {}
    if makes_out(PAGES[path]):
        shutil.rmtree(here / "OUT")
    for block in PAGES[path].blocks:
        if block.title is not None:
            assert block.title in FOLLOWED, f"{block.place}: no test follows {block.title}"
        elif block.language == "bash":
            for words in block.commands:
                run_command(block, words)
        elif block.language == "python" and not excuse(block, first_line(block)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore", DeprecationWarning)
                warnings.simplefilter("ignore", UserWarning)
                exec(compile("\n" * block.line + block.text, path, "exec"), names)
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    if path in CHECKED:
        CHECKED[path](names, here, said.out)


def check_library_page(names, here, out):
    for written in ("warped.nii.gz", "warp.nii.gz", "warp.h5", "shift.txt", "OUT/metrics.json"):
        assert (here / written).is_file()
    assert "nothing looks wrong" in out or names["result"].suspect
    shift = (names["moved"][["x", "y", "z"]] - names["points"][["x", "y", "z"]]).to_numpy()
    np.testing.assert_allclose(np.median(shift, axis=0), [3, 0, 0], atol=1)
    assert np.abs(names["here"] - [4, -3, 2]).max() < 0.1


def check_readme(names, here, out):
    np.testing.assert_allclose(names["in_moving"], [[13, 20, 30]], atol=1.5)
    for name in ("warp.nii.gz", "inverse_warp.nii.gz", "warped.nii.gz"):
        assert (here / "OUT" / name).is_file()


def check_lesions(names, here, out):
    counts = nib.load(here / "counts.nii.gz").get_fdata()
    assert counts[nib.load(here / "lesion.nii.gz").get_fdata() > 0].max() == 0
    assert 0.9 < counts.mean() < 1
    assert names["result"].transform.map([[0.0, 0, 0]])[0, 0] == pytest.approx(3, abs=1)


def check_scans(names, here, out):
    back, there = de.load_points(here / "in_fixed.fcsv"), de.load_points(here / "in_moving.fcsv")
    axes = ["x", "y", "z"]
    np.testing.assert_allclose(there[axes] - LANDMARKS[axes], [[3, 0, 0]] * 2, atol=1)
    np.testing.assert_allclose(back[axes], LANDMARKS[axes], atol=0.05)
    scores = pd.read_csv(here / "scores.tsv", sep="\t").set_index("metric")["value"]
    assert scores["inverse_consistency_mm"] < 0.05
    assert nib.load(here / "WARPED/moving_dseg.nii.gz").get_fdata().max() == 2


CHECKED = {
    "README.md": check_readme,
    "docs/library.md": check_library_page,
    "docs/howto/scans.md": check_scans,
    "docs/howto/lesions.md": check_lesions,
}
"""What is asked of a page's files and names when its blocks have run."""


def test_the_library_page_lists_every_name():
    table = PAGES["docs/library.md"].text.partition("| name |")[2].partition("\n\n")[0]
    assert set(re.findall(r"`(\w+)`", table)) >= set(de.__all__)


@pytest.mark.parametrize("page", PAGES.values(), ids=list(PAGES))
def test_every_block_says_its_language(page):
    assert page.text.count("```") >= 2 * len(page.blocks)
    strange = [block.place for block in page.blocks if block.language not in LANGUAGES]
    assert not strange, f"blocks without a language, or with an unknown one: {strange}"


def test_no_excuse_is_left_over():
    said = [
        (block, " ".join(words))
        for page in PAGES.values()
        for block in page.blocks
        if block.language == "bash"
        for words in block.commands
    ]
    said += [
        (block, first_line(block))
        for page in PAGES.values()
        for block in page.blocks
        if block.language == "python"
    ]
    for row in EXCUSES.itertuples():
        assert any(
            row.page in ("*", block.page) and f"{command} ".startswith(f"{row.begins} ")
            for block, command in said
        ), f"nothing needs the excuse {row.page} {row.begins}"
        tests = re.findall(r"tests/[\w/]+\.py", row.reason)
        assert all((REPOSITORY / test).is_file() for test in tests), row.reason


# ------------------------------------------------------------------------------------- YAML blocks

SCHEMAS = {
    kind: yaml.safe_load((REPOSITORY / f"workflow/schemas/{kind}.schema.yaml").read_text())
    for kind in ("dataset", "experiment", "study")
}
WHOLE = {
    "dataset": {"kind": "bids", "root": "/path"},
    "experiment": {"title": "Title", "alignment": "affine"},
    "study": {
        **{"study": "mine", "title": "Title", "experiments": ["a"], "runs": ["identity"]},
        **{"ours": "identity", "seed": 1, "results": "results"},
    },
}
"""The keys that the examples of a schema leave out."""
YAML_BLOCKS = [
    block
    for page in PAGES.values()
    for block in page.blocks
    if block.language == "yaml" and block.title is None
]


@pytest.mark.parametrize("block", YAML_BLOCKS, ids=[block.place for block in YAML_BLOCKS])
def test_every_example_of_a_configuration_is_valid(block):
    example = yaml.safe_load(block.text)
    if "method" in example:
        make_method(example["method"], example["parameters"])
        return
    kinds = {"runs": "study", "fixed": "experiment", "kind": "dataset", "prepare": "dataset"}
    kind = next(kinds[key] for key in kinds if key in example)
    schema = SCHEMAS[kind]
    if kind == "dataset":
        schema = {**schema, "$defs": {**schema.get("$defs", {}), "recipe": recipe_schema()}}
    jsonschema.validate({**WHOLE[kind], **example}, schema)


# ---------------------------------------------------------------------------------------- synopses


def synopses():
    """Return the options that each synopsis of a command on the page of commands names."""
    found: dict[str, set[str]] = {}
    for block in PAGES["docs/cli.md"].blocks:
        if block.language == "text" and block.text.startswith("diffeode "):
            for part in re.split(r"^diffeode ", block.text, flags=re.M)[1:]:
                options = set(re.findall(r"(?<![\w-])--[a-z-]+", part))
                found.setdefault(part.split()[0], set()).update(options)
    return found


@pytest.mark.parametrize("verb", synopses())
def test_a_synopsis_names_options_that_the_command_has(verb, capsys):
    with pytest.raises(SystemExit):
        cli.main([verb, "--help"])
    known = set(re.findall(r"(?<![\w-])--[a-z-]+", capsys.readouterr().out))
    assert synopses()[verb] <= known
