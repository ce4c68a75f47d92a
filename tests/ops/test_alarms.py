import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from raypipe.ops.alarms import (
    Levels,
    alarm_spans,
    count_at,
    delays_of,
    events_of,
    false_alarm_levels,
    is_false,
    threshold_at,
)

NAN = np.nan


@pytest.mark.parametrize(
    ("label", "expected"),
    [
        ([], []),
        ([0, 0], []),
        ([1, 1], [(0, 2)]),
        ([1, 0, 0, 1, 1], [(0, 1), (3, 5)]),
    ],
)
def test_events(label, expected):
    assert [tuple(event) for event in events_of(label)] == expected


@pytest.mark.parametrize(
    ("score", "gap", "expected"),
    [
        ([0, 0, 0], 0, []),
        ([1, 1, 0, 1], 0, [(0, 2), (3, 4)]),
        ([1, 1, 0, 1], 1, [(0, 4)]),  # one quiet frame is bridged
        ([1, 0, 0, 1], 1, [(0, 1), (3, 4)]),
        ([1, 0, 0, 1], 2, [(0, 4)]),
        ([0, 2, NAN, 3, 0], 1, [(1, 4)]),  # a frame without a score is quiet
        ([NAN, NAN], 3, []),
        ([], 3, []),
    ],
)
def test_alarm_spans(score, gap, expected):
    assert [tuple(span) for span in alarm_spans(score, 1.0, gap)] == expected


def test_an_alarm_that_holds_an_abnormal_frame_is_not_false():
    label = [0, 0, 1, 1, 0, 0, 0]
    alarms = np.array([(0, 2), (1, 3), (3, 4), (4, 7), (0, 7)])
    assert is_false(alarms, label).tolist() == [True, False, False, True, False]


@pytest.mark.parametrize(
    ("alarms", "expected"),
    [
        ([], [-1, -1]),
        ([(12, 13)], [2, -1]),  # 2 frames late; the second event is missed
        ([(8, 11)], [0, -1]),  # was on before the event
        ([(8, 10)], [-1, -1]),  # was over when it began
        ([(5, 32)], [0, 0]),
        ([(14, 31)], [4, 0]),
        ([(19, 20), (34, 35)], [9, 4]),
        ([(20, 21), (40, 41)], [-1, -1]),  # events end before frames 20 and 40
        ([(11, 12), (13, 14)], [1, -1]),  # the first counts
    ],
)
def test_delays(alarms, expected):
    events = np.array([(10, 20), (30, 40)])
    assert delays_of(events, np.array(alarms, np.int64).reshape(-1, 2)).tolist() == expected


@pytest.mark.parametrize(
    ("score", "label", "gap", "expected"),
    [
        # Two peaks; the lower one is an alarm of its own until the threshold falls to the valley between them.
        ([3, 1, 2], [0, 0, 0], 0, [(-np.inf, 3), (1, 2)]),
        # With a gap of one frame, the peaks are one alarm at any threshold that both reach.
        ([3, 1, 2], [0, 0, 0], 1, [(-np.inf, 3)]),
        # 5 4 run into the event at thresholds up to 4: false only above.
        ([5, 4, 6], [0, 0, 1], 0, [(4, 5)]),
        # A frame that is quiet before the event separates them until the threshold falls to it.
        ([5, 1, 6], [0, 0, 1], 0, [(1, 5)]),
        ([5, 1, 6], [0, 0, 1], 1, []),  # bridged, so never false
        # What follows an event without a gap belongs to its alarm.
        ([6, 4, 5], [1, 0, 0], 0, [(4, 5)]),
        ([6, 7, 5], [1, 0, 0], 0, [(6, 7)]),
        ([NAN, 2, NAN], [0, 0, 0], 0, [(-np.inf, 2)]),
        ([1, 2], [1, 1], 0, []),
    ],
)
def test_levels_of_false_alarms(score, label, gap, expected):
    levels = false_alarm_levels(score, label, gap)
    assert sorted(zip(*levels, strict=True)) == sorted(expected)


FRAMES = st.lists(st.tuples(st.one_of(st.integers(0, 5), st.just(NAN)), st.booleans()), min_size=1, max_size=40)


@given(FRAMES, st.integers(0, 4))
@settings(max_examples=300, deadline=None)
def test_levels_count_what_the_alarms_are(frames, gap):
    score, label = (np.array(column) for column in zip(*frames, strict=True))
    levels = false_alarm_levels(score, label, gap)
    for threshold in (-1.0, 0.0, 0.5, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0):
        alarms = alarm_spans(score, threshold, gap)
        assert count_at(levels, threshold) == is_false(alarms, label).sum()


@pytest.mark.parametrize(
    ("levels", "most", "expected"),
    [
        ([(0, 5), (1, 3)], 0, 6),  # the first false alarm comes at 5
        ([(0, 5), (1, 3)], 1, 4),  # the second at 3
        ([(0, 5), (1, 3)], 2, 3),  # never more than two: at 1 they have grown together
        ([(4, 5), (0, 3)], 1, 5),  # at 4 the first is gone again
        ([(4, 5), (0, 3), (0, 2)], 1, 3),
        ([(4, 5), (0, 3)], 0, 6),  # not 4, since there is one above
        ([(0, 6)], 0, None),
        ([], 0, 0),
    ],
)
def test_threshold_for_so_many_false_alarms(levels, most, expected):
    low, high = np.array(levels, float).reshape(-1, 2).T
    assert threshold_at(Levels(low, high), [*range(7), NAN], most) == expected


@given(FRAMES, st.integers(0, 3), st.integers(0, 4))
@settings(max_examples=200, deadline=None)
def test_the_threshold_is_the_lowest_that_keeps_to_it(frames, gap, most):
    score, label = (np.array(column) for column in zip(*frames, strict=True))
    known = score[~np.isnan(score)]
    found = threshold_at(false_alarm_levels(score, label, gap), score, most)
    counts = {t: is_false(alarm_spans(score, t, gap), label).sum() for t in sorted(set(known), reverse=True)}
    expected = None
    for threshold, count in counts.items():
        if count > most:
            break
        expected = threshold
    if max(counts.values(), default=0) <= most and any(counts.values()):
        expected = max(counts, key=lambda threshold: counts[threshold])
    assert found == expected
