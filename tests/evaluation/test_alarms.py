import numpy as np
import pytest

from raypipe.evaluation.alarms import RATES, SHARES, report_alarms

NAN = np.nan


def report(scores, labels, fps=1.0, gap_seconds=0.0, num_samples=0, times=None):
    return report_alarms(
        [np.array(score, float) for score in scores],
        [np.array(label, bool) for label in labels],
        [fps] * len(scores),
        gap_seconds=gap_seconds,
        num_samples=num_samples,
        seed=0,
        times=times,
    )


def hours_of_video():
    """Two hours of normal video at 1 frame/s with false alarms at 5, 4, 3; then events at frames 10 and 20."""
    normal = np.zeros(7200)
    normal[[100, 200, 300]] = [5, 4, 3]
    abnormal, label = np.zeros(30), np.zeros(30, bool)
    label[10:15] = label[20:25] = True
    abnormal[[12, 13, 21]] = [6, 6, 3.5]
    return [normal, abnormal], [np.zeros(7200, bool), label]


@pytest.mark.parametrize(
    ("rate", "threshold", "num_false", "num_detected", "mean_delay"),
    [
        # 0.1 and 1 per hour allow 0 and 2 in 7,220 s; each false alarm of a zero would be one, of 3 the third.
        (0.1, 6.0, 0, 1, 2.0),
        (1.0, 3.5, 2, 2, 1.5),
    ],
)
def test_the_point_of_a_rate(rate, threshold, num_false, num_detected, mean_delay):
    result = report(*hours_of_video())
    point = result.points[RATES.index(rate)]
    assert point.rule == f"at most {rate:g} false alarms per hour"
    assert (point.threshold, point.num_false_alarms, point.num_detected) == (threshold, num_false, num_detected)
    assert (point.num_missed, point.mean_delay_seconds.value) == (2 - num_detected, mean_delay)
    assert point.sensitivity.value == num_detected / 2
    assert point.false_alarms_per_hour.value == pytest.approx(num_false / (7220 / 3600))
    assert point.alarmed_share == pytest.approx(num_false / 7220)
    assert result.normal_hours == pytest.approx(7220 / 3600)
    assert (result.num_events, result.num_unscored_events) == (2, 0)


def test_counts_at_one_per_hour_are_those_of_each_video():
    counts = report(*hours_of_video()).at_one_per_hour
    assert counts.num_events.tolist() == [0, 2]
    assert counts.num_detected.tolist() == [0, 2]
    assert counts.total_delay_seconds.tolist() == [0, 3.0]
    assert counts.num_false_alarms.tolist() == [2, 0]


def test_a_pause_counts_as_no_time_but_delays_are_by_the_clock():
    scores, labels = hours_of_video()
    steady = np.arange(30.0)
    # An hour between frames 11 and 12 of the second video, within an event that is found at frame 12.
    paused = steady + 3600 * (steady >= 12)
    plain = report(scores, labels)
    same = report(scores, labels, times=[None, steady])
    assert (same.normal_hours, same.points[1]) == (plain.normal_hours, plain.points[1])
    found = report(scores, labels, times=[np.arange(7200.0), paused])
    assert found.normal_hours == pytest.approx(7220 / 3600)
    point = found.points[RATES.index(1.0)]
    assert (point.threshold, point.num_false_alarms, point.num_detected) == (3.5, 2, 2)
    assert point.mean_delay_seconds.value == (3602 + 1) / 2


def test_seconds_depend_on_the_frame_rate():
    scores, labels = hours_of_video()
    fast, slow = report(scores, labels, fps=2.0), report(scores, labels, fps=1.0)
    assert fast.normal_hours == slow.normal_hours / 2
    # Half the time allows one false alarm: the threshold rises above 4, and the event of 3.5 is missed.
    point = fast.points[RATES.index(1.0)]
    assert (point.num_false_alarms, point.num_missed, point.mean_delay_seconds.value) == (1, 1, 1.0)


def test_alarms_a_gap_apart_are_one():
    scores, labels = [[9, 0, 0, 9, 0, 0, 0]], [[0] * 7]
    share = -1  # the tenth of frames with the highest scores
    assert report(scores, labels, gap_seconds=1.0).points[share].num_false_alarms == 2
    assert report(scores, labels, gap_seconds=2.0).points[share].num_false_alarms == 1
    assert report(scores, labels, fps=2.0, gap_seconds=1.0).points[share].num_false_alarms == 1


def test_points_of_normal_frames_have_about_so_many_above():
    score = np.arange(10_000.0)
    result = report([score], [np.zeros(10_000, bool)])
    points = result.points[len(RATES) :]
    assert [point.rule for point in points] == [
        "0.1 % of normal frames",
        "1 % of normal frames",
        "10 % of normal frames",
    ]
    assert [point.alarmed_share for point in points] == pytest.approx(SHARES, rel=0.02)
    assert [point.num_false_alarms for point in points] == [1, 1, 1]
    assert points[0].sensitivity.value is None


def test_where_even_the_highest_score_is_false_nothing_is_alarmed():
    result = report([[0, 9, 0, 5]], [[0, 0, 0, 1]])
    point = result.points[0]
    assert (point.threshold, point.num_false_alarms, point.num_missed) == (None, 0, 1)
    assert (point.mean_delay_seconds.value, point.median_delay_seconds, point.alarmed_share) == (None, None, 0.0)


def test_events_without_a_scored_frame_are_counted_apart():
    result = report([[0, NAN, 5, 0]], [[0, 1, 0, 1]])
    assert (result.num_events, result.num_unscored_events) == (1, 1)


def test_no_normal_frame_has_no_rate():
    point = report([[1, 2]], [[1, 1]]).points[0]
    assert (point.false_alarms_per_hour.value, point.alarmed_share) == (None, None)
    assert len(report([[1, 2]], [[1, 1]]).points) == len(RATES)


def test_intervals_are_over_videos():
    scores, labels = hours_of_video()
    point = report(scores * 4, labels * 4, num_samples=200).points[RATES.index(1.0)]
    assert 0 <= point.false_alarms_per_hour.low < point.false_alarms_per_hour.value < point.false_alarms_per_hour.high
    # Every event is found in any replicate that has one.
    assert (point.sensitivity.low, point.sensitivity.high) == (1.0, 1.0)
    assert report(scores[:1], labels[:1], num_samples=200).points[0].false_alarms_per_hour.low is None
