"""One line on the console for each finished job, with an estimate of the time left."""

from __future__ import annotations

import logging
import time
from pathlib import Path
from typing import Any

from snakemake.logging import logger
from snakemake.settings.enums import Quietness
from snakemake_interface_logger_plugins.common import LogEvent

_NOISE = (
    "Select jobs to execute...",
    "Workflow defines that rule ",
    "Using shell: ",
    "Provided ",
    "Rules claiming more threads",
    "Complete log",
)


def show_one_line_per_job(workflow) -> None:
    """Shorten Snakemake's own messages where the profile asks for a quiet console (``quiet: [..., reason]``)."""
    settings = workflow.output_settings
    if Quietness.REASON not in (settings.quiet or ()) or settings.dryrun or not workflow.is_main_process:
        return
    for handler in logger.handlers:
        if handler.name == "DefaultStreamHandler":
            lines = _OneLinePerJob()
            handler.filters.insert(0, lines)
            handler.formatter.format_progress = lines.progress
            handler.formatter.format_job_error = lines.error


class _OneLinePerJob(logging.Filter):
    """Holds back what announces a job, and says its message again when it has ended."""

    def __init__(self) -> None:
        super().__init__()
        self.started = time.monotonic()
        self.messages: dict[int, str] = {}
        self.finished: list[str] = []

    def filter(self, record: logging.LogRecord) -> bool:
        event = getattr(record, "event", None)
        if event == LogEvent.JOB_INFO:
            self.messages[record.jobid] = record.rule_msg or record.rule_name
        elif event == LogEvent.JOB_FINISHED:
            self.finished.append(self.messages.get(record.job_id, ""))
        held = event in (LogEvent.JOB_INFO, LogEvent.JOB_STARTED, LogEvent.JOB_FINISHED)
        return not (held or _is_noise(record))

    def progress(self, message: dict[str, Any]) -> str:
        """``[12/80, about 3 min left] registering ...``."""
        names, self.finished = "; ".join(self.finished), []
        done, total = message["done"], message["total"]
        left = (time.monotonic() - self.started) / done * (total - done)
        return f"[{done}/{total}{f', about {_duration(left)} left' if done < total else ''}] {names}"

    def error(self, message: dict[str, Any]) -> str:
        """``Failed: aligning ... (log: ...)``, or nothing where the script has said so itself."""
        logs = [Path(log) for log in message["log"]]
        if any(log.is_file() and "Traceback" in log.read_text(errors="replace") for log in logs):
            return ""
        name = self.messages.get(message["jobid"], message["rule_name"])
        return f"Failed: {name}; it was stopped from outside (log: {', '.join(message['log'])})."


def _is_noise(record: logging.LogRecord) -> bool:
    # the script has said in a sentence why it failed; its exit status in the rules' file adds nothing
    is_status = getattr(record, "exception", None) == "RuleException" and "CalledProcessError" in record.getMessage()
    return is_status or record.getMessage().startswith(_NOISE)


def _duration(seconds: float) -> str:
    if seconds < 90:
        return f"{max(1, round(seconds))} s"
    return f"{seconds / 60:.0f} min" if seconds < 5400 else f"{seconds / 3600:.1f} h"
