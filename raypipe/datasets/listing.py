"""What a reader of a data set returns: its videos, their splits and labels, and what had to be said about them."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field

from raypipe.ops.intervals import Interval

NUM_SHOWN = 3
# `class_name` of a video that shows nothing abnormal.
NORMAL_CLASS = "normal"


@dataclass(frozen=True)
class Video:
    """A video of the data set: where it is and which split it belongs to.

    `split` is "train" (normal), "test", or of public data sets "train_abnormal", whose videos are never trained on, or
    "validation". `class_name` is the kind of anomaly that it shows ("normal" for none) and `scene` the camera or place,
    both empty where the data set does not tell. A file that is written again has another `stamp`, and so have its boxes
    (see `datasets.stamps`); it is empty where a store tells no stamp.
    """

    video_id: str
    uri: str
    split: str
    num_bytes: int
    is_frames: bool
    boxes_bytes: int = 0
    class_name: str = ""
    scene: str = ""
    stamp: str = ""
    boxes_stamp: str = ""


@dataclass(frozen=True)
class Listing:
    """What a data set holds: its videos, and the abnormal intervals of those that have any.

    `labels` is None where the data set says nothing of labels; a video without an entry is all normal. `label_frames`
    says how many frames the labels of a video cover, where they are given frame by frame. `missing` are videos that
    lists or labels name and the folder lacks, `extra` paths of videos that no split names; `num_ignored` counts those
    that no note speaks of. `notes` tell what was left out, repaired, or is doubtful. `label_source` names the labels.
    """

    videos: tuple[Video, ...]
    labels: dict[str, list[Interval]] | None
    num_ignored: int = 0
    label_frames: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    extra: tuple[str, ...] = ()
    label_source: str = ""


def some(names: Sequence[str] | Collection[str]) -> str:
    """Return the first few names, with dots if there are more."""
    listed = list(names)
    return ", ".join(listed[:NUM_SHOWN]) + (", ..." if len(listed) > NUM_SHOWN else "")


def joined_note(names: Sequence[str]) -> str:
    """Return the note about videos whose intervals overlapped."""
    return f"videos whose intervals overlap, joined: {len(names):,} ({some(names)})"
