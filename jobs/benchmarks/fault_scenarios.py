"""What an extraction can lose, each as a scenario that breaks something at a random moment; see `bench_faults`.

The simulated cluster (`ray.cluster_utils.Cluster`) has a head without CPUs, where nothing works, and two nodes of one.
"""

import os
import random
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field, replace
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from jobs.benchmarks.bench_motion import moving_textures
from jobs.benchmarks.extra_steps import (
    COMMIT_STEPS,
    DieInCommit,
    DieOn,
    FullDiskOn,
    FullGpuOn,
    HangingDecode,
    Place,
    die_in_commit,
)
from raypipe.config.run import RunConfig, parse_config
from raypipe.pipeline import Stage
from raypipe.run_folder.folder import RunFolder
from raypipe.video.encode import write_video

LENGTHS = {"train/a": 200, "train/b": 90, "test/c": 320}
WIDTH, HEIGHT = 64, 48
HANG_SECONDS = 4.0
MAX_STARTS, START_SECONDS = 6, 300.0
NODE_BYTES = 80 * 2**20


@dataclass(frozen=True)
class Drive:
    """One start of a driver: `replaced` stages by name, `extra` ones by their position, a commit that kills it."""

    config: RunConfig
    address: str
    replaced: dict[str, type] = field(default_factory=dict)
    arguments: tuple[Any, ...] = ()
    extra: tuple[tuple[int, Stage], ...] = ()
    commit: tuple[int, str] | None = None


def drive(work: Drive) -> None:
    """Extract, in a process of its own; a user's mistake ends it with code 2, as the command does."""
    os.environ["RAY_ADDRESS"] = work.address
    from raypipe import pipeline
    from raypipe.errors import UserError
    from raypipe.extraction.extract import extract

    original = pipeline.stages_of

    def stages_of(config: RunConfig, folder: RunFolder) -> list[Stage]:
        stages = [
            replace(stage, make=work.replaced[stage.name], arguments=(*stage.arguments, *work.arguments))
            if stage.name in work.replaced
            else stage
            for stage in original(config, folder)
        ]
        for position, stage in work.extra:
            stages.insert(position, stage)
        return stages

    pipeline.stages_of = stages_of
    if work.commit is not None:
        die_in_commit(*work.commit)
    try:
        extract(work.config)
    except UserError as error:
        print(error, file=sys.stderr)
        raise SystemExit(2) from error


class Field:
    """The data, the cluster, and what a run that nothing disturbed makes of them."""

    def __init__(self, directory: Path) -> None:
        from ray.cluster_utils import Cluster

        self.directory = directory
        self.root = write_data(directory / "data")
        nothing = {"num_cpus": 0, "object_store_memory": NODE_BYTES, "include_dashboard": False}
        self.cluster: Any = Cluster(initialize_head=True, head_node_args=nothing)
        self.nodes = [self.add_node() for _ in range(2)]
        output = directory / "undisturbed"
        code = self.wait(self.start(Drive(self.config(output), self.cluster.address)))
        if code:
            raise RuntimeError(f"a run that nothing disturbs ends with {code}")
        self.expected = contents(output)
        self.places: list[Place] = [place_of(name) for name in self.expected]

    def add_node(self) -> Any:
        """Add a node of one CPU and wait until it is there."""
        return self.cluster.add_node(num_cpus=1, object_store_memory=NODE_BYTES)

    def config(self, output: Path) -> RunConfig:
        """Return the config of a run into a folder."""
        return parse_config(
            {
                "dataset": {"root": str(self.root)},
                "output": str(output),
                "segment_bytes": 2**20,
                "warmup_frames": 8,
                "decode": {"timeout_seconds": HANG_SECONDS},
                "detector": {"kind": "sliding_window", "window_pixels": 24},
                "tracking": {"enabled": False},
                "ray": {"actors": 1},
            },
            "bench_faults",
        )

    def start(self, work: Drive) -> Any:
        """Start a driver and return its process."""
        process = get_context("spawn").Process(target=drive, args=(work,))
        process.start()
        return process

    def wait(self, process: Any) -> int:
        """Wait for a driver and return its exit code. Raises TimeoutError where it does not end."""
        process.join(START_SECONDS)
        if process.is_alive():
            process.kill()
            raise TimeoutError(f"a driver has not ended in {START_SECONDS:.0f} s")
        return int(process.exitcode)

    def finish(self, work: Drive) -> list[int]:
        """Start drivers until one is done and return all their exit codes."""
        codes: list[int] = []
        while 0 not in codes and len(codes) < MAX_STARTS:
            codes.append(self.wait(self.start(work)))
        return codes


def write_data(root: Path) -> Path:
    """Write the clips, of a few segments each, as a `folder` data set and return its root."""
    for seed, (video_id, num_frames) in enumerate(LENGTHS.items()):
        path = root / f"{video_id}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        luma = moving_textures(num_frames, WIDTH, HEIGHT, seed)
        write_video(path, (np.repeat(gray[..., None], 3, axis=2) for gray in luma))
    return root


def contents(output: Path) -> dict[str, bytes]:
    """Return the bytes of every file of features by its path below features/."""
    base = output / "features"
    return {str(path.relative_to(base)): path.read_bytes() for path in sorted(base.rglob("*.parquet"))}


def place_of(path: str) -> Place:
    """Return the segment of a file of features by its path below features/."""
    return path.rpartition("/")[0], int(Path(path).stem)


def until_some_work(output: Path, process: Any, generator: random.Random) -> None:
    """Wait until a driver has begun with segments, and then for a moment that the generator draws."""
    give_up = time.monotonic() + START_SECONDS
    while process.is_alive() and time.monotonic() < give_up and not any(output.glob("attempts/*/0/*")):
        time.sleep(0.02)
    time.sleep(generator.uniform(0, 3))


Scenario = Callable[[Field, Path, random.Random], dict[Place, str]]


def lose_a_worker(it: Field, output: Path, generator: random.Random) -> dict[Place, str]:
    """Kill a process that works for the run: an actor, or one that probes."""
    work = Drive(it.config(output), it.cluster.address)
    process = it.start(work)
    time.sleep(generator.uniform(0, 12))
    workers = [
        other
        for node in it.nodes
        for other in psutil.Process(node.all_processes["raylet"][0].process.pid).children(recursive=True)
        if _is_worker(other)
    ]
    if workers:
        with suppress(psutil.NoSuchProcess):
            generator.choice(workers).kill()
    if it.wait(process):
        it.finish(work)
    return {}


def _is_worker(process: psutil.Process) -> bool:
    with suppress(psutil.NoSuchProcess):
        return any(name in " ".join(process.cmdline()) for name in ("ray::MapWorker", "ray::examine_watched"))
    return False


def lose_an_actor_mid_row(it: Field, output: Path, generator: random.Random) -> dict[Place, str]:
    """An actor dies between two stages of a segment, once or twice."""
    deaths = output.with_name(f"{output.name}_deaths")
    deaths.mkdir()
    step = Stage("die", DieOn, (str(deaths), *generator.choice(it.places), generator.choice([1, 2])))
    it.finish(Drive(it.config(output), it.cluster.address, extra=((generator.randrange(6), step),)))
    return {}


def lose_an_actor_in_a_commit(it: Field, output: Path, generator: random.Random) -> dict[Place, str]:
    """Actors die at a step of the commits of two segments."""
    marks = output.with_name(f"{output.name}_marks")
    marks.mkdir()
    steps = {place: generator.choice(COMMIT_STEPS) for place in generator.sample(it.places, 2)}
    it.finish(
        Drive(it.config(output), it.cluster.address, extra=((4, Stage("die", DieInCommit, (str(marks), steps))),))
    )
    return {}


def lose_a_node(it: Field, output: Path, generator: random.Random) -> dict[Place, str]:
    """Kill the raylet of a node, and with it all on the node; another one comes later."""
    process = it.start(Drive(it.config(output), it.cluster.address))
    until_some_work(output, process, generator)
    victim = generator.randrange(len(it.nodes))
    it.cluster.remove_node(it.nodes[victim], allow_graceful=False)
    code = it.wait(process) if generator.random() < 0.5 else None
    it.nodes[victim] = it.add_node()
    if code is None:
        code = it.wait(process)
    if code:
        it.finish(Drive(it.config(output), it.cluster.address))
    return {}


def lose_the_driver(it: Field, output: Path, generator: random.Random) -> dict[Place, str]:
    """Kill the driver at any moment, twice."""
    work = Drive(it.config(output), it.cluster.address)
    for _ in range(2):
        process = it.start(work)
        time.sleep(generator.uniform(0, 15))
        os.kill(process.pid, signal.SIGKILL)
        process.join()
    it.finish(work)
    return {}


def lose_the_driver_in_a_commit(it: Field, output: Path, generator: random.Random) -> dict[Place, str]:
    """The driver dies at a step of one of its own commits: run.json twice, and the catalogue between."""
    it.wait(it.start(Drive(it.config(output), it.cluster.address, commit=_any_commit(generator))))
    it.finish(Drive(it.config(output), it.cluster.address))
    return {}


def _any_commit(generator: random.Random) -> tuple[int, str]:
    return generator.randrange(2), generator.choice(COMMIT_STEPS)


def fill_the_disk(it: Field, output: Path, generator: random.Random) -> dict[Place, str]:
    """No space is left on the disk from a segment on, until the driver is started again."""
    full = Stage("full", FullDiskOn, (generator.choice(it.places),))
    code = it.wait(it.start(Drive(it.config(output), it.cluster.address, extra=((4, full),))))
    if code != 2:
        raise RuntimeError(f"a full disk ends the driver with {code}, not 2")
    it.finish(Drive(it.config(output), it.cluster.address))
    return {}


def hang_once(it: Field, output: Path, generator: random.Random) -> dict[Place, str]:
    """The decoder hangs at a segment, and not the next time."""
    it.finish(_hanging(it, output, generator.choice(it.places), 1))
    return {}


def hang_always(it: Field, output: Path, generator: random.Random) -> dict[Place, str]:
    """The decoder hangs at a segment every time."""
    place = generator.choice(it.places)
    it.finish(_hanging(it, output, place, 99))
    return {place: "hung"}


def _hanging(it: Field, output: Path, place: Place, times: int) -> Drive:
    pipes = output.with_name(f"{output.name}_pipes")
    pipes.mkdir()
    given = (str(pipes), [place], times)
    return Drive(it.config(output), it.cluster.address, replaced={"decode": HangingDecode}, arguments=given)


def die_always(it: Field, output: Path, generator: random.Random) -> dict[Place, str]:
    """A segment kills every process that touches it, at any stage; what dies after the commit has lost nothing."""
    place, position = generator.choice(it.places), generator.randrange(6)
    deaths = output.with_name(f"{output.name}_deaths")
    deaths.mkdir()
    step = Stage("die", DieOn, (str(deaths), *place, 99))
    it.finish(Drive(it.config(output), it.cluster.address, extra=((position, step),)))
    return {} if position == 5 else {place: "its process died 3 times"}


def fill_the_gpu(it: Field, output: Path, generator: random.Random) -> dict[Place, str]:
    """The memory of the GPU runs out at a single object of a segment."""
    place = generator.choice(it.places)
    it.finish(Drive(it.config(output), it.cluster.address, extra=((2, Stage("gpu", FullGpuOn, ([place],))),)))
    return {place: "memory of the GPU ran out"}


SCENARIOS: dict[str, Scenario] = {
    "worker": lose_a_worker,
    "actor": lose_an_actor_mid_row,
    "actor_commit": lose_an_actor_in_a_commit,
    "node": lose_a_node,
    "driver": lose_the_driver,
    "driver_commit": lose_the_driver_in_a_commit,
    "full_disk": fill_the_disk,
    "hang_once": hang_once,
    "hang_always": hang_always,
    "die_always": die_always,
    "full_gpu": fill_the_gpu,
}
