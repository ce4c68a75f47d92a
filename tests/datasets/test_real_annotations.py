"""The readers on the real annotation files of UCF-Crime and XD-Violence, with empty files for the videos."""

import re

import numpy as np
import pytest

from raypipe.datasets.check import check_dataset
from raypipe.datasets.ped2 import read_ped2
from raypipe.datasets.shanghaitech import read_shanghaitech
from raypipe.datasets.specs import SPECS
from raypipe.datasets.ucf_crime import read_ucf_crime
from raypipe.datasets.xd_violence import read_xd_violence


@pytest.fixture
def annotations(shared):
    folder = shared / "oracles" / "annotations"
    if not folder.is_dir():
        pytest.skip("needs ../shared/oracles/annotations, which is not there")
    return folder


def total(listing):
    return sum(stop - start for intervals in listing.labels.values() for start, stop in intervals)


def test_ucf_crime(annotations, tmp_path):
    names = (annotations / "ucf_crime_Anomaly_Test.txt").read_text().split()
    for name in names:
        path = tmp_path / "Videos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    (tmp_path / "Anomaly_Test.txt").write_bytes((annotations / "ucf_crime_Anomaly_Test.txt").read_bytes())
    # Videos of the training set, which are not here.
    (tmp_path / "Anomaly_Train.txt").write_text("Abuse/Abuse001_x264.mp4\n")
    temporal = annotations / "ucf_crime_Temporal_Anomaly_Annotation.txt"
    (tmp_path / "Temporal_Anomaly_Annotation.txt").write_bytes(temporal.read_bytes())

    listing = read_ucf_crime(str(tmp_path))
    assert len(listing.videos) == 290
    assert len(listing.labels) == 140
    assert sum(video.class_name == "normal" for video in listing.videos) == 150
    assert len({video.class_name for video in listing.videos}) == 14
    assert listing.missing == ("Abuse/Abuse001_x264",)
    # Counted from the text alone, every number from the first of a pair to the second, none twice.
    abnormal = 0
    for line in temporal.read_text().splitlines():
        pairs = re.findall(r"(?<=  )(-?\d+)  (-?\d+)", line)
        frames = set()
        for first, last in pairs:
            frames |= set(range(int(first), int(last) + 1)) if first != "-1" else set()
        abnormal += len(frames)
    assert total(listing) == abnormal == 84345
    assert listing.labels["Abuse/Abuse028_x264"] == [(165, 241)]
    assert listing.labels["Vandalism/Vandalism036_x264"] == [(540, 781), (990, 1081)]


def test_xd_violence(annotations, tmp_path):
    path = annotations / "xd_violence_annotations.txt"
    # 500 lines, of which the last has no line end (wc -l says 499): all violent videos of the test set.
    lines = [line.split() for line in path.read_text().splitlines()]
    (tmp_path / "test_videos").mkdir()
    for name, *_ in lines:
        (tmp_path / "test_videos" / f"{name.removesuffix('.mp4')}.mp4").touch()
    (tmp_path / "test_videos" / "v=none__#1_label_A.mp4").touch()
    (tmp_path / "test_videos" / "v=silent__#1_label_B1-0-0.mp4").touch()
    (tmp_path / "annotations.txt").write_bytes(path.read_bytes())

    listing = read_xd_violence(str(tmp_path))
    assert len(lines) == len(listing.labels) == 500
    assert listing.missing == ()
    assert len(listing.notes) == 1
    assert listing.notes[0].endswith("count as normal: 1 (test/v=silent__#1_label_B1-0-0)")
    abnormal = sum(
        len({frame for first, stop in zip(*[iter(map(int, numbers))] * 2, strict=True) for frame in range(first, stop)})
        for _, *numbers in lines
    )
    assert total(listing) == abnormal == 538324
    assert listing.labels["test/v=S-7rRLrxnVQ__#1_label_B4-0-0"] == [(0, 1517), (1970, 3038)]
    kinds = [video.class_name for video in listing.videos if video.video_id in listing.labels]
    assert {kind: kinds.count(kind) for kind in set(kinds)} == {
        "fighting": 120,
        "shooting": 84,
        "riot": 101,
        "abuse": 8,
        "car accident": 96,
        "explosion": 91,
    }


# The first six lines of the official UCSDped2.m.
PED2 = ("61:180", "95:180", "1:146", "31:180", "1:129", "1:159")


def test_ped2_on_real_clips(shared, tmp_path):
    data = shared / "data" / "ped2"
    if not data.is_dir():
        pytest.skip("needs ../shared/data/ped2, which is not there")
    for split, count in (("Train", 16), ("Test", 6)):
        (tmp_path / split).mkdir()
        for number in range(1, count + 1):
            clip = data / split.lower() / f"{number:02d}.mp4"
            (tmp_path / split / f"{split}{number:03d}.mp4").symlink_to(clip)
    (tmp_path / "Test" / "UCSDped2.m").write_text("".join(f"TestVideoFile{{end+1}}.gt_frame = [{r}];\n" for r in PED2))
    listing = read_ped2(str(tmp_path))
    assert len(listing.videos) == 22
    rows = (data / "labels.csv").read_text().splitlines()[1:]
    expected = {}
    for video, start, end in (row.split(",") for row in rows):
        expected.setdefault(f"test/Test0{video.removeprefix('test/')}", []).append((int(start), int(end)))
    assert listing.labels == {name: expected[name] for name in listing.labels}
    assert len(listing.labels) == 6
    report = check_dataset("ped2", str(tmp_path))
    assert {count.name: count.here for count in report.counts}["train frames"] == 2550
    assert {finding.kind for finding in report.findings} == {"count"}


def test_shanghaitech_on_real_labels(shared, tmp_path):
    path = shared / "oracles" / "scoring" / "shanghaitech_stgnf.npz"
    if not path.exists():
        pytest.skip("needs ../shared/oracles/scoring, which is not there")
    with np.load(path) as arrays:
        labels, names, lengths = arrays["labels"], arrays["video_names"].tolist(), arrays["num_frames"]
    (tmp_path / "testing/test_frame_mask").mkdir(parents=True)
    for name, label in zip(names, np.split(labels, np.cumsum(lengths)[:-1]), strict=True):
        np.save(tmp_path / f"testing/test_frame_mask/{name}.npy", label)
        (tmp_path / "testing/frames" / name).mkdir(parents=True)
        (tmp_path / "testing/frames" / name / "000.jpg").touch()
    listing = read_shanghaitech(str(tmp_path))
    known = SPECS["shanghaitech"]
    assert len(listing.videos) == known.videos["test"] == 107
    assert sum(listing.label_frames.values()) == known.test_frames == 40791
    assert total(listing) == known.abnormal_frames == int(labels.sum()) == 17326
    assert len({video.scene for video in listing.videos}) == 12
