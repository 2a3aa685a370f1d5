"""The recipes of containers copy what is there, and do what ``make setup`` does."""

import re
import tomllib
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[2]
DOCKER = (REPOSITORY / "envs" / "Dockerfile").read_text(encoding="utf-8")
APPTAINER = (REPOSITORY / "envs" / "diffeode.def").read_text(encoding="utf-8")


def copied(recipe):
    """Return the files and folders that a recipe takes from the repository."""
    docker = [
        word for line in re.findall(r"^COPY (.+)$", recipe, re.M) for word in line.split()[:-1]
    ]
    return docker or re.findall(r"^    (\S+) /opt/diffeode/", recipe, re.M)


@pytest.mark.parametrize("recipe", [DOCKER, APPTAINER], ids=["docker", "apptainer"])
def test_a_recipe_copies_what_the_installation_reads(recipe):
    names = copied(recipe)
    assert all((REPOSITORY / name).exists() for name in names)
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text(encoding="utf-8"))
    build = project["tool"]["hatch"]["build"]["targets"]["wheel"]
    read = [*build["packages"], *build["force-include"], project["project"]["readme"]]
    read += [*project["project"]["license-files"], "pyproject.toml", "requirements.lock"]
    for path in read:
        assert any(path == name or path.startswith(f"{name}/") for name in names), path


@pytest.mark.parametrize("recipe", [DOCKER, APPTAINER], ids=["docker", "apptainer"])
def test_a_recipe_takes_the_steps_of_the_set_up(recipe):
    makefile = (REPOSITORY / "Makefile").read_text(encoding="utf-8")
    install = "install --quiet --disable-pip-version-check --no-compile"
    assert f"{install} --requirement requirements.lock" in makefile
    assert "python -m diffeode.fused" in makefile
    steps = (
        "--requirement requirements.lock",
        "--no-deps --no-build-isolation .",
        "-m diffeode.fused",
    )
    places = [recipe.index(step) for step in steps]
    assert places == sorted(places)
    version = re.search(r"python:3\.(\d+)-", recipe)
    assert int(version[1]) >= 11


def test_both_recipes_copy_the_same():
    assert sorted(copied(DOCKER)) == sorted(copied(APPTAINER))
