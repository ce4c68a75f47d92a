"""What an operator would see of the scores: events found and how late, and false alarms per hour, at thresholds.

The arithmetic, and what an alarm and an event are, is in `ops.alarms`. Thresholds are chosen on the scores that they
are judged by, as with an ROC curve: they tell what the scores allow, not what a threshold set beforehand would give.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from raypipe.ops.alarms import (
    Levels,
    Spans,
    alarm_spans,
    delays_of,
    events_of,
    false_alarm_levels,
    is_false,
    threshold_at,
)
from raypipe.ops.bootstrap import Metric, draw_counts, ratio_metric
from raypipe.ops.rates import covered_seconds

F64 = NDArray[np.float64]

# False alarms per hour of normal video that are allowed.
ONE_PER_HOUR = 1.0
RATES = (0.1, ONE_PER_HOUR, 10.0, 60.0)
# Shares of the normal frames that are at or above a threshold.
SHARES = (0.001, 0.01, 0.1)


@dataclass(frozen=True)
class AlarmCounts:
    """What V videos have at one threshold, (V,) each; events without any scored frame are not among the events."""

    num_events: NDArray[np.int64]
    num_detected: NDArray[np.int64]
    total_delay_seconds: F64
    num_false_alarms: NDArray[np.int64]
    alarmed_normal_seconds: F64


@dataclass(frozen=True)
class OperatingPoint:
    """What a threshold gives. `sensitivity` is the share of events detected; missed events have no delay.

    `threshold` is None where even the highest score has more false alarms than are allowed: nothing is alarmed.
    `alarmed_share` is the share of normal time that lies in alarms.
    """

    rule: str
    threshold: float | None
    num_false_alarms: int
    false_alarms_per_hour: Metric
    num_detected: int
    num_missed: int
    sensitivity: Metric
    mean_delay_seconds: Metric
    median_delay_seconds: float | None
    alarmed_share: float | None


@dataclass(frozen=True)
class AlarmReport:
    """Operating points by false alarms allowed, then by normal frames alarmed; `normal_hours` are scored ones.

    `at_one_per_hour` are the counts of each video at the threshold that allows one false alarm per hour.
    """

    gap_seconds: float
    normal_hours: float
    num_events: int
    num_unscored_events: int
    points: Sequence[OperatingPoint]
    at_one_per_hour: AlarmCounts


@dataclass(frozen=True)
class _Video:
    score: F64
    label: NDArray[np.bool_]
    fps: float
    gap_frames: int
    events: Spans
    normal_before: NDArray[np.int64]
    time_seconds: F64 | None
    normal_seconds_before: F64 | None

    @property
    def normal_seconds(self) -> float:
        return self.normal_seconds_in(np.array([[0, len(self.score)]]))

    def normal_seconds_in(self, spans: Spans) -> float:
        if self.normal_seconds_before is None:
            return float(_inside(self.normal_before, spans)) / self.fps
        return float(_inside(self.normal_seconds_before, spans))

    def delays_seconds(self, alarms: Spans) -> F64:
        """Return the delays of the events that are detected."""
        delays = delays_of(self.events, alarms)
        found = delays >= 0
        if self.time_seconds is None:
            return np.asarray(delays[found] / self.fps, np.float64)
        first = self.events[found, 0]
        return np.asarray(self.time_seconds[first + delays[found]] - self.time_seconds[first], np.float64)


def _inside(before: NDArray[Any], spans: Spans) -> Any:
    return (before[spans[:, 1]] - before[spans[:, 0]]).sum()


def report_alarms(
    scores: Sequence[F64],
    labels: Sequence[NDArray[np.bool_]],
    fps: Sequence[float],
    *,
    gap_seconds: float,
    num_samples: int,
    seed: int,
    times: Sequence[F64 | None] | None = None,
) -> AlarmReport:
    """Return what V videos' scores, (T,) each with NaN where unscored, give as alarms.

    Alarms of a video at most `gap_seconds` apart count as one. Intervals are over videos, as for the metrics. `times`
    are the seconds of a video's frames, (T,), where its frames do not come at a constant rate: delays are by them, and
    pauses count as no time.
    """
    videos, num_unscored = [], 0
    for score, label, rate, time in zip(scores, labels, fps, times or [None] * len(scores), strict=True):
        known = ~np.isnan(score)
        events = events_of(label)
        is_scored = np.array([known[start:stop].any() for start, stop in events], bool)
        num_unscored += int(np.count_nonzero(~is_scored))
        is_normal = known & ~label
        before = None if time is None else np.append(0.0, np.cumsum(is_normal * covered_seconds(time, rate)))
        videos.append(
            _Video(
                score=score,
                label=label,
                fps=rate,
                gap_frames=round(gap_seconds * rate),
                events=events[is_scored],
                normal_before=np.append(0, np.cumsum(is_normal)),
                time_seconds=time,
                normal_seconds_before=before,
            )
        )
    normal_seconds = np.array([video.normal_seconds for video in videos])
    hours = float(normal_seconds.sum()) / 3600
    found = [false_alarm_levels(video.score, video.label, video.gap_frames) for video in videos]
    levels = Levels(*(np.concatenate(values) for values in zip(*found, strict=True)))
    score_N = np.concatenate([video.score for video in videos])
    rules: list[tuple[str, float | None]] = [
        (f"at most {rate:g} false alarms per hour", threshold_at(levels, score_N, rate * hours)) for rate in RATES
    ]
    rules += _share_rules(videos)
    # As elsewhere, one video has no interval.
    draws = draw_counts(np.array([len(video.score) for video in videos]), num_samples if len(videos) > 1 else 0, seed)
    counts = [[_count(video, threshold) for video in videos] for _, threshold in rules]
    points = [
        _point(rule, threshold, at, normal_seconds, draws) for (rule, threshold), at in zip(rules, counts, strict=True)
    ]
    return AlarmReport(
        gap_seconds=gap_seconds,
        normal_hours=hours,
        num_events=sum(len(video.events) for video in videos),
        num_unscored_events=num_unscored,
        points=points,
        at_one_per_hour=_together(counts[RATES.index(ONE_PER_HOUR)]),
    )


def _share_rules(videos: Sequence[_Video]) -> list[tuple[str, float | None]]:
    normal = np.concatenate([video.score[~video.label & ~np.isnan(video.score)] for video in videos])
    if not normal.size:
        return []
    thresholds = np.quantile(normal, [1 - share for share in SHARES], method="higher")
    return [
        (f"{100 * share:g} % of normal frames", float(value)) for share, value in zip(SHARES, thresholds, strict=True)
    ]


@dataclass(frozen=True)
class _Counts:
    """What one video has at one threshold."""

    num_events: int
    delays_seconds: F64
    num_false_alarms: int
    alarmed_normal_seconds: float


def _count(video: _Video, threshold: float | None) -> _Counts:
    if threshold is None:
        return _Counts(len(video.events), np.empty(0), 0, 0.0)
    alarms = alarm_spans(video.score, threshold, video.gap_frames)
    return _Counts(
        len(video.events),
        video.delays_seconds(alarms),
        int(np.count_nonzero(is_false(alarms, video.label))),
        video.normal_seconds_in(alarms),
    )


def _together(counts: Sequence[_Counts]) -> AlarmCounts:
    return AlarmCounts(
        np.array([count.num_events for count in counts], np.int64),
        np.array([len(count.delays_seconds) for count in counts], np.int64),
        np.array([count.delays_seconds.sum() for count in counts], np.float64),
        np.array([count.num_false_alarms for count in counts], np.int64),
        np.array([count.alarmed_normal_seconds for count in counts], np.float64),
    )


def _point(
    rule: str, threshold: float | None, at: Sequence[_Counts], normal_seconds: F64, draws: NDArray[np.int64]
) -> OperatingPoint:
    counts = _together(at)
    delays = np.concatenate([count.delays_seconds for count in at])
    total = float(normal_seconds.sum())
    return OperatingPoint(
        rule=rule,
        threshold=threshold,
        num_false_alarms=int(counts.num_false_alarms.sum()),
        false_alarms_per_hour=ratio_metric(counts.num_false_alarms, normal_seconds / 3600, draws),
        num_detected=len(delays),
        num_missed=int(counts.num_events.sum()) - len(delays),
        sensitivity=ratio_metric(counts.num_detected, counts.num_events, draws),
        mean_delay_seconds=ratio_metric(counts.total_delay_seconds, counts.num_detected, draws),
        median_delay_seconds=float(np.median(delays)) if delays.size else None,
        alarmed_share=float(counts.alarmed_normal_seconds.sum()) / total if total else None,
    )
