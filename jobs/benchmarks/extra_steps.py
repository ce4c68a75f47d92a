"""Steps that benchmarks and tests put among those of a segment: they watch, or break something on purpose."""

import errno
import os
import signal
from pathlib import Path
from typing import Any

from raypipe.config.stages import DecodeConfig
from raypipe.stages.decode import DecodeFrames

Place = tuple[str, int]


class NoteActor:
    """Notes, as an empty file, which process did a segment."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row as it came."""
        (self.folder / f"{os.getpid()}-{row['video_id'].replace('/', '_')}-{row['segment_index']}").touch()
        return row


class DieOn:
    """Kill the process at a segment, the first `times` times that it comes (counted by files in `folder`)."""

    def __init__(self, folder: str, video_id: str, segment_index: int, times: int) -> None:
        self.folder, self.place, self.times = Path(folder), (video_id, segment_index), times

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row as it came, if at all."""
        if (row["video_id"], row["segment_index"]) == self.place:
            deaths = len(list(self.folder.iterdir()))
            if deaths < self.times:
                (self.folder / str(deaths)).touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return row


# Where in `Store.commit` a process may die, in order.
COMMIT_STEPS = ("before the write", "before the fsync", "before the rename", "after the rename", "after the commit")


def die_in_commit(number: int, step: str) -> None:
    """Make this process kill itself at a step of the `number`-th commit from now on, counted from 0."""
    from raypipe.run_folder.store import Store

    commit, fsync, replace = Store.commit, os.fsync, Path.replace
    counts = {"commits": -1}

    def here(at: str) -> None:
        if at == step and counts["commits"] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted_commit(self: Store, path: str, content: bytes) -> None:
        counts["commits"] += 1
        here("before the write")
        commit(self, path, content)
        here("after the commit")

    def counted_fsync(descriptor: Any) -> None:
        here("before the fsync")
        fsync(descriptor)

    def counted_replace(self: Path, target: Path) -> Path:
        here("before the rename")
        result = replace(self, target)
        here("after the rename")
        return result

    Store.commit = counted_commit  # type: ignore[method-assign]
    os.fsync = counted_fsync  # type: ignore[assignment]
    Path.replace = counted_replace  # type: ignore[method-assign,assignment]


class DieInCommit:
    """Before a segment is committed, arrange the death of its process at a step of that; once for each segment."""

    def __init__(self, folder: str, steps: dict[tuple[str, int], str]) -> None:
        self.folder, self.steps = Path(folder), steps

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row as it came."""
        place = (row["video_id"], row["segment_index"])
        mark = self.folder / f"{place[0].replace('/', '_')}-{place[1]}"
        if place in self.steps and not mark.exists():
            mark.touch()
            die_in_commit(0, self.steps[place])
        return row


class HangingDecode(DecodeFrames):
    """Decodes as ever, but hangs at some segments the first `times` times: FFmpeg waits for a pipe nobody writes to."""

    def __init__(self, config: DecodeConfig, folder: str, places: list[Place], times: int) -> None:
        super().__init__(config)
        self.folder, self.places, self.times = Path(folder), places, times

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row with its frames, if at all."""
        place = (row["video_id"], row["segment_index"])
        if place not in self.places:
            return super().__call__(row)
        name = f"{place[0].replace('/', '_')}-{place[1]}"
        hangs = len(list(self.folder.glob(f"{name}-*.pipe")))
        if hangs >= self.times:
            return super().__call__(row)
        pipe = self.folder / f"{name}-{hangs}.pipe"
        os.mkfifo(pipe)
        return super().__call__(row | {"uri": str(pipe)})


class FullDiskOn:
    """From a segment on, the disk that this process writes to has no space left."""

    def __init__(self, place: Place) -> None:
        self.place = place

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row as it came."""
        if (row["video_id"], row["segment_index"]) == self.place:
            os.fsync = _no_space  # type: ignore[assignment]
        return row


def _no_space(descriptor: Any) -> None:
    raise OSError(errno.ENOSPC, f"{os.strerror(errno.ENOSPC)} (file {descriptor})")


class FullGpuOn:
    """At some segments the memory of the GPU runs out at a single object."""

    def __init__(self, places: list[Place]) -> None:
        self.places = places

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row as it came. Raises GpuMemoryError at the segments."""
        if (row["video_id"], row["segment_index"]) in self.places:
            # Here, because torch takes seconds, and memory, of every process that imports this module.
            import torch

            from raypipe.models.halving_batches import Batches

            def fail(batch: slice) -> None:
                raise torch.OutOfMemoryError(f"CUDA out of memory. Tried to allocate {batch.stop} GiB")

            list(Batches("encode", "crops", 4).run(4, fail))
        return row
