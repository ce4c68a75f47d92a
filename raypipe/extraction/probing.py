"""Probing of the videos: size, frames and timestamps of each, found out once and kept in the catalogue."""

from collections.abc import Mapping, Sequence
from functools import partial

from raypipe.config.run import RunConfig
from raypipe.datasets.folder import Video
from raypipe.distributed.cluster import connect
from raypipe.distributed.tasks import run_tasks
from raypipe.errors import DataError, UserError
from raypipe.extraction.catalog import Catalogue, Entry, catalogue_of, list_videos, read_catalogue, still_valid
from raypipe.monitoring.progress import progress
from raypipe.run_folder.storage import DeadLetter, RunFolder, escape, letter_of_deaths, new_session
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


def probe_watched(video: Video, frames_fps: float, timeout_seconds: float, folder: RunFolder, session: str) -> Entry:
    """Probe a video in a process of Ray's, which is ended where the video hangs it.

    Here, and not beside what starts it: a worker that only probes need not import Ray Data.
    """
    with ending_hangs(timeout_seconds, partial(folder.note_hang, session, video.video_id, 0)):
        return probe(video, frames_fps)


# Deaths of its process after which a video is given up that cannot even be probed.
PROBE_ATTEMPTS = 3


# Probing waits for files, so that a core does two at a time; but the process for it takes longer to start than a few
# videos take to probe.
MANY_VIDEOS = 50


def build_catalogue(config: RunConfig, folder: RunFolder) -> Catalogue:
    """List and probe the videos of a run; probes of unchanged videos come from the run folder.

    Raises UserError before any work where the data set, labels or boxes are wrong.
    """
    listing = list_videos(config)
    cached = read_catalogue(folder)
    _refuse_changed(cached, listing.videos, folder)
    entries = still_valid(cached, listing.videos)
    todo = [video for video in listing.videos if video.video_id not in entries]
    if todo:
        connect(config.ray)
        session = new_session()
        share = 0.5 if len(todo) >= MANY_VIDEOS else 1.0
        settings = (config.dataset.frame_rate(), config.decode.timeout_seconds, folder, session)
        calls = {video: (video, *settings) for video in todo}

        def given_up(video: Video, _: Exception) -> Entry:
            letter = letter_of_deaths(folder, session, (video.video_id, 0), "probe", PROBE_ATTEMPTS)
            return Entry(video, None, letter)

        probed = run_tasks(probe_watched, calls, if_died=given_up, num_cpus=share, max_retries=PROBE_ATTEMPTS - 1)
        with progress("probe", len(todo), "videos") as advance:
            for video, entry in probed:
                entries[video.video_id] = entry
                advance(1, dead=int(entry.failure is not None))
        folder.end_session(session)
        failed = [video for video in todo if entries[video.video_id].failure]
        if failed:
            # Another driver may have been luckier meanwhile: what it could read can be read.
            entries |= still_valid(read_catalogue(folder), failed)
    ordered = tuple(entries[video.video_id] for video in listing.videos)
    return catalogue_of(ordered, listing)


def _refuse_changed(cached: Mapping[str, Entry], videos: Sequence[Video], folder: RunFolder) -> None:
    """Raise UserError where a video has features, and its file or its boxes have another size now."""
    committed = folder.committed()
    for video in videos:
        before = cached.get(video.video_id)
        if before is None or video.video_id not in committed:
            continue
        then, now = before.video, video
        if (then.num_bytes, then.boxes_bytes) != (now.num_bytes, now.boxes_bytes):
            where = folder.name("features", escape(video.video_id))
            raise UserError(
                f"{video.video_id} changed since its features were extracted: video {then.num_bytes:,} bytes then and "
                f"{now.num_bytes:,} now, boxes {then.boxes_bytes:,} and {now.boxes_bytes:,}. "
                f"Remove {where} to extract them again, or use another output."
            )
