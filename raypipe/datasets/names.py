"""The data sets that `dataset.name` takes. Importing this is light, so the command line can name them."""

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from raypipe.config import DatasetConfig
    from raypipe.datasets.folder import Listing

DatasetName = Literal["folder", "ucf_crime", "xd_violence", "shanghaitech", "avenue", "ubnormal", "nwpu_campus", "ped2"]
DATASET_NAMES: tuple[DatasetName, ...] = get_args(DatasetName)

# Frames a second of videos that are folders of images, where the config does not say. Those of ShanghaiTech, Avenue and
# NWPU Campus are their videos' own (NWPU: 1,466,073 frames in 16.3 h), UBnormal's is that of the official statistics
# script, XD-Violence's that of its annotation; UCF-Crime's and Ped2's are those commonly given.
FRAMES_FPS: dict[DatasetName, float] = {
    "folder": 25.0,
    "ucf_crime": 30.0,
    "xd_violence": 24.0,
    "shanghaitech": 24.0,
    "avenue": 25.0,
    "ubnormal": 30.0,
    "nwpu_campus": 25.0,
    "ped2": 10.0,
}
# Data sets that have abnormal videos in their training set, known by the video alone.
WITH_ABNORMAL_TRAINING: tuple[DatasetName, ...] = ("ucf_crime", "xd_violence", "ubnormal")


def read_dataset(config: "DatasetConfig") -> "Listing":
    """Return the videos, splits and labels of the data set that a config names.

    Videos of the split `train_abnormal` are listed only where the config asks for them, those of `validation` never.
    Raises UserError where the folder does not hold the data set, or its annotations make no sense.
    """
    from raypipe.datasets.readers import READERS

    listing = READERS[config.name](config.root)
    counts = Counter(video.split for video in listing.videos)
    wanted, notes = {"train", "test"}, list(listing.notes)
    if config.abnormal_training:
        wanted.add("train_abnormal")
    elif counts["train_abnormal"]:
        hint = "dataset.abnormal_training extracts their features"
        notes.append(f"abnormal training videos, left out: {counts['train_abnormal']:,} ({hint})")
    if counts["validation"]:
        notes.append(f"validation videos, left out: {counts['validation']:,}")
    videos = tuple(video for video in listing.videos if video.split in wanted)
    return replace(listing, videos=videos, notes=tuple(notes))
