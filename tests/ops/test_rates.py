import numpy as np
import pytest

from raypipe.ops.rates import after_pauses, covered_seconds, describe_pauses, frame_rate

HOUR = 3600.0


def times(*steps):
    return np.cumsum([0, *steps])


@pytest.mark.parametrize(
    ("ticks", "tick_seconds", "expected"),
    [
        (times(*[3600] * 99), 1 / 90_000, 25.0),
        # One pause of an hour, a step of one tick, a gap of twelve frames.
        (times(*[3600] * 80, 324_003_600, *[3600] * 18), 1 / 90_000, 25.0),
        (times(*[3600] * 80, 1, *[3600] * 18), 1 / 90_000, 25.0),
        (times(*[3600] * 80, 13 * 3600, *[3600] * 18), 1 / 90_000, 25.0),
        # 29.97 a second, rounded to milliseconds: 33 and 34.
        (np.rint(np.arange(3001) * 1001 / 30).astype(np.int64), 1e-3, 3000 / 100.1),
        (times(1, 1, 1), 1 / 90_000, 90_000.0),
        (times(5000), 1e-3, 0.2),
        # Of a pause and a step, the step.
        (times(40, 3_600_000), 1e-3, 25.0),
        # Bursts of frames at one time do not count as steps.
        (times(0, 0, 0, 40, 40), 1e-3, 25.0),
    ],
)
def test_the_rate_is_that_of_most_steps(ticks, tick_seconds, expected):
    assert frame_rate(ticks, tick_seconds) == pytest.approx(expected, rel=1e-12)


@pytest.mark.parametrize("ticks", [[], [7], [7, 7]])
def test_times_that_tell_no_rate(ticks):
    assert frame_rate(np.array(ticks, np.int64), 1e-3) is None


@pytest.mark.parametrize("step", [1, 512, 1001, 3600, 33])
def test_a_constant_rate_is_exactly_the_mean_over_the_file(step):
    ticks, tick = np.arange(17, 17 + 250 * step, step), 1 / 12_800
    assert frame_rate(ticks, tick) == 249 / (int(ticks[-1] - ticks[0]) * tick)


def test_the_rate_of_frames_that_are_not_all_there():
    frames = np.array([0, 1, 2, 7, 8, 9, 10])
    time = frames / 10.0
    time[5:] += HOUR
    assert frame_rate(time, 1.0, frames) == pytest.approx(10.0)


@pytest.mark.parametrize(
    ("time", "fps", "stride", "expected"),
    [
        (times(0.04, 0.04, HOUR, 0.04), 25, 1, [3]),
        # A second is no pause, neither are five steps of a time-lapse.
        (times(0.04, 1.0, 0.04), 25, 1, []),
        (times(5, 25, 5), 0.2, 1, []),
        (times(5, 25.1, 5), 0.2, 1, [2]),
        # Every tenth frame of a time-lapse is 50 s apart; with a pause of 30 s in between, 75 s.
        (times(50, 50, 50), 0.2, 10, []),
        (times(50, 75, 50), 0.2, 10, [2]),
        ([0.0], 25, 1, []),
        ([], 25, 1, []),
    ],
)
def test_pauses(time, fps, stride, expected):
    assert after_pauses(np.array(time, float), fps, stride).tolist() == expected


def test_a_frame_covers_the_time_until_the_next_but_no_pause():
    covered = covered_seconds(times(0.04, 0.2, HOUR, 0.04), 25)
    np.testing.assert_allclose(covered, [0.04, 0.2, 0.04, 0.04, 0.04], rtol=1e-9)
    assert covered_seconds(np.empty(0), 25).shape == (0,)


@pytest.mark.parametrize(
    ("time", "expected"),
    [
        (times(0.04, 0.04), None),
        (times(0.04, HOUR), "a pause of 3,600.0 s after frame 1: motion and smoothing do not reach across"),
        (
            times(2, 0.04, 3, 0.04),
            "2 pauses, the longest of 3.0 s after frame 2: motion and smoothing do not reach across",
        ),
    ],
)
def test_pauses_in_words(time, expected):
    assert describe_pauses(time, 25) == expected
