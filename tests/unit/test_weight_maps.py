"""What can be a map of weights, and that a scan, a mask or a label map in its place is refused
before anything is registered.
"""

from pathlib import Path

import numpy as np
import pytest
from ours import neural_ode
from phantoms import template_brain

from diffeode.cli import main
from diffeode.errors import InputError
from diffeode.files import io
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.methods.neural_ode.guided import STIFFNESS
from diffeode.registration import registry
from diffeode.registration.runs import Run, load_run, obstacles
from diffeode.registration.weight_maps import LARGEST_WEIGHT, require_weight_map

REPOSITORY = Path(__file__).resolve().parents[2]
GRID = Grid((10, 10, 10), np.diag([8.0, 8.0, 8.0, 1.0]))
PLACES = np.arange(1000).reshape(GRID.shape)


def written(path: Path, values: np.ndarray) -> str:
    io.write_image(path, Image(values.astype(np.float32), GRID))
    return str(path)


def of(path) -> object:
    return neural_ode({"weight_map": str(path)})


PLAUSIBLE = {
    "one everywhere": np.ones(GRID.shape),
    "a bone held as --stiff would": np.where(PLACES < 40, STIFFNESS, 1),
    "no penalty in half of the box": (PLACES < 500).astype(float),
    "between whole numbers": 0.1 + PLACES / 1000,
    "sixteen whole numbers": 1.0 + PLACES % 16,
}
IMPLAUSIBLE = {
    "beyond the largest": (np.where(PLACES < 40, 100.5, 1), "it reaches 100.5"),
    "a scan of 8 bits": (PLACES % 256, "it reaches 255"),
    "nothing": (np.zeros(GRID.shape), "100 % of its values are 0"),
    "a mask": (PLACES < 499, "50 % of its values are 0"),
    "a label map": (1 + PLACES % 17, "holds 17 different whole numbers"),
    "a negative weight": (np.where(PLACES < 40, -1, 1), "must be finite and not negative"),
    "a weight that is none": (np.where(PLACES < 40, np.nan, 1), "must be finite and not negative"),
}


@pytest.mark.parametrize("what", PLAUSIBLE)
def test_weights_are_taken(tmp_path, what):
    require_weight_map(of(written(tmp_path / "map.nii.gz", PLAUSIBLE[what])))


@pytest.mark.parametrize("what", IMPLAUSIBLE)
def test_what_is_no_map_of_weights_is_refused(tmp_path, what):
    values, sentence = IMPLAUSIBLE[what]
    path = written(tmp_path / "map.nii.gz", values)
    with pytest.raises(InputError, match=r"map\.nii\.gz is (not a|no) map of weights") as refusal:
        require_weight_map(of(path))
    assert sentence in str(refusal.value)


def test_a_brain_is_no_map_of_weights(tmp_path):
    """Neither with the values of a scanner nor as scans are prepared, in [0, 1]."""
    brain = template_brain()
    for scale in (1, 1000):
        io.write_image(tmp_path / "brain.nii.gz", Image(brain.data * scale, brain.grid))
        with pytest.raises(InputError, match="no map of weights"):
            require_weight_map(of(tmp_path / "brain.nii.gz"))


def test_the_map_that_comes_with_the_studies_is_taken():
    (path,) = (REPOSITORY / "config" / "weight-maps").glob("*.nii.gz")
    require_weight_map(of(path))
    assert LARGEST_WEIGHT >= STIFFNESS


def test_methods_without_such_a_map_pass():
    require_weight_map(neural_ode())
    require_weight_map(registry.make_method("identity", {}))


def test_a_study_and_a_list_of_runs_say_so_before_any_job(tmp_path):
    path = written(tmp_path / "scan.nii.gz", PLACES % 256)
    node = load_run("node")
    (sentence,) = obstacles([Run("mine", node.method, "Mine", {"weight_map": path})])
    assert sentence.startswith(f"Run mine cannot work here: {path} is no map of weights")
    path = written(tmp_path / "map.nii.gz", PLAUSIBLE["one everywhere"])
    assert obstacles([Run("mine", node.method, "Mine", {"weight_map": path})]) == []


def test_register_refuses_it_in_one_sentence(tmp_path, capsys):
    scan = written(tmp_path / "scan.nii.gz", 100 + PLACES)
    out = tmp_path / "out"
    given = ["--method", "node", "--set", f"weight_map={scan}"]
    assert main(["register", scan, scan, "-o", str(out), *given]) == 2
    said = capsys.readouterr().err
    assert said == (
        f"diffeode: {scan} is no map of weights: it reaches 1099, as scans do, and weights end at "
        "100; give 1 where the penalties count as they are, and less or more elsewhere.\n"
    )
    assert not out.exists()
