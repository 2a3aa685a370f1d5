"""What the scripts of preparation do alike: scans from words, and the units they build on from a
rule's inputs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

_FILES, _WORDS = (
    ("image", "labels", "landmarks"),
    ("dataset", "subject", "session", "modality", "group", "orientation"),
)


def scan_from(words: dict[str, str]):
    """The scan that ``scan_fields`` of rules/functions/prepare.smk put into words."""
    from diffeode.datasets.scan import Scan

    files = {key: Path(words[key]) if key in words else None for key in _FILES}
    return Scan(**{key: words.get(key) for key in _WORDS}, **files)


def units_before(inputs: Any, prefix: str = ""):
    """The units among a rule's inputs whose names begin with ``prefix``."""
    from diffeode.prepare.units import Before

    steps = {step: inputs.get(f"{prefix}{step}") for step in ("corrected", "brain", "placed")}
    return Before(**{step: Path(receipt).parent for step, receipt in steps.items() if receipt})
