import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from raypipe.ops.metrics import (
    METRICS,
    Interval,
    anchored_auc,
    average_precision,
    bootstrap,
    measure,
    pr_auc,
    precision_recall_curve,
    roc_auc,
    roc_curve,
)

# Few distinct values, so that most examples are full of ties.
SCORES = st.one_of(st.integers(0, 3).map(float), st.floats(-1e9, 1e9), st.just(0.0))
FRAMES = st.lists(st.tuples(SCORES, st.booleans(), st.integers(0, 3)), min_size=1, max_size=60)


def areas_by_oracle(score, label, weight=None):
    precision, recall, _ = oracle.precision_recall_curve(label, score, sample_weight=weight)
    return (
        oracle.roc_auc_score(label, score, sample_weight=weight),
        oracle.average_precision_score(label, score, sample_weight=weight),
        oracle.auc(recall, precision),
    )


@pytest.mark.parametrize(
    ("score", "label", "auc", "precision"),
    [
        ([1, 2, 3, 4], [0, 0, 1, 1], 1.0, 1.0),
        ([4, 3, 2, 1], [0, 0, 1, 1], 0.0, (1 / 3 + 2 / 4) / 2),
        ([5, 5, 5, 5], [0, 0, 0, 1], 0.5, 0.25),  # all equal: no better than chance
        ([1, 2, 2, 3], [0, 0, 1, 1], 7 / 8, (1 + 2 / 3) / 2),  # one tied pair counts one half
        ([np.inf, 0, -np.inf], [1, 1, 0], 1.0, 1.0),
        ([1, 2], [0, 0], None, None),
        ([1, 2], [1, 1], None, None),
        ([], [], None, None),
    ],
)
def test_areas(score, label, auc, precision):
    assert roc_auc(score, label) == pytest.approx(auc)
    assert average_precision(score, label) == pytest.approx(precision)
    assert (pr_auc(score, label) is None) == (auc is None)


def test_pr_auc_is_not_the_average_precision():
    # points (recall, precision): (0, 1), (0, 0), (1, 1/2)
    assert pr_auc([2, 1], [0, 1]) == pytest.approx((0 + 0.5) / 2)
    assert average_precision([2, 1], [0, 1]) == pytest.approx(0.5)


@given(FRAMES)
@settings(max_examples=150, deadline=None)
def test_areas_equal_scikit_learn(frames):
    score, label, weight = (np.array(column) for column in zip(*frames, strict=True))
    ours = roc_auc(score, label), average_precision(score, label), pr_auc(score, label)
    if label.all() or not label.any():
        assert ours == (None, None, None)
    else:
        assert ours == pytest.approx(areas_by_oracle(score, label), abs=1e-12)
    weighted = tuple(metric(score, label, weight) for metric in (roc_auc, average_precision, pr_auc))
    if not weight[label].any() or not weight[~label].any():
        assert weighted == (None, None, None)
    else:
        assert weighted == pytest.approx(areas_by_oracle(score, label, weight), abs=1e-12)
        # A whole weight is the same as that many equal frames.
        repeated = np.repeat(score, weight), np.repeat(label, weight)
        assert weighted == pytest.approx(
            (roc_auc(*repeated), average_precision(*repeated), pr_auc(*repeated)), abs=1e-12
        )


@given(FRAMES)
@settings(max_examples=100, deadline=None)
def test_order_of_frames_and_monotone_maps_do_not_matter(frames):
    score, label, _ = (np.array(column) for column in zip(*frames, strict=True))
    assert roc_auc(score[::-1], label[::-1]) == roc_auc(score, label)
    ranks = np.unique(score, return_inverse=True)[1]
    assert average_precision(ranks, label) == average_precision(score, label)


@given(FRAMES)
@settings(max_examples=100, deadline=None)
def test_curves_equal_scikit_learn(frames):
    score, label, _ = (np.array(column) for column in zip(*frames, strict=True))
    if label.all() or not label.any():
        assert roc_curve(score, label) is None
        assert precision_recall_curve(score, label) is None
        return
    x, y, _ = oracle.roc_curve(label, score, drop_intermediate=False)
    np.testing.assert_allclose(roc_curve(score, label), (x, y), atol=1e-15)
    precision, recall, _ = oracle.precision_recall_curve(label, score)
    np.testing.assert_allclose(precision_recall_curve(score, label), (recall[::-1], precision[::-1]), atol=1e-15)


@pytest.mark.parametrize("max_points", [2, 10, 500])
def test_thinned_curves_keep_ends_and_shape(max_points):
    rng = np.random.default_rng(0)
    label = rng.random(20_000) < 0.3
    score = rng.normal(size=20_000) + label
    x, y = roc_curve(score, label, max_points)
    assert len(x) <= max_points
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    if max_points == 500:
        assert np.trapezoid(y, x) == pytest.approx(roc_auc(score, label), abs=1e-4)
    x, y = precision_recall_curve(score, label, max_points)
    assert len(x) <= max_points
    assert (x[0], y[0], x[-1], y[-1]) == (0, 1, 1, pytest.approx(label.mean()))


@pytest.mark.parametrize(
    ("score", "label", "expected"),
    [
        # normal 1 2 | 1, abnormal 3 | 3: every pair in order
        ([1, 2, 3], [0, 0, 1], 1.0),
        # normal 1 3 | 1, abnormal 2 | 3: (2 + 3 - 1/2) of 6 pairs, one of them tied
        ([1, 3, 2], [0, 0, 1], (2 + 2.5) / 6),
        # only normal frames 1 2 and the anchors 1, 2: 2 is above 1 and 1 and tied with 2
        ([1, 2], [0, 0], 2.5 / 3),
        ([4, 4], [0, 0], 0.5),
        ([], [], None),
    ],
)
def test_anchored_auc(score, label, expected):
    assert anchored_auc(score, label) == pytest.approx(expected)


def test_measure_over_videos():
    # video 0: AUC 1; video 1: normal only; video 3: AUC 0; there is no video 2
    score, label, video = [1, 2, 5, 5, 9, 8], [0, 1, 0, 0, 0, 1], [0, 0, 1, 1, 3, 3]
    result = measure(score, label, video)
    assert list(result) == list(METRICS)
    assert result["macro_auc_skip"] == 0.5
    # anchored: 1; 0.5; normal 9 8, abnormal 8 9: 1 + 1/2 + 1/2 + 0 of 4
    assert result["macro_auc_anchored"] == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert result["micro_auc"] == oracle.roc_auc_score(label, score)
    assert result["average_precision"] == pytest.approx(oracle.average_precision_score(label, score))


@pytest.mark.parametrize(
    ("score", "label", "defined"),
    [([1, 2], [0, 0], {"macro_auc_anchored"}), ([], [], set())],
)
def test_undefined_metrics_are_none(score, label, defined):
    result = measure(score, label, [0] * len(score))
    assert {name for name, value in result.items() if value is not None} == defined


@pytest.mark.parametrize(
    ("score", "label", "message"),
    [
        ([1, np.nan], [0, 1], "NaN"),
        ([1, 2], [0, 2], "0 or 1"),
        ([1, 2], [0], "one length"),
        ([[1, 2]], [[0, 1]], "vectors"),
    ],
)
def test_bad_input_is_refused(score, label, message):
    for metric in (roc_auc, average_precision, pr_auc, roc_curve):
        with pytest.raises(ValueError, match=message):
            metric(score, label)


@pytest.mark.parametrize("weight", [[1.0], [1.0, -1.0], [1.0, np.nan]])
def test_bad_weights_are_refused(weight):
    with pytest.raises(ValueError, match="weights"):
        roc_auc([1, 2], [0, 1], weight)


@pytest.mark.parametrize("video", [[0], [0, -1]])
def test_bad_videos_are_refused(video):
    with pytest.raises(ValueError, match="name its video"):
        measure([1, 2], [0, 1], video)


def random_videos(num_videos, num_frames, seed=0):
    rng = np.random.default_rng(seed)
    video = np.repeat(np.arange(num_videos), num_frames)
    label = rng.random(video.size) < rng.choice([0, 0.5], num_videos)[video]
    return np.round(rng.normal(size=video.size) + label, 1), label, video


def test_bootstrap_equals_the_slow_way():
    score, label, video = random_videos(7, 30)
    rng = np.random.default_rng(3)
    replicates = []
    for _ in range(40):
        count = rng.multinomial(7, np.full(7, 1 / 7))
        drawn = np.repeat(np.arange(7), count)
        rows = [np.flatnonzero(video == v) for v in drawn]
        renamed = np.repeat(np.arange(len(drawn)), [len(row) for row in rows])
        replicates.append(measure(score[np.concatenate(rows)], label[np.concatenate(rows)], renamed))
    result = bootstrap(score, label, video, num_samples=40, seed=3)
    for name in METRICS:
        values = [replicate[name] for replicate in replicates if replicate[name] is not None]
        low, high = np.percentile(values, (2.5, 97.5))
        assert (result[name].low, result[name].high) == pytest.approx((low, high), abs=1e-12)
        assert result[name].num_left_out == 40 - len(values)


def test_bootstrap_leaves_out_and_counts_replicates_of_one_class():
    # Of two videos one is all normal: drawn twice (1 in 4) there is no abnormal frame.
    result = bootstrap([1, 2, 1, 2], [0, 0, 0, 1], [0, 0, 1, 1], num_samples=400, seed=0)
    assert 60 < result["micro_auc"].num_left_out < 140
    assert result["macro_auc_skip"].num_left_out == result["micro_auc"].num_left_out
    assert result["macro_auc_anchored"].num_left_out == 0
    assert result["macro_auc_skip"] == Interval(1.0, 1.0, result["micro_auc"].num_left_out)


@pytest.mark.parametrize(
    ("label", "video", "num_samples"),
    [([0, 1], [0, 0], 100), ([0, 1], [5, 5], 100), ([0, 1], [0, 1], 0), ([], [], 10)],
)
def test_bootstrap_without_an_interval(label, video, num_samples):
    result = bootstrap(np.arange(len(label)), label, video, num_samples=num_samples, seed=0)
    assert result == dict.fromkeys(METRICS, Interval(None, None, 0))


def test_bootstrap_of_one_class_has_no_interval():
    result = bootstrap([1, 2], [0, 0], [0, 1], num_samples=10, seed=0)
    assert result["micro_auc"] == Interval(None, None, 10)


def test_bootstrap_is_seeded():
    videos = random_videos(10, 50)
    first, again, other = (bootstrap(*videos, num_samples=50, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_bootstrap_covers_the_value_and_is_fast():
    videos = random_videos(12, 170)
    start = time.perf_counter()
    result = bootstrap(*videos, num_samples=1000, seed=0)
    # About 0.1 s on one core; the bound leaves room for a busy machine.
    assert time.perf_counter() - start < 2
    for name, value in measure(*videos).items():
        assert result[name].low <= value <= result[name].high
