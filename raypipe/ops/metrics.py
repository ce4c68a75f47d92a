"""Ranking metrics of frame scores, over all frames and over videos; their intervals are in `ops.bootstrap`.

Scores are higher where more abnormal, labels are true where abnormal, all arithmetic is float64. A metric that is
not defined (frames of one class only) is None, never NaN and never 0.5. The protocols are those of public
evaluations of video anomaly detection: micro over all frames, macro over videos (Georgescu et al. 2021).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

F64 = NDArray[np.float64]

METRICS = ("micro_auc", "macro_auc_anchored", "macro_auc_skip", "average_precision", "pr_auc")


class Curve(NamedTuple):
    """Points of a curve in drawing order: x and y, both float64 of one length."""

    x: F64
    y: F64


class _Ranking(NamedTuple):
    """Frames by falling score; `ends` are the last positions of runs of equal scores."""

    order: NDArray[np.int64]
    label: NDArray[np.bool_]
    ends: NDArray[np.int64]

    def cumulate(self, ranked_weight_N: F64 | None = None) -> tuple[F64, F64]:
        """Return the weights of abnormal and of normal frames at or above each distinct score.

        The weights of the frames are given in the order of the ranking.
        """
        return _cumulated(self.label, self.ends, ranked_weight_N)


def _cumulated(label_N: NDArray[np.bool_], ends_K: NDArray[np.int64], weight_N: F64 | None) -> tuple[F64, F64]:
    if weight_N is None:
        abnormal = np.cumsum(label_N, dtype=np.int64)[ends_K].astype(np.float64)
        return abnormal, ends_K + 1.0 - abnormal
    abnormal, both = np.cumsum(weight_N * label_N)[ends_K], np.cumsum(weight_N)[ends_K]
    return abnormal, both - abnormal


def _rank(score_N: ArrayLike, label_N: ArrayLike) -> _Ranking:
    score, label = np.asarray(score_N, np.float64), np.asarray(label_N)
    if score.ndim != 1 or score.shape != label.shape:
        raise ValueError(f"scores {score.shape} and labels {label.shape} must be vectors of one length")
    if np.isnan(score).any():
        raise ValueError(f"{np.count_nonzero(np.isnan(score))} scores are NaN")
    if label.dtype != bool and not np.isin(label, (0, 1)).all():
        raise ValueError("labels must be 0 or 1")
    order = np.argsort(-score)
    ranked = score[order]
    # Compared, not subtracted: the difference of two close or infinite scores may lie.
    ends = np.flatnonzero(np.append(ranked[1:] != ranked[:-1], True)) if score.size else np.empty(0, np.int64)
    return _Ranking(order, label[order].astype(bool), ends)


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


def _pairs_in_order(abnormal_K: F64, normal_K: F64) -> float:
    """Return the weight of the pairs whose abnormal frame scores above the normal one, ties one half."""
    # Trapezoids from one distinct score to the next.
    height = _steps(abnormal_K)
    height *= -0.5
    height += abnormal_K
    return _sum_of_products(_steps(normal_K), height)


def _steps(total_K: F64) -> F64:
    """Return by how much a sum grew at each place, from 0; `np.diff` would copy it twice."""
    steps = total_K.copy()
    steps[1:] -= total_K[:-1]
    return steps


def _area_under_roc(abnormal_K: F64, normal_K: F64) -> float:
    return _pairs_in_order(abnormal_K, normal_K) / float(abnormal_K[-1] * normal_K[-1])


def _anchored_area(abnormal_K: F64, normal_K: F64) -> float:
    """Return the area with an abnormal frame added at the highest score and a normal one at the lowest."""
    num_abnormal, num_normal = abnormal_K[-1], normal_K[-1]
    at_lowest = abnormal_K[-1] - abnormal_K[-2] if len(abnormal_K) > 1 else abnormal_K[-1]
    pairs = _pairs_in_order(abnormal_K, normal_K)
    pairs += float(num_normal - normal_K[0] / 2) + float(num_abnormal - at_lowest / 2)
    pairs += 1.0 if len(abnormal_K) > 1 else 0.5
    return pairs / float((num_abnormal + 1) * (num_normal + 1))


def _precision(abnormal_K: F64, normal_K: F64) -> F64:
    above = abnormal_K + normal_K
    # Where all frames so far weigh nothing the curve is still at its start, (recall 0, precision 1).
    return np.divide(abnormal_K, above, out=np.ones(above.shape), where=above > 0)


def _areas_under_precision(abnormal_K: F64, normal_K: F64) -> tuple[float, float]:
    """Return the average precision (steps) and the area by trapezoids from (recall 0, precision 1)."""
    precision = _precision(abnormal_K, normal_K)
    step = _steps(abnormal_K) / abnormal_K[-1]
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
    ranking = _rank(score_T, label_T)
    return _anchored_area(*ranking.cumulate()) if ranking.order.size else None


def roc_curve(ranking: "RankedVideos", max_points: int = 500) -> Curve | None:
    """Return the ROC curve from (0, 0) to (1, 1), x false and y true positive rate, thinned for drawing.

    None where frames are of one class only.
    """
    abnormal, normal = ranking.cumulate()
    if not _has_both(abnormal, normal):
        return None
    x = np.concatenate(([0.0], normal / normal[-1]))
    y = np.concatenate(([0.0], abnormal / abnormal[-1]))
    return _thin(x, y, max_points)


def precision_recall_curve(ranking: "RankedVideos", max_points: int = 500) -> Curve | None:
    """Return the precision-recall curve from (0, 1), x recall and y precision, thinned for drawing.

    None where frames are of one class only.
    """
    abnormal, normal = ranking.cumulate()
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


@dataclass(frozen=True)
class RankedVideos:
    """The N frames of V videos, sorted once for all that is measured on them.

    label, video   (N,) bool and the video's number, by falling score
    ends           (D,) int64, the last position of each of D distinct scores
    num_frames     (V,) int64; a video may have none
    auc, anchored  (V,) float64, each video's own areas, NaN where it has none
    """

    label: NDArray[np.bool_]
    video: NDArray[Any]
    ends: NDArray[np.int64]
    num_frames: NDArray[np.int64]
    auc: F64
    anchored: F64

    def cumulate(self, count_V: F64 | None = None) -> tuple[F64, F64]:
        """Return the abnormal and the normal frames at or above each distinct score, video v counted `count_V[v]`."""
        return self._sums if count_V is None else _cumulated(self.label, self.ends, count_V[self.video])

    def micro_auc(self) -> float | None:
        """Return the area under the ROC curve of all frames alone; `measure` has all metrics."""
        sums = self.cumulate()
        return _area_under_roc(*sums) if _has_both(*sums) else None

    @cached_property
    def _runs(self) -> NDArray[np.int32]:
        """The number of each frame's score among the distinct ones, (N,)."""
        return np.repeat(np.arange(len(self.ends), dtype=np.int32), np.diff(self.ends, prepend=-1))

    @cached_property
    def _sums(self) -> tuple[F64, F64]:
        return _cumulated(self.label, self.ends, None)

    def select(self, is_in_V: NDArray[np.bool_]) -> "RankedVideos":
        """Return the videos of a group, under their own numbers; the others have no frames in it."""
        keep = is_in_V[self.video]
        run = self._runs[keep]
        ends = np.flatnonzero(np.append(run[1:] != run[:-1], True)) if run.size else np.empty(0, np.int64)
        areas = (np.where(is_in_V, area, np.nan) for area in (self.auc, self.anchored))
        return RankedVideos(self.label[keep], self.video[keep], ends, np.where(is_in_V, self.num_frames, 0), *areas)


def rank_videos(scores: Sequence[ArrayLike], labels: Sequence[ArrayLike]) -> RankedVideos:
    """Sort the frames of videos, given as one vector of scores and one of labels for each.

    Raises ValueError where they do not agree in length, on NaN, and on labels that are not 0 or 1.
    """
    areas = np.full((2, len(scores)), np.nan)
    for number, (score, label) in enumerate(zip(scores, labels, strict=True)):
        sums = _rank(score, label).cumulate()
        if sums[0].size:
            areas[1, number] = _anchored_area(*sums)
        if _has_both(*sums):
            areas[0, number] = _area_under_roc(*sums)
    num_frames = np.array([len(np.asarray(score)) for score in scores], np.int64)
    ranking = _rank(
        np.concatenate([np.empty(0), *scores]), np.concatenate([np.empty(0, bool), *map(np.asarray, labels)])
    )
    # As small as it can be: it is gathered from for every replicate and group.
    number_V = np.arange(len(scores), dtype=np.min_scalar_type(len(scores)))
    video = np.repeat(number_V, num_frames)[ranking.order]
    return RankedVideos(ranking.label, video, ranking.ends, num_frames, areas[0], areas[1])


def measure(videos: RankedVideos, count_V: ArrayLike | None = None) -> dict[str, float | None]:
    """Return every metric of `METRICS`, None where it is not defined, with video v counted `count_V[v]` times.

    macro_auc_anchored is the mean of `anchored_auc` over videos, macro_auc_skip the mean of `roc_auc` over videos
    with both classes. A video without frames counts nowhere.
    """
    count = np.ones(len(videos.num_frames)) if count_V is None else np.asarray(count_V, np.float64)
    values: dict[str, float | None] = dict.fromkeys(METRICS)
    sums = videos.cumulate(None if count_V is None else count)
    if _has_both(*sums):
        values["micro_auc"] = _area_under_roc(*sums)
        values["average_precision"], values["pr_auc"] = _areas_under_precision(*sums)
    for name, area in (("macro_auc_anchored", videos.anchored), ("macro_auc_skip", videos.auc)):
        weight = np.where(np.isnan(area), 0.0, count)
        if weight.sum() > 0:
            values[name] = _sum_of_products(weight, np.nan_to_num(area)) / float(weight.sum())
    return values
