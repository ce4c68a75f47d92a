"""The files below a data set's root: which of them are videos, which are something to read."""

import os
import re
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from fnmatch import fnmatch
from functools import cached_property
from pathlib import Path
from typing import Any
from urllib.parse import unquote

from fsspec.implementations.local import LocalFileSystem

from raypipe.datasets.listing import Video, some
from raypipe.datasets.stamps import stamp_of_file, stamp_of_folder, stamp_of_info
from raypipe.datasets.video_files import OTHER_SUFFIXES, PREVIEW_SUFFIXES, VIDEO_SUFFIXES, Looking, ending
from raypipe.datasets.video_names import id_of, same_name
from raypipe.errors import UserError
from raypipe.text import one_line
from raypipe.video.folder import is_picture
from raypipe.video.location import locate

SPLITS = ("train", "test")
SYSTEM_FILES = (".DS_Store", "Thumbs.db", "desktop.ini", ".gitkeep")
# Why a file is not taken for a video.
NO_VIDEO = "files that are not taken for videos"
NO_FRAMES = "pictures that are not taken for frames"
PREVIEWS = "videos left out as previews of the frames or the video that they lie beside"


@dataclass(frozen=True)
class Found:
    """A video file, or a folder of frames; `path` as the filesystem takes it."""

    path: str
    num_bytes: int
    is_frames: bool
    stamp: str = ""


@dataclass(frozen=True)
class Tree:
    """What lies below a data set's root, by path relative to it with "/": `videos` by their names without extension.

    `documents` are the files that are neither videos nor pictures, with their sizes in bytes. `left_out` are files that
    may be thought to be videos or frames and are not taken for any, by the reason.
    """

    root: str
    filesystem: Any
    base: str
    videos: dict[str, Found]
    documents: dict[str, int]
    left_out: dict[str, list[str]] = field(default_factory=dict)

    def video(self, found: Found, video_id: str, split: str, class_name: str = "", scene: str = "") -> Video:
        """Return a video that was found as an entry of a listing."""
        if not isinstance(self.filesystem, LocalFileSystem):
            # By its end a folder in a store is known without asking the store.
            uri = self.filesystem.unstrip_protocol(found.path) + ("/" if found.is_frames else "")
        else:
            # A plain path is taken as it stands; in a file:// URI what has a meaning there is quoted.
            uri = Path(found.path).as_uri() if "://" in self.root else found.path
        video = Video(video_id, uri, split, found.num_bytes, found.is_frames, class_name=class_name, scene=scene)
        return replace(video, stamp=found.stamp)

    def notes(self) -> list[str]:
        """Return what is to be told of files that were left out, and of names that were shortened."""
        told = [f"{reason}: {counted_endings(paths)}" for reason, paths in self.left_out.items()]
        shortened = [name for name, found in self.videos.items() if "~" in name and not self._has_name(found, name)]
        if shortened:
            told.append(
                "videos whose names are too long for the run folder, shortened to end in ~ and a hash: "
                f"{len(shortened):,} ({some(shortened)})"
            )
        return told

    def _has_name(self, found: Found, name: str) -> bool:
        relative = found.path[len(self.base) + 1 :]
        return name == (relative if found.is_frames else stem_of(relative))

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
                first = found.setdefault(same_name(_name(path)), path)
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
        for end in (same_name(name), _name(same_name(name))):
            matches = self._endings.get(end, [])
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
        fs, base = locate(root)
    except (ValueError, ImportError) as error:
        raise UserError(f"dataset.root: {root}: {error}") from error
    base = base.rstrip("/")
    if root.startswith("file://") and not fs.isdir(base):
        # fsspec takes such a URI as it stands; others quote what is in it.
        base = unquote(base)
    if not fs.isdir(base):
        raise UserError(f"dataset.root: {root} is not a folder")
    return fs, base


def open_tree(root: str) -> Tree:
    """Walk all that lies below `root`, a local path or fsspec URI.

    Raises UserError where it is no folder, where a name is not UTF-8, and where two files are the same video.
    """
    fs, base = open_folder(root)
    looking = Looking(lambda path, size: bytes(fs.cat_file(path, start=0, end=size)))
    documents: dict[str, int] = {}
    left_out: dict[str, list[str]] = defaultdict(list)
    files: dict[str, list[Found]] = defaultdict(list)
    pictures: dict[str, list[tuple[str, int, str]]] = defaultdict(list)
    for path, num_bytes, stamp in sorted(_files(fs, base)):
        relative = _checked_name(path, base)
        folder, _, name = relative.rpartition("/")
        if name.startswith("._") or name in SYSTEM_FILES:
            continue  # what macOS and Windows leave beside files
        if is_picture(name):
            pictures[folder].append((name, num_bytes, stamp))
        elif looking.is_video(path):
            files[same_name(stem_of(relative))].append(Found(path, num_bytes, is_frames=False, stamp=stamp))
        else:
            documents[relative] = num_bytes
            if ending(name) not in OTHER_SUFFIXES:
                left_out[NO_VIDEO].append(relative)
    _take_frames(base, files, pictures, left_out)
    videos = _one_of_each(files, left_out, base)
    return Tree(root, fs, base, videos, documents, {reason: paths for reason, paths in left_out.items() if paths})


def _checked_name(path: str, base: str) -> str:
    relative = path[len(base) + 1 :]
    try:
        relative.encode()
    except UnicodeEncodeError as error:
        raise UserError(f"{relative!r}: a file name that is not UTF-8. Rename it.") from error
    if ".." in relative.split("/"):
        # No disk has such names, but the keys of an object store may.
        raise UserError(f"{path}: a name with '..' in it, which may lead out of the data set. Rename it.")
    return relative


def stem_of(relative: str) -> str:
    """Return a path without the ending of its file, where it has one."""
    suffix = ending(relative)
    return relative[: -len(suffix)] if suffix else relative


def _take_frames(
    base: str,
    files: dict[str, list[Found]],
    pictures: Mapping[str, list[tuple[str, int, str]]],
    left_out: dict[str, list[str]],
) -> None:
    """Add the folders of pictures that are frames to the videos; tell of other pictures, and of previews of frames."""
    videos_in: dict[str, list[str]] = defaultdict(list)
    for stem in files:
        videos_in[stem.rpartition("/")[0]].append(stem)
    for folder, own in pictures.items():
        names, key = [name for name, *_ in own], same_name(folder)
        if not folder or not _are_frames(names, videos_in[key], is_split=folder in SPLITS):
            left_out[NO_FRAMES] += [f"{folder}/{name}".lstrip("/") for name in names]
            continue
        for stem in videos_in[key]:
            left_out[PREVIEWS] += [found.path[len(base) + 1 :] for found in files.pop(stem)]
        total = sum(num_bytes for _, num_bytes, _ in own)
        files[key].append(Found(f"{base}/{folder}", total, is_frames=True, stamp=stamp_of_folder(own)))


def _are_frames(names: Sequence[str], videos: Sequence[str], *, is_split: bool) -> bool:
    """Whether the pictures of a folder, in which `videos` lie too, are the frames of one video.

    Beside videos, and right in the folder of a split, only a series is: names that differ in their numbers alone. A
    picture that has the name of a video beside it belongs to that.
    """
    if not videos and not is_split:
        return True
    stems = [name.rpartition(".")[0] for name in names]
    is_series = len({re.sub(r"\d+", "", stem) for stem in stems}) == 1
    own = re.compile("|".join(re.escape(_name(video)) + r"(?![0-9A-Za-z])" for video in videos) or "(?!)")
    are_of_videos = all(own.match(stem) for stem in stems)
    return is_series and not are_of_videos and len(names) > max(1, 2 * len(videos))


def _one_of_each(files: Mapping[str, list[Found]], left_out: dict[str, list[str]], base: str) -> dict[str, Found]:
    """Return the one video of each name, its previews left out. Raises UserError telling of all names with several."""
    videos, doubled = {}, []
    for found in files.values():
        name = found[0].path[len(base) + 1 :]
        name = id_of(name if found[0].is_frames else stem_of(name))
        proper = [one for one in found if one.is_frames or ending(one.path) in VIDEO_SUFFIXES - PREVIEW_SUFFIXES]
        chosen = proper or found
        left_out[PREVIEWS] += [one.path[len(base) + 1 :] for one in found if one not in chosen]
        videos[name] = chosen[0]
        if len(chosen) > 1:
            doubled.append(f"{' and '.join(one.path for one in chosen)} are both the video {name!r}")
    if doubled:
        many = f"{len(doubled)} names are those of several videos. " if len(doubled) > 1 else ""
        raise UserError(f"{many}{'; '.join(doubled)}. Rename one of each.")
    return videos


def counted_endings(paths: Sequence[str]) -> str:
    """Return how many files there are of each ending, and the first few of them."""
    counts = Counter(ending(path) or "without ending" for path in paths)
    listed = ", ".join(f"{suffix} {count:,}" for suffix, count in counts.most_common())
    return f"{len(paths):,} ({listed}; {some(paths)})"


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
    suffix = ending(name)
    return name[: -len(suffix)] if suffix in VIDEO_SUFFIXES else name


def _name(path: str) -> str:
    return path.rpartition("/")[2]


def _files(fs: Any, base: str) -> Iterator[tuple[str, int, str]]:
    """Yield (path, size in bytes, stamp) of every file below a folder.

    Links to folders are followed, each folder once.
    """
    if not isinstance(fs, LocalFileSystem):
        # What an earlier start of this process listed may be outdated.
        fs.invalidate_cache()
        for path, info in fs.find(base, detail=True).items():
            yield path, int(info.get("size") or 0), stamp_of_info(info)
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
                status = Path(path).stat()
                yield path, status.st_size, stamp_of_file(status)
