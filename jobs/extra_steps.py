"""Steps that benchmarks and tests put among those of a segment: they watch, or break something on purpose."""

import os
from pathlib import Path
from typing import Any


class NoteActor:
    """Notes, as an empty file, which process did a segment."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row as it came."""
        (self.folder / f"{os.getpid()}-{row['video_id'].replace('/', '_')}-{row['segment_index']}").touch()
        return row
