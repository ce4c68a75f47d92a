"""The figures of each class and each scene of a data set."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from raypipe.evaluation.alarms import AlarmCounts
from raypipe.ops.bootstrap import ConfidenceInterval, Metric, bootstrap
from raypipe.ops.metrics import RankedVideos, measure

# Of videos without a class or scene in a data set that has some.
UNNAMED = "(none)"
GROUP_METRICS = ("micro_auc", "average_precision")
# Groups are many, and their intervals wide: fewer bins than for the whole.
EXACT_BINS = 1 << 13
NUM_BINS = 1 << 11


@dataclass(frozen=True)
class GroupResult:
    """The figures of the videos of one class or scene (`kind`) over its scored frames.

    `metrics` are `micro_auc` and `average_precision` over the group's own videos, and, of a class,
    `micro_auc_with_normal`: over its videos and all videos without an abnormal frame. Events and false alarms are
    those at 1 false alarm per hour of all videos, None without a frame rate.
    """

    kind: str
    name: str
    num_videos: int
    num_frames: int
    num_abnormal: int
    metrics: Mapping[str, Metric]
    num_events: int | None
    num_detected: int | None
    num_false_alarms: int | None


def break_down(
    videos: RankedVideos,
    names: Mapping[str, Sequence[str]],
    alarms: AlarmCounts | None,
    *,
    num_samples: int,
    seed: int,
) -> list[GroupResult]:
    """Return the figures of every group, sorted by kind and name.

    `names` gives for each kind, "class" and "scene", the name of every video's group. A kind in which all names are
    empty has no groups.
    """
    is_normal = np.bincount(videos.video[videos.label], minlength=len(videos.num_frames)) == 0
    results = []
    for kind, group_of in names.items():
        if not any(group_of):
            continue
        for name in sorted(set(group_of)):
            is_in = np.array([other == name for other in group_of])
            group = videos.select(is_in)
            metrics = _measure(group, num_samples, seed)
            if kind == "class":
                metrics["micro_auc_with_normal"] = _micro_auc(videos.select(is_in | is_normal), num_samples, seed)
            results.append(
                GroupResult(
                    kind=kind,
                    name=name or UNNAMED,
                    num_videos=int(np.count_nonzero(is_in)),
                    num_frames=len(group.label),
                    num_abnormal=int(np.count_nonzero(group.label)),
                    metrics=metrics,
                    num_events=_total(alarms, "num_events", is_in),
                    num_detected=_total(alarms, "num_detected", is_in),
                    num_false_alarms=_total(alarms, "num_false_alarms", is_in),
                )
            )
    return results


def _measure(videos: RankedVideos, num_samples: int, seed: int) -> dict[str, Metric]:
    values = measure(videos)
    if all(values[name] is None for name in GROUP_METRICS):
        return {name: Metric(None, None, None) for name in GROUP_METRICS}
    intervals = _intervals(videos, num_samples, seed)
    return {name: Metric.of(values[name], intervals[name]) for name in GROUP_METRICS}


def _micro_auc(videos: RankedVideos, num_samples: int, seed: int) -> Metric:
    value = videos.micro_auc()
    if value is None:
        return Metric(None, None, None)
    return Metric.of(value, _intervals(videos, num_samples, seed)["micro_auc"])


def _intervals(videos: RankedVideos, num_samples: int, seed: int) -> Mapping[str, ConfidenceInterval]:
    return bootstrap(videos, num_samples=num_samples, seed=seed, exact_bins=EXACT_BINS, num_bins=NUM_BINS)


def _total(alarms: AlarmCounts | None, name: str, is_in_V: NDArray[np.bool_]) -> int | None:
    return None if alarms is None else int(getattr(alarms, name)[is_in_V].sum())
