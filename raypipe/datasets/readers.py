"""Reads a data set, whichever it is: its videos, splits and labels."""

from collections import Counter
from collections.abc import Callable
from dataclasses import replace

from raypipe.datasets.avenue import read_avenue
from raypipe.datasets.folder import Listing, read_folder
from raypipe.datasets.nwpu_campus import read_nwpu_campus
from raypipe.datasets.ped2 import read_ped2
from raypipe.datasets.shanghaitech import read_shanghaitech
from raypipe.datasets.specs import DatasetName
from raypipe.datasets.ubnormal import read_ubnormal
from raypipe.datasets.ucf_crime import read_ucf_crime
from raypipe.datasets.xd_violence import read_xd_violence

READERS: dict[DatasetName, Callable[[str], Listing]] = {
    "folder": read_folder,
    "ucf_crime": read_ucf_crime,
    "xd_violence": read_xd_violence,
    "shanghaitech": read_shanghaitech,
    "avenue": read_avenue,
    "ubnormal": read_ubnormal,
    "nwpu_campus": read_nwpu_campus,
    "ped2": read_ped2,
}


def read_dataset(name: DatasetName, root: str, *, abnormal_training: bool = False) -> Listing:
    """Return the videos, splits and labels of the data set `name` below `root`, a path or URI.

    Videos of the split `train_abnormal` are listed only with `abnormal_training`, those of `validation` never. Raises
    UserError where the folder does not hold the data set, or its annotations make no sense.
    """
    listing = READERS[name](root)
    counts = Counter(video.split for video in listing.videos)
    wanted, notes = {"train", "test"}, list(listing.notes)
    if abnormal_training:
        wanted.add("train_abnormal")
    elif counts["train_abnormal"]:
        hint = "dataset.abnormal_training extracts their features"
        notes.append(f"abnormal training videos, left out: {counts['train_abnormal']:,} ({hint})")
    if counts["validation"]:
        notes.append(f"validation videos, left out: {counts['validation']:,}")
    videos = tuple(video for video in listing.videos if video.split in wanted)
    return replace(listing, videos=videos, notes=tuple(notes))
