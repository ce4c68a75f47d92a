"""A report as one HTML file that needs nothing else: no network, no other file, and no script to be read.

Everything that comes from outside (names, captions, reasons) goes through `html.escape`, and into the data of the
script through `embedded_json`; a policy in the page forbids anything but its own script.
"""

import base64
import hashlib
import json
from collections.abc import Iterable
from html import escape
from importlib.resources import files
from string import Template
from typing import Any

import numpy as np

from raypipe.report import charts
from raypipe.report.findings import Finding
from raypipe.report.gather import MAX_DEAD_LETTERS, MAX_PICTURED, MetricRow, Report
from raypipe.report.pictures import Picture
from raypipe.report.video_page import absent_or_image, label_chip, video_article, video_data
from raypipe.text import clock, counted, number

ASSETS = files("raypipe") / "assets"
# Versions that the header names; the others are with them below.
VERSIONS = (("raypipe", "raypipe"), ("python", "Python"), ("ray", "Ray"), ("torch", "torch"))
# Timelines begin on scales of their own where the median video's highest score is below this share of the range.
OWN_SCALE_BELOW = 0.15


def render_page(report: Report) -> str:
    """Return the whole HTML file."""
    script = "\n" + _asset("report.js")
    bounds = _bounds(report)
    body = [
        '<a class="skip" href="#videos-title">Skip to the videos</a>',
        _header(report),
        "<main>",
        _findings(report),
        _figures(report),
        _videos(report, bounds),
        _stages(report),
        _run(report),
        "</main>",
        f"<footer><p>Made by raypipe {escape(report.versions.get('raypipe', ''))}. "
        "This file is whole: it loads nothing from anywhere.</p></footer>",
    ]
    return Template(_asset("report.html")).substitute(
        title=escape(f"{report.name}: raypipe report"),
        style=_asset("report.css").strip(),
        script=script,
        script_hash=base64.b64encode(hashlib.sha256(script.encode()).digest()).decode(),
        data=embedded_json({"videos": [video_data(video) for video in report.videos]}),
        body="\n".join(part for part in body if part),
    )


def embedded_json(document: Any) -> str:
    """Return JSON that may stand in a script element: no text in it can end the element or begin another."""
    text = json.dumps(document, separators=(",", ":"), allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _asset(name: str) -> str:
    return (ASSETS / name).read_text(encoding="utf-8")


def _bounds(report: Report) -> tuple[float, float]:
    """Return the range of scores that all timelines share; 0 is in it where no score is below."""
    scores = np.concatenate([np.zeros(1), *(video.step_score for video in report.videos)])
    return float(np.nanmin(scores)), float(np.nanmax(scores))


def _header(report: Report) -> str:
    features = report.config["features.spatial"]
    parts = [
        *([] if features == "none" else [str(features)]),
        *(["motion"] if report.config["features.motion"] else []),
    ]
    smoothing = report.config["score.smoothing_seconds"]
    what = (
        f"Model <b>{escape(str(report.config['score.model']))}</b> on {escape(' and '.join(parts))}, "
        + (f"scores smoothed over {smoothing:g} s" if smoothing else "scores not smoothed")
        + f". Data: <code>{escape(str(report.config['dataset.root']))}</code>"
    )
    tiles = [_metric_tile(row) for row in report.metrics[:1]]
    tiles += [_tile(name, value) for name, value in report.counts.items()]
    notes = "".join(f"<li>{escape(note)}</li>" for note in report.notes)
    return "\n".join(
        [
            f"<header><h1>{escape(report.name)}</h1>",
            f'<p class="soft">{what}</p>',
            f'<p class="soft">{_made_with(report)}</p>',
            f'<ul class="notes" aria-label="Notes">{notes}</ul>' if notes else "",
            f'<dl class="tiles">{"".join(tiles)}</dl></header>',
        ]
    )


def _made_with(report: Report) -> str:
    """Return the config and the versions in a line; all of them are below."""
    there = [f"{title} {escape(report.versions[key])}" for key, title in VERSIONS if key in report.versions]
    settings = f'Config <a href="#run"><code>{escape(report.config_hash)}</code></a>'
    return ", ".join([settings, *there])


def _tile(name: str, value: str) -> str:
    figure, _, rest = value.partition(" (")
    small = f"<small>{escape(rest.removesuffix(')'))}</small>" if rest else ""
    return f"<div><dt>{escape(name)}</dt><dd>{escape(figure)}{small}</dd></div>"


def _metric_tile(row: MetricRow) -> str:
    value = "not defined" if row.value is None else f"{row.value:.3f}"
    span = "" if row.low is None or row.high is None else f" (95 % interval {row.low:.3f} to {row.high:.3f})"
    return _tile(row.title, value + span)


def _findings(report: Report) -> str:
    if not report.findings:
        return ""
    items = "".join(_finding(finding, picture, report) for finding, picture in report.findings)
    return f'<h2>Strongest findings</h2><ol class="findings">{items}</ol>'


def _finding(finding: Finding, picture: Picture, report: Report) -> str:
    peak = finding.peak
    place = next(number for number, video in enumerate(report.videos) if video.video_id == peak.video_id)
    image = absent_or_image(picture, f"{peak.video_id} at {clock(peak.time_seconds)}: {finding.words}")
    return (
        f'<li>{image}<div><p class="words">{escape(finding.words)}</p>'
        f'<p><a href="#v{place}">{escape(peak.video_id)}</a> at <span class="num">{clock(peak.time_seconds)}</span>, '
        f'score <b class="num">{number(peak.score)}</b> {label_chip(finding.is_abnormal)}</p></div></li>'
    )


def _figures(report: Report) -> str:
    if not report.metrics:
        return ""
    has_paper = any(row.paper is not None for row in report.metrics)
    figures = [figure for row in report.metrics for figure in (row.value, row.low, row.paper) if figure is not None]
    start = 0.5 if min(figures, default=0.0) >= 0.5 else 0.0
    rows = "".join(_metric_row(row, start, has_paper=has_paper) for row in report.metrics)
    caption = f"Each figure with its 95 % interval, a bootstrap over videos; the lines run from {start:g} to 1."
    if has_paper and report.benchmark:
        caption += f" The diamond is the paper's figure for the whole test split of {report.benchmark}."
    paper = '<th scope="col" class="num">paper</th>' if has_paper else ""
    table = (
        f'<div class="scroll"><table><caption>{escape(caption)}</caption><thead><tr><th scope="col">metric</th>'
        f'<th scope="col" class="num">value</th><th scope="col" class="num">95 % interval</th>{paper}'
        f'<td class="chart"></td></tr></thead><tbody>{rows}</tbody></table></div>'
    )
    return f'<h2>Scores against labels</h2><div class="figures">{table}{_curves(report)}</div>'


def _metric_row(row: MetricRow, start: float, *, has_paper: bool) -> str:
    span = "" if row.low is None or row.high is None else f"{row.low:.3f} to {row.high:.3f}"
    chart = "" if row.value is None else charts.interval(row.value, row.low, row.high, row.paper, start)
    value = "not defined" if row.value is None else f"{row.value:.3f}"
    paper = f'<td class="num">{"" if row.paper is None else f"{row.paper:.3f}"}</td>' if has_paper else ""
    return (
        f'<tr><th scope="row">{escape(row.title)}</th><td class="num"><b>{value}</b></td>'
        f'<td class="num">{span}</td>{paper}<td class="chart">{chart}</td></tr>'
    )


def _curves(report: Report) -> str:
    drawn = []
    roc, precision_recall = report.curves.get("roc"), report.curves.get("precision_recall")
    if roc:
        points = (roc["false_positive_rate"], roc["true_positive_rate"])
        drawn.append(charts.curve(*points, "false positive rate", "true positive rate", with_chance=True))
    if precision_recall:
        points = (precision_recall["recall"], precision_recall["precision"])
        drawn.append(charts.curve(*points, "recall", "precision", with_chance=False))
    return "".join(f"<figure>{svg}</figure>" for svg in drawn)


LEGEND = (
    (
        '<path class="curve-line" d="M1 13L9 11L15 4L22 10L33 12"/>',
        "frame score (of long videos the highest in each of 360 steps)",
    ),
    (
        '<rect class="truth" width="34" height="16"/><rect class="truth-cap" width="34" height="3"/>',
        "labelled abnormal",
    ),
    ('<rect class="gap" width="34" height="16"/>', "not scored"),
)
# Of objects whose score has both parts.
LEGEND_OF_PARTS = (
    ('<rect class="part-space" y="3" width="34" height="10"/>', "what space adds to an object's score"),
    ('<rect class="part-motion" y="3" width="34" height="10"/>', "what motion adds"),
)


def _videos(report: Report, bounds: tuple[float, float]) -> str:
    if not report.videos:
        return '<h2 id="videos-title">Videos</h2><p class="soft">No video has scores that could be shown.</p>'
    has_labels = any(video.truth is not None for video in report.videos)
    pictured = sum(video.is_pictured for video in report.videos)
    left_out = []
    if report.num_left_out:
        left_out.append(f"Left out: {counted(report.num_left_out, 'video')} with lower scores.")
    if pictured < len(report.videos):
        left_out.append(
            f"Pictures, words and objects are shown for {pictured:,} of these {len(report.videos):,} videos: the "
            f"{MAX_PICTURED} with the highest scores at most. raypipe render shows any other."
        )
    tracks = [track for video in report.videos for track in video.tracks]
    has_parts = any(track.spatial is not None and track.by_motion is not None for track in tracks)
    legend = "".join(
        f'<li><svg viewBox="0 0 34 16" aria-hidden="true" focusable="false">{drawing}</svg>{escape(words)}</li>'
        for drawing, words in (*LEGEND, *(LEGEND_OF_PARTS if has_parts else ()))
        if has_labels or words != "labelled abnormal"
    )
    # One video far above all others would leave them flat.
    tops = [video.max_score for video in report.videos if np.isfinite(video.max_score)]
    is_own = bool(tops) and float(np.median(tops)) - bounds[0] < OWN_SCALE_BELOW * (bounds[1] - bounds[0])
    articles = "\n".join(video_article(place, video, bounds) for place, video in enumerate(report.videos))
    own = ' class="own-scale"' if is_own else ""
    return (
        f'<h2 id="videos-title">Videos</h2><p class="soft">A higher score is more abnormal. '
        f'{escape(" ".join(left_out))}</p><ul class="legend">{legend}<li><span class="mark" aria-hidden="true">1</span>'
        f"a peak, pictured below</li></ul>{_tools(has_labels, is_own)}"
        f'<div id="videos"{own}>{articles}</div>'
    )


def _tools(has_labels: bool, is_own: bool) -> str:
    choices = {"all": "all", "abnormal": "with abnormal frames", "normal": "all normal"}
    orders = {"score": "highest score", "name": "name", "auc": "lowest AUC", "length": "longest"}
    fields = [
        ("Name contains", '<input id="filter-name" type="search" autocomplete="off" spellcheck="false">'),
        *([("Labels", _select("filter-labels", choices))] if has_labels else []),
        ("Highest score at least", '<input id="filter-score" type="number" step="any" inputmode="decimal">'),
        ("Order", _select("sort", {k: v for k, v in orders.items() if has_labels or k != "auc"})),
    ]
    labels = "".join(f"<label>{title}{control}</label>" for title, control in fields)
    return (
        f'<div class="tools js-only" role="search" aria-label="Filter the videos">{labels}'
        f'<label class="check"><input id="own-scale" type="checkbox"{" checked" if is_own else ""}>'
        "each on its own scale</label></div>"
        '<p class="soft js-only" id="shown" role="status"></p>'
    )


def _select(name: str, options: dict[str, str]) -> str:
    choices = "".join(f'<option value="{value}">{words}</option>' for value, words in options.items())
    return f'<select id="{name}">{choices}</select>'


def _stages(report: Report) -> str:
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td class="num">{row["seconds"]:,.1f} s</td>'
        f'<td class="num">{row["frames_per_second"]:,.0f}</td><td class="num">{row["share"]:.0%}</td>'
        f'<td class="bar">{charts.share_bar(row["share"])}</td></tr>'
        for name, row in charts.sorted_shares(report.timings)
    )
    if not rows:
        return ""
    whole = ", ".join(f"{name} {row['seconds']:,.1f} s" for name, row in report.timings.items() if "share" not in row)
    return (
        '<h2>Time by stage</h2><div class="scroll"><table class="stages"><caption>Seconds of all processes together; '
        f"by the clock: {escape(whole or 'not known')}.</caption>"
        '<thead><tr><th scope="col">stage</th><th scope="col" class="num">time</th><th scope="col" class="num">'
        'frames/s</th><th scope="col" class="num">share</th><td></td></tr></thead>'
        f"<tbody>{rows}</tbody></table></div>"
    )


def _run(report: Report) -> str:
    dead = [(f"{d.video_id} segment {d.segment_index}, {d.stage}", d.message) for d in report.dead[:MAX_DEAD_LETTERS]]
    if len(report.dead) > len(dead):
        dead.append(("and", f"{len(report.dead) - len(dead):,} more, in {report.output}/dead"))
    damaged = list(report.damaged.items())[:MAX_DEAD_LETTERS]
    sections = [
        _details("Dead letters", f"{len(report.dead):,}", dead, is_open=bool(dead)),
        _details("Damaged videos that could be used", f"{len(report.damaged):,}", damaged, is_open=False),
        _details("Config", report.config_hash, [(k, json.dumps(v)) for k, v in report.config.items()], is_open=False),
        _details("Versions", report.versions.get("raypipe", ""), report.versions.items(), is_open=False),
    ]
    where = f'<p class="soft">Folder <code>{escape(report.output)}</code></p>'
    return f'<h2 id="run">The run</h2>{where}' + "".join(sections)


def _details(title: str, note: str, rows: Iterable[tuple[str, str]], *, is_open: bool) -> str:
    cells = "".join(f'<tr><th scope="row"><code>{escape(k)}</code></th><td>{escape(v)}</td></tr>' for k, v in rows)
    if not cells:
        return ""
    return (
        f'<details{" open" if is_open else ""}><summary>{escape(title)} <span class="soft">{escape(note)}</span>'
        f'</summary><div class="scroll"><table><tbody>{cells}</tbody></table></div></details>'
    )
