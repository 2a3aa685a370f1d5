"""Tell where and when something was measured."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime
from importlib import metadata
from pathlib import Path


def provenance() -> dict[str, str]:
    """Return the columns of a row that say where it comes from: processor, cores, torch and day."""
    return {
        "machine": f"{_processor()}, {os.cpu_count()} cores",
        "torch": metadata.version("torch"),
        "date": datetime.now(UTC).date().isoformat(),
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
    except OSError:
        return platform.processor() or platform.machine()
    names = (line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    return next(names, platform.machine())
