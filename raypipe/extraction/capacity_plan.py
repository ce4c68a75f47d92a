"""How long an extraction will take and with which actors: costs of its stages, measured or read, and the sums of them.

The sums are in `ops/run_time.py`, the pools are those that a run makes (`pools.py`). What was measured is kept in the
run folder as plan.json, by which a run sizes its pools until it has timings of its own.
"""

import json
import tempfile
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import ray

from raypipe import pipeline
from raypipe.config.run import RunConfig
from raypipe.distributed.cluster import connect
from raypipe.distributed.tasks import run_tasks
from raypipe.errors import UserError
from raypipe.extraction.catalog import Catalogue
from raypipe.extraction.planning import plan_video
from raypipe.extraction.pools import TASKS_IN_FLIGHT, Pool, plan_pools
from raypipe.extraction.probing import build_catalogue
from raypipe.extraction.ray_dataset import PLAN_NAME
from raypipe.extraction.stage_runner import StageRunner
from raypipe.ops.run_time import Estimate, PoolLoad, Resources, Work, estimate, parse_cluster
from raypipe.ops.segments import decoded_size
from raypipe.pipeline import gpu_tenths_of
from raypipe.run_folder.folder import RunFolder
from raypipe.text import duration
from raypipe.weights.identity import models_of, require_weights

SAMPLED_SEGMENTS = 3


@dataclass(frozen=True)
class Costs:
    """What each step needs of one actor: seconds per source frame, and the bytes that it hands on per decoded byte.

    `source` says where from, in words; `on_gpu` whether stages that use a GPU had one, None where that is not known.
    """

    seconds_per_frame: dict[str, float]
    bytes_per_decoded_byte: dict[str, float]
    source: str
    on_gpu: bool | None


@dataclass(frozen=True)
class CapacityPlan:
    """An extraction as it is expected to go."""

    resources: Resources
    num_videos: int
    work: Work
    costs: Costs
    pools: list[Pool]
    loads: list[PoolLoad]
    estimate: Estimate
    uses_gpu: bool


def make_plan(config: RunConfig, cluster: str | None, timings: Path | None) -> CapacityPlan:
    """Return what to expect of extracting everything: on `cluster`, on that of `ray.cluster`, or on the connected one.

    Costs come from the file `timings` (results.json or timings.json of a run), or are measured on some segments.
    Raises UserError where the data, the cluster's text or the timings cannot be used, or pools do not fit.
    """
    given = _parse(cluster) if cluster is not None else config.ray.resources
    folder = RunFolder(config.output)
    require_weights(config.detector)
    models_of(config)
    stages = [stage.name for stage in pipeline.stages_of(config, folder)]
    costs = read_costs(timings, stages) if timings is not None else None
    if given is None or costs is None:
        connect(config.ray)
    have = given or _connected()
    catalogue = build_catalogue(config, folder)
    rows = [segment.row() for entry in catalogue.entries for segment in plan_video(config, entry)]
    if not rows:
        raise UserError(f"{config.dataset.root}: none of the {len(catalogue.entries)} videos can be read")
    return plan_rows(config, catalogue, rows, have, costs or measure_costs(config, rows))


def plan_rows(
    config: RunConfig, catalogue: Catalogue, rows: Sequence[dict[str, Any]], have: Resources, costs: Costs
) -> CapacityPlan:
    """Return what to expect of planned rows on given resources, by given costs."""
    stages = pipeline.stages_of(config, RunFolder(config.output))
    pools = plan_pools(
        [stage.name for stage in stages],
        gpu_tenths_of(stages),
        config.layout,
        num_rows=len(rows),
        num_cpus=have.num_cpus,
        num_gpus=have.num_gpus,
        actors=config.ray.actors,
        sizes=config.ray.pools,
        seconds_per_frame=costs.seconds_per_frame,
    )
    largest = max(_decoded_bytes(config, row) for row in rows)
    loads = [
        PoolLoad(
            "-".join(pool.stages),
            pool.size,
            sum(costs.seconds_per_frame[name] for name in pool.stages),
            # Where it is not known: the frames, which are most of a row until it is committed.
            largest * costs.bytes_per_decoded_byte.get(pool.stages[-1], 1.0),
            uses_gpu=pool.num_gpus > 0,
        )
        for pool in pools
    ]
    spans = [row["stop_frame"] - row["start_frame"] for row in rows]
    work = Work(len(rows), sum(spans), max(spans))
    uses_gpu = any(pool.num_gpus for pool in pools)
    expected = estimate(work, loads, have, in_flight=TASKS_IN_FLIGHT)
    return CapacityPlan(have, len(catalogue.entries), work, costs, pools, loads, expected, uses_gpu)


def _parse(cluster: str) -> Resources:
    try:
        return parse_cluster(cluster)
    except ValueError as error:
        raise UserError(f"--cluster: {error}") from error


def _connected() -> Resources:
    have = ray.cluster_resources()
    return Resources(max(1, int(have.get("CPU", 1))), int(have.get("GPU", 0)))


def _decoded_bytes(config: RunConfig, row: Mapping[str, Any]) -> int:
    width, height = decoded_size(row["width"], row["height"], config.decode.max_side)
    return int(3 * width * height * row["num_sampled"])


def read_costs(path: Path, stages: Sequence[str]) -> Costs:
    """Return the costs of `stages` from results.json or timings.json of a run.

    Raises UserError where the file holds neither, or nothing of a step.
    """
    document = _read(path)
    rows = document.get("timings", document)
    seconds = {}
    for name in stages:
        row = rows.get(name) if isinstance(rows, dict) else None
        match row:
            case {"seconds": float() | int() as value, "frames": int() as frames} if frames > 0:
                seconds[name] = value / frames
            case {"frames_per_second": float() | int() as rate} if rate > 0:
                seconds[name] = 1.0 / rate
            case _:
                raise UserError(
                    f"--timings: {path} says nothing of the step {name!r}; it must be the results.json or timings.json "
                    "of a run whose config has the same stages"
                )
    return Costs(seconds, {}, str(path), None)


def _read(path: Path) -> dict[str, Any]:
    try:
        document = json.loads(path.read_bytes())
    except OSError as error:
        raise UserError(f"--timings: {path} cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UserError(f"--timings: {path} is no JSON: {error}") from error
    return document if isinstance(document, dict) else {}


def sample_rows(rows: Sequence[dict[str, Any]], count: int) -> list[dict[str, Any]]:
    """Return `count` rows, or all, at even distances in the order of their lengths."""
    ordered = sorted(rows, key=lambda row: (row["num_sampled"], row["video_id"], row["segment_index"]))
    count = min(count, len(ordered))
    return [ordered[int((i + 0.5) * len(ordered) / count)] for i in range(count)]


def measure_costs(config: RunConfig, rows: Sequence[dict[str, Any]]) -> Costs:
    """Return the costs of all stages, measured on a few of the rows by a process that has what an actor has.

    Raises UserError where none of them can be processed, and where one of them ends the process.
    """
    stages = pipeline.stages_of(config, RunFolder(config.output))
    on_gpu = bool(gpu_tenths_of(stages)) and ray.cluster_resources().get("GPU", 0.0) >= 1
    sample = sample_rows(rows, SAMPLED_SEGMENTS)

    def refuse(_: str, error: Exception) -> dict[str, Any]:
        videos = ", ".join(sorted({row["video_id"] for row in sample}))
        raise UserError(
            "a segment that was tried ended the process that measures: perhaps it hangs (decode.timeout_seconds), "
            f"crashes a codec or exhausts memory. It is of one of {videos}. A run gives such a segment up and goes on; "
            "its results.json then tells a plan the costs: --timings"
        ) from error

    call = {"sample": (config, sample, on_gpu)}
    ((_, result),) = run_tasks(run_sample, call, if_died=refuse, num_cpus=1, num_gpus=1 if on_gpu else 0, max_retries=0)
    if not result["num_frames"]:
        raise UserError(f"none of {len(sample)} segments that were tried can be processed: {result['failure']}")
    source = f"measured on {result['num_segments']} segments, {result['num_frames']:,} frames, on a {result['device']}"
    return Costs(result["seconds_per_frame"], result["bytes_per_decoded_byte"], source, on_gpu)


def run_sample(config: RunConfig, rows: Sequence[dict[str, Any]], on_gpu: bool) -> dict[str, Any]:
    """Run rows through all stages and return what that took; their features go to a folder that is removed.

    The first row goes twice and counts once, because first calls load and compile.
    """
    seconds: dict[str, float] = defaultdict(float)
    handed_on: dict[str, float] = defaultdict(float)
    num_frames = num_segments = decoded = 0
    failure = ""
    with tempfile.TemporaryDirectory() as directory:
        folder = RunFolder(directory)
        runners = [
            (stage.name, StageRunner([stage], folder, "plan", config.max_attempts, position))
            for position, stage in enumerate(pipeline.stages_of(config, folder))
        ]
        for number, planned in enumerate([rows[0], *rows]):
            row, sizes = planned, {}
            for name, runner in runners:
                row = runner(row)
                sizes[name] = sum(value.nbytes for value in row.values() if isinstance(value, np.ndarray))
            if row.get("refusal"):
                raise UserError(row["refusal"])
            if row.get("is_dead"):
                failure = failure or folder.read_dead()[0].message
            elif not number:
                # What is committed would not be done again.
                folder.remove(folder.feature_path(planned["video_id"], planned["segment_index"]))
            else:
                num_segments += 1
                num_frames += row["stop_frame"] - row["start_frame"]
                decoded += _decoded_bytes(config, planned)
                for name, _ in runners:
                    seconds[name] += row[f"seconds_{name}"]
                    handed_on[name] += sizes[name]
    device = "CPU"
    if on_gpu:
        import torch

        device = torch.cuda.get_device_name(0)
    return {
        "num_segments": num_segments,
        "num_frames": num_frames,
        "seconds_per_frame": {name: value / num_frames for name, value in seconds.items()},
        "bytes_per_decoded_byte": {name: value / decoded for name, value in handed_on.items()},
        "device": device,
        "failure": failure,
    }


def plan_lines(plan: CapacityPlan, cost_per_hour: float | None = None) -> list[str]:
    """Return the plan in words."""
    expected, work = plan.estimate, plan.work
    hours = expected.seconds / 3600
    lines = [
        f"catalogue: {plan.num_videos:,} videos, {work.num_frames:,} frames, {work.num_segments:,} segments",
        f"cluster: {plan.resources}",
        f"costs: {plan.costs.source}",
        "",
        f"{'pool':<44} {'actors':>6} {'CPU each':>8} {'GPU each':>8} {'ms/frame':>8} {'frames/s':>9}",
    ]
    for pool, load in zip(plan.pools, plan.loads, strict=True):
        lines.append(
            f"{load.name:<44} {pool.size:>6} {pool.num_cpus:>8.2f} {pool.num_gpus:>8.2f} "
            f"{load.seconds_per_frame * 1000:>8.2f} {expected.limits[load.name]:>9,.0f}"
        )
    shared = [f"{name} {rate:,.0f} frames/s" for name, rate in expected.limits.items() if name.startswith("all ")]
    lines += ["", *([f"together: {', '.join(shared)}"] if shared else [])]
    lines.append(f"bottleneck: {expected.bottleneck}, {expected.limits[expected.bottleneck]:,.0f} frames/s")
    bound = {
        "longest segment": "bound by the longest segment: more machines change nothing, shorter segments do",
        "driver": "bound by the driver, which starts the tasks: longer segments, or --shard, change that",
    }.get(expected.bound_by)
    rate = work.num_frames / expected.seconds if expected.seconds else 0.0
    lines.append(f"expected: {rate:,.0f} frames/s, {duration(expected.seconds)} and start-up" + _note(bound))
    if plan.resources.num_gpus:
        unused = None if plan.uses_gpu else "no stage of this config uses them"
        lines.append(f"GPU-hours: {expected.gpu_hours:,.2f}" + _note(unused))
    if cost_per_hour is not None:
        lines.append(f"cost: {hours * cost_per_hour:,.2f} at {cost_per_hour:,.2f} an hour")
    lines.append(f"longest segment: {duration(expected.longest_segment_seconds)}, below which no run can be")
    lines.append(f"object store: {expected.object_store_bytes / 2**30:.1f} GiB over all nodes")
    if plan.uses_gpu and plan.costs.on_gpu is False:
        lines.append("GPU stages were measured on a CPU, GPUs are faster: give --timings of a run that had them")
    return lines


def _note(text: str | None) -> str:
    return f" ({text})" if text else ""


def plan_document(plan: CapacityPlan, cost_per_hour: float | None = None) -> dict[str, Any]:
    """Return the plan as JSON; rates in frames a second, rates of what takes no time are None."""
    expected = asdict(plan.estimate)
    expected["limits"] = {name: rate if rate < float("inf") else None for name, rate in plan.estimate.limits.items()}
    hours = plan.estimate.seconds / 3600
    return {
        "cluster": asdict(plan.resources),
        "work": asdict(plan.work) | {"num_videos": plan.num_videos},
        "costs": asdict(plan.costs),
        "pools": [asdict(pool) for pool in plan.pools],
        "bottleneck": plan.estimate.bottleneck,
        "frames_per_second": plan.work.num_frames / plan.estimate.seconds if plan.estimate.seconds else None,
        "hours": hours,
        "cost": None if cost_per_hour is None else hours * cost_per_hour,
        **expected,
    }


def plan_step(
    config: RunConfig,
    say: Callable[[str], None],
    *,
    cluster: str | None = None,
    timings: Path | None = None,
    cost_per_hour: float | None = None,
) -> dict[str, Any]:
    """Plan, tell the plan, keep what was measured in the run folder, and return the plan as JSON."""
    plan = make_plan(config, cluster, timings)
    RunFolder(config.output).commit_json(PLAN_NAME, {"seconds_per_frame": plan.costs.seconds_per_frame})
    for line in plan_lines(plan, cost_per_hour):
        say(line)
    return plan_document(plan, cost_per_hour)
