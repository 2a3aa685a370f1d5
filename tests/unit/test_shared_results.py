"""Studies of one folder of results share prepared scans, networks and registrations by their names.

Where two of them make one of these differently, each finds the other's stale and makes it again,
for ever.
"""

from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path

import pytest

from diffeode.files.checked_yaml import read_mapping
from diffeode.study.files import parts_of_study

pytestmark = pytest.mark.slow

REPOSITORY = Path(__file__).resolve().parents[2]
STUDIES = sorted([*(REPOSITORY / "config").glob("*.yaml"), *REPOSITORY.glob("config/small/*.yaml")])


def shared(study: Path) -> Iterator[tuple[tuple[str, ...], dict]]:
    """Yield the place of everything that a study writes for others too (its folder of results, its
    kind and its names), and what of that a study's file can choose it is made from.
    """
    content = read_mapping(study)
    results, seed = content["results"], content["seed"]
    fields, given = content.get("fields", "float32"), content.get("train_on")
    datasets, runs = parts_of_study(study, REPOSITORY)
    for dataset in datasets:
        of_dataset = ("root", "orientation", "recipe", "cohort", "labels")
        chosen = {name: getattr(dataset, name) for name in of_dataset}
        yield (results, "prepared", dataset.name), {"seed": seed, **chosen}
    for experiment in content["experiments"]:
        train_on = given[experiment] if isinstance(given, dict) else given
        for run in runs:
            made = {"seed": seed, "method": run.method, "parameters": run.parameters}
            network = train_on if run.is_trained_first else None
            registered = {**made, "fields": fields, "network": network}
            yield (results, "registrations", experiment, run.name), registered
            if network:
                yield (results, "networks", network, run.name), made


@pytest.fixture(scope="module")
def makers() -> dict[tuple[str, ...], list[tuple[str, dict]]]:
    """The studies that write to each place, and from what each would make it."""
    found = defaultdict(list)
    for study in STUDIES:
        for place, made in shared(study):
            found[place].append((str(study.relative_to(REPOSITORY)), made))
    return dict(found)


@pytest.mark.parametrize("kind", ["prepared", "networks", "registrations"])
def test_studies_that_share_results_make_them_alike(makers, kind):
    of_kind = {place: found for place, found in makers.items() if place[1] == kind}
    conflicts = {
        place: found
        for place, found in of_kind.items()
        if any(made != found[0][1] for _, made in found)
    }
    assert of_kind
    assert not conflicts


def test_every_kind_of_study_is_looked_at(makers):
    """The reduced studies and the full ones share scans and registrations among themselves."""
    writers = [{study for study, _ in found} for found in makers.values()]
    of_newborns = {f"config/small/{name}.yaml" for name in ("paper", "descriptors", "newborns")}
    assert of_newborns in writers
    assert {"config/nodeo.yaml", "config/nodeo-ablation.yaml"} in writers
    assert set().union(*writers) == {str(study.relative_to(REPOSITORY)) for study in STUDIES}
