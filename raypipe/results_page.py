"""The figures of an evaluation as one page of Markdown, with published ones beside them."""

from collections.abc import Sequence

from raypipe.alarms import AlarmReport
from raypipe.breakdown import GroupResult
from raypipe.evaluate import Evaluation, VideoResult
from raypipe.published import Published, published
from raypipe.results import TITLES, duration, figure, notes

MAX_VIDEOS = 20
PUBLISHED_TITLES = {
    "micro_auc": "micro-AUC",
    "macro_auc_anchored": "macro-AUC, anchored",
    "average_precision": "average precision",
}


def results_page(evaluation: Evaluation, *, title: str, dataset: str = "", remarks: Sequence[str] = ()) -> str:
    """Return the page. `dataset` names the benchmark, by which published figures are known; see `benchmarks`."""
    sigma = evaluation.smoothing_seconds
    smoothing = "as given" if sigma is None else f"Gaussian, sigma {sigma:g} s" if sigma else "off"
    lines = [f"# {title}", ""]
    rows = [[TITLES[name], figure(metric)] for name, metric in evaluation.metrics.items()]
    lines += markdown_table(["metric", "value [95 % interval]"], rows)
    lines += ["", f"Smoothing: {smoothing}. Intervals are bootstraps over videos.", ""]
    lines += [f"* {note}" for note in (*notes(evaluation), *remarks)]
    lines += _published(evaluation, published(dataset))
    if evaluation.alarms is not None:
        lines += _alarms(evaluation.alarms)
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
    names = [name for name in PUBLISHED_TITLES if any(getattr(row, name) is not None for row in rows)]
    table = [["**these scores**", *(figure(evaluation.metrics[name]) for name in names)]]
    table += [[row.method, *(_number(getattr(row, name)) for name in names)] for row in rows]
    return [
        *("", "## Beside published figures", ""),
        *markdown_table(["method", *(PUBLISHED_TITLES[name] for name in names)], table),
        *("", "As printed in the paper's Tables 1 and 2, whose labels, lengths and smoothing may differ from ours."),
    ]


def _alarms(alarms: AlarmReport) -> list[str]:
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
        f"{duration(alarms.normal_hours)} of normal video. An alarm is a run of frames at or above the threshold; runs "
        f"up to {alarms.gap_seconds:g} s apart are one. It is false where it holds no abnormal frame. Delays are of "
        "detected events only. *alarmed* is the share of normal time that lies in alarms. Thresholds are chosen on "
        "these very scores."
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
