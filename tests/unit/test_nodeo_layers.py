"""The comparison of NODEO's code with our run, layer by layer.

Our own network stands in for the reference, which gives its first convolution the positions along
the last axis first.
"""

import shutil
from pathlib import Path
from types import SimpleNamespace

import nodeo_layers
import pytest
import torch
from _nodeo_layers_page import CHANGES, write_layers_page
from _nodeo_reference import DEFAULTS, registration_of
from _nodeo_watched import State
from _synthetic import synthetic_head
from _tables import Table
from torch import nn

from diffeode.errors import InputError
from diffeode.flows import fields
from diffeode.flows.velocity import zero_velocity
from diffeode.geometry.warp import resize
from diffeode.losses.correlation import local_correlation_to
from diffeode.losses.regularisers import gradient_magnitude, jacobian_barrier
from diffeode.losses.similarity import Warped

RESULTS = Path(__file__).resolve().parents[2] / "benchmarks" / "results"
SIZE = (24, 22, 28)
METHOD = nodeo_layers.NODEO.build()


class LastAxisFirst(nn.Module):
    """Our network, told of the positions in reverse order."""

    def __init__(self, size):
        super().__init__()
        base = zero_velocity(size, torch.zeros(1))
        smoother = METHOD.velocity.smoother((1.0, 1.0, 1.0))
        self.field = METHOD.velocity.field.from_base(base, smoother, METHOD.integrator, still=False)
        self.field.cloud = self.field.cloud.flip(1)

    def forward(self, cloud):
        return self.field()


def stand_in():
    """Return a module like the reference's, made of our own code, and the list of its energies."""
    energies = []
    magnitude = next(term for term in METHOD.penalties if term.name == "magnitude")
    parts = magnitude.weight / DEFAULTS["lambda_v"] * METHOD.integrator.time**2
    module = SimpleNamespace(
        BrainNet=LastAxisFirst,
        NCC=lambda win: lambda warped, fixed: local_correlation_to(fixed, win)(warped),
        smoothloss_loss=gradient_magnitude,
        neg_Jdet_loss=lambda displacement: jacobian_barrier(displacement, 0.5, squared=True),
        magnitude_loss=lambda velocity: parts * METHOD.integrator.mean_square(velocity),
        generate_grid3D_tensor=lambda size: torch.zeros(3, *size),
    )

    def registration(config, device, moving, fixed):
        moving, fixed = (torch.from_numpy(array)[None, None] for array in (moving, fixed))
        network, similarity = module.BrainNet(fixed.shape[2:]), module.NCC(win=config.NCC_win)
        adam = torch.optim.Adam(network.parameters(), lr=config.lr, amsgrad=True)
        for _ in range(config.epoches):
            velocity = network(None)
            displacement = METHOD.integrator(velocity)
            unlike = similarity(Warped(moving, displacement).image, fixed)
            energies.append(unlike.item())
            loss = unlike + config.lambda_df * module.smoothloss_loss(displacement)
            loss = loss + config.lambda_J * module.neg_Jdet_loss(displacement)
            loss = loss + config.lambda_v * module.magnitude_loss(velocity)
            adam.zero_grad()
            loss.backward()
            adam.step()

    module.registration = registration
    return module, energies


@pytest.fixture(scope="module")
def compared():
    """The rows of a comparison with the stand-in, and the stand-in's energies by iteration."""
    module, energies = stand_in()
    case = synthetic_head(SIZE)(None, None)
    return list(nodeo_layers.rows_of(module, case, (0, 3))), energies


def test_the_same_weights_give_the_same_numbers_in_both_networks(compared):
    rows, _ = compared
    unchanged = [row for row in rows if row["change"] == "none"]
    vectors = [row for row in unchanged if row["part"] != "energy"]
    for row in vectors:
        assert row["relative_difference"] < 1e-4, row
        assert row["cosine"] == pytest.approx(1, abs=1e-6)
        assert row["length_ratio"] == pytest.approx(1, abs=1e-4)
    for row in unchanged:
        if row["part"] == "energy":
            assert row["ours"] == pytest.approx(row["reference"], rel=1e-4)
    layers = [*(f"convolution {n}" for n in range(1, 6)), "dense 1", "dense 2"]
    for part in ("output", "gradient"):
        names = [row["name"] for row in vectors if row["part"] == part and row["steps"] == 3]
        assert names == layers


def test_moments_are_those_after_the_numbers_of_steps_that_are_asked_for(compared):
    rows, energies = compared
    assert len(energies) == 4
    found = {
        row["steps"]: row["reference"]
        for row in rows
        if (row["name"], row["change"]) == ("ncc", "none")
    }
    assert found == {0: energies[0], 3: energies[3]}
    assert energies[3] < energies[0]


def test_every_change_but_the_stand_in_s_own_correlation_moves_our_run_away_from_it(compared):
    rows, _ = compared
    first = {
        row["change"]: row["relative_difference"]
        for row in rows
        if (row["steps"], row["part"], row["name"]) == (3, "gradient", "convolution 1")
    }
    assert list(first) == list(CHANGES)
    assert first["interpolation"] > 100 * first["none"]
    assert first["correlation"] == pytest.approx(first["interpolation"], rel=1e-3)
    assert first["adjoint"] != pytest.approx(first["determinant"], rel=1e-3)


def test_a_difference_is_told_from_an_angle_and_a_ratio_of_lengths():
    assert nodeo_layers.compared(torch.tensor([2.0, 0.0]), torch.tensor([3.0, 3.0])) == {
        "relative_difference": pytest.approx(10**0.5 / 2),
        "cosine": pytest.approx(0.5**0.5),
        "length_ratio": pytest.approx(18**0.5 / 2),
    }


def test_gradients_below_epsilon_are_counted_in_the_reference():
    here = torch.zeros(1, 3, 2, 2, 2) + 1
    theirs = State(here, {"ncc": 0.5}, {"dense 1": torch.tensor([1e-9, -1e-7, 1.0, -1.0])})
    ours = State(here, {"ncc": 0.25}, {"dense 1": torch.tensor([1e-9, 1e-9, 1e-9, 1.0])})
    displacement, energy, gradient = nodeo_layers.state_rows(theirs, ours)
    assert displacement["relative_difference"] == 0
    assert (energy["reference"], energy["ours"]) == (0.5, 0.25)
    assert gradient["below_epsilon_percent"] == 25


def test_larger_determinants_are_penalised_as_if_they_were_larger():
    settings = nodeo_layers.settings_with(("determinant",), (3, 5, 9))
    weight, barrier = (settings[f"penalties.jacobian.{name}"] for name in ("weight", "barrier"))
    larger = 3 / 2 * 5 / 4 * 9 / 8
    for determinant in (-0.5, 0.1, 0.2, 0.4):
        expected = DEFAULTS["lambda_J"] * max(0, 0.5 - larger * determinant) ** 2
        assert weight * max(0, barrier - determinant) ** 2 == pytest.approx(expected)
    assert "flow.gradient" not in settings
    assert nodeo_layers.settings_with(CHANGES, (3, 5, 9))["flow.gradient"] == "adjoint"


def test_the_network_is_told_of_moved_voxels_with_first_and_last_axis_exchanged():
    size = torch.tensor([6.0, 5.0, 9.0])
    moved = torch.rand(1, 3, 6, 5, 9)
    told = fields._normalised(nodeo_layers.exchanged(moved))
    for axis, other in ((0, 2), (1, 1), (2, 0)):
        torch.testing.assert_close(told[:, axis], moved[:, other] * 2 / size[other])


def test_interpolation_by_two_goes_step_by_step_to_the_size():
    image = torch.rand(1, 3, 3, 5, 4)
    found = nodeo_layers.resized_by_two(image, (12, 18, 8))
    torch.testing.assert_close(found, resize(resize(image, (6, 10, 8)), (12, 18, 8)))
    assert not torch.allclose(found, resize(image, (12, 18, 8)))
    torch.testing.assert_close(
        nodeo_layers.resized_by_two(image, (2, 3, 2)), resize(image, (2, 3, 2))
    )


def test_another_network_and_a_folder_without_the_code_are_refused(tmp_path):
    with pytest.raises(InputError, match="layers of the checkout's network are not those"):
        nodeo_layers.copy_weights(nn.Sequential(nn.Conv3d(3, 8, 3)), LastAxisFirst(SIZE))
    with pytest.raises(InputError, match=r"is no checkout of NODEO-DIR.*give the folder"):
        registration_of(tmp_path, SIZE)


def test_the_command_writes_table_and_page_and_keeps_no_row_of_an_earlier_call(
    tmp_path, monkeypatch
):
    monkeypatch.setattr(
        nodeo_layers, "compared_case", lambda *folders: synthetic_head(SIZE)(None, None)
    )
    monkeypatch.setattr(nodeo_layers, "registration_of", lambda *given: stand_in()[0])
    monkeypatch.setattr(nodeo_layers, "STEPS", (2,))
    shutil.copy(RESULTS / "nodeo_layers.tsv", tmp_path)
    assert nodeo_layers.main([f"--checkout={tmp_path}", f"--results={tmp_path}"]) == 0
    rows = Table(tmp_path / "nodeo_layers.tsv", nodeo_layers.KEYS).rows
    assert {row["steps"] for row in rows} == {"2"}
    page = (tmp_path / "nodeo_layers.md").read_text(encoding="utf-8")
    assert "| layer | after 2 steps |" in page


# ---------------------------------------------------------------------- the table of the reference


@pytest.fixture(scope="module")
def measured():
    return Table(RESULTS / "nodeo_layers.tsv", nodeo_layers.KEYS).rows


def test_the_page_is_made_from_the_table(measured, tmp_path):
    write_layers_page(measured, tmp_path / "page.md")
    page = (tmp_path / "page.md").read_text(encoding="utf-8")
    assert page == (RESULTS / "nodeo_layers.md").read_text(encoding="utf-8")


def test_the_changes_on_the_page_explain_the_whole_difference_after_30_steps(measured):
    last = [row for row in measured if row["steps"] == "30" and row["part"] != "energy"]
    for row in last:
        if row["part"] == "output" or row["change"] == CHANGES[-1]:
            assert float(row["relative_difference"]) < 1e-4, row
    assert any(float(row["relative_difference"]) > 0.1 for row in last if row["change"] == "none")
