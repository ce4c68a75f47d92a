"""What a vision-language model's prose says: a count, boxes, yes or no. Whatever is unclear is None, never a guess."""

import json
import math
import re
from collections.abc import Iterator
from typing import Any, Literal

from raypipe.errors import UserError

Box = tuple[float, float, float, float]
Coordinates = Literal["auto", "thousandths", "pixels"]

# What the coordinates of models count, by transformers' name of the architecture. Qwen-VL and Qwen2-VL speak in
# thousandths of the picture, Qwen2.5-VL in pixels of the scaled picture that it is shown, Qwen3-VL in thousandths
# again.
KNOWN_COORDINATES: dict[str, Literal["thousandths", "pixels"]] = {
    "qwen2_vl": "thousandths",
    "qwen2_5_vl": "pixels",
    "qwen2_5_omni": "pixels",
    "qwen3_vl": "thousandths",
    "qwen3_vl_moe": "thousandths",
}

# Longer answers are a model in a loop; what it meant stands at the start.
MAX_CHARACTERS = 4_000

_BELOW_TWENTY = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
)
_UNITS = _BELOW_TWENTY.split(" ")
_TENS = ["twenty", "thirty", "forty", "fifty", "sixty", "seventy", "eighty", "ninety"]
_WORDS = {word: value for value, word in enumerate(_UNITS)} | {
    word: 10 * place for place, word in enumerate(_TENS, start=2)
}
_PERSONS = r"(?:people|persons?|pedestrians?|humans?|individuals?|men|man|women|woman)\b"
_NUMBER_WORD = rf"(?:(?:{'|'.join(_TENS)})[- ](?:{'|'.join(_UNITS[1:10])})|{'|'.join((*_TENS, *reversed(_UNITS)))})\b"
_NUMBER = re.compile(rf"(?<![\w.,/-])(?:\d{{1,3}}(?:,\d{{3}})+|\d+|{_NUMBER_WORD})(?![\d-]|[.,/]\d)")
_NOBODY = re.compile(rf"\b(?:no ?body|no one|none|no (?:\w+ )?{_PERSONS})")
_ONE = re.compile(rf"\bthere(?: is|'s) an? (?:\w+ ){{0,2}}{_PERSONS}")
_THERE_ARE = re.compile(r"\b(?:there (?:is|are)|i (?:see|count)|i can see)(?: only| exactly| a total of)?\s+$")
_TOO_LARGE = re.compile(r"\b(?:hundreds?|thousands?|millions?|billions?|dozens?)\b")

_DECIMAL = r"\s*([-+]?\d+(?:\.\d+)?)\s*"
_CORNERS = re.compile(rf"\({_DECIMAL},{_DECIMAL}\)\s*,?\s*\({_DECIMAL},{_DECIMAL}\)")
_TAGGED = re.compile(rf"<box>\s*[\[(]?{_DECIMAL},{_DECIMAL},{_DECIMAL},{_DECIMAL}[\])]?\s*</box>")
_OPENING = re.compile(r"[\[{]")
_BOX_KEYS = ("bbox_2d", "bbox", "box", "bounding_box")
_CORNER_KEYS = ("x1", "y1", "x2", "y2")
# Coordinates are at most of this size before they are clipped; more is no coordinate.
_LARGEST = 1e6

_YES, _NO = {"yes", "yeah", "yep", "true"}, {"no", "nope", "false"}
_BOTH = re.compile(r"^(?:yes|no)\s*(?:and|or|/|,)\s*(?:yes|no)\b")
_ANSWER_IS = re.compile(r"\banswer(?:\s+is)?\W{1,8}([a-z]+)|<answer>\W*([a-z]+)")


def units_of(model_type: str, coordinates: Coordinates) -> Literal["thousandths", "pixels"]:
    """Return what a model's coordinates count. Raises UserError for "auto" with a model that is not known."""
    if coordinates != "auto":
        return coordinates
    if model_type not in KNOWN_COORDINATES:
        raise UserError(
            f"detector.vlm.coordinates: auto knows {', '.join(sorted(KNOWN_COORDINATES))}, not {model_type!r}: "
            "say whether its boxes are in thousandths or pixels"
        )
    return KNOWN_COORDINATES[model_type]


def parse_count(text: str) -> int | None:
    """Return the number of people that an answer names; None where it names none, or several that disagree.

    Takes digits (also `1,000`), English words to ninety-nine, "nobody" and "there is a man". Of several numbers, the
    one after "there are" counts, else one that stands before "people" or its like.
    """
    answer = _final(text).lower()
    if _TOO_LARGE.search(answer):
        return None
    said = [(match, _value(match.group())) for match in _NUMBER.finditer(answer)]
    said = [(match, value) for match, value in said if not answer[: match.start()].endswith("no ")]
    nobody, one = _NOBODY.search(answer), _ONE.search(answer)
    every = {value for _, value in said} | ({0} if nobody else set()) | ({1} if one else set())
    after_there = [value for match, value in said if _THERE_ARE.search(answer[: match.start()])]
    of_people = {value for match, value in said if re.match(rf"\W+(?:\w+ )?{_PERSONS}", answer[match.end() :])}
    if len(every) == 1:
        return every.pop()
    if len(every) > 1 and after_there:
        return after_there[0]
    return of_people.pop() if len(of_people) == 1 and not nobody else None


def parse_boxes(text: str, image_size: tuple[float, float], grid: tuple[float, float]) -> list[Box] | None:
    """Return the boxes of an answer as x1 y1 x2 y2 in pixels of an image of `image_size` (width, height).

    `grid` is the size that the model's coordinates run to: (1000, 1000) for thousandths, or the size of the picture
    that the model was shown. Takes JSON, also inside prose or a code fence and cut off, with the keys `bbox_2d`,
    `bbox`, `box`, `bounding_box` or `x1` to `y2`; bare lists of four numbers; `(x1,y1),(x2,y2)` with or without
    `<box>`; four numbers inside `<box>`. Corners may be reversed; boxes are cut at the edges. An empty JSON list is
    an answer: no box. None where nothing is a box that has area inside the image.
    """
    answer = _final(text)
    found: list[tuple[Any, ...]] = []
    is_empty_list = False
    for value in _json_values(answer):
        found.extend(_boxes_of(value))
        is_empty_list = is_empty_list or value == []
    if not found:
        found = [match.groups() for pattern in (_TAGGED, _CORNERS) for match in pattern.finditer(answer)]
    boxes = [box for four in found if (box := _in_pixels(four, image_size, grid)) is not None]
    return boxes if boxes or (is_empty_list and not found) else None


def parse_yes_no(text: str) -> bool | None:
    """Return whether an answer says yes; None where it says neither.

    The first word decides, or the one after "the answer is"; a "no" further on is about something else.
    """
    answer = _final(text).lower().strip(" \t\r\n*_\"'`.:([{")
    if _BOTH.match(answer):
        return None
    stated = _ANSWER_IS.search(answer)
    for word in (re.split(r"[^a-z]", answer, maxsplit=1)[0], stated and (stated.group(1) or stated.group(2))):
        if word in _YES or word in _NO:
            return word in _YES
    return None


def _final(text: str) -> str:
    """Return an answer without the thoughts that some models put before it."""
    return text[-MAX_CHARACTERS:].rpartition("</think>")[2] if "</think>" in text else text[:MAX_CHARACTERS]


def _value(number: str) -> int:
    if number[0].isdecimal():
        return int(number.replace(",", "")[:18])
    return sum(_WORDS[word] for word in re.split("[- ]", number))


def _json_values(text: str) -> Iterator[Any]:
    """Yield every JSON list and object of a text, the outermost that are whole."""
    decoder, start = json.JSONDecoder(), 0
    while (opening := _OPENING.search(text, start)) is not None:
        try:
            value, start = decoder.raw_decode(text, opening.start())
        except ValueError:
            start = opening.end()
        except RecursionError:
            return
        else:
            yield value


def _boxes_of(value: Any) -> Iterator[tuple[Any, ...]]:
    """Yield the fours of numbers in a JSON value that are meant as boxes."""
    pending = [value]
    while pending:
        item = pending.pop(0)
        if isinstance(item, dict):
            if all(key in item for key in _CORNER_KEYS):
                pending.insert(0, [item[key] for key in _CORNER_KEYS])
            else:
                named = [item[key] for key in _BOX_KEYS if key in item]
                pending[:0] = named[:1] or [inner for inner in item.values() if isinstance(inner, list | dict)]
        elif isinstance(item, list):
            if len(item) == 4 and all(isinstance(part, int | float) and not isinstance(part, bool) for part in item):
                yield tuple(item)
            else:
                pending[:0] = [inner for inner in item if isinstance(inner, list | dict)]


def _in_pixels(four: tuple[Any, ...], image_size: tuple[float, float], grid: tuple[float, float]) -> Box | None:
    numbers = [float(part) if abs(float(part)) <= _LARGEST else math.nan for part in four]
    if not all(math.isfinite(number) for number in numbers):
        return None
    # Fractions of the picture are in no model's manual; taken for pixels they would be a box of a pixel.
    if all(abs(number) <= 1 for number in numbers):
        return None
    xs, ys = (
        sorted(min(max(number * size / cells, 0.0), float(size)) for number in numbers[axis::2])
        for axis, (size, cells) in enumerate(zip(image_size, grid, strict=True))
    )
    return (xs[0], ys[0], xs[1], ys[1]) if xs[1] > xs[0] and ys[1] > ys[0] else None
