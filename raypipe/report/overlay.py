"""Drawing on frames of a video: boxes that tell their score by colour, thickness and label, and a panel of scores."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image, ImageDraw, ImageFont

from raypipe.ops.findings import frame_ends, step_maxima
from raypipe.ops.intervals import runs
from raypipe.text import clock, number

U8 = NDArray[np.uint8]
Colour = tuple[int, int, int]

# Frames are enlarged by a whole factor until they are this wide, so that text on them can be read.
MIN_WIDTH = 640
INK, PAPER, FAINT = (235, 238, 242), (18, 21, 26), (120, 128, 138)
CURVE, TRUTH, TRUTH_STRIPE = (125, 180, 255), (240, 153, 90), (92, 62, 42)
# Colours of boxes from the least to the most abnormal; their thickness says the same without colour.
RAMP = ((70, 110, 160), (240, 190, 60), (255, 92, 60))
# From these shares of the strongest on, a box has a thicker line, and says more.
STRENGTHS = (0.35, 0.7)


@dataclass(frozen=True)
class DrawnObject:
    """An object of a frame: its box in pixels of the video, its label, and how strong it is, 0 to 1."""

    box: tuple[float, float, float, float]
    track_id: int
    words: str
    score: float | None
    strength: float


@dataclass(frozen=True)
class Timeline:
    """Scores of all frames of a video, NaN where unscored, and which are labelled abnormal; None where not known."""

    time_seconds: NDArray[np.float64]
    score: NDArray[np.float64] | None
    label: NDArray[np.bool_] | None


def strength(score_N: ArrayLike, high: float) -> NDArray[np.float64]:
    """Return how strong object scores are, 0 for the median one and 1 for `high`.

    By logarithms of the distance above the median, in units of the median distance from it: the strongest object is
    often a hundred times as far above as one that is worth a look.
    """
    score = np.asarray(score_N, np.float64)
    middle = np.median(score)
    # Where half of all scores are equal, a thousandth of the range is the unit.
    unit = max(float(np.median(np.abs(score - middle))), 1e-3 * (high - middle), 1e-12)
    shares = np.log1p(np.clip(score - middle, 0, None) / unit) / np.log1p(max(high - middle, unit) / unit)
    return np.asarray(np.clip(shares, 0, 1))


def line_width(strength_of_object: float) -> int:
    """Return the thickness of a box's line in pixels: 1, 2 or 4."""
    return (1, 2, 4)[sum(strength_of_object >= least for least in STRENGTHS)]


def colour(strength_of_object: float) -> Colour:
    """Return the colour of a box, from blue over yellow to red."""
    position = min(max(strength_of_object, 0.0), 1.0) * (len(RAMP) - 1)
    lower = min(int(position), len(RAMP) - 2)
    mixed = np.array(RAMP[lower]) * (1 - position + lower) + np.array(RAMP[lower + 1]) * (position - lower)
    red, green, blue = np.rint(mixed).astype(int).tolist()
    return red, green, blue


class Canvas:
    """Draws the frames of one video; its `size` is (width, height), both even, of the pictures that it makes."""

    def __init__(self, video_id: str, width: int, height: int, timeline: Timeline) -> None:
        self._title = video_id
        self._timeline = timeline
        self._factor = -(-MIN_WIDTH // width)
        self._frame_size = (width * self._factor, height * self._factor)
        wide, tall = self._frame_size
        text = max(13, min(wide, tall) // 32)
        self._font = _font("DejaVuSans.ttf", text)
        self._bold = _font("DejaVuSans-Bold.ttf", text)
        self._line = round(text * 1.5)
        self._plot_height = round(text * 3.6)
        panel = 2 * self._line + self._plot_height + 14
        self.size = (wide + wide % 2, tall + panel + (tall + panel) % 2)
        scores = None if timeline.score is None else timeline.score[~np.isnan(timeline.score)]
        has_scores = scores is not None and scores.size > 0
        self._range = (
            (min(0.0, float(scores.min())), float(scores.max())) if has_scores and scores is not None else None
        )
        self._panel = self._draw_plot()

    def draw(self, frame: int, image_HW3: U8 | None, objects: Sequence[DrawnObject]) -> U8:
        """Return the picture of a frame, uint8 (H, W, 3); without an image it says that the frame is unreadable."""
        picture = Image.new("RGB", self.size, PAPER)
        draw = ImageDraw.Draw(picture)
        if image_HW3 is None:
            draw.text((12, 12), "this frame cannot be decoded", INK, self._bold)
        else:
            image = Image.fromarray(image_HW3)
            picture.paste(image.resize(self._frame_size, Image.Resampling.BICUBIC) if self._factor > 1 else image)
            top = max(objects, key=lambda one: one.score if one.score is not None else -np.inf, default=None)
            for one in sorted(objects, key=lambda one: (one is top, one.strength)):
                self._draw_object(draw, one, is_top=one is top and one.score is not None)
        picture.paste(self._panel, (0, self._frame_size[1]))
        self._draw_moment(draw, frame, objects)
        return np.asarray(picture)

    def _draw_object(self, draw: ImageDraw.ImageDraw, one: DrawnObject, *, is_top: bool) -> None:
        left, upper, right, lower = (round(side * self._factor) for side in one.box)
        width, ink = line_width(one.strength), colour(one.strength)
        # A dark line around it, so that it shows on light ground.
        draw.rectangle(
            (left - width - 1, upper - width - 1, right + width, lower + width), outline=PAPER, width=width + 2
        )
        draw.rectangle((left - width, upper - width, right + width - 1, lower + width - 1), outline=ink, width=width)
        label = f"#{one.track_id}"
        if one.score is not None and (width > 1 or is_top):
            label += f" {number(one.score)}"
        if is_top and width > 1:
            label += f" {one.words}"
        font = self._bold if width > 1 else self._font
        label = self._fitting(label, font, 0.6 * self._frame_size[0])
        length = draw.textlength(label, font)
        x = min(max(left - width, 2), max(self._frame_size[0] - length - 8, 2))
        y = upper - width - self._line
        y = y if y >= 0 else min(lower + width, self._frame_size[1] - self._line)
        draw.rectangle((x, y, x + length + 6, y + self._line - 1), fill=PAPER)
        draw.text((x + 3, y + self._line // 2), label, ink if width > 1 else INK, font, anchor="lm")

    def _draw_plot(self) -> Image.Image:
        """Return the panel as it is in every frame: the curve of scores and the labelled stretches."""
        wide = self.size[0]
        panel = Image.new("RGB", (wide, self.size[1] - self._frame_size[1]), PAPER)
        draw = ImageDraw.Draw(panel)
        top, bottom = self._plot_span()
        time, label, score = self._timeline.time_seconds, self._timeline.label, self._timeline.score
        steps = step_maxima(np.zeros(len(time)) if score is None else score, time, wide)
        edges = np.rint(np.arange(len(steps) + 1) * wide / len(steps)).astype(int).tolist()
        if label is not None:
            for start, stop in runs(label[steps]):
                draw.rectangle((edges[start], top, edges[stop] - 1, top + 3), fill=TRUTH)
                # Stripes, for those who see no colours.
                for x in range(edges[start] + 3, edges[stop], 7):
                    draw.line((x, top + 4, x, bottom), TRUTH_STRIPE)
        if score is None or self._range is None:
            draw.text((wide // 2, (top + bottom) // 2), "no scores", FAINT, self._font, anchor="mm")
        else:
            low, high = self._range
            height = bottom - (bottom - top - 6) * (score[steps] - low) / max(high - low, 1e-12)
            centres = (np.arange(len(steps)) + 0.5) * wide / len(steps)
            points = np.stack([centres, height], axis=1).tolist()
            for start, stop in runs(np.isfinite(height)):
                draw.line([tuple(point) for point in points[start:stop]], CURVE, 2, joint="curve")
            for start, stop in runs(np.isnan(height)):
                for x in range(edges[start] + 4, edges[stop], 6):
                    draw.line((x - 4, bottom, x, bottom - 4), FAINT)
            draw.text((4, top + 5), number(high), FAINT, self._font)
        draw.line((0, bottom, wide, bottom), FAINT)
        return panel

    def _plot_span(self) -> tuple[int, int]:
        top = 2 * self._line + 6
        return top, top + self._plot_height

    def _draw_moment(self, draw: ImageDraw.ImageDraw, frame: int, objects: Sequence[DrawnObject]) -> None:
        wide, below = self.size[0], self._frame_size[1]
        timeline = self._timeline
        first, second = below + 2 + self._line // 2, below + 2 + self._line + self._line // 2
        when = f"{clock(float(timeline.time_seconds[frame]))}  frame {frame:,}"
        score = None if timeline.score is None else float(timeline.score[frame])
        said = "" if score is None else "not scored" if np.isnan(score) else f"score {number(score)}"
        right = wide - 8 - round(draw.textlength(said, self._bold))
        draw.text((right, first), said, INK, self._bold, anchor="lm")
        if score is not None and self._range is not None and not np.isnan(score):
            share = (score - self._range[0]) / max(self._range[1] - self._range[0], 1e-12)
            bar = max(wide // 7, 60)
            right -= bar + 12
            draw.rectangle((right, first - 5, right + bar, first + 5), outline=FAINT)
            draw.rectangle((right, first - 5, right + round(bar * share), first + 5), fill=CURVE)
        title = self._fitting(self._title, self._bold, right - draw.textlength(when, self._font) - 36)
        draw.text((8, first), title, INK, self._bold, anchor="lm")
        draw.text((20 + draw.textlength(title, self._bold), first), when, FAINT, self._font, anchor="lm")
        right = wide - 8
        if timeline.label is not None and timeline.label[frame]:
            words = "LABELLED ABNORMAL"
            left = right - round(draw.textlength(words, self._bold)) - 10
            draw.rectangle(
                (left, second - self._line // 2 + 1, right, second + self._line // 2), outline=TRUTH, width=2
            )
            draw.text((left + 5, second), words, TRUTH, self._bold, anchor="lm")
            right = left - 10
        strongest = max(
            (one for one in objects if one.score is not None), key=lambda one: one.score or 0.0, default=None
        )
        if strongest is not None:
            words = f"highest: #{strongest.track_id} {strongest.words}"
            draw.text((8, second), self._fitting(words, self._font, right - 8), INK, self._font, anchor="lm")
        top, bottom = self._plot_span()
        ends = frame_ends(timeline.time_seconds)
        x = round(wide * float((ends[frame] + ends[frame + 1]) / 2 - ends[0]) / float(ends[-1] - ends[0]))
        draw.line((x, below + top - 2, x, below + bottom), INK, 2)

    def _fitting(self, text: str, font: ImageFont.FreeTypeFont, width: float) -> str:
        """Return one line of text, cut where it does not fit."""
        text = " ".join(text.split())
        if font.getlength(text) <= width:
            return text
        while text and font.getlength(text + "…") > width:
            text = text[:-1]
        return text + "…"


def _font(name: str, size: int) -> ImageFont.FreeTypeFont:
    # Matplotlib brings it along; a machine without a screen often has no fonts.
    import matplotlib

    return ImageFont.truetype(Path(matplotlib.get_data_path()) / "fonts" / "ttf" / name, size)
