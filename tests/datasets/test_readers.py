"""All readers on miniature copies: what they find, how it is split, and which frames are abnormal."""

import fsspec
import pytest

from raypipe.config.run import DatasetConfig
from raypipe.datasets.readers import READERS, read_dataset
from raypipe.datasets.specs import DATASET_NAMES, SPECS
from raypipe.errors import UserError
from raypipe.extraction.probing import probe
from tests.helpers.miniatures import WRITERS

NAMES = tuple(WRITERS)
SPLITS = {
    "ucf_crime": {"train": 2, "train_abnormal": 1, "test": 3},
    "xd_violence": {"train": 2, "train_abnormal": 1, "test": 3},
    "shanghaitech": {"train": 2, "test": 2},
    "avenue": {"train": 2, "test": 2},
    "ubnormal": {"train": 2, "train_abnormal": 1, "validation": 2, "test": 3},
    "nwpu_campus": {"train": 2, "test": 2},
    "ped2": {"train": 2, "test": 2},
}


@pytest.fixture(scope="module")
def copies(tmp_path_factory):
    """Every miniature once: {name: (root, truth)}."""
    roots = {name: tmp_path_factory.mktemp(name) for name in NAMES}
    return {name: (root, WRITERS[name](root)) for name, root in roots.items()}


def frames_of(listing, video_id):
    return {frame for interval in listing.labels.get(video_id, []) for frame in range(*interval)}


def test_every_name_has_a_reader_a_rate_and_a_miniature():
    assert tuple(READERS) == DATASET_NAMES == ("folder", *NAMES) == tuple(SPECS)


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_is_split_and_labelled(copies, name):
    root, truth = copies[name]
    listing = READERS[name](str(root))
    counts = {}
    for video in listing.videos:
        counts[video.split] = counts.get(video.split, 0) + 1
    assert counts == SPLITS[name]
    assert {video.video_id for video in listing.videos if video.split == "test"} == set(truth)
    assert {video_id: frames_of(listing, video_id) for video_id in truth} == truth
    assert [video.video_id for video in listing.videos] == sorted(video.video_id for video in listing.videos)
    assert listing.missing == ()
    assert listing.label_source


@pytest.mark.parametrize("name", NAMES)
def test_its_videos_can_be_probed(copies, name):
    root, _ = copies[name]
    config = DatasetConfig(name=name, root=str(root))
    for video in read_dataset(config.name, config.root).videos:
        entry = probe(video, config.frame_rate())
        assert entry.failure is None
        assert entry.index.num_frames >= 8
        if video.is_frames:
            assert entry.index.fps == SPECS[name].frames_fps


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_is_read_through_a_uri_and_below_another_folder(copies, name, tmp_path):
    root, truth = copies[name]
    (tmp_path / "more" / "folders").mkdir(parents=True)
    (tmp_path / "more" / "folders" / "copy").symlink_to(root)
    listing = READERS[name](f"file://{tmp_path}/more")
    assert all(video.uri.startswith("file://") for video in listing.videos)
    assert {video_id: frames_of(listing, video_id) for video_id in truth} == truth


@pytest.mark.parametrize("name", NAMES)
def test_a_folder_of_something_else_is_refused(name, tmp_path):
    (tmp_path / "a.txt").write_text("x")
    with pytest.raises(UserError, match=r"dataset\.root: .* holds no "):
        READERS[name](str(tmp_path))


@pytest.mark.parametrize("name", NAMES)
def test_only_normal_videos_are_for_training(copies, name):
    root, _ = copies[name]
    videos = read_dataset(name, str(root)).videos
    assert {video.split for video in videos} == {"train", "test"}
    assert all("abnormal" not in video.video_id for video in videos if video.split == "train")
    assert all(video.class_name in ("", "normal") for video in videos if video.split == "train")


@pytest.mark.parametrize("name", [name for name in NAMES if SPECS[name].has_abnormal_training])
def test_abnormal_training_videos_are_listed_on_request(copies, name):
    root, _ = copies[name]
    listing = read_dataset(name, str(root), abnormal_training=True)
    assert {video.split for video in listing.videos} == {"train", "train_abnormal", "test"}
    note = "abnormal training videos, left out: 1 (dataset.abnormal_training extracts their features)"
    assert note not in listing.notes
    assert note in read_dataset(name, str(root)).notes


def test_the_validation_set_is_left_out_with_a_note(copies):
    root, _ = copies["ubnormal"]
    assert "validation videos, left out: 2" in read_dataset("ubnormal", str(root)).notes


def test_classes_and_scenes(copies):
    def told(name):
        return {video.video_id: (video.class_name, video.scene) for video in READERS[name](str(copies[name][0])).videos}

    assert told("ucf_crime")["Abuse/Abuse028_x264"] == ("Abuse", "")
    assert told("ucf_crime")["Testing_Normal_Videos_Anomaly/Normal_Videos_003_x264"] == ("normal", "")
    assert told("xd_violence")["test/v=S-7rRLrxnVQ__#1_label_B4-0-0"] == ("riot", "")
    assert told("xd_violence")["test/Fast.2001__#00-29-00_00-29-52_label_B2-G-0"] == ("shooting", "")
    assert told("xd_violence")["train/v=aaa__#1_label_A"] == ("normal", "")
    assert told("shanghaitech")["test/12_0142"] == ("", "12")
    assert told("ubnormal")["Scene1/abnormal_scene_1_scenario_1_fog"] == ("", "Scene1")
    assert told("nwpu_campus")["test/D204_02"] == ("", "D204")
    assert told("avenue")["test/01"] == told("ped2")["test/Test001"] == ("", "")


def test_labels_given_frame_by_frame_keep_their_length(copies):
    def lengths(name):
        return READERS[name](str(copies[name][0])).label_frames

    assert lengths("shanghaitech") == {"test/01_0014": 10, "test/12_0142": 9}
    assert lengths("avenue") == {"test/01": 14, "test/02": 9}
    assert lengths("nwpu_campus") == {"test/D001_01": 10, "test/D204_02": 10}
    assert lengths("ucf_crime") == lengths("xd_violence") == lengths("ubnormal") == lengths("ped2") == {}


def test_what_is_in_no_split_is_counted_and_named(copies):
    listing = READERS["ucf_crime"](str(copies["ucf_crime"][0]))
    assert listing.extra == ("Videos/Normal_Videos_event/Normal_Videos_003_x264",)
    assert listing.notes == ("videos in no split, left out: 1 (Videos/Normal_Videos_event/Normal_Videos_003_x264)",)
    assert READERS["ubnormal"](str(copies["ubnormal"][0])).extra == (
        "videos-supplementary/abnormal_scene_10_scenario_2",
    )
    for name in ("xd_violence", "shanghaitech", "avenue", "nwpu_campus", "ped2"):
        assert READERS[name](str(copies[name][0])).notes == ()


@pytest.mark.parametrize("name", NAMES)
def test_a_copy_in_an_object_store(copies, name):
    root, truth = copies[name]
    store = fsspec.filesystem("memory")
    for path in root.rglob("*"):
        if path.is_file():
            store.pipe_file(f"/{name}/data/{path.relative_to(root)}", path.read_bytes())
    try:
        listing = READERS[name](f"memory://{name}")
        local = READERS[name](str(root))
    finally:
        store.rm(f"/{name}", recursive=True)
    assert {video_id: frames_of(listing, video_id) for video_id in truth} == truth
    assert [(v.video_id, v.split, v.num_bytes) for v in listing.videos] == [
        (v.video_id, v.split, v.num_bytes) for v in local.videos
    ]
    assert all(video.uri.startswith("memory://") for video in listing.videos)
