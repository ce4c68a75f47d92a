"""Probing of the videos: size, frames and timestamps of each, found out once and kept in the catalogue."""

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from raypipe.config.run import RunConfig
from raypipe.datasets.folder import Video
from raypipe.distributed.cluster import connect
from raypipe.distributed.tasks import run_tasks
from raypipe.errors import DataError
from raypipe.extraction.catalog import (
    Catalogue,
    Entry,
    boxes_root,
    catalogue_of,
    list_videos,
    read_catalogue,
    read_entries,
)
from raypipe.extraction.identity import boxes_digest, content_digest
from raypipe.extraction.settling import find_changes
from raypipe.monitoring.progress import progress
from raypipe.run_folder.folder import DeadLetter, RunFolder, letter_of_deaths, new_session
from raypipe.video.folder import probe_folder
from raypipe.video.probe import probe_video
from raypipe.video.watchdog import ending_hangs


def probe(video: Video, frames_fps: float) -> Entry:
    """Find out a video's size, frames and timestamps; one that cannot be read gets a dead letter."""
    try:
        index = probe_folder(video.uri, frames_fps) if video.is_frames else probe_video(video.uri)
    except DataError as error:
        return Entry(video, None, DeadLetter(video.video_id, 0, "probe", type(error).__name__, str(error)))
    return Entry(video, index)


def examine(video: Video, known: Entry | None, frames_fps: float, boxes: str | None) -> Entry:
    """Find out a video's content and, unless that is what is known of it, its frames."""
    # Before it is probed: a file that is replaced meanwhile has another content at the next start.
    found = Entry(video, None, None, content_digest(video), boxes_digest(boxes, video.video_id))
    if known is not None and known.index is not None and found.digest and known.has_content_of(found):
        return replace(found, index=known.index)
    probed = probe(video, frames_fps)
    if known is not None and known.has_content_of(found):
        # What could not be read now is still what it was.
        found = replace(
            found, digest=found.digest or known.digest, boxes_digest=found.boxes_digest or known.boxes_digest
        )
    return replace(found, index=probed.index, failure=probed.failure)


def examine_watched(
    video: Video,
    known: Entry | None,
    frames_fps: float,
    boxes: str | None,
    timeout_seconds: float,
    folder: RunFolder,
    session: str,
) -> Entry:
    """Examine a video in a process of Ray's, which is ended where the video hangs it.

    Here, and not beside what starts it: a worker that only probes need not import Ray Data.
    """
    with ending_hangs(timeout_seconds, partial(folder.note_hang, session, video.video_id, 0)):
        return examine(video, known, frames_fps, boxes)


# Deaths of its process after which a video is given up that cannot even be probed.
PROBE_ATTEMPTS = 3


# Probing waits for files, so that a core does two at a time; but the process for it takes longer to start than a few
# videos take to probe.
MANY_VIDEOS = 50


def build_catalogue(config: RunConfig, folder: RunFolder) -> Catalogue:
    """List the videos of a run and look at those that are new or may have changed; tell what did.

    Raises UserError before any work where the data set, labels or boxes are wrong.
    """
    listing = list_videos(config)
    known = read_entries(folder)
    entries = {
        video.video_id: replace(known[video.video_id], video=video, is_gone=False)
        for video in listing.videos
        if video.video_id in known and not known[video.video_id].failure and known[video.video_id].is_as_listed(video)
    }
    todo = [video for video in listing.videos if video.video_id not in entries]
    if todo:
        connect(config.ray)
        session = new_session()
        share = 0.5 if len(todo) >= MANY_VIDEOS else 1.0
        settings = (config.dataset.frame_rate(), boxes_root(config), config.decode.timeout_seconds, folder, session)
        calls = {video: (video, known.get(video.video_id), *settings) for video in todo}

        def given_up(video: Video, _: Exception) -> Entry:
            letter = letter_of_deaths(folder, session, (video.video_id, 0), "probe", PROBE_ATTEMPTS)
            return Entry(video, None, letter, content_digest(video), boxes_digest(boxes_root(config), video.video_id))

        probed = run_tasks(examine_watched, calls, if_died=given_up, num_cpus=share, max_retries=PROBE_ATTEMPTS - 1)
        with progress("probe", len(todo), "videos") as advance:
            for video, entry in probed:
                entries[video.video_id] = entry
                advance(1, dead=int(entry.failure is not None))
        folder.end_session(session)
        entries |= _read_by_others(folder, [entries[video.video_id] for video in todo])
    ordered = tuple(entries[video.video_id] for video in listing.videos)
    changes, gone = find_changes(known, ordered)
    return replace(catalogue_of(ordered, listing), changes=changes, gone=gone)


def _read_by_others(folder: RunFolder, entries: Sequence[Entry]) -> dict[str, Entry]:
    """Return what another driver could read meanwhile, with more luck, of the videos that failed here."""
    failed = [entry for entry in entries if entry.failure]
    others = read_catalogue(folder) if failed else {}
    return {
        entry.video.video_id: replace(other, video=entry.video)
        for entry in failed
        if (other := others.get(entry.video.video_id)) and not other.failure and other.has_content_of(entry)
    }
