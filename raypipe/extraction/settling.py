"""What the run folder holds of videos that changed is removed, and what it holds of renamed ones moves along.

All of this can be killed at any point and is done again by the next start, as the catalogue tells of the change until
it is written: before it, what is outdated is removed and what moves is committed under its new name; after it, the
files under old names are removed.
"""

import logging
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import replace
from functools import partial
from itertools import chain
from pathlib import Path

import pyarrow as pa

from raypipe.errors import UserError
from raypipe.extraction.catalog import Catalogue, Entry, read_entries
from raypipe.extraction.changes import Changes
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.tables import commit_features, read_segment

logger = logging.getLogger(__name__)

# Threads that remove and rewrite files, which on a store are waited for.
WRITERS = 16


def find_changes(known: Mapping[str, Entry], entries: Iterable[Entry]) -> tuple[Changes, tuple[Entry, ...]]:
    """Return what changed since a catalogue was written, and the entries of it that are not there any more.

    A video that is new, or has another content, is a renamed one where it has content and boxes of one that is gone.
    Without a catalogue nothing is known to have changed.
    """
    if not known:
        return Changes(), ()
    now = {entry.video.video_id: entry for entry in entries}
    old = {video_id: known[video_id] for video_id in now.keys() & known.keys()}
    changed = {video_id for video_id, entry in old.items() if not entry.has_content_of(now[video_id])}
    new = now.keys() - known.keys()
    gone = {video_id: entry for video_id, entry in known.items() if video_id not in now}
    sources: dict[tuple[str, str], list[str]] = {}
    for video_id in sorted(gone):
        if gone[video_id].digest:
            sources.setdefault(_content(gone[video_id]), []).append(video_id)
    renamed = []
    for video_id in sorted(new | changed):
        own = sources.get(_content(now[video_id]), [])
        if own:
            # Of several with one content, the one of the same file name.
            source = next((name for name in own if _name(name) == _name(video_id)), own[0])
            own.remove(source)
            renamed.append((source, video_id))
    moved = {name for pair in renamed for name in pair}
    same = old.keys() - changed
    changes = Changes(
        new=tuple(sorted(new - moved)),
        changed=tuple(sorted(changed - moved)),
        renamed=tuple(renamed),
        other_split=tuple(
            sorted(name for name in same if old[name].video.split != now[name].video.split and not old[name].is_gone)
        ),
        returned=tuple(sorted(name for name in same if old[name].is_gone)),
        removed=tuple(sorted(name for name, entry in gone.items() if not entry.is_gone and name not in moved)),
    )
    return changes, tuple(replace(gone[name], is_gone=True) for name in sorted(gone.keys() - moved))


def _content(entry: Entry) -> tuple[str, str]:
    return entry.digest, entry.boxes_digest


def _name(video_id: str) -> str:
    return video_id.rpartition("/")[2]


def make_way(folder: RunFolder, catalogue: Catalogue) -> None:
    """Remove what is outdated, and commit what moves under its new name; done before the catalogue is written."""
    changes = catalogue.changes
    touched = {*changes.new, *changes.changed, *(new for _, new in changes.renamed)}
    if not touched:
        return
    committed, dead = folder.committed(), folder.dead()
    # Another driver may have got here first, and begun its work: what that is of is in the catalogue.
    others = read_entries(folder)
    entries = {entry.video.video_id: entry for entry in catalogue.entries}
    open_ones = {name for name in touched if not _is_settled(others.get(name), entries[name])}
    outdated = []
    sources = {new: old for old, new in changes.renamed}
    for name in sorted(open_ones):
        # What moves is overwritten, so that of two drivers neither removes what the other moved.
        is_moved_to = name in sources and name not in others
        kept = committed.get(sources[name], set()) if is_moved_to else set()
        kept_dead = dead.get(sources[name], set()) if is_moved_to else set()
        outdated += [folder.feature_path(name, index) for index in committed.get(name, set()) - kept]
        outdated += [folder.dead_path(name, index) for index in dead.get(name, set()) - kept_dead]
    outdated += _scores_of(folder, open_ones)
    moves = [
        (sources[name], name, index)
        for name in sorted(open_ones & sources.keys())
        for index in sorted(committed.get(sources[name], set()))
    ]
    with ThreadPoolExecutor(max_workers=WRITERS) as pool:
        list(pool.map(folder.remove, outdated))
        list(pool.map(partial(_move, folder), moves))
    names = {old: new for new, old in sources.items() if new in open_ones}
    for letter in folder.read_dead() if names else []:
        if letter.video_id in names:
            folder.commit_dead(replace(letter, video_id=names[letter.video_id]))


def _is_settled(other: Entry | None, own: Entry) -> bool:
    """Whether the catalogue knows a video with this very content already; what could not be read is not compared."""
    return other is not None and bool(own.digest) and _content(other) == _content(own)


def clear_old_names(folder: RunFolder, changes: Changes) -> None:
    """Remove what lies under the old names of renamed videos; done after the catalogue is written."""
    old = {name for name, _ in changes.renamed}
    if not old:
        return
    committed, dead = folder.committed(), folder.dead()
    paths = chain(
        (
            folder.feature_path(name, index)
            for name, new in changes.renamed
            for index in committed.get(name, ())
            if not _is_same_file(folder, folder.feature_path(name, index), folder.feature_path(new, index))
        ),
        (folder.dead_path(name, index) for name in old for index in dead.get(name, ())),
        _scores_of(folder, old),
    )
    with ThreadPoolExecutor(max_workers=WRITERS) as pool:
        list(pool.map(folder.remove, paths))


def _is_same_file(folder: RunFolder, old: str, new: str) -> bool:
    """Whether two names are one file, as on file systems that do not tell capitals or forms of accents apart."""
    try:
        return folder.is_local and Path(old).samefile(new)
    except FileNotFoundError:
        return False


def _move(folder: RunFolder, place: tuple[str, str, int]) -> None:
    old, new, index = place
    # Another driver that moved it has removed it already.
    with suppress(FileNotFoundError):
        try:
            record, table = read_segment(folder, old, index)
        except UserError as error:
            # A damaged file; its segment is made anew.
            logger.warning("%s", error)
            return
        column = table.schema.get_field_index("video_id")
        names = pa.array([new] * table.num_rows, pa.string())
        table = table.set_column(column, table.schema.field("video_id"), names)
        commit_features(folder, table, replace(record, video_id=new))


def _scores_of(folder: RunFolder, names: Iterable[str]) -> list[str]:
    """Return the paths at which the scores of videos may lie, of the run itself and of its variations."""
    variations: list[str | None] = [None]
    if folder.exists("variations"):
        found = folder.filesystem.ls(folder.path("variations"), detail=True)
        variations += [info["name"].rstrip("/").rpartition("/")[2] for info in found if info["type"] == "directory"]
    folders = [RunFolder(folder.root, variation) for variation in variations]
    return [one.score_path(name) for name in names for one in folders]
