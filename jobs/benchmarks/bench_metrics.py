"""Time the evaluation of frame scores as large as UCF-Crime's: 13.8 million frames, with 1,000 bootstrap replicates.

    python -m jobs.benchmarks.bench_metrics                          290 videos (the test split) and 1,900 (all)
    python -m jobs.benchmarks.bench_metrics --videos 290 --frames 1000000 --slow-replicates 1000

Scores are random, all distinct, and smooth along time; every other video holds an event. The slow way sorts once, too,
but goes through all frames for each replicate; a few replicates are timed and the rest reckoned from them.
"""

import argparse
import resource
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import numpy as np
from threadpoolctl import threadpool_limits

from raypipe.config.workflow import EvaluateConfig
from raypipe.evaluation.evaluate import Evaluation, VideoScores, evaluate_videos
from raypipe.ops.bootstrap import bootstrap, draw_counts
from raypipe.ops.metrics import RankedVideos, measure, rank_videos

NUM_FRAMES = 13_800_000
NUM_VIDEOS = (290, 1900)
NUM_CLASSES = 13
NUM_REPLICATES = 1000
FPS = 30.0

Result = TypeVar("Result")


def make_videos(num_videos: int, num_frames: int, seed: int = 0) -> list[VideoScores]:
    """Return videos of unlike lengths that have `num_frames` frames together, half of them with an event."""
    rng = np.random.default_rng(seed)
    shares = rng.dirichlet(np.full(num_videos, 4.0))
    lengths = np.maximum(1, np.diff(np.round(np.cumsum(shares) * num_frames), prepend=0).astype(int))
    videos = []
    for number, length in enumerate(lengths.tolist()):
        label = np.zeros(length, bool)
        if number % 2:
            start = int(rng.integers(0, max(1, length - length // 7)))
            label[start : start + max(1, length // 7)] = True
        score = np.cumsum(rng.normal(size=length)) / np.sqrt(length) + rng.normal() + label
        class_name = f"class {number % NUM_CLASSES}" if label.any() else "normal"
        videos.append(VideoScores(f"{number}", score, label, fps=FPS, class_name=class_name))
    return videos


def slow_seconds(ranked: RankedVideos, num_timed: int) -> float:
    """Return the seconds that all replicates would take frame by frame, from those of the first few."""
    draws = draw_counts(ranked.num_frames, num_timed, seed=0)
    began = time.perf_counter()
    for draw in draws:
        measure(ranked, draw)
    return (time.perf_counter() - began) / len(draws) * NUM_REPLICATES


def main(argv: Sequence[str] | None = None) -> int:
    """Print a row of seconds per number of videos."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, nargs="+", default=NUM_VIDEOS, help="numbers of videos")
    parser.add_argument("--frames", type=int, default=NUM_FRAMES, help="frames of all videos together")
    parser.add_argument("--slow-replicates", type=int, default=5, help="replicates timed of the slow way")
    arguments = parser.parse_args(argv)
    print(
        "| videos | sort | metrics | intervals | slow intervals | ratio | all, with alarms and classes | CPU | peak |"
    )
    print("| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |")
    remarks = [_report(count, arguments.frames, arguments.slow_replicates) for count in arguments.videos]
    print(f"\n{arguments.frames:,} frames, {NUM_REPLICATES:,} replicates, seconds; the peak is of the whole process.")
    print("\n".join(remarks))
    return 0


def _report(num_videos: int, num_frames: int, num_timed: int) -> str:
    videos = make_videos(num_videos, num_frames)
    before = time.process_time()
    whole, evaluation = _timed(lambda: evaluate_videos(videos, EvaluateConfig(), seed=0))
    used = time.process_time() - before
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    sort, ranked = _timed(lambda: rank_videos([v.score for v in videos], [v.label for v in videos]))
    metrics, _ = _timed(lambda: measure(ranked))
    with threadpool_limits(limits=1, user_api="blas"):
        fast, intervals = _timed(lambda: bootstrap(ranked, num_samples=NUM_REPLICATES, seed=0))
    slow = slow_seconds(ranked, num_timed)
    cells = [f"{seconds:.1f}" for seconds in (sort, metrics, fast, slow)]
    print(
        f"| {num_videos:,} | {' | '.join(cells)} | {slow / fast:.0f} | {whole:.1f} | {used:.1f} | {peak:.2f} GiB |",
        flush=True,
    )
    errors = ", ".join(f"{name} {intervals[name].error:.1e}" for name in ("micro_auc", "average_precision"))
    return f"{num_videos:,} videos: proven errors of the intervals' ends {errors}; {_widths(evaluation)}"


def _widths(evaluation: Evaluation) -> str:
    shown = [
        f"{name} {metric.high - metric.low:.1e}"
        for name, metric in evaluation.metrics.items()
        if name in ("micro_auc", "average_precision") and metric.low is not None and metric.high is not None
    ]
    return "the intervals are wide " + ", ".join(shown)


def _timed(work: Callable[[], Result]) -> tuple[float, Result]:
    began = time.perf_counter()
    result = work()
    return time.perf_counter() - began, result


if __name__ == "__main__":
    raise SystemExit(main())
