"""What an evaluation is written as: a table for the screen, results.json, a row per video."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa

from raypipe.alarms import AlarmReport
from raypipe.evaluate import AlignmentNote, Evaluation
from raypipe.ops.bootstrap import Metric
from raypipe.ops.metrics import Curve
from raypipe.storage import write_file

PER_VIDEO = pa.schema(
    [
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("class_name", pa.string(), nullable=False),
        pa.field("scene", pa.string(), nullable=False),
        # Null where it is not known.
        pa.field("fps", pa.float64()),
        pa.field("num_frames", pa.int64(), nullable=False),
        pa.field("num_abnormal", pa.int64(), nullable=False),
        pa.field("num_unscored", pa.int64(), nullable=False),
        # Null where the scored frames are of one class.
        pa.field("auc", pa.float64()),
        pa.field("auc_anchored", pa.float64()),
        pa.field("min_score", pa.float64()),
        pa.field("max_score", pa.float64()),
        # At 1 false alarm per hour; null without a frame rate.
        pa.field("num_events", pa.int64()),
        pa.field("num_detected", pa.int64()),
        pa.field("mean_delay_seconds", pa.float64()),
        pa.field("num_false_alarms", pa.int64()),
    ]
)


TITLES = {
    "micro_auc": "micro-AUC",
    "macro_auc_anchored": "macro-AUC, anchored",
    "macro_auc_skip": "macro-AUC, one-class videos skipped",
    "average_precision": "average precision",
    "pr_auc": "area under precision-recall",
}


def metric_table(evaluation: Evaluation) -> str:
    """Return the figures as aligned plain text, several lines without a last newline."""
    smoothing = evaluation.smoothing_seconds
    sigma = "as given" if smoothing is None else f"{smoothing:g} s" if smoothing else "off"
    rows = [("metric", "value [95 % interval]", "smoothing")]
    rows += [(TITLES[name], figure(metric), sigma) for name, metric in evaluation.metrics.items()]
    lines = [*_aligned(rows), *notes(evaluation)]
    if evaluation.alarms is not None:
        lines += ["", *alarm_lines(evaluation.alarms)]
    return "\n".join(lines)


def notes(evaluation: Evaluation) -> list[str]:
    """Return what must be said beside the figures, a line each."""
    lines = [
        f"{len(evaluation.videos):,} videos ({len(evaluation.one_class_videos):,} of one class), "
        f"{evaluation.num_frames:,} frames: {evaluation.num_abnormal:,} abnormal, {evaluation.num_unscored:,} unscored"
    ]
    left_out = max((metric.num_left_out for metric in evaluation.metrics.values()), default=0)
    if left_out:
        lines.append(f"intervals: up to {left_out} of {evaluation.bootstrap_samples} replicates had one class only")
    error = max((metric.error for metric in evaluation.metrics.values()), default=0.0)
    if error:
        lines.append(f"intervals: their ends are within {error:.1e} of exact ones, since scores were counted in bins")
    if evaluation.min_max:
        lines.append("scores were scaled to 0..1 within each video, which uses the future and raises micro-AUC")
    if evaluation.alignment:
        named = ", ".join(_note(note) for note in evaluation.alignment[:5])
        more = len(evaluation.alignment) - 5
        lines.append("labels did not fit the frames: " + named + (f" and {more} more videos" if more > 0 else ""))
    if evaluation.alarms is None and evaluation.videos:
        lines.append("no detection delays and false alarms per hour: the frame rate is not known")
    return lines


def alarm_lines(alarms: AlarmReport) -> list[str]:
    """Return what alarms the scores give, as aligned plain text."""
    rows = [("threshold", "false/h", "detected", "delay, median", "normal time alarmed")]
    for point in alarms.points:
        delay = "-" if point.median_delay_seconds is None else f"{point.median_delay_seconds:.1f} s"
        share = "-" if point.alarmed_share is None else f"{point.alarmed_share:.1%}"
        rate = point.false_alarms_per_hour.value
        rows.append(
            (
                point.rule + (": no score" if point.threshold is None else ""),
                "-" if rate is None else f"{rate:.2f}",
                f"{point.num_detected:,} of {alarms.num_events:,}",
                delay,
                share,
            )
        )
    lines = _aligned(rows)
    few = f", where one alarm is {1 / alarms.normal_hours:.1f} an hour" if 0 < alarms.normal_hours < 1 else ""
    lines.append(
        f"{duration(alarms.normal_hours)} of normal video{few}; alarms up to {alarms.gap_seconds:g} s apart are one"
        + (f"; {alarms.num_unscored_events:,} events without a scored frame" if alarms.num_unscored_events else "")
    )
    return lines


def duration(hours: float) -> str:
    """Return a time in the unit in which it is neither nothing nor a great number."""
    seconds = hours * 3600
    if seconds < 120:
        return f"{seconds:.{0 if seconds >= 10 else 1}f} seconds"
    return f"{seconds / 60:.1f} minutes" if hours < 2 else f"{hours:,.1f} hours"


def _aligned(rows: Sequence[tuple[str, ...]]) -> list[str]:
    widths = [max(len(row[i]) for row in rows) for i in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip() for row in rows]


def figure(metric: Metric, digits: int = 3) -> str:
    """Return a figure with its interval in a few characters."""
    if metric.value is None:
        return "not defined"
    if metric.low is None or metric.high is None:
        return f"{metric.value:.{digits}f}"
    return f"{metric.value:.{digits}f} [{metric.low:.{digits}f}, {metric.high:.{digits}f}]"


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
        "bootstrap_error": {name: metric.error for name, metric in evaluation.metrics.items()},
        "alignment": [asdict(note) for note in evaluation.alignment],
    }
    document["alarms"] = _alarms(evaluation.alarms)
    document["groups"] = [asdict(group) for group in evaluation.groups]
    document["videos"] = [asdict(video) for video in evaluation.videos]
    document["curves"] = {
        "roc": _points(evaluation.roc, "false_positive_rate", "true_positive_rate"),
        "precision_recall": _points(evaluation.precision_recall, "recall", "precision"),
    }
    return document


def _alarms(alarms: AlarmReport | None) -> dict[str, Any] | None:
    if alarms is None:
        return None
    names = ("gap_seconds", "normal_hours", "num_events", "num_unscored_events")
    return {name: getattr(alarms, name) for name in names} | {"points": [asdict(point) for point in alarms.points]}


def _points(curve: Curve | None, x: str, y: str) -> dict[str, list[float]] | None:
    return None if curve is None else {x: curve.x.tolist(), y: curve.y.tolist()}


def write_json(document: Mapping[str, Any], path: Path | None) -> None:
    """Write `document` to a local file, whole or not at all; None writes nothing.

    Raises UserError where the place cannot be written.
    """
    if path is not None:
        write_file(path, (json.dumps(document, indent=1, allow_nan=False, ensure_ascii=False) + "\n").encode())
