"""A watchdog over reading and decoding: a process that makes no progress for too long is ended.

A demuxer or decoder hangs in C, where no exception reaches it; only the end of its process does. Progress is another
packet, or another picture of a folder: however long a file is, the next one comes within seconds, or never.
"""

import faulthandler
import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from threading import Event, Thread

# The note of why may itself hang, on a store that does not answer; then the process ends without it.
NOTE_SECONDS = 60
_TICK_SECONDS = 1.0


class _Watch:
    """Counts progress, so that a process that is stopped or starved meanwhile is not taken for one that hangs."""

    def __init__(self) -> None:
        self.steps = 0
        self.is_over = Event()


_watch: ContextVar[_Watch | None] = ContextVar("_watch", default=None)


def note_progress() -> None:
    """Tell the watchdog, where there is one, that reading goes on."""
    watch = _watch.get()
    if watch is not None:
        watch.steps += 1


@contextmanager
def ending_hangs(timeout_seconds: float, note: Callable[[str], None]) -> Iterator[None]:
    """End this process where nothing of what the block reads makes progress for `timeout_seconds`.

    Before, `note` is called with the reason in words, in another thread.
    """
    watch = _Watch()
    thread = Thread(target=_end_at_standstill, args=(watch, timeout_seconds, note), daemon=True)
    token = _watch.set(watch)
    thread.start()
    try:
        yield
    finally:
        _watch.reset(token)
        watch.is_over.set()
        thread.join()


def _end_at_standstill(watch: _Watch, timeout_seconds: float, note: Callable[[str], None]) -> None:
    tick = min(_TICK_SECONDS, timeout_seconds / 4)
    idle_seconds, steps = 0.0, 0
    while not watch.is_over.wait(tick):
        idle_seconds = idle_seconds + tick if watch.steps == steps else 0.0
        steps = watch.steps
        if idle_seconds >= timeout_seconds:
            faulthandler.dump_traceback_later(NOTE_SECONDS, exit=True)
            try:
                note(f"hung: no packet or picture could be read or decoded for {timeout_seconds:g} s")
            finally:
                os.kill(os.getpid(), signal.SIGKILL)
