import numpy as np
import pytest
from pydantic import ValidationError

from raypipe.config.workflow import EvaluateConfig
from raypipe.errors import AnnotationError
from raypipe.evaluation.evaluate import AlignmentNote, VideoScores, align_labels, evaluate_videos
from raypipe.evaluation.results import metric_table

NAN = np.nan
CONFIG = EvaluateConfig(bootstrap_samples=50)


def video(name, score, label, num_cut=0, **known):
    return VideoScores(name, np.array(score, float), np.array(label, bool), num_cut, **known)


def small_evaluation(**options):
    videos = [
        video("a", [1, 2, 4, NAN], [0, 0, 1, 1]),
        video("b", [1, 3, 2], [0, 1, 0]),
        video("c", [1, 2], [0, 0]),
        video("d", [NAN], [0]),
    ]
    return evaluate_videos(videos, CONFIG, seed=0, **options)


@pytest.mark.parametrize(
    ("intervals", "expected", "num_cut"),
    [
        ([], [0, 0, 0, 0], 0),
        ([(1, 3)], [0, 1, 1, 0], 0),
        ([(0, 1), (3, 4)], [1, 0, 0, 1], 0),
        ([(0, 2), (1, 3)], [1, 1, 1, 0], 0),  # overlapping
        ([(2, 9)], [0, 0, 1, 1], 5),
        ([(6, 9), (7, 10)], [0, 0, 0, 0], 4),  # wholly past the end, counted once
        ([(2, 2)], [0, 0, 0, 0], 0),
    ],
)
def test_align_labels(intervals, expected, num_cut):
    label, cut = align_labels(intervals, 4)
    np.testing.assert_array_equal(label, expected)
    assert (label.dtype, cut) == (bool, num_cut)


@pytest.mark.parametrize("interval", [(-1, 2), (3, 2)])
def test_align_labels_refuses(interval):
    with pytest.raises(AnnotationError, match="not a range"):
        align_labels([interval], 4)


def test_unscored_frames_are_left_out_and_counted():
    result = small_evaluation()
    # 6 normal frames 1 2 | 1 2 | 1 2 and 2 abnormal ones 4 | 3
    assert result.metrics["micro_auc"].value == 1.0
    assert (result.num_frames, result.num_abnormal, result.num_unscored) == (10, 3, 2)
    assert result.one_class_videos == ["c"]
    assert [v.auc for v in result.videos] == [1.0, 1.0, None, None]
    assert [(v.min_score, v.max_score) for v in result.videos] == [(1, 4), (1, 3), (1, 2), (None, None)]


def test_labels_of_another_length_are_aligned_and_listed():
    result = evaluate_videos(
        [video("a", [1, 2, 3], [0, 1]), video("b", [1, 2], [0, 1, 1]), video("c", [1], [0], num_cut=4)], CONFIG, seed=0
    )
    assert result.alignment == [AlignmentNote("a", 0, 1), AlignmentNote("b", 1, 0), AlignmentNote("c", 4, 0)]
    assert "a (1 padded), b (1 cut), c (4 cut)" in metric_table(result)
    assert [v.num_abnormal for v in result.videos] == [1, 1, 0]


def test_no_videos_and_one_class_have_no_figures():
    for videos in ([], [video("a", [1, 2], [0, 0], fps=1.0)]):
        result = evaluate_videos(videos, CONFIG, seed=0)
        assert result.metrics["micro_auc"].value is None
        assert "not defined" in metric_table(result)
        assert result.roc is None


@pytest.mark.parametrize(
    ("videos", "message"),
    [([video("a", [1], [0])] * 2, "given twice"), ([video("a", [np.inf], [0])], "a: 1 scores are infinite")],
)
def test_evaluate_videos_refuses(videos, message):
    with pytest.raises(ValueError, match=message):
        evaluate_videos(videos, CONFIG, seed=0)


def test_the_seed_decides_the_intervals():
    generator = np.random.default_rng(7)
    videos = [video(name, generator.normal(size=9), generator.integers(0, 2, 9)) for name in "abcdefgh"]
    first, again, other = (evaluate_videos(videos, CONFIG, seed=seed).metrics for seed in (0, 0, 1))
    assert first == again
    for name in ("micro_auc", "macro_auc_anchored", "average_precision"):
        assert first[name].value == other[name].value
        assert (first[name].low, first[name].high) != (other[name].low, other[name].high)


@pytest.mark.parametrize("values", [{"bootstrap_samples": -1}, {"samples": 5}])
def test_config_refuses(values):
    with pytest.raises(ValidationError):
        EvaluateConfig(**values)


def test_classes_scenes_and_alarms_come_with_the_videos():
    videos = [
        video("a", [0, 0, 9, 0], [0, 0, 1, 0], fps=1.0, class_name="fight", scene="01"),
        video("b", [0, 8, 0, 0], [0, 0, 0, 0], fps=1.0, class_name="normal", scene="02"),
    ]
    result = evaluate_videos(videos, CONFIG, seed=0)
    assert [(group.kind, group.name) for group in result.groups] == [
        *(("class", "fight"), ("class", "normal")),
        *(("scene", "01"), ("scene", "02")),
    ]
    # 7 normal seconds allow no false alarm in an hour's share: the threshold is above 8.
    assert [(v.num_events, v.num_detected, v.mean_delay_seconds, v.num_false_alarms) for v in result.videos] == [
        (1, 1, 0.0, 0),
        (0, 0, None, 0),
    ]
    assert [(v.class_name, v.scene, v.fps) for v in result.videos] == [("fight", "01", 1.0), ("normal", "02", 1.0)]


def test_without_every_frame_rate_there_are_no_alarms():
    result = evaluate_videos([video("a", [1, 2], [0, 1], fps=1.0), video("b", [1], [0])], CONFIG, seed=0)
    assert result.alarms is None
    assert result.videos[0].num_events is None
    assert "the frame rate is not known" in metric_table(result)
