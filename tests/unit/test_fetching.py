"""Weights that a command needs are fetched from where the catalogue says, told in one line,
verified, and refused in one sentence. A server on this machine stands for the internet.
"""

from http.server import BaseHTTPRequestHandler

import numpy as np
import pytest
import yaml
from served import entry_of, serving

from diffeode.cli import main, prepare, register
from diffeode.desk import fetching, preparing
from diffeode.errors import InputError
from diffeode.files import io
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.prepare.registry import find_tool
from diffeode.weights import catalogue, download

CONTENT = b"numbers learned by a network"
NAME = "meshnet-mindgrab"


class Server(BaseHTTPRequestHandler):
    """A server of one file of weights."""

    def do_GET(self):
        self.server.asked.append(self.path)
        body = CONTENT if self.path == "/net.pth" else CONTENT[::-1]
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *arguments):
        """Log nothing."""


@pytest.fixture
def site():
    with serving(Server) as server:
        server.asked = []
        yield server


@pytest.fixture
def place(tmp_path, monkeypatch, site):
    """A machine without weights, whose catalogue has the network that strips skulls, with two heads
    and a slice in the working folder.
    """
    (tmp_path / "catalogue").mkdir()
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(catalogue, "_catalogue", lambda: tmp_path / "catalogue")
    monkeypatch.setenv("DIFFEODE_WEIGHTS", "")
    monkeypatch.setenv("DIFFEODE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr(download, "_FIRST_WAIT_S", 0.0)
    catalogue.load_weights.cache_clear()
    listed(tmp_path, site)
    grid = Grid((20, 20, 20), np.diag([9.0, 9, 9, 1]))
    for name, seed in (("fixed", 0), ("moving", 1)):
        noise = np.random.default_rng(seed).uniform(1, 2, grid.shape)
        io.write_image(f"{name}.nii.gz", Image(noise, grid))
    io.write_image("slice.nii.gz", Image(noise[..., :1], grid.crop([0, 0, 0], [20, 20, 1])))
    yield tmp_path
    catalogue.load_weights.cache_clear()


def listed(folder, site, file="net.pth", **changes):
    """Write the catalogue's entry, whose file lies on the server."""
    address = f"http://127.0.0.1:{site.server_port}/{file}"
    entry = entry_of(CONTENT, address) | {"file": "model.pth"}
    (folder / "catalogue" / f"{NAME}.yaml").write_text(yaml.safe_dump(entry | changes))
    catalogue.load_weights.cache_clear()
    return address


REGISTER = ["register", "fixed.nii.gz", "moving.nii.gz", "-o", "OUT", "--brain"]
PREPARE = ["prepare", "fixed.nii.gz", "-o", "OUT"]


@pytest.mark.parametrize(
    ("module", "work", "line"),
    [(register, "_register_here", REGISTER), (prepare, "prepare_scan", PREPARE)],
)
def test_weights_are_fetched_once_verified_and_told_in_a_line(
    place, site, capsys, monkeypatch, module, work, line
):
    def stop(*given, **named):
        raise InputError("The work is not part of this test.")

    monkeypatch.setattr(preparing if module is prepare else module, work, stop)
    kept = place / "cache" / "diffeode" / "weights" / NAME / "model.pth"
    address = listed(place, site)
    assert main([*line, "--quiet"]) == 2
    first, second = capsys.readouterr().err.splitlines()
    assert first == (
        f"diffeode: fetching the weights {NAME} (a test, 0.0 MB) from {address} to {kept}, where "
        "they are kept"
    )
    assert second == "diffeode: The work is not part of this test."
    assert kept.read_bytes() == CONTENT
    assert main([*line, "--quiet"]) == 2
    assert "fetching" not in capsys.readouterr().err
    assert site.asked == ["/net.pth"]


@pytest.mark.parametrize("line", [REGISTER, PREPARE])
def test_a_file_that_is_not_the_right_one_is_not_kept(place, site, capsys, line):
    listed(place, site, "another")
    assert main(line) == 2
    told, said = capsys.readouterr().err.splitlines()
    assert told.startswith("diffeode: fetching")
    assert "are not here and could not be fetched (" in said
    assert "has the sha256 " in said
    assert said.count(f"run 'diffeode weights get {NAME}'") == 1
    assert not list((place / "cache").rglob("model.pth*"))
    assert not (place / "OUT").exists()


def test_without_a_network_a_sentence_says_how_to_get_them_by_hand(place, site, capsys):
    nobody = "http://127.0.0.1:9/net.pth"
    listed(place, site, urls=[nobody])
    assert main(REGISTER) == 2
    said = capsys.readouterr().err.splitlines()[-1]
    assert "check the address and the connection" in said
    assert f"run 'diffeode weights get {NAME}', or download {nobody} to " in said


@pytest.mark.parametrize(
    "line",
    [
        ["register", "fixed.nii.gz", "absent.nii.gz", "-o", "OUT", "--brain"],
        [
            "register",
            "fixed.nii.gz",
            "moving.nii.gz",
            "-o",
            "OUT",
            "--brain",
            "--fixed-mask",
            "none",
        ],
        ["register", "slice.nii.gz", "slice.nii.gz", "-o", "OUT", "--brain"],
        ["prepare", "absent.nii.gz", "-o", "OUT"],
        ["prepare", "fixed.nii.gz", "-o", "OUT", "--brain", "nothing"],
        ["prepare", "fixed.nii.gz", "-o", "OUT", "--brain", "nonzero"],
    ],
)
def test_nothing_is_fetched_for_what_is_refused_or_needs_none(place, site, line, capsys):
    assert main(line) == 2
    assert "fetching" not in capsys.readouterr().err
    assert site.asked == []


def test_weights_that_nobody_can_verify_are_not_fetched(place, site):
    listed(place, site, sha256=None, bytes=None)
    lines = []
    fetching.fetch_what_is_absent({"brain": "mindgrab"}, lines.append)
    assert (lines, site.asked) == ([], [])


def test_the_desk_strips_by_the_tool_whose_weights_it_fetches():
    from diffeode.prepare import side
    from diffeode.prepare.choices import STRIPPER

    assert find_tool("brain", STRIPPER).function is side.find_brain
