import numpy as np
import pytest

from raypipe.ops.scores import combine, contributions, frame_scores, min_max, nearest_sample, smooth

NAN = np.nan


@pytest.mark.parametrize(
    ("frames", "scores", "mask", "expected", "top", "counts"),
    [
        ([0, 0, 2], [1, 3, 2], None, [3, 1, 2], [1, -1, 2], [2, 0, 1]),  # frame 1 is empty: the video's minimum
        ([2, 0, 0], [2, 1, 3], None, [3, 1, 2], [2, -1, 0], [2, 0, 1]),  # rows need no order
        ([1, 1], [5, 5], None, [5, 5, 5], [-1, 0, -1], [0, 2, 0]),  # of equal objects the first
        ([], [], None, [-7, -7, -7], [-1, -1, -1], [0, 0, 0]),  # no object at all: the floor
        ([0], [4], [1, 1, 0], [4, 4, NAN], [0, -1, -1], [1, 0, 0]),  # a dead frame is not a normal frame
        ([], [], [0, 1, 0], [NAN, -7, NAN], [-1, -1, -1], [0, 0, 0]),
        ([0, 1, 2], [-1, -2, -3], None, [-1, -2, -3], [0, 1, 2], [1, 1, 1]),  # log-likelihoods may be negative
    ],
)
def test_frame_scores(frames, scores, mask, expected, top, counts):
    result = frame_scores(frames, scores, 3, scored_mask=mask, floor=-7.0)
    np.testing.assert_array_equal(result.score, expected)
    np.testing.assert_array_equal(result.top_object, top)
    np.testing.assert_array_equal(result.num_objects, counts)
    assert (result.score.dtype, result.top_object.dtype, result.num_objects.dtype) == (np.float64, np.int64, np.int32)


def test_frame_scores_of_a_video_without_frames():
    assert frame_scores([], [], 0, floor=0.0).score.shape == (0,)


@pytest.mark.parametrize(
    ("frames", "scores", "mask", "message"),
    [
        ([0], [NAN], None, "not finite"),
        ([0], [np.inf], None, "not finite"),
        ([3], [1.0], None, "outside a video of 3"),
        ([-1], [1.0], None, "outside a video of 3"),
        ([1], [1.0], [1, 0, 1], "marked as not scored"),
        ([1, 2], [1.0], None, "shapes do not agree"),
        ([1], [1.0], [1, 0], "shapes do not agree"),
    ],
)
def test_frame_scores_refuses(frames, scores, mask, message):
    with pytest.raises(ValueError, match=message):
        frame_scores(frames, scores, 3, scored_mask=mask, floor=0.0)


@pytest.mark.parametrize(
    ("spatial", "motion", "weighting", "expected"),
    [
        # 6 spatial and 2 motion dimensions: (6 x 1 + 2 x 5) / 8 = 2
        ([1.0], [5.0], "joint", [2.0]),
        # mean errors 0.5 and 10: (1 / 0.5 + 5 / 10) / 2 = 1.25
        ([1.0], [5.0], "balanced", [1.25]),
        ([1.0, 2.0], None, "joint", [1.0, 2.0]),
        ([1.0, 2.0], None, "balanced", [2.0, 4.0]),
        (None, [5.0], "joint", [5.0]),
        (None, [5.0], "balanced", [0.5]),
        ([], [], "joint", []),
    ],
)
def test_combine(spatial, motion, weighting, expected):
    result = combine(spatial, motion, weighting=weighting, means=(0.5, 10.0), dims=(6, 2))
    np.testing.assert_allclose(result, expected, rtol=1e-15)
    assert result.dtype == np.float64


@pytest.mark.parametrize(
    ("spatial", "motion", "weighting", "expected"),
    [
        # Of 6 and 2 dimensions, 6/8 x 1 and 2/8 x 5; in units of 0.5 and 10, halves of 2 and of 0.5.
        ([1.0], [5.0], "joint", ([0.75], [1.25])),
        ([1.0], [5.0], "balanced", ([1.0], [0.25])),
        (None, [5.0], "balanced", (None, [0.5])),
        ([1.0], None, "joint", ([1.0], None)),
    ],
)
def test_contributions_add_up_to_the_score(spatial, motion, weighting, expected):
    settings = {"weighting": weighting, "means": (0.5, 10.0), "dims": (6, 2)}
    found = contributions(spatial, motion, **settings)
    for part, wanted in zip(found, expected, strict=True):
        assert (part is None) == (wanted is None)
        assert part is None or part.tolist() == wanted
    there = [part for part in found if part is not None]
    np.testing.assert_array_equal(sum(there), combine(spatial, motion, **settings))


def test_joint_equals_the_error_over_all_dimensions():
    squared = np.random.default_rng(0).random((10, 776))
    parts = squared[:, :768].mean(1), squared[:, 768:].mean(1)
    result = combine(*parts, weighting="joint", means=(1.0, 1.0), dims=(768, 8))
    np.testing.assert_allclose(result, squared.mean(1), rtol=1e-13)


@pytest.mark.parametrize(
    ("spatial", "motion", "weighting", "means", "dims", "message"),
    [
        (None, None, "joint", (1.0, 1.0), (1, 1), "neither"),
        ([1.0], [1.0, 2.0], "joint", (1.0, 1.0), (1, 1), "different shapes"),
        ([1.0], [1.0], "balanced", (0.0, 1.0), (1, 1), "must be positive"),
        ([1.0], [1.0], "balanced", (NAN, 1.0), (1, 1), "must be positive"),
        (None, [1.0], "joint", (1.0, 1.0), (1, 0), "dimensions"),
    ],
)
def test_combine_refuses(spatial, motion, weighting, means, dims, message):
    with pytest.raises(ValueError, match=message):
        combine(spatial, motion, weighting=weighting, means=means, dims=dims)


def test_means_of_a_part_that_does_not_count_are_not_looked_at():
    assert combine(None, [3.0], weighting="balanced", means=(NAN, 1.5), dims=(0, 8)) == [2.0]


@pytest.mark.parametrize(
    ("sampled", "num_frames", "expected"),
    [
        ([0, 2, 4], 6, [0, 0, 1, 1, 2, 2]),  # a frame half way goes to the earlier sample
        ([0, 3], 6, [0, 0, 1, 1, 1, 1]),
        ([0, 1, 2], 3, [0, 1, 2]),
        ([2], 4, [0, 0, 0, 0]),
        ([], 0, []),
    ],
)
def test_nearest_sample(sampled, num_frames, expected):
    np.testing.assert_array_equal(nearest_sample(sampled, num_frames), expected)


@pytest.mark.parametrize(("sampled", "message"), [([], "no frame"), ([3, 3], "strictly")])
def test_nearest_sample_refuses(sampled, message):
    with pytest.raises(ValueError, match=message):
        nearest_sample(sampled, 5)


def test_smooth_by_zero_is_a_copy():
    score = np.array([1.0, NAN, 3.0])
    result = smooth(score, 0)
    np.testing.assert_array_equal(result, score)
    assert not np.shares_memory(result, score)
    assert smooth([], 2).shape == (0,)


def test_smooth_is_the_sampled_gaussian():
    impulse = np.zeros(41)
    impulse[20] = 1
    kernel = np.exp(-0.5 * (np.arange(-20, 21) / 2.0) ** 2) * (np.abs(np.arange(-20, 21)) <= 8)
    np.testing.assert_allclose(smooth(impulse, 2.0), kernel / kernel.sum(), atol=1e-15)


def test_smooth_keeps_gaps_and_does_not_spread_them():
    score = np.array([2.0, 2.0, NAN, NAN, 2.0, 2.0])
    np.testing.assert_allclose(smooth(score, 1.5), score, rtol=1e-14)
    # weights of the frames at distance 0 and 2, normalised to one another
    near = np.exp(-0.5 * 4)
    expected = (3 + 9 * near) / (1 + near)
    wide = np.full(30, NAN)
    wide[[14, 16]] = 3.0, 9.0
    result = smooth(wide, 1.0)
    assert result[14] == pytest.approx(expected, rel=1e-12)
    np.testing.assert_array_equal(np.isnan(result), np.isnan(wide))


def test_smooth_of_a_video_without_scores():
    assert np.isnan(smooth([NAN, NAN], 1.0)).all()


@pytest.mark.parametrize("sigma", [-1.0, NAN])
def test_smooth_refuses(sigma):
    with pytest.raises(ValueError, match="sigma"):
        smooth([1.0], sigma)


def test_smoothing_does_not_reach_across_a_pause():
    score = np.random.default_rng(3).normal(size=30)
    parts = [smooth(score[:12], 2.0), smooth(score[12:13], 2.0), smooth(score[13:], 2.0)]
    np.testing.assert_array_equal(smooth(score, 2.0, [12, 13]), np.concatenate(parts))
    np.testing.assert_array_equal(smooth(score, 2.0, []), smooth(score, 2.0))


@pytest.mark.parametrize(
    ("score", "expected"),
    [
        ([2, 4, 3], [0, 1, 0.5]),
        ([5, 5], [0, 0]),
        ([NAN, 1, 3], [NAN, 0, 1]),
        ([NAN], [NAN]),
        ([], []),
    ],
)
def test_min_max(score, expected):
    np.testing.assert_array_equal(min_max(score), expected)
