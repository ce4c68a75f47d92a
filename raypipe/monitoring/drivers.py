"""What the drivers of a run tell of themselves in its folder: who they are, how far they are, when they were alive.

A driver writes `drivers/<session>.json` every few seconds, whole, because object stores cannot append, and the same as
a line of JSON to `log/<session>/`, in files of a bounded number of lines, of which only the last is written again.
Nobody can know whether a silent driver is dead or cut off, so all that is told of one is when it was last heard of.
"""

import json
import logging
import os
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from types import TracebackType
from typing import Any

from raypipe.errors import UserError
from raypipe.monitoring.meter import Meter
from raypipe.ops.shards import Shard, parse_shard
from raypipe.run_folder.folder import STALE_SECONDS, RunFolder
from raypipe.run_folder.store import store_errors
from raypipe.text import named_line

logger = logging.getLogger(__name__)

HEARTBEAT_SECONDS = 10.0
# After as many heartbeats that were not heard a driver is called silent: a store may be slow, a machine busy.
SILENT_SECONDS = 6 * HEARTBEAT_SECONDS
# A line of the log is 1 to 2 kB: a day's log is a few MB, and its last file, which is written again, half an hour's.
LOG_BEATS = 3
LOG_LINES = 60
MAX_REASON_LENGTH = 500


@dataclass(frozen=True)
class Driver:
    """One start of a driver as it was last heard of; times are seconds since 1970 by its own clock.

    `state` is "working" until it ends as "done", "interrupted" or "failed". `progress` is a `Meter`'s snapshot.
    """

    session: str
    host: str
    pid: int
    shard: str
    state: str
    began: float
    heard: float
    progress: dict[str, Any]
    reason: str | None = None

    @property
    def is_working(self) -> bool:
        """Whether it has not said that it ended."""
        return self.state == "working"

    def is_heard(self, now: float) -> bool:
        """Whether it is at work and was heard of lately."""
        return self.is_working and now - self.heard <= SILENT_SECONDS

    @property
    def share(self) -> Shard:
        """The shard that it works on."""
        return parse_shard(self.shard)


def read_drivers(folder: RunFolder) -> list[Driver]:
    """Return all drivers that ever worked on a run, in the order in which they began.

    Raises UserError where a file of theirs is damaged.
    """
    if not folder.exists("drivers"):
        return []
    paths = [path for path in folder.filesystem.find(folder.path("drivers")) if path.endswith(".json")]
    drivers = []
    for content in folder.read_each(paths):
        try:
            drivers.append(Driver(**json.loads(content)))
        except (ValueError, TypeError) as error:
            raise UserError(f"a file in {folder.name('drivers')} is damaged: {error}. Remove it.") from error
    return sorted(drivers, key=lambda driver: (driver.began, driver.session))


def living_sessions(drivers: list[Driver], now: float) -> set[str]:
    """Return the sessions that may still be alive: those heard of within a day, however long ago they began."""
    return {driver.session for driver in drivers if driver.is_working and now - driver.heard < STALE_SECONDS}


class Heartbeat:
    """Tells of this driver from here to the end of the `with` block, from a thread of its own.

    `publish` gets every snapshot, to show it elsewhere. A driver that found nothing to do leaves no trace.
    """

    def __init__(
        self,
        folder: RunFolder,
        session: str,
        shard: Shard,
        meter: Meter,
        publish: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:
        now = time.time()
        self.folder, self.meter, self.publish = folder, meter, publish
        self.driver = Driver(session, socket.gethostname(), os.getpid(), str(shard), "working", now, now, {})
        self._lines: list[str] = []
        self._num_files = self._num_beats = 0
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._beat_until_stopped, name="heartbeat", daemon=True)

    def __enter__(self) -> "Heartbeat":
        self._beat()
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stopped.set()
        self._thread.join()
        state = "done" if error is None else "interrupted" if isinstance(error, KeyboardInterrupt) else "failed"
        if not self.meter.num_segments and (error is None or isinstance(error, UserError)):
            self._forget()
        else:
            self._beat(state, None if error is None else _reason(error))

    def _beat_until_stopped(self) -> None:
        while not self._stopped.wait(HEARTBEAT_SECONDS):
            self._beat()

    def _beat(self, state: str = "working", reason: str | None = None) -> None:
        snapshot = self.meter.snapshot()
        self.driver = replace(self.driver, state=state, heard=time.time(), progress=snapshot, reason=reason)
        if self.publish:
            self.publish(snapshot)
        try:
            self.folder.commit_json(f"drivers/{self.driver.session}.json", asdict(self.driver))
            if self._num_beats % LOG_BEATS == 0 or state != "working":
                self._log()
        except _commit_errors() as error:
            # Whether the run can go on its segments' own commits decide; the next heartbeat tries again.
            logger.warning("%s: this driver's heartbeat could not be written (%s)", self.folder.root, error)
        self._num_beats += 1

    def _log(self) -> None:
        if len(self._lines) >= LOG_LINES:
            self._lines, self._num_files = [], self._num_files + 1
        self._lines.append(json.dumps(asdict(self.driver), ensure_ascii=False, allow_nan=False) + "\n")
        path = self.folder.path("log", self.driver.session, f"{self._num_files:05d}.jsonl")
        self.folder.commit(path, "".join(self._lines).encode())

    def _forget(self) -> None:
        session = self.driver.session
        try:
            self.folder.remove(self.folder.path("drivers", f"{session}.json"))
            if self.folder.exists("log", session):
                self.folder.remove_folder(self.folder.path("log", session))
        except _commit_errors() as error:
            logger.warning("%s: drivers/%s.json could not be removed (%s)", self.folder.root, session, error)


def _commit_errors() -> tuple[type[Exception], ...]:
    """Return what a commit raises; a full disk is told as a UserError."""
    return (*store_errors(), UserError)


def _reason(error: BaseException) -> str:
    return named_line(error)[:MAX_REASON_LENGTH]
