"""What `datasets check` finds in copies that are whole, and in copies that lack something."""

import json
import shutil
from dataclasses import replace

import pytest
from PIL import Image

from raypipe.cli.main import main
from raypipe.datasets import check
from raypipe.datasets.specs import DATASET_NAMES, SPECS
from tests.helpers.miniatures import WRITERS, clip, frames, text

# The official numbers of the miniatures.
SMALL = {
    "ucf_crime": {"videos": {"train": 2, "train_abnormal": 1, "test": 3}, "abnormal_frames": 33},
    "xd_violence": {"videos": {"train": 2, "train_abnormal": 1, "test": 3}, "abnormal_frames": 8},
    "shanghaitech": {"videos": {"train": 2, "test": 2}, "test_frames": 18, "abnormal_frames": 4},
    "avenue": {"videos": {"train": 2, "test": 2}, "test_frames": 23, "train_frames": 24},
    "ubnormal": {"videos": {"train": 2, "train_abnormal": 1, "validation": 2, "test": 3}},
    "nwpu_campus": {"videos": {"train": 2, "test": 2}},
    "ped2": {"videos": {"train": 2, "test": 2}, "train_frames": 24, "test_frames": 20, "abnormal_frames": 7},
}


@pytest.fixture
def small(monkeypatch):
    for name, numbers in SMALL.items():
        monkeypatch.setitem(SPECS, name, replace(SPECS[name], **numbers))


def findings(name, root, **options):
    return {finding.kind: finding for finding in check.check_dataset(name, str(root), **options).findings}


def test_every_data_set_is_known():
    assert tuple(SPECS) == DATASET_NAMES
    for name, known in SPECS.items():
        assert name == "folder" or (known.page.startswith("http") and known.paper and known.parts and known.videos)


@pytest.mark.parametrize(
    ("name", "train", "test"),
    [
        ("ucf_crime", 1610, 290),
        ("xd_violence", 3954, 800),
        ("shanghaitech", 330, 107),
        ("avenue", 16, 21),
        ("ubnormal", 268, 211),
        ("nwpu_campus", 305, 242),
        ("ped2", 16, 12),
    ],
)
def test_official_counts(name, train, test):
    videos = SPECS[name].videos
    assert (videos["train"] + videos.get("train_abnormal", 0), videos["test"]) == (train, test)


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize("name", [name for name in SMALL if name not in ("ucf_crime", "shanghaitech")])
def test_a_whole_copy(tmp_path, capsys, name):
    WRITERS[name](tmp_path)
    assert main(["datasets", "check", name, str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert said.endswith("no fault was found\n")
    assert "http" not in said


@pytest.mark.usefixtures("small")
@pytest.mark.parametrize(
    ("name", "kind", "names"),
    [
        ("ucf_crime", "label past the end", ("Arson/Arson011_x264: to frame 40 of 20",)),
        ("shanghaitech", "label length", ("test/12_0142: 9 labels, 8 frames",)),
    ],
)
def test_labels_that_do_not_fit_the_frames(tmp_path, capsys, name, kind, names):
    WRITERS[name](tmp_path)
    found = findings(name, tmp_path)
    assert list(found) == [kind]
    assert found[kind].names == names
    # Without opening videos nobody can know.
    assert findings(name, tmp_path, is_probed=False) == {}
    assert main(["datasets", "check", name, str(tmp_path), "--no-probe"]) == 0
    assert "no video was opened (--no-probe)" in capsys.readouterr().out


@pytest.mark.usefixtures("small")
def test_a_copy_in_which_much_is_wrong(tmp_path, capsys):
    root = tmp_path / "copy"
    WRITERS["xd_violence"](root)
    (root / "test_videos/v=S-7rRLrxnVQ__#1_label_B4-0-0.mp4").unlink()
    (root / "1-1004/v=aaa__#1_label_A.mp4").write_bytes(b"")
    shutil.copy(root / "3320-3954/v=ddd__#1_label_A.mp4", root / "test_videos/v=ddd__#1_label_A.mp4")
    clip(root / "others/v=eee__#1_label_A.mp4", 5)
    assert main(["datasets", "check", "xd_violence", str(root), "--json", str(tmp_path / "report.json")]) == 3
    said = capsys.readouterr().out
    document = json.loads((tmp_path / "report.json").read_text())
    found = {finding["kind"]: finding["names"] for finding in document["findings"]}
    assert found["missing"] == ["test/v=S-7rRLrxnVQ__#1_label_B4-0-0"]
    assert found["extra"] == ["others/v=eee__#1_label_A"]
    assert len(found["unreadable"]) == 1
    assert found["unreadable"][0].startswith("train/v=aaa__#1_label_A: ")
    assert "the file is empty" in found["unreadable"][0]
    assert found["duplicate"] == ["test/v=ddd__#1_label_A (test) = train/v=ddd__#1_label_A (train)"]
    assert found["count"] == []
    assert document["is_complete"] is False
    counts = {count["name"]: (count["here"], count["official"]) for count in document["counts"]}
    assert counts["test videos"] == (3, 3)
    assert counts["abnormal frames"] == (3, 8)
    for line in (
        "abnormal frames           3         8  5 too few",
        "missing: lists or labels name them: 1\n    test/v=S-7rRLrxnVQ__#1_label_B4-0-0",
        "Download it at https://roc-ng.github.io/XD-Violence/",
        "1-1004, 1005-2004, 2005-2804, 2805-3319 and 3320-3954",
    ):
        assert line in said


def test_too_few_videos_of_a_split(tmp_path, capsys):
    WRITERS["ped2"](tmp_path)
    assert main(["datasets", "check", "ped2", str(tmp_path)]) == 3
    said = capsys.readouterr().out
    assert "train videos        2        16  14 too few\n" in said
    assert "http://www.svcl.ucsd.edu/projects/anomaly/dataset.html" in said


def test_a_copy_without_labels_is_a_finding_and_says_what_to_get(tmp_path, capsys):
    WRITERS["nwpu_campus"](tmp_path)
    (tmp_path / "gt.npz").unlink()
    assert main(["datasets", "check", "nwpu_campus", str(tmp_path)]) == 3
    said = capsys.readouterr().out
    assert "layout: dataset.root: " in said
    assert "holds no gt.npz, the labels of the test videos" in said
    assert "https://campusvad.github.io" in said


@pytest.mark.usefixtures("small")
def test_the_rest_of_an_official_archive_is_no_finding(tmp_path):
    WRITERS["ucf_crime"](tmp_path)
    report = check.check_dataset("ucf_crime", str(tmp_path))
    assert [finding.kind for finding in report.findings] == ["label past the end"]
    assert report.notes == ("videos in no split, left out: 1 (Videos/Normal_Videos_event/Normal_Videos_003_x264)",)


def test_more_names_than_are_shown(tmp_path):
    names = tuple(str(number) for number in range(13))
    report = check.CopyReport("folder", "/data", findings=[check.CopyFault("missing", "lists name them", names)])
    assert check.report_lines(report)[-2:] == ["    9", "    and 3 more (--json lists all)"]


def test_a_folder_of_ones_own(tmp_path, capsys):
    clip(tmp_path / "train/a.mp4", 10)
    clip(tmp_path / "test/b.mp4", 10, 1)
    assert main(["datasets", "check", "folder", str(tmp_path)]) == 0
    assert "train videos     1         -" in capsys.readouterr().out


def test_a_frame_in_two_intervals_is_counted_once(tmp_path, capsys):
    clip(tmp_path / "test/b.mp4", 10, 1)
    (tmp_path / "labels.csv").write_text("video,start_frame,end_frame\ntest/b,0,6\ntest/b,4,8\n")
    report = check.check_dataset("folder", str(tmp_path))
    assert {count.name: count.here for count in report.counts}["abnormal frames"] == 8
    assert main(["datasets", "check", "folder", str(tmp_path)]) == 0
    assert "note: videos whose intervals overlap, joined: 1 (test/b)\n" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["ped2", "/nowhere"], "raypipe: dataset.root: /nowhere is not a folder"),
        (["ped3", "/nowhere"], "invalid choice: 'ped3'"),
        (["ped2"], "the following arguments are required: ROOT"),
    ],
)
def test_a_mistake_in_the_call(arguments, message, capsys):
    try:
        code = main(["datasets", "check", *arguments])
    except SystemExit as error:
        code = error.code
    assert code == 2
    assert message in capsys.readouterr().err


def test_a_video_that_is_cut_off_is_damaged(tmp_path, capsys):
    clip(tmp_path / "train/a.mp4", 10)
    clip(tmp_path / "test/b.mkv", 100, 1)
    content = (tmp_path / "test/b.mkv").read_bytes()
    (tmp_path / "test/b.mkv").write_bytes(content[: len(content) // 3])
    found = findings("folder", tmp_path)
    assert list(found) == ["damaged"]
    assert found["damaged"].names[0].startswith("test/b: ")


def test_damage_in_folders_of_frames(tmp_path, capsys):
    for seed, folder in enumerate(("train/a", "test/b")):
        frames(tmp_path / folder, 12, first=1, seed=seed)
    (tmp_path / "test/b/003.jpg").write_bytes(b"")
    whole = (tmp_path / "test/b/005.jpg").read_bytes()
    (tmp_path / "test/b/005.jpg").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "test/b/006.jpg").write_bytes(b"a page of an error")
    Image.new("RGB", (8, 6)).save(tmp_path / "test/b/007.jpg")
    for number in (2, 9, 10):
        (tmp_path / f"test/b/{number:03d}.jpg").unlink()
    found = findings("folder", tmp_path)
    assert list(found) == ["damaged frames", "gap"]
    empty, cut, page, small = found["damaged frames"].names
    assert empty == "test/b/003.jpg: is empty"
    assert cut.startswith("test/b/005.jpg: cannot be decoded (image file is truncated")
    assert page == "test/b/006.jpg: is not an image"
    assert small == "test/b/007.jpg: is 8x6, the frames before 64x48"
    assert found["gap"].names == ("test/b: 2", "test/b: 9 to 10")
    assert findings("folder", tmp_path, is_probed=False) == {}
    assert main(["datasets", "check", "folder", str(tmp_path)]) == 3
    assert "gap: numbers of frames that are missing: 2\n    test/b: 2\n" in capsys.readouterr().out


def test_a_folder_whose_first_frame_is_broken_has_its_others_checked(tmp_path):
    frames(tmp_path / "test/b", 4)
    for number in (0, 2):
        (tmp_path / f"test/b/{number:03d}.jpg").write_bytes(b"")
    found = findings("folder", tmp_path)
    assert list(found) == ["unreadable", "damaged frames"]
    assert found["damaged frames"].names == ("test/b/000.jpg: is empty", "test/b/002.jpg: is empty")


def test_folders_of_the_same_frames(tmp_path):
    frames(tmp_path / "train/a", 4)
    frames(tmp_path / "test/b", 4, first=7)
    frames(tmp_path / "test/c", 4)
    files = sorted((tmp_path / "test/c").iterdir())
    content = [file.read_bytes() for file in files]
    for file, other in zip(files, reversed(content), strict=True):
        file.write_bytes(other)
    found = findings("folder", tmp_path)
    assert list(found) == ["duplicate"]
    assert found["duplicate"].names == ("test/b (test) = train/a (train)",)


def test_videos_are_checked_where_labels_are_missing(tmp_path, capsys):
    WRITERS["nwpu_campus"](tmp_path)
    (tmp_path / "gt.npz").unlink()
    train = sorted((tmp_path / "videos/Train").iterdir())
    test = sorted((tmp_path / "videos/Test").iterdir())
    shutil.copy(train[0], tmp_path / "videos/Test/copy.avi")
    test[0].write_bytes(b"")
    report = check.check_dataset("nwpu_campus", str(tmp_path))
    found = {finding.kind: finding.names for finding in report.findings}
    assert list(found) == ["layout", "unreadable", "duplicate"]
    assert len(found["unreadable"]) == 1
    assert found["unreadable"][0].startswith(f"videos/Test/{test[0].stem}: ")
    assert found["duplicate"] == (f"videos/Test/copy = videos/Train/{train[0].stem}",)
    assert {count.name: count.here for count in report.counts}["videos"] == 5
    assert report.notes == (check.ONLY_VIDEOS,)
    unopened = check.check_dataset("nwpu_campus", str(tmp_path), is_probed=False)
    assert [(count.name, count.here) for count in unopened.counts] == [("videos", 5), ("frames", None)]
    assert main(["datasets", "check", "nwpu_campus", str(tmp_path)]) == 3
    assert "note: splits and labels are not checked until the layout is right" in capsys.readouterr().out


@pytest.mark.parametrize("files", [{}, {"test/1.mp4": b"", "test/1.avi": b""}])
def test_nothing_more_to_check_is_told(tmp_path, capsys, files):
    for name, content in files.items():
        text(tmp_path / name, content)
    assert main(["datasets", "check", "folder", str(tmp_path)]) == 3
    layout, last = capsys.readouterr().out.splitlines()[-2:]
    assert layout.startswith("layout: ")
    assert last == "nothing else can be checked until this is put right"


def test_masks_are_no_videos_where_the_layout_cannot_be_read(tmp_path):
    WRITERS["ped2"](tmp_path)
    (tmp_path / "Test/UCSDped2.m").write_text("gt_frame = [4:x];")
    report = check.check_dataset("ped2", str(tmp_path))
    assert [finding.kind for finding in report.findings] == ["layout"]
    assert [(count.name, count.here) for count in report.counts] == [("videos", 4), ("frames", 44)]
