"""The files below a data set's root: which of them are videos, which are something to read."""

import os
import re
import unicodedata
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any

import fsspec
from fsspec.implementations.local import LocalFileSystem

from raypipe.datasets.listing import Video, some
from raypipe.errors import UserError
from raypipe.text import one_line

VIDEO_SUFFIXES = frozenset(
    [
        ".mp4",
        ".m4v",
        ".mov",
        ".avi",
        ".mkv",
        ".webm",
        ".mpg",
        ".mpeg",
        ".ts",
        ".m2ts",
        ".mts",
        ".wmv",
        ".flv",
        ".3gp",
        ".ogv",
        ".h264",
        ".264",
        ".h265",
        ".265",
        ".hevc",
    ]
)
IMAGE_SUFFIXES = frozenset([".jpg", ".jpeg", ".png", ".bmp", ".tif", ".tiff"])
SPLITS = ("train", "test")


@dataclass(frozen=True)
class Found:
    """A video file, or a folder of frames; `path` as the filesystem takes it."""

    path: str
    num_bytes: int
    is_frames: bool


@dataclass(frozen=True)
class Tree:
    """What lies below a data set's root, by path relative to it with "/": `videos` without their extensions.

    `documents` are the files that are neither videos nor pictures, with their sizes in bytes.
    """

    root: str
    filesystem: Any
    base: str
    videos: dict[str, Found]
    documents: dict[str, int]

    def video(self, found: Found, video_id: str, split: str, class_name: str = "", scene: str = "") -> Video:
        """Return a video that was found as an entry of a listing."""
        uri = self.filesystem.unstrip_protocol(found.path) if "://" in self.root else found.path
        return Video(video_id, uri, split, found.num_bytes, found.is_frames, class_name=class_name, scene=scene)

    def read(self, relative: str) -> bytes:
        """Return the content of a file. Raises UserError where it cannot be read."""
        try:
            content: bytes = self.filesystem.cat_file(self.place(relative))
        except OSError as error:
            raise UserError(f"{self.place(relative)}: cannot be read ({one_line(error)})") from error
        return content

    def place(self, relative: str) -> str:
        """Return a file's path as the user is told it."""
        return f"{self.base}/{relative}"

    def document(self, pattern: str, title: str) -> str:
        """Return the one file whose name matches `pattern` (case does not count), wherever it lies.

        Raises UserError where there is none, or there are several that differ.
        """
        matches = [path for path in sorted(self.documents) if fnmatch(_name(path).lower(), pattern.lower())]
        if not matches:
            raise UserError(f"dataset.root: {self.root} holds no {pattern}, {title}")
        if len({self.read(path) for path in matches}) > 1:
            raise UserError(f"dataset.root: {self.root} holds {len(matches)} that differ: {some(matches)}; keep one")
        return matches[0]

    def documents_like(self, pattern: str) -> dict[str, str]:
        """Return the paths of the files whose names match `pattern` by name; case does not count in the pattern.

        Raises UserError where two of one name differ.
        """
        found: dict[str, str] = {}
        for path in sorted(self.documents):
            if fnmatch(path.lower(), pattern.lower()):
                first = found.setdefault(_name(path), path)
                if first != path and self.read(first) != self.read(path):
                    raise UserError(f"{self.place(first)} and {self.place(path)} differ; keep one")
        return found

    @cached_property
    def _endings(self) -> dict[str, list[Found]]:
        """The videos by their names, and by the last two parts of their paths."""
        endings: dict[str, list[Found]] = defaultdict(list)
        for path, found in self.videos.items():
            folder, _, name = same_name(path).rpartition("/")
            endings[name].append(found)
            if folder:
                endings[f"{_name(folder)}/{name}"].append(found)
        return endings

    def find(self, name: str) -> Found | None:
        """Return the video that a list calls `name`, with or without its last folder; None where there is none.

        Raises UserError where several videos may be meant.
        """
        for ending in (same_name(name), _name(same_name(name))):
            matches = self._endings.get(ending, [])
            if len(matches) > 1:
                places = some([found.path for found in matches])
                raise UserError(f"{len(matches)} videos may be {name!r}: {places}. Keep one.")
            if matches:
                return matches[0]
        return None

    def videos_in(self, *folders: str) -> tuple[dict[str, Found], list[Found]]:
        """Return the videos that lie in any of `folders`, by name, and those that are there a second time.

        A folder is named by the end of its path ("training/frames"), case does not count; a video that lies in several
        is taken from the first, and of two of the same size the one whose path is shorter. Raises UserError where two
        of one name and of another size lie in folders of one name.
        """
        chosen: dict[str, Found] = {}
        doubled: list[Found] = []
        for folder in folders:
            here: dict[str, Found] = {}
            for path, found in sorted(self.videos.items(), key=lambda item: (item[0].count("/"), item[0])):
                parent, _, name = path.rpartition("/")
                if not f"/{parent}".lower().endswith(f"/{folder}".lower()):
                    continue
                first = here.setdefault(name, found)
                if first.num_bytes != found.num_bytes:
                    raise UserError(f"{first.path} and {found.path} are both the video {name!r}. Keep one.")
                if first is not found:
                    doubled.append(found)
            doubled += [found for name, found in here.items() if name in chosen]
            chosen = here | chosen
        return chosen, doubled


def open_folder(root: str) -> tuple[Any, str]:
    """Return the filesystem and the path of a data set's root. Raises UserError where it is no folder."""
    try:
        fs, base = fsspec.core.url_to_fs(root)
    except (ValueError, ImportError) as error:
        raise UserError(f"dataset.root: {root}: {error}") from error
    base = base.rstrip("/")
    if not fs.isdir(base):
        raise UserError(f"dataset.root: {root} is not a folder")
    return fs, base


def open_tree(root: str) -> Tree:
    """Walk all that lies below `root`, a local path or fsspec URI.

    Raises UserError where it is no folder, where a name is not UTF-8, and where two files are the same video.
    """
    fs, base = open_folder(root)
    documents: dict[str, int] = {}
    videos: dict[str, Found] = {}
    frames: dict[str, int] = defaultdict(int)
    for path, num_bytes in _files(fs, base):
        relative = path[len(base) + 1 :]
        try:
            relative.encode()
        except UnicodeEncodeError as error:
            raise UserError(f"{relative!r}: a file name that is not UTF-8. Rename it.") from error
        if ".." in relative.split("/"):
            # No disk has such names, but the keys of an object store may.
            raise UserError(f"{path}: a name with '..' in it, which may lead out of the data set. Rename it.")
        stem, dot, suffix = relative.rpartition(".")
        suffix = f"{dot}{suffix}".lower()
        folder = relative.rpartition("/")[0]
        if _name(relative).startswith("._"):
            continue  # what macOS leaves beside a file on foreign disks
        if suffix in IMAGE_SUFFIXES:
            if folder not in ("", *SPLITS):
                frames[folder] += num_bytes
        elif suffix in VIDEO_SUFFIXES and _name(stem):
            if stem in videos:
                raise UserError(f"{videos[stem].path} and {path} are both the video {stem!r}. Rename one of them.")
            videos[stem] = Found(path, num_bytes, is_frames=False)
        else:
            documents[relative] = num_bytes
    beside_videos = {stem.rpartition("/")[0] for stem in videos}
    for folder, num_bytes in frames.items():
        if folder in beside_videos:
            continue  # a picture that lies beside videos is no video
        if folder in videos:
            raise UserError(f"{videos[folder].path} and the folder {folder} are both the video {folder!r}. Rename one.")
        videos[folder] = Found(f"{base}/{folder}", num_bytes, is_frames=True)
    return Tree(root, fs, base, videos, documents)


def same_name(name: str) -> str:
    """Return a name in the form in which names are compared: systems write accents in two ways."""
    return unicodedata.normalize("NFC", name)


def by_number(videos: Mapping[str, Found]) -> dict[int, Found]:
    """Return videos by the number that is their name, as of 01, Train001 or Test001; others are left out.

    Raises UserError where two have one number.
    """
    numbered: dict[int, Found] = {}
    for name, found in videos.items():
        if match := re.fullmatch(r"(?:train|test)?(\d+)", name.lower()):
            first = numbered.setdefault(int(match[1]), found)
            if first is not found:
                raise UserError(f"{first.path} and {found.path} are both the video {int(match[1])}. Keep one.")
    return numbered


def without_suffix(name: str) -> str:
    """Return a video's name without the extension of a video file, which lists write or leave out."""
    stem, dot, suffix = name.rpartition(".")
    return stem if stem and f"{dot}{suffix}".lower() in VIDEO_SUFFIXES else name


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _files(fs: Any, base: str) -> Iterator[tuple[str, int]]:
    """Yield (path, size in bytes) of every file below a folder; links to folders are followed, each folder once."""
    if not isinstance(fs, LocalFileSystem):
        yield from ((path, int(info.get("size") or 0)) for path, info in fs.find(base, detail=True).items())
        return
    seen: set[str] = set()
    for folder, folders, names in os.walk(base, followlinks=True):
        real = os.path.realpath(folder)
        if real in seen:
            folders.clear()
            continue
        seen.add(real)
        for name in names:
            path = f"{folder}/{name}"
            with suppress(OSError):  # a link to nowhere
                yield path, Path(path).stat().st_size
