import pytest

from raypipe.datasets.folder import read_folder
from raypipe.datasets.readers import READERS, read_dataset
from raypipe.datasets.specs import DATASET_NAMES, SPECS, benchmark_of


def test_every_name_has_a_reader_and_a_spec():
    assert tuple(READERS) == tuple(SPECS) == DATASET_NAMES


def test_only_some_have_abnormal_videos_to_train_on():
    assert [name for name, spec in SPECS.items() if spec.has_abnormal_training] == [
        "ucf_crime",
        "xd_violence",
        "ubnormal",
    ]


@pytest.mark.parametrize(
    ("name", "root", "expected"),
    [
        ("folder", "/data/ped2", "ped2"),
        ("folder", "/data/UCSD-Ped2", "ped2"),
        ("avenue", "/data/x", "avenue"),
        ("shanghaitech", "/data/ped2", "shanghaitech"),  # the name goes before the folder's
        ("folder", "s3://bucket/UBnormal", "ubnormal"),
        ("folder", "/data/NWPU-Campus/", "nwpu_campus"),
        ("ucf_crime", "/", "ucf_crime"),
        ("folder", "XD_Violence", "xd_violence"),
        ("folder", "/data/my_ped2_copy", None),
        ("folder", "/", None),
        ("folder", "/data/folder", None),
        ("folder", "/data/NWPU", "nwpu_campus"),
    ],
)
def test_benchmark_of(name, root, expected):
    assert benchmark_of(name, root) == expected


def test_a_folder_is_read_as_ever(tmp_path):
    (tmp_path / "test").mkdir()
    (tmp_path / "test" / "a.mp4").write_bytes(b"ab")
    listing = read_dataset("folder", str(tmp_path))
    assert listing == read_folder(str(tmp_path))
    assert [(video.class_name, video.scene) for video in listing.videos] == [("", "")]
