"""Fixtures that several files of tests share."""

from pathlib import Path

import pytest
from matplotlib.figure import Figure


@pytest.fixture
def drawn(monkeypatch) -> list[Figure]:
    """The figures that are drawn during a test; an empty file is written for each, to save time."""
    figures: list[Figure] = []

    def keep(figure: Figure, path: Path, **options: object) -> None:
        figures.append(figure)
        Path(path).touch()

    monkeypatch.setattr(Figure, "savefig", keep)
    return figures
