"""Frame scores against labels: the figures of a run, or of anybody's scores.

Frames that were not scored (NaN) are left out of every metric and counted. Labels are aligned to the frames that we
decoded, and every video for which that took cutting or padding is listed in the result.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raypipe.config.workflow import EvaluateConfig
from raypipe.errors import AnnotationError
from raypipe.evaluation.alarms import AlarmReport, report_alarms
from raypipe.evaluation.breakdown import GroupResult, break_down
from raypipe.ops.bootstrap import Metric, bootstrap
from raypipe.ops.metrics import METRICS, Curve, measure, precision_recall_curve, rank_videos, roc_curve


@dataclass(frozen=True)
class VideoScores:
    """One test video: `score` float64 (T,), higher is more abnormal, NaN where unscored; `label` bool (T,).

    `num_cut` says how many labelled frames `align_labels` had to cut because the video ends before them. `fps` is None
    if it is not known; then there are no delays and no false alarms per hour. `class_name` and `scene` are those of
    `datasets.folder.Video`. `time_seconds` (T,) are the times of frames that do not come at a constant rate, else None.
    """

    video_id: str
    score: NDArray[np.float64]
    label: NDArray[np.bool_]
    num_cut: int = 0
    fps: float | None = None
    class_name: str = ""
    scene: str = ""
    time_seconds: NDArray[np.float64] | None = None


@dataclass(frozen=True)
class VideoResult:
    """One row of the per-video table, see `results.PER_VIDEO`; the AUCs are over the scored frames.

    Events, their mean delay and false alarms are those at the threshold of 1 false alarm per hour, None without one.
    """

    video_id: str
    class_name: str
    scene: str
    fps: float | None
    num_frames: int
    num_abnormal: int
    num_unscored: int
    auc: float | None
    auc_anchored: float | None
    min_score: float | None
    max_score: float | None
    num_events: int | None
    num_detected: int | None
    mean_delay_seconds: float | None
    num_false_alarms: int | None


@dataclass(frozen=True)
class AlignmentNote:
    """A video whose labels were longer (cut) or shorter (padded with normal) than its frames, in frames."""

    video_id: str
    num_cut: int
    num_padded: int


@dataclass(frozen=True)
class Evaluation:
    """The figures of one set of test videos.

    `num_frames` and `num_abnormal` count all frames, `num_unscored` those of them that no metric saw.
    `smoothing_seconds` is None where it is not known, as for a score file. `alarms` is None where a frame rate is not
    known. `groups` are the classes and scenes, where the data set has any.
    """

    metrics: Mapping[str, Metric]
    videos: Sequence[VideoResult]
    roc: Curve | None
    precision_recall: Curve | None
    alarms: AlarmReport | None
    groups: Sequence[GroupResult]
    alignment: Sequence[AlignmentNote]
    bootstrap_samples: int
    smoothing_seconds: float | None
    min_max: bool

    @property
    def num_frames(self) -> int:
        """Number of frames of all videos."""
        return sum(video.num_frames for video in self.videos)

    @property
    def num_abnormal(self) -> int:
        """Number of frames labelled abnormal."""
        return sum(video.num_abnormal for video in self.videos)

    @property
    def num_unscored(self) -> int:
        """Number of frames without a score."""
        return sum(video.num_unscored for video in self.videos)

    @property
    def one_class_videos(self) -> list[str]:
        """The videos that have scored frames, but all of one class: they have no AUC of their own."""
        return [video.video_id for video in self.videos if video.auc is None and video.min_score is not None]


def align_labels(intervals: Sequence[tuple[int, int]], num_frames: int) -> tuple[NDArray[np.bool_], int]:
    """Return a video's labels, bool (num_frames,), and how many labelled frames lie past its end and were cut.

    `intervals` are abnormal frames, 0-based and half open. Raises AnnotationError on one that starts before 0 or
    ends before it starts.
    """
    for start, stop in intervals:
        if start < 0 or stop < start:
            raise AnnotationError(f"interval {start}..{stop} is not a range of frames (0-based, end exclusive)")
    label = np.zeros(num_frames, bool)
    num_cut, cut_from = 0, num_frames
    for start, stop in sorted(intervals):
        label[start:stop] = True
        # Past the end by arithmetic: "to the end" may be written as a very large number.
        num_cut += max(0, stop - max(start, cut_from))
        cut_from = max(cut_from, stop)
    return label, num_cut


def evaluate_videos(
    videos: Sequence[VideoScores],
    config: EvaluateConfig,
    *,
    seed: int,
    smoothing_seconds: float | None = None,
    min_max: bool = False,
) -> Evaluation:
    """Return every metric, its interval over videos and the table of videos.

    Labels shorter than the scores are padded with normal and longer ones cut, and both are noted. The smoothing and
    the per-video min-max scaling that were applied to the scores are only passed on, to be printed with the figures.
    Raises ValueError on an infinite score and on two videos of one name.
    """
    from threadpoolctl import threadpool_limits

    # On cores that have other work, threads of matrix products wait for one another: seconds become minutes.
    with threadpool_limits(limits=1, user_api="blas"):
        return _evaluate(videos, config, seed, smoothing_seconds, min_max)


def _evaluate(
    videos: Sequence[VideoScores], config: EvaluateConfig, seed: int, smoothing_seconds: float | None, min_max: bool
) -> Evaluation:
    if len({video.video_id for video in videos}) < len(videos):
        raise ValueError("a video is given twice")
    aligned = [_align(video) for video in videos]
    for video, (score, _, _) in zip(videos, aligned, strict=True):
        if np.isinf(score).any():
            raise ValueError(f"{video.video_id}: {np.count_nonzero(np.isinf(score))} scores are infinite")
    scored = [~np.isnan(score) for score, _, _ in aligned]
    ranked = rank_videos(
        [score[rows] for (score, _, _), rows in zip(aligned, scored, strict=True)],
        [label[rows] for (_, label, _), rows in zip(aligned, scored, strict=True)],
    )
    values = measure(ranked)
    intervals = bootstrap(ranked, num_samples=config.bootstrap_samples, seed=seed)
    rates = [video.fps for video in videos if video.fps]
    alarms = (
        report_alarms(
            [score for score, _, _ in aligned],
            [label for _, label, _ in aligned],
            rates,
            gap_seconds=config.alarm_gap_seconds,
            num_samples=config.bootstrap_samples,
            seed=seed,
            times=[video.time_seconds for video in videos],
        )
        if videos and len(rates) == len(videos)
        else None
    )
    results = [
        _video_result(video, score, label, float(ranked.auc[i]), float(ranked.anchored[i]), alarms, i)
        for i, (video, (score, label, _)) in enumerate(zip(videos, aligned, strict=True))
    ]
    return Evaluation(
        metrics={name: Metric.of(values[name], intervals[name]) for name in METRICS},
        videos=results,
        roc=roc_curve(ranked),
        precision_recall=precision_recall_curve(ranked),
        alarms=alarms,
        groups=break_down(
            ranked,
            {"class": [video.class_name for video in videos], "scene": [video.scene for video in videos]},
            None if alarms is None else alarms.at_one_per_hour,
            num_samples=config.bootstrap_samples,
            seed=seed,
        ),
        alignment=[note for _, _, note in aligned if note.num_cut or note.num_padded],
        bootstrap_samples=config.bootstrap_samples,
        smoothing_seconds=smoothing_seconds,
        min_max=min_max,
    )


def _video_result(
    video: VideoScores,
    score: NDArray[np.float64],
    label: NDArray[np.bool_],
    auc: float,
    anchored: float,
    alarms: AlarmReport | None,
    number: int,
) -> VideoResult:
    # Of an empty slice of floats the minimum would be an error, of NaN alone a warning.
    low, high = (np.nan, np.nan) if np.isnan(score).all() else (np.nanmin(score), np.nanmax(score))
    counts = None if alarms is None else alarms.at_one_per_hour
    num_detected = None if counts is None else int(counts.num_detected[number])
    delay = float(counts.total_delay_seconds[number]) / num_detected if counts and num_detected else None
    return VideoResult(
        video_id=video.video_id,
        class_name=video.class_name,
        scene=video.scene,
        fps=video.fps,
        num_frames=len(score),
        num_abnormal=int(np.count_nonzero(label)),
        num_unscored=int(np.count_nonzero(np.isnan(score))),
        auc=_defined(auc),
        auc_anchored=_defined(anchored),
        min_score=_defined(low),
        max_score=_defined(high),
        num_events=None if counts is None else int(counts.num_events[number]),
        num_detected=num_detected,
        mean_delay_seconds=delay,
        num_false_alarms=None if counts is None else int(counts.num_false_alarms[number]),
    )


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _align(video: VideoScores) -> tuple[NDArray[np.float64], NDArray[np.bool_], AlignmentNote]:
    score, label = np.asarray(video.score, np.float64), np.asarray(video.label, bool)
    num_cut = max(0, len(label) - len(score))
    num_padded = max(0, len(score) - len(label))
    label = np.append(label[: len(score)], np.zeros(num_padded, bool))
    return score, label, AlignmentNote(video.video_id, video.num_cut + num_cut, num_padded)
