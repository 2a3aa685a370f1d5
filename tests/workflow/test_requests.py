"""What jobs ask a cluster for: minutes, memory, and whether an attempt is the last one.

workflow/profiles/README.md says that the second attempt asks for twice as much and the third for
three times. The numbers here were worked out by hand from that page and from the studies below.
"""

import pytest
import yaml
from rich_study import FILES, write_rich_study
from test_profiles import NAMES, settings

pytestmark = pytest.mark.workflow

TAUGHT = """\
title: Taught
fixed: {dataset: cohort, modality: T2w}
moving: {dataset: cohort, modality: T1w}
alignment: affine
pairs: all
seed: 16
"""
MEGABYTES = {
    "cohort": 2000,
    "strip": 8000,
    "correct": 3000,
    "place": 3000,
    "prepare": 3000,
    "segment": 8000,
    "inspect_scan": 3000,
    "align": 3000,
    "train": 6000,
    "register": 6000,
    "longitudinal": 4000,
}


@pytest.fixture(scope="module")
def roomy_plan(copied, tmp_path_factory):
    """The plan of the rich study with up to 20 pairs in a job, without a limit of time but that of
    the run ``brief``, and with a descriptor that is trained on two scans of each of three persons.
    """
    training = yaml.safe_load(FILES["config/descriptors/toys.yaml"])
    taught = {key: training[key] for key in ("recipe", "settings")} | {"experiment": "taught"}
    study = FILES["config/config.yaml"].replace("pairs_per_job: 1\n", "pairs_per_job: 20\n")
    files = {
        "config/config.yaml": study.replace("time_limit_minutes: 0.5\n", ""),
        "config/descriptors/toys.yaml": yaml.safe_dump({**taught, "validation_persons": 1}),
    }
    clone = copied(tmp_path_factory.mktemp("roomy") / "clone")
    write_rich_study(clone)
    clone.write("config/experiments/taught.yaml", TAUGHT)
    for name, text in files.items():
        assert text != FILES[name]
        clone.write(name, text)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("DIFFEODE_DATA", str(clone.path("data")))
        return clone.plan()


def asked(jobs, resource):
    """Return what all ``jobs`` ask for alike, at the first, second and third attempt."""
    (found,) = {tuple(asks[resource] for asks in job.asked) for job in jobs}
    return found


@pytest.mark.parametrize("rule", MEGABYTES)
def test_memory_grows_with_each_attempt(rich_plan, rule):
    once = MEGABYTES[rule]
    assert asked(rich_plan.of(rule), "mem_mb") == (once, 2 * once, 3 * once)


def test_every_rule_that_asks_for_memory_of_its_own_is_looked_at(rich_plan):
    own = {job.rule for job in rich_plan.jobs if "mem_mb" in job.asked[0]}
    assert own == {*MEGABYTES, "descriptor_weights"}


def test_a_registration_may_take_as_long_as_its_limit_and_ten_minutes(rich_plan):
    """The limit of one pair is half a minute, which counts as one, and two minutes for ``brief``
    and for what is swept from it.
    """
    jobs = rich_plan.of("register", experiment="first")
    minutes = {job.wildcards["run"]: asked([job], "runtime") for job in jobs}
    brief = (12, 24, 36)
    assert minutes.pop("brief") == minutes.pop("swept-steps-2-iterations-3") == brief
    assert set(minutes.values()) == {(11, 22, 33)}


def test_a_job_of_several_pairs_may_take_longer(roomy_plan):
    """The first experiment has two pairs and the second one: two hours and half an hour for the
    further pair, or two minutes for each pair and ten.
    """
    pairs = {"first": 2, "second": 1}
    for experiment, number in pairs.items():
        (job,) = roomy_plan.of("register", experiment=experiment, run="learned")
        assert len(job.handed.params.work) == number
        (brief,) = roomy_plan.of("register", experiment=experiment, run="brief")
        (align,) = roomy_plan.of("align", experiment=experiment)
        found = [asked([one], "runtime") for one in (job, brief, align)]
        expected = {"first": (150, 14, 30), "second": (120, 12, 25)}[experiment]
        assert found == [(once, 2 * once, 3 * once) for once in expected]


def test_visits_of_two_persons_may_take_twenty_minutes(rich_plan):
    assert asked(rich_plan.of("longitudinal"), "runtime") == (20, 40, 60)


def test_a_training_of_a_descriptor_asks_for_the_memory_of_its_scans(rich_plan, roomy_plan):
    """It has no prepared scans in the one study and eight in the other, 20 MB each."""
    of_files, of_scans = (plan.of("descriptor_weights") for plan in (rich_plan, roomy_plan))
    assert asked(of_files, "mem_mb") == (4000, 8000, 12000)
    assert asked(of_scans, "mem_mb") == (4160, 8320, 12480)


def test_the_third_attempt_is_the_last_one(rich_plan):
    """Only these rules write a failure down in place of their results, and only then."""
    found = {
        job.rule: asked([job], "last_attempt")
        for job in rich_plan.jobs
        if "last_attempt" in job.asked[0]
    }
    assert set(found.values()) == {(0, 0, 1)}
    scans = {"strip", "correct", "place", "prepare", "segment"}
    assert found.keys() == {*scans, "align", "register", "train", "descriptor_weights"}


def test_jobs_on_which_many_others_wait_start_first(rich_plan):
    """The others start in any order."""
    first = {job.rule for job in rich_plan.jobs if job.priority}
    assert first == {"cohort", "train", "descriptor_weights"}


@pytest.mark.parametrize("name", [name for name in NAMES if "default-resources" in settings(name)])
def test_a_profile_of_a_cluster_lets_all_else_grow_likewise(name):
    """A job has half an hour and a training two days."""
    profile = settings(name)
    assert profile["retries"] == 2
    assert profile["default-resources"] == {"mem_mb": "2000 * attempt", "runtime": "30 * attempt"}
    trainings = [profile["set-resources"][rule] for rule in ("train", "descriptor_weights")]
    assert trainings == [{"runtime": f"{2 * 24 * 60} * attempt"}] * 2
