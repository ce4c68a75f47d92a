import json

import numpy as np
import pytest

from raypipe.monitoring import meter as meter_module
from raypipe.monitoring.meter import WINDOW_SECONDS, Meter, stage_line, system_metrics


class Clock:
    now = 100.0

    def monotonic(self):
        return self.now


@pytest.fixture
def clock(monkeypatch):
    clock = Clock()
    monkeypatch.setattr(meter_module, "time", clock)
    return clock


def row(frames=10, *, is_dead=False, **seconds):
    timed = {f"seconds_{name}": value for name, value in seconds.items()}
    return {"start_frame": 0, "stop_frame": frames} | timed | ({"is_dead": True} if is_dead else {})


def test_nothing_is_known_at_first(clock):
    snapshot = Meter(clock.now).snapshot()
    assert snapshot == {
        "seconds": 0.0,
        "segments": 0,
        "segments_done": 0,
        "frames": 0,
        "frames_done": 0,
        "dead": 0,
        "frames_per_second": None,
        "seconds_left": None,
        "seconds_since_last": None,
        "object_store_bytes": None,
        "stages": {},
    }
    assert stage_line(snapshot) == ""


def test_two_pools_under_way(clock):
    """Two decoders that are half busy before one detector that always is; a segment a second leaves them."""
    meter = Meter(clock.now)
    meter.plan([("decode", "motion"), ("detect",)], 100, 1000)
    clock.now += 60  # start-up
    meter.watch([0, 0], [2, 1], 0)
    for _ in range(21):
        clock.now += 1
        meter.watch([7, 3], [2, 1], 5 * 2**20)
        meter.add(row(np.int64(10), decode=np.float32(0.75), motion=0.25, detect=1.0))
    found = meter.snapshot()
    assert (found["segments_done"], found["frames_done"], found["seconds"]) == (21, 210, 81.0)
    # 200 frames in the 20 s since the first came back; start-up does not count.
    assert found["frames_per_second"] == pytest.approx(10.0)
    assert found["seconds_left"] == pytest.approx(79.0)
    assert found["seconds_since_last"] == 0.0
    stages = found["stages"]
    assert stages["decode"] == {
        "seconds": 15.75,
        "frames": 210,
        "actors": 2,
        "frames_per_second": pytest.approx(200 / 15 * 2),
        "busy": pytest.approx(15 / 40),
        "queue": 7,
    }
    # What shares an actor with the stage before it waits for nothing.
    assert (stages["motion"]["queue"], stages["motion"]["busy"]) == (0, pytest.approx(5 / 40))
    assert (stages["detect"]["queue"], stages["detect"]["busy"]) == (3, pytest.approx(1.0))
    assert meter.line() == (
        "decode 27/s 38% busy, 7 wait; motion 80/s 12% busy; detect 10/s 100% busy, 3 wait; object store 5 MiB"
    )
    # A stage's rate times its busy share is the rate of the run.
    for stage in stages.values():
        assert stage["frames_per_second"] * stage["busy"] == pytest.approx(10.0)
    assert json.loads(json.dumps(found, allow_nan=False)) == found


def test_figures_follow_what_changes(clock):
    meter = Meter(clock.now)
    meter.plan([("decode",)], 10_000, 100_000)
    for seconds in (1.0, 4.0):  # five minutes at one speed, then at a quarter of it
        for _ in range(int(2 * WINDOW_SECONDS / seconds)):
            clock.now += seconds
            meter.watch([1], [1], 0)
            meter.add(row(decode=seconds))
    found = meter.snapshot()
    assert found["frames_per_second"] == pytest.approx(2.5, rel=0.01)
    assert found["stages"]["decode"]["frames_per_second"] == pytest.approx(2.5, rel=0.01)
    assert found["stages"]["decode"]["frames"] == 10 * (600 + 150)


def test_work_that_comes_back_at_once_is_counted_from_the_start(clock):
    meter = Meter(clock.now)
    meter.plan([("decode",)], 2, 20)
    meter.watch([2], [1], 0)
    clock.now += 4
    meter.watch([0], [1], 0)
    meter.add(row(decode=1.0))
    meter.add(row(is_dead=True))
    found = meter.snapshot()
    assert (found["dead"], found["segments_done"], found["frames_per_second"]) == (1, 2, 5.0)
    # The dead segment's frames were not decoded.
    assert found["stages"]["decode"] | {"queue": 0} == {
        "seconds": 1.0,
        "frames": 10,
        "actors": 1,
        "frames_per_second": 10.0,
        "busy": 0.25,
        "queue": 0,
    }


def test_names_of_metrics(clock):
    meter = Meter(clock.now)
    meter.plan([("decode",)], 5, 50)
    meter.watch([4], [1], 7)
    clock.now += 2
    meter.watch([3], [1], 7)
    meter.add(row(decode=1.0))
    assert system_metrics(meter.snapshot()) == {
        "system/frames_per_second": 5.0,
        "system/object_store_bytes": 7,
        "system/segments_left": 4,
        "system/decode/frames_per_second": 10.0,
        "system/decode/busy": 0.5,
        "system/decode/queue": 3,
    }
