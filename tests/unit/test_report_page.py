"""The page about a registration: its pictures, what it says, and that nothing in it is run."""

import base64
import io as streams
import json
import re
import shutil
import sys
from html.parser import HTMLParser
from xml.etree import ElementTree

import matplotlib as mpl
import nibabel as nib
import numpy as np
import pandas as pd
import pytest
from browser import CHROMIUM, WITHOUT, opened
from hostile import NAMES
from PIL import Image as Picture

from diffeode.cli import main
from diffeode.desk import account as accounts
from diffeode.evaluation import verdict
from diffeode.evaluation.catalogue import METRICS
from diffeode.figures import page as pages
from diffeode.figures import page_scores
from diffeode.figures.page import Account, Use, write_page
from diffeode.figures.page_energy import energy_picture
from diffeode.figures.page_scores import GOOD, LOOK, OPEN, scores_of, signs_of, structures_of
from diffeode.figures.page_views import views_of
from diffeode.figures.pair_panel import FOLD_COLOUR, Scene, scene_of
from diffeode.figures.slice_panel import SliceScene
from diffeode.files import io
from diffeode.geometry.image import Image, Labels
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, DisplacementField
from diffeode.units.registration import RegistrationUnit

PSR = Grid(
    (30, 27, 25), np.array([[0, 0, 3.1, -37], [-2.9, 0, 0, 42], [0, 3.0, 0, -39], [0, 0, 0, 1]])
)
"""A grid whose axes run to the back, upwards and to the right, with three unequal spacings."""
SPACING = {"R": 3.1, "A": 2.9, "S": 3.0}
RADII = (28, 30, 26)
ACROSS_UP = {"Axial": ("R", "A"), "Coronal": ("R", "S"), "Sagittal": ("A", "S")}


def scan(blob=None, grid=PSR) -> Image:
    """A ball around the origin, and a bright blob at a point, RAS mm."""
    points = grid.points_mm()
    data = np.where(np.linalg.norm(points / RADII, axis=-1) < 1, 0.4, 0.0)
    if blob is not None:
        data[np.linalg.norm(points - blob, axis=-1) < 6] = 1
    return Image(data, grid)


def scene(displacement=np.zeros_like, blobs=(None, None, None)):
    whole = DisplacementField(displacement(PSR.points_mm()).astype(np.float32), PSR)
    return scene_of(*(scan(blob) for blob in blobs), whole, Affine())


def decoded(address: str) -> Picture.Image:
    return Picture.open(streams.BytesIO(base64.b64decode(address.partition(";base64,")[2])))


def lines_of(path: str) -> list[np.ndarray]:
    """The lines of a path of SVG, ``(N, 2)`` each."""
    lines = []
    for part in path.split("M")[1:]:
        start, _, steps = part.partition("l")
        numbers = [int(word) for word in (*start.split(), *steps.split())]
        lines.append(np.cumsum(np.reshape(numbers, (-1, 2)), axis=0))
    return lines


def unit_mm(view) -> float:
    """The length of a unit of the paths: the pictures show whole voxels of a known size."""
    across = ACROSS_UP[view.name][0]
    return decoded(view.slices[0].fixed).width * SPACING[across] / view.width


# ----------------------------------------------------------------------------------- its pictures


@pytest.mark.parametrize("which", ["fixed", "before", "after"])
def test_each_scan_is_shown_with_the_patient_s_right_at_the_left_and_the_front_at_the_top(which):
    blobs = {"fixed": (12, -9, 6), "before": (-9, 12, 3), "after": (6, 9, -12)}
    x, y, z = blobs[which]
    expected = {"Axial": (-x, -y), "Coronal": (-x, -z), "Sagittal": (-y, -z)}
    for view in views_of(scene(blobs=blobs.values()), 7):
        across, up = ACROSS_UP[view.name]
        pictures = [np.asarray(decoded(getattr(s, which)), float) for s in view.slices]
        brightest = max(pictures, key=lambda picture: (picture > 200).sum())
        rows, columns = np.nonzero(brightest > 200)
        height, width = brightest.shape
        found = (
            (columns.mean() - (width - 1) / 2) * SPACING[across],
            (rows.mean() - (height - 1) / 2) * SPACING[up],
        )
        assert found == pytest.approx(expected[view.name], abs=2.5)
        assert view.width / view.height == pytest.approx(
            width * SPACING[across] / (height * SPACING[up]), rel=0.01
        )


def test_all_planes_have_one_scale():
    scales = [unit_mm(view) for view in views_of(scene(), 7)]
    assert scales == pytest.approx([scales[0]] * 3, rel=0.01)


def test_the_outline_of_the_fixed_scan_is_where_it_is():
    for view in views_of(scene(), 7):
        widest = max(
            (lines_of(s.contours)[-1] for s in view.slices), key=lambda line: np.ptp(line[:, 0])
        )
        sizes = np.ptp(widest, axis=0) * unit_mm(view)
        expected = [2 * dict(zip("RAS", RADII, strict=True))[axis] for axis in ACROSS_UP[view.name]]
        assert sizes == pytest.approx(expected, abs=3.2)
        assert (widest.max(axis=0) + widest.min(axis=0)) / 2 == pytest.approx(
            (view.width / 2, view.height / 2), abs=2 / unit_mm(view)
        )


def test_the_grid_lies_where_the_map_takes_it():
    still = views_of(scene(), 7)
    moved = views_of(scene(lambda points: np.full_like(points, (5, 0, 3))), 7)
    expected = {"Axial": (-5, 0), "Coronal": (-5, -3), "Sagittal": (0, -3)}
    for before, after in zip(still, moved, strict=True):
        for one, other in zip(before.slices, after.slices, strict=True):
            pairs = zip(lines_of(one.lines), lines_of(other.lines), strict=True)
            shifts = np.concatenate([b[:1] - a[:1] for a, b in pairs]) * unit_mm(before)
            np.testing.assert_allclose(shifts, [expected[before.name]] * len(shifts), atol=0.15)


def test_volumes_have_their_colours_and_folds_one_of_their_own():
    def stretched(points):
        x = points[..., :1]
        factor = np.where(x > 0, -1.5, 0.5)
        return np.concatenate([factor * x, 0 * x, 0 * x], axis=-1)

    axial = views_of(scene(stretched), 7)[0]
    picture = np.asarray(decoded(axial.slices[axial.middle].volume).convert("RGBA"))
    height, width, _ = picture.shape
    fold = [int(FOLD_COLOUR[i : i + 2], 16) for i in (1, 3, 5)]
    assert picture[height // 2, width // 4].tolist() == [*fold, 255]  # the patient's right
    grown = mpl.colormaps["RdBu_r"]((np.log(1.5) + 1) / 2, bytes=True)[:3]
    np.testing.assert_allclose(picture[height // 2, 3 * width // 4, :3], grown, atol=8)
    assert picture[0, 0, 3] == 0


def test_a_flat_scan_has_one_view():
    flat = Grid((40, 30, 1), np.diag([2.0, 2, 5, 1]))
    data = np.zeros(flat.shape)
    data[5:35, 5:25] = np.random.default_rng(0).uniform(0.3, 1, (30, 20, 1))
    nothing = np.zeros((*flat.shape, 3), np.float32)
    shown = Scene(flat, data, data, data, data > 0, nothing, np.ones(flat.shape), False)
    (view,) = views_of(shown, 7)
    assert view.name == "Axial"
    assert len(view.slices) == 1


# ------------------------------------------------------------------------------------ what it says

SIGNS = {
    "overlap": 0.95,
    "anatomical_match": 0.2,
    "anatomical_match_before": 0.1,
    "anatomical_margin": 4.0,
    "anatomical_margin_before": 3.0,
    "faces_percent": 0.0,
    "alignment_stretch": 1.1,
    "displacement_share": 0.1,
    "motion_distance": None,
    "sdlogj": 0.3,
    "folds_percent": 0.0,
}


@pytest.mark.parametrize(
    "changed",
    [
        {},
        {"overlap": 0.84},
        {"overlap": None},
        {"anatomical_match": 0.07},
        {"motion_distance": 0.15},
        {"motion_distance": 0.17},
        {"anatomical_margin": 2.3},
        {"faces_percent": 100.0},
        {"anatomical_margin": None},
        {"alignment_stretch": 1.6},
        {"displacement_share": 0.7, "sdlogj": 0.9},
        {"folds_percent": 1.2, "sdlogj": None},
    ],
)
def test_a_number_is_marked_exactly_where_the_verdict_rests_on_it(changed):
    signs = SIGNS | changed
    numbers = {name: float("nan") if value is None else value for name, value in signs.items()}
    marks = [sign.mark for sign in signs_of(signs)]
    assert marks.count(LOOK) == len(verdict.judge(numbers).reasons)
    assert len(marks) == len(SIGNS) - 1  # the margin before decides nothing


@pytest.mark.parametrize(
    ("name", "value", "mark"),
    [
        ("folds_onesided_percent", 0.0, GOOD),
        ("folds_onesided_percent", 1e-4, LOOK),
        ("ndv_percent", 0.2, LOOK),
        ("min_jacobian", 0.01, GOOD),
        ("min_jacobian", 0.0, LOOK),
        ("sdlogj", 0.79, GOOD),
        ("sdlogj", 0.81, LOOK),
        ("inverse_consistency_mm", 1.9, GOOD),
        ("inverse_consistency_mm", 2.1, LOOK),
        ("nmi", 1.21, GOOD),
        ("nmi", 1.19, LOOK),
        ("dice", 0.3, OPEN),
        ("sdlogj", None, OPEN),
    ],
)
def test_a_score_is_marked_by_what_is_good(name, value, mark):
    scores = scores_of({"nmi_before": 1.2, name: value}, voxel_mm=2.0)
    assert {score.title: score.mark for score in scores}[METRICS[name].title] == mark


def test_every_metric_is_explained():
    assert set(page_scores.names_of_scores()) == set(METRICS) - {"dice_subset", "suspect", "failed"}


def test_structures_stand_in_the_order_of_their_ids():
    rows = structures_of({"1000": 0.5, "17": 0.25, "4": 0.0, "5": None}, {"17": 2.0, "4": None})
    assert [(row.name, row.share, row.hd95) for row in rows] == [
        ("4", 0.0, "\N{EN DASH}"),
        ("17", 25.0, "2.00"),
        ("1000", 50.0, "\N{EN DASH}"),
    ]


class _Page(HTMLParser):
    """Tags with their attributes, and the text outside of scripts and styles."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags, self.text, self._silent = [], "", False
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        self._silent = tag in ("script", "style")

    def handle_endtag(self, tag):
        self._silent = False

    def handle_data(self, data):
        if not self._silent:
            self.text += data


def account(text: str) -> Account:
    """An account in which ``text`` stands wherever a text can."""
    score = page_scores.Score(text, text, text)
    return Account(
        *(text, text, text, text, True, text, [score], [text], [score]),
        [page_scores.Structure(text, text, 50.0, text)],
        *(text, text, text, [Use(text, text)], [(text, text)], text),
        *({text: text}, {text: text}, {text: text}),
    )


@pytest.fixture(scope="module")
def still():
    return scene()


@pytest.mark.parametrize(
    "name", [*filter(None, NAMES.values()), '"><svg onload=alert(1)>', "' onclick='x"]
)
def test_every_name_is_shown_as_text(still, tmp_path, name):
    write_page(still, account("plain"), None, tmp_path / "plain.html")
    write_page(still, account(name), None, tmp_path / "page.html")
    plain, page = (
        _Page((tmp_path / file).read_text(encoding="utf-8")) for file in ("plain.html", "page.html")
    )
    assert [tag for tag, _ in page.tags] == [tag for tag, _ in plain.tags]
    for (_, before), (_, after) in zip(plain.tags, page.tags, strict=True):
        assert before.keys() == after.keys()
    if name.strip():
        first = name.strip().splitlines()[0].replace("\0", "\N{REPLACEMENT CHARACTER}")
        assert page.text.replace("\0", "\N{REPLACEMENT CHARACTER}").count(first) >= 15


def test_the_page_needs_no_network_and_may_use_none(still, tmp_path):
    write_page(still, account("plain"), None, tmp_path / "page.html")
    page = _Page((tmp_path / "page.html").read_text(encoding="utf-8"))
    addresses = [
        value
        for _, attributes in page.tags
        for key, value in attributes.items()
        if key in ("src", "href", "data", "srcset")
    ]
    assert len(addresses) > 50
    assert all(address.startswith("data:image/") for address in addresses)
    assert "link" not in {tag for tag, _ in page.tags}
    (policy,) = [a["content"] for _, a in page.tags if "http-equiv" in a]
    assert policy.startswith("default-src 'none'; img-src data:;")


def test_a_page_that_would_be_too_large_shows_fewer_slices(still, tmp_path, monkeypatch):
    def slices() -> int:
        write_page(still, account("plain"), None, tmp_path / "page.html")
        return (tmp_path / "page.html").read_text(encoding="utf-8").count('data-is="after"')

    assert slices() == 3 * 7
    size = (tmp_path / "page.html").stat().st_size
    assert pages.LARGEST_BYTES <= 3e6
    monkeypatch.setattr(pages, "LARGEST_BYTES", size - 1)
    assert slices() == 3 * 5
    assert (tmp_path / "page.html").stat().st_size < size


# -------------------------------------------------------------------------------------- at the desk

SMALL = Grid((18, 16, 17), np.diag([5.0, 6, 5.5, 1]))


def at_the_desk(*arguments) -> int:
    return main([str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    """Two scans with label maps in a folder."""
    folder = tmp_path_factory.mktemp("scans")
    centred = SMALL.points_mm() - SMALL.centre_mm
    for name, shift in (("fixed", 0), ("moving", 3)):
        x, y, z = np.moveaxis(centred - [shift, 0, 0], -1, 0)
        waves = 2 + np.sin(x / 9) + np.sin(y / 8) * np.cos(z / 10)
        inside = np.linalg.norm(np.stack([x / 34, y / 36, z / 35]), axis=0) < 1
        io.write_image(folder / f"{name}.nii.gz", Image(np.where(inside, 90 * waves, 0), SMALL))
        labels = np.where(inside, np.where(waves > 2, 17, 4), 0)
        io.write_labels(folder / f"{name}_dseg.nii.gz", Labels(labels, SMALL))
    return folder


def register(files, out, *options) -> int:
    pair = [files / "fixed.nii.gz", files / "moving.nii.gz", "-o", out]
    method = ["--method", "identity", "--init", "identity", "--threads", 1]
    return at_the_desk("register", *pair, *method, *options)


@pytest.fixture(scope="module")
def registered(files, tmp_path_factory):
    """The folder of a registration with its page."""
    out = tmp_path_factory.mktemp("registered") / "my results"
    labels = ["--labels", files / "moving_dseg.nii.gz"]
    labels += ["--fixed-labels", files / "fixed_dseg.nii.gz"]
    assert register(files, out, "--report", *labels) == 0
    return out


@pytest.fixture
def copied(registered, tmp_path):
    return shutil.copytree(registered, tmp_path / "copied")


def test_the_page_says_what_was_registered_how_well_and_how(registered, files):
    page = _Page((registered / "report.html").read_text(encoding="utf-8"))
    record = json.loads((registered / "metrics.json").read_text(encoding="utf-8"))
    shown = " ".join(page.text.split())
    assert shown.count("moving.nii.gz registered to fixed.nii.gz") == 1
    assert f"{record['metrics']['dice']:.3f}" in shown
    assert all(f"{value:.3f}" in shown for value in record["dice_by_label"].values())
    assert f"diffeode register {files / 'fixed.nii.gz'}" in shown
    assert "diffeode apply warp.nii.gz" in shown
    assert "sends every point of the fixed scan to the corresponding point of the moving" in shown
    assert record["software"]["torch"] in shown
    listed = {path.name for path in registered.iterdir()} - {"report.html"}
    assert listed == {name for name in listed if f"{name}" in shown}
    assert ("Suspect." in shown) == record["suspect"]
    assert record["verdict"] in shown


def test_the_page_of_a_folder_is_the_page_of_the_registration(copied, registered, capsys):
    (copied / "report.html").write_text("mine")
    assert at_the_desk("report", copied) == 2
    assert "report.html exists already; give --overwrite to replace it" in capsys.readouterr().err
    assert (copied / "report.html").read_text() == "mine"
    assert at_the_desk("report", copied, "--overwrite") == 0
    assert capsys.readouterr().out == f"{copied / 'report.html'}\n"
    assert (copied / "report.html").read_bytes() == (registered / "report.html").read_bytes()


@pytest.mark.parametrize("terminal", [True, False])
def test_a_page_is_made_on_a_terminal_unless_it_is_refused(files, tmp_path, monkeypatch, terminal):
    monkeypatch.setattr(sys.stdout, "isatty", lambda: terminal)
    assert register(files, tmp_path / "out") == 0
    assert (tmp_path / "out" / "report.html").is_file() == terminal
    if terminal:
        assert register(files, tmp_path / "out", "--no-report", "--overwrite") == 0
        assert not (tmp_path / "out" / "report.html").exists()  # it would show another result


def changed_scan(folder):
    record = json.loads((folder / "metrics.json").read_text())
    copy = folder.parent / "scan.nii.gz"
    image = nib.load(record["fixed"])
    data = np.asarray(image.dataobj).copy()
    data[8, 8, 8] += 1
    nib.save(nib.Nifti1Image(data, image.affine), copy)
    edit(folder, fixed=str(copy))


def edit(folder, **entries):
    path = folder / "metrics.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | entries))


@pytest.mark.parametrize(
    ("spoil", "words"),
    [
        (shutil.rmtree, "metrics.json"),
        (lambda folder: (folder / "metrics.json").unlink(), "metrics.json"),
        (lambda folder: (folder / "metrics.json").write_text("{"), "it is no JSON"),
        (lambda folder: (folder / "metrics.json").write_text("[]"), "it is no JSON"),
        (lambda folder: edit(folder, metrics=3), "it lacks metrics"),
        (lambda folder: edit(folder, metrics={"dice": "much"}), "metrics"),
        (lambda folder: edit(folder, signs={"sdlogj": []}), "signs"),
        (lambda folder: edit(folder, dice_by_label={"4": "x"}), "dice_by_label"),
        (lambda folder: edit(folder, notes=5), "notes"),
        (lambda folder: edit(folder, alignment=[[1, 0], [0, 1]]), "it lacks the alignment"),
        (lambda folder: edit(folder, alignment=None), "it lacks the alignment"),
        (lambda folder: edit(folder, alignment=np.zeros((4, 4)).tolist()), "alignment"),
        (lambda folder: edit(folder, fixed="nowhere.nii.gz"), "no such file is here"),
        (changed_scan, "has changed since it was registered"),
        (lambda folder: (folder / "warp.nii.gz").unlink(), "warp.nii.gz"),
        (lambda folder: (folder / "warp.nii.gz").write_bytes(b"x"), "warp.nii.gz"),
        (lambda folder: (folder / "warped.nii.gz").unlink(), "warped.nii.gz"),
        (lambda folder: (folder / "trace.tsv").write_text("energy\nmuch\n"), "trace.tsv"),
    ],
)
def test_a_folder_that_holds_no_whole_registration_is_refused_in_a_sentence(
    copied, capsys, spoil, words
):
    spoil(copied)
    before = (copied / "report.html").read_bytes() if copied.exists() else b""
    assert at_the_desk("report", copied, "--overwrite") == 2
    said = capsys.readouterr().err
    assert said.startswith("diffeode: ")
    assert said.count("\n") == 1
    assert words in said
    assert not copied.exists() or (copied / "report.html").read_bytes() == before


def test_the_energy_is_drawn_where_the_method_keeps_a_trace(still, tmp_path):
    trace = tmp_path / "trace.tsv"
    for text, shown in (
        ("iteration\tlevel\tenergy\n0\t2\t0.5\n1\t2\t0.25\n2\t1\t0.75\n", True),
        ("iteration\n", False),
    ):
        trace.write_text(text, encoding="utf-8")
        write_page(still, account("plain"), trace, tmp_path / "page.html")
        page = (tmp_path / "page.html").read_text(encoding="utf-8")
        found = re.search(r'src="data:image/svg\+xml;base64,([^"]+)"', page)
        assert (found is not None) == shown
        if found:
            picture = base64.b64decode(found[1]).decode()
            assert "1/2" in picture
            assert "Iteration" in picture


def drawn_energy(rows, title="Mine"):
    """The parts of the picture of an energy: words with their places, and curves ``(N, 2)``."""
    columns = ["iteration", "level", "energy"] if len(rows[0]) == 3 else ["iteration", "energy"]
    picture = ElementTree.fromstring(energy_picture(pd.DataFrame(rows, columns=columns), title))
    parts = list(picture.iter())
    words = [
        (part.text, part.get("text-anchor"), float(part.get("x")), float(part.get("y")))
        for part in parts
        if part.tag.endswith("text")
    ]
    curves = [
        np.array(part.get("d")[1:].split(), dtype=float).reshape(-1, 2)
        for part in parts
        if part.tag.endswith("path")
    ]
    return words, curves


def test_the_curve_of_the_energy_passes_the_ticks_of_its_values():
    rows = [(0, 4, 0.3), (1, 4, 0.1), (2, 1, 0.4), (3, 1, 0.2)]
    words, curves = drawn_energy(rows)
    # a label stands a fixed way beside its tick
    across = {word: x for word, anchor, x, _ in words if anchor == "middle"}
    up = {word: y - 2.3 for word, anchor, _, y in words if anchor == "end"}
    assert {word for word, *_ in words} >= {"Mine", "1/4", "1/1", "Iteration", "Energy"}
    expected = [
        [(across[str(i)], up[f"{energy:.1f}"]) for i, _, energy in rows[n : n + 2]] for n in (0, 2)
    ]
    np.testing.assert_allclose(curves, expected, atol=0.11)
    assert up["0.4"] < up["0.1"]  # rows of a picture grow downwards


def test_an_energy_that_is_not_finite_leaves_a_gap():
    _, curves = drawn_energy([(0, 1.0), (1, 0.5), (2, np.nan), (3, 0.25), (4, 0.125)])
    assert [len(curve) for curve in curves] == [2, 2]
    nothing = pd.DataFrame({"iteration": [0, 1], "energy": [np.nan, np.inf]})
    assert energy_picture(nothing, "Mine") == ""


@pytest.mark.parametrize("energy", [0.0, -3.5e-12, 7e8])
def test_a_constant_energy_is_a_level_line(energy):
    words, (curve,) = drawn_energy([(0, energy), (1, energy), (2, energy)])
    assert np.ptp(curve[:, 1]) == 0
    assert all(len(word) < 10 for word, anchor, *_ in words if anchor == "end")


def test_a_title_is_shown_as_it_is():
    words, _ = drawn_energy([(0, 1.0), (1, 0.5)], "<script>1 & 2</script>")
    assert words[0][0] == "<script>1 & 2</script>"


# ------------------------------------------------------------------------------------ in a browser

_USE = """
<script>
const said = [];
const note = (name, value) => said.push(name + "=" + value);
const shown = () => [...document.querySelectorAll("#scans .slice.shown img")]
  .filter((image) => !image.hidden && image.complete && image.naturalWidth).length;
const turn = (control, event) => control.dispatchEvent(new Event(event, { bubbles: true }));
window.addEventListener("load", () => {
  note("ready", document.body.dataset.ready);
  note("pictures", shown());
  document.querySelectorAll("#pair input")[1].click();
  note("left", document.querySelector("#scans .of-left").textContent);
  note("fixed", document.querySelectorAll("#scans img.left:not([hidden])[data-is=fixed]").length);
  const split = document.getElementById("split");
  split.value = 20; turn(split, "input");
  note("split", getComputedStyle(document.querySelector("#scans .left:not([hidden])")).clipPath);
  const place = document.querySelector(".place");
  place.value = 0; turn(place, "input");
  const stacks = [...document.querySelectorAll(".views")].map((row) => row.querySelector(".stack"));
  note("first", stacks.filter((s) => s.querySelector(".slice").classList.contains("shown")).length);
  document.getElementById("flicker").click();
  const seen = new Set();
  const watch = setInterval(() => {
    seen.add(document.getElementById("scans").style.getPropertyValue("--split"));
    if (seen.size > 2) {
      note("flickers", [...seen].join(" "));
      clearInterval(watch);
      document.body.dataset.said = said.join(";");
    }
  }, 100);
});
</script>
"""


@pytest.mark.skipif(CHROMIUM is None, reason=WITHOUT)
def test_the_page_works_in_a_browser(registered, tmp_path):
    page = (registered / "report.html").read_text(encoding="utf-8")
    (tmp_path / "page.html").write_text(page.replace("</body>", f"{_USE}</body>"), encoding="utf-8")
    document = opened(tmp_path / "page.html", tmp_path / "browser")
    said = re.search(r'data-said="([^"]*)"', document)
    assert said, document[-2000:]
    notes = dict(note.split("=", 1) for note in said[1].split(";"))
    assert notes == {
        "ready": "3",
        "pictures": "6",
        "left": "fixed",
        "fixed": str(3 * 7),
        "split": "inset(0px 80% 0px 0px)",
        "first": "3",
        "flickers": "20% 0% 100%",
    }


def least_record(**entries):
    """A record of a registration that holds what it must, and ``entries``."""
    record = dict.fromkeys(("fixed", "moving", "title", "verdict", "inverse"), "a word")
    return record | {"signs": {}, "parameters": {}, "software": {}, "metrics": {}} | entries


@pytest.mark.parametrize("side", ["fixed", "moving"])
def test_a_mask_is_told_of_its_own_side(side, still, tmp_path):
    made = accounts._account(least_record(**{f"{side}_mask": "m.nii"}), tmp_path, still).made
    (what,) = [what for what, value in made.items() if value == "m.nii"]
    assert what == f"mask of the {side} scan"


@pytest.mark.parametrize("kind", ["scan", "slice"])
def test_the_map_back_brings_images_of_the_fixed_side_and_the_map_all_else(kind, tmp_path):
    unit = RegistrationUnit(tmp_path)
    uses = accounts._uses(unit) if kind == "scan" else accounts._uses_of_slices(unit, "pixels")
    backwards = [use.what for use in uses if "inverse_warp.nii.gz" in use.command]
    assert backwards == [f"Bring an image of the fixed {kind} onto the moving {kind}:"]
    assert all("warp.nii.gz" in use.command for use in uses)


def test_the_thickness_of_a_slice_has_no_say_in_what_is_called_good(tmp_path):
    """The map and the map back miss each other by two pixels, which is less than the thickness."""
    grid, flat = Grid((20, 20, 1), np.diag([0.5, 0.5, 9.0, 1.0])), np.zeros((20, 20))
    still = DisplacementField(np.zeros((20, 20, 1, 3), np.float32), grid)
    slices = SliceScene(grid, flat, flat, flat, flat == 0, still, Affine(), "mm")
    record = least_record(metrics={"inverse_consistency_mm": 1.0})
    (score,) = accounts._account(record, tmp_path, slices).scores
    assert score.mark == LOOK
