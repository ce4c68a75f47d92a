"""The extraction: all segments of a shard that the run folder lacks, by Ray Data."""

import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from raypipe.config.run import RunConfig
from raypipe.distributed.cluster import connect
from raypipe.errors import UserError
from raypipe.extraction.catalog import (
    Catalogue,
    claim,
    write_catalogue,
    write_changes,
)
from raypipe.extraction.other_drivers import LogMetrics, meet_others, showing, take_stock
from raypipe.extraction.planning import plan_all
from raypipe.extraction.probing import build_catalogue
from raypipe.extraction.ray_dataset import dataset_of
from raypipe.extraction.settling import clear_old_names, make_way
from raypipe.monitoring.meter import Meter
from raypipe.monitoring.progress import progress
from raypipe.monitoring.watching import watching
from raypipe.ops.shards import WHOLE, Shard
from raypipe.run_folder.folder import DeadLetter, RunFolder, new_session
from raypipe.run_folder.record import require_same_run
from raypipe.weights.identity import models_of, require_weights

# A run that cannot write its last segment has wasted the others, so a full disk is told at the start.
MIN_FREE_BYTES = 64 * 2**20


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
    require_weights(config.detector)
    models = models_of(config)
    folder.require_space(MIN_FREE_BYTES)
    require_same_run(folder, config.flat_features(), config.feature_hash(), models)
    meet_others(folder, shard)
    with showing(folder, session, shard, meter, log_metrics):
        catalogue = build_catalogue(config, folder)
        claim(config, folder, catalogue.fingerprint(), models)
        make_way(folder, catalogue)
        if catalogue.changes:
            write_changes(folder, catalogue.changes)
        write_catalogue(folder, [*catalogue.entries, *catalogue.gone])
        clear_old_names(folder, catalogue.changes)
        result = _extract(config, folder, catalogue, session, shard, meter, retry_dead)
    result.progress = meter.snapshot()
    result.wall_seconds = result.progress["seconds"]
    return result


def _extract(
    config: RunConfig,
    folder: RunFolder,
    catalogue: Catalogue,
    session: str,
    shard: Shard,
    meter: Meter,
    retry_dead: bool,
) -> ExtractResult:
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
    meter.plan([pool.stages for pool in pools], len(rows), total)
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
