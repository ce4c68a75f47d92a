"""The steps of a run as a user knows them: extract, train, score, evaluate.

Each step works on the run folder alone, so any can be repeated or run on its own; each is one MLflow run, a child
where `run` does them all. A step returns the lines that tell the user what it did.
"""

import shlex
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from raypipe.anomaly_model.score import made_by, model_of_scores, score
from raypipe.anomaly_model.train import train
from raypipe.config.run import RunConfig
from raypipe.datasets.listing import Listing
from raypipe.datasets.specs import benchmark_of
from raypipe.distributed.cluster import connect
from raypipe.errors import UserError
from raypipe.evaluation.evaluate import Evaluation, VideoScores, align_labels, evaluate_videos
from raypipe.evaluation.results import metric_table, per_video_table, results_document, results_page
from raypipe.extraction.catalog import Catalogue, list_videos, read_catalogue, require_features
from raypipe.extraction.extract import extract
from raypipe.extraction.planning import plan_all
from raypipe.monitoring.meter import system_metrics
from raypipe.monitoring.timings import TIMINGS_NAME, stage_timings, write_timings
from raypipe.ops.shards import WHOLE, Shard
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.record import require_same_config, versions
from raypipe.run_folder.tables import read_records, read_scores, serialise_table
from raypipe.tracking.experiment import Experiment, track
from raypipe.tracking.server import load_mlflow, ui_command

RESULTS_NAME = "results.json"
PER_VIDEO_NAME = "results.parquet"
PAGE_NAME = "results.md"
SHOWN_DEAD_LETTERS = 5


def extract_step(
    config: RunConfig,
    experiment: Experiment,
    *,
    retry_dead: bool = False,
    shard: Shard = WHOLE,
) -> list[str]:
    """Compute the features that the run folder lacks; see `pipeline.extract`."""
    folder = RunFolder(config.output)
    log_metrics = experiment.log_metrics if experiment.tracking_uri else None
    result = extract(config, retry_dead=retry_dead, shard=shard, log_metrics=log_metrics)
    catalogue = result.catalogue
    if result.processed_frames:
        write_timings(folder)
        experiment.log_metrics(system_metrics(result.progress), step=int(result.wall_seconds))
    experiment.log_dataset(
        config.dataset.name,
        catalogue.fingerprint(),
        config.dataset.root,
        context="extract",
        num_videos=len(catalogue.entries),
        num_frames=result.num_frames,
    )
    rates = {f"{stage}_{name}": value for stage, row in stage_timings(folder).items() for name, value in row.items()}
    experiment.log_metrics(rates | {"dead": len(result.dead), "segments": result.num_segments})
    _log_files(experiment, folder, "run", "run.json")
    part = "" if shard.is_whole else f"shard {shard} of "
    lines = [
        f"features: {part}{len(catalogue.entries):,} videos, {result.num_frames:,} frames, "
        f"{result.num_segments:,} segments; "
        f"{result.processed_frames:,} frames in {result.wall_seconds:.1f} s "
        f"(start-up {result.startup_seconds:.1f} s), {result.num_done_before:,} segments were there already"
    ]
    if catalogue.changes:
        lines.insert(0, f"data: {catalogue.changes}")
    if result.processed_frames:
        shares = {stage: row["share"] for stage, row in stage_timings(folder).items() if "share" in row}
        lines.append("time: " + ", ".join(f"{stage} {share:.0%}" for stage, share in shares.items()))
    if result.num_left:
        lines.append(
            f"left to other shards: {result.num_left:,} segments; raypipe status {shlex.quote(folder.root)} tells of "
            "them, raypipe run does what follows when there are none"
        )
    if catalogue.num_ignored:
        lines.append(f"left out: {catalogue.num_ignored:,} videos outside the splits")
    lines += [f"note: {note}" for note in catalogue.notes]
    lines += [f"damaged: {video}: {damage}" for video, damage in catalogue.damaged.items()]
    if result.num_unparsed:
        lines.append(f"unread: {result.num_unparsed:,} answers of the vision-language model say no number or box")
    if result.dead:
        lines.append(f"dead letters: {len(result.dead):,}, in {folder.root}/dead (try again: --retry-dead)")
        shown = result.dead[:SHOWN_DEAD_LETTERS]
        lines += [f"  {d.video_id} segment {d.segment_index}, {d.stage}: {d.message}" for d in shown]
        if len(result.dead) > len(shown):
            lines.append(f"  and {len(result.dead) - len(shown):,} more")
    return lines


def train_step(config: RunConfig, experiment: Experiment) -> list[str]:
    """Train the model that `score.model` names; see `train.train`."""
    folder = RunFolder(config.output, config.variation)
    catalogue = require_features(config, folder)
    began = time.monotonic()
    trained, is_new = train(config, catalogue, experiment.metric_logger())
    wall_seconds = time.monotonic() - began
    if is_new:
        _set_timing(folder, "train", wall_seconds, trained.num_objects)
    experiment.log_metrics({"objects": trained.num_objects})
    _log_files(experiment, folder, "model", folder.product(f"models/{trained.kind}"))
    if is_new:
        ends = [f"{trained.history[i]['loss']:.4f}" for i in (0, -1)] if trained.history else []
        loss = f", loss {' -> '.join(ends)}" if ends else ""
        lacks_bf16 = (config.train.precision, trained.precision) == ("bf16", "fp32")
        note = " (in fp32: the CPU has no bf16)" if lacks_bf16 else ""
        line = f"model: {trained.kind}, {trained.num_objects:,} objects in {wall_seconds:.1f} s{note}{loss}"
    else:
        line = f"model: {trained.kind}, trained before on {trained.num_objects:,} objects"
    committed, segments = folder.committed(), plan_all(config, catalogue.entries).segments
    train_split = [(s.video.video_id, s.segment_index) for s in segments if s.video.split == "train"]
    missing = sum(index not in committed.get(video, ()) for video, index in train_split)
    return [line, *([f"not trained on: {missing:,} segments that are dead, or not done yet"] if missing else [])]


def score_step(config: RunConfig, experiment: Experiment) -> list[str]:
    """Score every frame of the test videos; see `score.score`."""
    folder = RunFolder(config.output, config.variation)
    began = time.monotonic()
    result = score(config, require_features(config, folder))
    wall_seconds = time.monotonic() - began
    if result.num_new_frames:
        _set_timing(folder, "score", wall_seconds, result.num_new_frames)
    experiment.log_metrics({"videos": result.num_videos, "frames": result.num_frames, "objects": result.num_objects})
    lines = [
        f"scores: {result.num_videos:,} videos, {result.num_frames:,} frames, {result.num_objects:,} objects "
        f"in {wall_seconds:.1f} s, in {folder.name(folder.product('scores'))}"
    ]
    if result.num_scored_before:
        lines[0] += f"; {result.num_scored_before:,} videos were scored already"
    if result.num_unscored_frames:
        lines.append(f"not scored: {result.num_unscored_frames:,} frames, their segments are missing or dead")
    return lines


def evaluate_step(config: RunConfig, experiment: Experiment) -> list[str]:
    """Compare the scores with the labels and write results.json, whether or not there are labels."""
    from raypipe.evaluation.plots import plot_roc, plot_timelines

    folder = RunFolder(config.output, config.variation)
    catalogue = require_features(config, folder)
    evaluation, videos, rates = _evaluate(config, folder, catalogue)
    document = results_document(
        evaluation,
        counts=_counts(folder, catalogue),
        timings=stage_timings(folder),
        config_hash=config.feature_hash(),
        versions=versions(),
    )
    # Of a variation nothing else keeps what it was done with.
    document["config"] = config.model_dump(mode="json", exclude={"tracking"})
    document["labels"] = {"source": catalogue.label_source or None, "notes": list(catalogue.notes)}
    if catalogue.labels is None:
        document["metrics"] = {}
    results, per_video, page = (folder.product(name) for name in (RESULTS_NAME, PER_VIDEO_NAME, PAGE_NAME))
    folder.commit_json(results, document)
    folder.commit(folder.path(per_video), serialise_table(per_video_table(evaluation)))
    if catalogue.labels is not None:
        source = [f"labels: {catalogue.label_source}"] if catalogue.label_source else []
        text = results_page(
            evaluation,
            title=config.variation or "Results",
            dataset=benchmark_of(config.dataset.name, config.dataset.root) or "",
            remarks=[*source, *catalogue.notes],
        )
        folder.commit(folder.path(page), text.encode())
        _log_files(experiment, folder, "results", page)
    _log_files(experiment, folder, "results", results, per_video)
    experiment.log_figure(plot_timelines(videos, rates), "score_timelines.png")
    where = f"results: {folder.name(results)}"
    if catalogue.labels is None:
        return [where, f"no metrics: {config.dataset.root} has no labels.csv"]
    experiment.log_metrics({name: metric.value for name, metric in evaluation.metrics.items()})
    experiment.log_figure(plot_roc(evaluation), "roc.png")
    source = [f"labels: {catalogue.label_source}"] if catalogue.label_source else []
    return ["", metric_table(evaluation), *source, "", where]


STEPS: dict[str, Callable[[RunConfig, Experiment], list[str]]] = {
    "extract": extract_step,
    "train": train_step,
    "score": score_step,
    "evaluate": evaluate_step,
}


def run_step(
    name: str, config: RunConfig, say: Callable[[str], None], *, retry_dead: bool = False, shard: Shard = WHOLE
) -> int:
    """Do one step, or all with "run", and tell each one's outcome; return how many dead letters there are.

    Of a shard, only features can be made, and its own dead letters count. Raises UserError for other steps.
    """
    if name != "extract" and not shard.is_whole:
        raise UserError(
            f"--shard {shard}: {name} works on the features of all shards. Do `raypipe extract --shard` for each, and "
            f"`raypipe {name}` without --shard when all are done (raypipe status {shlex.quote(config.output)})"
        )
    # A mistake in the data is told before anything is started or recorded.
    listing = list_videos(config)
    _require_splits(name, listing)
    folder = RunFolder(config.output)
    require_same_config(folder, config.flat_features(), config.feature_hash())
    with ThreadPoolExecutor(max_workers=1) as pool, _started(pool, config, name) as experiment:
        if name == "run":
            for step in STEPS:
                with experiment.child(step) as child:
                    _say(_do(step, config, child, retry_dead, shard), say)
        else:
            _say(_do(name, config, experiment, retry_dead, shard), say)
        if experiment.lost is not None:
            say(f"MLflow: the record of this run is not complete: {experiment.lost}")
        elif experiment.tracking_uri is not None:
            say(f"look at the run: {ui_command(experiment.tracking_uri)}")
    dead = _dead_of(folder, {v.video_id for v in listing.videos})
    if shard.is_whole:
        return sum(map(len, dead.values()))
    places = plan_all(config, read_catalogue(folder).values()).part(shard).places
    return sum(index in dead.get(video, ()) for video, index in places)


def _require_splits(name: str, listing: Listing) -> None:
    """Raise UserError where a split has no video that a step, or one after it, works on."""
    needed = {"train": ("train",), "score": ("test",), "evaluate": ("test",), "run": ("train", "test")}.get(name, ())
    lacking = [split for split in needed if not any(video.split == split for video in listing.videos)]
    if lacking:
        found = ", ".join(sorted({video.split for video in listing.videos}))
        raise UserError(
            f"dataset.root: no video is in the split {' or '.join(lacking)}, which `raypipe {name}` needs (there is: "
            f"{found}). Videos below train/ are normal, those below test/ are scored."
        )


def _dead_of(folder: RunFolder, videos: set[str]) -> dict[str, set[int]]:
    """Return the dead segments of each of the videos that has any; of others, dead letters may be left."""
    return {video: indices for video, indices in folder.dead().items() if video in videos}


def _do(name: str, config: RunConfig, experiment: Experiment, retry_dead: bool, shard: Shard) -> list[str]:
    return (
        extract_step(config, experiment, retry_dead=retry_dead, shard=shard)
        if name == "extract"
        else STEPS[name](config, experiment)
    )


def _say(lines: list[str], say: Callable[[str], None]) -> None:
    for line in lines:
        say(line)


@contextmanager
def _started(pool: ThreadPoolExecutor, config: RunConfig, name: str) -> Iterator[Experiment]:
    """Open the MLflow run; a run of all steps needs Ray in any case, which starts meanwhile: both take seconds.

    Ray starts in the main thread: started in another one, it takes 15 s to shut down.
    """
    if name == "run":
        loading = pool.submit(load_mlflow) if config.tracking.enabled else None
        connect(config.ray)
        if loading is not None:
            # Two threads that import MLflow at once get half of it each.
            loading.result()
    tags = {"raypipe.step": name}
    with track(config.tracking, config.output, run_name=name, params=config.flat(), tags=tags) as experiment:
        yield experiment


def _evaluate(
    config: RunConfig, folder: RunFolder, catalogue: Catalogue
) -> tuple[Evaluation, list[VideoScores], dict[str, float]]:
    model = model_of_scores(config, catalogue)
    videos, rates = [], {}
    for entry in catalogue.entries:
        if entry.video.split == "test" and entry.index is not None:
            name = entry.video.video_id
            score_T = (
                read_scores(folder, name, made_by(config.score, model))["score"]
                .to_numpy(zero_copy_only=False)
                .astype(np.float64)
            )
            num_labelled = catalogue.label_frames.get(name, len(score_T))
            label, num_cut = align_labels((catalogue.labels or {}).get(name, []), num_labelled)
            rates[name] = entry.index.fps
            video, times = entry.video, entry.index.uneven_times
            videos.append(VideoScores(name, score_T, label, num_cut, rates[name], video.class_name, video.scene, times))
    evaluation = evaluate_videos(
        videos,
        config.evaluate,
        seed=config.seed,
        smoothing_seconds=config.score.smoothing_seconds,
        min_max=config.score.min_max,
    )
    return evaluation, videos, rates


def _counts(folder: RunFolder, catalogue: Catalogue) -> dict[str, int]:
    videos = {entry.video.video_id for entry in catalogue.entries}
    committed = {video: indices for video, indices in folder.committed().items() if video in videos}
    records = read_records(folder, committed)
    return {
        "videos": len(catalogue.entries),
        "segments": len(records),
        "frames": sum(record.stop_frame - record.start_frame for record in records),
        "objects": sum(record.num_objects for record in records),
        "dead": sum(map(len, _dead_of(folder, videos).values())),
        "damaged": len(catalogue.damaged),
    }


def _set_timing(folder: RunFolder, stage: str, seconds: float, num_frames: int) -> None:
    name = folder.product(TIMINGS_NAME)
    document = folder.read_json(name) or {}
    folder.commit_json(name, document | {stage: {"seconds": seconds, "frames": num_frames}})


def _log_files(experiment: Experiment, folder: RunFolder, below: str, *names: str) -> None:
    """Record files of the run folder, which MLflow takes from this machine's disk only."""
    if folder.is_local:
        for name in names:
            experiment.log_file(Path(folder.path(name)), below)
