"""Catalogues of videos that are nowhere, for tests of what is planned of them."""

from collections.abc import Mapping
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np

from raypipe.config.run import RunConfig
from raypipe.datasets.folder import Video
from raypipe.extraction.catalog import Entry, write_catalogue
from raypipe.run_folder.folder import DeadLetter, RunFolder
from raypipe.run_folder.record import claim_run_folder
from raypipe.video.index import VideoIndex
from tests.helpers.small_data import make_config

# A frame is 12 kB, so that this much holds 100.
SEGMENT_BYTES = 2**20 + 2**18


def make_entries(lengths: Mapping[str, int | None]) -> list[Entry]:
    """Return a catalogue of videos of 80x50 pixels by their lengths in frames; None is one that cannot be read."""
    entries = []
    for video_id, length in lengths.items():
        video = Video(video_id, f"/nowhere/{video_id}.mp4", "test", 1, False)
        if length is None:
            entries.append(Entry(video, None, DeadLetter(video_id, 0, "probe", "CorruptVideoError", "no moov")))
        else:
            pts, first = np.arange(length), np.zeros(1, np.int64)
            entries.append(Entry(video, VideoIndex(80, 50, 0, 25.0, "h264", Fraction(1, 25), pts, first, first)))
    return entries


def catalogue_config(output: str = "/out", **changes: Any) -> RunConfig:
    """Return the config of a run that cuts such videos into segments of 100 frames at most."""
    settings = {"detector": {"kind": "sliding_window"}, "segment_bytes": SEGMENT_BYTES, "warmup_frames": 16}
    return make_config(Path("/nowhere"), Path(output), **(settings | changes))


def write_run(root: str, lengths: Mapping[str, int | None]) -> tuple[RunFolder, RunConfig]:
    """Write the folder of a run that has looked at its videos, and done none of them."""
    folder, config = RunFolder(root), catalogue_config(root)
    entries = make_entries(lengths)
    claim_run_folder(
        folder,
        config=config.model_dump(mode="json"),
        feature_keys=config.flat_features(),
        config_hash=config.feature_hash(),
        versions={},
        catalogue_hash="c",
    )
    write_catalogue(folder, entries)
    for entry in entries:
        if entry.failure:
            folder.commit_dead(entry.failure)
    return folder, config
