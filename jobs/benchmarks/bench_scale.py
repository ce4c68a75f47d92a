"""Measures how extraction scales: on a simulated cluster of many GPUs, and for real on the cores of this machine.

python -m jobs.benchmarks.bench_scale --json scale.json  1, 2, 4, 8 and 16 simulated GPUs, then 1 and 2 real cores
python -m jobs.benchmarks.bench_scale --gpus 8 --repeats 5 --no-real
python -m jobs.benchmarks.bench_scale --quick                         next to nothing, to see that it works

The simulated cluster is Ray's own (`ray.cluster_utils.Cluster`): real Ray processes on one machine, with GPUs that are
but names, eight to a node. Every segment takes the path of a real extraction (`pools.plan_pools`,
`ray_dataset.map_rows`, `stage_runner.StageRunner`, attempts, one committed file), only that decoders and models sleep
for as long as they would take. Segments are cut by `ops.segments` from videos like UCF-Crime's: 1,900 of them,
128 h, 13.8 million frames of 320x240 at 30 frames/s, of log-normal lengths. Each run draws as many of these segments
as keep its GPUs busy for `--seconds`, so that work grows with the GPUs.

Efficiency is the ideal time over the measured one. The ideal is the longest of: the GPU seconds over the GPUs, the
CPU seconds over the CPU actors, the longest segment from end to end. The clock starts when all actors have started,
for which they wait for one another (here they start on a few cores, on a cluster each on its own), and stops when
the driver has the last result.
"""

import argparse
import itertools
import json
import os
import statistics
import sys
import tempfile
import time
import uuid
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np

from raypipe.extraction.pools import Pool, plan_pools
from raypipe.ops.segments import plan_segments
from raypipe.pipeline import Stage
from raypipe.run_folder.folder import RunFolder, new_session

NUM_VIDEOS, NUM_FRAMES, FPS = 1900, 13_800_000, 30.0
# Of the logarithm of a length: 1 % of the videos are then over 8 times the mean, which is 4 minutes.
SIGMA = 1.2
FRAME_BYTES, SEGMENT_BYTES, WARMUP_FRAMES, LOOKAHEAD_FRAMES = 320 * 240 * 3, 128 * 2**20, 16, 12
# What the steps of a segment take, in units of its time on the GPU; there is a CPU for every GPU, half busy.
CPU_STEPS = {"decode": 0.1, "motion": 0.4}
GPU_STEPS = {"detect": 0.2, "encode": 0.6, "caption": 0.2, "commit": 0.0}
GPUS_PER_NODE = 8
BARS, REAL_BAR = {8: 0.90, 16: 0.85}, 1.7
START_TIMEOUT_SECONDS = 300.0
PROJECTED = ((64, 1), (64, 4), (256, 1), (256, 16))


@dataclass(frozen=True)
class Run:
    """One simulated run: its GPUs, their busy seconds, and the mean GPU seconds of a segment."""

    gpus: int
    seconds: float
    segment_seconds: float


@dataclass(frozen=True)
class Figures:
    """What was measured of a run; `load` is the machine's load average before it.

    Where the time went: GPU actors had their first segment `fill_seconds` after the start (median), were done with
    their last one `tail_seconds` before the end (mean), waited `gap_seconds` between two, and needed
    `overhead_seconds` for a segment beyond what it sleeps (medians).
    """

    gpus: int
    efficiency: float
    num_segments: int
    mean_segment_seconds: float
    ideal_seconds: float
    seconds: float
    startup_seconds: float
    fill_seconds: float
    tail_seconds: float
    gap_seconds: float
    overhead_seconds: float
    tasks_per_second: float
    load: float


class Sleep:
    """Takes as long as a step would; the first of a pool waits until all actors of the run have started."""

    def __init__(self, seconds_per_frame: float, ready: str | None, num_actors: int) -> None:
        self.seconds_per_frame = seconds_per_frame
        if ready is not None:
            (Path(ready) / uuid.uuid4().hex).touch()
            give_up = time.monotonic() + START_TIMEOUT_SECONDS
            while len(list(Path(ready).iterdir())) < num_actors:
                if time.monotonic() > give_up:
                    raise TimeoutError(f"not all of {num_actors} actors started in {START_TIMEOUT_SECONDS:.0f} s")
                time.sleep(0.05)

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row, after a while; when it came to this actor is noted."""
        arrived = time.time()
        time.sleep(row["num_sampled"] * self.seconds_per_frame)
        return row | {"arrived": row["arrived"] if row.get("actor") == os.getpid() else arrived, "actor": os.getpid()}


class CommitNothing:
    """Commits a file without features, as durably as a real one, and returns what a real one does."""

    def __init__(self, folder: RunFolder) -> None:
        self.folder = folder

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the segment's place, and when and where it was worked on."""
        self.folder.commit(self.folder.feature_path(row["video_id"], row["segment_index"]), b"")
        done = {name: row[name] for name in ("video_id", "segment_index", "start_frame", "stop_frame", "arrived")}
        return done | {"num_decoded": row["num_sampled"], "actor": row["actor"], "left": time.time()}


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the figures beside what is asked of them, and write them as JSON where that is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--gpus", default="1,2,4,8,16", help="numbers of simulated GPUs (default: %(default)s)")
    parser.add_argument("--seconds", type=float, default=60.0, help="for which each GPU is busy (default: %(default)s)")
    parser.add_argument("--segment-seconds", type=float, default=1.5, help="of a mean segment on its GPU")
    parser.add_argument("--repeats", type=int, default=3, help="runs, of which the median counts")
    parser.add_argument("--no-real", action="store_true", help="leave out the extraction on real cores")
    parser.add_argument("--quick", action="store_true", help="a few short segments: the figures mean nothing")
    parser.add_argument("--json", type=Path, metavar="OUT", help="where to write the figures, a list")
    arguments = parser.parse_args(argv)
    if arguments.quick:
        arguments.seconds, arguments.segment_seconds, arguments.repeats = 2.0, 0.2, 1
    rows: list[dict[str, Any]] = []
    for gpus in sorted({int(word) for word in arguments.gpus.split(",")}):
        run = Run(gpus, arguments.seconds, arguments.segment_seconds)
        measured = median_of([in_a_fresh_process(simulate, run) for _ in range(arguments.repeats)])
        rows.append(asdict(measured) | {"repeats": arguments.repeats})
        print(line_of(measured), flush=True)
    # So short that nothing but the driver counts.
    drained = in_a_fresh_process(simulate, Run(rows[-1]["gpus"], arguments.seconds / 30, 0.01))
    print(f"driver: {drained.tasks_per_second:.0f} tasks/s of 10 ms, load {drained.load:.1f}")
    rows += [projected(gpus, drivers, rows[-1], drained.tasks_per_second) for gpus, drivers in PROJECTED]
    for row in rows:
        if row.get("projected"):
            print(f"projection: {row['gpus']} GPUs, {row['drivers']} drivers: efficiency {row['efficiency']:.2f}")
    if not arguments.no_real:
        rows += real_rows(arguments.repeats, is_quick=arguments.quick)
    if arguments.json:
        arguments.json.write_text(json.dumps(rows, indent=2) + "\n")
    return 0


def in_a_fresh_process(work: Any, *arguments: Any) -> Any:
    """Return what `work` returns, done in a process of its own: Ray's state and its servers end with it."""
    with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()


def video_lengths() -> list[int]:
    """Return the frames of each video: the quantiles of a log-normal, whose sum is the data set's."""
    middles = (np.arange(NUM_VIDEOS) + 0.5) / NUM_VIDEOS
    lengths = np.exp([SIGMA * statistics.NormalDist().inv_cdf(float(p)) for p in middles])
    return [max(1, round(length)) for length in (lengths / lengths.sum() * NUM_FRAMES).tolist()]


def planned_rows(run: Run) -> list[dict[str, Any]]:
    """Return segments for `run`, longest first as `pipeline.extract` orders them."""
    segments = [
        (video, segment)
        for video, num_frames in enumerate(video_lengths())
        for segment in plan_segments(
            num_frames,
            FRAME_BYTES,
            segment_bytes=SEGMENT_BYTES,
            warmup_frames=WARMUP_FRAMES,
            lookahead_frames=LOOKAHEAD_FRAMES,
        )
    ]
    count = min(len(segments), max(1, round(run.gpus * run.seconds / run.segment_seconds)))
    drawn = np.random.default_rng(0).choice(len(segments), count, replace=False)
    rows = [
        {
            "video_id": f"test/{video:04d}",
            "segment_index": segment.segment_index,
            "start_frame": segment.start_frame,
            "stop_frame": segment.stop_frame,
            "first_frame": int(segment.frame_indices[0]),
            "num_sampled": len(segment.frame_indices),
            "pts_steps": bytes(2 * len(segment.frame_indices)),
        }
        for video, segment in (segments[index] for index in sorted(drawn.tolist()))
    ]
    return sorted(rows, key=lambda row: -row["num_sampled"])


def simulate(run: Run) -> Figures:
    """Run segments through a simulated cluster and return what was measured."""
    load = os.getloadavg()[0]
    import ray

    from raypipe.config.runtime import RayConfig
    from raypipe.distributed.cluster import connect
    from raypipe.extraction.ray_dataset import map_rows

    began = time.time()
    rows = planned_rows(run)
    frames = [row["num_sampled"] for row in rows]
    seconds_per_frame = run.segment_seconds * len(rows) / sum(frames)
    names = [*CPU_STEPS, *GPU_STEPS]
    pools = plan_pools(
        names,
        {"detect": 2, "encode": 6, "caption": 2},
        "fused",
        num_rows=len(rows),
        num_cpus=run.gpus,
        num_gpus=run.gpus,
        actors=None,
    )
    cluster = simulated_cluster(run.gpus)
    os.environ["RAY_ADDRESS"] = cluster.address
    with tempfile.TemporaryDirectory() as directory:
        connect(RayConfig())
        ready = Path(directory) / "ready"
        ready.mkdir()
        folder = RunFolder(str(Path(directory) / "run"))
        stages = sleeping_stages(seconds_per_frame, pools, str(ready), folder)
        dataset = map_rows(rows, stages, pools, folder, new_session(), max_attempts=3)
        done = list(dataset.iter_rows())
        ended = time.time()
        started = max(path.stat().st_mtime for path in ready.iterdir())
        ray.shutdown()
    cluster.shutdown()
    if len(done) != len(rows) or any(row.get("is_dead") for row in done):
        raise RuntimeError(f"{len(done)} of {len(rows)} segments came back, or some of them dead")
    cpu, gpu = sum(CPU_STEPS.values()), sum(GPU_STEPS.values())
    busy_seconds = sum(frames) * seconds_per_frame
    ideal = max(
        busy_seconds * gpu / run.gpus,
        busy_seconds * cpu / pools[0].size,
        max(frames) * seconds_per_frame * (cpu + gpu),
    )
    return Figures(
        gpus=run.gpus,
        efficiency=ideal / (ended - started),
        num_segments=len(rows),
        mean_segment_seconds=busy_seconds / len(rows),
        ideal_seconds=ideal,
        seconds=ended - started,
        startup_seconds=started - began,
        **losses(done, seconds_per_frame * gpu, started, ended),
        tasks_per_second=len(rows) * len(pools) / (ended - started),
        load=load,
    )


def simulated_cluster(gpus: int) -> Any:
    """Return a cluster of Ray's own processes, with a CPU for every GPU."""
    from ray.cluster_utils import Cluster

    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 0, "object_store_memory": 80 * 2**20})
    for first in range(0, gpus, GPUS_PER_NODE):
        count = min(GPUS_PER_NODE, gpus - first)
        cluster.add_node(num_cpus=count, num_gpus=count, object_store_memory=80 * 2**20)
    return cluster


def sleeping_stages(seconds_per_frame: float, pools: Sequence[Pool], ready: str, folder: RunFolder) -> list[Stage]:
    """Return the stages, as `pipeline.stages_of` does."""
    firsts = {pool.stages[0] for pool in pools}
    num_actors = sum(pool.size for pool in pools)
    stages = [
        Stage(name, Sleep, (share * seconds_per_frame, ready if name in firsts else None, num_actors))
        for name, share in (CPU_STEPS | GPU_STEPS).items()
        if name != "commit"
    ]
    return [*stages, Stage("commit", CommitNothing, (folder,))]


def losses(done: Sequence[dict[str, Any]], seconds_per_frame: float, started: float, ended: float) -> dict[str, float]:
    """Return where the GPU actors' time went beside their work (see `Figures`)."""
    gaps, fills, tails = [], [], []
    for actor in {row["actor"] for row in done}:
        rows = sorted((row for row in done if row["actor"] == actor), key=lambda row: row["arrived"])
        gaps += [after["arrived"] - before["left"] for before, after in itertools.pairwise(rows)]
        fills.append(rows[0]["arrived"] - started)
        tails.append(ended - rows[-1]["left"])
    beyond = [row["left"] - row["arrived"] - row["num_decoded"] * seconds_per_frame for row in done]
    return {
        "fill_seconds": statistics.median(fills),
        "tail_seconds": statistics.fmean(tails),
        "gap_seconds": statistics.median(gaps or [0.0]),
        "overhead_seconds": statistics.median(beyond),
    }


def median_of(runs: Sequence[Figures]) -> Figures:
    """Return the run of the median efficiency (the lower of the middle two), with the highest load of all."""
    ordered = sorted(runs, key=lambda figures: figures.efficiency)
    return replace(ordered[(len(ordered) - 1) // 2], load=max(figures.load for figures in runs))


def projected(gpus: int, drivers: int, largest: dict[str, Any], tasks_per_second: float) -> dict[str, Any]:
    """Return what efficiency to expect of `drivers`, each with its shard and share of the GPUs; not measured.

    It is that of the largest number of GPUs measured, or as much as a driver's tasks per second allow.
    """
    wanted = 2 * gpus / drivers / largest["mean_segment_seconds"]
    efficiency = largest["efficiency"] * min(1.0, tasks_per_second / wanted)
    return {"gpus": gpus, "efficiency": efficiency, "projected": True, "drivers": drivers}


def real_rows(repeats: int, *, is_quick: bool) -> list[dict[str, Any]]:
    """Extract generated clips with one and with two real cores; the medians of their times, and the speed-up."""
    from jobs.benchmarks.bench_extract import QUICK, Sizes, measure, write_clips

    rows: list[dict[str, Any]] = []
    with tempfile.TemporaryDirectory() as directory:
        root = str(write_clips(Path(directory) / "clips", QUICK if is_quick else Sizes()))
        seconds: dict[int, list[float]] = {1: [], 2: []}
        others: dict[int, list[float]] = {1: [], 2: []}
        # In turn, so that a change of the machine's other work meets both.
        for repeat in range(repeats):
            for cores in seconds:
                result = measure(root, Path(directory) / f"{cores}_{repeat}", cores=cores, timeout_seconds=900.0)
                seconds[cores].append(result.wall_seconds - result.startup_seconds)
                others[cores].append(result.other_cores)
    for cores, times in seconds.items():
        speedup = statistics.median(seconds[1]) / statistics.median(times)
        row = {"gpus": 0, "cores": cores, "efficiency": speedup / cores, "speedup": speedup}
        rows.append(row | {"seconds": statistics.median(times), "other_cores": max(others[cores])})
        print(
            f"real: {cores} cores, {rows[-1]['seconds']:.1f} s, speed-up {speedup:.2f}"
            + (f" (asked: at least {REAL_BAR})" if cores > 1 else "")
            + f"; others took up to {max(others[cores]):.1f} cores"
        )
    return rows


def line_of(figures: Figures) -> str:
    """Return a measured run in a line."""
    bar = f" (asked: at least {BARS[figures.gpus]})" if figures.gpus in BARS else ""
    return (
        f"{figures.gpus:>3} GPUs: efficiency {figures.efficiency:.3f}{bar}, {figures.num_segments:,} segments of "
        f"{figures.mean_segment_seconds:.2f} s in {figures.seconds:.1f} s (ideal {figures.ideal_seconds:.1f} s), "
        f"lost: first {figures.fill_seconds:.1f} s, last {figures.tail_seconds:.1f} s, of each segment "
        f"{figures.gap_seconds * 1000:.0f} + {figures.overhead_seconds * 1000:.0f} ms; "
        f"{figures.tasks_per_second:.1f} tasks/s, start-up {figures.startup_seconds:.0f} s, load {figures.load:.1f}"
    )


if __name__ == "__main__":
    # By its full name, as a script too: by it the actors find the classes above.
    sys.path.insert(0, str(Path(__file__).parents[2]))
    from jobs.benchmarks.bench_scale import main as run_main

    raise SystemExit(run_main())
