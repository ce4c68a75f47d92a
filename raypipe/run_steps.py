"""Runs the steps of a pool on a segment's row: their times, dead letters for data errors, and deaths of the process."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any

from raypipe.errors import DataError, UserError
from raypipe.ray_metrics import StageMetrics
from raypipe.storage import DeadLetter, RunFolder
from raypipe.video.watchdog import ending_hangs


class RunSteps:
    """Run consecutive steps on a row, keep each one's time, and turn a data error into a dead letter.

    This is the one place where data errors are caught. A row that is dead passes through the steps that are left.
    """

    def __init__(
        self,
        steps: Sequence[tuple[str, type, tuple[Any, ...]]],
        folder: RunFolder,
        session: str,
        max_attempts: int,
        group: int,
    ) -> None:
        self.steps = [(name, step(*arguments)) for name, step, arguments in steps]
        self.folder = folder
        # Counted in each pool, because Ray repeats a row only in the pool whose process died.
        self.session = f"{session}/{group}"
        self.max_attempts = max_attempts
        self.metrics = StageMetrics(session)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row after the steps, `seconds_<step>` added; or what is left of a dead or refused row.

        Ray would wrap what is raised here in its own exceptions, so a user's mistake (a full disk) goes as a row.
        """
        if row.get("is_dead") or row.get("refusal"):
            return row
        try:
            return self._do(row)
        except UserError as error:
            return _left_of(row) | {"refusal": str(error)}

    def _do(self, row: dict[str, Any]) -> dict[str, Any]:
        place = (row["video_id"], row["segment_index"])
        attempt = self.folder.begin_attempt(self.session, *place)
        # A process that died after the commit, of whatever, has left all that is wanted.
        done = self._find(row) if attempt > 1 else None
        if done is not None:
            return done
        if attempt > self.max_attempts:
            stage = "-".join(name for name, _ in self.steps)
            return self._bury(row, letter_of_deaths(self.folder, self.session, place, stage, self.max_attempts))
        for name, step in self.steps:
            self.metrics.begin(name)
            started = time.perf_counter()
            seconds = {key: value for key, value in row.items() if key.startswith("seconds_")}
            try:
                with self._watched(step, place):
                    row = step(row)
            except DataError as error:
                return self._bury(row, DeadLetter(*place, name, type(error).__name__, str(error)))
            row = seconds | row | {f"seconds_{name}": time.perf_counter() - started}
            self.metrics.end(name, row["stop_frame"] - row["start_frame"], row[f"seconds_{name}"])
        return row

    def _find(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """Return what an earlier attempt has committed, in the pool that commits."""
        finders = [step.find_committed for _, step in self.steps if hasattr(step, "find_committed")]
        return next(filter(None, (find(row) for find in finders)), None)

    def _watched(self, step: Any, place: tuple[str, int]) -> AbstractContextManager[None]:
        """Return what ends this process where the step hangs, if it is one that may."""
        timeout_seconds = getattr(step, "timeout_seconds", None)
        if timeout_seconds is None:
            return nullcontext()
        return ending_hangs(timeout_seconds, partial(self.folder.note_hang, self.session, *place))

    def _bury(self, row: dict[str, Any], letter: DeadLetter) -> dict[str, Any]:
        self.metrics.bury(letter.stage)
        self.folder.commit_dead(letter)
        return _left_of(row) | {"is_dead": True}


def _left_of(row: dict[str, Any]) -> dict[str, Any]:
    left = {name: row[name] for name in ("video_id", "segment_index", "start_frame", "stop_frame")}
    return left | {"num_frames": 0, "num_objects": 0}


def letter_of_deaths(
    folder: RunFolder, session: str, place: tuple[str, int], stage: str, max_attempts: int
) -> DeadLetter:
    """Return the dead letter of what killed its process every time; that of one that hung says so."""
    hang = folder.read_hang(session, *place)
    if hang is not None:
        message = f"{hang} (decode.timeout_seconds), and its process was ended; {max_attempts} attempts"
        return DeadLetter(*place, stage, "hung", message, max_attempts)
    message = f"its process died {max_attempts} times; the segment may exhaust memory or crash a codec"
    return DeadLetter(*place, stage, "crashed", message, max_attempts)
