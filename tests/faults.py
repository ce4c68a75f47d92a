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
