"""Frame scores against labels: the figures of a run, or of anybody's score file.

Frames that were not scored (NaN) are left out of every metric and counted. Labels are aligned to the frames that we
decoded, and every video for which that took cutting or padding is listed in the result.
"""

import json
import os
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field

from raypipe.errors import AnnotationError, UserError
from raypipe.ops.metrics import (
    METRICS,
    Curve,
    anchored_auc,
    bootstrap,
    measure,
    precision_recall_curve,
    roc_auc,
    roc_curve,
)
from raypipe.score_files import read_labels, read_scores

TITLES = {
    "micro_auc": "micro-AUC",
    "macro_auc_anchored": "macro-AUC, anchored",
    "macro_auc_skip": "macro-AUC, one-class videos skipped",
    "average_precision": "average precision",
    "pr_auc": "area under precision-recall",
}

PER_VIDEO = pa.schema(
    [
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("num_frames", pa.int64(), nullable=False),
        pa.field("num_abnormal", pa.int64(), nullable=False),
        pa.field("num_unscored", pa.int64(), nullable=False),
        # Null where the scored frames are of one class.
        pa.field("auc", pa.float64()),
        pa.field("auc_anchored", pa.float64()),
        pa.field("min_score", pa.float64()),
        pa.field("max_score", pa.float64()),
    ]
)


class EvaluateConfig(BaseModel):
    """How scores are compared with labels."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    bootstrap_samples: int = Field(default=1000, ge=0, description="replicates of each 95 % interval, 0 for none")


@dataclass(frozen=True)
class VideoScores:
    """One test video: `score` float64 (T,), higher is more abnormal, NaN where unscored; `label` bool (T,).

    `num_cut` says how many labelled frames `align_labels` had to cut because the video ends before them.
    """

    video_id: str
    score: NDArray[np.float64]
    label: NDArray[np.bool_]
    num_cut: int = 0


@dataclass(frozen=True)
class Metric:
    """A figure and its 95 % interval over videos; None where it is not defined."""

    value: float | None
    low: float | None
    high: float | None
    num_left_out: int = 0


@dataclass(frozen=True)
class VideoResult:
    """One row of the per-video table, see `PER_VIDEO`; the AUCs are over the scored frames."""

    video_id: str
    num_frames: int
    num_abnormal: int
    num_unscored: int
    auc: float | None
    auc_anchored: float | None
    min_score: float | None
    max_score: float | None


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
    `smoothing_seconds` is None where it is not known, as for a score file.
    """

    metrics: Mapping[str, Metric]
    videos: Sequence[VideoResult]
    roc: Curve | None
    precision_recall: Curve | None
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
    if len({video.video_id for video in videos}) < len(videos):
        raise ValueError("a video is given twice")
    aligned = [_align(video) for video in videos]
    results, scores, labels = [], [], []
    for video, (score, label, _) in zip(videos, aligned, strict=True):
        if np.isinf(score).any():
            raise ValueError(f"{video.video_id}: {np.count_nonzero(np.isinf(score))} scores are infinite")
        scored = ~np.isnan(score)
        scores.append(score[scored])
        labels.append(label[scored])
        results.append(
            VideoResult(
                video_id=video.video_id,
                num_frames=len(score),
                num_abnormal=int(np.count_nonzero(label)),
                num_unscored=int(np.count_nonzero(~scored)),
                auc=roc_auc(scores[-1], labels[-1]),
                auc_anchored=anchored_auc(scores[-1], labels[-1]),
                min_score=float(scores[-1].min()) if scored.any() else None,
                max_score=float(scores[-1].max()) if scored.any() else None,
            )
        )
    score_N = np.concatenate([np.empty(0), *scores])
    label_N = np.concatenate([np.empty(0, bool), *labels])
    video_N = np.repeat(np.arange(len(videos)), [len(score) for score in scores])
    values = measure(score_N, label_N, video_N)
    intervals = bootstrap(score_N, label_N, video_N, num_samples=config.bootstrap_samples, seed=seed)
    return Evaluation(
        metrics={
            name: Metric(values[name], intervals[name].low, intervals[name].high, intervals[name].num_left_out)
            for name in METRICS
        },
        videos=results,
        roc=roc_curve(score_N, label_N),
        precision_recall=precision_recall_curve(score_N, label_N),
        alignment=[note for _, _, note in aligned if note.num_cut or note.num_padded],
        bootstrap_samples=config.bootstrap_samples,
        smoothing_seconds=smoothing_seconds,
        min_max=min_max,
    )


def _align(video: VideoScores) -> tuple[NDArray[np.float64], NDArray[np.bool_], AlignmentNote]:
    score, label = np.asarray(video.score, np.float64), np.asarray(video.label, bool)
    num_cut = max(0, len(label) - len(score))
    num_padded = max(0, len(score) - len(label))
    label = np.append(label[: len(score)], np.zeros(num_padded, bool))
    return score, label, AlignmentNote(video.video_id, video.num_cut + num_cut, num_padded)


def evaluate_files(scores: Path, labels: Path, config: EvaluateConfig, *, seed: int) -> Evaluation:
    """Return the figures of concatenated frame scores against the labels of all their videos.

    `scores` is an .npy, or an .npz with one array or the key `scores`; higher is more abnormal. `labels` is an .npz
    with `labels` (0 or 1 per frame), `video_names` and `num_frames` (per video). Raises UserError on files that are
    missing, not NumPy's, or do not fit one another; nothing is ever unpickled.
    """
    score_N = read_scores(scores)
    label_N, names, num_frames = read_labels(labels)
    if len(score_N) != len(label_N):
        raise UserError(f"{scores} has {len(score_N)} scores, but {labels} has {len(label_N)} labels")
    stops = np.cumsum(num_frames)
    videos = [
        VideoScores(name, score_N[stop - count : stop], label_N[stop - count : stop])
        for name, count, stop in zip(names, num_frames, stops, strict=True)
    ]
    return evaluate_videos(videos, config, seed=seed)


def metric_table(evaluation: Evaluation) -> str:
    """Return the figures as aligned plain text, several lines without a last newline."""
    smoothing = evaluation.smoothing_seconds
    sigma = "as given" if smoothing is None else f"{smoothing:g} s" if smoothing else "off"
    rows = [("metric", "value [95 % interval]", "smoothing")]
    rows += [(TITLES[name], _figure(metric), sigma) for name, metric in evaluation.metrics.items()]
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    lines = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    lines.append(
        f"{len(evaluation.videos):,} videos ({len(evaluation.one_class_videos):,} of one class), "
        f"{evaluation.num_frames:,} frames: {evaluation.num_abnormal:,} abnormal, {evaluation.num_unscored:,} unscored"
    )
    left_out = max((metric.num_left_out for metric in evaluation.metrics.values()), default=0)
    if left_out:
        lines.append(f"intervals: up to {left_out} of {evaluation.bootstrap_samples} replicates had one class only")
    if evaluation.min_max:
        lines.append("scores were scaled to 0..1 within each video, which uses the future and raises micro-AUC")
    if evaluation.alignment:
        named = ", ".join(_note(note) for note in evaluation.alignment[:5])
        more = len(evaluation.alignment) - 5
        lines.append("labels did not fit the frames: " + named + (f" and {more} more videos" if more > 0 else ""))
    return "\n".join(lines)


def _figure(metric: Metric) -> str:
    if metric.value is None:
        return "not defined"
    if metric.low is None or metric.high is None:
        return f"{metric.value:.3f}"
    return f"{metric.value:.3f} [{metric.low:.3f}, {metric.high:.3f}]"


def _note(note: AlignmentNote) -> str:
    parts = [f"{count} {what}" for count, what in ((note.num_cut, "cut"), (note.num_padded, "padded")) if count]
    return f"{note.video_id} ({', '.join(parts)})"


def per_video_table(evaluation: Evaluation) -> pa.Table:
    """Return one row per video, in the order evaluated, with the schema `PER_VIDEO`."""
    return pa.Table.from_pylist([asdict(video) for video in evaluation.videos], schema=PER_VIDEO)


def results_document(
    evaluation: Evaluation,
    *,
    counts: Mapping[str, int] | None = None,
    timings: Mapping[str, Mapping[str, float]] | None = None,
    config_hash: str | None = None,
    versions: Mapping[str, str] | None = None,
) -> dict[str, Any]:
    """Return the content of results.json, ready for `write_json`.

    `timings` maps a stage to `seconds` and `frames_per_second`. What is None is left out: a score file has no run.
    """
    document: dict[str, Any] = {
        "metrics": {
            name: {"value": metric.value, "low": metric.low, "high": metric.high}
            for name, metric in evaluation.metrics.items()
        },
        "counts": counts,
        "timings": timings,
        "config_hash": config_hash,
        "versions": versions,
    }
    document = {key: value for key, value in document.items() if value is not None}
    document["evaluation"] = {
        "num_videos": len(evaluation.videos),
        "num_frames": evaluation.num_frames,
        "num_abnormal": evaluation.num_abnormal,
        "num_unscored": evaluation.num_unscored,
        "one_class_videos": evaluation.one_class_videos,
        "smoothing_seconds": evaluation.smoothing_seconds,
        "min_max": evaluation.min_max,
        "bootstrap_samples": evaluation.bootstrap_samples,
        "bootstrap_left_out": {name: metric.num_left_out for name, metric in evaluation.metrics.items()},
        "alignment": [asdict(note) for note in evaluation.alignment],
    }
    document["videos"] = [asdict(video) for video in evaluation.videos]
    document["curves"] = {
        "roc": _points(evaluation.roc, "false_positive_rate", "true_positive_rate"),
        "precision_recall": _points(evaluation.precision_recall, "recall", "precision"),
    }
    return document


def _points(curve: Curve | None, x: str, y: str) -> dict[str, list[float]] | None:
    return None if curve is None else {x: curve.x.tolist(), y: curve.y.tolist()}


def write_json(document: Mapping[str, Any], path: Path | None) -> None:
    """Write `document` to a local file, whole or not at all; None writes nothing.

    Raises UserError where the place cannot be written.
    """
    if path is None:
        return
    text = json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n"
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error
