"""Bootstrap intervals of the metrics over videos, fast for tens of millions of frames.

A replicate only changes how often each video counts. So the frames are sorted once, the sorted frames are cut into
bins, and the abnormal and normal frames of every video are counted per bin: the curve of a replicate, at the borders of
the bins, is then a weighted sum of these counts. With a bin for each distinct score that is exact. Where there are more
scores than bins, what may happen within a bin bounds the error of every replicate, and the bound is given with the
interval; percentiles are within the largest error of a replicate, because sorting does not move values apart.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raypipe.ops.metrics import METRICS, RankedVideos

F64 = NDArray[np.float64]

# Up to so many distinct scores have a bin each. Of more, so many bins are made, whose errors are far below what 1,000
# replicates leave to chance (docs/benchmarks.md).
EXACT_BINS = 1 << 16
NUM_BINS = 1 << 13
# Bins times videos, hence memory: 64 MiB of counts of each class.
MAX_CELLS = 1 << 24
# Bins times replicates that are worked on at once, so that they stay in a processor's cache.
BLOCK_CELLS = 1 << 17
# Makes 0 / 0 a 1 and changes nothing else: at the start of its curve, precision is 1.
TINY = 1e-300


@dataclass(frozen=True)
class ConfidenceInterval:
    """A 95 % percentile interval, None where it is not defined, and how many replicates had one class only.

    The ends are within `error` of those that sorting each replicate's frames would give; 0 is exact.
    """

    low: float | None
    high: float | None
    num_left_out: int
    error: float = 0.0


@dataclass(frozen=True)
class Metric:
    """A figure and its 95 % interval over videos, None where it is not defined; see `ConfidenceInterval`."""

    value: float | None
    low: float | None
    high: float | None
    num_left_out: int = 0
    error: float = 0.0

    @classmethod
    def of(cls, value: float | None, interval: ConfidenceInterval) -> "Metric":
        """Return a figure with its interval."""
        return cls(value, interval.low, interval.high, interval.num_left_out, interval.error)


@dataclass(frozen=True)
class _Bins:
    """Counts of frames in K bins by falling score, a row per video with frames.

    `is_single` (K,) tells the bins of one distinct score.
    """

    abnormal: NDArray[np.float32]
    normal: NDArray[np.float32]
    is_single: NDArray[np.bool_]


def draw_counts(num_frames_V: NDArray[np.int64], num_samples: int, seed: int) -> NDArray[np.int64]:
    """Return how often each video is drawn in each replicate, (num_samples, V): as many draws as videos with frames.

    Whole videos are drawn, since frames of one video are anything but independent.
    """
    present = np.flatnonzero(num_frames_V)
    count = np.zeros((num_samples, len(num_frames_V)), np.int64)
    if len(present):
        rng = np.random.default_rng(seed)
        count[:, present] = rng.multinomial(len(present), np.full(len(present), 1 / len(present)), num_samples)
    return count


def bootstrap(
    videos: RankedVideos, *, num_samples: int, seed: int, exact_bins: int = EXACT_BINS, num_bins: int = NUM_BINS
) -> Mapping[str, ConfidenceInterval]:
    """Return the 95 % percentile interval of each metric of `METRICS`, over videos drawn with replacement.

    A replicate in which a metric is not defined is left out of its interval and counted. With fewer than two videos or
    no samples there is no interval. The same seed gives the same intervals. Frames of up to `exact_bins` distinct
    scores are counted exactly, those of more in `num_bins` bins.
    """
    if num_samples <= 0 or np.count_nonzero(videos.num_frames) < 2:
        return dict.fromkeys(METRICS, ConfidenceInterval(None, None, 0))
    count = draw_counts(videos.num_frames, num_samples, seed)
    most = max(2, MAX_CELLS // len(videos.num_frames))
    borders = videos.ends if len(videos.ends) <= min(exact_bins, most) else _borders(videos.ends, min(num_bins, most))
    values, errors = _replicates(videos, count, borders)
    return {name: percentile_interval(values[name], errors.get(name, 0.0)) for name in METRICS}


def percentile_interval(replicates: F64, error: float = 0.0) -> ConfidenceInterval:
    """Return the interval of a figure's replicates; those that are NaN are left out and counted."""
    defined = replicates[~np.isnan(replicates)]
    num_left_out = len(replicates) - len(defined)
    if not defined.size:
        return ConfidenceInterval(None, None, num_left_out)
    low, high = np.percentile(defined, (2.5, 97.5))
    return ConfidenceInterval(float(low), float(high), num_left_out, error)


def ratio_metric(numerator_V: ArrayLike, denominator_V: ArrayLike, count_RV: NDArray[np.int64]) -> Metric:
    """Return sum(numerator) / sum(denominator) over videos, with its interval over replicates (none without any)."""
    numerator, denominator = np.asarray(numerator_V, np.float64), np.asarray(denominator_V, np.float64)
    value = float(numerator.sum() / denominator.sum()) if denominator.sum() > 0 else None
    return Metric.of(value, percentile_interval(_ratio(count_RV @ numerator, count_RV @ denominator)))


def _replicates(
    videos: RankedVideos, count_RV: NDArray[np.int64], borders_K: NDArray[np.int64]
) -> tuple[dict[str, F64], dict[str, float]]:
    """Return the metrics of all replicates, NaN where not defined, and the largest error of each metric."""
    values = {}
    for name, area in (("macro_auc_anchored", videos.anchored), ("macro_auc_skip", videos.auc)):
        defined = ~np.isnan(area)
        weight = count_RV[:, defined]
        values[name] = _ratio((weight * area[defined]).sum(1), weight.sum(1))
    # Of a group, most videos have no frames.
    present = videos.num_frames > 0
    bins = _count(videos, present, borders_K, int(count_RV.max(initial=0)))
    sums = _Sums(len(count_RV))
    weight = count_RV[:, present].astype(bins.abnormal.dtype)
    block = max(1, BLOCK_CELLS // len(count_RV))
    for start in range(0, len(borders_K), block):
        cut = slice(start, start + block)
        sums.add(weight @ bins.abnormal[:, cut], weight @ bins.normal[:, cut], bins.is_single[cut])
    is_defined = (sums.true > 0) & (sums.false > 0)
    pairs, total = (np.where(is_defined, whole, 0.0) for whole in (sums.true * sums.false, sums.true))
    values["micro_auc"] = _ratio(sums.pairs, pairs)
    values["average_precision"] = _ratio(sums.steps, total)
    values["pr_auc"] = _ratio(sums.trapezoids, total)
    errors = {"micro_auc": _ratio(sums.pairs_error, pairs), "pr_auc": _ratio(sums.precision_error, total)}
    errors["average_precision"] = errors["pr_auc"]
    return values, {name: float(np.nan_to_num(error).max(initial=0.0)) for name, error in errors.items()}


def _borders(ends_D: NDArray[np.int64], num_bins: int) -> NDArray[np.int64]:
    """Return the last positions of at most `num_bins` bins, each made of whole runs of equal scores.

    Half of them lie evenly over the frames, which bounds the error of areas under ROC; the others get closer towards
    the highest scores, where precision changes fastest.
    """
    even = np.linspace(0, 1, num_bins // 2 + 1)[1:]
    wanted = np.concatenate((even, even**2)) * ends_D[-1]
    return np.unique(ends_D[np.searchsorted(ends_D, wanted).clip(max=len(ends_D) - 1)])


def _count(videos: RankedVideos, present_V: NDArray[np.bool_], borders_K: NDArray[np.int64], max_count: int) -> _Bins:
    sizes = np.diff(borders_K, prepend=-1)
    num_bins, num_videos = len(borders_K), int(np.count_nonzero(present_V))
    # Sums of float32 are exact while they are whole and below 2**24, and the products are twice as fast.
    dtype = np.float32 if int(sizes.max(initial=0)) * max_count < 1 << 24 else np.float64
    bin_N = np.repeat(np.arange(num_bins), sizes)
    cell = ((np.cumsum(present_V) - 1) * num_bins)[videos.video] + bin_N
    del bin_N

    def table(is_counted: NDArray[np.bool_]) -> Any:
        return np.bincount(cell[is_counted], minlength=num_videos * num_bins).astype(dtype).reshape(num_videos, -1)

    num_scores = np.diff(np.searchsorted(videos.ends, borders_K, side="right"), prepend=0)
    return _Bins(table(videos.label), table(~videos.label), num_scores == 1)


class _Sums:
    """What is summed over bins by falling score, for R replicates each, (R,) float64."""

    def __init__(self, num_samples: int) -> None:
        self.true, self.false = np.zeros(num_samples), np.zeros(num_samples)
        self.pairs, self.pairs_error = np.zeros(num_samples), np.zeros(num_samples)
        self.steps, self.trapezoids, self.precision_error = (np.zeros(num_samples) for _ in range(3))

    def add(self, abnormal_RK: NDArray[Any], normal_RK: NDArray[Any], is_single_K: NDArray[np.bool_]) -> None:
        """Add the frames of the bins that come next."""
        abnormal, normal = abnormal_RK.astype(np.float64), normal_RK.astype(np.float64)
        true = np.cumsum(abnormal, axis=1) + self.true[:, None]
        false = np.cumsum(normal, axis=1) + self.false[:, None]
        self.pairs += _dot(normal, true - abnormal / 2)

        precision = (true + TINY) / (true + false + TINY)
        first = (self.true + TINY) / (self.true + self.false + TINY)
        middle = (precision + np.concatenate((first[:, None], precision[:, :-1]), axis=1)) / 2
        self.trapezoids += _dot(abnormal, middle)
        # Between the scores of a bin the precision is unknown: its mean at the two borders stands for it.
        self.steps += _dot(abnormal, np.where(is_single_K, precision, middle))
        self.true, self.false = true[:, -1].copy(), false[:, -1].copy()

        if not is_single_K.all():
            # At worst all of a bin's normal frames come first, or all of its abnormal ones.
            mixed = abnormal * ~is_single_K
            self.pairs_error += _dot(mixed, normal) / 2
            best = (true + TINY) / (true + (false - normal) + TINY)
            true -= abnormal
            worst = (true + TINY) / (true + false + TINY)
            self.precision_error += _dot(mixed, np.maximum(best - middle, middle - worst))


def _dot(a_RK: F64, b_RK: F64) -> F64:
    return np.asarray(np.einsum("rk,rk->r", a_RK, b_RK))


def _ratio(numerator: F64, denominator: NDArray[Any]) -> F64:
    undefined = np.full(numerator.shape, np.nan)
    return np.asarray(np.divide(numerator, denominator, out=undefined, where=denominator > 0))
