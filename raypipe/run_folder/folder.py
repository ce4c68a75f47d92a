"""The run folder: where everything of a run lies, and the commit protocol that makes it exactly once.

    run.json                                what was run: config and its hash, versions, catalogue hash
    catalogue.jsonl                         one probed video per line, those that are gone too
    changes.json                            what a start found changed in the data last
    features/<video_id>/<segment>.parquet   one file = one committed segment
    dead/<video_id>/<segment>.json          what could not be done, and why
    attempts/<session>/<video_id>/<segment> how often a segment was begun by the session's driver; .hung: what hung
    drivers/<session>.json, log/<session>/  how far the session's driver is, and was
    digests.json                            what the features hold, by content; see `digests.py`
    scores/<video_id>.parquet, models/, results.json; of a variation below variations/<name>/

The folder is a local path or any fsspec URI. A commit replaces the whole file in one step, names depend on the
video and the segment only, and the same input gives the same bytes: repeating an attempt changes nothing.
"""

import hashlib
import json
import logging
import os
import re
import time
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from urllib.parse import quote, unquote

from raypipe.credentials import without_credentials
from raypipe.run_folder.store import Store, store_errors

logger = logging.getLogger(__name__)

STALE_SECONDS = 24 * 3600.0
# Of the 255 bytes that file systems allow a name, what the longest ending of ours (.parquet) leaves.
MAX_NAME_BYTES = 255 - len(".parquet")


@dataclass(frozen=True)
class DeadLetter:
    """What could not be processed: the step that failed and the reason in words."""

    video_id: str
    segment_index: int
    stage: str
    error_type: str
    message: str
    attempts: int = 1


def escape(video_id: str) -> str:
    """Return a video id as a relative path that stays below its folder, reversibly (see `unescape`).

    Readable names stay as they are; separators that are not "/", control characters, "%", "=" (a partition
    to Parquet readers), and components that are empty or start with a dot are percent-encoded.
    """

    def component(name: str) -> str:
        name = re.sub(r'[\x00-\x1f\x7f%=\\:*?"<>|]', lambda match: quote(match[0], safe=""), name)
        return "%2E" + name[1:] if name.startswith(".") else name or "%"

    return "/".join(component(name) for name in video_id.split("/"))


def fitting(name: str, max_bytes: int = MAX_NAME_BYTES) -> str:
    """Return a name that takes at most `max_bytes` once it is escaped; a longer one is cut, and ends in its hash.

    A name that fits stays as it is, as does what this returned.
    """
    if len(escape(name).encode()) <= max_bytes:
        return name
    tail = "~" + hashlib.sha256(name.encode()).hexdigest()[:12]
    room = max_bytes - len(tail)
    # A character takes a byte at least, and escaping makes no name shorter.
    kept = name[:room]
    while kept and len(escape(kept).encode()) > room:
        kept = kept[:-1]
    return kept + tail


def unescape(path: str) -> str:
    """Return the video id that `escape` turned into `path`."""
    return "/".join("" if name == "%" else unquote(name) for name in path.split("/"))


def new_session() -> str:
    """Return a name for one start of a driver; its first part is the time, so that stale ones are known."""
    return f"{int(time.time())}-{uuid.uuid4().hex[:8]}"


@dataclass(frozen=True)
class RunFolder(Store):
    """A run's folder. Cheap to send to another process.

    With a `variation`, what is made of the features lies in a folder of its own, so that several models can have their
    results beside one another over the same features.
    """

    variation: str | None = None

    def feature_path(self, video_id: str, segment_index: int) -> str:
        """Return the path of a segment's committed features."""
        return self.path("features", escape(video_id), f"{segment_index:05d}.parquet")

    def dead_path(self, video_id: str, segment_index: int) -> str:
        """Return the path of a segment's dead letter."""
        return self.path("dead", escape(video_id), f"{segment_index:05d}.json")

    def score_path(self, video_id: str) -> str:
        """Return the path of a video's frame scores."""
        return self.path(self.product("scores"), f"{escape(video_id)}.parquet")

    def product(self, name: str) -> str:
        """Return the name below the folder of something that is made of the features, as models and results are."""
        return name if self.variation is None else f"variations/{self.variation}/{name}"

    def _segments_below(self, kind: str, suffix: str) -> dict[str, set[int]]:
        found: dict[str, set[int]] = {}
        for video, names in self._names_below(kind):
            stems = (name.removesuffix(suffix) for name in names if name.endswith(suffix))
            indices = {int(stem) for stem in stems if stem.isdigit()}
            if indices:
                found.setdefault(unescape(video), set()).update(indices)
        return found

    def _names_below(self, kind: str) -> Iterator[tuple[str, list[str]]]:
        """Yield every folder below `kind`, relative to it, and the names of its files."""
        base = self.path(kind)
        if self.is_local:
            # Hundreds of thousands of files, of which `find` would ask the size, too.
            for folder, _, names in os.walk(base, followlinks=True):
                yield folder[len(base) + 1 :], names
            return
        folders: dict[str, list[str]] = defaultdict(list)
        for path in self.filesystem.find(base):
            folder, _, name = path[len(base) + 1 :].rpartition("/")
            folders[folder].append(name)
        yield from folders.items()

    def committed(self) -> dict[str, set[int]]:
        """Return the indices of the committed segments of each video."""
        return self._segments_below("features", ".parquet")

    def dead(self) -> dict[str, set[int]]:
        """Return the indices of the dead-lettered segments of each video."""
        return self._segments_below("dead", ".json")

    def commit_dead(self, letter: DeadLetter) -> None:
        """Record what could not be done."""
        fields = asdict(letter) | {"message": without_credentials(letter.message)}
        content = json.dumps(fields, indent=2, ensure_ascii=False) + "\n"
        self.commit(self.dead_path(letter.video_id, letter.segment_index), content.encode())

    def read_dead(self) -> list[DeadLetter]:
        """Return all dead letters, in the order of their videos and segments."""
        places = [(video, index) for video, indices in self.dead().items() for index in indices]
        contents = self.read_each([self.dead_path(*place) for place in sorted(places)])
        return [DeadLetter(**json.loads(content)) for content in contents]

    def clear_dead(self, places: Collection[tuple[str, int]] | None = None) -> int:
        """Forget the dead letters of these videos and segments, or all, so that they are tried again; return how many.

        File by file, because a folder may be where another driver is just writing.
        """
        dead = {(video, index) for video, indices in self.dead().items() for index in indices}
        gone = dead if places is None else dead & set(places)
        for place in gone:
            self.remove(self.dead_path(*place))
        return len(gone)

    def begin_attempt(self, session: str, video_id: str, segment_index: int) -> int:
        """Note that a segment is begun and return how often it was, this time included.

        Counted per session: a process that dies under a living driver may have died of its segment; one that died
        with its driver did not.
        """
        path = self.path("attempts", session, escape(video_id), f"{segment_index:05d}")
        try:
            attempt = int(self.filesystem.cat_file(path)) + 1
        except FileNotFoundError:
            attempt = 1
        self.commit(path, str(attempt).encode())
        return attempt

    def note_hang(self, session: str, video_id: str, segment_index: int, reason: str) -> None:
        """Note, beside the attempts at a segment, why its process is about to be ended."""
        self.commit(self._hang_path(session, video_id, segment_index), reason.encode())

    def read_hang(self, session: str, video_id: str, segment_index: int) -> str | None:
        """Return what `note_hang` noted last in this session, None where nothing was."""
        try:
            return str(self.filesystem.cat_file(self._hang_path(session, video_id, segment_index)).decode())
        except FileNotFoundError:
            return None

    def _hang_path(self, session: str, video_id: str, segment_index: int) -> str:
        return self.path("attempts", session, escape(video_id), f"{segment_index:05d}.hung")

    def end_session(self, session: str) -> None:
        """Remove what a driver's session leaves behind; what somebody is still writing is left to `sweep`."""
        try:
            if self.exists("attempts", session):
                self.remove_folder(self.path("attempts", session))
        except store_errors() as error:
            logger.info("%s: attempts/%s is not removed yet (%s)", self.root, session, error)

    def sweep(self, living: Collection[str] = ()) -> None:
        """Remove what sessions that were killed more than a day ago left behind; those that live are named.

        Another driver may be sweeping at the same time.
        """
        limit = time.time() - STALE_SECONDS
        if self.exists("attempts"):
            for path in self.filesystem.ls(self.path("attempts"), detail=False):
                session = path.rstrip("/").rpartition("/")[2]
                started = session.partition("-")[0]
                if started.isdigit() and int(started) < limit and session not in living:
                    with suppress(FileNotFoundError):
                        self.remove_folder(path)
        folder = Path(self.path("tmp"))
        if self.is_local and folder.is_dir():
            for temporary in folder.iterdir():
                with suppress(FileNotFoundError):
                    if temporary.stat().st_mtime < limit:
                        temporary.unlink()


def letter_of_deaths(
    folder: RunFolder, session: str, place: tuple[str, int], stage: str, max_attempts: int
) -> DeadLetter:
    """Return the dead letter of what killed its process every time; that of one that hung says so."""
    hang = folder.read_hang(session, *place)
    if hang is not None:
        message = f"{hang} (decode.timeout_seconds), and its process was ended; {max_attempts} attempts"
        return DeadLetter(*place, stage, "hung", message, max_attempts)
    message = f"its process died {max_attempts} times; the segment may exhaust memory or crash a codec"
    return DeadLetter(*place, stage, "crashed", message, max_attempts)
