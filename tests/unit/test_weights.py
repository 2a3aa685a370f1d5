"""Trained weights are found in order and verified, and every way in which they can be wrong is told
in one sentence.
"""

import hashlib
import os

import pytest
import yaml
from served import entry_of

from diffeode import cli
from diffeode.errors import InputError
from diffeode.weights import catalogue as weights
from diffeode.weights import fetch as weights_download

CONTENT = b"numbers learned by a network"
ENTRY = entry_of(CONTENT, "https://example.org/net.pth")


@pytest.fixture
def places(tmp_path, monkeypatch):
    """A catalogue of one entry, ``net``, and the three folders it may lie in, all empty."""
    catalogue = tmp_path / "catalogue"
    catalogue.mkdir()
    (catalogue / "net.yaml").write_text(yaml.safe_dump(ENTRY))
    monkeypatch.setattr(weights, "_catalogue", lambda: catalogue)
    monkeypatch.setenv(
        "DIFFEODE_WEIGHTS", os.pathsep.join(str(tmp_path / name) for name in ("first", "second"))
    )
    monkeypatch.setenv("DIFFEODE_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    weights.load_weights.cache_clear()
    weights._verify.cache_clear()
    yield tmp_path
    weights.load_weights.cache_clear()


def put(folder, content=CONTENT):
    path = folder / "net" / "net.pth"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    return path


def test_folders_are_searched_in_order(places):
    in_order = ["first", "second", "data/weights", "cache/diffeode/weights"]
    for folder in reversed(in_order):
        path = put(places / folder)
        assert weights.find_weights("net") == path


def test_weights_of_unknown_checksum_are_taken_and_their_checksum_told(places):
    (places / "catalogue" / "net.yaml").write_text(
        yaml.safe_dump(ENTRY | {"sha256": None, "bytes": None})
    )
    path = put(places / "first", b"someone else's numbers")
    assert weights.find_weights("net") == path
    assert weights.checksums(["net"]) == {
        "net": hashlib.sha256(b"someone else's numbers").hexdigest()
    }


def test_absent_weights_are_asked_for(places):
    with pytest.raises(InputError) as refusal:
        weights.find_weights("net")
    message = str(refusal.value)
    for told in (
        "net",
        "a test",
        "https://example.org/net.pth",
        "diffeode weights get net",
        "DIFFEODE_WEIGHTS",
    ):
        assert told in message
    assert str(places / "cache" / "diffeode" / "weights" / "net" / "net.pth") in message


def test_a_wrong_file_is_refused_with_both_checksums(places):
    path = put(places / "first", CONTENT + b"!")
    with pytest.raises(InputError) as refusal:
        weights.find_weights("net")
    for told in (str(path), ENTRY["sha256"], hashlib.sha256(CONTENT + b"!").hexdigest()):
        assert told in str(refusal.value)


def test_the_checksum_is_computed_once(places, monkeypatch):
    put(places / "first")
    calls = []
    true = weights.sha256
    monkeypatch.setattr(weights, "sha256", lambda path: calls.append(path) or true(path))
    assert weights.find_weights("net") == weights.find_weights("net")
    assert len(calls) == 1


def test_an_unknown_name_meets_the_nearest(places):
    with pytest.raises(InputError, match="did you mean 'net'"):
        weights.find_weights("nett")


def test_an_entry_with_a_wrong_key_is_refused(places):
    entry = {**ENTRY, "url": "https://example.org"}
    (places / "catalogue" / "odd.yaml").write_text(yaml.safe_dump(entry))
    with pytest.raises(InputError, match="unknown key 'url'; did you mean 'urls'"):
        weights.load_weights("odd")


@pytest.mark.parametrize("name", weights.weights_names())
def test_every_entry_of_the_catalogue_is_whole(name):
    entry = weights.load_weights(name)
    assert entry.sha256 is None or len(entry.sha256) == 64
    assert entry.bytes is None or entry.bytes > 0
    assert all(url.startswith("https://") for url in entry.urls)
    assert entry.licence
    assert entry.citation


def test_a_folder_of_weights_may_be_named_below_the_user_s_home(monkeypatch, tmp_path):
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("DIFFEODE_WEIGHTS", "~/mine")
    assert weights.weights_folders()[0] == tmp_path / "mine"


def test_the_networks_of_the_preparation_are_what_the_catalogue_says(real_data_root, monkeypatch):
    monkeypatch.delenv("DIFFEODE_WEIGHTS", raising=False)
    monkeypatch.setenv("DIFFEODE_DATA", str(real_data_root))
    for name in ("meshnet-mindgrab", "meshnet-subcortical"):
        path = weights.find_weights(name)
        assert path.stat().st_size == weights.load_weights(name).bytes


@pytest.fixture
def server(monkeypatch):
    """Stands for the network: records what was asked for, and answers with ``CONTENT``."""
    asked = []

    def fetch(urls, to, *, sha256, bytes, progress):
        asked.append((urls, to, sha256, bytes))
        progress(1.0, "all of it")
        to.parent.mkdir(parents=True)
        to.write_bytes(CONTENT)
        return to

    monkeypatch.setattr(weights_download, "fetch", fetch)
    return asked


def test_what_is_absent_is_downloaded_into_the_cache_with_its_checksum(places, server):
    path = weights_download.obtain("net", lambda fraction, message: None)
    expected = places / "cache" / "diffeode" / "weights" / "net" / "net.pth"
    assert path == expected == weights.find_weights("net")
    assert server == [(("https://example.org/net.pth",), expected, ENTRY["sha256"], len(CONTENT))]


def test_what_is_here_is_not_downloaded(places, server):
    path = put(places / "second")
    assert weights_download.obtain("net") == path
    assert server == []


def test_the_command_line_lists_and_gets(places, server, capsys):
    assert cli.main(["weights"]) == 0
    assert "missing" in capsys.readouterr().out
    assert cli.main(["weights", "get", "net"]) == 0
    path = capsys.readouterr().out.strip()
    assert path == str(weights.find_weights("net"))
    assert cli.main(["weights"]) == 0
    listed = capsys.readouterr().out
    for told in ("net", path, "a test", "MIT", "https://example.org/net.pth"):
        assert told in listed


def test_the_command_line_shows_a_wrong_file(places, capsys):
    path = put(places / "first", b"other")
    assert cli.main(["weights"]) == 0
    assert f"wrong checksum: {path}" in capsys.readouterr().out
    assert cli.main(["weights", "get", "net"]) == 2
    assert "expected" in capsys.readouterr().err


def test_the_command_line_refuses_an_unknown_name_before_any_download(places, server, capsys):
    assert cli.main(["weights", "get", "net", "nett"]) == 2
    assert "did you mean 'net'" in capsys.readouterr().err
    assert server == []
