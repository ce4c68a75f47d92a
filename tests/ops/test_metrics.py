import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn import metrics as oracle

from raypipe.ops.metrics import (
    METRICS,
    anchored_auc,
    average_precision,
    measure,
    pr_auc,
    precision_recall_curve,
    rank_videos,
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
        assert roc_curve(rank_videos([score], [label])) is None
        assert precision_recall_curve(rank_videos([score], [label])) is None
        return
    x, y, _ = oracle.roc_curve(label, score, drop_intermediate=False)
    np.testing.assert_allclose(roc_curve(rank_videos([score], [label])), (x, y), atol=1e-15)
    precision, recall, _ = oracle.precision_recall_curve(label, score)
    np.testing.assert_allclose(
        precision_recall_curve(rank_videos([score], [label])), (recall[::-1], precision[::-1]), atol=1e-15
    )


@pytest.mark.parametrize("max_points", [2, 10, 500])
def test_thinned_curves_keep_ends_and_shape(max_points):
    rng = np.random.default_rng(0)
    label = rng.random(20_000) < 0.3
    score = rng.normal(size=20_000) + label
    ranked = rank_videos([score], [label])
    x, y = roc_curve(ranked, max_points)
    assert len(x) <= max_points
    assert (x[0], y[0], x[-1], y[-1]) == (0, 0, 1, 1)
    if max_points == 500:
        assert np.trapezoid(y, x) == pytest.approx(roc_auc(score, label), abs=1e-4)
    x, y = precision_recall_curve(ranked, max_points)
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
    # video 0: AUC 1; video 1: normal only; video 2 has no frames; video 3: AUC 0
    videos = rank_videos([[1, 2], [5, 5], [], [9, 8]], [[0, 1], [0, 0], [], [0, 1]])
    score, label = [1, 2, 5, 5, 9, 8], [0, 1, 0, 0, 0, 1]
    result = measure(videos)
    assert list(result) == list(METRICS)
    assert result["macro_auc_skip"] == 0.5
    # anchored: 1; 0.5; normal 9 8, abnormal 8 9: 1 + 1/2 + 1/2 + 0 of 4
    assert result["macro_auc_anchored"] == pytest.approx((1 + 0.5 + 0.5) / 3)
    assert result["micro_auc"] == oracle.roc_auc_score(label, score)
    assert result["average_precision"] == pytest.approx(oracle.average_precision_score(label, score))
    np.testing.assert_array_equal(videos.num_frames, [2, 2, 0, 2])
    np.testing.assert_array_equal(videos.auc, [1, np.nan, np.nan, 0])


def test_videos_counted_several_times_are_as_if_given_several_times():
    scores, labels = [[1, 4], [2, 2, 3], [7]], [[0, 1], [0, 1, 0], [0]]
    repeated = measure(rank_videos([scores[i] for i in (0, 0, 1)], [labels[i] for i in (0, 0, 1)]))
    assert measure(rank_videos(scores, labels), [2, 1, 0]) == pytest.approx(repeated, abs=1e-15)


@pytest.mark.parametrize(
    ("is_in", "score", "label"),
    [
        ([True, False, True], [1, 4, 4, 2], [0, 1, 0, 1]),
        ([False, True, False], [2, 4], [1, 0]),
    ],
)
def test_a_group_of_videos_is_as_if_it_were_alone(is_in, score, label):
    videos = rank_videos([[1, 4], [2, 4], [4, 2]], [[0, 1], [1, 0], [0, 1]])
    group = videos.select(np.array(is_in))
    assert measure(group)["micro_auc"] == roc_auc(score, label)
    assert len(group.ends) == len(set(score))
    assert group.num_frames.sum() == len(score)
    assert np.isnan(group.auc[~np.array(is_in)]).all()


@given(FRAMES)
@settings(max_examples=100, deadline=None)
def test_anchored_areas_equal_those_with_two_frames_added(frames):
    score, label, _ = (np.array(column) for column in zip(*frames, strict=True))
    added = np.append(score, (score.min(), score.max())), np.append(label, (False, True))
    assert anchored_auc(score, label) == pytest.approx(oracle.roc_auc_score(*added[::-1]), abs=1e-12)


@pytest.mark.parametrize(
    ("score", "label", "defined"),
    [([1, 2], [0, 0], {"macro_auc_anchored"}), ([], [], set())],
)
def test_undefined_metrics_are_none(score, label, defined):
    result = measure(rank_videos([score], [label]))
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
    for metric in (roc_auc, average_precision, pr_auc, anchored_auc):
        with pytest.raises(ValueError, match=message):
            metric(score, label)
    with pytest.raises(ValueError, match=message):
        rank_videos([score], [label])


@pytest.mark.parametrize("weight", [[1.0], [1.0, -1.0], [1.0, np.nan]])
def test_bad_weights_are_refused(weight):
    with pytest.raises(ValueError, match="weights"):
        roc_auc([1, 2], [0, 1], weight)
