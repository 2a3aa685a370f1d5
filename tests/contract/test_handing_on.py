"""What a user sets arrives in its own place and unit: in command lines, calls, seeds, threads,
devices and limits.

Every value here differs from every other and from its default, so that exchanged values are
noticed. Whether a parameter changes the result at all is tested in test_every_parameter_counts.py.
"""

import contextlib
import dataclasses
import json
import os
import random
import subprocess
import sys
import time
import types
from pathlib import Path

import numba
import numpy as np
import pytest
import standins
import torch
from computed import (
    FIXED,
    GRID,
    MOVING,
    PAIR,
    Place,
    Vision,
    another_contrast,
    by_multigradicon,
    by_training,
    planned,
    texture,
)
from learned import LEARNED, SMALL, moving_all_by
from ours import levels, neural_ode

from diffeode.descriptors.registry import make_descriptor
from diffeode.desk import inputs as desk_inputs
from diffeode.desk import registration as desk_registration
from diffeode.desk import training as desk_training
from diffeode.errors import InputError, RegistrationError, ToolError
from diffeode.files import io
from diffeode.flows.cloud import CloudFlow
from diffeode.flows.integrate import Flow, runge_kutta
from diffeode.flows.operator import inverse_operator, operator
from diffeode.flows.smoothing import box, gaussian
from diffeode.flows.solvers import TABLEAUS
from diffeode.flows.velocity import still_border
from diffeode.geometry.image import Image
from diffeode.geometry.space import Grid
from diffeode.geometry.transform import Affine, DisplacementField
from diffeode.learning import loop
from diffeode.learning import method_training as training
from diffeode.learning.method_training import train, train_to_folder
from diffeode.losses import similarity
from diffeode.losses.correlation import local_correlation_to
from diffeode.losses.gradient_fields import normalised_gradient_fields_to
from diffeode.losses.mutual_information import local_mutual_information_to, mutual_information_to
from diffeode.losses.regularisers import bending_energy, gradient_magnitude, jacobian_determinant
from diffeode.losses.similarity import Warped, descriptor_similarity
from diffeode.losses.squared_difference import squared_difference_to
from diffeode.methods import dinoreg
from diffeode.methods.convexadam import ConvexAdam
from diffeode.methods.neural_ode import motion
from diffeode.networks import dinov2
from diffeode.optimise.loop import Descent, Minimum
from diffeode.optimise.pyramid import reduce
from diffeode.prepare import affine as affine_alignment
from diffeode.prepare import place as placing
from diffeode.prepare.affine import affine_registration, rigid_registration
from diffeode.prepare.pair import align_pair, write_aligned_pair
from diffeode.prepare.step_tool import Resources
from diffeode.prepare.steps.mri_normalize import normalise
from diffeode.prepare.steps.nu_correct import nu_correct
from diffeode.prepare.steps.synthseg import synthseg_labels
from diffeode.prepare.steps.synthstrip import synthstrip_mask
from diffeode.prepare.template import align_through_t1w, align_to_template, chosen_template
from diffeode.prepare.together import Aligned, Side
from diffeode.process import watch
from diffeode.programs import ants_bridge
from diffeode.programs.ants_bridge import load_ants
from diffeode.provenance.receipt import read_receipt, write_receipt
from diffeode.registration.base import Machine, Method, Needs, Registration
from diffeode.registration.harness import Task, measured, register, register_to_folder
from diffeode.registration.registry import make_method, method_class, method_names
from diffeode.registration.runs import Run

MACHINE = Machine(threads=3, seed=12)
CUBE = Grid((24, 24, 24), np.diag([4.0, 4, 4, 1]) - np.array([[0, 0, 0, 46]] * 3 + [[0] * 4]))


def test_all_a_machine_has_is_asked_for_here():
    """``progress`` is tested with each method."""
    fields = {field.name for field in dataclasses.fields(Machine)}
    assert fields == {"threads", "seed", "device", "progress"}


class ReachedError(Exception):
    """The point that the test waits for was reached."""


def reached(*_, **__):
    raise ReachedError


@pytest.fixture
def devices_everywhere(monkeypatch):
    """Let every device count as one that is here."""
    for name, module in list(sys.modules.items()):
        if name.startswith(("diffeode.methods.", "diffeode.learning.")) and hasattr(
            module, "require_device"
        ):
            monkeypatch.setattr(module, "require_device", lambda device: None)


# ----------------------------------------------------------------------------------------- programs


@dataclasses.dataclass
class Programs:
    """Stand-ins for programs, which record how they are called."""

    folder: Path
    patch: pytest.MonkeyPatch

    def called(self, work, **programs) -> list[list[str]]:
        """Return the command lines that ``work`` makes, without folders; check that all have the
        machine's threads and none has input.

        Args:
            programs: by name, the options behind which each program writes a file, and what; the
                last one fails.
        """
        names = [name.replace("__", ".") for name in programs]
        for name, writes in zip(names, programs.values(), strict=True):
            into = standins.recorder(self.folder, name, writes, 7 if name == names[-1] else 0)
        with pytest.raises(ToolError, match="exit status 7"):
            work()
        calls = [json.loads(line) for line in into.read_text(encoding="utf-8").splitlines()]
        assert [(threads, read) for _, threads, read in calls] == [("3", "")] * len(calls)
        return [[Path(word).name for word in command] for command, _, _ in calls]


@pytest.fixture
def programs(tmp_path, monkeypatch):
    standins.only_these(monkeypatch, tmp_path / "bin")
    (tmp_path / "license.txt").write_text("someone", encoding="utf-8")
    monkeypatch.setenv("FS_LICENSE", str(tmp_path / "license.txt"))
    return Programs(tmp_path / "bin", monkeypatch)


def options_of(command: list[str]) -> dict[str, str]:
    """Return the values by option of a command line; every option has one, except NiftyReg's
    flags.
    """
    rest, found = list(command[1:]), {}
    while rest:
        option = rest.pop(0)
        found[option] = rest.pop(0) if rest and not rest[0].startswith("-") else ""
    return found


def test_niftyreg_is_called_as_it_is_set(programs):
    own = {
        "spacing_mm": 7.5,
        "bending_weight": 0.03,
        "linear_weight": 0.2,
        "levels": 2,
        "iterations": 33,
    }
    method = make_method("niftyreg", own)
    f3d, transform = programs.called(
        lambda: method.register(PAIR, MACHINE), reg_f3d=("-cpp", "-res"), reg_transform=()
    )
    assert f3d[0] == "reg_f3d"
    assert options_of(f3d) == {
        **{
            "-ref": "fixed.nii.gz",
            "-flo": "moving.nii.gz",
            "-cpp": "splines.nii.gz",
            "-res": "warped.nii.gz",
        },
        **{"-sx": "7.500000", "-be": "0.030000", "-le": "0.200000", "-ln": "2", "-maxit": "33"},
        **{"--nmi": "", "-pad": "0.000000", "-omp": "3"},
    }
    expected = "reg_transform -ref fixed.nii.gz -disp splines.nii.gz displacement.nii.gz -omp 3"
    assert sorted(transform) == sorted(expected.split())
    assert transform[transform.index("-disp") + 1 :][:2] == [
        "splines.nii.gz",
        "displacement.nii.gz",
    ]


def test_deedsbcv_is_called_as_it_is_set(programs):
    own = {
        "grid_spacing": [8, 7, 6, 5, 3],
        "search_radius": [7, 6, 4, 3, 2],
        "quantisation": [6, 5, 3, 2, 1],
    }
    method = make_method("deedsbcv", {"alpha": 2.3, **own})
    (command,) = programs.called(lambda: method.register(PAIR, MACHINE), deedsBCV=())
    assert command[0] == "deedsBCV"
    assert options_of(command) == {
        **{"-F": "fixed.nii.gz", "-M": "moving.nii.gz", "-O": "out", "-a": "2.3"},
        **{"-G": "8x7x6x5x3", "-L": "7x6x4x3x2", "-Q": "6x5x3x2x1"},
    }


@pytest.mark.usefixtures("devices_everywhere")
@pytest.mark.parametrize("device", ["cpu", "cuda"])
def test_synthmorph_is_called_as_it_is_set(programs, device):
    machine = dataclasses.replace(MACHINE, device=device)
    method = make_method("synthmorph", {"weight": 0.3, "extent": 192})
    (command,) = programs.called(lambda: method.register(PAIR, machine), mri_synthmorph=())
    assert command[-2:] == ["moving.nii.gz", "fixed.nii.gz"]
    assert options_of(command[:-2]) == {
        **{"-m": "deform", "-t": "forward.nii.gz", "-T": "inverse.nii.gz"},
        **{"-r": "0.3", "-e": "192", "-j": "3"},
        **({"-g": ""} if device == "cuda" else {}),
    }


RESOURCES = Resources(threads=3)
FREESURFER = {
    "mri_nu_correct__mni": (
        lambda: nu_correct(FIXED, None, "T1w", RESOURCES),
        {
            "--i": "scan.nii.gz",
            "--o": "result.nii.gz",
            "--n": "1",
            "--proto-iters": "1000",
            "--distance": "50",
        }
        | {"--no-rescale": "", "--cm": ""},
    ),
    "mri_normalize": (
        lambda: normalise(FIXED, PAIR.fixed_mask, "T1w", RESOURCES),
        {"-g": "1", "-seed": "1234", "-mprage": "", "-noconform": "", "-mask": "mask.nii.gz"},
    ),
    "mri_synthstrip": (
        lambda: synthstrip_mask(FIXED, "a scan", RESOURCES),
        {"-i": "scan.nii.gz", "-m": "result.nii.gz"},
    ),
    "mri_synthseg": (
        lambda: synthseg_labels(FIXED, "a scan", RESOURCES),
        {
            "--i": "scan.nii.gz",
            "--o": "result.nii.gz",
            "--keepgeom": "",
            "--threads": "3",
            "--cpu": "",
        },
    ),
}


@pytest.mark.parametrize("name", FREESURFER)
def test_freesurfers_steps_are_called_as_they_are_set(name, programs):
    work, expected = FREESURFER[name]
    (command,) = programs.called(work, **{name: ()})
    if name == "mri_normalize":
        assert command[-2:] == ["scan.nii.gz", "result.nii.gz"]
        command = command[:-2]
    assert options_of(command) == expected


PROGRAMS = {
    "niftyreg": {"reg_f3d": ("-cpp",), "reg_transform": ()},
    "deedsbcv": {"deedsBCV": ()},
    "synthmorph": {"mri_synthmorph": ()},
}


@pytest.mark.parametrize(
    "name", [name for name in method_names() if method_class(name).needs.executables]
)
def test_every_program_gets_the_threads_of_the_machine(name, programs):
    assert programs.called(lambda: make_method(name, {}).register(PAIR, MACHINE), **PROGRAMS[name])


# --------------------------------------------------------------------------------------------- ANTs


@pytest.fixture
def asked_of_ants(monkeypatch):
    """Record the arguments of each call of ``antsRegistration``, and its threads; it returns the
    identity at once.
    """
    ants, calls = load_ants(1), []
    # ITK keeps the number of threads that its first filter finds, also for later tests
    ants.smooth_image(ants.from_numpy(np.ones((8, 8, 8), np.float32)), 1.0)
    monkeypatch.setenv("ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS", "1")
    # as in a process that has not used ANTs; else a new process would ask, which records nothing
    monkeypatch.setattr(ants_bridge, "_threads", None)
    monkeypatch.setattr(affine_alignment, "keeps_other_threads", lambda threads: False)

    def registration(arguments):
        words = [str(word) for word in arguments]
        calls.append((words, os.environ["ITK_GLOBAL_DEFAULT_NUMBER_OF_THREADS"]))
        prefix = words[words.index("--output") + 1].strip("[]").split(",")[0]
        if any(word.startswith("SyN") for word in words):
            for name in ("1Warp.nii.gz", "1InverseWarp.nii.gz"):
                io.write_displacement(
                    Path(prefix + name), DisplacementField(np.zeros((*GRID.shape, 3)), GRID)
                )
        ants.write_transform(ants.new_ants_transform(), f"{prefix}0GenericAffine.mat")
        return 0

    module = sys.modules["ants.registration.registration"]
    original = module.get_lib_fn
    fake = {"antsRegistration": registration}
    monkeypatch.setattr(module, "get_lib_fn", lambda name: fake.get(name) or original(name))
    return calls


def words_of(call, option):
    words, _ = call
    return [words[place + 1] for place, word in enumerate(words) if word == option]


def test_syn_is_called_as_it_is_set(asked_of_ants):
    own = {
        "iterations": [9, 4],
        "bins": 17,
        "gradient_step": 0.37,
        "flow_sigma": 2.5,
        "total_sigma": 0.75,
    }
    make_method("ants-syn", own).register(PAIR, MACHINE)
    (call,) = asked_of_ants
    assert words_of(call, "--transform") == ["SyN[0.370000,2.500000,0.750000]"]
    (metric,) = words_of(call, "--metric")
    assert metric.startswith("mattes[")
    assert metric.endswith(",1,17]")
    assert words_of(call, "--convergence")[0].startswith("[9x4,")


def a_folder_of(tmp_path, name, image):
    """A prepared scan."""
    io.write_image(tmp_path / name / "image.nii.gz", image)
    write_receipt(tmp_path / name, ["image.nii.gz"], {"scan": name})
    return tmp_path / name


def a_template(tmp_path):
    io.write_image(tmp_path / "template_T1w.nii.gz", Image(texture(0, CUBE.shape), CUBE))
    return chosen_template({"t1w": str(tmp_path / "template_T1w.nii.gz")})


TASK = Task(FIXED, MOVING, MOVING, Affine())
TO_ANTS = {
    "affine": lambda folder, m: make_method("affine", {}).register(PAIR, m),
    "affine by the harness": lambda folder, m: register(make_method("affine", {}), TASK, m),
    "ants-syn": lambda folder, m: make_method("ants-syn", {}).register(PAIR, m),
    "affine_registration": lambda folder, m: affine_registration(FIXED, MOVING, m.threads, m.seed),
    "with a start": lambda folder, m: affine_registration(
        FIXED, MOVING, m.threads, m.seed, Affine()
    ),
    "rigid_registration": lambda folder, m: rigid_registration(FIXED, MOVING, m.threads, m.seed),
    "align_pair": lambda folder, m: align_pair(
        FIXED, MOVING, "affine", "resample", m.threads, m.seed
    ),
    "write_aligned_pair": lambda folder, m: write_aligned_pair(
        *(a_folder_of(folder, name, image) for name, image in (("one", FIXED), ("other", MOVING))),
        folder / "pair",
        "affine",
        "resample",
        m.threads,
        m.seed,
    ),
    "align_to_template": lambda folder, m: align_to_template(
        Image(texture(1, CUBE.shape), CUBE), a_template(folder), "T1w", "a scan", m.threads, m.seed
    ),
    "align_through_t1w": lambda folder, m: align_through_t1w(
        FIXED, FIXED, a_template(folder), "T2w", Affine(), "a scan", m.threads, m.seed
    ),
}


@pytest.mark.parametrize("name", TO_ANTS)
def test_seed_and_threads_reach_ants_in_every_call(name, asked_of_ants, tmp_path):
    """``random_seed 0`` means the clock to ANTs; our seed 0 is its 1."""
    for machine, seed in ((MACHINE, "12"), (dataclasses.replace(MACHINE, seed=0), "1")):
        asked_of_ants.clear()
        with contextlib.suppress(
            InputError
        ):  # the identity, which is returned here, need not fit the template
            TO_ANTS[name](tmp_path, machine)
        assert asked_of_ants
        for call in asked_of_ants:
            assert words_of(call, "--random-seed") == [seed]
            assert call[1] == "3"


def test_the_alignment_to_a_template_asks_ants_again_with_the_same_seed(asked_of_ants, tmp_path):
    with contextlib.suppress(InputError):
        TO_ANTS["align_to_template"](tmp_path, MACHINE)
    assert len(asked_of_ants) > 5, "rotations were tried"


def test_an_affine_is_found_from_the_seed():
    """ANTs uses random samples, so its affine depends on the seed."""
    first, again, other = (
        make_method("affine", {}).register(PAIR, Machine(seed=s)).forward.matrix for s in (1, 1, 2)
    )
    np.testing.assert_array_equal(first, again)
    assert not np.array_equal(first, other)


@pytest.mark.parametrize("through", ["t1w", "nothing"])
def test_placing_a_scan_hands_scans_modality_threads_and_seed_on(through, monkeypatch, tmp_path):
    calls, written = [], []
    for name in ("align_to_template", "align_through_t1w"):
        monkeypatch.setattr(
            placing, name, lambda *given, name=name: calls.append((name, given)) or Affine()
        )
    template = types.SimpleNamespace(name="mine", grid=GRID)
    monkeypatch.setattr(placing, "chosen_template", lambda wanted: template)
    monkeypatch.setattr(placing, "about", lambda scan, what, choice, programs: choice)
    monkeypatch.setattr(
        placing, "write_placement", lambda folder, placement, about: written.append(about)
    )
    to_t1w = Affine()
    units = types.SimpleNamespace(stripped=lambda scan: FIXED)
    its_units = types.SimpleNamespace(
        stripped=lambda scan: MOVING, placement=lambda: types.SimpleNamespace(to_scan=to_t1w)
    )
    scan = types.SimpleNamespace(image="scan", modality="T2w", id="scan")
    other = (types.SimpleNamespace(id="its-t1w"), its_units) if through == "t1w" else None
    placing.place(scan, "mine", units, other, tmp_path, 3, 12)
    asked = {
        "nothing": ("align_to_template", (FIXED, template, "T2w", "scan", 3, 12)),
        "t1w": ("align_through_t1w", (FIXED, MOVING, template, "T2w", to_t1w, "scan", 3, 12)),
    }
    assert calls == [asked[through]]
    assert written == [
        {"template": "mine", "through": "its-t1w" if through == "t1w" else None, "seed": 12}
    ]


# -------------------------------------------------------------------------------------------- desks


@pytest.mark.parametrize("start", ["affine", "rigid", "identity", Affine()], ids=str)
def test_a_registration_at_a_desk_hands_start_masks_and_machine_on(start, monkeypatch, tmp_path):
    calls, prepared = [], []
    counts = FIXED.data > 0.5
    sides = iter((Side(FIXED), Side(MOVING)))

    def side(*given):
        prepared.append(given)
        return next(sides)

    monkeypatch.setattr(desk_registration, "prepared_side", side)
    monkeypatch.setattr(
        desk_registration,
        "align_sides",
        lambda *given: calls.append(given) or Aligned(MOVING, Affine(), counts),
    )
    monkeypatch.setattr(
        desk_registration, "register", lambda *given: calls.append(given) or reached()
    )
    given = desk_inputs.Inputs(FIXED, MOVING, "one", "other", fixed_mask="none", moving_mask=counts)
    run = Run("mine", "neural-ode", "Mine", {"flow": {"steps": 3}})
    with pytest.raises(RegistrationError):
        desk_registration.register_at_desk(run, given, tmp_path, MACHINE, start, {})
    (one, other, asked_start, *rest), (method, task, machine) = calls
    assert (one.image, other.image, asked_start, rest) == (FIXED, MOVING, start, [3, 12])
    assert prepared == [(FIXED, "one", "none"), (MOVING, "other", counts)]
    assert (method, machine) == (run.build(), MACHINE)
    assert (task.fixed, task.moving, task.moving_scan, task.counts) == (
        *(FIXED, MOVING, MOVING),
        counts,
    )


def test_a_training_at_a_desk_hands_spacing_alignment_and_machine_on(monkeypatch, tmp_path):
    prepared, aligned, trained = [], [], []

    def train_to_folder(*given):
        trained.append(given)
        for name in ("prepared", "pairs"):
            (tmp_path / name).mkdir()

    monkeypatch.setattr(
        desk_training, "prepare_scan", lambda scan, *_, **named: prepared.append(named)
    )
    monkeypatch.setattr(
        desk_training, "write_aligned_pair", lambda *given: aligned.append(given[3:])
    )
    monkeypatch.setattr(desk_training, "train_to_folder", train_to_folder)
    persons = desk_training.persons_of_files(
        [Path(p) for p in "abcd"], [Path(p) for p in "efgh"], [], []
    )
    run = Run("mine", "voxelmorph", "Mine", {"steps": 5})
    desk_training.train_at_desk(run, persons, tmp_path, MACHINE, "none", 1.7, are_scans=True)
    assert prepared == [{"spacing_mm": 1.7, "seed": 12}] * 8
    assert aligned == [("none", "resample", 3, 12)] * 12
    ((asked, pairs, folder, machine, provenance),) = trained
    assert (asked, len(pairs), folder, machine) == (run, 12, tmp_path, MACHINE)
    assert provenance == {"alignment": "none", "spacing_mm": 1.7}


# ----------------------------------------------------------------------------------------- packages


@pytest.mark.usefixtures("devices_everywhere")
def test_convexadam_is_called_as_it_is_set(monkeypatch):
    from convexAdam import convex_adam_MIND as package

    own = {
        "mind_r": 3,
        "mind_d": 4,
        "lambda_weight": 0.7,
        "grid_sp": 5,
        "disp_hw": 6,
        "selected_niter": 11,
    }
    own |= {"selected_smooth": 9, "grid_sp_adam": 1}
    seen = {}

    def convex_adam_pt(fixed, moving, **given):
        seen.update(given, images=(fixed, moving))
        return np.zeros((*GRID.shape, 3))

    monkeypatch.setattr(package, "convex_adam_pt", convex_adam_pt)
    ConvexAdam(**own).register(PAIR, Machine(device="cuda:2"))
    fixed, moving = seen.pop("images")
    assert fixed is FIXED.data
    assert moving is MOVING.data
    assert seen == {**own, "dtype": torch.float32, "device": torch.device("cuda:2")}


def test_greedy_is_called_as_it_is_set(monkeypatch):
    import picsl_greedy

    own = {
        "metric": "NCC",
        "radius": 7,
        "iterations": [9, 4, 2],
        "gradient_sigma": 2.5,
        "warp_sigma": 0.75,
    }
    seen = []
    monkeypatch.setattr(
        picsl_greedy.Greedy3D,
        "execute",
        lambda tool, command, **given: seen.append((command, given)) or reached(),
    )
    with pytest.raises(ReachedError):
        make_method("greedy", own).register(PAIR, MACHINE)
    ((command, given),) = seen
    assert command == (
        "-d 3 -V 0 -wp 0 -threads 3 -i fixed moving -m NCC 7x7x7 -noise 0 -n 9x4x2 -s 2.5vox "
        "0.75vox -o forward -oinv inverse"
    )
    import SimpleITK

    for name, image in (("fixed", FIXED), ("moving", MOVING)):
        np.testing.assert_array_equal(SimpleITK.GetArrayFromImage(given[name]).T, image.data)
    assert (given["forward"], given["inverse"]) == (None, None)


@pytest.mark.usefixtures("devices_everywhere")
def test_multigradicon_is_called_as_it_is_set(tmp_path, monkeypatch):
    own = {
        "weights_name": "unigradicon",
        "io_iterations": 3,
        "io_sim": "lncc2",
        "io_lr": 3e-5,
        "size": 96,
    }
    machine = Machine(threads=3, seed=12, device="cuda:0")
    asked = by_multigradicon(Place(tmp_path, monkeypatch), own, machine)
    assert asked.pop("weights") == len("unigradicon")
    assert asked.pop("images") == (MOVING.data.sum(), FIXED.data.sum())
    assert asked == {
        **{"shape": [1, 1, 96, 96, 96], "last_step": True, "similarity": "similarity lncc2"},
        **{"finetune_steps": 3, "learning_rate": 3e-5, "trace": 3, "device": "cuda:0", "seed": 12},
    }


def test_dinoreg_asks_for_what_it_is_set_to(monkeypatch):
    own = {
        "lambda_weight": 0.7,
        "grid_sp": 5,
        "disp_hw": 6,
        "selected_niter": 11,
        "grid_sp_adam": 1,
    }
    method = make_method(
        "dinoreg",
        {"weights_name": "dinov2-vitl14", "every": 2, "patch": 3.0, "components": 5, **own},
    )
    seen, original = {}, dinov2.shared_components
    monkeypatch.setattr(dinoreg, "find_weights", Path)
    monkeypatch.setattr(
        dinoreg, "load_dinov2", lambda path: seen.update(weights=path) or Vision(path)
    )

    def shared_components(features, brains, count):
        seen.update(slices=[f.shape[0] for f in features], count=count)
        return original(features, brains, count)

    def patch_features(network, volume, slicing, progress):
        seen.update(slicing=slicing)
        return dinov2_patch_features(network, volume, slicing, progress)

    dinov2_patch_features = dinov2.patch_features
    monkeypatch.setattr(dinov2, "shared_components", shared_components)
    monkeypatch.setattr(dinov2, "patch_features", patch_features)
    monkeypatch.setattr(
        ConvexAdam, "register", lambda *given: seen.update(solver=given[0], machine=given[2])
    )
    method.register(PAIR, MACHINE)
    assert seen["weights"] == Path("dinov2-vitl14")
    assert seen["slicing"] == dinov2.Slicing(every=2, patch=3.0)
    assert seen["count"] == 5
    assert seen["solver"] == ConvexAdam(**own)
    assert seen["machine"] is MACHINE


# --------------------------------------------------------------------------------------------- ours

SPACING = (1.0, 1.2, 0.9)
DESCENT = {"learning_rate": 0.07, "schedule": "constant", "damping": 0.02, "tolerance": 0.4}
ONCE = levels((1.0,), (1,))


@pytest.fixture
def descents(monkeypatch):
    """Record what each level of a registration of ours is to minimise; nothing is moved."""
    calls = []

    def minimise(field, objective, iterations, descent, report):
        calls.append(
            types.SimpleNamespace(
                field=field, objective=objective, iterations=iterations, descent=descent
            )
        )
        return Minimum(field().detach(), 1.0)

    monkeypatch.setattr(motion, "minimise", minimise)
    return calls


def test_levels_iterations_and_the_descent_arrive(descents):
    velocity = {"velocity.spacing": 1.5, "velocity.knots": 2}
    method = neural_ode(
        levels((2.0, 1.0), (5, 3)), velocity, {"flow.solver": "rk4", "descent": DESCENT}
    )
    method.register(PAIR, Machine())
    assert [call.iterations for call in descents] == [5, 3]
    assert [call.descent for call in descents] == [Descent(0.07, "constant", 0.02, 0.4)] * 2
    finest_mm = min(SPACING)
    for call, level in zip(descents, (2.0, 1.0), strict=True):
        wanted_mm = finest_mm * level * 1.5
        size = [round(n * mm / wanted_mm) for n, mm in zip(GRID.shape, SPACING, strict=True)]
        assert call.field.base.shape == (2, 3, *size)


SMOOTHERS = {
    "gaussian": ({"width": 0.9}, lambda f, widths: gaussian(f, [0.9 * w for w in widths])),
    "box": ({"width": 3}, lambda f, widths: box(f, 3)),
    "operator": (
        {"alpha": 0.007, "power": 1.5, "boundary": "periodic"},
        lambda f, widths: inverse_operator(f, 0.007, 1.5, "periodic"),
    ),
}


@pytest.mark.parametrize("border", ["free", "fixed"])
@pytest.mark.parametrize("kind", SMOOTHERS)
def test_the_velocity_is_smoothed_as_it_is_set(kind, border, descents):
    """The Gaussian has one width in mm along every axis; the setting counts voxels of the finest
    axis.
    """
    own, expected = SMOOTHERS[kind]
    velocity = {"velocity.kernel": {kind: own}, "velocity.border": border}
    neural_ode(velocity, ONCE).register(PAIR, Machine())
    (call,) = descents
    size = call.field.base.shape[2:]
    spacing = [mm * n / m for mm, n, m in zip(SPACING, GRID.shape, size, strict=True)]
    field = torch.rand(1, 3, *size, generator=torch.Generator().manual_seed(0))
    smooth = expected(field, [min(spacing) / mm for mm in spacing])
    torch.testing.assert_close(
        call.field.smoother(field), still_border(smooth) if border == "fixed" else smooth
    )


@pytest.mark.parametrize("reductions", [0, 2])
def test_the_network_is_halved_as_often_as_it_is_set(reductions, descents):
    method = neural_ode({"velocity.field.network.reductions": reductions}, ONCE)
    method.register(PAIR, Machine())
    size = descents[0].field.base.shape[2:]
    assert descents[0].field.reduced == tuple(-(-n // 2**reductions) for n in size)


def test_the_flow_is_as_it_is_set():
    flow = {"solver": "heun", "steps": 3, "step_size": 0.7, "gradient": "adjoint"}
    method = neural_ode({"flow": flow, "velocity.border": "fixed"})
    assert method.integrator == Flow("heun", 3, 0.7, "adjoint", fixed_border=True)
    of_cloud = neural_ode({"flow": flow, "velocity": {"border": "fixed", "field": "network"}})
    assert of_cloud.integrator == CloudFlow("heun", 3, 0.7, "adjoint", fixed_border=True)
    assert neural_ode({"flow.solver": "heun"}).integrator == Flow(
        "heun", 4, 0.25, "exact", fixed_border=False
    )


@pytest.mark.parametrize("wanted", [True, False])
def test_a_gpu_is_told_whether_to_be_deterministic(wanted, monkeypatch, descents):
    seen = []
    monkeypatch.setattr(
        motion, "deterministic", lambda *given: seen.append(given) or contextlib.nullcontext(None)
    )
    neural_ode({"deterministic": wanted}).register(PAIR, Machine())
    assert seen == [(torch.device("cpu"), wanted)]


WEIGHTS = {
    **{
        "mind": 0.11,
        "lmi": 0.13,
        "mi": 0.17,
        "ngf": 0.23,
        "ncc": 0.29,
        "ssd": 0.31,
        "descriptor": 0.37,
    },
    **{"gradient": 0.41, "bending": 0.43, "jacobian": 0.47, "magnitude": 0.53, "operator": 0.59},
}
SETTINGS = {
    "similarity": {
        "mind": {"weight": 0.11, "radius": 2, "dilation": 1},
        "local_mutual_information": {"weight": 0.13, "patch": 4, "bins": 11},
        "mutual_information": {"weight": 0.17, "bins": 12},
        "gradient_fields": {"weight": 0.23, "eta": 0.6},
        "local_correlation": {"weight": 0.29, "window": 7},
        "squared_difference": {"weight": 0.31},
        "descriptor": {"weight": 0.37, "kind": "gradient"},
    },
    "penalties": {
        "gradient": {"weight": 0.41},
        "bending": {"weight": 0.43},
        "jacobian": {"weight": 0.47, "barrier": 0.9},
        "magnitude": {"weight": 0.53},
        "operator": {"weight": 0.59, "alpha": 0.007, "power": 1.5, "boundary": "periodic"},
    },
    "velocity.kernel": {"gaussian": {"width": 0.9}},
    "flow": {"solver": "heun", "steps": 3, "step_size": 0.7},
    "levels": {"factors": [1.0], "iterations": [1]},
    "diffeomorphic": "penalised",
}
_WARPED = {"similarity.mind.moving": "warped", "similarity.descriptor.moving": "warped"}
VARIANTS = {
    "as it is": {},
    "squared barrier": {"penalties.jacobian.squared": True},
    "unsquared correlation": {"similarity.local_correlation.squared": False},
    "normalised information": {"similarity.mutual_information.normalised": True},
    "plain MIND": {"similarity.mind.form": "mind"},
    "descriptors warped": _WARPED,
    "plain MIND, warped": {"similarity.mind.form": "mind", **_WARPED},
    "masked": {"masked": True},
    "to time 1": {"flow.solver": "exponential", "flow.steps": 5},
}


def expected_terms(variant, fixed, moving, mask, weights, spacing, velocity):
    """Return the terms by their definitions, with parameters from SETTINGS and VARIANTS and not
    from the method.
    """
    differs = VARIANTS[variant]
    spacing = list(spacing)
    size = velocity.shape[2:]
    coarse = [mm * n / m for mm, n, m in zip(spacing, fixed.shape[2:], size, strict=True)]
    if "flow.solver" in differs:
        time, displacement = 1.0, Flow("exponential", 5)(velocity)
    else:
        time, displacement = 3 * 0.7, runge_kutta(velocity, TABLEAUS["heun"], 3, 0.7)
    warped = Warped(moving, displacement)
    image, source = warped.image, moving if "similarity.mind.moving" in differs else None
    describe = similarity.mind if "similarity.mind.form" in differs else similarity.mind_ssc
    squared = "similarity.local_correlation.squared" not in differs
    normalised = "similarity.mutual_information.normalised" in differs
    short = torch.relu(0.9 - jacobian_determinant(displacement))
    terms = {
        "mind": descriptor_similarity(
            lambda i: describe(i, radius=2, dilation=1), fixed, source, mask
        )(warped),
        "lmi": local_mutual_information_to(fixed, patch=4, bins=11, mask=mask)(image),
        "mi": mutual_information_to(fixed, bins=12, normalised=normalised, mask=mask)(image),
        "ngf": normalised_gradient_fields_to(fixed, eta=0.6, spacing=spacing, mask=mask)(image),
        "ncc": local_correlation_to(fixed, window=7, squared=squared, mask=mask)(image),
        "ssd": squared_difference_to(fixed, mask)(image),
        "descriptor": descriptor_similarity(make_descriptor("gradient"), fixed, source, mask)(
            warped
        ),
        "gradient": gradient_magnitude(displacement, coarse, weights),
        "bending": bending_energy(displacement, coarse, weights),
        "jacobian": (short**2 if "penalties.jacobian.squared" in differs else short).mean(),
        "magnitude": time**2 * (velocity**2).sum(1).mean(),
        "operator": time**2 * (operator(velocity, 0.007, 1.5, "periodic") ** 2).sum(1).mean(),
    }
    return {
        "nmi" if normalised and name == "mi" else name: WEIGHTS[name] * term.item()
        for name, term in terms.items()
    }


def a_velocity(like):
    """Return a velocity so strong that determinants fall below the barrier here and there."""
    noise = torch.randn(like.shape, generator=torch.Generator().manual_seed(1)).to(like)
    return 1.5 * gaussian(noise, 1.0)


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_term_of_the_energy_is_as_it_is_set_in_volumes(variant, descents, tmp_path):
    """This is in single precision, where compiled kernels are used."""
    stiffness = np.where(GRID.voxels()[..., 1] < 8, 0.5, 3.0)
    io.write_image(tmp_path / "map.nii.gz", Image(stiffness, GRID))
    method = neural_ode(SETTINGS, VARIANTS[variant], {"weight_map": str(tmp_path / "map.nii.gz")})
    method.register(PAIR, Machine())
    velocity = a_velocity(descents[0].field.base)
    found = {name: term.item() for name, term in descents[0].objective(velocity).items()}
    fixed, moving, mask, weights = (
        torch.from_numpy(a.astype(np.float32))[None, None]
        for a in (FIXED.data, MOVING.data, PAIR.fixed_mask, stiffness)
    )
    weights, mask = reduce(weights, velocity.shape[2:]), mask if method.masked else None
    expected = expected_terms(variant, fixed, moving, mask, weights, SPACING, velocity)
    assert found == pytest.approx(expected, rel=2e-5)
    assert expected["jacobian"] > 0


@pytest.mark.parametrize("variant", VARIANTS)
def test_every_term_of_the_energy_is_as_it_is_set_in_the_plane(variant, descents):
    """This is in double precision, where torch's formulas are used."""
    method = neural_ode(SETTINGS, VARIANTS[variant])
    images = texture(2, (18, 20)), another_contrast(texture(2, (18, 20)))
    fixed, moving = (torch.from_numpy(image).double()[None, None] for image in images)
    mask = (fixed > 0).double() if method.masked else None
    weights = 0.5 + torch.rand(fixed.shape, generator=torch.Generator().manual_seed(2)).double()
    method.velocity_between(fixed, moving, SPACING[:2], mask, weights)
    velocity = a_velocity(descents[0].field.base)
    found = {name: term.item() for name, term in descents[0].objective(velocity).items()}
    coarse = reduce(weights, velocity.shape[2:])
    assert found == pytest.approx(
        expected_terms(variant, fixed, moving, mask, coarse, SPACING[:2], velocity), rel=1e-9
    )


# ------------------------------------------------------------------------------------------ trained

TRAINING = {"steps": 77, "learning_rate": 0.003, "interval": 55, "validation_persons": 3}


@pytest.fixture
def lessons(monkeypatch):
    """Record what is to be trained, instead of training it."""
    calls = []

    def train_by_content(*given):
        calls.append(given)
        return given[2]

    monkeypatch.setattr(loop, "train_by_content", train_by_content)
    return calls


@pytest.mark.usefixtures("devices_everywhere")
@pytest.mark.parametrize("name", LEARNED)
def test_a_training_is_as_it_is_set(name, lessons, tmp_path):
    method, said = make_method(name, {**SMALL[name], **TRAINING}), []
    train(
        method, planned(tmp_path), tmp_path / "out", Machine(seed=12, device="cuda:1"), said.append
    )
    ((lesson, settings, folder, device, _),) = lessons
    # Of seven persons four are trained on, which makes six pairs, and three are validated on, which
    # makes three; OTMorph alone takes them in one direction.
    ways = 1 if name == "otmorph" else 2
    expected = f"{6 * ways} directed pairs to train on, {3 * ways} to validate on"
    assert said == [f"{method.title}: {expected}"]
    assert (folder, device) == (tmp_path / "out", "cuda:1")
    assert settings == loop.Settings(
        steps=77,
        learning_rate=0.003,
        interval=55,
        criterion="validation_loss",
        seed=12,
        mixed_precision=True,
        amsgrad=name == "transmatch",
    )
    own = {field.name: getattr(method, field.name) for field in dataclasses.fields(method)}
    assert lesson.configuration == {
        key: value for key, value in own.items() if not key.startswith("weights")
    }


@pytest.mark.parametrize("name", LEARNED)
def test_a_training_starts_from_the_seed(name, tmp_path, monkeypatch):
    first, again, other = (
        by_training(Place(tmp_path, monkeypatch), {}, name, seed) for seed in (1, 1, 2)
    )
    same = {
        key: torch.equal(value, again["network"][key]) for key, value in first["network"].items()
    }
    assert all(same.values())
    assert any(
        not torch.equal(value, other["network"][key]) for key, value in first["network"].items()
    )
    assert (first["settings"]["seed"], other["settings"]["seed"]) == (1, 2)


def test_who_is_validated_on_depends_on_the_seed_of_the_training(tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(
        training, "split_by_person", lambda pairs, held_out, seed: seen.append(seed) or reached()
    )
    with pytest.raises(ReachedError):
        train(
            make_method("voxelmorph", {}),
            planned(tmp_path),
            tmp_path,
            Machine(seed=12),
            lambda message: None,
        )
    assert seen == [12]


def test_every_step_of_a_training_draws_from_the_seed_and_its_number(tmp_path):
    def draws(seed):
        drawn = []

        def objective(network, generator):
            drawn.append((generator.random(), torch.rand(()).item()))
            return {"loss": network.weight.sum()}

        lesson = loop.Lesson(torch.nn.Linear(1, 1), objective, "a", 1, "code")
        loop.train(
            lesson,
            loop.Settings(3, seed=seed),
            tmp_path / str(len(list(tmp_path.iterdir()))),
            say=str,
        )
        return drawn

    first, again, other = draws(1), draws(1), draws(2)
    assert first == again
    assert len({*first, *other}) == 6, "no step draws as another"
    generator = np.random.default_rng([1, 2])
    torch.manual_seed(int(generator.integers(2**63)))
    assert first[1] == (generator.random(), torch.rand(()).item())


# ----------------------------------------------------------------------------------------- machines


@pytest.fixture
def asked_threads(monkeypatch):
    """Record the number of threads that torch and the kernels are set to, however few processors
    there are.
    """
    asked = {"torch": [], "kernels": []}
    monkeypatch.setattr(numba.config, "NUMBA_NUM_THREADS", 64)
    monkeypatch.setattr(torch, "set_num_threads", asked["torch"].append)
    monkeypatch.setattr(numba, "set_num_threads", asked["kernels"].append)
    return asked


def on_a_trained_network(name):
    return lambda place, machine: moving_all_by(name, (0, 0, 0), place.folder).register(
        PAIR, machine
    )


def by_vision(place, machine):
    place.patch.setattr(dinoreg, "find_weights", Path)
    place.patch.setattr(dinoreg, "load_dinov2", Vision)
    quick = {"components": 3, "grid_sp": 3, "disp_hw": 1, "selected_niter": 1}
    return make_method("dinoreg", quick).register(PAIR, machine)


ON_TORCH = {
    "neural-ode": lambda place, machine: neural_ode(levels((2.0,), (1,))).register(PAIR, machine),
    "convexadam": lambda place, machine: ConvexAdam(
        grid_sp=3, disp_hw=1, selected_niter=1
    ).register(PAIR, machine),
    "dinoreg": by_vision,
    "multigradicon": lambda place, machine: by_multigradicon(place, {"io_iterations": 1}, machine),
    **{name: on_a_trained_network(name) for name in LEARNED},
}


@pytest.mark.parametrize(
    "name", [name for name in method_names() if "torch" in method_class(name).needs.packages]
)
def test_threads_reach_torch_and_the_kernels(name, asked_threads, tmp_path, monkeypatch):
    ON_TORCH[name](Place(tmp_path, monkeypatch), MACHINE)
    for asked in asked_threads.values():
        assert asked[0] == 3


def test_threads_reach_a_training(asked_threads, lessons, tmp_path):
    train(make_method("voxelmorph", {}), planned(tmp_path), tmp_path, MACHINE, lambda message: None)
    assert asked_threads == {"torch": [3], "kernels": [3]}


def devices_of_tensors(*tensors) -> set[str]:
    return {tensor.device.type for tensor in tensors if tensor is not None}


def seen_by_ours(place, machine):
    seen = set()

    def velocity_between(method, fixed, moving, spacing, mask, weights, progress):
        seen.update(devices_of_tensors(fixed, moving, mask, weights))
        reached()

    place.patch.setattr(motion, "velocity_between", velocity_between)
    io.write_image(place.folder / "map.nii.gz", FIXED)
    with pytest.raises(ReachedError):
        neural_ode({"masked": True, "weight_map": str(place.folder / "map.nii.gz")}).register(
            PAIR, machine
        )
    return seen


def seen_by_convexadam(place, machine):
    from convexAdam import convex_adam_MIND as package

    place.patch.setattr(
        package,
        "convex_adam_pt",
        lambda *images, device, **given: seen.add(device.type) or reached(),
    )
    seen = set()
    with pytest.raises(ReachedError):
        ConvexAdam(grid_sp=3).register(PAIR, machine)
    return seen


def seen_by_dinoreg(place, machine):
    def patch_features(network, volume, slicing, progress):
        seen.update(devices_of_tensors(next(network.buffers()), volume))
        reached()

    seen = set()
    place.patch.setattr(dinov2, "patch_features", patch_features)
    with pytest.raises(ReachedError):
        by_vision(place, machine)
    return seen


def seen_by_a_network(name):
    def look(place, machine):
        method, seen = moving_all_by(name, (0, 0, 0), place.folder), set()

        def maps(method, network, fixed, moving):
            seen.update(devices_of_tensors(fixed, moving, *network.parameters()))
            reached()

        place.patch.setattr(type(method), "maps", maps)
        with pytest.raises(ReachedError):
            method.register(PAIR, machine)
        return seen

    return look


SEEN_ON = {
    "neural-ode": seen_by_ours,
    "convexadam": seen_by_convexadam,
    "dinoreg": seen_by_dinoreg,
    "multigradicon": lambda place, machine: {by_multigradicon(place, {}, machine)["device"]},
    **{name: seen_by_a_network(name) for name in LEARNED},
}


def test_of_every_method_for_gpus_the_device_is_asked_for():
    """SynthMorph's option for a device is tested above."""
    assert {*SEEN_ON, "synthmorph"} == {
        name for name in method_names() if method_class(name).needs.gpu
    }


@pytest.mark.usefixtures("devices_everywhere")
@pytest.mark.parametrize("name", SEEN_ON)
def test_the_device_arrives(name, tmp_path, monkeypatch):
    """Torch's device ``meta``, which every machine has and which holds no values, stands for a
    GPU.
    """
    assert SEEN_ON[name](Place(tmp_path, monkeypatch), Machine(device="meta")) == {"meta"}


# -------------------------------------------------------------------------------------------- seeds

SEEDED_ABOVE = {"affine", "ants-syn", "multigradicon"}
"""The seed of these methods is tested above, where they are called."""
DRAWS_NOTHING = {
    "identity": "it finds nothing",
    "convexadam": "a search and a descent from where it ends",
    "dinoreg": "as ConvexAdam; its network is given",
    "greedy": "a descent; noise is turned off (test_greedy_is_called_as_it_is_set)",
    "niftyreg": "a descent, without an option for a seed",
    "deedsbcv": "a search, without an option for a seed",
    "synthmorph": "a network in evaluation, without an option for a seed",
    **dict.fromkeys(LEARNED, "a network in evaluation; their training is seeded, see above"),
}


def test_of_every_method_it_is_known_what_its_seed_does():
    assert {*SEEDED_ABOVE, *DRAWS_NOTHING, "neural-ode"} == set(method_names())


def test_our_network_starts_from_the_seed_and_leaves_the_generator_as_it_was(descents):
    method = neural_ode({"velocity.field": "network"}, levels((2.0,), (1,)))

    def start(seed):
        torch.manual_seed(99)
        method.register(PAIR, Machine(seed=seed))
        after = torch.rand(())
        torch.manual_seed(99)
        assert torch.equal(after, torch.rand(()))
        return descents[-1].field.narrow.weight

    first, again, other = (start(seed) for seed in (1, 1, 2))
    assert torch.equal(first, again)
    assert not torch.equal(first, other)


class Drawing(Method):
    """Draw from every global generator that a package might use."""

    title = "Drawing"
    citation = "None: it exists in a test."
    needs = Needs(packages=("torch",))

    def register(self, pair, machine):
        self.drawn = random.random(), np.random.rand(), torch.rand(()).item()
        return Registration(Affine(), Affine())


@pytest.mark.parametrize("seed", [0, 12, 2**31 - 1])
def test_every_global_generator_starts_from_the_seed_itself(seed):
    method = Drawing()
    register(method, TASK, Machine(seed=seed))
    expected = (
        random.Random(seed).random(),
        np.random.RandomState(seed).rand(),
        torch.rand((), generator=torch.Generator().manual_seed(seed)).item(),
    )
    assert method.drawn == expected


# ------------------------------------------------------------------------------------ limits, costs


@pytest.fixture
def waited(monkeypatch):
    """Record for how many seconds a watched process is waited for."""
    seconds, original = [], watch.wait
    monkeypatch.setattr(
        watch, "wait", lambda what, timeout: seconds.append(timeout) or original(what, timeout)
    )
    return seconds


@pytest.mark.parametrize(
    ("minutes", "seconds"), [(2.5, 150), (None, None), (watch.LONGEST_MINUTES, 2_100_000)]
)
def test_minutes_are_waited_for_as_sixty_seconds_each(minutes, seconds, waited):
    assert watch.watched(lambda: "done", minutes) == "done"
    assert_waited(waited, seconds)


def assert_waited(waited, seconds):
    """Assert that one process was waited for so long, less the moment since it was started."""
    (found,) = waited
    assert found is None if seconds is None else seconds - 30 < found <= seconds


def test_the_limit_of_a_registration_arrives_in_minutes(waited, tmp_path):
    assert register_to_folder(
        Run("mine", "identity", "Mine"), TASK, Machine(), tmp_path, {}, limit_minutes=1.5
    )
    assert_waited(waited, 90)


class Busy(Method):
    """Uses the same processor time here and in a child, however busy the machine is."""

    title = "Busy"
    citation = "None: it exists in a test."

    def register(self, pair, machine):
        before = sum(os.times()[:4])
        self.work()
        self.used_s = sum(os.times()[:4]) - before
        return Registration(Affine(), Affine())

    def work(self):
        end = time.process_time() + 0.25
        while time.process_time() < end:
            sum(range(1000))
        code = "import time\nwhile time.process_time() < 0.5: pass"
        subprocess.run([sys.executable, "-c", code], check=True)


class Idle(Busy):
    """Wait and use no processor time."""

    def work(self):
        time.sleep(0.5)


def test_processor_seconds_are_those_of_the_process_and_its_children():
    method = Busy()
    result = register(method, TASK, Machine())
    assert result.cpu_seconds >= 0.25 + 0.5 - 0.05
    assert result.cpu_seconds == pytest.approx(method.used_s, abs=0.1)
    assert result.seconds >= 0.7


def test_waiting_takes_time_and_no_processor():
    method = Idle()
    result = register(method, TASK, Machine())
    assert result.seconds >= 0.5
    assert result.cpu_seconds == pytest.approx(method.used_s, abs=0.1)


def test_memory_is_that_of_the_process_and_its_children_and_never_nothing():
    def peak(code):
        with measured() as usage:
            if code:
                subprocess.run([sys.executable, "-c", code], check=True)
        return usage["peak_memory_mb"]

    alone = peak("")
    # a child that is just being forked may be seen with all that its parent holds, so the least of
    # several counts
    together = min(
        peak("block = b'1' * 200_000_000; import time; time.sleep(0.3)") for _ in range(4)
    )
    assert alone > 50
    assert 190 < together - alone < 300


def test_costs_are_in_the_receipt(tmp_path, monkeypatch):
    monkeypatch.setattr(Run, "build", lambda run: Busy())
    assert register_to_folder(Run("mine", "identity", "Mine"), TASK, Machine(), tmp_path, {})
    receipt = read_receipt(tmp_path / "receipt.json")
    assert receipt["cpu_seconds"] >= 0.7
    assert receipt["seconds"] >= 0.7
    assert receipt["peak_memory_mb"] > 50


def test_costs_of_a_training_are_in_its_receipt(tmp_path, monkeypatch):
    def trained(method, pairs, folder, machine):
        Busy().register(PAIR, machine)
        for name in ("best.safetensors", "curves.tsv"):
            (folder / "work").mkdir(exist_ok=True)
            (folder / "work" / name).write_text("something", encoding="utf-8")
        return folder / "work" / "best.safetensors"

    monkeypatch.setattr(training, "train", trained)
    run = Run("mine", "voxelmorph", "Mine", {"steps": 5})
    train_to_folder(
        run, planned(tmp_path), tmp_path, Machine(seed=12, threads=3), {"alignment": "none"}
    )
    receipt = read_receipt(tmp_path / "receipt.json")
    assert receipt["cpu_seconds"] >= 0.7
    assert (receipt["seed"], receipt["threads"], receipt["device"]) == (12, 3, "cpu")
    assert (receipt["parameters"], receipt["alignment"], receipt["pairs"]) == (
        {"steps": 5},
        "none",
        21,
    )


def test_what_a_registration_was_made_with_is_in_its_receipt(tmp_path):
    run = Run("mine", "identity", "Mine")
    assert register_to_folder(run, TASK, Machine(seed=12, threads=3), tmp_path, {"pair": "a__b"})
    receipt = read_receipt(tmp_path / "receipt.json")
    assert (receipt["seed"], receipt["threads"], receipt["device"], receipt["pair"]) == (
        12,
        3,
        "cpu",
        "a__b",
    )
