"""What an evaluation is written as: a table for the screen, results.json, a row per video."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

import pyarrow as pa

from raypipe.evaluation.alarms import AlarmReport
from raypipe.evaluation.breakdown import GroupResult
from raypipe.evaluation.evaluate import AlignmentNote, Evaluation, VideoResult
from raypipe.evaluation.published import Published, published
from raypipe.ops.bootstrap import Metric
from raypipe.ops.metrics import Curve
from raypipe.text import duration

MAX_VIDEOS = 20
# The metrics of which figures are published.
PUBLISHED_METRICS = ("micro_auc", "macro_auc_anchored", "average_precision")

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
    """Return the remarks that belong to the figures, a line each."""
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
        lines.append("no detection delays or false alarms per hour, because the frame rate is not known")
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
    normal = f"{duration(3600 * alarms.normal_hours)} of normal video"
    if 0 < alarms.normal_hours < 1:
        normal += f", so that one alarm is {1 / alarms.normal_hours:.1f} an hour"
    lines.append(f"{normal}; alarms up to {alarms.gap_seconds:g} s apart count as one")
    if alarms.num_unscored_events:
        lines[-1] += f"; {alarms.num_unscored_events:,} events have no scored frame"
    return lines


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

    `timings` maps a stage to `seconds` and `frames_per_second`. None is left out, because a score file has no run.
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


def results_page(evaluation: Evaluation, *, title: str, dataset: str = "", remarks: Sequence[str] = ()) -> str:
    """Return the page. `dataset` names the benchmark, by which published figures are known; see `published`."""
    sigma = evaluation.smoothing_seconds
    smoothing = "as given" if sigma is None else f"Gaussian, sigma {sigma:g} s" if sigma else "off"
    lines = [f"# {title}", ""]
    rows = [[TITLES[name], figure(metric)] for name, metric in evaluation.metrics.items()]
    lines += markdown_table(["metric", "value [95 % interval]"], rows)
    lines += ["", f"Smoothing: {smoothing}. Intervals are bootstraps over videos.", ""]
    lines += [f"* {note}" for note in (*notes(evaluation), *remarks)]
    lines += _published(evaluation, published(dataset))
    if evaluation.alarms is not None:
        lines += _alarm_section(evaluation.alarms)
    for kind, heading in (("class", "Classes"), ("scene", "Scenes")):
        groups = [group for group in evaluation.groups if group.kind == kind]
        if groups:
            lines += ["", f"## {heading}", "", *_groups(groups)]
    lines += _videos(evaluation.videos)
    return "\n".join(lines) + "\n"


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a table; a bar in a cell is escaped."""
    lines = [header, ["---"] * len(header), *rows]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines]


def _published(evaluation: Evaluation, rows: Sequence[Published]) -> list[str]:
    if not rows:
        return []
    names = [name for name in PUBLISHED_METRICS if any(getattr(row, name) is not None for row in rows)]
    table = [["**these scores**", *(figure(evaluation.metrics[name]) for name in names)]]
    table += [[row.method, *(_number(getattr(row, name)) for name in names)] for row in rows]
    return [
        *("", "## Beside published figures", ""),
        *markdown_table(["method", *(TITLES[name] for name in names)], table),
        *("", "As printed in the paper's Tables 1 and 2. Its labels, lengths and smoothing may differ from ours."),
    ]


def _alarm_section(alarms: AlarmReport) -> list[str]:
    header = ["threshold", "score", "false alarms per hour", "events detected", "mean delay", "median delay", "alarmed"]
    rows = [
        [
            point.rule,
            "none" if point.threshold is None else f"{point.threshold:.6g}",
            figure(point.false_alarms_per_hour, 2),
            f"{point.num_detected:,} of {alarms.num_events:,}: {figure(point.sensitivity, 2)}",
            "-" if point.mean_delay_seconds.value is None else f"{figure(point.mean_delay_seconds, 1)} s",
            _seconds(point.median_delay_seconds),
            "-" if point.alarmed_share is None else f"{point.alarmed_share:.2%}",
        ]
        for point in alarms.points
    ]
    lines = ["", "## Alarms", "", *markdown_table(header, rows), ""]
    lines.append(
        f"{duration(3600 * alarms.normal_hours)} of normal video. An alarm is a run of frames at or above the "
        f"threshold; runs up to {alarms.gap_seconds:g} s apart count as one alarm. An alarm is false if it holds no "
        "abnormal frame. Delays are of detected events only. *alarmed* is the share of normal time inside alarms. The "
        "thresholds were chosen on these scores themselves."
    )
    if alarms.num_unscored_events:
        lines.append(f"{alarms.num_unscored_events:,} events have no scored frame and are left out.")
    return lines


def _groups(groups: Sequence[GroupResult]) -> list[str]:
    header = ["name", "videos", "frames", "abnormal", "micro-AUC", "average precision", "events", "false alarms"]
    is_class = groups[0].kind == "class"
    if is_class:
        header.insert(5, "micro-AUC with all normal videos")
    rows = []
    for group in groups:
        row = [
            group.name,
            f"{group.num_videos:,}",
            f"{group.num_frames:,}",
            f"{group.num_abnormal:,}",
            figure(group.metrics["micro_auc"]),
            figure(group.metrics["average_precision"]),
            "-" if group.num_events is None else f"{group.num_detected:,} of {group.num_events:,}",
            "-" if group.num_false_alarms is None else f"{group.num_false_alarms:,}",
        ]
        if is_class:
            row.insert(5, figure(group.metrics["micro_auc_with_normal"]))
        rows.append(row)
    return [*markdown_table(header, rows), "", "Events detected and false alarms at 1 false alarm per hour of all."]


def _videos(videos: Sequence[VideoResult]) -> list[str]:
    shown = sorted((video for video in videos if video.auc is not None), key=lambda video: video.auc or 0.0)
    if not shown:
        return []
    rows = [
        [
            video.video_id,
            f"{video.num_frames:,}",
            f"{video.num_abnormal:,}",
            _number(video.auc),
            "-" if video.num_events is None else f"{video.num_detected:,} of {video.num_events:,}",
            _seconds(video.mean_delay_seconds),
            "-" if video.num_false_alarms is None else f"{video.num_false_alarms:,}",
        ]
        for video in shown[:MAX_VIDEOS]
    ]
    few = len(shown) <= MAX_VIDEOS
    heading = "## Videos, the hardest first" if few else f"## The {MAX_VIDEOS} hardest videos of {len(shown):,}"
    header = ["video", "frames", "abnormal", "AUC", "events", "mean delay", "false alarms"]
    return ["", heading, "", *markdown_table(header, rows), "", "All videos are in results.parquet."]


def _number(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.1f} s"
