import numpy as np
import pytest

from jobs.development.world_figures import (
    FarFractions,
    Fraction,
    Told,
    average_precisions,
    caption_shares,
    far_shares,
    found_shares,
)
from raypipe.ops.boxes import Detections
from raypipe.world.truth import Truth

BIG, SMALL = (0, 0, 40, 60), (100, 0, 112, 28)
WALKS, RUNS, BIKE = "a man is walking", "a woman is running", "a man is riding a bike"


def truth_of(*rows):
    """Rows of frame, box, visible share, class and action; a whole object is as much higher as it is hidden."""
    frame, boxes, visible, class_name, action = zip(*rows, strict=True)
    height = np.array([box[3] - box[1] for box in boxes], float)
    return Truth(
        np.array(frame, np.int64),
        np.array(boxes, float),
        np.array(visible, float),
        np.array(class_name, object),
        np.array(action, object),
        height / np.array(visible, float),
    )


def detections_of(*rows):
    """Rows of frame, box, confidence and class."""
    frame, boxes, confidence, class_name = zip(*rows, strict=True) if rows else ((), (), (), ())
    return Detections(
        np.array(frame, np.int64),
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(confidence, np.float32),
        np.array(class_name, object),
    )


def told_of(*rows):
    """Rows of frame, box, caption and sentence."""
    frame, boxes, caption, sentence = zip(*rows, strict=True)
    return Told(np.array(frame, np.int64), np.array(boxes, float), caption, sentence)


TWO = truth_of((0, BIG, 1, "person", "walking"), (1, SMALL, 1, "person", "walking"))


@pytest.mark.parametrize(
    ("found", "expected"),
    [
        ([(0, BIG, 0.9, "person"), (1, SMALL, 0.2, "person")], 1.0),
        # Half is found, all of it right: Ultralytics counts up to and with the recall that is reached.
        ([(0, BIG, 0.9, "person")], 0.5),
        ([], 0.0),
        ([(0, BIG, 0.9, "vehicle"), (1, BIG, 0.9, "person")], 0.0),
        # The second box of one object is a mistake, which costs nothing after all is found.
        ([(0, BIG, 0.9, "person"), (1, SMALL, 0.8, "person"), (0, BIG, 0.7, "person")], 1.0),
        # And half of the precision where it comes first.
        ([(0, (200, 0, 240, 60), 0.99, "person"), (0, BIG, 0.9, "person"), (1, SMALL, 0.8, "person")], 2 / 3),
    ],
)
def test_average_precision(found, expected):
    figures = average_precisions([(TWO, detections_of(*found))])
    assert figures["person"] == pytest.approx(expected, abs=0.02)
    assert figures["mean"] == figures["person"]


def test_who_is_hardly_seen_need_not_be_found_and_may_be():
    hidden = truth_of((0, BIG, 1, "person", "walking"), (0, SMALL, 0.2, "person", "walking"))
    for found in ([(0, BIG, 0.5, "person")], [(0, BIG, 0.5, "person"), (0, SMALL, 0.9, "person")]):
        assert average_precisions([(hidden, detections_of(*found))])["person"] == pytest.approx(1, abs=0.01)


def test_classes_and_clips_are_put_together():
    cars = truth_of((0, BIG, 1, "vehicle", "driving"))
    clips = [(TWO, detections_of((0, BIG, 0.9, "person"), (1, SMALL, 0.9, "person"))), (cars, detections_of())]
    assert average_precisions(clips) == {
        "person": pytest.approx(1, abs=0.01),
        "vehicle": 0.0,
        "mean": pytest.approx(0.5, abs=0.01),
    }


def test_clear_objects_are_found_by_boxes_that_are_sure_enough():
    down = (100, 0, 130, 10)
    truth = truth_of(
        (0, BIG, 1, "person", "walking"),
        (0, down, 1, "person", "lying"),
        (5, BIG, 1, "person", "walking"),
        (5, down, 1, "person", "lying"),
        (10, BIG, 0.2, "person", "walking"),  # hardly seen
        (10, down, 1, "person", "lying"),
    )
    found = detections_of(
        (0, BIG, 0.9, "person"),
        (0, down, 0.25, "vehicle"),
        (5, SMALL, 0.9, "person"),
        (5, down, 0.24, "person"),
        (10, BIG, 0.9, "person"),
    )
    assert found_shares(truth, found) == {"walking": Fraction(1, 2), "lying": Fraction(1, 3)}


def test_captions_of_whole_and_near_objects_count():
    truth = truth_of(
        (0, BIG, 1, "person", "walking"),
        (1, BIG, 0.95, "person", "walking"),
        (2, BIG, 0.94, "person", "walking"),  # hidden in part
        (3, (0, 0, 40, 48), 1, "person", "walking"),  # too small
        (4, BIG, 1, "person", "cycling"),
        (5, BIG, 1, "person", "cycling"),  # not found
    )
    told = told_of(
        (0, BIG, WALKS, RUNS),
        (1, BIG, RUNS, WALKS),
        (2, BIG, RUNS, RUNS),
        (3, (0, 0, 40, 48), RUNS, RUNS),
        (4, BIG, BIKE, BIKE),
        (5, SMALL, BIKE, BIKE),
    )
    assert caption_shares(truth, told) == {"walking": Fraction(1, 2), "cycling": Fraction(1, 1)}


def test_far_objects_are_told_by_caption_and_by_sentence():
    far = (100, 0, 112, 29.9)
    truth = truth_of(
        (0, BIG, 1, "person", "running"),  # near
        (1, far, 1, "person", "running"),
        (2, far, 1, "person", "running"),
        (3, far, 0.2, "person", "running"),  # hardly seen
        (4, far, 1, "person", "running"),  # not found
        (5, (100, 0, 112, 30), 1, "person", "running"),
    )
    told = told_of(
        (0, BIG, WALKS, WALKS),
        (1, far, WALKS, RUNS),
        (2, far, RUNS, RUNS),
        (3, far, WALKS, WALKS),
        (5, far, WALKS, WALKS),
    )
    assert far_shares(truth, told) == FarFractions(Fraction(2, 3), Fraction(1, 2), Fraction(2, 2))


@pytest.mark.parametrize(
    ("share", "value"), [(Fraction(), None), (Fraction(1, 4), 0.25), (Fraction(1, 4) + Fraction(2, 2), 0.5)]
)
def test_share(share, value):
    assert share.value == value
