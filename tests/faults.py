"""Steps that kill their own process, for the tests of what happens then."""

import os
import signal
from pathlib import Path
from typing import Any


class DieOn:
    """Kill the process at a segment, the first `times` times that it comes (counted by files in `folder`)."""

    def __init__(self, folder: str, video_id: str, segment_index: int, times: int) -> None:
        self.folder, self.place, self.times = Path(folder), (video_id, segment_index), times

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        if (row["video_id"], row["segment_index"]) == self.place:
            deaths = len(list(self.folder.iterdir()))
            if deaths < self.times:
                (self.folder / str(deaths)).touch()
                os.kill(os.getpid(), signal.SIGKILL)
        return row


def break_in_epoch_2(settings: dict[str, Any]) -> None:
    """Stand in for `train_worker.train_loop`: training breaks when its third epoch begins."""
    from raypipe import train_worker

    annealing = train_worker.annealing

    def break_down(epoch: int, epochs: int) -> float:
        if epoch == 2:
            raise RuntimeError("broken in epoch 2")
        return annealing(epoch, epochs)

    train_worker.annealing = break_down
    train_worker.train_loop(settings)


# Where in `RunFolder.commit` a process may die, in order.
COMMIT_STEPS = ("before the write", "before the fsync", "before the rename", "after the rename", "after the commit")


def die_in_commit(number: int, step: str) -> None:
    """Make this process kill itself at a step of the `number`-th commit from now on, counted from 0."""
    from raypipe.storage import RunFolder

    commit, fsync, replace = RunFolder.commit, os.fsync, Path.replace
    counts = {"commits": -1}

    def here(at: str) -> None:
        if at == step and counts["commits"] == number:
            os.kill(os.getpid(), signal.SIGKILL)

    def counted_commit(self: RunFolder, path: str, content: bytes) -> None:
        counts["commits"] += 1
        here("before the write")
        commit(self, path, content)
        here("after the commit")

    def counted_fsync(descriptor: int) -> None:
        here("before the fsync")
        fsync(descriptor)

    def counted_replace(self: Path, target: Path) -> Path:
        here("before the rename")
        result = replace(self, target)
        here("after the rename")
        return result

    RunFolder.commit = counted_commit  # type: ignore[method-assign]
    os.fsync = counted_fsync
    Path.replace = counted_replace  # type: ignore[method-assign,assignment]


class DieInCommit:
    """Before a segment is committed, arrange the death of its process at a step of that; once for each segment."""

    def __init__(self, folder: str, steps: dict[tuple[str, int], str]) -> None:
        self.folder, self.steps = Path(folder), steps

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        place = (row["video_id"], row["segment_index"])
        mark = self.folder / f"{place[0].replace('/', '_')}-{place[1]}"
        if place in self.steps and not mark.exists():
            mark.touch()
            die_in_commit(0, self.steps[place])
        return row
