"""Figures of a run under way to MLflow, from a thread of their own: a slow server must not hold up what they are of."""

import queue
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress

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
