"""Files are fetched whole, resumed where they broke off, and never left wrong."""

import gzip
import hashlib
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from types import SimpleNamespace

import pytest
from served import serving

from diffeode.errors import InputError
from diffeode.weights import download
from diffeode.weights.download import fetch

CONTENT = bytes(range(256)) * 4096
MD5, SHA256 = hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()
CUT = 300_000
KEPT = CUT // download._CHUNK_BYTES * download._CHUNK_BYTES


@dataclass
class Site:
    """A server of ``CONTENT`` that misbehaves in a given way, and records its requests and the
    bytes that it could send.

    Attributes:
        silent: how many requests it leaves without an answer until the test is over.
        over: whether the test is over.
    """

    ranges: bool = True
    compresses: bool = False
    silent: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    shift: int = 0
    cuts: list[int] = field(default_factory=list)
    statuses: list[int] = field(default_factory=list)
    asked: list[tuple[str, str | None]] = field(default_factory=list)
    sent: list[int] = field(default_factory=list)
    address: str = ""

    def url(self, name: str = "file") -> str:
        return f"{self.address}/{name}"


def handler_of(site: Site) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            wanted = self.headers["Range"]
            site.asked.append((self.path, wanted))
            if site.silent:
                site.silent -= 1
                site.over.wait()
                return
            status = (
                404 if self.path == "/absent" else site.statuses.pop(0) if site.statuses else 200
            )
            if self.path == "/another":
                self.answer(200, b"another file")
            elif status != 200:
                self.answer(status, b"")
            elif site.compresses and "gzip" in self.headers["Accept-Encoding"]:
                self.answer(200, gzip.compress(CONTENT, 1), encoding="gzip")
            elif wanted and site.ranges:
                start = int(wanted.removeprefix("bytes=").removesuffix("-")) + site.shift
                extent = f"bytes */{len(CONTENT)}" if start >= len(CONTENT) else None
                extent = extent or f"bytes {start}-{len(CONTENT) - 1}/{len(CONTENT)}"
                self.answer(416 if start >= len(CONTENT) else 206, CONTENT[start:], extent)
            else:
                self.answer(200, CONTENT)

        def answer(
            self, status: int, body: bytes, extent: str | None = None, encoding: str | None = None
        ) -> None:
            self.send_response(status)
            if encoding:
                self.send_header("Content-Encoding", encoding)
            self.send_header("Content-Length", str(len(body)))
            if extent:
                self.send_header("Content-Range", extent)
            body = body[: site.cuts.pop(0)] if site.cuts and status in (200, 206) else body
            # Before anything is sent: the client may look here at once, and needs only the header
            # of an empty answer.
            site.sent.append(len(body))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *arguments: object) -> None:
            """Log nothing."""

    return Handler


@pytest.fixture
def site() -> Iterator[Site]:
    site = Site()
    with serving(handler_of(site)) as server:
        site.address = f"http://127.0.0.1:{server.server_port}"
        yield site
        site.over.set()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(download, "_FIRST_WAIT_S", 0.0)


def left_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def test_whole(site, tmp_path):
    lines = []
    to = fetch(
        site.url(),
        tmp_path / "new" / "file",
        sha256=SHA256,
        progress=lambda *line: lines.append(line),
    )
    assert to.read_bytes() == CONTENT
    assert left_in(tmp_path / "new") == ["file"]
    assert lines[-1][0] == 1
    assert lines[-1][1].startswith("file: 1.0 MB of 1.0 MB, ")


def test_what_is_there_is_not_asked_for_again(site, tmp_path):
    (tmp_path / "file").write_bytes(CONTENT)
    fetch(site.url(), tmp_path / "file", md5=MD5, sha256=SHA256.upper(), bytes=len(CONTENT))
    assert site.asked == []


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"md5": MD5}, r"file has the md5 .* instead of .*; remove it"),
        ({"bytes": len(CONTENT)}, rf"file has 4 bytes instead of {len(CONTENT)}; remove it"),
    ],
)
def test_a_file_that_was_there_and_differs_stays(site, tmp_path, wanted, sentence):
    (tmp_path / "file").write_bytes(b"mine")
    with pytest.raises(InputError, match=sentence):
        fetch(site.url(), tmp_path / "file", **wanted)
    assert (tmp_path / "file").read_bytes() == b"mine"


def test_a_server_that_compresses_what_it_sends_is_asked_not_to(site, tmp_path):
    """Its sizes and ranges would be those of other bytes."""
    site.compresses, site.cuts = True, [CUT]
    fetch(site.url(), tmp_path / "file", bytes=len(CONTENT))
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_cut_in_the_middle_and_continued(site, tmp_path):
    site.cuts = [CUT]
    fetch(site.url(), tmp_path / "file", md5=MD5)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert site.asked == [("/file", None), ("/file", f"bytes={KEPT}-")]
    assert site.sent == [CUT, len(CONTENT) - KEPT]


def test_continued_by_a_later_call(site, tmp_path, monkeypatch):
    site.cuts = [CUT]
    monkeypatch.setattr(download, "_IDLE_ATTEMPTS", 1)
    site.statuses = [200, 503]
    with pytest.raises(
        InputError,
        match=r"Cannot fetch file: .*/file broke off \(answers 503 Service Unavailable\)",
    ):
        fetch(site.url(), tmp_path / "file", md5=MD5)
    assert left_in(tmp_path) == ["file.part"]
    fetch(site.url(), tmp_path / "file", md5=MD5)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert site.asked[-1] == ("/file", f"bytes={KEPT}-")


def test_a_part_that_was_whole_is_taken(site, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT)
    fetch(site.url(), tmp_path / "file", md5=MD5)
    assert site.sent == [0]
    assert left_in(tmp_path) == ["file"]


def test_a_part_longer_than_the_file_is_dropped(site, tmp_path):
    (tmp_path / "file.part").write_bytes(CONTENT + b"more")
    fetch(site.url(), tmp_path / "file", md5=MD5)
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_server_without_ranges_begins_anew(site, tmp_path):
    site.ranges, site.cuts = False, [CUT]
    fetch(site.url(), tmp_path / "file", sha256=SHA256)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert site.sent == [CUT, len(CONTENT)]


def test_busy_server_is_tried_again(site, tmp_path):
    site.statuses = [503, 429, 500]
    assert fetch(site.url(), tmp_path / "file", bytes=len(CONTENT)).read_bytes() == CONTENT


def test_a_server_that_stays_silent_is_asked_again(site, tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_TIMEOUT_S", 0.2)
    site.silent = 1
    fetch(site.url(), tmp_path / "file", md5=MD5)
    assert (tmp_path / "file").read_bytes() == CONTENT
    site.silent = download._IDLE_ATTEMPTS
    with pytest.raises(InputError, match=r"broke off \(silent for 0 s\)"):
        fetch(site.url(), tmp_path / "other", md5=MD5)


def test_a_server_that_stays_busy_is_given_up_after_longer_and_longer_pauses(
    site, tmp_path, monkeypatch
):
    pauses = []
    monkeypatch.setattr(download, "_FIRST_WAIT_S", 0.5)
    monkeypatch.setattr(download.time, "sleep", pauses.append)
    site.statuses = [503] * 9
    with pytest.raises(InputError, match="answers 503"):
        fetch(site.url(), tmp_path / "file")
    assert len(site.asked) == download._IDLE_ATTEMPTS
    assert pauses == [0.5, 1, 2]
    assert left_in(tmp_path) == []


def test_the_second_address_where_the_first_has_nothing(site, tmp_path):
    fetch([site.url("absent"), site.url()], tmp_path / "file", md5=MD5)
    assert [path for path, _ in site.asked] == ["/absent", "/file"]
    with pytest.raises(
        InputError, match=r"Cannot fetch other: .*/absent answers 404 Not Found; check the address"
    ):
        fetch(site.url("absent"), tmp_path / "other")
    assert left_in(tmp_path) == ["file"]


def test_the_second_address_where_the_first_brings_another_file(site, tmp_path):
    fetch([site.url("another"), site.url()], tmp_path / "file", md5=MD5)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert left_in(tmp_path) == ["file"]


def test_who_waited_for_a_download_that_failed_begins_anew(site, tmp_path, monkeypatch):
    """The other process removes its empty file and gives its lock away, both just before."""
    locked, lock = [], download.fcntl.flock

    def remove_and_lock(handle, how):
        if not locked:
            (tmp_path / "file.part").unlink()
        locked.append(handle)
        lock(handle, how)

    monkeypatch.setattr(download.fcntl, "flock", remove_and_lock)
    fetch(site.url(), tmp_path / "file", md5=MD5)
    assert (tmp_path / "file").read_bytes() == CONTENT
    assert len(locked) == 2


def test_nobody_answers(tmp_path, monkeypatch):
    monkeypatch.setattr(download, "_IDLE_ATTEMPTS", 2)
    with pytest.raises(
        InputError, match=r"Cannot fetch file: http://127\.0\.0\.1:9/file broke off"
    ):
        fetch("http://127.0.0.1:9/file", tmp_path / "file")


def test_an_address_that_is_none(tmp_path):
    with pytest.raises(InputError, match="nowhere/file cannot be asked"):
        fetch("nowhere/file", tmp_path / "file")


@pytest.mark.parametrize(
    ("wanted", "sentence"),
    [
        ({"sha256": "0" * 64}, f"has the sha256 {SHA256} instead of 000.* \\(removed\\)"),
        ({"md5": "0" * 32}, f"has the md5 {MD5} instead of 000.* \\(removed\\)"),
        ({"bytes": 7}, f"has a file of {len(CONTENT)} bytes instead of 7"),
    ],
)
def test_the_wrong_file_is_removed(site, tmp_path, wanted, sentence):
    with pytest.raises(InputError, match=sentence):
        fetch(site.url(), tmp_path / "file", **wanted)
    assert left_in(tmp_path) == []


def test_a_full_disk(site, tmp_path, monkeypatch):
    monkeypatch.setattr(
        download.shutil, "disk_usage", lambda folder: SimpleNamespace(free=1_000_000)
    )
    with pytest.raises(
        InputError, match=r"has 1\.0 MB free, but 1\.0 MB more are needed for file; free the disk"
    ):
        fetch(site.url(), tmp_path / "file")


def test_a_disk_needs_room_for_the_rest_alone(site, tmp_path, monkeypatch):
    (tmp_path / "file.part").write_bytes(CONTENT[:KEPT])
    disk = SimpleNamespace(free=len(CONTENT) - KEPT - 1)
    monkeypatch.setattr(download.shutil, "disk_usage", lambda folder: disk)
    with pytest.raises(InputError, match="free the disk"):
        fetch(site.url(), tmp_path / "file", md5=MD5)
    disk.free += 1
    fetch(site.url(), tmp_path / "file", md5=MD5)
    assert site.sent[-1] == len(CONTENT) - KEPT
    assert (tmp_path / "file").read_bytes() == CONTENT


def test_a_folder_that_cannot_be_made(site, tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match=r"Cannot write .*; free or choose another folder"):
        fetch(site.url(), tmp_path / "file" / "below")


def test_several_at_once_fetch_it_once(site, tmp_path):
    threads = [
        threading.Thread(target=fetch, args=(site.url(), tmp_path / "file")) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(site.asked) == 1
    assert left_in(tmp_path) == ["file"]


@pytest.mark.parametrize("cuts", [[200_000, 100_000], [CUT], range(70_000, len(CONTENT), 70_000)])
def test_a_server_without_ranges_that_always_breaks_off_is_given_up(site, tmp_path, cuts):
    """The server begins anew each time, so by chance more bytes than before are there again and
    again.
    """
    site.ranges, site.cuts = False, list(cuts) * 50
    with pytest.raises(InputError, match="broke off"):
        fetch(site.url(), tmp_path / "file", md5=MD5)
    assert len(site.asked) <= 1 + download._IDLE_ATTEMPTS


def test_a_server_without_ranges_that_recovers_brings_the_file(site, tmp_path):
    site.ranges, site.cuts = False, [CUT, 100_000]
    assert fetch(site.url(), tmp_path / "file", md5=MD5).read_bytes() == CONTENT


def test_a_server_that_drops_and_breaks_in_turn_is_given_up(site, tmp_path):
    """Each answer 416 discards the bytes of the broken answer before it."""
    site.ranges, site.cuts, site.statuses = False, [CUT] * 50, [200, 416] * 50
    with pytest.raises(InputError, match="broke off"):
        fetch(site.url(), tmp_path / "file", md5=MD5)
    assert len(site.asked) <= 2 + download._IDLE_ATTEMPTS


def test_another_range_than_was_asked_for_is_not_appended(site, tmp_path):
    """Without a checksum nothing else would notice."""
    (tmp_path / "file.part").write_bytes(CONTENT[:KEPT])
    site.shift = -1000
    assert fetch(site.url(), tmp_path / "file").read_bytes() == CONTENT
    assert [wanted for _, wanted in site.asked] == [f"bytes={KEPT}-", None]
