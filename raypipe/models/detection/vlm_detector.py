"""People found by asking a vision-language model: how many, then where each is (Section D, Table 4)."""

from collections.abc import Sequence
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from raypipe.language.vlm_answers import Box, Coordinates, parse_boxes, parse_count, units_of
from raypipe.models.vlm import Image
from raypipe.ops.boxes import Detections, iou

COUNT_QUESTION = "How many people are there?"
BOX_QUESTION = "The bounding box of the {number}-th object"
CLASS_NAME = "person"
# An answer is a number, or one box and some words around it.
COUNT_TOKENS = 32
BOX_TOKENS = 96
# Two boxes of one frame that overlap more are one person told twice.
SAME_IOU = 0.9


class Asked(Protocol):
    """What the detector needs of `models.vlm.VisionLanguageModel`."""

    model_type: str

    def ask(self, images: Sequence[Image], questions: Sequence[str], max_new_tokens: int) -> list[str]:
        """Return the answer to each question about the image beside it."""

    def input_size(self, image: Image) -> tuple[int, int]:
        """Return (width, height) of what the model is shown."""


class VlmDetector:
    """Asks for the number of people in each frame, then for the box of each, at most `max_objects` a frame.

    An answer that lists several boxes gives the i-th of them to the i-th question. Answers in which nothing can be
    read are counted, never guessed: an unread number leaves its frame without boxes, an unread box leaves out one
    person. The model names no confidence, so it is 1.
    """

    def __init__(self, model: Asked, coordinates: Coordinates = "auto", max_objects: int = 50) -> None:
        """Raises UserError where `coordinates` is "auto" and the model's are not known."""
        self.model = model
        self.in_pixels = units_of(model.model_type, coordinates) == "pixels"
        self.max_objects = max_objects

    def __call__(self, frames: NDArray[np.uint8], source_size: tuple[int, int]) -> Detections:
        """Return the people in frames, uint8 RGB (T, H, W, 3), in pixels of a source of size (width, height)."""
        grid = (1000, 1000)
        if self.in_pixels and len(frames):
            grid = self.model.input_size(frames[0])
        answers = self.model.ask(list(frames), [COUNT_QUESTION] * len(frames), COUNT_TOKENS)
        counts = [parse_count(answer) for answer in answers]
        num_unparsed = counts.count(None)
        asked = [
            (offset, number)
            for offset, count in enumerate(counts)
            for number in range(1, min(count or 0, self.max_objects) + 1)
        ]
        answers = self.model.ask(
            [frames[offset] for offset, _ in asked],
            [BOX_QUESTION.format(number=number) for _, number in asked],
            BOX_TOKENS,
        )
        kept: list[tuple[int, Box]] = []
        for (offset, number), answer in zip(asked, answers, strict=True):
            box = _the_one(parse_boxes(answer, source_size, grid), number)
            if box is None:
                num_unparsed += 1
            elif not _is_there([other for place, other in kept if place == offset], box):
                kept.append((offset, box))
        return Detections(
            frame_offset=np.array([offset for offset, _ in kept], dtype=np.int64),
            boxes=np.array([box for _, box in kept], dtype=np.float32).reshape(-1, 4),
            confidence=np.ones(len(kept), np.float32),
            class_name=np.full(len(kept), CLASS_NAME, dtype=object),
            num_unparsed=num_unparsed,
        )


def _the_one(boxes: list[Box] | None, number: int) -> Box | None:
    """Return the box that answers the question for the `number`-th object, if it can be told."""
    if boxes is None or not boxes:
        return None
    if len(boxes) == 1:
        return boxes[0]
    return boxes[number - 1] if number <= len(boxes) else None


def _is_there(others: list[Box], box: Box) -> bool:
    return bool(others) and bool((iou(np.array(others), np.array([box])) > SAME_IOU).any())
