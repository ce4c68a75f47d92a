"""Measures extraction: how much of the cores it uses, and whether its memory stays flat.

python -m jobs.benchmarks.bench_extract  generated clips of skewed lengths; 2 and 20 minutes of video
python -m jobs.benchmarks.bench_extract --root DIR --boxes DIR   efficiency on a `folder` data set, with its boxes
python -m jobs.benchmarks.bench_extract --only archive           10 minutes and 10 hours of a still picture
python -m jobs.benchmarks.bench_extract --quick                  the same on next to nothing, to see that it works

Efficiency is the ideal time (the stages' own seconds, summed over all segments, over the cores) over the measured
time, from the beginning of the first segment until the extraction has returned. Start-up is what comes before:
connecting, probing the videos, starting the actors. Memory is the peak of the summed proportional set size (PSS) of
the driver's process tree, sampled twice a second; clips are written before, every measurement has a fresh process.
What else runs on the machine lengthens the stages' seconds but not the gaps between them, and so flatters the
efficiency: how much of the cores went to others meanwhile is printed, and should be near nothing.

The archive is a 10-hour video of 2 frames a second in which little happens, so that its length and not its content
costs time: which actor did which segment is noted, and its peak is compared with that of its first 10 minutes.
"""

import argparse
import json
import multiprocessing
import os
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from functools import partial
from itertools import count, islice
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import psutil
from numpy.typing import NDArray

from jobs.benchmarks.bench_motion import moving_textures
from jobs.benchmarks.extra_steps import NoteActor
from raypipe.config.run import RunConfig, parse_config
from raypipe.run_folder.record import versions
from raypipe.video.encode import write_video

# Of the generated clips.
WIDTH, HEIGHT, FPS = 320, 240, 25
MIN_EFFICIENCY, MAX_GROWTH = 0.75, 1.3
SAMPLE_SECONDS = 0.5
# Lengths of the generated clips fall as rank ** -SKEW: the longest is about four times the mean.
SKEW = 0.7
PARTS = ("driver", "actors", "ray")
ARCHIVE_FPS = 2


@dataclass(frozen=True)
class Sizes:
    """How much is generated: clips and their mean length, and the pairs of videos whose memory is compared."""

    num_clips: int = 24
    mean_frames: int = 250
    short_seconds: float = 120.0
    long_seconds: float = 1200.0
    archive_short_seconds: float = 600.0
    archive_seconds: float = 36000.0


QUICK = Sizes(4, 20, short_seconds=2.0, long_seconds=4.0, archive_short_seconds=30.0, archive_seconds=600.0)


@dataclass(frozen=True)
class Measurement:
    """One extraction: what `pipeline.ExtractResult` says of its time, and peak memory in bytes.

    `other_cores` is how many cores everything else on the machine kept busy. `peak_bytes` is the largest sum over
    all processes, `parts_bytes` each part's own peak: driver, actors, and the rest of Ray (its servers and idle
    workers). `actor_segments` is how many segments each actor did.
    """

    num_segments: int
    num_frames: int
    num_dead: int
    seconds: dict[str, float]
    wall_seconds: float
    startup_seconds: float
    other_cores: float
    peak_bytes: int
    parts_bytes: dict[str, int]
    actor_segments: tuple[int, ...] = ()

    def efficiency(self, cores: int) -> float:
        """Return the ideal time over the measured time, without start-up."""
        return sum(self.seconds.values()) / cores / (self.wall_seconds - self.startup_seconds)


def main(argv: Sequence[str] | None = None) -> int:
    """Measure, print the figures and what is asked of them, and write them as JSON where that is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=["efficiency", "memory", "archive"], help="measure only one of these")
    parser.add_argument("--root", help="a `folder` data set for the efficiency, instead of generated clips")
    parser.add_argument("--boxes", help="its folder of boxes (default: sliding windows)")
    parser.add_argument("--cores", type=int, default=os.cpu_count() or 1, help="CPUs and actors (default: all)")
    parser.add_argument("--quick", action="store_true", help="a few frames: the figures mean nothing")
    parser.add_argument("--timeout", type=float, default=900.0, help="seconds for each extraction (default: 900)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="where to write the figures")
    arguments = parser.parse_args(argv)
    sizes = QUICK if arguments.quick else Sizes()
    document: dict[str, Any] = {"cores": arguments.cores, "sizes": asdict(sizes), "versions": versions()}
    measure_at = partial(measure, cores=arguments.cores, timeout_seconds=arguments.timeout)
    with tempfile.TemporaryDirectory() as directory:
        if arguments.only in (None, "efficiency"):
            root = arguments.root or str(write_clips(Path(directory) / "clips", sizes))
            result = measure_at(root, Path(directory) / "clips_run", boxes_root=arguments.boxes)
            document["efficiency"] = asdict(result) | {"efficiency": result.efficiency(arguments.cores)}
            _print_efficiency(result, arguments.cores)
        if arguments.only in (None, "memory"):
            pair = (("short", sizes.short_seconds), ("long", sizes.long_seconds))
            document |= _compare(Path(directory), pair, FPS, _endless_frames, measure_at)
        if arguments.only == "archive" or (arguments.quick and not arguments.only):
            pair = (("archive_short", sizes.archive_short_seconds), ("archive", sizes.archive_seconds))
            document |= _compare(Path(directory), pair, ARCHIVE_FPS, _nearly_still_frames, measure_at)
    if arguments.json:
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0


def _compare(
    directory: Path,
    videos: Sequence[tuple[str, float]],
    fps: int,
    frames: Callable[[int], Iterator[NDArray[np.uint8]]],
    measure_at: Callable[[str, Path], Measurement],
) -> dict[str, Any]:
    """Measure a short and a long video, named and with their seconds, and return the figures of both."""
    figures: dict[str, Any] = {}
    peaks = []
    for name, seconds in videos:
        root = str(write_long_video(directory / name, frames(0), round(seconds * fps), fps))
        result = measure_at(root, directory / f"{name}_run")
        peaks.append(result.peak_bytes)
        figures[name] = asdict(result)
        _print_memory(seconds, result)
    long = videos[1][0]
    figures["growth" if long == "long" else f"{long}_growth"] = growth = peaks[1] / peaks[0]
    print(f"memory: {growth:.2f} times the peak of the short video; asked: at most {MAX_GROWTH}")
    return figures


def _print_efficiency(result: Measurement, cores: int) -> None:
    work = result.wall_seconds - result.startup_seconds
    total = sum(result.seconds.values())
    print(
        f"extraction: {result.num_frames:,} frames in {result.num_segments:,} segments, {result.num_dead:,} dead; "
        f"{result.wall_seconds:.1f} s = start-up {result.startup_seconds:.1f} s + work {work:.1f} s "
        f"({result.num_frames / work:,.0f} frames/s)"
    )
    for name, seconds in result.seconds.items():
        print(f"  {name:>8} {seconds:7.2f} s {seconds / result.num_frames * 1000:6.2f} ms a frame")
    print(
        f"efficiency: {total:.1f} s of stages / {cores} cores / {work:.1f} s = {result.efficiency(cores):.2f}; "
        f"asked: at least {MIN_EFFICIENCY}; with start-up {total / cores / result.wall_seconds:.2f}"
    )
    print(f"  meanwhile others took {result.other_cores:.1f} of {os.cpu_count()} cores")


def _print_memory(seconds: float, result: Measurement) -> None:
    parts = ", ".join(f"{name} {result.parts_bytes[name] / 2**20:,.0f}" for name in PARTS)
    print(
        f"memory: {seconds / 60:.2g} minutes, {result.num_segments:,} segments: peak "
        f"{result.peak_bytes / 2**20:,.0f} MiB ({parts} at their own peaks), {result.wall_seconds:.0f} s; "
        f"segments of each actor: {', '.join(map(str, result.actor_segments))}"
    )


def skewed_lengths(num_clips: int, mean_frames: int) -> list[int]:
    """Return the clips' numbers of frames, longest first; their mean is `mean_frames` but for rounding."""
    weights = np.arange(1, num_clips + 1) ** -SKEW
    return [max(1, round(length)) for length in (weights / weights.sum() * num_clips * mean_frames).tolist()]


def write_clips(root: Path, sizes: Sizes) -> Path:
    """Write generated clips of skewed lengths as a `folder` data set and return its root."""
    for number, num_frames in enumerate(skewed_lengths(sizes.num_clips, sizes.mean_frames)):
        # Names in the order of lengths would be sorted for the scheduler already.
        split = "train" if number % 2 else "test"
        (root / split).mkdir(parents=True, exist_ok=True)
        name = f"{number * 7 % sizes.num_clips:03d}_{number:03d}.mp4"
        write_video(root / split / name, islice(_endless_frames(number), num_frames))
    return root


def write_long_video(root: Path, frames: Iterator[NDArray[np.uint8]], num_frames: int, fps: int) -> Path:
    """Write one video of the first `num_frames` as a `folder` data set, frame by frame, and return its root."""
    (root / "test").mkdir(parents=True)
    write_video(root / "test" / "long.mp4", islice(frames, num_frames), fps)
    return root


def _endless_frames(seed: int) -> Iterator[NDArray[np.uint8]]:
    """Yield frames, uint8 (H, W, 3), for ever: four seconds of moving figures, forwards and backwards."""
    luma = moving_textures(4 * FPS, WIDTH, HEIGHT, seed)
    while True:
        for gray in (*luma, *luma[::-1]):
            yield np.repeat(gray[..., None], 3, axis=2)


def _nearly_still_frames(seed: int) -> Iterator[NDArray[np.uint8]]:
    """Yield frames, uint8 (H, W, 3), for ever: a picture over which one square moves."""
    picture = np.repeat(moving_textures(1, WIDTH, HEIGHT, seed)[0][..., None], 3, axis=2)
    for number in count():
        frame = picture.copy()
        left = 4 * number % (WIDTH - 32)
        frame[100:132, left : left + 32] = 255
        yield frame


def bench_config(root: str, output: Path, cores: int, boxes_root: str | None = None) -> RunConfig:
    """Return the config of a measured run; without boxes, every frame has 20 windows of 64 pixels at 320x240."""
    detector = {"kind": "boxes", "boxes_root": boxes_root}
    windows = {"kind": "sliding_window", "window_pixels": 64, "window_step_pixels": 64}
    document = {
        "dataset": {"root": root},
        "output": str(output),
        "detector": detector if boxes_root else windows,
        "ray": {"num_cpus": cores},
    }
    return parse_config(document, "bench_extract")


def measure(
    root: str, output: Path, *, cores: int, timeout_seconds: float, boxes_root: str | None = None
) -> Measurement:
    """Extract the features of a data set in a fresh process and return its times and peak memory.

    Raises TimeoutError where it takes too long, RuntimeError where it fails.
    """
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    config = bench_config(root, output, cores, boxes_root)
    process = context.Process(target=_extract_and_send, args=(config.model_dump(mode="json"), sender))
    process.start()
    sender.close()
    with Sampler(process.pid or 0) as sampler:
        try:
            if not receiver.poll(timeout_seconds):
                raise TimeoutError(f"extraction of {root} takes more than {timeout_seconds:.0f} s")
            times = receiver.recv()
        except EOFError as error:
            raise RuntimeError(f"extraction of {root} failed; its traceback is above") from error
        finally:
            sampler.stop()
            _end(process)
    return Measurement(
        **times,
        other_cores=sampler.other_cores,
        peak_bytes=sampler.peak_bytes,
        parts_bytes=sampler.parts_bytes,
    )


def _extract_and_send(document: Mapping[str, Any], sender: Connection) -> None:
    import ray

    from raypipe import pipeline
    from raypipe.extraction.extract import extract

    stages_of = pipeline.stages_of
    with tempfile.TemporaryDirectory() as notes:
        pipeline.stages_of = lambda *given: [*stages_of(*given), pipeline.Stage("note", NoteActor, (notes,))]
        result = extract(RunConfig.model_validate(document))
        actors = Counter(path.name.partition("-")[0] for path in Path(notes).iterdir())
    sender.send(
        {
            "num_segments": result.num_segments,
            "num_frames": result.processed_frames,
            "num_dead": len(result.dead),
            # Of the run's own stages: the note is the benchmark's.
            "seconds": {name: seconds for name, seconds in result.seconds.items() if name != "note"},
            "wall_seconds": result.wall_seconds,
            "startup_seconds": result.startup_seconds,
            "actor_segments": tuple(sorted(actors.values(), reverse=True)),
        }
    )
    # What multiprocessing starts ends without the exit handlers by which Ray stops its servers.
    ray.shutdown()


def _end(process: Any) -> None:
    """Wait for a measured process; one that hangs is killed with all that it started."""
    process.join(30)
    if process.is_alive():
        with suppress(psutil.NoSuchProcess):
            for child in psutil.Process(process.pid).children(recursive=True):
                with suppress(psutil.NoSuchProcess):
                    child.kill()
        process.kill()
        process.join()


class Sampler:
    """Samples the memory of a process and all below it in a thread, keeps the peaks, and watches the cores."""

    def __init__(self, pid: int) -> None:
        self.peak_bytes = 0
        self.parts_bytes = dict.fromkeys(PARTS, 0)
        self.other_cores = 0.0
        self._root = psutil.Process(pid)
        self._own_seconds: dict[int, float] = {}
        self._began = time.monotonic(), _busy_seconds()
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._sample_until_stopped, daemon=True)

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop()

    def stop(self) -> None:
        """Take no more samples."""
        if not self._stopped.is_set():
            self._stopped.set()
            self._thread.join()
            busy_seconds = _busy_seconds() - self._began[1] - sum(self._own_seconds.values())
            self.other_cores = max(0.0, busy_seconds / (time.monotonic() - self._began[0]))

    def _sample_until_stopped(self) -> None:
        while not self._stopped.is_set():
            began = time.monotonic()
            self._sample()
            self._stopped.wait(max(0.0, SAMPLE_SECONDS - (time.monotonic() - began)))

    def _sample(self) -> None:
        parts = dict.fromkeys(PARTS, 0)
        with suppress(psutil.NoSuchProcess):
            for process in (self._root, *self._root.children(recursive=True)):
                # A process that ends meanwhile has no memory left to count.
                with suppress(psutil.NoSuchProcess, psutil.AccessDenied):
                    parts[self._part(process)] += _memory_bytes(process)
                    self._own_seconds[process.pid] = sum(process.cpu_times()[:2])
        self.peak_bytes = max(self.peak_bytes, sum(parts.values()))
        self.parts_bytes = {name: max(value, parts[name]) for name, value in self.parts_bytes.items()}

    def _part(self, process: psutil.Process) -> str:
        if process == self._root:
            return "driver"
        # Ray names an actor's process after its class, which is named after its steps.
        return "actors" if "(decode" in " ".join(process.cmdline()) else "ray"


def _busy_seconds() -> float:
    """Return the time for which the machine's cores were not idle, summed over them."""
    times = psutil.cpu_times()
    # Linux counts a guest's time in the user's too.
    idle = times.idle + getattr(times, "iowait", 0.0) + getattr(times, "guest", 0.0)
    return float(sum(times) - idle)


def _memory_bytes(process: psutil.Process) -> int:
    """Return a process's PSS, which counts shared memory once over all; its RSS where the system has no PSS."""
    memory = process.memory_full_info()
    return int(getattr(memory, "pss", memory.rss))


if __name__ == "__main__":
    raise SystemExit(main())
