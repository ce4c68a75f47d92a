"""A listing while a reader makes it: what was found, labelled, missed and repaired."""

from collections import Counter
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field

from raypipe.datasets.annotations import read_lines
from raypipe.datasets.listing import Listing, Video, joined_note, some
from raypipe.datasets.tree import Found, Tree, without_suffix
from raypipe.datasets.video_names import id_of
from raypipe.errors import UserError
from raypipe.ops.intervals import Interval, join, overlaps


@dataclass
class Draft:
    """A listing in the making; `notes` are shown to the user as they are."""

    tree: Tree
    videos: dict[str, Video] = field(default_factory=dict)
    labels: dict[str, list[Interval]] = field(default_factory=dict)
    label_frames: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    missing: list[str] = field(default_factory=list)
    _used: set[str] = field(default_factory=set)
    _overlapping: list[str] = field(default_factory=list)

    def add(self, found: Found, video_id: str, split: str, class_name: str = "", scene: str = "") -> None:
        """Add a video. Raises UserError where there is one of that id."""
        video_id = id_of(video_id)
        if video_id in self.videos:
            raise UserError(f"{self.videos[video_id].uri} and {found.path} are both the video {video_id!r}. Keep one.")
        self.videos[video_id] = self.tree.video(found, video_id, split, class_name, scene)
        self._used.add(found.path)

    def found_in(self, *folders: str) -> dict[str, Found]:
        """Return the videos in any of `folders` by name; of one that is there twice the first is taken, and noted."""
        chosen, doubled = self.tree.videos_in(*folders)
        if doubled:
            self._used.update(found.path for found in doubled)
            names = some([found.path for found in doubled])
            self.notes.append(f"videos that are there a second time, left out: {len(doubled):,} ({names})")
        return chosen

    def names(self, pattern: str, title: str) -> list[str]:
        """Return the videos that a split list names, a line each, without their extensions.

        One that is named twice counts once, and is noted. Raises UserError where the list is not there.
        """
        relative = self.tree.document(pattern, title)
        lines = read_lines(self.tree, relative, self.notes)
        names = [without_suffix(line.replace("\\", "/")) for _, line in lines]
        twice = [name for name, count in Counter(names).items() if count > 1]
        if twice:
            self.notes.append(f"videos that {relative} names more than once: {len(twice)} ({some(twice)})")
        return list(dict.fromkeys(names))

    def label(self, video_id: str, intervals: Iterable[Interval], where: str, num_frames: int | None = None) -> None:
        """Set a video's abnormal intervals, and how many frames its labels cover if they say.

        Intervals that overlap are joined, and noted. Raises UserError, naming `where`, on one that is reversed or
        starts before the video.
        """
        video_id, intervals = id_of(video_id), list(intervals)
        for start, stop in intervals:
            if not 0 <= start < stop:
                raise UserError(f"{where}: {video_id}: frames {start} to {stop} are not an interval (end exclusive)")
        if overlaps(intervals):
            self._overlapping.append(video_id)
        if intervals:
            self.labels[video_id] = join(intervals)
        if num_frames is not None:
            self.label_frames[video_id] = num_frames

    def listing(self, title: str, label_source: str, expected: str, ignored: Collection[str] = ()) -> Listing:
        """Return the finished listing, sorted by id.

        `ignored` are relative paths of what looks like a video and belongs to the annotations. Raises UserError, saying
        what was `expected`, where no video was found.
        """
        if not self.videos:
            raise UserError(f"dataset.root: {self.tree.root} holds no video of {title}. Expected {expected}.")
        extra = sorted(
            path for path, found in self.tree.videos.items() if found.path not in self._used and path not in ignored
        )
        notes = [*self.notes, *self.tree.notes()]
        for text, names in (
            ("videos that lists or labels name and that are missing", self.missing),
            ("videos in no split, left out", extra),
        ):
            if names:
                notes.append(f"{text}: {len(names):,} ({some(names)})")
        if self._overlapping:
            notes.append(joined_note(self._overlapping))
        return Listing(
            videos=tuple(self.videos[video_id] for video_id in sorted(self.videos)),
            labels=self.labels,
            label_frames=self.label_frames,
            notes=tuple(notes),
            missing=tuple(self.missing),
            extra=tuple(extra),
            label_source=label_source,
        )
