"""From errors of objects to one score per frame of a video.

Scores are float64 and higher is more abnormal. Frame indices count source frames of one video from 0.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

F64 = NDArray[np.float64]
Weighting = Literal["joint", "balanced"]


@dataclass(frozen=True)
class FrameScores:
    """The scores of T frames, and for each the object that gave it.

    score       (T,) float64, NaN where the frame was not scored
    top_object  (T,) int64, index of the most abnormal object among the N given ones, -1 in a frame without any
    num_objects (T,) int32
    """

    score: F64
    top_object: NDArray[np.int64]
    num_objects: NDArray[np.int32]


def contributions(
    spatial_error_N: ArrayLike | None,
    motion_error_N: ArrayLike | None,
    *,
    weighting: Weighting,
    means: tuple[float, float],
    dims: tuple[int, int],
) -> tuple[F64 | None, F64 | None]:
    """Return what the spatial and the motion part add to the score of each object, shapes (N,), from their errors.

    `dims` are the parts' numbers of dimensions and `means` their mean errors on held-out normal training objects,
    each as (spatial, motion). `joint` (Section 4.1) is the mean squared error over all dimensions, that is the mean
    of the parts weighted by `dims`; `balanced` is the mean of the parts, each divided by its entry of `means`.
    A part that is None does not count. Raises ValueError where both are None, where lengths differ, and where a
    mean or dimension that is needed is not positive.
    """
    parts = [
        None if error is None else (np.asarray(error, np.float64), mean, dim)
        for error, mean, dim in zip((spatial_error_N, motion_error_N), means, dims, strict=True)
    ]
    there = [part for part in parts if part is not None]
    if not there:
        raise ValueError("neither a spatial nor a motion error was given")
    if len({error.shape for error, _, _ in there}) > 1:
        raise ValueError(f"the parts have different shapes: {[error.shape for error, _, _ in there]}")
    if weighting == "joint":
        weights = [float(dim) for _, _, dim in there]
    else:
        # Compared with `not >` so that a NaN is refused as well.
        if any(not mean > 0 for _, mean, _ in there):
            raise ValueError(f"the mean errors of the parts must be positive to divide by, not {means}")
        weights = [1.0 / mean for _, mean, _ in there]
    if any(not weight > 0 for weight in weights):
        raise ValueError(f"the parts must have dimensions to be weighted by, not {dims}")
    total = sum(weights) if weighting == "joint" else float(len(there))
    scaled = iter([error * (weight / total) for (error, _, _), weight in zip(there, weights, strict=True)])
    spatial, motion = (None if part is None else next(scaled) for part in parts)
    return spatial, motion


def combine(
    spatial_error_N: ArrayLike | None,
    motion_error_N: ArrayLike | None,
    *,
    weighting: Weighting,
    means: tuple[float, float],
    dims: tuple[int, int],
) -> F64:
    """Return the score of each object, shape (N,): the sum of what its parts add, see `contributions`."""
    parts = contributions(spatial_error_N, motion_error_N, weighting=weighting, means=means, dims=dims)
    return np.asarray(sum(part for part in parts if part is not None), np.float64)


def frame_scores(
    frame_index_N: ArrayLike,
    score_N: ArrayLike,
    num_frames: int,
    *,
    scored_mask: ArrayLike | None = None,
    floor: float,
) -> FrameScores:
    """Return the score of every frame of one video: the largest score among its objects.

    A scored frame without objects takes the video's smallest object score, or `floor` where the whole video has no
    object. A frame outside `scored_mask` (num_frames,) is NaN: it belongs to a dead segment or was not sampled.
    Of equal objects the one given first is the top one. Raises ValueError on a score that is not finite, an index
    outside the video, and an object in a frame outside the mask.
    """
    frame = np.asarray(frame_index_N, np.int64)
    score = np.asarray(score_N, np.float64)
    mask = np.ones(num_frames, bool) if scored_mask is None else np.asarray(scored_mask, bool)
    if frame.ndim != 1 or frame.shape != score.shape or mask.shape != (num_frames,):
        raise ValueError(f"shapes do not agree: frames {frame.shape}, scores {score.shape}, mask {mask.shape}")
    if not np.isfinite(score).all():
        raise ValueError(f"{np.count_nonzero(~np.isfinite(score))} object scores are not finite")
    if frame.size and (frame.min() < 0 or frame.max() >= num_frames):
        raise ValueError(f"frame indices {frame.min()}..{frame.max()} lie outside a video of {num_frames} frames")
    if not mask[frame].all():
        raise ValueError(f"{np.count_nonzero(~mask[frame])} objects lie in frames that are marked as not scored")

    frame_score = np.full(num_frames, score.min() if score.size else floor)
    top_object = np.full(num_frames, -1, np.int64)
    # lexsort is stable: within a frame by falling score, and equal scores in the order given.
    order = np.lexsort((-score, frame))
    first = order[np.flatnonzero(np.diff(frame[order], prepend=-1))]
    frame_score[frame[first]] = score[first]
    top_object[frame[first]] = first
    frame_score[~mask] = np.nan
    return FrameScores(frame_score, top_object, np.bincount(frame, minlength=num_frames).astype(np.int32))


def nearest_sample(sampled_S: ArrayLike, num_frames: int) -> NDArray[np.int64]:
    """Return for each of `num_frames` source frames the position in `sampled_S` of the nearest sampled frame.

    `sampled_S` rises strictly. Between two equally near ones the earlier is taken. Raises ValueError where there
    is none although there are frames.
    """
    sampled = np.asarray(sampled_S, np.int64)
    if num_frames and not sampled.size:
        raise ValueError("no frame was sampled")
    if (np.diff(sampled) <= 0).any():
        raise ValueError("sampled frames must rise strictly")
    # Twice the midpoints, so that they stay whole numbers; a frame at a midpoint goes to the earlier sample.
    return np.searchsorted(sampled[:-1] + sampled[1:], 2 * np.arange(num_frames), side="left").astype(np.int64)


def smooth(score_T: ArrayLike, sigma_frames: float, starts: Iterable[int] = ()) -> F64:
    """Return the scores of one video after a Gaussian along time, sigma in frames, 0 for none.

    Frames without a score (NaN) stay NaN and do not spread: each scored frame is the weighted mean of the scored
    frames around it. Beyond its ends the video is taken to go on with its first and last frame. So is each part of it,
    where `starts` are the frames with which parts after a pause begin. Raises ValueError on a negative sigma.
    """
    score = np.array(score_T, np.float64)
    # Compared with `not >=` so that a NaN is refused as well.
    if not sigma_frames >= 0:
        raise ValueError(f"sigma must be 0 or more frames, not {sigma_frames}")
    if sigma_frames == 0 or not score.size:
        return score
    parts = np.split(score, sorted(starts))
    return np.concatenate([_smooth_part(part, sigma_frames) for part in parts])


def _smooth_part(score: F64, sigma_frames: float) -> F64:
    # Here, because its half second of import would be paid by every process that only reads a config.
    from scipy.ndimage import gaussian_filter1d

    valid = ~np.isnan(score)
    total = gaussian_filter1d(np.where(valid, score, 0.0), sigma_frames, mode="nearest")
    if valid.all():
        return np.asarray(total, np.float64)
    weight = gaussian_filter1d(valid.astype(np.float64), sigma_frames, mode="nearest")
    score[valid] = total[valid] / weight[valid]
    return score


def min_max(score_T: ArrayLike) -> F64:
    """Return the scores of one video scaled to 0..1 over the video, 0 where all are equal; NaN stays NaN.

    It looks at the whole video, its future included, and raises micro-AUC: a report must say that it was used.
    """
    score = np.array(score_T, np.float64)
    valid = ~np.isnan(score)
    if valid.any():
        low, high = score[valid].min(), score[valid].max()
        score[valid] = (score[valid] - low) / (high - low) if high > low else 0.0
    return score
