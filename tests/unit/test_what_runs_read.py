"""Every file that a run or a step of preparation reads besides its scans is part of its
identity.
"""

import pytest

from diffeode.errors import InputError
from diffeode.prepare.needs import weights_read
from diffeode.registration.registry import make_method, method_class, method_names
from diffeode.weights import catalogue as weights

TRAINED = [name for name in method_names() if method_class(name).trained]


@pytest.mark.parametrize("name", TRAINED)
def test_weights_that_are_replaced_are_another_identity(name, tmp_path):
    file = tmp_path / "weights.safetensors"
    file.write_bytes(b"one")
    method = make_method(name, {"weights": str(file)})
    before = method.reads()
    file.write_bytes(b"two")
    assert method.reads() != before


@pytest.mark.parametrize("name", TRAINED)
def test_weights_that_are_not_there_are_refused(name, tmp_path):
    with pytest.raises(InputError, match=r"has no weights at .*gone"):
        make_method(name, {"weights": str(tmp_path / "gone")}).reads()


@pytest.mark.parametrize("name", TRAINED)
def test_a_run_that_is_trained_first_reads_nothing_yet(name):
    assert make_method(name, {}).reads() == {}


@pytest.mark.parametrize(("step", "choice"), [("brain", "mindgrab"), ("labels", "meshnet")])
def test_a_step_with_a_network_is_known_by_its_weights(step, choice):
    (name,) = weights_read(step, choice)
    assert weights_read(step, choice) == {name: weights.load_weights(name).sha256}


@pytest.mark.parametrize(
    ("step", "choice"), [("brain", "nonzero"), ("brain", "synthstrip"), ("labels", "given")]
)
def test_a_step_without_a_network_reads_no_weights(step, choice):
    assert weights_read(step, choice) == {}
