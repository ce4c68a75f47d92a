"""Times planning a catalogue of the size of UCF-Crime and XD-Violence together: 6,654 videos, 345 h at 30 frames/s.

python -m jobs.benchmarks.bench_catalogue  generate, then read, plan and leave out what is committed
python -m jobs.benchmarks.bench_catalogue --folder DIR          keep what was generated there, or use it again
python -m jobs.benchmarks.bench_catalogue --videos 200          a smaller one: to see that it works

The catalogue is written as a run writes it, with the timestamps that files have: seven of ten videos of a constant
rate, two with times rounded to milliseconds, one of a rate that varies. Every second segment is
committed. Memory is the peak of the resident set above what the imports took, in a process that only plans.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import numpy as np
import psutil

from raypipe.config.run import RunConfig, parse_config
from raypipe.datasets.listing import Video
from raypipe.extraction.catalog import Entry, read_catalogue, write_catalogue
from raypipe.extraction.planning import plan_video
from raypipe.run_folder.folder import RunFolder
from raypipe.video.index import VideoIndex

FPS = 30
# (videos, hours, width, height) of UCF-Crime and of XD-Violence.
SETS = ((1900, 128.0, 320, 240), (4754, 217.0, 640, 360))
TARGET_SECONDS, TARGET_MIB = 5.0, 200.0


def main(argv: Sequence[str] | None = None) -> int:
    """Print how long planning takes and the memory it needs; exit code 1 where a target is missed."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--folder", type=Path, metavar="DIR", help="where the run folder goes (default: temporary)")
    parser.add_argument("--videos", type=int, metavar="N", help="of so many videos, the mix and lengths kept")
    parser.add_argument("--plan", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.plan:
        print(json.dumps(_plan(arguments.plan)))
        return 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.folder or Path(temporary)
        if not (folder / "catalogue.jsonl").exists():
            generate(folder, arguments.videos)
        # Another process, whose memory holds nothing of the generation.
        command = [sys.executable, "-m", "jobs.benchmarks.bench_catalogue", "--plan", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, check=True)
    figures = json.loads(done.stdout)
    total = sum(figures["seconds"].values())
    print(f"{figures['videos']:,} videos, {figures['frames']:,} frames in {figures['segments']:,} segments")
    print(f"{figures['rows']:,} segments left to do; catalogue.jsonl is {figures['catalogue_bytes'] / 2**20:.1f} MiB")
    for name, seconds in figures["seconds"].items():
        print(f"{name:>20} {seconds:7.2f} s")
    is_met = total <= TARGET_SECONDS and figures["peak_mib"] <= TARGET_MIB
    print(f"{'total':>20} {total:7.2f} s   (target {TARGET_SECONDS:g})")
    print(f"{'peak memory':>20} {figures['peak_mib']:7.0f} MiB (target {TARGET_MIB:g})")
    return 0 if is_met or arguments.videos else 1


def config_of(folder: Path) -> RunConfig:
    """Return the config whose segments are planned: the defaults, motion alone."""
    return parse_config(
        {"dataset": {"root": "/data"}, "output": str(folder), "detector": {"kind": "sliding_window"}}, "benchmark"
    )


def generate(folder: Path, num_videos: int | None = None) -> None:
    """Write a catalogue into a run folder, and an empty file for every second segment of its plan."""
    config, run = config_of(folder), RunFolder(str(folder))
    folder.mkdir(parents=True, exist_ok=True)
    write_catalogue(run, entries(num_videos))
    for entry in read_catalogue(run).values():
        for index in range(0, len(plan_video(config, entry)), 2):
            path = Path(run.feature_path(entry.video.video_id, index))
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()


def entries(num_videos: int | None = None) -> Iterator[Entry]:
    """Yield probed videos whose lengths add up to the sets' hours; of `num_videos`, as many of each set's share."""
    generator = np.random.default_rng(0)
    share = 1.0 if num_videos is None else num_videos / sum(count for count, *_ in SETS)
    for name, (full, hours, width, height) in zip(("ucf_crime", "xd_violence"), SETS, strict=True):
        count = max(1, round(full * share))
        lengths = generator.lognormal(sigma=0.8, size=count)
        num_frames = np.maximum(1, np.round(lengths / lengths.sum() * hours * 3600 * FPS * count / full)).astype(int)
        for number, frames in enumerate(num_frames.tolist()):
            uri = f"/data/{name}/videos/some_longer_name_of_a_video_{number:05d}.mp4"
            video = Video(f"{name}/video_{number:05d}", uri, "train", 10_000_000 + number, is_frames=False)
            yield Entry(video, _index(generator, number, frames, width, height))


def _index(generator: np.random.Generator, number: int, num_frames: int, width: int, height: int) -> VideoIndex:
    if number % 10 < 7:
        time_base, pts = Fraction(1, 15360), np.arange(num_frames) * 512
    elif number % 10 < 9:
        time_base, pts = Fraction(1, 1000), np.round(np.arange(num_frames) * 1000 / FPS)
    else:
        time_base, pts = Fraction(1, 90000), np.cumsum(generator.integers(2400, 3600, num_frames))
    pts = pts.astype(np.int64)
    keyframes = np.arange(0, num_frames, 250)
    if number % 2:
        # An encoder that sets keyframes where the scene changes.
        keyframes = np.unique(np.append(0, generator.integers(0, num_frames, num_frames // 120)))
    return VideoIndex(
        width=width,
        height=height,
        rotation=0,
        fps=float(FPS),
        codec="h264",
        time_base=time_base,
        pts=pts,
        keyframe_dts=pts[keyframes] - 2 * int(15360 / FPS),
        keyframe_pts=pts[keyframes],
    )


def _plan(folder: Path) -> dict[str, object]:
    config, run = config_of(folder), RunFolder(str(folder))
    process = psutil.Process()
    baseline = process.memory_info().rss
    began = time.perf_counter()
    cached = read_catalogue(run)
    read = time.perf_counter()
    committed, dead = run.committed(), run.dead()
    listed = time.perf_counter()
    rows = []
    num_segments = 0
    for entry in cached.values():
        skipped = committed.get(entry.video.video_id, set()) | dead.get(entry.video.video_id, set())
        plan = plan_video(config, entry)
        num_segments += len(plan)
        rows += [row for row in plan if row.segment_index not in skipped]
    planned = time.perf_counter()
    peak = _peak_bytes()
    return {
        "videos": len(cached),
        "frames": sum(entry.index.num_frames for entry in cached.values() if entry.index),
        "segments": num_segments,
        "rows": len(rows),
        "catalogue_bytes": (folder / "catalogue.jsonl").stat().st_size,
        "seconds": {"read catalogue": read - began, "list what is there": listed - read, "plan": planned - listed},
        "peak_mib": (peak - baseline) / 2**20,
    }


def _peak_bytes() -> int:
    """Return the peak of this process's resident set; that of getrusage is its parent's where that is higher."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM:"))
    return int(line.split()[1]) * 1024


if __name__ == "__main__":
    sys.exit(main())
