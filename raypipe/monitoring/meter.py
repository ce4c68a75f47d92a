"""What an extraction is doing: counts, rates, and how busy its stages are, from what comes back of each segment.

Figures are of the last `WINDOW_SECONDS`, so that they follow what changes. A stage's rate is what it does while it is
busy, in all of its actors: times its busy share that is the rate of the run, and the busiest pool is the bottleneck.
"""

import threading
import time
from collections import defaultdict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

WINDOW_SECONDS = 300.0
SAMPLE_SECONDS = 1.0


@dataclass(frozen=True)
class _Sample:
    at: float
    frames: int
    stage_seconds: Mapping[str, float]
    stage_frames: Mapping[str, int]
    actor_seconds: tuple[float, ...]
    watched_seconds: float


@dataclass
class Meter:
    """Counts of one driver. Filled by one thread, watched by a second, read by others."""

    began: float = field(default_factory=time.monotonic)
    num_segments: int = 0
    num_frames: int = 0
    segments_done: int = 0
    frames_done: int = 0
    dead: int = 0
    object_store_bytes: int | None = None

    def __post_init__(self) -> None:
        self._pools: tuple[tuple[str, ...], ...] = ()
        self._seconds: dict[str, float] = defaultdict(float)
        self._frames: dict[str, int] = defaultdict(int)
        self._queues: list[int | None] = []
        self._actors: list[int] = []
        self._actor_seconds: list[float] = []
        self._watched_at: float | None = None
        self._watched_seconds = 0.0
        self._last_at: float | None = None
        self._samples: deque[_Sample] = deque()
        self._lock = threading.Lock()

    def plan(self, pools: Sequence[Sequence[str]], num_segments: int, num_frames: int) -> None:
        """Say what is to be done, and which stages share an actor."""
        with self._lock:
            self._pools = tuple(tuple(stages) for stages in pools)
            self.num_segments, self.num_frames = num_segments, num_frames
            self._queues, self._actors = [None] * len(pools), [0] * len(pools)
            self._actor_seconds = [0.0] * len(pools)

    def add(self, row: Mapping[str, Any]) -> None:
        """Count a segment that is done or dead, as the last step hands it back."""
        # As JSON takes them, whether they come from an Arrow table or from NumPy.
        span = int(row["stop_frame"] - row["start_frame"])
        with self._lock:
            self.segments_done += 1
            self.frames_done += span
            self.dead += int(bool(row.get("is_dead")))
            for name, seconds in row.items():
                if name.startswith("seconds_") and seconds:
                    self._seconds[name.removeprefix("seconds_")] += float(seconds)
                    self._frames[name.removeprefix("seconds_")] += span
            self._last_at = time.monotonic()
            self._sample(self._last_at)

    def watch(self, queues: Sequence[int], actors: Sequence[int], object_store_bytes: int) -> None:
        """Note the segments that wait before each pool, its actors that run, and the object store in use."""
        with self._lock:
            now = time.monotonic()
            if self._watched_at is not None:
                self._watched_seconds += now - self._watched_at
                for pool, running in enumerate(self._actors):
                    self._actor_seconds[pool] += running * (now - self._watched_at)
            self._watched_at = now
            self._queues, self._actors = list(queues), list(actors)
            self.object_store_bytes = object_store_bytes

    def _sample(self, now: float) -> None:
        if self._samples and now - self._samples[-1].at < SAMPLE_SECONDS:
            return
        counts = (self.frames_done, dict(self._seconds), dict(self._frames), tuple(self._actor_seconds))
        self._samples.append(_Sample(now, *counts, self._watched_seconds))
        while len(self._samples) > 1 and now - self._samples[1].at > WINDOW_SECONDS:
            self._samples.popleft()

    def snapshot(self) -> dict[str, Any]:
        """Return all figures, ready for JSON; those that are not known yet are None.

        `stages` has of each stage its seconds and frames since the start and, of late, `frames_per_second`, `busy`
        (the share of its actors' time) and `queue` (segments that wait for it: none where it shares an actor with the
        stage before it).
        """
        with self._lock:
            now = time.monotonic()
            rate = self._rate(now)
            left = self.num_frames - self.frames_done
            return {
                "seconds": now - self.began,
                "segments": self.num_segments,
                "segments_done": self.segments_done,
                "frames": self.num_frames,
                "frames_done": self.frames_done,
                "dead": self.dead,
                "frames_per_second": rate,
                "seconds_left": left / rate if rate else None,
                "seconds_since_last": None if self._last_at is None else now - self._last_at,
                "object_store_bytes": self.object_store_bytes,
                "stages": {
                    stage: self._stage(stage, pool, is_first=position == 0)
                    for pool, stages in enumerate(self._pools)
                    for position, stage in enumerate(stages)
                },
            }

    def _rate(self, now: float) -> float | None:
        """Return frames a second from the first sample of the window on; start-up does not count."""
        if not self._samples:
            return None
        first = self._samples[0]
        if now - first.at < SAMPLE_SECONDS or self.frames_done == first.frames:
            # All that there is came at once: since the actors began.
            return self.frames_done / max(now - self.began, 1e-9)
        return (self.frames_done - first.frames) / (now - first.at)

    def _stage(self, stage: str, pool: int, *, is_first: bool) -> dict[str, Any]:
        is_late = len(self._samples) > 1 and self._samples[0].stage_seconds.get(stage, 0.0) < self._seconds[stage]
        first = self._samples[0] if is_late else None
        seconds = self._seconds[stage] - (first.stage_seconds.get(stage, 0.0) if first else 0.0)
        frames = self._frames[stage] - (first.stage_frames.get(stage, 0) if first else 0)
        actor_seconds = self._actor_seconds[pool] - (first.actor_seconds[pool] if first else 0.0)
        watched = self._watched_seconds - (first.watched_seconds if first else 0.0)
        # On average, since they end one by one when there is nothing left for them.
        actors = actor_seconds / watched if watched else 0.0
        return {
            "seconds": self._seconds[stage],
            "frames": self._frames[stage],
            "actors": self._actors[pool],
            "frames_per_second": frames / seconds * actors if seconds and actors else None,
            "busy": min(1.0, seconds / actor_seconds) if actor_seconds else None,
            "queue": self._queues[pool] if is_first else 0,
        }

    def line(self) -> str:
        """Return the stages' figures in a line, empty where there are none yet."""
        return stage_line(self.snapshot())


def stage_line(snapshot: Mapping[str, Any]) -> str:
    """Return what a snapshot says of the stages in a line: frames/s while busy, busy share, and what waits."""
    parts = []
    for name, row in snapshot["stages"].items():
        if row["frames_per_second"] is not None:
            busy = "" if row["busy"] is None else f" {row['busy']:.0%} busy"
            waiting = f", {row['queue']:,} wait" if row["queue"] else ""
            parts.append(f"{name} {row['frames_per_second']:,.0f}/s{busy}{waiting}")
    if parts and snapshot["object_store_bytes"] is not None:
        parts.append(f"object store {snapshot['object_store_bytes'] / 2**20:,.0f} MiB")
    return "; ".join(parts)


def system_metrics(snapshot: Mapping[str, Any]) -> dict[str, float | None]:
    """Return a snapshot as metrics with the names under which MLflow shows what a machine does."""
    metrics = {f"system/{name}": snapshot[name] for name in ("frames_per_second", "object_store_bytes")}
    metrics["system/segments_left"] = snapshot["segments"] - snapshot["segments_done"]
    for stage, row in snapshot["stages"].items():
        metrics |= {f"system/{stage}/{name}": row[name] for name in ("frames_per_second", "busy", "queue")}
    return metrics
