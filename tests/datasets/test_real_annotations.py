"""The readers on the real annotation files of UCF-Crime and XD-Violence, with empty files for the videos."""

import re

import pytest

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
