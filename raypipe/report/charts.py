"""Charts of a report as inline SVG, from numbers alone. Colours and patterns are the page's style sheet's."""

from collections.abc import Mapping, Sequence
from html import escape

import numpy as np
from numpy.typing import ArrayLike

from raypipe.ops.motion import NUM_BINS, Unit

# A timeline is drawn on this many units and stretched to its place on the page.
TIMELINE_WIDTH, TIMELINE_HEIGHT = 1000, 100
BASE, RANGE = 98.0, 94.0
CURVE_SIDE = 200.0


def _short(value: float) -> str:
    """Return a coordinate to a tenth of a unit, without what SVG does not need."""
    return f"{value:.1f}".removesuffix(".0")


def timeline(
    score_S: ArrayLike,
    duration_seconds: float,
    truth: Sequence[tuple[float, float]],
    unscored: Sequence[tuple[float, float]],
    bounds: tuple[float, float],
) -> str:
    """Return scores over equal steps of time, labelled intervals (seconds) hatched, NaN a gap that is cross-hatched.

    The curve is drawn on its own range and moved by its `transform` to the common range `bounds`; without the
    transform it fills the height.
    """
    score = np.asarray(score_S, np.float64)
    parts = [
        f'<svg class="timeline" viewBox="0 0 {TIMELINE_WIDTH} {TIMELINE_HEIGHT}" preserveAspectRatio="none" '
        'aria-hidden="true" focusable="false">'
    ]
    for start, stop in truth:
        x, width = _span(start, stop, duration_seconds)
        parts.append(f'<rect class="truth" x="{x}" y="0" width="{width}" height="100"/>')
        parts.append(f'<rect class="truth-cap" x="{x}" y="0" width="{width}" height="4"/>')
    for start, stop in unscored:
        x, width = _span(start, stop, duration_seconds)
        parts.append(f'<rect class="gap" x="{x}" y="0" width="{width}" height="100"/>')
    valid = ~np.isnan(score)
    if valid.any():
        low, high = float(score[valid].min()), float(score[valid].max())
        scale, shift = _common(low, high, *bounds)
        matrix = f"matrix(1 0 0 {scale:.5g} 0 {shift:.5g})"
        parts.append(f'<path class="curve" transform="{matrix}" d="{_path(score, low, high)}"/>')
    return "".join([*parts, "</svg>"])


def _span(start: float, stop: float, duration: float) -> tuple[str, str]:
    left, right = (TIMELINE_WIDTH * time / max(duration, 1e-9) for time in (start, stop))
    return _short(left), _short(max(right - left, 1.0))


def _common(low: float, high: float, bottom: float, top: float) -> tuple[float, float]:
    """Return scale and shift that move a curve drawn on low..high to where it is on bottom..top."""
    whole = max(top - bottom, 1e-12)
    scale = (high - low) / whole
    return scale, BASE * (1 - scale) - RANGE * (low - bottom) / whole


def _path(score: np.ndarray, low: float, high: float) -> str:
    """Return an area under the scores whose sides lie outside the picture, so that only its top shows as a line."""
    step = TIMELINE_WIDTH / len(score)
    height = BASE - RANGE * (score - low) / max(high - low, 1e-12)
    pieces, is_open = [], False
    for position, y in enumerate(height):
        if np.isnan(y):
            if is_open:
                pieces.append("V400")
            is_open = False
            continue
        x = _short((position + 0.5) * step)
        if not is_open:
            pieces.append(f"M-9 400V{_short(y)}H{x}" if position == 0 else f"M{x} 400V{_short(y)}")
        else:
            pieces.append(f"L{x} {_short(y)}")
        is_open = True
    return "".join([*pieces, f"H{TIMELINE_WIDTH + 9}V400"] if is_open else pieces)


def curve(x_K: Sequence[float], y_K: Sequence[float], x_title: str, y_title: str, *, with_chance: bool) -> str:
    """Return a ROC or precision-recall curve on the unit square, at most a point per half unit of the picture."""
    points = np.rint(2 * CURVE_SIDE * np.stack([np.asarray(x_K), 1 - np.asarray(y_K)], axis=1)) / 2
    kept = points[np.r_[True, np.any(points[1:] != points[:-1], axis=1)]] if len(points) else points
    line = " ".join(f"{_short(x)},{_short(y)}" for x, y in kept)
    side = _short(CURVE_SIDE)
    grid = "".join(
        f'<path class="grid" d="M{_short(at)} 0V{side}M0 {_short(at)}H{side}"/>'
        for at in np.linspace(0, CURVE_SIDE, 5)[1:-1]
    )
    ticks = "".join(
        f'<text x="{_short(share * CURVE_SIDE)}" y="214" text-anchor="middle">{share:g}</text>'
        f'<text x="-6" y="{_short((1 - share) * CURVE_SIDE + 4)}" text-anchor="end">{share:g}</text>'
        for share in (0.0, 0.5, 1.0)
    )
    chance = '<path class="chance" d="M0 200L200 0"/><text class="faint" x="118" y="104">chance</text>'
    label = f"{y_title} over {x_title}"
    return (
        f'<svg class="unit" viewBox="-44 -10 256 252" role="img" aria-label="{escape(label)}">{grid}'
        f'<path class="frame" d="M0 0V{side}H{side}"/>{chance if with_chance else ""}'
        f'<polyline class="curve-line" points="{line}"/>{ticks}'
        f'<text x="100" y="232" text-anchor="middle">{escape(x_title)}</text>'
        f'<text transform="translate(-32 100) rotate(-90)" text-anchor="middle">{escape(y_title)}</text></svg>'
    )


def interval(value: float, low: float | None, high: float | None, paper: float | None, start: float) -> str:
    """Return a figure as a dot on a line from `start` to 1, its interval as a bar, the paper's figure as a diamond."""

    def x(figure: float) -> str:
        return _short(120 * (figure - start) / (1 - start))

    parts = ['<svg class="interval" viewBox="-6 0 132 18" aria-hidden="true" focusable="false">']
    parts.append('<path class="grid" d="M0 9H120M0 5V13M60 6V12M120 5V13"/>')
    if low is not None and high is not None:
        width = _short(120 * max((high - low) / (1 - start), 0.005))
        parts.append(f'<rect class="range" x="{x(low)}" y="6" width="{width}" height="6"/>')
    if paper is not None:
        parts.append(f'<path class="paper" d="M{x(paper)} 3l5 6l-5 6l-5 -6z"/>')
    parts.append(f'<circle class="dot" cx="{x(value)}" cy="9" r="4"/></svg>')
    return "".join(parts)


def rose(motion_8: ArrayLike, median_8: ArrayLike | None, largest: float, unit: Unit) -> str:
    """Return a motion histogram as eight wedges around a centre, y pointing down as in the video.

    The radius is in shares of `largest`; the outline is the median object's. Right is where x grows.
    """
    motion = np.asarray(motion_8, np.float64)
    wedges = "".join(f'<path class="wedge" d="{_wedge(b, 40 * v / largest)}"/>' for b, v in enumerate(motion) if v > 0)
    outline = ""
    if median_8 is not None:
        median = np.asarray(median_8, np.float64)
        outline = "".join(
            f'<path class="median" d="{_wedge(b, 40 * min(v / largest, 1.15))}"/>'
            for b, v in enumerate(median)
            if v > 0
        )
    return (
        f'<svg class="rose" viewBox="-50 -50 100 100" role="img" aria-label="{escape(_rose_words(motion, unit))}">'
        '<circle class="ring" r="40"/><circle class="ring" r="20"/><path class="grid" d="M-46 0H46M0 -46V46"/>'
        f"{wedges}{outline}</svg>"
    )


def _wedge(number_of_bin: int, radius: float) -> str:
    angles = np.array([number_of_bin, number_of_bin + 1]) * 2 * np.pi / NUM_BINS
    (x0, x1), (y0, y1) = radius * np.cos(angles), radius * np.sin(angles)
    return f"M0 0L{_short(x0)} {_short(y0)}A{_short(radius)} {_short(radius)} 0 0 1 {_short(x1)} {_short(y1)}z"


def _rose_words(motion_8: np.ndarray, unit: Unit) -> str:
    values = ", ".join(f"{v:.1f}" for v in motion_8)
    return f"motion histogram, pixels per {unit.removeprefix('source_')} clockwise from the right: {values}"


def parts_bar(spatial: float | None, by_motion: float | None, largest: float) -> str:
    """Return the parts of an object's score as one bar, space hatched and motion solid; `largest` fills the width."""
    x = 0.0
    parts = ['<svg class="parts" viewBox="0 0 200 14" preserveAspectRatio="none" aria-hidden="true" focusable="false">']
    parts.append('<rect class="parts-all" width="200" height="14"/>')
    for name, value in (("space", spatial), ("motion", by_motion)):
        if value is not None:
            width = 200 * max(value, 0.0) / max(largest, 1e-12)
            parts.append(f'<rect class="part-{name}" x="{_short(x)}" width="{_short(width)}" height="14"/>')
            x += width
    return "".join([*parts, "</svg>"])


def share_bar(share: float) -> str:
    """Return a share of a whole as a bar."""
    return (
        '<svg class="parts" viewBox="0 0 200 14" preserveAspectRatio="none" aria-hidden="true" focusable="false">'
        f'<rect class="parts-all" width="200" height="14"/>'
        f'<rect class="part-motion" width="{_short(200 * share)}" height="14"/></svg>'
    )


def sorted_shares(timings: Mapping[str, Mapping[str, float]]) -> list[tuple[str, Mapping[str, float]]]:
    """Return the stages that have a share of the time, the largest share first."""
    return sorted(((name, row) for name, row in timings.items() if "share" in row), key=lambda item: -item[1]["share"])
