"""The catalogue: what was found out about every video before any work starts, kept in the run folder."""

import io
import json
import time
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from typing import Any

from raypipe.config.file import digest
from raypipe.config.run import RunConfig
from raypipe.datasets.folder import Listing, Video
from raypipe.datasets.mot import boxes_by_video, boxes_path
from raypipe.datasets.readers import read_dataset
from raypipe.datasets.stamps import stamp_of_info
from raypipe.datasets.video_names import same_name
from raypipe.errors import UserError
from raypipe.extraction.changes import Changes
from raypipe.extraction.identity import boxes_digest, content_digest
from raypipe.ops.intervals import Interval
from raypipe.run_folder.folder import DeadLetter, RunFolder
from raypipe.run_folder.record import claim_run_folder, versions
from raypipe.run_folder.store import Store
from raypipe.video.index import VideoIndex

CATALOGUE_NAME = "catalogue.jsonl"
CHANGES_NAME = "changes.json"
# Threads that read pieces of videos that may have changed.
READERS = 16


@dataclass(frozen=True)
class Entry:
    """One video of the catalogue: either its index of frames, or why it has none.

    `digest` and `boxes_digest` are those of `extraction.identity`; version 0.1 has none. What `is_gone` was taken out
    of the data set; the run folder keeps its features in case it comes back, or is found under another name.
    """

    video: Video
    index: VideoIndex | None
    failure: DeadLetter | None = None
    digest: str = ""
    boxes_digest: str = ""
    is_gone: bool = False

    def is_as_listed(self, video: Video) -> bool:
        """Whether a listed video is this one by its place, size and stamp alone, so that it need not be read."""
        has_stamps = bool(video.stamp and (video.boxes_stamp or not video.boxes_bytes))
        return bool(self.digest) and has_stamps and _place(video) == _place(self.video)

    def has_content_of(self, other: "Entry") -> bool:
        """Whether the video and its boxes are another's; of what could not be read, or 0.1 read, by their sizes."""

        def same(own: tuple[str, int], others: tuple[str, int]) -> bool:
            return own[0] == others[0] if own[0] and others[0] else own[1] == others[1]

        return same((self.digest, self.video.num_bytes), (other.digest, other.video.num_bytes)) and same(
            (self.boxes_digest, self.video.boxes_bytes), (other.boxes_digest, other.video.boxes_bytes)
        )


def _place(video: Video) -> tuple[str, int, str, int, str]:
    return video.uri, video.num_bytes, video.stamp, video.boxes_bytes, video.boxes_stamp


@dataclass(frozen=True)
class Catalogue:
    """All videos of a run in the order of their ids, and what the data set's listing says of them.

    `labels`, `label_frames`, `label_source`, `num_ignored` and `notes` are those of `datasets.listing.Listing`.
    `changes` are those since the run folder's catalogue was written, and `gone` its entries that are not listed now.
    """

    entries: tuple[Entry, ...]
    labels: dict[str, list[Interval]] | None
    num_ignored: int = 0
    label_frames: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    label_source: str = ""
    changes: Changes = field(default_factory=Changes)
    gone: tuple[Entry, ...] = ()

    def fingerprint(self) -> str:
        """Return a hash that changes when a video is added, removed, or has another split, content, length or boxes."""
        rows = (
            (
                *(e.video.video_id, e.video.split, e.video.num_bytes, e.video.boxes_bytes),
                *(e.digest, e.boxes_digest, e.index and e.index.num_frames),
            )
            for e in self.entries
        )
        return digest(list(rows))

    @property
    def damaged(self) -> dict[str, str]:
        """What is wrong with videos that can be used all the same, by video id."""
        return {e.video.video_id: e.index.damage for e in self.entries if e.index is not None and e.index.damage}


def catalogue_of(entries: Iterable[Entry], listing: Listing) -> Catalogue:
    """Return the catalogue of a listing whose videos were probed."""
    entries = tuple(entries)
    found = [f"{e.video.video_id}: {e.index.note}" for e in entries if e.index is not None and e.index.note]
    return Catalogue(
        entries,
        listing.labels,
        listing.num_ignored,
        label_frames=listing.label_frames,
        notes=(*listing.notes, *found),
        label_source=listing.label_source,
    )


def list_videos(config: RunConfig) -> Listing:
    """List the data set and check what can be checked without opening a video.

    Raises UserError on an empty data set, wrong labels, and missing files of boxes.
    """
    dataset = config.dataset
    listing = read_dataset(dataset.name, dataset.root, abnormal_training=dataset.abnormal_training)
    root = boxes_root(config)
    if root is not None:
        boxes = Store(root)
        # What an earlier start of this process listed may be outdated.
        boxes.filesystem.invalidate_cache()
        files = boxes.filesystem.find(boxes.path(), detail=True)
        present = boxes_by_video(files, boxes.path())
        missing = [v.video_id for v in listing.videos if same_name(v.video_id) not in present]
        if missing:
            example = boxes_path(root, missing[0])
            count = f"{len(missing)} of {len(listing.videos)} videos"
            raise UserError(f"detector.boxes_root: {count} have no boxes, the first: {example}")
        listing = replace(
            listing, videos=tuple(_with_boxes(v, files[present[same_name(v.video_id)]]) for v in listing.videos)
        )
    return listing


def _with_boxes(video: Video, file: Mapping[str, Any]) -> Video:
    return replace(video, boxes_bytes=int(file["size"] or 0), boxes_stamp=stamp_of_info(file))


def boxes_root(config: RunConfig) -> str | None:
    """Return where the boxes lie, None where the detector finds its own."""
    return config.detector.boxes_root if config.detector.kind == "boxes" else None


def read_catalogue(folder: RunFolder) -> dict[str, Entry]:
    """Return the videos that the last start found, by video id. Raises UserError where the file is not ours."""
    return {video_id: entry for video_id, entry in read_entries(folder).items() if not entry.is_gone}


def read_entries(folder: RunFolder) -> dict[str, Entry]:
    """Return all that is known of videos, of those that are gone too. Raises UserError where the file is not ours."""
    path = folder.path(CATALOGUE_NAME)
    try:
        content = folder.filesystem.cat_file(path)
    except FileNotFoundError:
        return {}
    try:
        # Bytes, because text would also be cut at the line separators of Unicode, which a name may hold.
        entries = [_entry(json.loads(line)) for line in io.BytesIO(content)]
    except (ValueError, TypeError, KeyError) as error:
        where = folder.name(CATALOGUE_NAME)
        raise UserError(
            f"{where} is damaged: {error!r}. Remove it with features/ and dead/, and extract again."
        ) from error
    return {entry.video.video_id: entry for entry in entries}


def _entry(fields: dict[str, Any]) -> Entry:
    return Entry(
        video=Video(**fields["video"]),
        index=VideoIndex.from_record(fields["index"]) if fields["index"] else None,
        failure=DeadLetter(**fields["failure"]) if fields["failure"] else None,
        digest=fields.get("digest", ""),
        boxes_digest=fields.get("boxes_digest", ""),
        is_gone=fields.get("is_gone", False),
    )


def write_catalogue(folder: RunFolder, entries: Iterable[Entry]) -> None:
    """Keep the entries for the next start."""

    def line(entry: Entry) -> str:
        fields = {
            "video": asdict(entry.video),
            "index": entry.index.to_record() if entry.index else None,
            "failure": asdict(entry.failure) if entry.failure else None,
            "digest": entry.digest,
            "boxes_digest": entry.boxes_digest,
            "is_gone": entry.is_gone,
        }
        return json.dumps(fields, ensure_ascii=False) + "\n"

    folder.commit(folder.path(CATALOGUE_NAME), "".join(map(line, entries)).encode())


def write_changes(folder: RunFolder, changes: Changes) -> None:
    """Keep what a start found changed, for `status`."""
    folder.commit_json(CHANGES_NAME, {"at": time.time()} | changes.to_record())


def read_changes(folder: RunFolder) -> tuple[float, Changes] | None:
    """Return what was found changed last and when, None where nothing ever was."""
    document = folder.read_json(CHANGES_NAME)
    try:
        return None if document is None else (float(document["at"]), Changes.from_record(document))
    except (KeyError, TypeError, ValueError):
        # It is only told; the next start writes it anew.
        return None


def claim(config: RunConfig, folder: RunFolder, catalogue_hash: str, models: Mapping[str, str] | None = None) -> None:
    """Claim the run folder for a config, or go on in it. Raises UserError as `run_folder.record.open_run` does."""
    claim_run_folder(
        folder,
        config=config.model_dump(mode="json"),
        feature_keys=config.flat_features(),
        config_hash=config.feature_hash(),
        versions=versions(),
        catalogue_hash=catalogue_hash,
        models=models,
    )


def require_features(config: RunConfig, folder: RunFolder) -> Catalogue:
    """Return the catalogue of a run folder that holds the features of this config.

    Raises UserError where it holds none, or those of another config.
    """
    document = folder.read_json("run.json")
    if document is None:
        raise UserError(f"{folder.root} holds no features: run `raypipe extract` first")
    claim(config, folder, document["catalogue_hash"])
    known = read_catalogue(folder)
    listing = list_videos(config)
    with ThreadPoolExecutor(max_workers=READERS) as pool:
        entries = list(pool.map(partial(_unchanged, config, known), listing.videos))
    other = [video.video_id for video, entry in zip(listing.videos, entries, strict=True) if entry is None]
    if other:
        raise UserError(
            f"{len(other)} videos are new, or have changed their file, boxes or split since `raypipe extract`, "
            f"the first: {other[0]}. Run it again."
        )
    return catalogue_of((entry for entry in entries if entry is not None), listing)


def _unchanged(config: RunConfig, known: Mapping[str, Entry], video: Video) -> Entry | None:
    """Return what is known of a video, None where it is not the same any more; one that was only touched is read."""
    entry = known.get(video.video_id)
    if entry is None or (entry.video.uri, entry.video.split) != (video.uri, video.split):
        return None
    now = Entry(video, None)
    if entry.digest and not entry.is_as_listed(video):
        now = replace(now, digest=content_digest(video), boxes_digest=boxes_digest(boxes_root(config), video.video_id))
    return replace(entry, video=video) if entry.has_content_of(now) else None
