"""What the models know of the rendered world, in figures: boxes, captions and sentences against what was drawn."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raypipe.models.detection.quiet_ultralytics import ap_per_class
from raypipe.ops.boxes import Detections, iou
from raypipe.world.captions import action_of
from raypipe.world.files import CLASSES
from raypipe.world.truth import MIN_IOU, Truth, match

# A caption must be right of crops whose object is whole and taller than this.
WHOLE_VISIBLE, NEAR_PIXELS = 0.95, 48.0
# Frames are far where the object is smaller than this.
FAR_PIXELS = 30.0
# Boxes of at least this confidence are found.
FOUND_CONFIDENCE = 0.25


@dataclass(frozen=True)
class Told:
    """What was found in a clip, N objects in the order of their frames: boxes, what the Q-Former says, the sentence."""

    frame: NDArray[np.int64]
    boxes: NDArray[np.float64]
    caption: Sequence[str | None]
    sentence: Sequence[str | None]


@dataclass(frozen=True)
class Fraction:
    """How many of some frames are right."""

    right: int = 0
    count: int = 0

    def __add__(self, other: "Fraction") -> "Fraction":
        return Fraction(self.right + other.right, self.count + other.count)

    @property
    def value(self) -> float | None:
        """The share, None of nothing."""
        return self.right / self.count if self.count else None


def average_precisions(clips: Iterable[tuple[Truth, Detections]]) -> dict[str, float]:
    """Return the AP at an IoU of 0.5 of each class, and their mean, over the frames in which boxes were looked for.

    Objects that are not clear need not be found, and boxes of theirs are no mistake.
    """
    hits: list[NDArray[np.bool_]] = []
    confidence: list[NDArray[np.float32]] = []
    found: list[NDArray[np.int64]] = []
    wanted: list[NDArray[np.int64]] = []
    for truth, detections in clips:
        classes = np.array([CLASSES.index(name) for name in truth.class_name], np.int64)
        names = [CLASSES.index(name) if name in CLASSES else len(CLASSES) for name in detections.class_name]
        told = np.array(names, np.int64)
        is_hit, counts = _hits(truth, classes, detections, told)
        hits.append(is_hit[counts])
        confidence.append(detections.confidence[counts])
        found.append(told[counts])
        wanted.append(classes[truth.is_clear])
    tp = np.concatenate(hits)[:, None].astype(np.float64)
    arrays = (np.concatenate(confidence), np.concatenate(found), np.concatenate(wanted))
    *_, ap, classes_there = ap_per_class(tp, *arrays)[:7]
    figures = {CLASSES[number]: float(value) for number, value in zip(classes_there, ap[:, 0], strict=True)}
    return figures | {"mean": float(np.mean(list(figures.values())))}


def _hits(
    truth: Truth, classes: NDArray[np.int64], detections: Detections, told: NDArray[np.int64]
) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which boxes are the most confident of a clear object of their class, and which count at all."""
    is_hit, counts = np.zeros(len(told), bool), np.ones(len(told), bool)
    taken = np.zeros(len(classes), bool)
    overlap_with = {frame: np.flatnonzero(truth.frame == frame) for frame in np.unique(detections.frame_offset)}
    for box in np.argsort(-detections.confidence, kind="stable").tolist():
        rows = overlap_with[detections.frame_offset[box]]
        overlap = iou(detections.boxes[box : box + 1], truth.boxes[rows])[0]
        fits = (overlap >= MIN_IOU) & (classes[rows] == told[box])
        free = fits & truth.is_clear[rows] & ~taken[rows]
        if free.any():
            best = rows[np.argmax(np.where(free, overlap, -1))]
            taken[best], is_hit[box] = True, True
        elif (fits & ~truth.is_clear[rows]).any():
            counts[box] = False
    return is_hit, counts


def found_shares(truth: Truth, detections: Detections) -> dict[str, Fraction]:
    """Return, for each action, how many clear objects a box of the detector is of, whatever its class."""
    sure = detections.confidence >= FOUND_CONFIDENCE
    frames, boxes = detections.frame_offset[sure], detections.boxes[sure]
    shares: dict[str, Fraction] = {}
    for row, other in enumerate(match(truth.frame, truth.boxes, frames, boxes).tolist()):
        if truth.is_clear[row]:
            action = str(truth.action[row])
            shares[action] = shares.get(action, Fraction()) + Fraction(int(other >= 0), 1)
    return shares


def caption_shares(truth: Truth, told: Told) -> dict[str, Fraction]:
    """Return, for each action, how many captions of whole and near objects name it; what was not found is left out."""
    wanted = (truth.visible >= WHOLE_VISIBLE) & (truth.height > NEAR_PIXELS)
    shares: dict[str, Fraction] = {}
    for row, other in enumerate(match(truth.frame, truth.boxes, told.frame, told.boxes).tolist()):
        if wanted[row] and other >= 0:
            action = str(truth.action[row])
            is_right = action_of(told.caption[other] or "") == action
            shares[action] = shares.get(action, Fraction()) + Fraction(int(is_right), 1)
    return shares


@dataclass(frozen=True)
class FarFractions:
    """Of the far frames of clips: those in which the object was found, and of these what is right of either words."""

    found: Fraction
    caption: Fraction
    sentence: Fraction

    def __add__(self, other: "FarFractions") -> "FarFractions":
        return FarFractions(self.found + other.found, self.caption + other.caption, self.sentence + other.sentence)


def far_shares(truth: Truth, told: Told) -> FarFractions:
    """Return what is right of clear objects that are far: the Q-Former's own captions, and the sentences."""
    far = np.flatnonzero(truth.is_clear & (truth.whole_height < FAR_PIXELS))
    pairs = match(truth.frame, truth.boxes, told.frame, told.boxes)[far]
    rows = [(str(truth.action[row]), other) for row, other in zip(far.tolist(), pairs.tolist(), strict=True)]
    seen = [(action, other) for action, other in rows if other >= 0]
    caption, sentence = (
        Fraction(sum(action_of(words[other] or "") == action for action, other in seen), len(seen))
        for words in (told.caption, told.sentence)
    )
    return FarFractions(Fraction(len(seen), len(rows)), caption, sentence)
