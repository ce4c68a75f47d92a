import numpy as np
import pyarrow as pa
import pytest

from raypipe.config.stages import MotionConfig
from raypipe.report.findings import Finding, Objects, Peak, peaks_of, strongest_peaks
from raypipe.schema import SCORE
from raypipe.text import clock


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (0, "0:00.0"),
        (7.44, "0:07.4"),
        (59.96, "1:00.0"),
        (61.25, "1:01.2"),
        (3599.99, "1:00:00.0"),
        (7384, "2:03:04.0"),
    ],
)
def test_clock(seconds, expected):
    assert clock(seconds) == expected


def peak(video, score, track=0):
    return Peak(video, 1, 0.1, score, track)


@pytest.mark.parametrize(
    ("is_abnormal", "ending"),
    [(None, "(score 1,234)"), (True, "(score 1,234, labelled abnormal)"), (False, "(score 1,234, labelled normal)")],
)
def test_a_finding_is_a_line(is_abnormal, ending):
    finding = Finding(Peak("test/a", 61, 6.1, 1234.4, 3), "a man runs", is_abnormal)
    assert finding.line() == f"test/a at 0:06.1: a man runs {ending}"


def scores_of(score, tracks, fps=1.0):
    count = len(score)
    columns = {
        "video_id": ["v"] * count,
        "frame_index": np.arange(count),
        "time_seconds": np.arange(count) / fps,
        "score": pa.array(score, pa.float64()),
        "num_objects": [int(track is not None) for track in tracks],
        "top_track_id": pa.array(tracks, pa.int64()),
        "top_sentence": pa.nulls(count, pa.string()),
    }
    return pa.table(columns).cast(SCORE)


def test_a_peak_is_of_the_highest_object_near_it():
    table = scores_of([0, 5, 0, 0, 0, 4, 0, 0, 0, 0], [None, None, 7, None, None, 8, *[None] * 4])
    assert peaks_of("v", table) == [Peak("v", 1, 1.0, 5.0, 7), Peak("v", 5, 5.0, 4.0, 8)]


def test_a_peak_far_from_any_object_is_none():
    # Objects two seconds away are not what the peak is of.
    assert peaks_of("v", scores_of([0, 5, 0, 0, 0], [None, None, None, 7, 7])) == []
    assert peaks_of("v", scores_of([0, 5, 0], [None] * 3)) == []
    assert peaks_of("v", scores_of([None, None], [None, None])) == []


def test_the_strongest_are_of_different_videos_as_far_as_there_are():
    peaks = {"a": [peak("a", 9), peak("a", 8)], "b": [peak("b", 2), peak("b", 1)], "c": []}
    assert strongest_peaks(peaks, 1) == [peak("a", 9)]
    assert strongest_peaks(peaks, 2) == [peak("a", 9), peak("b", 2)]
    assert strongest_peaks(peaks, 3) == [peak("a", 9), peak("a", 8), peak("b", 2)]
    assert len(strongest_peaks(peaks, 9)) == 4
    assert strongest_peaks({}, 3) == []


PER_FRAME = MotionConfig(unit="source_frame")


def objects_of(**changes):
    fields = {
        "frame_index": np.array([0, 0, 2, 2, 5]),
        "time_seconds": np.array([0, 0, 0.2, 0.2, 0.5]),
        "track_id": np.array([4, 5, 4, 5, 4]),
        "boxes": np.zeros((5, 4), np.float32),
        "class_name": pa.chunked_array([["person"] * 5]),
        "sentence": pa.chunked_array([["sits", None, "", None, "runs"]]),
        "motion": np.array([[0, 0, 0, 1, 1, 0, 0, 0]] * 5, np.float32),
        "spatial": np.arange(5.0),
        "by_motion": np.array([1.0] * 5),
    }
    return Objects(**(fields | changes))


def test_an_object_is_told_by_its_sentence_or_by_its_motion():
    objects = objects_of()
    assert [objects.words(row, PER_FRAME) for row in (0, 1, 2, 4)] == [
        "sits",
        "person moves left at 2.0 px/frame",
        "person moves left at 2.0 px/frame",
        "runs",
    ]
    assert objects_of(motion=None).words(1, PER_FRAME) == "person"


def test_rows_of_frames_and_tracks():
    objects = objects_of()
    assert [objects.rows_at(frame) for frame in (0, 1, 2, 9)] == [slice(0, 2), slice(2, 2), slice(2, 4), slice(5, 5)]
    assert [objects.row_of(4, frame) for frame in (0, 2, 4, 9)] == [0, 2, 4, 4]
    with pytest.raises(ValueError, match="empty"):
        objects.row_of(6, 0)


def test_scores_are_the_sum_of_their_parts():
    assert objects_of().score.tolist() == [1, 2, 3, 4, 5]
    assert objects_of(spatial=None).score.tolist() == [1] * 5
    assert objects_of(spatial=None, by_motion=None).score is None
