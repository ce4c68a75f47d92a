import numpy as np
import pytest

from raypipe.evaluation.alarms import AlarmCounts
from raypipe.evaluation.breakdown import break_down
from raypipe.ops.metrics import rank_videos

# normal | fight | fight | theft
SCORES = [[0, 2], [1, 3], [4, 0], [5, 1]]
LABELS = [[0, 0], [0, 1], [0, 1], [1, 0]]
CLASSES = ["normal", "fight", "fight", "theft"]


def groups(names, alarms=None, num_samples=0):
    return break_down(rank_videos(SCORES, LABELS), names, alarms, num_samples=num_samples, seed=0)


def test_classes():
    result = {group.name: group for group in groups({"class": CLASSES})}
    assert list(result) == ["fight", "normal", "theft"]
    # normal 1 4, abnormal 3 0: one pair of four
    assert result["fight"].metrics["micro_auc"].value == 0.25
    # with the normal 0 2: 3 beats 1, 0, 2; 0 ties with 0
    assert result["fight"].metrics["micro_auc_with_normal"].value == 3.5 / 8
    assert result["theft"].metrics["average_precision"].value == 1.0
    assert result["normal"].metrics["micro_auc"].value is None
    assert result["normal"].metrics["micro_auc_with_normal"].value is None
    assert (result["fight"].num_videos, result["fight"].num_frames, result["fight"].num_abnormal) == (2, 4, 2)


def test_scenes_are_compared_with_themselves_only():
    unnamed, first, second = groups({"class": [""] * 4, "scene": ["01", "02", "02", ""]})
    assert [group.name for group in (unnamed, first, second)] == ["(none)", "01", "02"]
    assert first.kind == "scene"
    assert set(first.metrics) == {"micro_auc", "average_precision"}


def test_a_data_set_without_classes_has_no_groups():
    assert groups({"class": [""] * 4, "scene": [""] * 4}) == []


def test_counts_of_alarms_are_summed():
    counts = AlarmCounts(*(np.array([n, 1, 2, 3]) for n in range(5)))
    fight = groups({"class": CLASSES}, counts)[0]
    assert (fight.num_events, fight.num_detected, fight.num_false_alarms) == (3, 3, 3)
    normal = groups({"class": CLASSES}, counts)[1]
    assert (normal.num_events, normal.num_detected, normal.num_false_alarms) == (0, 1, 3)


def test_intervals_are_over_the_videos_of_the_group():
    fight, _, theft = groups({"class": CLASSES}, num_samples=100)
    # One of the two videos has AUC 1, the other 0.
    assert (fight.metrics["micro_auc"].low, fight.metrics["micro_auc"].high) == (0.0, 1.0)
    assert theft.metrics["micro_auc"].low is None  # of one video
    assert theft.metrics["micro_auc_with_normal"].low == pytest.approx(1.0)
