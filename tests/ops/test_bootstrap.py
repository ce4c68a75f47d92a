import time

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raypipe.ops.bootstrap import ConfidenceInterval, bootstrap, draw_counts, percentile_interval
from raypipe.ops.metrics import METRICS, measure, rank_videos


def random_videos(num_videos, num_frames, seed=0, digits=1):
    """Videos of which about half are all normal, and the first is empty; few digits give many ties."""
    rng = np.random.default_rng(seed)
    scores, labels = [np.empty(0)], [np.empty(0, bool)]
    for _ in range(num_videos):
        label = rng.random(num_frames) < rng.choice([0, 0.5])
        scores.append(np.round(rng.normal(size=num_frames) + label, digits))
        labels.append(label)
    return rank_videos(scores, labels)


def slow_replicates(videos, num_samples, seed):
    """Every metric of every replicate, computed frame by frame; NaN where not defined."""
    found = [measure(videos, count) for count in draw_counts(videos.num_frames, num_samples, seed)]
    return {name: np.array([values[name] for values in found], float) for name in METRICS}


def test_counts_are_as_many_as_videos_with_frames():
    count = draw_counts(np.array([3, 0, 1, 1]), 200, seed=0)
    assert count.shape == (200, 4)
    assert (count.sum(1) == 3).all()
    assert not count[:, 1].any()
    np.testing.assert_allclose(count.mean(0), [1, 0, 1, 1], atol=0.15)


@pytest.mark.parametrize("digits", [0, 1, 12])
def test_intervals_are_those_of_the_slow_way(digits):
    videos = random_videos(7, 30, digits=digits)
    expected = slow_replicates(videos, 40, seed=3)
    result = bootstrap(videos, num_samples=40, seed=3)
    for name in METRICS:
        values = expected[name][~np.isnan(expected[name])]
        assert (result[name].low, result[name].high) == pytest.approx(np.percentile(values, (2.5, 97.5)), abs=1e-12)
        assert (result[name].num_left_out, result[name].error) == (40 - len(values), 0)


@given(st.integers(0, 10**6), st.integers(2, 60), st.sampled_from([1, 12]), st.integers(2, 9))
@settings(max_examples=60, deadline=None)
def test_with_few_bins_intervals_are_within_the_error_that_is_told(seed, num_bins, digits, num_videos):
    videos = random_videos(num_videos, 50, seed, digits)
    expected = slow_replicates(videos, 25, seed)
    result = bootstrap(videos, num_samples=25, seed=seed, exact_bins=0, num_bins=num_bins)
    for name in METRICS:
        exact, found = percentile_interval(expected[name]), result[name]
        assert found.num_left_out == exact.num_left_out
        if exact.low is not None:
            assert abs(found.low - exact.low) <= found.error + 1e-12
            assert abs(found.high - exact.high) <= found.error + 1e-12
    assert result["macro_auc_anchored"].error == result["macro_auc_skip"].error == 0


def test_more_bins_lessen_the_error():
    videos = random_videos(10, 3000, digits=12)
    errors = [
        bootstrap(videos, num_samples=50, seed=0, exact_bins=0, num_bins=count)["micro_auc"].error
        for count in (100, 1000, 10_000)
    ]
    assert 0 < errors[2] < errors[1] / 5 < errors[0] / 25 < 0.02 / 5


def test_a_score_that_most_frames_have_is_counted_exactly():
    # More than 2**24 draws of one score are more than float32 can count.
    scores = [np.zeros(2_000_001), np.zeros(2_000_000), np.array([1.0, -1.0])]
    labels = [np.arange(2_000_001) < 1, np.zeros(2_000_000, bool), np.array([True, False])]
    videos = rank_videos(scores, labels)
    expected = slow_replicates(videos, 30, seed=0)["average_precision"]
    result = bootstrap(videos, num_samples=30, seed=0)["average_precision"]
    low, high = np.nanpercentile(expected, (2.5, 97.5))
    assert (result.low, result.high) == pytest.approx((low, high), rel=1e-12)


def test_replicates_of_one_class_are_left_out_and_counted():
    # Of two videos one is all normal: drawn twice (1 in 4) there is no abnormal frame.
    result = bootstrap(rank_videos([[1, 2], [1, 2]], [[0, 0], [0, 1]]), num_samples=400, seed=0)
    assert 60 < result["micro_auc"].num_left_out < 140
    assert result["macro_auc_skip"].num_left_out == result["micro_auc"].num_left_out
    assert result["macro_auc_anchored"].num_left_out == 0
    assert result["macro_auc_skip"] == ConfidenceInterval(1.0, 1.0, result["micro_auc"].num_left_out)


@pytest.mark.parametrize(
    ("scores", "num_samples"),
    [([[1, 2]], 100), ([[], [1, 2]], 100), ([[1], [2]], 0), ([], 10)],
)
def test_bootstrap_without_an_interval(scores, num_samples):
    videos = rank_videos(scores, [np.arange(len(score)) % 2 for score in scores])
    assert bootstrap(videos, num_samples=num_samples, seed=0) == dict.fromkeys(
        METRICS, ConfidenceInterval(None, None, 0)
    )


def test_bootstrap_of_one_class_has_no_interval():
    result = bootstrap(rank_videos([[1], [2]], [[0], [0]]), num_samples=10, seed=0)
    assert result["micro_auc"] == ConfidenceInterval(None, None, 10)


def test_bootstrap_is_seeded():
    videos = random_videos(10, 50)
    first, again, other = (bootstrap(videos, num_samples=50, seed=seed) for seed in (1, 1, 2))
    assert first == again != other


def test_bootstrap_covers_the_value_and_is_fast():
    videos = random_videos(12, 170)
    start = time.perf_counter()
    result = bootstrap(videos, num_samples=1000, seed=0)
    # About 0.1 s on one core; the bound leaves room for a busy machine.
    assert time.perf_counter() - start < 2
    for name, value in measure(videos).items():
        assert result[name].low <= value <= result[name].high
