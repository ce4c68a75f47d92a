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
