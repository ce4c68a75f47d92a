"""The catalogue: what was found out about every video before any work starts, kept in the run folder."""

import io
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from raypipe.config.file import digest
from raypipe.config.run import RunConfig
from raypipe.datasets.folder import Listing, Video
from raypipe.datasets.mot import boxes_by_video, boxes_path
from raypipe.datasets.readers import read_dataset
from raypipe.datasets.spelling import same_name
from raypipe.errors import UserError
from raypipe.ops.intervals import Interval
from raypipe.run_folder.record import open_run, versions
from raypipe.run_folder.storage import DeadLetter, RunFolder
from raypipe.run_folder.store import Store
from raypipe.video.index import VideoIndex

CATALOGUE_NAME = "catalogue.jsonl"


@dataclass(frozen=True)
class Entry:
    """One video of the catalogue: either its index of frames, or why it has none."""

    video: Video
    index: VideoIndex | None
    failure: DeadLetter | None = None


@dataclass(frozen=True)
class Catalogue:
    """All videos of a run in the order of their ids, and what the data set's listing says of them.

    `labels`, `label_frames`, `label_source`, `num_ignored` and `notes` are those of `datasets.listing.Listing`.
    """

    entries: tuple[Entry, ...]
    labels: dict[str, list[Interval]] | None
    num_ignored: int = 0
    label_frames: dict[str, int] = field(default_factory=dict)
    notes: tuple[str, ...] = ()
    label_source: str = ""

    def fingerprint(self) -> str:
        """Return a hash that changes when a video is added, removed, or has another split, size, length or boxes."""
        rows = (
            (e.video.video_id, e.video.split, e.video.num_bytes, e.video.boxes_bytes, e.index and e.index.num_frames)
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
    if config.detector.kind == "boxes":
        root = str(config.detector.boxes_root)
        boxes = Store(root)
        sizes = {
            path: int(info["size"] or 0) for path, info in boxes.filesystem.find(boxes.path(), detail=True).items()
        }
        present = boxes_by_video(sizes, boxes.path())
        missing = [v.video_id for v in listing.videos if same_name(v.video_id) not in present]
        if missing:
            example = boxes_path(root, missing[0])
            count = f"{len(missing)} of {len(listing.videos)} videos"
            raise UserError(f"detector.boxes_root: {count} have no boxes, the first: {example}")
        videos = (replace(v, boxes_bytes=sizes[present[same_name(v.video_id)]]) for v in listing.videos)
        listing = replace(listing, videos=tuple(videos))
    return listing


def read_catalogue(folder: RunFolder) -> dict[str, Entry]:
    """Return the entries probed by an earlier start, by video id. Raises UserError where the file is not ours."""
    path = folder.path(CATALOGUE_NAME)
    try:
        content = folder.filesystem.cat_file(path)
    except FileNotFoundError:
        return {}
    try:
        # Bytes, because text would also be cut at the line separators of Unicode, which a name may hold.
        entries = [_entry(json.loads(line)) for line in io.BytesIO(content)]
    except (ValueError, TypeError, KeyError) as error:
        raise UserError(f"{folder.name(CATALOGUE_NAME)} is damaged: {error!r}. Remove it and extract again.") from error
    return {entry.video.video_id: entry for entry in entries}


def _entry(fields: dict[str, Any]) -> Entry:
    return Entry(
        video=Video(**fields["video"]),
        index=VideoIndex.from_record(fields["index"]) if fields["index"] else None,
        failure=DeadLetter(**fields["failure"]) if fields["failure"] else None,
    )


def write_catalogue(folder: RunFolder, entries: Iterable[Entry]) -> None:
    """Keep the entries for the next start."""

    def line(entry: Entry) -> str:
        fields = {
            "video": asdict(entry.video),
            "index": entry.index.to_record() if entry.index else None,
            "failure": asdict(entry.failure) if entry.failure else None,
        }
        return json.dumps(fields, ensure_ascii=False) + "\n"

    folder.commit(folder.path(CATALOGUE_NAME), "".join(map(line, entries)).encode())


def still_valid(cached: Mapping[str, Entry], videos: Sequence[Video]) -> dict[str, Entry]:
    """Return the cached entries whose video is unchanged (same place and size) and was readable."""
    return {
        video.video_id: cached[video.video_id]
        for video in videos
        if video.video_id in cached and cached[video.video_id].video == video and not cached[video.video_id].failure
    }


def claim(config: RunConfig, folder: RunFolder, catalogue_hash: str, models: Mapping[str, str] | None = None) -> None:
    """Claim the run folder for a config, or go on in it. Raises UserError as `run_folder.record.open_run` does."""
    open_run(
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
    cached = read_catalogue(folder)
    listing = list_videos(config)
    other = [video.video_id for video in listing.videos if getattr(cached.get(video.video_id), "video", None) != video]
    if other:
        raise UserError(
            f"{len(other)} videos are new, or have changed their file, boxes or split since `raypipe extract`, "
            f"the first: {other[0]}. Run it again."
        )
    return catalogue_of((cached[video.video_id] for video in listing.videos), listing)
