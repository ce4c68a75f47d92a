"""What a driver does because others may work on the same run folder: it looks at them, and lets itself be seen."""

import logging
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import Any

from raypipe.extraction.planning import Share
from raypipe.monitoring.drivers import Heartbeat, living_sessions, read_drivers
from raypipe.monitoring.meter import Meter, system_metrics
from raypipe.monitoring.ray_metrics import DriverMetrics
from raypipe.ops.shards import Shard
from raypipe.run_folder.folder import DeadLetter, RunFolder

# Records figures at a step.
LogMetrics = Callable[[Mapping[str, float | None], int], None]


SEND_SECONDS = 60.0


POLL_SECONDS = 0.2


class BackgroundMetrics:
    """Sends figures once a minute, the first at once; those that come while the server is busy are left out."""

    def __init__(self, log: LogMetrics) -> None:
        self._log = log
        self._waiting: queue.Queue[tuple[Mapping[str, float | None], int]] = queue.Queue(maxsize=1)
        self._sent_at: float | None = None
        self._closed = threading.Event()
        self._thread = threading.Thread(target=self._send_until_closed, name="metrics", daemon=True)
        self._thread.start()

    def __call__(self, metrics: Mapping[str, float | None], step: int) -> None:
        """Send figures of a step, if it is time to."""
        now = time.monotonic()
        if self._sent_at is None or now - self._sent_at >= SEND_SECONDS:
            self._sent_at = now
            with suppress(queue.Full):
                self._waiting.put_nowait((metrics, step))

    def close(self) -> None:
        """Send nothing more; what is being sent is not waited for."""
        self._closed.set()

    def _send_until_closed(self) -> None:
        while not self._closed.is_set():
            with suppress(queue.Empty):
                self._log(*self._waiting.get(timeout=POLL_SECONDS))


logger = logging.getLogger(__name__)


def meet_others(folder: RunFolder, shard: Shard) -> None:
    """Clean up after drivers that are gone, and warn of those that may be at work on the same segments."""
    drivers, now = read_drivers(folder), time.time()
    folder.sweep(living_sessions(drivers, now))
    for other in drivers:
        if other.is_heard(now) and other.share.overlaps(shard):
            logger.warning(
                "shard %s: process %d on %s was heard of %.0f s ago. If it is alive, work is done twice; the results "
                "stay the same",
                *(other.shard, other.pid, other.host, max(0.0, now - other.heard)),
            )


@contextmanager
def showing(
    folder: RunFolder, session: str, shard: Shard, meter: Meter, log_metrics: LogMetrics | None
) -> Iterator[None]:
    """Show what the meter says, for as long as the block runs: in the run folder, to Prometheus and to MLflow."""
    sender = BackgroundMetrics(log_metrics) if log_metrics else None
    gauges = DriverMetrics(session)

    def publish(snapshot: dict[str, Any]) -> None:
        gauges.show(snapshot)
        if sender and snapshot["frames_done"]:
            sender(system_metrics(snapshot), int(snapshot["seconds"]))

    try:
        with Heartbeat(folder, session, shard, meter, publish):
            yield
    finally:
        if sender:
            sender.close()


@dataclass(frozen=True)
class Stock:
    """The dead letters of some segments, and how many segments of the whole run are neither done nor dead."""

    dead: list[DeadLetter]
    num_left: int


def take_stock(folder: RunFolder, whole: Share, share: Share) -> Stock:
    """Return what is dead of a share of all that is planned, and what is left of all.

    A segment that is committed is done: a dead letter that another driver wrote of it is taken back. But a video that
    this driver cannot read is told of, even if there are features of it.
    """
    planned, mine = whole.places, share.places
    unreadable = {letter.video_id for letter in whole.failures}
    done = {(video, index) for video, indices in folder.committed().items() for index in indices}
    dead = {}
    for letter in folder.read_dead():
        place = (letter.video_id, letter.segment_index)
        if place in done and letter.video_id not in unreadable:
            folder.remove(folder.dead_path(*place))
        else:
            dead[place] = letter
    return Stock([dead[place] for place in dead if place in mine], len(planned - done - set(dead)))
