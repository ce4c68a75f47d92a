"""What is wrong with copies of public data sets in the wild: an error that names it, or a repair that is told."""

import io
import os
import pickle
import shutil

import numpy as np
import pytest
from fsspec.implementations.local import LocalFileSystem
from PIL import Image
from scipy.io import savemat

from raypipe.datasets.readers import READERS
from raypipe.errors import UserError
from tests.helpers.miniatures import WRITERS, clip, frames

TEMPORAL = "Temporal_Anomaly_Annotation.txt"
UCF_TEST = "Anomaly_Detection_splits/Anomaly_Test.txt"
XD = "annotations.txt"
MASK = "testing/test_frame_mask/01_0014.npy"
TRACKS = "Scene10/abnormal_scene_10_scenario_2_annotations/abnormal_scene_10_scenario_2_tracks.txt"
TEST_LIST = "scripts/abnormal_test_video_names.txt"
PED2 = "Test/UCSDped2.m"
NORMAL = "Normal_Videos_003_x264  Normal  -1  -1  -1  -1\n"


def copy(name, folder):
    WRITERS[name](folder)
    return folder


def npy(values, **options):
    file = io.BytesIO()
    np.save(file, values, **options)
    return file.getvalue()


OBJECTS = npy(np.array([{"a": 1}], dtype=object), allow_pickle=True)

ERRORS = [
    # UCF-Crime
    ("ucf_crime", TEMPORAL, "Abuse028_x264  Abuse  5  9\n", "1: expected name, class and four frame numbers"),
    (
        "ucf_crime",
        TEMPORAL,
        f"{NORMAL}Abuse028_x264 Abuse 9 5 -1 -1\n",
        "txt:2: 9 to 5 are not a first and a last frame",
    ),
    ("ucf_crime", TEMPORAL, "Abuse028_x264 Abuse -1 5 -1 -1\n", "-1 to 5 are not a first and a last frame"),
    ("ucf_crime", TEMPORAL, "Abuse028_x264 Abuse a 5 -1 -1\n", "'a' is not a frame number"),
    ("ucf_crime", TEMPORAL, "Abuse028_x264 Abuse 1.5 5 -1 -1\n", "'1.5' is not a frame number"),
    ("ucf_crime", TEMPORAL, "Abuse028_x264 Abuse -1 -1 -1 -1\n", "is of class Abuse and has 0 abnormal intervals"),
    ("ucf_crime", TEMPORAL, "Abuse028_x264 Normal 1 2 -1 -1\n", "is of class Normal and has 1 abnormal intervals"),
    ("ucf_crime", TEMPORAL, NORMAL * 2, "Normal_Videos_003_x264 is annotated twice"),
    ("ucf_crime", TEMPORAL, NORMAL, "Abuse028_x264 is a test video, but .* does not mention it"),
    ("ucf_crime", TEMPORAL, "Abuse028_x264 Normal -1 -1 -1 -1\n", "but its folder says otherwise"),
    ("ucf_crime", TEMPORAL, npy(np.zeros(3)), r"expected text, but it is a NumPy array \(NPY\)"),
    ("ucf_crime", TEMPORAL, b"", "expected text, but it is empty"),
    ("ucf_crime", TEMPORAL, b"<!DOCTYPE html>\n", "a page, perhaps of a download that failed"),
    ("ucf_crime", TEMPORAL, None, r"holds no Temporal_Anomaly_Annotation\*.txt, the temporal annotation"),
    ("ucf_crime", UCF_TEST, None, "holds no Anomaly_Test.txt, the list of test videos"),
    ("ucf_crime", UCF_TEST, "Abuse/Abuse001_x264.mp4\n", "is in both Anomaly_Train.txt and Anomaly_Test.txt"),
    # XD-Violence
    ("xd_violence", XD, "v=S-7rRLrxnVQ__#1_label_B4-0-0 0 3 10\n", "expected a name and pairs of frames"),
    ("xd_violence", XD, "v=S-7rRLrxnVQ__#1_label_B4-0-0\n", "expected a name and pairs of frames"),
    ("xd_violence", XD, "v=S-7rRLrxnVQ__#1_label_B4-0-0 3 3\n", "txt:1: 3 to 3 are not a first frame and an end"),
    ("xd_violence", XD, "v=S-7rRLrxnVQ__#1_label_B4-0-0 9 3\n", "txt:1: 9 to 3 are not a first frame and an end"),
    ("xd_violence", XD, "v=ccc__#1_label_A 1 3\n", "annotates v=ccc__#1_label_A, which is normal by its name"),
    ("xd_violence", XD, "a_label_G 1 3\na_label_G.mp4 1 3\n", "txt:2: a_label_G is annotated twice"),
    ("xd_violence", XD, None, "holds no annotations.txt"),
    # ShanghaiTech
    ("shanghaitech", MASK, OBJECTS, "holds pickled objects, which can run code, so it is not read"),
    ("shanghaitech", MASK, pickle.dumps([0, 1]), "expected an NPY file of frame labels, but it is a pickle"),
    ("shanghaitech", MASK, "0 1 1", "but it is text"),
    ("shanghaitech", MASK, npy(np.array([0, 2])), r"frame labels are 0 and 1, found \[2\]"),
    ("shanghaitech", MASK, npy(np.array([0, np.nan])), r"frame labels are 0 and 1, found \[nan\]"),
    ("shanghaitech", MASK, npy(np.zeros((4, 4))), r"expected one 0 or 1 per frame, found float64 of shape \(4, 4\)"),
    ("shanghaitech", MASK, npy(np.array(["0"])), "expected one 0 or 1 per frame, found <U1"),
    ("shanghaitech", MASK, npy(np.zeros(100))[:-60], "01_0014.npy: is a damaged .npy: its header promises"),
    ("shanghaitech", MASK, None, "1 test videos have no labels in testing/test_frame_mask: 01_0014"),
    # UBnormal
    ("ubnormal", TRACKS, "1,4,0\n", "txt:1: expected object,start,end with the end last"),
    ("ubnormal", TRACKS, "1,4\n", "expected object,start,end"),
    ("ubnormal", TRACKS, "1,4,end\n", "'end' is not a frame number"),
    ("ubnormal", TRACKS, "1,-4,2\n", "expected object,start,end"),
    ("ubnormal", TRACKS, npy(np.ones(9)), r"expected text, but it is a NumPy array \(NPY\)"),
    ("ubnormal", TRACKS, "\n\n", "holds no track, but the video is abnormal by its name"),
    ("ubnormal", TRACKS, None, "the abnormal video abnormal_scene_10_scenario_2 has no"),
    ("ubnormal", TEST_LIST, None, "holds no abnormal_test_video_names.txt"),
    ("ubnormal", TEST_LIST, "video\n", "the lists name 'video', which is not the name of a scene's video"),
    ("ubnormal", TEST_LIST, "normal_scene_10_scenario_7\n", "is in two of the lists"),
    # NWPU Campus
    ("nwpu_campus", "gt.npz", None, "holds no gt.npz, the labels of the test videos"),
    ("nwpu_campus", "gt.npz", b"PK\x03\x04 and so on", "the NPZ file is damaged"),
    ("nwpu_campus", "gt.npz", pickle.dumps({}), "expected an NPZ file of frame labels, but it is a pickle"),
    # Ped2
    ("ped2", PED2, "TestVideoFile{end+1}.gt_frame = [4:x];", "m:1: '4:x' is no range of frames"),
    ("ped2", PED2, "TestVideoFile{end+1}.gt_frame = [7:4];", "'7:4' is no range of frames"),
    ("ped2", PED2, "TestVideoFile{end+1}.gt_frame = [0:4];", "'0:4' is no range of frames"),
    ("ped2", PED2, "TestVideoFile{end+1}.gt_frame = [1:4];", "labels 1 clips, but there is a Test002"),
]


@pytest.mark.parametrize(("name", "path", "content", "message"), ERRORS)
def test_a_mistake_is_named(tmp_path, name, path, content, message):
    root = copy(name, tmp_path)
    if content is None:
        (root / path).unlink()
    else:
        (root / path).write_bytes(content if isinstance(content, bytes) else content.encode())
    with pytest.raises(UserError, match=message):
        READERS[name](str(root))


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"gt": np.zeros((2, 3))}, "1_label.mat: expected the variable volLabel, found gt"),
        ({"volLabel": np.zeros((2, 3))}, "volLabel is not a row of masks"),
        (None, "1 test videos have no labels in testing_label_mask: 1_label.mat"),
    ],
)
def test_masks_of_another_variable(tmp_path, content, message):
    path = copy("avenue", tmp_path) / "ground_truth_demo/testing_label_mask/1_label.mat"
    path.unlink()
    if content is not None:
        savemat(path, content)
    with pytest.raises(UserError, match=message):
        READERS["avenue"](str(tmp_path))


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"D001_01": [0, 1]}, "has no labels for 1 test videos: D204_02"),
        ({"D001_01": [0, 3], "D204_02": [0]}, r"gt.npz\[D001_01\]: frame labels are 0 and 1, found \[3\]"),
        ({"D001_01": np.array([None]), "D204_02": [0]}, r"gt.npz\[D001_01\]: holds pickled objects"),
    ],
)
def test_archives_of_labels(tmp_path, arrays, message):
    np.savez(copy("nwpu_campus", tmp_path) / "gt.npz", **arrays)
    with pytest.raises(UserError, match=message):
        READERS["nwpu_campus"](str(tmp_path))


@pytest.mark.parametrize(
    ("name", "path", "content", "note"),
    [
        (
            "ucf_crime",
            TEMPORAL,
            f"Abuse028_x264 Abuse 5 9 8 12\nArson011_x264 Arson 1 2 -1 -1\n{NORMAL}",
            "videos whose intervals overlap, joined: 1 (Abuse/Abuse028_x264)",
        ),
        (
            "ucf_crime",
            TEMPORAL,
            f"Abuse028_x264 Abuse 5 9 -1 -1\nArson011_x264 Arson 1 2 -1 -1\n{NORMAL}Other_x264 Abuse 1 2 -1 -1\n",
            "videos in Temporal_Anomaly_Annotation.txt but not in Anomaly_Test.txt: 1 (Other_x264)",
        ),
        (
            "ucf_crime",
            UCF_TEST,
            "Abuse/Abuse028_x264.mp4\nAbuse/Abuse028_x264\n",
            f"videos that {UCF_TEST} names more than once: 1 (Abuse/Abuse028_x264)",
        ),
        (
            "xd_violence",
            XD,
            "v=S-7rRLrxnVQ__#1_label_B4-0-0 0 3\n",
            "violent test videos without a line in annotations.txt, all frames of which count as normal: 1 "
            "(test/Fast.2001__#00-29-00_00-29-52_label_B2-G-0)",
        ),
        (
            "xd_violence",
            XD,
            "v=S-7rRLrxnVQ__#1_label_B4-0-0 0 3\nFast.2001__#00-29-00_00-29-52_label_B2-G-0 1 2\n"
            "gone_label_G-0-0 1 2\n",
            "videos that lists or labels name and that are missing: 1 (test/gone_label_G-0-0)",
        ),
    ],
)
def test_a_repair_is_told(tmp_path, name, path, content, note):
    root = copy(name, tmp_path)
    (root / path).write_text(content)
    assert note in READERS[name](str(root)).notes


def test_intervals_that_overlap_hold_their_frames_once(tmp_path):
    root = copy("ucf_crime", tmp_path)
    lines = f"Abuse028_x264 Abuse 5 9 8 12\nArson011_x264 Arson 1 2 -1 -1\n{NORMAL}"
    (root / TEMPORAL).write_text(lines)
    assert READERS["ucf_crime"](str(root)).labels == {"Abuse/Abuse028_x264": [(5, 13)], "Arson/Arson011_x264": [(1, 3)]}


def test_missing_videos_are_counted_and_the_others_read(tmp_path):
    root = copy("ucf_crime", tmp_path)
    (root / "Videos/Abuse/Abuse028_x264.mp4").unlink()
    listing = READERS["ucf_crime"](str(root))
    assert listing.missing == ("Abuse/Abuse028_x264",)
    assert "videos that lists or labels name and that are missing: 1 (Abuse/Abuse028_x264)" in listing.notes
    assert set(listing.labels) == {"Arson/Arson011_x264"}


@pytest.mark.parametrize("ends", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
def test_line_ends_and_a_byte_order_mark_do_not_matter(tmp_path, ends, mark):
    root = copy("ucf_crime", tmp_path)
    before = READERS["ucf_crime"](str(root))
    for path in (TEMPORAL, UCF_TEST, "Anomaly_Detection_splits/Anomaly_Train.txt"):
        lines = (root / path).read_text().splitlines()
        (root / path).write_bytes(mark + ends.join(["", *lines, ""]).encode())
    assert READERS["ucf_crime"](str(root)) == before


def test_a_list_in_latin_1_is_read_and_told(tmp_path):
    root = copy("xd_violence", tmp_path)
    clip(root / "test_videos/Léon.1994__#00-01_label_B2-0-0.mp4", 10)
    with (root / XD).open("ab") as file:
        file.write("Léon.1994__#00-01_label_B2-0-0 2 5\n".encode("latin-1"))
    listing = READERS["xd_violence"](str(root))
    assert listing.labels["test/Léon.1994__#00-01_label_B2-0-0"] == [(2, 5)]
    assert listing.notes == (f"{root}/annotations.txt is not UTF-8 and was read as Latin-1",)


def test_accents_are_the_same_however_a_system_writes_them(tmp_path):
    root = copy("xd_violence", tmp_path)
    clip(root / "test_videos/Le\u0301on_label_B2-0-0.mp4", 10)
    with (root / XD).open("a") as file:
        file.write("L\u00e9on_label_B2-0-0 2 5\n")
    listing = READERS["xd_violence"](str(root))
    assert listing.notes == ()
    assert listing.labels["test/Le\u0301on_label_B2-0-0"] == [(2, 5)]


def test_a_file_name_that_is_not_utf8_is_named(tmp_path):
    root = copy("xd_violence", tmp_path)
    (root / "test_videos/v=ccc__#1_label_A.mp4").rename(root / os.fsdecode(b"test_videos/\xe9.mp4"))
    with pytest.raises(UserError, match="a file name that is not UTF-8"):
        READERS["xd_violence"](str(root))


def test_two_lists_that_differ_are_not_chosen_among(tmp_path):
    root = copy("xd_violence", tmp_path)
    (root / "old").mkdir()
    (root / "old" / XD).write_bytes((root / XD).read_bytes())
    READERS["xd_violence"](str(root))
    (root / "old" / XD).write_text("a_label_G-0-0 1 2\n")
    with pytest.raises(UserError, match=r"holds 2 that differ: annotations.txt, old/annotations.txt; keep one"):
        READERS["xd_violence"](str(root))


def test_videos_that_are_there_twice_are_not_chosen_among(tmp_path):
    root = copy("ucf_crime", tmp_path)
    clip(root / "again/Abuse/Abuse028_x264.mp4", 5)
    with pytest.raises(UserError, match=r"2 videos may be 'Abuse/Abuse028_x264': .*Keep one"):
        READERS["ucf_crime"](str(root))


def test_files_and_frames_of_one_video_are_taken_once(tmp_path):
    root = copy("shanghaitech", tmp_path)
    frames(root / "training/frames/01_001", 12)
    listing = READERS["shanghaitech"](str(root))
    assert [(v.video_id, v.is_frames) for v in listing.videos if v.split == "train"] == [
        ("train/01_001", False),
        ("train/12_003", False),
    ]
    (note,) = listing.notes
    assert note == (f"videos that are there a second time, left out: 1 ({root}/training/frames/01_001)")
    assert listing.extra == ()


def test_masks_are_read_where_ped2_lacks_its_intervals(tmp_path):
    truth = WRITERS["ped2"](tmp_path)
    (tmp_path / PED2).unlink()
    listing = READERS["ped2"](str(tmp_path))
    found = {video_id: {f for i in listing.labels[video_id] for f in range(*i)} for video_id in truth}
    assert found == truth
    assert listing.label_frames == {"test/Test001": 10, "test/Test002": 10}
    assert listing.label_source == "masks in Test*_gt, any pixel"
    (tmp_path / "Test/Test002_gt/004.bmp").write_bytes(b"no picture")
    with pytest.raises(UserError, match=r"004\.bmp: is no mask that can be read"):
        READERS["ped2"](str(tmp_path))


def test_masks_of_ped2_are_in_the_order_of_its_frames(tmp_path):
    frames(tmp_path / "Train/Train001", 2)
    frames(tmp_path / "Test/Test001", 12)
    folder = tmp_path / "Test/Test001_gt"
    folder.mkdir()
    for number in range(1, 13):
        Image.new("L", (8, 8), 255 * (number >= 10)).save(folder / f"{number}.bmp")
    assert READERS["ped2"](str(tmp_path)).labels == {"test/Test001": [(9, 12)]}


def test_a_mask_of_too_many_pixels_is_named(tmp_path, monkeypatch):
    WRITERS["ped2"](tmp_path)
    (tmp_path / PED2).unlink()
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 100)
    with pytest.raises(UserError, match=r"001\.bmp: is no mask that can be read .*decompression bomb"):
        READERS["ped2"](str(tmp_path))


def test_copies_of_ped2_and_avenue_as_frames(tmp_path):
    frames(tmp_path / "ped2/training/frames/01", 3)
    frames(tmp_path / "ped2/testing/frames/01", 3)
    (tmp_path / "ped2" / "UCSDped2.m").write_text("% none\nTestVideoFile{end+1}.gt_frame = [];\n")
    listing = READERS["ped2"](str(tmp_path / "ped2"))
    assert [video.video_id for video in listing.videos] == ["test/Test001", "train/Train001"]
    assert listing.labels == {}
    root = tmp_path / "avenue"
    WRITERS["avenue"](root)
    for number in (1, 2):
        (root / f"testing_videos/{number:02d}.avi").unlink()
        frames(root / f"testing/frames/{number:02d}", 9)
    listing = READERS["avenue"](str(root))
    assert [(video.video_id, video.is_frames) for video in listing.videos] == [
        ("test/01", True),
        ("test/02", True),
        ("train/01", False),
        ("train/02", False),
    ]


def test_a_demo_that_brings_its_videos_along_is_no_second_copy(tmp_path):
    root = copy("avenue", tmp_path)
    (root / "ground_truth_demo/testing_videos").mkdir()
    (root / "ground_truth_demo/testing_videos/01.avi").write_bytes((root / "testing_videos/01.avi").read_bytes())
    listing = READERS["avenue"](str(root))
    assert {video.video_id: video.uri for video in listing.videos}["test/01"] == f"{root}/testing_videos/01.avi"
    assert listing.notes == (
        f"videos that are there a second time, left out: 1 ({root}/ground_truth_demo/testing_videos/01.avi)",
    )
    (root / "ground_truth_demo/testing_videos/01.avi").write_bytes(b"another")
    with pytest.raises(UserError, match="are both the video '01'"):
        READERS["avenue"](str(root))


def test_names_without_a_label_are_told(tmp_path):
    root = copy("xd_violence", tmp_path)
    clip(root / "test_videos/trailer.mp4", 10)
    clip(root / "1-1004/other_label_C1-0-0.mp4", 10)
    notes = READERS["xd_violence"](str(root)).notes
    (note,) = (note for note in notes if note.startswith("names that do not end in _label_ and a known label: 2 ("))
    assert "trailer.mp4" in note


@pytest.mark.parametrize(
    ("name", "path", "missing"),
    [
        ("ped2", "Test/Test001", "test/Test001"),
        ("shanghaitech", "testing/frames/12_0142", "test/12_0142"),
        ("nwpu_campus", "videos/Test/D204_02.avi", "test/D204_02"),
        ("avenue", "testing_videos/02.avi", "test/02"),
        ("ubnormal", "Scene10/normal_scene_10_scenario_7.mp4", "normal_scene_10_scenario_7"),
    ],
)
def test_what_is_labelled_or_listed_and_missing(tmp_path, name, path, missing):
    root = copy(name, tmp_path)
    if (root / path).is_dir():
        shutil.rmtree(root / path)
    else:
        (root / path).unlink()
    listing = READERS[name](str(root))
    assert listing.missing == (missing,)
    assert f"videos that lists or labels name and that are missing: 1 ({missing})" in listing.notes


def test_a_number_that_is_there_in_two_forms(tmp_path):
    root = copy("avenue", tmp_path)
    clip(root / "testing_videos/1.avi", 14, 2)
    with pytest.raises(UserError, match=r"are both the video 1\. Keep one"):
        READERS["avenue"](str(root))


@pytest.mark.parametrize(("name", "path"), [("shanghaitech", MASK), ("ubnormal", TRACKS)], ids=["arrays", "tracks"])
def test_labels_that_are_there_twice_and_differ(tmp_path, name, path):
    root = copy(name, tmp_path)
    again = root / "again" / path
    again.parent.mkdir(parents=True)
    again.write_bytes((root / path).read_bytes())
    before = READERS[name](str(root)).labels
    assert before
    again.write_bytes(b"something else")
    with pytest.raises(UserError, match="differ; keep one"):
        READERS[name](str(root))


def test_a_list_that_cannot_be_read(tmp_path, monkeypatch):
    root = copy("xd_violence", tmp_path)

    def fail(self, path, *arguments, **options):
        raise PermissionError(13, "Permission denied", path)

    monkeypatch.setattr(LocalFileSystem, "cat_file", fail)
    with pytest.raises(UserError, match=r"annotations\.txt: cannot be read \(.*Permission denied"):
        READERS["xd_violence"](str(root))
