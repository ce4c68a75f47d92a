"""What an extraction shows of itself as Ray's own metrics, for Prometheus, and what Ray Data shows of it to the driver.

Ray serves them, with "ray_" before their names, on every node, and adds the node and the process to each.
"""

import logging
from collections.abc import Mapping
from typing import Any

from ray.util.metrics import Counter, Gauge, Histogram

SECONDS_BOUNDARIES = [0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0, 30.0, 100.0, 300.0, 1000.0]
# Ray Data promises nothing of what its executions show; a run goes on without its queues.
NOT_SHOWN = "this version of Ray does not show what waits before the pools"

logger = logging.getLogger(__name__)


class StageMetrics:
    """Counts what an actor does, stage by stage."""

    def __init__(self, session: str) -> None:
        keys = ("stage", "session")
        self._session = session
        self._frames = Counter("raypipe_frames_total", "Source frames that a stage has done", keys)
        self._segments = Counter("raypipe_segments_total", "Segments that a stage has done", keys)
        self._dead = Counter("raypipe_dead_segments_total", "Segments that became dead letters in a stage", keys)
        self._seconds = Histogram(
            "raypipe_segment_seconds", "Seconds that a stage took for a segment", SECONDS_BOUNDARIES, keys
        )
        self._busy = Gauge("raypipe_busy_actors", "1 while an actor is in a stage", tag_keys=keys)

    def begin(self, stage: str) -> None:
        """Say that the actor is in a stage."""
        self._busy.set(1, self._tags(stage))

    def end(self, stage: str, num_frames: int, seconds: float) -> None:
        """Count a segment that a stage has done."""
        tags = self._tags(stage)
        self._busy.set(0, tags)
        self._seconds.observe(float(seconds), tags)
        self._segments.inc(1, tags)
        if num_frames:
            self._frames.inc(int(num_frames), tags)

    def bury(self, stage: str) -> None:
        """Count a segment that became a dead letter in a stage."""
        self._busy.set(0, self._tags(stage))
        self._dead.inc(1, self._tags(stage))

    def _tags(self, stage: str) -> dict[str, str]:
        return {"stage": stage, "session": self._session}


class DriverMetrics:
    """Shows a driver's snapshots."""

    def __init__(self, session: str) -> None:
        self._tags = {"session": session}
        of_stage = ("stage", "session")
        self._stage_gauges = {
            "frames_per_second": Gauge("raypipe_stage_frames_per_second", "What a stage does while busy", of_stage),
            "busy": Gauge("raypipe_stage_busy_share", "Share of its actors' time that a stage takes", of_stage),
            "queue": Gauge("raypipe_stage_queued_segments", "Segments that wait for a stage", of_stage),
        }
        self._gauges = {
            "frames_per_second": Gauge("raypipe_frames_per_second", "Frames a driver gets done", ("session",)),
            "object_store_bytes": Gauge("raypipe_object_store_bytes", "Object store that a driver uses", ("session",)),
        }
        self._left = Gauge("raypipe_segments_left", "Segments of a driver that are not done", ("session",))

    def show(self, snapshot: Mapping[str, Any]) -> None:
        """Set all gauges to what a `Meter`'s snapshot says."""
        self._left.set(snapshot["segments"] - snapshot["segments_done"], self._tags)
        for name, gauge in self._gauges.items():
            if snapshot[name] is not None:
                gauge.set(snapshot[name], self._tags)
        for stage, row in snapshot["stages"].items():
            for name, gauge in self._stage_gauges.items():
                if row[name] is not None:
                    gauge.set(row[name], {"stage": stage, **self._tags})
