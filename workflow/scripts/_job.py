"""What every script does alike: its log, its threads, its one sentence on the console, the record
of its files.
"""

from __future__ import annotations

import fcntl
import os
import select
import signal
import sys
import threading
import time
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from diffeode.process.holder import Holder

_LOOKS_EVERY_S = 1.0
_GRACE_S = 10.0

_NOT_SHOWN = {"code", "units", "work"}
"""Parameters that a log does not hold: identities, and long lists of files."""


@contextmanager
def job(snakemake, on_record: bool = True) -> Iterator[Callable[..., None]]:
    """Send all output to the job's log; show one sentence on the console where the job fails.

    Scripts import what they need inside, so that a failing import is logged too and threads are
    limited before any library counts them. Yields a function that writes a sentence on the console;
    its arguments ``what`` and ``log`` name a part of the job and the log of this part.

    What the job made, and from what, is written down. The inputs are looked at before the work
    begins, so that one which is replaced while the job runs counts as changed.

    Where a rule has the resource ``last_attempt`` (0 or 1), a job that fails, or whose inputs
    failed, writes down the failure and ends like any other, so that the rest of the study goes on
    (:mod:`_failed`).

    Args:
        on_record: False for a job that writes down by itself what it makes.
    """
    os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"] = str(snakemake.threads)
    os.environ["OMP_NUM_THREADS"] = str(snakemake.threads)
    from diffeode.process.surroundings import settle

    settle()
    if snakemake.resources.get("gpu", 0):
        from diffeode.process.gpu_slots import take_a_gpu

        take_a_gpu()
    console = os.fdopen(os.dup(2), "w", buffering=1)
    what = f"{snakemake.rule} {' '.join(snakemake.wildcards)}".strip()
    _end_with_the_run()
    _into(snakemake.log[0], lambda sentence: console.write(f"{what}: {sentence}\n"))
    print(what, *_facts(snakemake), sep="\n", flush=True)

    def say(sentence: str, what: str = what, log: str = snakemake.log[0]) -> None:
        console.write(f"{what}: {sentence} (log: {log})\n")

    origin = None
    notes_failures = on_record and snakemake.resources.get("last_attempt", -1) >= 0
    try:
        if notes_failures:
            _end_where_inputs_failed(snakemake)
            _go_on_in_a_child(snakemake)
            _remove_earlier(snakemake)
            _require_scan(snakemake)
        origin = _origin(snakemake) if on_record else None
        yield say
        if on_record:
            _put_on_record(snakemake, origin)
    except Exception as error:
        from diffeode.errors import reason_of

        traceback.print_exc()
        if origin and notes_failures and snakemake.rule == "prepare":
            error = _prepare_without_labels(snakemake, origin, say) or error
        if notes_failures and _is_noted(snakemake, error):
            say(f"failed, and so does all that is made from it: {reason_of(error)}")
            sys.exit(0)
        say(reason_of(error))
        sys.exit(1)


def _end_where_inputs_failed(snakemake) -> None:
    """End this process where a unit that it would read failed; its own then fails for that
    reason.
    """
    from _failed import first_failure, write_failure

    reason = first_failure(snakemake.input)
    if reason is not None:
        print(f"Not begun: {reason}", flush=True)
        write_failure(snakemake, reason)
        sys.exit(0)


def _remove_earlier(snakemake) -> None:
    from _failed import remove_earlier

    remove_earlier(snakemake)


def _require_scan(snakemake) -> None:
    """Raise :class:`InputError` where the job is the first to read a scan, which is a label map."""
    if snakemake.resources.get("looks_at_scan", 0):
        from _recognised import require_scan_of

        require_scan_of(snakemake)


def _prepare_without_labels(
    snakemake, origin: dict[str, Any], say: Callable[..., None]
) -> Exception | None:
    """Prepare a scan of which only the label map or the landmarks cannot be used, and end this
    process; otherwise return why that failed, or None where nothing else was tried.
    """
    from _without_labels import prepare_without, sentence_about

    try:
        left_out = prepare_without(snakemake)
        if left_out:
            _put_on_record(snakemake, origin)
    except Exception as error:
        traceback.print_exc()
        return error
    if left_out:
        say(sentence_about(left_out))
        sys.exit(0)
    return None


def _go_on_in_a_child(snakemake) -> None:
    """Return in a forked process. This one waits for it, also after an interruption, and ends as it
    does.

    Raises:
        KilledError: the child was killed, as systems do when memory runs out, and the job is not
            tried again.
        RegistrationError: the child crashed.
    """
    from diffeode.process.watch import die_with_parent, error_of_death

    parent, child = os.getpid(), os.fork()
    if child == 0:
        die_with_parent(parent)
        return
    try:
        status = os.waitpid(child, 0)[1]
    except KeyboardInterrupt:
        # The terminal interrupted the child, too. It would be killed with this process before it
        # has removed its temporary files and ended the programs that it started.
        os.waitpid(child, 0)
        raise
    code = os.waitstatus_to_exitcode(status)
    ended = -code in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)
    is_tried_again = code == -signal.SIGKILL and not snakemake.resources.last_attempt
    if code >= 0 or ended or is_tried_again:
        sys.exit(code if code >= 0 else 128 - code)
    raise error_of_death(code)


def _is_noted(snakemake, error: Exception) -> bool:
    """Return whether the receipt of a failed unit could be written."""
    from _failed import write_failure

    from diffeode.errors import reason_of

    try:
        write_failure(snakemake, reason_of(error))
    except Exception:
        traceback.print_exc()
        return False
    return True


@contextmanager
def logged_in(
    log: str, heading: str, say: Callable[[str], object], anew: bool = True
) -> Iterator[None]:
    """Send all output of the block to another log, after a heading.

    Args:
        heading: lines about what the log is of.
        say: writes a sentence on the console.
        anew: whether what the log held before is removed.
    """
    Path(log).parent.mkdir(parents=True, exist_ok=True)
    before = [os.dup(stream) for stream in (1, 2)]
    _into(log, say, anew)
    print(heading, flush=True)
    try:
        yield
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        for stream, copy in zip((1, 2), before, strict=True):
            os.dup2(copy, stream)
            os.close(copy)


def _end_with_the_run() -> None:
    """Let this process end when the run ends that it belongs to.

    A run that is killed cannot end its jobs itself, and the next run would write the same files.
    """
    from diffeode.process.holder import RUN, holder_in

    run = holder_in(os.environ.get(RUN, ""))
    if run is not None and run.is_here:
        threading.Thread(target=_wait_and_end, args=(run,), daemon=True).start()


def _wait_and_end(run: Holder) -> None:
    try:
        ended = os.pidfd_open(run.pid)
    except (AttributeError, OSError):  # no Linux, or it has ended already
        ended = None
    while not run.is_gone:
        select.select([ended] if ended is not None else [], [], [], _LOOKS_EVERY_S)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(_GRACE_S)
    os.kill(os.getpid(), signal.SIGKILL)


def _into(log: str, say: Callable[[str], object], anew: bool = True) -> None:
    """Point this process's standard output and error at ``log``, also for libraries that are not
    Python.

    The log is locked as long as this process or one that it started lives, so that no two processes
    do one job at a time: the job of a run that was killed may need a moment to end.
    """
    descriptor = os.open(log, os.O_WRONLY | os.O_CREAT, 0o666)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("another process still does this job; waiting until it ends")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    except OSError:  # some network file systems have no locks
        pass
    if anew:
        os.ftruncate(descriptor, 0)
    os.lseek(descriptor, 0, os.SEEK_END)
    os.dup2(descriptor, 1)
    os.dup2(descriptor, 2)
    os.close(descriptor)


def _facts(snakemake) -> Iterator[str]:
    shown = {n: value for n, value in snakemake.params.items() if n not in _NOT_SHOWN}
    for facts in (snakemake.wildcards, shown, {"threads": snakemake.threads}):
        yield from (f"  {name}: {value}" for name, value in facts.items())


def _origin(snakemake) -> dict[str, Any]:
    """Return what the job's files are made from.

    Files of registrations are the parameter ``units``, for they are outputs of no rule. The input
    ``after`` only says which jobs have to be done before.
    """
    from diffeode.provenance.origin import origin_of
    from diffeode.provenance.upkeep import flat

    after = set(flat(snakemake.input.get("after", [])))
    inputs = [str(file) for file in snakemake.input if str(file) not in after]
    parameters = {name: value for name, value in snakemake.params.items() if name != "units"}
    return origin_of([*inputs, *flat(snakemake.params.get("units", []))], parameters)


def _put_on_record(snakemake, origin: dict[str, Any]) -> None:
    """Write ``origin`` into the receipt of a unit, or into the seals of files that are none."""
    from diffeode.provenance.receipt import RECEIPT, add_origin
    from diffeode.provenance.seals import seal

    files = list(map(Path, snakemake.output))
    receipts = [file for file in files if file.name == RECEIPT]
    for receipt in receipts:
        add_origin(receipt, origin)
    for file in files if not receipts else ():
        seal(file, Path(snakemake.config["results"]), origin)
