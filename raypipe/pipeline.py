"""The whole path of a segment on one page, and the Ray Data job that runs it over all segments of a catalogue.

    catalogue -> segments -> decode -> motion -> detect -> pool -> encode -> caption -> attend -> commit

One row is one segment. A step is a callable class that maps a row; consecutive steps of one pool run in one actor.
`fused` puts all steps of a row into one actor (with GPUs: those from the first that uses one), so that frames never
leave its memory; `staged` gives every step a pool of its own. The steps, and so the output, are the same.
"""

import logging
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import ray

from raypipe.background_metrics import LogMetrics
from raypipe.catalog import (
    Catalogue,
    Entry,
    catalogue_of,
    list_videos,
    plan_all,
    probe_watched,
    read_catalogue,
    still_valid,
    write_catalogue,
)
from raypipe.cluster import connect
from raypipe.config import RunConfig
from raypipe.datasets.folder import Video
from raypipe.errors import UserError
from raypipe.meter import Meter
from raypipe.model_folders import models_of
from raypipe.ops.shards import WHOLE, Shard
from raypipe.pools import Pool, plan_pools, tasks_in_flight
from raypipe.progress import progress
from raypipe.ray_metrics import watching
from raypipe.run_record import open_run
from raypipe.run_steps import RunSteps, letter_of_deaths
from raypipe.sharing import meet_others, showing, take_stock
from raypipe.stages.commit import CommitFeatures
from raypipe.stages.decode import DecodeFrames
from raypipe.stages.detect import DetectObjects, require_weights
from raypipe.stages.motion import ExtractMotion, PoolMotion
from raypipe.storage import DeadLetter, RunFolder, escape, new_session
from raypipe.timings import read_timings
from raypipe.versions import versions

logger = logging.getLogger(__name__)

Step = tuple[str, Callable[[], Callable[[dict[str, Any]], dict[str, Any]]]]

# A run that cannot write its last segment has wasted the others, so a full disk is told at the start.
MIN_FREE_BYTES = 64 * 2**20
# Deaths of its process after which a video is given up that cannot even be probed.
PROBE_ATTEMPTS = 3
# Probing waits for files, so that a core does two at a time; but the process for it takes longer to start than a few
# videos take to probe.
MANY_VIDEOS = 50
# What `raypipe plan` measured.
PLAN_NAME = "plan.json"


def steps_of(config: RunConfig, folder: RunFolder) -> list[tuple[str, type, tuple[Any, ...]]]:
    """Return the steps of a segment in order: name, class, and the arguments it is made with."""
    steps: list[tuple[str, type, tuple[Any, ...]]] = [("decode", DecodeFrames, (config.decode,))]
    with_motion = "motion" in config.features.extracted
    if with_motion:
        steps.append(("motion", ExtractMotion, ()))
    steps.append(("detect", DetectObjects, (config.detector, config.tracks)))
    if with_motion:
        steps.append(("pool", PoolMotion, (config.motion,)))
    spatial = [name for name in config.features.extracted if name != "motion"]
    if spatial:
        # Here, because a run on motion alone need not wait for torch, neither in the driver nor in its actors.
        from raypipe.stages.attend import AttendFeatures
        from raypipe.stages.caption import TellSentences
        from raypipe.stages.encode import EncodeObjects

        blip2, smm = str(config.weights.blip2), config.weights.smm
        rules = config.sentence.rules if config.needs_sentences else None
        steps.append(("encode", EncodeObjects, (config.encode_resolved(), blip2, rules, "backbone" in spatial)))
        if rules:
            reach = None if config.segment_bytes is None else config.warmup_frames
            steps.append(("caption", TellSentences, (config.sentence, config.encode, blip2, smm, reach)))
        steps.append(("attend", AttendFeatures, (spatial, config.encode.device)))
    steps.append(("commit", CommitFeatures, (folder, config.feature_hash())))
    return steps


def gpu_steps_of(config: RunConfig) -> tuple[str, ...]:
    """Return the names of the steps that run on a GPU where there is one."""
    detects = config.detector.kind in ("yolo", "vlm")
    encodes = config.encode.device != "cpu"
    return (*(("detect",) if detects else ()), *(("encode", "caption") if encodes else ()))


@dataclass
class ExtractResult:
    """What an extraction did in this start of its shard, and what is in the run folder after it.

    `num_left` counts the segments of the whole run, all shards, that are neither done nor dead at the end.
    `num_unparsed` counts the answers of a vision-language model, in this start, in which nothing could be read.
    Of `wall_seconds`, `startup_seconds` went by before the first segment began: connecting, probing the videos,
    starting the actors. `progress` is the last snapshot of its `Meter`.
    """

    catalogue: Catalogue
    num_segments: int = 0
    num_frames: int = 0
    num_done_before: int = 0
    num_objects: int = 0
    num_unparsed: int = 0
    dead: list[DeadLetter] = field(default_factory=list)
    wall_seconds: float = 0.0
    startup_seconds: float = 0.0
    processed_frames: int = 0
    num_left: int = 0
    progress: dict[str, Any] = field(default_factory=dict)

    @property
    def seconds(self) -> dict[str, float]:
        """The stages' own seconds, summed over segments."""
        return {name: row["seconds"] for name, row in self.progress["stages"].items() if row["seconds"]}


def build_catalogue(config: RunConfig, folder: RunFolder) -> Catalogue:
    """List and probe the videos of a run; probes of unchanged videos come from the run folder.

    Raises UserError before any work where the data set, labels, boxes or the detector's weights are wrong.
    """
    require_weights(config.detector)
    listing = list_videos(config)
    cached = read_catalogue(folder)
    _refuse_changed(cached, listing.videos, folder)
    entries = still_valid(cached, listing.videos)
    todo = [video for video in listing.videos if video.video_id not in entries]
    if todo:
        connect(config.ray)
        session = new_session()
        share = 0.5 if len(todo) >= MANY_VIDEOS else 1.0
        remote = ray.remote(probe_watched).options(num_cpus=share, max_retries=PROBE_ATTEMPTS - 1)
        settings = (config.dataset.frame_rate(), config.decode.timeout_seconds, folder, session)
        pending = {remote.remote(video, *settings): video for video in todo}
        with progress("probe", len(todo), "videos") as advance:
            while pending:
                ready, _ = ray.wait(list(pending), num_returns=1)
                video = pending.pop(ready[0])
                entries[video.video_id] = _probed(ready[0], video, folder, session)
                advance(1, dead=int(entries[video.video_id].failure is not None))
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


def _probed(reference: Any, video: Video, folder: RunFolder, session: str) -> Entry:
    try:
        entry: Entry = ray.get(reference)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError, ray.exceptions.NodeDiedError):
        place = (video.video_id, 0)
        return Entry(video, None, letter_of_deaths(folder, session, place, "probe", PROBE_ATTEMPTS))
    return entry


def extract(
    config: RunConfig,
    *,
    retry_dead: bool = False,
    shard: Shard = WHOLE,
    log_metrics: LogMetrics | None = None,
) -> ExtractResult:
    """Compute the features of all segments of a shard that the run folder lacks; safe to kill and to start again.

    Other drivers may work on the same folder at the same time, even on the same shard. `log_metrics` records how fast
    it goes. Raises UserError before any work where the config does not fit the data or the run folder.
    """
    folder, meter, session = RunFolder(config.output), Meter(), new_session()
    folder.require_space(MIN_FREE_BYTES)
    previous = folder.read_json("run.json")
    if previous is not None:
        _claim(config, folder, previous.get("catalogue_hash", ""))
    meet_others(folder, shard)
    with showing(folder, session, shard, meter, log_metrics):
        result = _extract(config, folder, session, shard, meter, retry_dead)
    result.progress = meter.snapshot()
    result.wall_seconds = result.progress["seconds"]
    return result


def _extract(
    config: RunConfig, folder: RunFolder, session: str, shard: Shard, meter: Meter, retry_dead: bool
) -> ExtractResult:
    models = models_of(config)
    catalogue = build_catalogue(config, folder)
    _claim(config, folder, catalogue.fingerprint(), models)
    write_catalogue(folder, catalogue.entries)
    whole = plan_all(config, catalogue.entries)
    share = whole.part(shard)
    if retry_dead:
        folder.clear_dead(share.places)
    _bury_unreadable(folder, catalogue, share.failures)

    committed, dead = folder.committed(), folder.dead()
    result = ExtractResult(catalogue, num_segments=len(share.segments))
    todo = []
    for segment in share.segments:
        result.num_frames += segment.stop_frame - segment.start_frame
        video_id = segment.video.video_id
        if segment.segment_index in committed.get(video_id, set()) | dead.get(video_id, set()):
            result.num_done_before += 1
        else:
            todo.append(segment)
    if todo:
        _run(config, folder, session, [segment.row() for segment in todo], result, meter)
    stock = take_stock(folder, whole, share)
    result.dead, result.num_left = stock.dead, stock.num_left
    return result


def _claim(config: RunConfig, folder: RunFolder, catalogue_hash: str, models: Mapping[str, str] | None = None) -> None:
    open_run(
        folder,
        config=config.model_dump(mode="json"),
        feature_keys=config.flat_features(),
        config_hash=config.feature_hash(),
        versions=versions(),
        catalogue_hash=catalogue_hash,
        models=models,
    )


def _bury_unreadable(folder: RunFolder, catalogue: Catalogue, failures: Sequence[DeadLetter]) -> None:
    """Write the dead letters of videos that cannot be probed, and take back those of videos that now can."""
    unreadable = {entry.video.video_id for entry in catalogue.entries if entry.failure}
    for letter in folder.read_dead():
        if letter.stage == "probe" and letter.video_id not in unreadable:
            folder.remove(folder.dead_path(letter.video_id, letter.segment_index))
    for failure in failures:
        folder.commit_dead(failure)


def _run(
    config: RunConfig,
    folder: RunFolder,
    session: str,
    rows: list[dict[str, Any]],
    result: ExtractResult,
    meter: Meter,
) -> None:
    connect(config.ray)
    dataset, pools = dataset_of(config, folder, rows, session)
    total = sum(row["stop_frame"] - row["start_frame"] for row in rows)
    meter.plan([pool.steps for pool in pools], len(rows), total)
    first_begun = float("inf")
    try:
        with progress("extract", total, detail=meter.line) as advance, watching(meter, dataset):
            for done in dataset.iter_rows():
                if done.get("refusal"):
                    raise UserError(done["refusal"])
                span = done["stop_frame"] - done["start_frame"]
                meter.add(done)
                advance(span, dead=int(bool(done.get("is_dead"))))
                result.processed_frames += span
                result.num_objects += done["num_objects"]
                result.num_unparsed += done.get("num_unparsed", 0)
                seconds = [value for name, value in done.items() if name.startswith("seconds_") and value]
                # By durations, because the clocks of two machines differ.
                first_begun = min(first_begun, time.monotonic() - sum(seconds))
        result.startup_seconds = first_begun - meter.began
    finally:
        folder.end_session(session)


def dataset_of(
    config: RunConfig, folder: RunFolder, rows: list[dict[str, Any]], session: str
) -> tuple[Any, list[Pool]]:
    """Return the lazy Ray dataset that processes planned rows, and its pools.

    Its rows say what became of each segment. Raises UserError where the pools that the config asks for cannot be had.
    """
    steps = steps_of(config, folder)
    have = ray.cluster_resources()
    # What an autoscaling cluster does not have yet, it gets for the actors that wait.
    will_have = config.ray.resources
    pools = plan_pools(
        [name for name, _, _ in steps],
        gpu_steps_of(config),
        config.layout,
        num_rows=len(rows),
        num_cpus=will_have.num_cpus if will_have else have.get("CPU", 1.0),
        num_gpus=will_have.num_gpus if will_have else have.get("GPU", 0.0),
        actors=config.ray.actors,
        sizes=config.ray.pools,
        seconds_per_frame=_known_seconds(folder),
    )
    return map_rows(rows, steps, pools, folder, session, config.max_attempts), pools


def _known_seconds(folder: RunFolder) -> dict[str, float]:
    """Return the seconds per frame of the steps as far as they are known from earlier starts, or from a plan."""
    timings = read_timings(folder)
    planned: dict[str, float] = (folder.read_json(PLAN_NAME) or {}).get("seconds_per_frame", {})
    return planned | {name: row["seconds"] / row["frames"] for name, row in timings.items() if row["frames"]}


def map_rows(
    rows: list[dict[str, Any]],
    steps: Sequence[tuple[str, type, tuple[Any, ...]]],
    pools: Sequence[Pool],
    folder: RunFolder,
    session: str,
    max_attempts: int,
) -> Any:
    """Return the lazy Ray dataset in which every row passes the steps, each pool's in one of its actors."""
    named = {step[0]: step for step in steps}
    lengths = [row["num_sampled"] for row in rows]
    dataset = ray.data.from_items(rows, override_num_blocks=len(rows))
    for position, pool in enumerate(pools):
        stage = type("_".join(pool.steps), (RunSteps,), {})
        group = [named[name] for name in pool.steps]
        in_flight = tasks_in_flight(lengths, pool.size)
        dataset = dataset.map(
            stage,
            fn_constructor_args=(group, folder, session, max_attempts, position),
            num_cpus=pool.num_cpus,
            num_gpus=pool.num_gpus,
            compute=ray.data.ActorPoolStrategy(size=pool.size, max_tasks_in_flight_per_actor=in_flight),
        )
    return dataset


def require_features(config: RunConfig, folder: RunFolder) -> Catalogue:
    """Return the catalogue of a run folder that holds the features of this config.

    Raises UserError where it holds none, or those of another config.
    """
    document = folder.read_json("run.json")
    if document is None:
        raise UserError(f"{folder.root} holds no features: run `raypipe extract` first")
    _claim(config, folder, document["catalogue_hash"])
    cached = read_catalogue(folder)
    listing = list_videos(config)
    other = [video.video_id for video in listing.videos if getattr(cached.get(video.video_id), "video", None) != video]
    if other:
        raise UserError(
            f"{len(other)} videos are new, or have changed their file, boxes or split since `raypipe extract`, "
            f"the first: {other[0]}. Run it again."
        )
    return catalogue_of((cached[video.video_id] for video in listing.videos), listing)
