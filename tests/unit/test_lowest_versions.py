"""What `make test-lowest` installs."""

import re

import pytest
from lowest_versions import REPOSITORY, lowest_versions


def test_every_dependency_has_a_lowest_version_not_above_the_pinned_one():
    lines = (REPOSITORY / "requirements.lock").read_text(encoding="utf-8").splitlines()
    pinned = {
        normal(name): version for name, _, version in (line.partition("==") for line in lines)
    }
    lowest = lowest_versions()
    assert len(lowest) > 25
    for requirement in lowest:
        name, _, version = requirement.partition("==")
        assert numbers(version) <= numbers(pinned[normal(re.sub(r"\[.*", "", name))]), requirement


def test_a_dependency_without_a_lowest_version_is_refused(tmp_path):
    (tmp_path / "pyproject.toml").write_text(
        '[project]\ndependencies = ["numpy"]\n[project.optional-dependencies]\ndev = []\n'
    )
    with pytest.raises(ValueError, match="asks for 'numpy'; say from which version on"):
        lowest_versions(tmp_path)


def normal(name: str) -> str:
    return re.sub(r"[-_.]+", "-", name).lower()


def numbers(version: str) -> tuple[int, ...]:
    return tuple(int(part) for part in version.split("."))
