"""The run folder: where everything of a run lies, and the commit protocol that makes it exactly once.

    run.json                                what was run: config and its hash, versions, catalogue hash
    catalogue.jsonl                         one probed video per line
    features/<video_id>/<segment>.parquet   one file = one committed segment
    dead/<video_id>/<segment>.json          what could not be done, and why
    attempts/<session>/<video_id>/<segment> how often a segment was begun by the session's driver; .hung: what hung
    drivers/<session>.json, log/<session>/  how far the session's driver is, and was
    scores/<video_id>.parquet, models/, results.json; of a variation below variations/<name>/

The folder is a local path or any fsspec URI. A commit replaces the whole file in one step, names depend on the
video and the segment only, and the same input gives the same bytes: repeating an attempt changes nothing.
"""

import errno
import json
import logging
import os
import re
import shutil
import sys
import tempfile
import time
import uuid
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote

import fsspec

from raypipe.credentials import without_credentials
from raypipe.errors import UserError

logger = logging.getLogger(__name__)

STALE_SECONDS = 24 * 3600.0
# What trying again does not change: no right to write, and files where folders should be.
FORBIDDEN = (errno.EACCES, errno.EPERM, errno.EROFS, errno.EEXIST, errno.ENOTDIR, errno.EISDIR)


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


def unescape(path: str) -> str:
    """Return the video id that `escape` turned into `path`."""
    return "/".join("" if name == "%" else unquote(name) for name in path.split("/"))


def new_session() -> str:
    """Return a name for one start of a driver; its first part is the time, so that stale ones are known."""
    return f"{int(time.time())}-{uuid.uuid4().hex[:8]}"


@dataclass(frozen=True)
class RunFolder:
    """A run's folder; `root` is a local path or an fsspec URI. Cheap to send to another process.

    With a `variation`, what is made of the features lies in a folder of its own, so that several models can have their
    results beside one another over the same features.
    """

    root: str
    variation: str | None = None

    @cached_property
    def _located(self) -> tuple[Any, str]:
        try:
            fs, path = fsspec.core.url_to_fs(self.root)
        except (ValueError, ImportError) as error:
            raise UserError(f"{self.root}: {error}") from error
        return fs, path.rstrip("/")

    @property
    def filesystem(self) -> Any:
        """The fsspec filesystem that holds the folder."""
        return self._located[0]

    @property
    def is_local(self) -> bool:
        """Whether the folder is on a filesystem that this machine mounts."""
        return "file" in (self.filesystem.protocol if isinstance(self.filesystem.protocol, tuple) else ())

    def path(self, *parts: str) -> str:
        """Return a path below the folder, in the form that `filesystem` takes."""
        return "/".join((self._located[1], *parts))

    def name(self, *parts: str) -> str:
        """Return a path below the folder as the user would write it, URI and all."""
        return "/".join((self.root.rstrip("/"), *parts))

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

    def exists(self, *parts: str) -> bool:
        """Whether something lies at a path below the folder."""
        return bool(self.filesystem.exists(self.path(*parts)))

    def commit(self, path: str, content: bytes) -> None:
        """Put `content` at `path` in one step: a reader, or a restart after a crash, sees all of it or nothing.

        Local: temporary file, fsync, rename. Object store: one PUT. Raises UserError where a local disk is full, and
        where its folder cannot be written to.
        """
        if not self.is_local:
            self.filesystem.pipe_file(path, content)
            return
        try:
            self._commit_locally(Path(path), content)
        except OSError as error:
            if error.errno in FORBIDDEN:
                raise UserError(f"{path} cannot be written ({error.strerror})") from error
            if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                raise
            raise UserError(
                f"{self.root}: no space is left on its disk ({error.strerror}). What is committed stays: make room and "
                "start again"
            ) from error

    def _commit_locally(self, target: Path, content: bytes) -> None:
        target.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(self.path("tmp"))
        folder.mkdir(parents=True, exist_ok=True)
        temporary = folder / uuid.uuid4().hex
        try:
            with temporary.open("wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            temporary.replace(target)
        finally:
            temporary.unlink(missing_ok=True)
        directory = os.open(target.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)

    def commit_json(self, name: str, document: Mapping[str, Any]) -> None:
        """Commit a JSON document below the folder."""
        content = json.dumps(document, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        self.commit(self.path(*name.split("/")), content.encode())

    def commit_files(self, source: Path, below: str, *, last: str) -> None:
        """Commit the files of a local folder below this one; the one called `last` says that the others are whole.

        It is taken away first, so that a start in between never takes new files for those that it told of.
        """
        if self.exists(below, last):
            self.filesystem.rm_file(self.path(below, last))
        for path in sorted(source.iterdir(), key=lambda path: (path.name == last, path.name)):
            self.commit(self.path(below, path.name), path.read_bytes())

    def read_json(self, name: str) -> dict[str, Any] | None:
        """Return a JSON document below the folder, or None where there is none.

        Raises UserError where the file does not hold JSON, and where the store does not answer.
        """
        try:
            content = self.filesystem.cat_file(self.path(*name.split("/")))
        except FileNotFoundError:
            return None
        except store_errors() as error:
            raise UserError(f"{self.name(name)} cannot be read ({_one_line(error)})") from error
        try:
            document: dict[str, Any] = json.loads(content)
        except ValueError as error:
            raise UserError(f"{self.name(name)} is damaged: {error}. Use another output.") from error
        return document

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

    def stamps(self, kind: str) -> dict[str, str]:
        """Return a stamp of every file below `kind` by its path there; a file that is written again has another."""
        base = self.path(kind)
        return {
            path[len(base) + 1 :]: f"{info['size']} {info.get('ETag') or info.get('mtime') or info.get('created')}"
            for path, info in self.filesystem.find(base, detail=True).items()
        }

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

    def read_each(self, paths: Sequence[str]) -> list[bytes]:
        """Return the contents of files, of an object store many at once; what another driver removed is left out.

        Raises UserError where the store does not answer.
        """
        # Ranges, because the paths of other calls are patterns: a video may be called "[1]".
        contents = self.filesystem.cat_ranges(list(paths), None, None, on_error="return") if paths else []
        for path, content in zip(paths, contents, strict=True):
            if isinstance(content, Exception) and not isinstance(content, FileNotFoundError):
                if not isinstance(content, store_errors()):
                    raise content
                raise UserError(f"{path} cannot be read ({_one_line(content)})") from content
        return [content for content in contents if isinstance(content, bytes)]

    def clear_dead(self, places: Collection[tuple[str, int]] | None = None) -> int:
        """Forget the dead letters of these videos and segments, or all, so that they are tried again; return how many.

        File by file, because a folder may be where another driver is just writing.
        """
        dead = {(video, index) for video, indices in self.dead().items() for index in indices}
        gone = dead if places is None else dead & set(places)
        for place in gone:
            self.remove(self.dead_path(*place))
        return len(gone)

    def remove(self, path: str) -> None:
        """Remove a file, which another driver may have removed already."""
        with suppress(FileNotFoundError):
            self.filesystem.rm_file(path)

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
                self.filesystem.rm(self.path("attempts", session), recursive=True)
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
                        self.filesystem.rm(path, recursive=True)
        folder = Path(self.path("tmp"))
        if self.is_local and folder.is_dir():
            for temporary in folder.iterdir():
                with suppress(FileNotFoundError):
                    if temporary.stat().st_mtime < limit:
                        temporary.unlink()

    def require_space(self, num_bytes: int) -> None:
        """Raise UserError where the folder cannot be written to, or a local one's disk has less left."""
        if not self.is_local:
            probe = self.path("tmp", uuid.uuid4().hex)
            try:
                self.filesystem.pipe_file(probe, b"")
                self.filesystem.rm_file(probe)
            except store_errors() as error:
                raise UserError(f"output: {self.root} cannot be written to ({_one_line(error)})") from error
        else:
            folder = Path(self.path())
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except OSError as error:
                raise UserError(f"output: {folder} cannot be made ({error.strerror})") from error
            try:
                tempfile.TemporaryFile(dir=folder).close()
            except OSError as error:
                if error.errno not in (errno.ENOSPC, errno.EDQUOT):
                    raise UserError(f"output: {folder} cannot be written to ({error.strerror})") from error
            free = shutil.disk_usage(folder).free
            if free < num_bytes:
                raise UserError(f"{folder}: {free / 2**20:.0f} MiB free on its disk, {num_bytes / 2**20:.0f} needed")


def store_errors() -> tuple[type[Exception], ...]:
    """Return what a filesystem raises: OSErrors and, where it is an object store's, its clients' own."""
    clients = (("botocore.exceptions", "BotoCoreError"), ("aiohttp", "ClientError"))
    own = (getattr(sys.modules[module], name) for module, name in clients if module in sys.modules)
    return (OSError, *own)


def _one_line(error: Exception) -> str:
    return " ".join(str(error).split()) or type(error).__name__


def write_file(path: Path, content: bytes) -> None:
    """Write a local file, whole or not at all. Raises UserError where the place cannot be written."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.write_bytes(content)
        temporary.replace(path)
    except OSError as error:
        with suppress(OSError):
            temporary.unlink()
        raise UserError(f"{path}: cannot be written ({error.strerror})") from error
