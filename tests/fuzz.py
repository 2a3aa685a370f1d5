"""Break files at random, and see that every reader answers rightly or refuses in a sentence.

    python tests/fuzz.py [--seconds 60] [--seed 0] [--kind NIfTI] [--keep FOLDER]

A reader never crashes, hangs, takes memory without bound, prints, or raises another error than
InputError. The same seed breaks the same files. The exit code is 1 where a reader failed; the files
that made it fail are kept in the folder of --keep, and their names tell kind and number.
"""

from __future__ import annotations

import argparse
import faulthandler
import gzip
import logging
import math
import os
import random
import re
import resource
import signal
import struct
import sys
import tempfile
import time
import traceback
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing import Pipe
from multiprocessing.connection import Connection
from pathlib import Path

from fuzzed import KINDS, REFUSAL, InputError, Kind

_LONGEST_S = 10.0
"""The longest time of a reader, seconds of the processor, so that a busy machine makes no fault."""
_PATIENCE_S = 120.0
_LARGEST_GROWTH_KIB = 400 * 1024
_ROOM_BYTES = 4 * 1024**3
_NUMBERS = {
    "h": (0, 1, -1, 2, 7, 32767, -32768, 255),
    "i": (0, 1, -1, 2**31 - 1, -(2**31), 65536, 32),
    "I": (0, 1, 2**32 - 1, 0x0031696E, 0x00322B6E),
    "f": (0.0, -0.0, 1.0, -1.0, 1e38, -1e38, 1e-38, float("nan"), float("inf"), -float("inf")),
    "B": (0, 1, 2, 3, 7, 255),
}
_TOKENS = (
    *("", " ", "\0", "\t", "\n", "\r", '"', "'", "#", ",", ";", "\ufeff", "é", "\u202e", "\udcff"),
    *("nan", "inf", "-inf", "1e999", "-1", "0", "9" * 30, "9" * 5000, "0x1F", "1_000", "1e5"),
    *("true", "null", "~", "None", "{}", "[]", "[[[[", "[" * 3000, "{" * 3000, '{"a":' * 3000),
    *("&a", "*a", "&a [*a]", "<<: *t", "!!int ''", "!!float ''", "!!bool x", "!!timestamp x"),
    *("!!python/object/apply:os.system ['true']", "!!binary x", "!!set {a}", "!!omap [a]", "? :"),
    *("2001-99-99", "12:30:45", "=", "<<", "|", ">", "%", "@", "`", "---", "...", "\x85", "\u2028"),
    *("../../x", "/etc/passwd", "$(x)", "`x`", "{x}", "${HOME}", "${", "-x", "x" * 5000),
)


# ---------------------------------------------------------------------------------------- mutations


def broken(content: bytes, kind: Kind, draw: random.Random) -> bytes:
    """Return ``content`` with one to three faults."""
    if kind.inside:
        return gzip.compress(broken_plainly(gzip.decompress(content), kind, draw), 1)
    return broken_plainly(content, kind, draw)


def broken_plainly(content: bytes, kind: Kind, draw: random.Random) -> bytes:
    faults = [flip, truncate, insert, remove, overwrite, repeat]
    faults += [set_a_field] * 6 if kind.fields else []
    faults += [put_a_token, put_a_token, replace_a_word, replace_a_word, swap_lines] * bool(
        kind.is_text
    )
    for _ in range(draw.choice((1, 1, 1, 2, 3))):
        content = draw.choice(faults)(content, kind, draw)
    return content


def flip(content: bytes, kind: Kind, draw: random.Random) -> bytes:
    changed = bytearray(content)
    for _ in range(draw.choice((1, 1, 2, 8)) if content else 0):
        changed[draw.randrange(len(changed))] ^= 1 << draw.randrange(8)
    return bytes(changed)


def truncate(content: bytes, kind: Kind, draw: random.Random) -> bytes:
    return content[: draw.randrange(len(content) + 1)]


def insert(content: bytes, kind: Kind, draw: random.Random) -> bytes:
    place = draw.choice((draw.randrange(len(content) + 1), len(content), 0))
    return content[:place] + draw.randbytes(draw.choice((1, 2, 16, 700))) + content[place:]


def remove(content: bytes, kind: Kind, draw: random.Random) -> bytes:
    place = draw.randrange(len(content) + 1)
    return content[:place] + content[place + draw.choice((1, 2, 16, 400)) :]


def overwrite(content: bytes, kind: Kind, draw: random.Random) -> bytes:
    place, count = draw.randrange(len(content) + 1), draw.choice((1, 2, 4, 8, 64))
    filling = bytes([draw.choice((0, 255, 127, 128, 32))]) * count
    return content[:place] + filling + content[place + count :]


def repeat(content: bytes, kind: Kind, draw: random.Random) -> bytes:
    place = draw.randrange(len(content) + 1)
    return content + content[place:]


def set_a_field(content: bytes, kind: Kind, draw: random.Random) -> bytes:
    place, form = draw.choice(kind.fields)
    number = struct.pack(form, draw.choice(_NUMBERS[form[-1]]))
    return content[:place] + number + content[place + len(number) :]


def put_a_token(content: bytes, kind: Kind, draw: random.Random) -> bytes:
    place = draw.randrange(len(content) + 1)
    return content[:place] + _token(draw) + content[place:]


def replace_a_word(content: bytes, kind: Kind, draw: random.Random) -> bytes:
    words = _words(content)
    if not words:
        return _token(draw)
    first, end = draw.choice(words)
    return content[:first] + _token(draw) + content[end:]


def swap_lines(content: bytes, kind: Kind, draw: random.Random) -> bytes:
    lines = content.split(b"\n")
    one, other = draw.randrange(len(lines)), draw.randrange(len(lines))
    lines[one], lines[other] = lines[other], lines[one]
    if draw.random() < 0.3:
        lines.insert(one, lines[other])
    return b"\n".join(lines)


def _token(draw: random.Random) -> bytes:
    return draw.choice(_TOKENS).encode("utf-8", "surrogateescape")


def _words(content: bytes) -> list[tuple[int, int]]:
    return [match.span() for match in re.finditer(rb"[\w.+-]+", content)]


# ------------------------------------------------------------------------------------------ judging


@dataclass(frozen=True)
class Fault:
    """A broken file that a reader failed at."""

    kind: str
    number: int
    what: str


class Hang(BaseException):
    """A reader took too long."""


def case(kind: Kind, whole: bytes, seed: int, name: str, number: int) -> bytes:
    """Return the content of a broken file; number 0 is the whole file."""
    draw = random.Random(f"{seed} {name} {number}")
    return broken(whole, kind, draw) if number else whole


def judge(kind: Kind, path: Path) -> str | None:
    """Return what is wrong with what the reader of ``kind`` makes of ``path``; None where nothing
    is.
    """
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    try:
        with _within(_LONGEST_S), warnings.catch_warnings():
            warnings.simplefilter("error")
            answer = kind.read(path)
    except InputError as error:
        wrong = None if REFUSAL.fullmatch(str(error)) else f"no sentence: {str(error)[:300]!r}"
    except Hang:
        return f"it took longer than {_LONGEST_S:.0f} s"
    except BaseException as error:
        last = traceback.extract_tb(error.__traceback__)[-1]
        told = str(error)[:200]
        return f"{type(error).__name__} at {last.filename.rpartition('/')[2]}:{last.lineno}: {told}"
    else:
        wrong = _judged(kind, path, answer)
    grown = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    return f"it took {grown // 1024} MiB" if grown > _LARGEST_GROWTH_KIB else wrong


def _judged(kind: Kind, path: Path, answer: object) -> str | None:
    logging.disable()
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return None if kind.is_right(path, answer) else f"read wrongly: {answer!r:.300}"
    except Exception as error:
        return f"read, though nobody else can: {type(error).__name__} {error!s:.200}"
    finally:
        logging.disable(logging.NOTSET)


@contextmanager
def _within(seconds: float) -> Iterator[None]:
    def stop(*_: object) -> None:
        raise Hang

    signal.signal(signal.SIGPROF, stop)
    signal.setitimer(signal.ITIMER_PROF, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_PROF, 0)


# ---------------------------------------------------------------------------------------- the child


def _work(name: str, seed: int, first: int, end: End, told: Connection, folder: Path) -> None:
    """Judge broken files of a kind one after the other; send the number of each file before it is
    judged, and what is wrong afterwards.
    """
    used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + _ROOM_BYTES,) * 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    faulthandler.disable()  # pytest has enabled it; the parent says that this process crashed
    said = (folder / "said").open("w+b")
    os.dup2(said.fileno(), 1)
    os.dup2(said.fileno(), 2)
    kind = KINDS[name]
    path = folder / kind.name
    kind.make(path)
    whole, number = path.read_bytes(), first
    while not end.is_after(number):
        told.send((number, None))
        path.write_bytes(case(kind, whole, seed, name, number))
        wrong = judge(kind, path)
        if os.lseek(said.fileno(), 0, os.SEEK_END):
            said.seek(0)
            wrong = wrong or f"it printed {said.read()[:200]!r}"
            said.seek(0)
            said.truncate()
        told.send((number, wrong or ""))
        number += 1
    os._exit(0)


@dataclass(frozen=True)
class End:
    """When the fuzz of a kind ends.

    Attributes:
        files: after so many files.
        until: at this time of the monotonic clock, but not before the first file.
    """

    files: float = math.inf
    until: float = math.inf

    def is_after(self, number: int) -> bool:
        """Return whether the file of this number is not judged any more."""
        return number >= self.files or (number > 0 and time.monotonic() >= self.until)


def fuzz(name: str, seed: int, end: End, keep: Path | None = None) -> tuple[int, list[Fault]]:
    """Break files of the kind ``name``; return how many, and the faults."""
    faults: list[Fault] = []
    number = 0
    while not end.is_after(number):
        number, fault = _until_it_dies(name, seed, number, end)
        if fault:
            faults.append(fault)
        if fault and keep:
            _keep(keep, fault, seed)
    return number, faults


def fuzz_once(name: str, seed: int, number: int) -> Fault | None:
    """Return what is wrong with what the reader makes of one file; None where nothing is."""
    return _until_it_dies(name, seed, number, End(files=number + 1))[1]


def _until_it_dies(name: str, seed: int, first: int, end: End) -> tuple[int, Fault | None]:
    """Return the number of the next file, and the fault at which the work ended, if any."""
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        number, wrong = _last_of_a_child(name, seed, first, end, Path(folder))
    return number + 1, Fault(name, number, wrong) if wrong else None


def _last_of_a_child(name: str, seed: int, first: int, end: End, folder: Path) -> tuple[int, str]:
    """Return the number of the last file that a child judges, and what is wrong, if anything."""
    here, there = Pipe(duplex=False)
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        try:
            _work(name, seed, first, end, there, folder)
        finally:
            os._exit(3)
    there.close()
    number, wrong = first, ""
    try:
        while not wrong:
            if not here.poll(_PATIENCE_S):
                wrong = "it hangs and cannot be interrupted"
                break
            begun, found = here.recv()
            number, wrong = begun, found or ""
    except EOFError:
        pass
    finally:
        here.close()
        if wrong:
            os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    code = os.waitstatus_to_exitcode(status)
    return number, wrong or (f"the process ended with {code}" if code else "")


def _keep(keep: Path, fault: Fault, seed: int) -> None:
    """Write the broken file of a fault, which the child may have written over since."""
    keep.mkdir(parents=True, exist_ok=True)
    kind = KINDS[fault.kind]
    file = keep / f"{fault.kind.replace(' ', '-')}-{seed}-{fault.number}-{kind.name}"
    kind.make(file)
    file.write_bytes(case(kind, file.read_bytes(), seed, fault.kind, fault.number))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--seconds", type=float, default=60, help="for all kinds together (60)")
    parser.add_argument("--seed", type=int, default=0, help="the same seed breaks the same files")
    parser.add_argument("--kind", choices=KINDS, help="only this kind of file")
    parser.add_argument("--keep", type=Path, help="folder for the files that made a reader fail")
    options = parser.parse_args()
    names = [options.kind] if options.kind else list(KINDS)
    failed = total = 0
    for name in names:
        end = End(until=time.monotonic() + options.seconds / len(names))
        count, faults = fuzz(name, options.seed, end, options.keep)
        failed, total = failed + len(faults), total + count
        print(f"{name}: {count} files, {len(faults)} faults", flush=True)
        for what, numbers in _gathered(faults).items():
            print(f"  {len(numbers)} x {what} (numbers {', '.join(map(str, numbers[:5]))})")
    print(f"{total} files, {failed} faults (seed {options.seed})")
    return 1 if failed else 0


def _gathered(faults: list[Fault]) -> dict[str, list[int]]:
    by_what: dict[str, list[int]] = {}
    for fault in faults:
        by_what.setdefault(fault.what[:160], []).append(fault.number)
    return by_what


if __name__ == "__main__":
    sys.exit(main())
