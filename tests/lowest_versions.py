"""Print the lowest version that ``pyproject.toml`` allows of each package, a requirement a line:
``make test-lowest``.

torch is the exception: a version other than that of ``requirements.lock`` takes gigabytes on most
platforms, so its declared minimum is not tried.
"""

import re
import tomllib
from pathlib import Path

REPOSITORY = Path(__file__).resolve().parents[1]
_LOWEST = re.compile(r"(?P<name>[\w.-]+)(?P<extras>\[.*\])?>=(?P<version>[\d.]+)(,<[\d.]+)?")


def lowest_versions(repository: Path = REPOSITORY) -> list[str]:
    """Return ``name[extras]==version`` for each of the dependencies and of the extra ``dev``.

    Raises:
        ValueError: a package is asked for without a lowest version.
    """
    project = tomllib.loads((repository / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    wanted = project["dependencies"] + project["optional-dependencies"]["dev"]
    return [_lowest(requirement, repository) for requirement in wanted]


def _lowest(requirement: str, repository: Path) -> str:
    found = _LOWEST.fullmatch(requirement)
    if found is None:
        raise ValueError(
            f"pyproject.toml asks for {requirement!r}; say from which version on: name>=version"
        )
    if found["name"] == "torch":
        lock = (repository / "requirements.lock").read_text(encoding="utf-8").splitlines()
        return next(line for line in lock if line.startswith("torch=="))
    return f"{found['name']}{found['extras'] or ''}=={found['version']}"


if __name__ == "__main__":
    print(*lowest_versions(), sep="\n")
