import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from raypipe.language.vlm_answers import parse_boxes, parse_count, parse_yes_no


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("3", 3),
        (" 12.\n", 12),
        ("**4**", 4),
        ("There are 3 people.", 3),
        ("There are two people in the image.", 2),
        ("three", 3),
        ("Twenty-one people", 21),
        ("forty two", 42),
        ("seventeen", 17),
        ("1,234 people", 1234),
        ("0", 0),
        ("zero", 0),
        ("There are no people in the picture.", 0),
        ("No visible people.", 0),
        ("Nobody.", 0),
        ("no one is there", 0),
        ("None", 0),
        ("There is a person walking.", 1),
        ("There is a young man on a bike.", 1),
        ("There is one person.", 1),
        ("I see 5 people.", 5),
        ("There are 5 people: 1. a man, 2. a woman", 5),
        ("5 people (3 in front, 2 behind)", 5),
        ("There are 1000000 people", 1000000),
        ("<think>maybe 7, or 8</think>There are 4 people.", 4),
        ("", None),
        ("people", None),
        ("I cannot tell.", None),
        ("A crowd", None),
        ("2-3 people", None),
        ("2 or 3", None),
        ("2.5", None),
        ("about two dozen", None),
        ("hundreds of people", None),
        ("-3", None),
        ("3/4", None),
        ("Il y a des gens", None),
        ("someone", None),
    ],
)
def test_count(text, count):
    assert parse_count(text) == count


THOUSANDTHS, PIXELS = (1000, 1000), (448, 336)


@pytest.mark.parametrize(
    ("text", "grid", "boxes"),
    [
        ('{"bbox_2d": [100, 200, 500, 600]}', THOUSANDTHS, [(64, 96, 320, 288)]),
        ('```json\n[{"bbox_2d": [100, 200, 500, 600], "label": "man"}]\n```', THOUSANDTHS, [(64, 96, 320, 288)]),
        ('Sure: {"bbox": [0, 0, 1000, 1000]}.', THOUSANDTHS, [(0, 0, 640, 480)]),
        ('{"bbox_2d": [44.8, 33.6, 224, 168]}', PIXELS, [(64, 48, 320, 240)]),
        ('{"objects": [{"box": [0, 0, 500, 500]}, {"box": [500, 500, 1000, 1000]}]}', THOUSANDTHS, 2),
        ('{"bbox_2d": [[0, 0, 500, 500], [500, 500, 1000, 1000]]}', THOUSANDTHS, 2),
        ('{"x1": 0, "y1": 0, "x2": 500, "y2": 500}', THOUSANDTHS, [(0, 0, 320, 240)]),
        ("[100, 200, 500, 600]", THOUSANDTHS, [(64, 96, 320, 288)]),
        ("The box is [100,200,500,600].", THOUSANDTHS, [(64, 96, 320, 288)]),
        ("<box>(100,200),(500,600)</box>", THOUSANDTHS, [(64, 96, 320, 288)]),
        ("<ref>the man</ref><box>(100, 200), (500, 600)</box>", THOUSANDTHS, [(64, 96, 320, 288)]),
        ("(100,200),(500,600)", THOUSANDTHS, [(64, 96, 320, 288)]),
        ("(100,200)(500,600)", THOUSANDTHS, [(64, 96, 320, 288)]),
        ("<box>100, 200, 500, 600</box>", THOUSANDTHS, [(64, 96, 320, 288)]),
        ("<box>[100, 200, 500, 600]</box>", THOUSANDTHS, [(64, 96, 320, 288)]),
        ("[500, 600, 100, 200]", THOUSANDTHS, [(64, 96, 320, 288)]),  # reversed
        ("[500, 200, 100, 600]", THOUSANDTHS, [(64, 96, 320, 288)]),
        ("[-50, 200, 1500, 600]", THOUSANDTHS, [(0, 96, 640, 288)]),  # clipped
        # Cut off by the limit of tokens: the first is whole.
        ('[{"bbox_2d": [100, 200, 500, 600]}, {"bbox_2d": [10, ', THOUSANDTHS, [(64, 96, 320, 288)]),
        ("[]", THOUSANDTHS, []),
        ("```json\n[]\n```", THOUSANDTHS, []),
        ("", THOUSANDTHS, None),
        ("The man is on the left.", THOUSANDTHS, None),
        ("[100, 200, 500]", THOUSANDTHS, None),
        ("[100, 200, 500, 600, 700]", THOUSANDTHS, None),
        ("[true, true, false, true]", THOUSANDTHS, None),
        ('["1", "2", "3", "4"]', THOUSANDTHS, None),
        ("[1100, 200, 1500, 600]", THOUSANDTHS, None),  # outside
        ("[100, 200, 100, 600]", THOUSANDTHS, None),  # no area
        ("[0.1, 0.2, 0.5, 0.6]", THOUSANDTHS, None),  # fractions are neither of the two
        ("[NaN, 1, 2, 3]", THOUSANDTHS, None),
        ("[1e400, 1, 2, 3]", THOUSANDTHS, None),
        ("[Infinity, 1, 2, 3]", THOUSANDTHS, None),
        ("<box>(100,200)</box>", THOUSANDTHS, None),
        ("[" * 50_000, THOUSANDTHS, None),
        (f"[{'9' * 5000}, 1, 2, 3]", THOUSANDTHS, None),
    ],
)
def test_boxes(text, grid, boxes):
    found = parse_boxes(text, (640, 480), grid)
    if isinstance(boxes, int):
        assert found == [(0, 0, 320, 240), (320, 240, 640, 480)]
    elif boxes is None:
        assert found is None
    else:
        assert [tuple(box) for box in found] == [pytest.approx(box) for box in boxes]


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Yes", True),
        ("yes, he is.", True),
        ("**Yes**", True),
        ('"No."', False),
        ("No, there is no bike.", False),
        ("Yes, there is no one else.", True),
        ("The answer is no.", False),
        ("Answer: Yes", True),
        ("<answer>no</answer>", False),
        ("<think>no, wait</think>\n\nyes", True),
        ("True", True),
        ("nope", False),
        ("", None),
        ("Yes and no", None),
        ("yes/no", None),
        ("Maybe", None),
        ("Nothing can be said", None),
        ("The man is riding a bike.", None),
        ("There is no man", None),
        ("noon", None),
    ],
)
def test_yes_no(text, answer):
    assert parse_yes_no(text) is answer


PIECES = st.sampled_from(
    [
        "[",
        "]",
        "{",
        "}",
        '"bbox_2d":',
        '"x1":',
        ",",
        "(",
        ")",
        "<box>",
        "</box>",
        "1",
        "-3.5",
        "1e9",
        "999",
        "NaN",
        "no",
        "there",
        "are",
        "people",
        "twenty",
        "-",
        "one",
        "</think>",
        "yes",
        "```",
        "\\u",
        "hundred",
        '"',
        "٣",
        "²",
        "½",
    ]
)
ANSWERS = st.one_of(st.text(), st.lists(PIECES, max_size=40).map(" ".join))


@given(ANSWERS, st.sampled_from([THOUSANDTHS, PIXELS]))
@example("(" + "9" * 5000 + ",1),(2,3)", THOUSANDTHS)
@example("9" * 5000, THOUSANDTHS)
def test_no_answer_is_too_odd(text, grid):
    count = parse_count(text)
    assert count is None or count >= 0
    assert parse_yes_no(text) in (True, False, None)
    for x1, y1, x2, y2 in parse_boxes(text, (640, 480), grid) or []:
        assert 0 <= x1 < x2 <= 640
        assert 0 <= y1 < y2 <= 480
        assert math.isfinite(x1 + y1 + x2 + y2)
