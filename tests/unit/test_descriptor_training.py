"""Training of a descriptor on tiny volumes, from files to weights: what it learns and what it
refuses.
"""

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml

from diffeode import cli
from diffeode.descriptors.learned import make
from diffeode.errors import InputError
from diffeode.learning.descriptor import material
from diffeode.learning.descriptor.contrastive import retrieval
from diffeode.learning.descriptor.lesson import (
    Recipe,
    Specimen,
    described,
    descriptor_lesson,
    validation_views,
)
from diffeode.learning.descriptor.material import lesson_from, read_training
from diffeode.learning.loop import Settings, train

RECIPE = {"crop": 16, "locations": 64, "width": 2, "features": 2, "halving": 0}


def phantom(seed, shape=(24, 22, 20)):
    """Labels (two halves of an ellipsoid) and a textured T1w-like and inverted T2w-like scan."""
    generator = np.random.default_rng(seed)
    axes = np.meshgrid(*(np.linspace(-1, 1, n) for n in shape), indexing="ij")
    labels = np.where(sum(a**2 for a in axes) < 0.9, 1 + (axes[0] > 0), 0)
    noise = np.stack(
        [np.roll(generator.random(shape), s, a) for a in range(3) for s in (0, 1, 2)]
    ).mean(axis=0)
    first = np.where(labels > 0, np.clip(0.3 * labels + noise - 0.3, 0.01, 1), 0)
    return (
        labels,
        first.astype(np.float32),
        np.where(labels > 0, 1.01 - first, 0).astype(np.float32),
    )


def save(path, array):
    path.parent.mkdir(parents=True, exist_ok=True)
    nib.save(nib.Nifti1Image(array.astype(np.float32), np.eye(4)), path)


@pytest.fixture
def data(tmp_path):
    for number in (1, 2, 3):
        labels, first, second = phantom(number)
        for kind, array in (("T1w", first), ("T2w", second), ("dseg", labels)):
            save(tmp_path / f"toy/sub-0{number}/anat/sub-0{number}_{kind}.nii.gz", array)
    save(
        tmp_path / "maps/sub-01/anat/sub-01_dseg.nii.gz",
        np.where(phantom(1)[0] == 2, 511, phantom(1)[0]),
    )
    return tmp_path


def description(data, **changes):
    content = {
        "scans": ["toy/sub-01/anat/*_T[12]w.nii.gz"],
        "labels": ["maps/sub-01/anat/*"],
        "validation": ["toy/sub-02/anat/*_T[12]w.nii.gz"],
        "test": ["toy/sub-03/anat/*"],
        "recipe": RECIPE,
        "settings": {"steps": 6, "interval": 3},
        **changes,
    }
    (data / "training.yaml").write_text(yaml.safe_dump(content))
    return data / "training.yaml"


def test_the_command_trains_weights_that_registration_reads(data, capsys):
    out = data / "out"
    command = [
        "train-descriptor",
        str(description(data)),
        "-o",
        str(out),
        "--data",
        str(data),
        "--threads",
        "1",
    ]
    assert cli.main(command) == 0
    best = capsys.readouterr().out.strip()
    assert make(best)(torch.rand(1, 1, 9, 9, 9)).shape == (1, 24, 9, 9, 9)
    assert {file.name for file in out.glob("*.*")} == {
        "best.safetensors",
        "curves.tsv",
        "curves.png",
    }
    header = (out / "curves.tsv").read_text().splitlines()[0].split("\t")
    assert header[2:] == [
        f"validation_{n}" for n in ("loss", "alignment", "uniformity", "retrieval")
    ]


def test_another_setting_begins_anew_and_the_first_one_is_still_there(data):
    out = data / "out"

    def trained(**settings):
        description(data, settings={"steps": 6, "interval": 3, **settings})
        command = [
            "train-descriptor",
            str(data / "training.yaml"),
            "-o",
            str(out),
            "--data",
            str(data),
        ]
        assert cli.main([*command, "--threads", "1"]) == 0
        return (out / "best.safetensors").read_bytes()

    def ends():
        return {file: file.stat().st_mtime_ns for file in out.glob("*/last.safetensors")}

    first = trained()
    assert trained(learning_rate=0.1) != first
    before = ends()
    assert len(before) == 2
    assert trained() == first
    assert ends() == before


def test_an_interrupted_command_says_how_to_go_on(data, capsys, monkeypatch):
    def interrupted(*arguments):
        raise KeyboardInterrupt

    monkeypatch.setattr(material, "train_by_content", interrupted)
    assert (
        cli.main(
            [
                "train-descriptor",
                str(description(data)),
                "-o",
                str(data / "out"),
                "--data",
                str(data),
            ]
        )
        == 130
    )
    assert (
        capsys.readouterr().err
        == "diffeode: interrupted; the same command goes on from the last checkpoint\n"
    )


def test_the_lesson_knows_its_data_and_drops_what_lies_outside_the_brain(data):
    lesson = lesson_from(read_training(description(data)), data)
    assert set(lesson.data) == {
        "maps/sub-01/anat/sub-01_dseg.nii.gz",
        *(f"toy/sub-01/anat/sub-01_{kind}.nii.gz" for kind in ("T1w", "T2w", "dseg")),
        *(f"toy/sub-02/anat/sub-02_{kind}.nii.gz" for kind in ("T1w", "T2w")),
    }
    specimens = lesson.objective.__self__.specimens
    assert [specimen.image is None for specimen in specimens] == [False, False, True]
    assert set(np.unique(specimens[2].labels)) == {0, 1}
    changed = lesson_from(
        read_training(description(data, scans=["toy/sub-01/anat/*_T1w.nii.gz"])), data
    )
    assert changed.data != lesson.data


def test_training_finds_places_again_in_another_contrast(tmp_path):
    specimens = [Specimen("toy", phantom(n)[1], None) for n in range(3)]
    recipe = Recipe(**{**RECIPE, "width": 4, "features": 4, "inversion": 0.5})
    pair = phantom(9)[1:]
    lesson = descriptor_lesson(specimens, [pair], recipe, {})
    views = list(validation_views(*pair, recipe, [1]))

    def found() -> float:
        with torch.no_grad():
            return float(
                np.mean([retrieval(*described(lesson.network.eval(), view)) for view in views])
            )

    before = found()
    train(
        lesson,
        Settings(steps=80, learning_rate=1e-3, interval=80),
        tmp_path,
        say=lambda message: None,
    )
    assert found() > before + 0.2


def test_views_show_the_same_places_in_two_contrasts():
    labels, first, _ = phantom(0)
    lesson = descriptor_lesson(
        [Specimen("toy", first, labels)], [(first, first)], Recipe(**RECIPE), {}
    )
    for seed in range(8):
        views = lesson.objective.__self__.views(np.random.default_rng(seed))
        assert views.first.shape == views.second.shape == (16, 16, 16)
        assert np.array_equal(views.first > 0, views.second > 0)
        assert (views.first[tuple(views.places.T)] > 0).all()
        assert max(views.first.max(), views.second.max()) <= 1


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"test": ["toy/sub-01/anat/*"]}, "toy/sub-01 would be trained on and tested on"),
        ({"test": ["toy/sub-02/anat/*"]}, "toy/sub-02 would be trained on and tested on"),
        (
            {"validation": ["toy/sub-01/anat/*_T[12]w.nii.gz"]},
            "toy/sub-01 would be trained on and validated on",
        ),
        ({"validation": ["toy/sub-02/anat/*_T1w.nii.gz"]}, "has no second contrast"),
        ({"scans": ["toy/sub-09/*"]}, "fits 'toy/sub-09/"),
        ({"scans": [], "labels": []}, "needs scans or label maps"),
        ({"recipe": {**RECIPE, "crop": 40}}, "less than the crop of 40"),
        (
            {"recipe": {"inversion": 2}},
            "inversion of a descriptor's training is a probability, not 2",
        ),
        (
            {"recipe": {"temprature": 1}},
            "unknown key 'temprature' under recipe; did you mean 'temperature'",
        ),
        ({"settings": {"stps": 4}}, "unknown key 'stps' under settings; did you mean 'steps'"),
        ({"settings": {"steps": "4"}}, "has steps: '4' under settings; give a whole number"),
        ({"recipe": {"crop": 40.5}}, "has crop: 40.5 under recipe; give a whole number"),
        ({"scan": []}, "unknown key 'scan'; did you mean 'scans'"),
        ({"scans": "toy/*"}, "has scans: 'toy/*'; give a list of texts"),
        ({"orientation": 1}, "has orientation: 1; give a text"),
        ({"are_scans": "yes"}, "has are_scans: 'yes'; give true or false"),
        (
            {"experiment": "e", "are_scans": True, "scans": [], "labels": []}
            | {"validation": [], "test": []},
            "has the key 'are_scans' besides",
        ),
    ],
)
def test_a_training_that_cannot_be_is_one_sentence(data, changes, message):
    with pytest.raises(InputError) as error:
        lesson_from(read_training(description(data, **changes)), data)
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("key", ["scans", "validation"])
def test_a_pattern_that_fits_label_maps_is_refused_unless_they_are_scans(data, key):
    """Before, ids were trained on as intensities."""
    person = {"scans": "01", "validation": "02"}[key]
    given = {key: [f"toy/sub-{person}/anat/*"]}
    with pytest.raises(InputError, match=rf"sub-{person}_dseg.* looks like .* by are_scans: true"):
        lesson_from(read_training(description(data, **given)), data)
    lesson_from(read_training(description(data, are_scans=True, **given)), data)


def test_the_command_refuses_a_label_map_and_writes_nothing(data, capsys):
    training = description(data, scans=["toy/sub-01/anat/*"])
    command = ["train-descriptor", str(training), "-o", str(data / "out"), "--data", str(data)]
    assert cli.main(command) == 2
    assert "sub-01_dseg.nii.gz looks like a label map or a mask" in capsys.readouterr().err
    assert not list((data / "out").rglob("*.safetensors"))


def test_a_file_that_fits_two_patterns_counts_once(data, monkeypatch):
    """Before, it was drawn twice as often, and a scan was validated against itself."""
    monkeypatch.setattr(material, "descriptor_lesson", lambda *given: given)
    anat = "toy/sub-0{}/anat/*_T{}w.nii.gz"
    given = {
        key: [anat.format(person, "2"), anat.format(person, "[12]")]
        for key, person in (("scans", 1), ("validation", 2))
    }
    specimens, contrasts, *_ = lesson_from(read_training(description(data, **given)), data)
    assert len(specimens) == 3
    assert [np.array_equal(first, second) for first, second in contrasts] == [False]


def test_one_image_is_no_two_contrasts(data):
    save(data / "toy/sub-02/anat/sub-02_T2w.nii.gz", phantom(2)[1])
    with pytest.raises(InputError, match=r"sub-02_T1w.* and .*sub-02_T2w.* hold the same image"):
        lesson_from(read_training(description(data)), data)


@pytest.mark.parametrize("part", ["test", "validation"])
@pytest.mark.parametrize("link", ["dataset", "person", "scan"])
def test_a_link_hides_nobody_who_is_trained_on(data, part, link):
    """A link hides nobody, under another name of the dataset or of the person."""
    if link == "dataset":
        (data / "renamed").symlink_to(data / "toy")
    elif link == "person":
        (data / "renamed").mkdir()
        (data / "renamed" / "sub-01").symlink_to(data / "toy" / "sub-01")
    else:
        for file in (data / "toy" / "sub-01" / "anat").iterdir():
            renamed = data / "renamed" / "sub-01" / "anat" / file.name
            renamed.parent.mkdir(parents=True, exist_ok=True)
            renamed.symlink_to(file)
    with pytest.raises(InputError, match=f"toy/sub-01 would be trained on and {part[:4]}"):
        lesson_from(
            read_training(description(data, **{part: ["renamed/sub-01/anat/*_T[12]w.nii.gz"]})),
            data,
        )


@pytest.mark.parametrize("value", [0, 0.5, np.nan])
def test_empty_constant_and_broken_scans_are_refused(data, value):
    save(data / "toy/sub-01/anat/sub-01_T1w.nii.gz", np.full((24, 22, 20), value))
    with pytest.raises(InputError) as error:
        lesson_from(read_training(description(data)), data)
    assert "\n" not in str(error.value)
