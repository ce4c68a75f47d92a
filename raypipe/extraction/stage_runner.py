"""Runs a pool's stages on a segment's row: times, dead letters for data errors, and deaths of the process."""

import time
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Protocol, runtime_checkable

from raypipe.errors import DataError, UserError
from raypipe.monitoring.ray_metrics import StageMetrics
from raypipe.pipeline import Stage
from raypipe.run_folder.folder import DeadLetter, RunFolder, letter_of_deaths
from raypipe.video.watchdog import ending_hangs


@runtime_checkable
class MayHang(Protocol):
    """A stage whose process is ended where it makes no progress for `timeout_seconds`."""

    timeout_seconds: float


@runtime_checkable
class Committing(Protocol):
    """A stage that commits a segment, and knows what an earlier attempt has committed."""

    def find_committed(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """Return the row that the commit returned, None where the segment is not committed."""


class StageRunner:
    """Run consecutive stages on a row, keep each one's time, and turn a data error into a dead letter.

    This is the one place where data errors are caught. A row that is dead passes through the stages that are left.
    """

    def __init__(
        self,
        stages: Sequence[Stage],
        folder: RunFolder,
        session: str,
        max_attempts: int,
        group: int,
    ) -> None:
        self.stages: list[tuple[str, Any]] = []
        # Why the stages cannot be made, which is told by the first row.
        self.refusal: str | None = None
        try:
            self.stages = [(stage.name, stage.make(*stage.arguments)) for stage in stages]
        except UserError as error:
            self.refusal = str(error)
        self.folder = folder
        # Counted in each pool, because Ray repeats a row only in the pool whose process died.
        self.session = f"{session}/{group}"
        self.max_attempts = max_attempts
        self.metrics = StageMetrics(session)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row after the stages, `seconds_<stage>` added; or what is left of a dead or refused row.

        Ray would wrap what is raised here in its own exceptions, so a user's mistake (a full disk, weights that cannot
        be loaded) goes as a row.
        """
        if row.get("is_dead") or row.get("refusal"):
            return row
        if self.refusal is not None:
            return _left_of(row) | {"refusal": self.refusal}
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
            names = "-".join(name for name, _ in self.stages)
            return self._bury(row, letter_of_deaths(self.folder, self.session, place, names, self.max_attempts))
        for name, stage in self.stages:
            self.metrics.begin(name)
            started = time.perf_counter()
            seconds = {key: value for key, value in row.items() if key.startswith("seconds_")}
            try:
                with self._watched(stage, place):
                    row = stage(row)
            except DataError as error:
                return self._bury(row, DeadLetter(*place, name, type(error).__name__, str(error)))
            row = seconds | row | {f"seconds_{name}": time.perf_counter() - started}
            self.metrics.end(name, row["stop_frame"] - row["start_frame"], row[f"seconds_{name}"])
        return row

    def _find(self, row: dict[str, Any]) -> dict[str, Any] | None:
        """Return what an earlier attempt has committed, in the pool that commits."""
        found = (stage.find_committed(row) for _, stage in self.stages if isinstance(stage, Committing))
        return next(filter(None, found), None)

    def _watched(self, stage: Any, place: tuple[str, int]) -> AbstractContextManager[None]:
        """Return what ends this process where the stage hangs, if it is one that may."""
        if not isinstance(stage, MayHang):
            return nullcontext()
        return ending_hangs(stage.timeout_seconds, partial(self.folder.note_hang, self.session, *place))

    def _bury(self, row: dict[str, Any], letter: DeadLetter) -> dict[str, Any]:
        self.metrics.bury(letter.stage)
        self.folder.commit_dead(letter)
        return _left_of(row) | {"is_dead": True}


def _left_of(row: dict[str, Any]) -> dict[str, Any]:
    left = {name: row[name] for name in ("video_id", "segment_index", "start_frame", "stop_frame")}
    return left | {"num_frames": 0, "num_objects": 0}
