"""Ranking metrics of frame scores, and their bootstrap intervals over videos.

Scores are higher where more abnormal, labels are true where abnormal, all arithmetic is float64. A metric that is
not defined (frames of one class only) is None, never NaN and never 0.5. The protocols are those of public
evaluations of video anomaly detection: micro over all frames, macro over videos (Georgescu et al. 2021).
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

F64 = NDArray[np.float64]

METRICS = ("micro_auc", "macro_auc_anchored", "macro_auc_skip", "average_precision", "pr_auc")


class Curve(NamedTuple):
    """Points of a curve in drawing order: x and y, both float64 of one length."""

    x: F64
    y: F64


@dataclass(frozen=True)
class Interval:
    """A 95 % percentile interval, None where it is not defined, and how many replicates had one class only."""

    low: float | None
    high: float | None
    num_left_out: int


class _Ranking(NamedTuple):
    """Frames by falling score; `ends` are the last positions of runs of equal scores."""

    order: NDArray[np.int64]
    label: F64
    ends: NDArray[np.int64]

    def cumulate(self, ranked_weight_N: F64 | None = None) -> tuple[F64, F64]:
        """Return the weights of abnormal and of normal frames at or above each distinct score.

        The weights of the frames are given in the order of the ranking.
        """
        weight = np.ones(self.label.shape) if ranked_weight_N is None else ranked_weight_N
        abnormal, both = np.cumsum(weight * self.label), np.cumsum(weight)
        if len(self.ends) < len(weight):
            abnormal, both = abnormal[self.ends], both[self.ends]
        return abnormal, both - abnormal


def _rank(score_N: ArrayLike, label_N: ArrayLike) -> _Ranking:
    score, label = np.asarray(score_N, np.float64), np.asarray(label_N)
    if score.ndim != 1 or score.shape != label.shape:
        raise ValueError(f"scores {score.shape} and labels {label.shape} must be vectors of one length")
    if np.isnan(score).any():
        raise ValueError(f"{np.count_nonzero(np.isnan(score))} scores are NaN")
    if label.dtype != bool and not np.isin(label, (0, 1)).all():
        raise ValueError("labels must be 0 or 1")
    order = np.argsort(-score, kind="stable")
    ranked = score[order]
    # Compared, not subtracted: the difference of two close or infinite scores may lie.
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if score.size else np.empty(0, np.int64)
    return _Ranking(order, label[order].astype(np.float64), ends)


def _cumulate(score_N: ArrayLike, label_N: ArrayLike, weight_N: ArrayLike | None) -> tuple[F64, F64]:
    ranking = _rank(score_N, label_N)
    if weight_N is None:
        return ranking.cumulate()
    weight = np.asarray(weight_N, np.float64)
    if weight.shape != ranking.order.shape or not (weight >= 0).all():
        raise ValueError(f"weights must be {len(ranking.order)} numbers of 0 or more")
    return ranking.cumulate(weight[ranking.order])


def _has_both(abnormal_K: F64, normal_K: F64) -> bool:
    return bool(abnormal_K.size) and bool(abnormal_K[-1] > 0) and bool(normal_K[-1] > 0)


def _area_under_roc(abnormal_K: F64, normal_K: F64) -> float:
    # Trapezoids from one distinct score to the next: a pair of equal scores counts one half.
    width = np.diff(normal_K, prepend=0.0)
    height = abnormal_K - np.diff(abnormal_K, prepend=0.0) / 2
    return _sum_of_products(width, height) / float(abnormal_K[-1] * normal_K[-1])


def _precision(abnormal_K: F64, normal_K: F64) -> F64:
    above = abnormal_K + normal_K
    # Where all frames so far weigh nothing the curve is still at its start, (recall 0, precision 1).
    return np.divide(abnormal_K, above, out=np.ones(above.shape), where=above > 0)


def _areas_under_precision(abnormal_K: F64, normal_K: F64) -> tuple[float, float]:
    """Return the average precision (steps) and the area by trapezoids from (recall 0, precision 1)."""
    precision = _precision(abnormal_K, normal_K)
    step = np.diff(abnormal_K, prepend=0.0) / abnormal_K[-1]
    before = np.concatenate(([1.0], precision[:-1]))
    return _sum_of_products(step, precision), _sum_of_products(step, precision + before) / 2


def _sum_of_products(a_K: F64, b_K: F64) -> float:
    # Not `@`: BLAS would start threads for each of thousands of replicates, which wait for one another on busy
    # cores (13 times slower there), and its sums depend on their number.
    return float((a_K * b_K).sum())


def roc_auc(score_N: ArrayLike, label_N: ArrayLike, weight_N: ArrayLike | None = None) -> float | None:
    """Return the area under the ROC curve: how often an abnormal frame scores above a normal one, ties one half.

    `weight_N` weighs the frames (1 each by default). None where frames of one class only have weight.
    """
    sums = _cumulate(score_N, label_N, weight_N)
    return _area_under_roc(*sums) if _has_both(*sums) else None


def average_precision(score_N: ArrayLike, label_N: ArrayLike, weight_N: ArrayLike | None = None) -> float | None:
    """Return the mean precision over the steps of recall, without interpolation (scikit-learn's definition).

    `weight_N` weighs the frames (1 each by default). None where frames of one class only have weight.
    """
    sums = _cumulate(score_N, label_N, weight_N)
    return _areas_under_precision(*sums)[0] if _has_both(*sums) else None


def pr_auc(score_N: ArrayLike, label_N: ArrayLike, weight_N: ArrayLike | None = None) -> float | None:
    """Return the area under the precision-recall curve by trapezoids, which is not the average precision.

    It joins the points by straight lines, which is optimistic; RTFM and LAVAD report it. `weight_N` weighs the
    frames (1 each by default). None where frames of one class only have weight.
    """
    sums = _cumulate(score_N, label_N, weight_N)
    return _areas_under_precision(*sums)[1] if _has_both(*sums) else None


def anchored_auc(score_T: ArrayLike, label_T: ArrayLike) -> float | None:
    """Return a video's AUC with a normal frame at its smallest and an abnormal one at its largest score added.

    So every video has one, also with frames of one class (Georgescu et al. 2021; Reiss & Hoshen 2022). None for a
    video without frames.
    """
    score, label = np.asarray(score_T, np.float64), np.asarray(label_T).astype(bool)
    if not score.size:
        return None
    return roc_auc(np.append(score, (score.min(), score.max())), np.append(label, (False, True)))


def roc_curve(score_N: ArrayLike, label_N: ArrayLike, max_points: int = 500) -> Curve | None:
    """Return the ROC curve from (0, 0) to (1, 1), x false and y true positive rate, thinned for drawing.

    None where frames are of one class only.
    """
    abnormal, normal = _rank(score_N, label_N).cumulate()
    if not _has_both(abnormal, normal):
        return None
    x = np.concatenate(([0.0], normal / normal[-1]))
    y = np.concatenate(([0.0], abnormal / abnormal[-1]))
    return _thin(x, y, max_points)


def precision_recall_curve(score_N: ArrayLike, label_N: ArrayLike, max_points: int = 500) -> Curve | None:
    """Return the precision-recall curve from (0, 1), x recall and y precision, thinned for drawing.

    None where frames are of one class only.
    """
    abnormal, normal = _rank(score_N, label_N).cumulate()
    if not _has_both(abnormal, normal):
        return None
    x = np.concatenate(([0.0], abnormal / abnormal[-1]))
    y = np.concatenate(([1.0], _precision(abnormal, normal)))
    return _thin(x, y, max_points)


def _thin(x: F64, y: F64, max_points: int) -> Curve:
    """Keep at most `max_points` points, evenly along the curve, its ends among them."""
    if len(x) > max_points:
        length = np.concatenate(([0.0], np.cumsum(np.abs(np.diff(x)) + np.abs(np.diff(y)))))
        keep = np.searchsorted(length, np.linspace(0, length[-1], max_points - 1, endpoint=False))
        keep = np.unique(np.append(keep, len(x) - 1))
        x, y = x[keep], y[keep]
    return Curve(x, y)


class _Videos(NamedTuple):
    """What is computed once for all replicates: V videos of N frames in all."""

    ranking: _Ranking
    ranked_video: NDArray[np.int64]
    num_frames: NDArray[np.int64]
    anchored: F64
    skip: F64


def _prepare(score_N: ArrayLike, label_N: ArrayLike, video_N: ArrayLike) -> _Videos:
    score, label, video = np.asarray(score_N, np.float64), np.asarray(label_N), np.asarray(video_N, np.int64)
    ranking = _rank(score, label)
    if video.shape != score.shape or (video.size and video.min() < 0):
        raise ValueError("every frame must name its video by a number from 0")
    num_frames = np.bincount(video)
    by_video = np.argsort(video, kind="stable")
    rows = [by_video[stop - count : stop] for stop, count in zip(np.cumsum(num_frames), num_frames, strict=True)]
    anchored = [anchored_auc(score[row], label[row]) for row in rows]
    skip = [roc_auc(score[row], label[row]) for row in rows]
    # Inside, NaN marks a video without the metric.
    as_floats = [np.array([np.nan if v is None else v for v in values], np.float64) for values in (anchored, skip)]
    return _Videos(ranking, video[ranking.order], num_frames, as_floats[0], as_floats[1])


def _measure(videos: _Videos, count_V: F64 | None = None) -> dict[str, float]:
    """Return every metric, NaN where it is not defined, with video v taken `count_V[v]` times."""
    sums = videos.ranking.cumulate(None if count_V is None else count_V[videos.ranked_video])
    values = dict.fromkeys(METRICS, np.nan)
    if _has_both(*sums):
        values["micro_auc"] = _area_under_roc(*sums)
        values["average_precision"], values["pr_auc"] = _areas_under_precision(*sums)
    count = np.ones(len(videos.num_frames)) if count_V is None else count_V
    for name, auc in (("macro_auc_anchored", videos.anchored), ("macro_auc_skip", videos.skip)):
        defined = ~np.isnan(auc)
        total = count[defined].sum()
        if total > 0:
            values[name] = _sum_of_products(count[defined], auc[defined]) / float(total)
    return values


def measure(score_N: ArrayLike, label_N: ArrayLike, video_N: ArrayLike) -> dict[str, float | None]:
    """Return every metric of `METRICS` over N frames, `video_N` naming each frame's video by a number from 0.

    macro_auc_anchored is the mean of `anchored_auc` over videos, macro_auc_skip the mean of `roc_auc` over videos
    with both classes. A video without frames counts nowhere. Undefined is None.
    """
    values = _measure(_prepare(score_N, label_N, video_N))
    return {name: None if np.isnan(value) else value for name, value in values.items()}


def bootstrap(
    score_N: ArrayLike, label_N: ArrayLike, video_N: ArrayLike, *, num_samples: int, seed: int
) -> Mapping[str, Interval]:
    """Return the 95 % percentile interval of each metric of `METRICS`, over videos drawn with replacement.

    Whole videos are drawn, since frames of one video are anything but independent. A replicate in which a metric is
    not defined is left out of its interval and counted. With fewer than two videos or no samples there is no
    interval. The same seed gives the same intervals.
    """
    videos = _prepare(score_N, label_N, video_N)
    present = np.flatnonzero(videos.num_frames)
    if num_samples <= 0 or len(present) < 2:
        return dict.fromkeys(METRICS, Interval(None, None, 0))
    # Sorted once: a replicate only changes how often each video's frames count.
    rng = np.random.default_rng(seed)
    replicates = {name: np.empty(num_samples) for name in METRICS}
    count = np.zeros(len(videos.num_frames))
    for i in range(num_samples):
        count[present] = rng.multinomial(len(present), np.full(len(present), 1 / len(present)))
        for name, value in _measure(videos, count).items():
            replicates[name][i] = value
    return {name: _interval(values) for name, values in replicates.items()}


def _interval(values: F64) -> Interval:
    defined = values[~np.isnan(values)]
    num_left_out = len(values) - len(defined)
    if not defined.size:
        return Interval(None, None, num_left_out)
    low, high = np.percentile(defined, (2.5, 97.5))
    return Interval(float(low), float(high), num_left_out)
