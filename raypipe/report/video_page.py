"""The part of a report's page that shows one video, and what the page's script is told of it."""

from html import escape
from typing import Any

import numpy as np

from raypipe.ops.findings import SHORT_UNITS
from raypipe.report import charts
from raypipe.report.pictures import Picture
from raypipe.report.videos import PeakView, TrackView, VideoView
from raypipe.text import clock, counted, number

NUM_TICKS = 5


def video_data(video: VideoView) -> dict[str, Any]:
    """Return what the script says at each step of a video's timeline; see `report.js: words`."""
    abnormal = None
    if video.truth is not None:
        inside = np.zeros(len(video.step_seconds), bool)
        for start, stop in video.truth:
            # Half a thousandth of a second is less than a frame and more than the rounding of times.
            inside |= (video.step_seconds > start - 5e-4) & (video.step_seconds < stop - 5e-4)
        abnormal = "".join("01"[int(is_inside)] for is_inside in inside)
    return {
        "t": [round(seconds, 2) for seconds in video.step_seconds.tolist()],
        "f": video.step_frame.tolist(),
        "s": [None if np.isnan(score) else float(f"{score:.4g}") for score in video.step_score.tolist()],
        "n": video.step_objects.tolist(),
        "a": abnormal,
        "w": video.step_words,
        "words": video.words,
    }


def video_article(place: int, video: VideoView, bounds: tuple[float, float]) -> str:
    """Return a video: what is known of it, its timeline on the common `bounds`, its peaks and its strongest tracks."""
    labels = "" if video.num_abnormal is None else "abnormal" if video.num_abnormal else "normal"
    has_score = np.isfinite(video.max_score)
    attributes = {
        "name": video.video_id,
        "labels": labels,
        "score": f"{video.max_score:.6g}" if has_score else "",
        "auc": "" if video.auc is None else f"{video.auc:.6g}",
        "length": f"{video.duration_seconds:.3f}",
    }
    data = " ".join(f'data-{name}="{escape(value)}"' for name, value in attributes.items())
    marks = "".join(_mark(place, rank, peak, video) for rank, peak in enumerate(video.peaks, start=1))
    ticks = "".join(
        f"<span>{clock(share * video.duration_seconds)}</span>" for share in np.linspace(0, 1, NUM_TICKS).tolist()
    )
    return "\n".join(
        [
            f'<article class="video" id="v{place}" {data} aria-labelledby="v{place}-name">',
            f'<div class="head"><h3 id="v{place}-name">{escape(video.video_id)}</h3>{_chips(video)}</div>',
            f'<div class="marks">{marks}</div>',
            f'<div class="plot-row">{_scale(video, bounds)}{_plot(place, video, bounds)}</div>',
            f'<div class="axis" aria-hidden="true">{ticks}</div>',
            '<p class="readout js-only"><span class="hint">Point at the curve, or use the arrow keys on it.</span></p>',
            _peaks(place, video),
            _tracks(video),
            "</article>",
        ]
    )


def label_chip(is_abnormal: bool | None) -> str:
    """Return a note of a frame's label, nothing without labels."""
    if is_abnormal is None:
        return ""
    return f'<span class="chip{" abnormal" if is_abnormal else ""}">labelled {"ab" if is_abnormal else ""}normal</span>'


def absent_or_image(picture: Picture, words: str) -> str:
    """Return a picture, or the box that says why there is none."""
    if not picture.uri:
        return f'<span class="absent">No picture: {escape(picture.absent)}</span>'
    size = f'width="{picture.width}" height="{picture.height}"'
    return f'<img src="{picture.uri}" {size} alt="{escape(words)}" decoding="async">'


def _chips(video: VideoView) -> str:
    chips = []
    if video.num_abnormal is not None:
        share = video.num_abnormal / max(video.num_frames, 1)
        words = f"{share:.0%} of frames labelled abnormal" if video.num_abnormal else "all frames labelled normal"
        chips.append(f'<span class="chip{" abnormal" if video.num_abnormal else ""}">{words}</span>')
    if video.auc is not None:
        chips.append(f'<span class="chip">AUC {video.auc:.3f}</span>')
    if np.isfinite(video.max_score):
        chips.append(f'<span class="chip">highest score {number(video.max_score)}</span>')
    chips.append(f'<span class="chip">{clock(video.duration_seconds)}, {counted(video.num_frames, "frame")}</span>')
    if video.num_unscored:
        chips.append(f'<span class="chip">{counted(video.num_unscored, "frame")} not scored</span>')
    return "".join(chips)


def _mark(place: int, rank: int, peak: PeakView, video: VideoView) -> str:
    # The middle of the time that its frame is shown, as on the curve.
    half = video.duration_seconds / max(video.num_frames, 1) / 2
    left = 100 * (peak.peak.time_seconds + half) / max(video.duration_seconds, 1e-9)
    title = f"Peak {rank} at {clock(peak.peak.time_seconds)}, score {number(peak.peak.score)}"
    return (
        f'<a class="mark" href="#v{place}p{rank}" style="left:{left:.2f}%" aria-label="{title}" '
        f'title="{title}">{rank}</a>'
    )


def _scale(video: VideoView, bounds: tuple[float, float]) -> str:
    valid = video.step_score[~np.isnan(video.step_score)]
    own = (float(valid.min()), float(valid.max())) if valid.size else bounds
    rows = "".join(
        f'<span><span class="common">{number(common)}</span><span class="own">{number(alone)}</span></span>'
        for common, alone in zip(reversed(bounds), reversed(own), strict=True)
    )
    return f'<div class="scale" aria-hidden="true">{rows}</div>'


def _plot(place: int, video: VideoView, bounds: tuple[float, float]) -> str:
    svg = charts.timeline(video.step_score, video.duration_seconds, video.truth or (), video.unscored, bounds)
    last = max(len(video.step_score) - 1, 0)
    return (
        f'<div class="plot" data-video="{place}" tabindex="0" role="slider" '
        f'aria-label="Scores of {escape(video.video_id)} over time" aria-valuemin="0" aria-valuemax="{last}" '
        f'aria-valuenow="0">{svg}<span class="cursor"></span></div>'
    )


def _peaks(place: int, video: VideoView) -> str:
    if not video.peaks:
        return ""
    items = []
    for rank, view in enumerate(video.peaks, start=1):
        when = f'<strong class="num">{rank}. {clock(view.peak.time_seconds)}</strong>, score {number(view.peak.score)}'
        caption = f"{when} {label_chip(view.is_abnormal)}" + (f"<br>{escape(view.words)}" if view.words else "")
        image = absent_or_image(view.picture, f"Peak {rank}: {view.words}") if video.is_pictured else ""
        items.append(f'<li id="v{place}p{rank}"><figure>{image}<figcaption>{caption}</figcaption></figure></li>')
    return f'<h4>Peaks</h4><ol class="peaks">{"".join(items)}</ol>'


def _tracks(video: VideoView) -> str:
    if not video.tracks:
        return ""
    motions = [track.motion for track in video.tracks if track.motion is not None]
    largest_motion = max([0.0, *(float(motion.max()) for motion in motions)])
    largest_score = max(track.score for track in video.tracks)
    items = "".join(_track(track, video, largest_motion, largest_score) for track in video.tracks)
    rose = (
        f" The roses show which way the object moves, out to {largest_motion:.1f} "
        f"{SHORT_UNITS[video.motion_unit]}; dashed: the median object."
        if largest_motion > 0
        else ""
    )
    return (
        f'<h4>Strongest objects</h4><ul class="tracks">{items}</ul>'
        f'<p class="unit-note">Object scores are as the model gives them, before smoothing.{rose}</p>'
    )


def _track(track: TrackView, video: VideoView, largest_motion: float, largest_score: float) -> str:
    rose = (
        charts.rose(track.motion, video.median_motion, largest_motion, video.motion_unit)
        if track.motion is not None and largest_motion > 0
        else ""
    )
    parts = [("space", track.spatial), ("motion", track.by_motion)]
    there = [(name, value) for name, value in parts if value is not None]
    sum_of = " + ".join(f"{name} {number(value)}" for name, value in there)
    words = (
        f"score {number(track.score)} = {sum_of}"
        if len(there) > 1
        else f"score {number(track.score)}, of {there[0][0]} alone"
    )
    span = f"{clock(track.start_seconds)} to {clock(track.end_seconds)}, highest at {clock(track.time_seconds)}"
    return (
        f'<li><div class="seen">{absent_or_image(track.picture, track.words)}{rose}</div>'
        f'<p class="words">{escape(track.words)}</p>'
        f"{charts.parts_bar(track.spatial, track.by_motion, largest_score)}<p>{words}</p>"
        f'<p class="soft">track {track.track_id}, {span}</p></li>'
    )
