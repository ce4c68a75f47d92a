"""Figures of an evaluation: the ROC curve and the scores over time. Readable in print without colour.

Figures are made by matplotlib's objects and drawn by Agg, without pyplot's global state, so they can be made in any
thread and without a display.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from raypipe.evaluation.evaluate import Evaluation, VideoScores
from raypipe.ops.intervals import runs

INK = "0.1"
ABNORMAL = "0.82"
CHANCE = "0.55"
MAX_VIDEOS = 12
NUM_COLUMNS = 3


def plot_roc(evaluation: Evaluation) -> Figure:
    """Return the ROC curve over all scored frames, with the micro-AUC and its interval in the title."""
    figure = Figure(figsize=(4.6, 4.6), dpi=130, layout="constrained")
    axes = figure.subplots()
    _bare(axes)
    axes.plot([0, 1], [0, 1], color=CHANCE, linewidth=1, linestyle=(0, (4, 4)))
    axes.annotate("chance", (0.5, 0.5), xytext=(4, -9), textcoords="offset points", color=CHANCE, fontsize=9)
    if evaluation.roc is None:
        title = "ROC curve: not defined, all frames are of one class"
    else:
        axes.plot(*evaluation.roc, color=INK, linewidth=1.8, solid_capstyle="round", clip_on=False)
        metric = evaluation.metrics["micro_auc"]
        title = f"micro-AUC {metric.value:.3f}"
        if metric.low is not None:
            title += f"  (95 % interval {metric.low:.3f} to {metric.high:.3f})"
    axes.set_title(title, fontsize=10, loc="left")
    axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
    ticks = np.linspace(0, 1, 6)
    axes.set(xticks=ticks, yticks=ticks)
    axes.set_xlabel("false positive rate (normal frames above the threshold)", fontsize=9)
    axes.set_ylabel("true positive rate (abnormal frames above the threshold)", fontsize=9)
    return figure


def plot_timelines(videos: Sequence[VideoScores], frames_per_second: Mapping[str, float] | None = None) -> Figure:
    """Return each video's score over time as small panels on one scale of scores, labelled frames shaded.

    Of more than 12 videos those with abnormal frames come first, taken evenly over the list. Time is in seconds where
    `frames_per_second` has every video shown, otherwise in frames. Unscored frames are a hatched gap.
    """
    shown = _chosen(videos)
    in_seconds = frames_per_second is not None and all(video.video_id in frames_per_second for video in shown)
    num_columns = 2 if len(shown) in (2, 4) else max(1, min(NUM_COLUMNS, len(shown)))
    num_rows = max(1, -(-len(shown) // num_columns))
    figure = Figure(figsize=(max(6.4, 3.3 * num_columns + 0.4), 1.35 * num_rows + 1.0), dpi=130, layout="constrained")
    panels = figure.subplots(num_rows, num_columns, squeeze=False, sharey=True).ravel()
    for axes, video in zip(panels, shown, strict=False):
        _timeline(axes, video, frames_per_second[video.video_id] if frames_per_second and in_seconds else 1.0)
    for axes in panels[len(shown) :]:
        axes.set_visible(False)
    finite = np.concatenate([np.empty(0), *(video.score[np.isfinite(video.score)] for video in shown)])
    if finite.size and finite.max() > finite.min():
        margin = 0.05 * (finite.max() - finite.min())
        panels[0].set_ylim(finite.min() - margin, finite.max() + margin)
    some = f" ({len(shown)} of {len(videos)} videos)" if len(shown) < len(videos) else ""
    figure.suptitle(f"Anomaly score over time{some}", fontsize=10, x=0.01, ha="left")
    figure.supxlabel("seconds" if in_seconds else "frame", fontsize=9)
    figure.supylabel("anomaly score", fontsize=9)
    handles = [Patch(facecolor=ABNORMAL, label="labelled abnormal")]
    if any(np.isnan(video.score).any() for video in shown):
        handles.append(Patch(facecolor="none", edgecolor=CHANCE, hatch="////", linewidth=0, label="not scored"))
    figure.legend(handles=handles, loc="outside upper right", ncols=2, frameon=False, fontsize=9)
    return figure


def _chosen(videos: Sequence[VideoScores]) -> list[VideoScores]:
    if len(videos) <= MAX_VIDEOS:
        return list(videos)
    first = [i for i, video in enumerate(videos) if np.any(video.label)]
    rest = [i for i, video in enumerate(videos) if not np.any(video.label)]
    chosen = first + rest[: MAX_VIDEOS - len(first)] if len(first) < MAX_VIDEOS else _evenly(first)
    return [videos[i] for i in sorted(chosen)]


def _evenly(indices: list[int]) -> list[int]:
    return [indices[i] for i in np.linspace(0, len(indices) - 1, MAX_VIDEOS).astype(int)]


def _timeline(axes: Axes, video: VideoScores, frames_per_second: float) -> None:
    _bare(axes)
    time = np.arange(len(video.score)) / frames_per_second
    for start, stop in runs(np.asarray(video.label, bool)[: len(video.score)]):
        axes.axvspan(start / frames_per_second, stop / frames_per_second, color=ABNORMAL, linewidth=0)
    for start, stop in runs(np.isnan(video.score)):
        axes.axvspan(
            *(start / frames_per_second, stop / frames_per_second),
            facecolor="none",
            edgecolor=CHANCE,
            hatch="////",
            linewidth=0,
        )
    axes.plot(time, video.score, color=INK, linewidth=1.0, solid_joinstyle="round")
    axes.set_xlim(0, max(len(video.score), 1) / frames_per_second)
    title = video.video_id if len(video.video_id) <= 40 else "…" + video.video_id[-39:]
    # A dollar sign in a name does not begin a formula.
    axes.set_title(title, fontsize=8, loc="left", parse_math=False)
    axes.locator_params(axis="x", nbins=5)
    axes.locator_params(axis="y", nbins=4)


def _bare(axes: Axes) -> None:
    axes.spines[["top", "right"]].set_visible(False)
    axes.spines[["left", "bottom"]].set_color("0.6")
    axes.tick_params(colors="0.3", labelsize=8, length=3)
