"""Scans of a BIDS folder, and choosing among them."""

from pathlib import Path

import pytest

from diffeode.datasets.bids import list_scans
from diffeode.datasets.scan import choose_scans
from diffeode.errors import InputError


def bids_folder(root: Path, *names: str) -> Path:
    """``root`` with an empty file per name; listing reads no scan."""
    for name in names:
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    return root


def test_names_follow_subject_session_and_modality(tmp_path):
    root = bids_folder(
        tmp_path / "sub-study",
        "sub-02/anat/sub-02_T2w.nii.gz",
        "sub-01/ses-b/anat/sub-01_ses-b_acq-fast_T1w.nii",
        "sub-01/ses-b/anat/sub-01_ses-b_bold.nii",
    )
    scans = list_scans("study", root)
    assert [scan.id for scan in scans] == ["sub-01_ses-b_T1w", "sub-02_T2w"]
    assert [(s.subject, s.session, s.modality) for s in scans] == [
        ("01", "b", "T1w"),
        ("02", None, "T2w"),
    ]
    assert scans[0].person == ("study", "01")


def test_labels_landmarks_and_group_are_found_beside_the_scan(tmp_path):
    root = bids_folder(
        tmp_path,
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-01/anat/sub-01_dseg.nii.gz",
        "sub-01/anat/sub-01_landmarks.tsv",
    )
    bids_folder(root, "sub-01/anat/sub-01_desc-aseg_dseg.nii.gz")
    bids_folder(root, "sub-02/anat/sub-02_T1w.nii.gz", "sub-02/anat/sub-02_desc-aseg_dseg.nii.gz")
    (root / "participants.tsv").write_text(
        "participant_id\tage\tgroup\nsub-01\t40\thealthy\nsub-02\t50\t\n"
    )
    first, second = list_scans("study", root)
    assert first.labels.name == "sub-01_dseg.nii.gz"
    assert first.landmarks.name == "sub-01_landmarks.tsv"
    assert first.group == "healthy"
    assert second.labels.name == "sub-02_desc-aseg_dseg.nii.gz"
    assert second.landmarks is None
    assert second.group is None


def test_labels_drawn_on_one_contrast_belong_to_it_alone(tmp_path):
    root = bids_folder(
        tmp_path,
        "sub-01/anat/sub-01_T1w.nii.gz",
        "sub-01/anat/sub-01_T2w.nii.gz",
        "sub-01/anat/sub-01_space-T1w_dseg.nii.gz",
    )
    t1w, t2w = list_scans("study", root)
    assert t1w.labels.name == "sub-01_space-T1w_dseg.nii.gz"
    assert t2w.labels is None


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["sub-01/anat/sub-01_bold.nii.gz"], r"no scan sub-\*/anat"),
        (
            ["sub-01/anat/sub-01_T1w.nii", "sub-01/anat/sub-01_T1w.nii.gz"],
            "two scans named sub-01_T1w: .* keep one",
        ),
        (
            ["sub-01/anat/sub-01_acq-a_T1w.nii", "sub-01/anat/sub-01_acq-b_T1w.nii"],
            "two scans named sub-01_T1w",
        ),
        (
            ["sub-01/anat/sub-01_T1w.nii", "sub-01/anat/sub-01_run-2_T1w.nii"],
            "two scans named sub-01_T1w",
        ),
        (["sub-01/anat/sub-02_T1w.nii.gz"], "sub-02_T1w.nii.gz lies in the folder of sub-01"),
        (["sub-01/anat/sub-01_dseg.nii.gz"], "has no scan sub-.* correct the root of the dataset"),
        (
            [f"sub-01/anat/sub-01_{n}.nii.gz" for n in ("T1w", "desc-a_dseg", "desc-b_dseg")],
            "several label maps of sub-01 .* keep one",
        ),
    ],
)
def test_unusable_folders(tmp_path, names, message):
    with pytest.raises(InputError, match=message):
        list_scans("study", bids_folder(tmp_path, *names))


def test_the_first_run_is_taken(tmp_path):
    names = [f"sub-01/anat/sub-01_run-{run}_T1w.nii.gz" for run in ("10", "02", "3")]
    (scan,) = list_scans("study", bids_folder(tmp_path, *names))
    assert scan.id == "sub-01_T1w"
    assert scan.image.name == "sub-01_run-02_T1w.nii.gz"


def test_freesurfer_volumes(tmp_path):
    (scan,) = list_scans(
        "study", bids_folder(tmp_path, "sub-01/anat/sub-01_T1w.mgz", "sub-01/anat/sub-01_dseg.mgz")
    )
    assert (scan.image.name, scan.labels.name) == ("sub-01_T1w.mgz", "sub-01_dseg.mgz")


def test_participants_tell_age_sex_and_rating(tmp_path):
    root = bids_folder(tmp_path, *[f"sub-0{n}/anat/sub-0{n}_T1w.nii" for n in (1, 2, 3, 4)])
    (root / "participants.tsv").write_text(
        "participant_id\tage\tsex\tcdr\nsub-01\t71.5\tF\t0.5\nsub-02\t90+\tmale\t1\nsub-03\tn/a\tn/a\tn/a\n"
    )
    known = [(scan.group, scan.age, scan.sex, scan.cdr) for scan in list_scans("study", root)]
    unknown = (None, None, None, None)
    assert known[:2] == [
        ("suspected dementia", 71.5, "F", 0.5),
        ("mild cognitive impairment", None, "M", 1.0),
    ]
    assert known[2:] == [unknown, unknown]


def test_a_rating_there_is_not(tmp_path):
    root = bids_folder(tmp_path, "sub-01/anat/sub-01_T1w.nii")
    (root / "participants.tsv").write_text("participant_id\tcdr\nsub-01\t4\n")
    with pytest.raises(
        InputError,
        match=r"participants\.tsv has the CDR '4' of sub-01; it must be 0, 0\.5, 1, 2 or 3",
    ):
        list_scans("study", root)


def test_missing_folder(tmp_path):
    with pytest.raises(InputError, match=r"Dataset study has no folder .*absent; name the folder"):
        list_scans("study", tmp_path / "absent")


def test_participants_without_names(tmp_path):
    root = bids_folder(tmp_path, "sub-01/anat/sub-01_T1w.nii.gz")
    (root / "participants.tsv").write_text("subject\tgroup\n01\thealthy\n")
    with pytest.raises(InputError, match=r"participants.tsv has no column participant_id"):
        list_scans("study", root)


def test_choosing_by_modality_subject_and_group(tmp_path):
    root = bids_folder(
        tmp_path, *[f"sub-0{n}/anat/sub-0{n}_{m}.nii" for n in (1, 2, 3) for m in ("T1w", "T2w")]
    )
    (root / "participants.tsv").write_text(
        "participant_id\tgroup\nsub-01\tatrophy\nsub-02\thealthy\nsub-03\tatrophy\n"
    )
    scans = list_scans("study", root)
    assert [s.id for s in choose_scans(scans, "T2w")] == ["sub-01_T2w", "sub-02_T2w", "sub-03_T2w"]
    assert [s.id for s in choose_scans(scans, "T1w", ["sub-03", "01"])] == [
        "sub-01_T1w",
        "sub-03_T1w",
    ]
    assert [s.id for s in choose_scans(scans, "T1w", groups=["atrophy"])] == [
        "sub-01_T1w",
        "sub-03_T1w",
    ]
    for arguments, message in [
        (("T1",), "modality 'T1'; did you mean 'T1w'"),
        (("T1w", ["04"]), "subject '04'; did you mean '0"),
        (("T1w", None, ["atrophied"]), "group 'atrophied'; did you mean 'atrophy'"),
        (("T1w", ["02"], ["atrophy"]), "group 'atrophy'; did you mean 'healthy'"),
    ]:
        with pytest.raises(InputError, match=message):
            choose_scans(scans, *arguments)


def test_newborns(data_root):
    scans = list_scans("albert", data_root / "albert")
    assert len(scans) == 20
    assert {scan.modality for scan in scans} == {"T1w", "T2w"}
    assert all(scan.labels.is_file() for scan in scans)


def test_adults_without_labels(data_root):
    scans = list_scans("openms", data_root / "openms")
    assert [scan.id for scan in scans] == ["sub-07_T1w", "sub-07_T2w", "sub-26_T1w", "sub-26_T2w"]
    assert all(scan.labels is None for scan in scans)
