"""Times probing and decoding of videos, in CPU time of one core.

python -m jobs.benchmarks.bench_decode                       clips of several containers and codecs, made on the spot
python -m jobs.benchmarks.bench_decode FILE ...              videos of one's own
python -m jobs.benchmarks.bench_decode --baseline CHECKOUT   beside another checkout of raypipe, in turns
python -m jobs.benchmarks.bench_decode --most 1.3            exit 1 where probing or decoding takes more than that

Decoding is of random segments, compared with torchcodec and decord, in time and pixels, where they are installed.
"""

import argparse
import importlib
import importlib.util
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import IO, Any, cast

import av
import numpy as np
from numpy.typing import NDArray

from jobs.benchmarks.bench_motion import moving_textures
from raypipe.video.decode import decode_at
from raypipe.video.probe import probe_video

NUM_ROUNDS = 7
SEGMENT_FRAMES = 10
NUM_SEGMENTS = 12
# Encoder, its options and the name's ending say what a clip is.
CLIPS = (
    ("h264.mp4", "libx264", {"g": "50", "bf": "2"}),
    ("h264.mkv", "libx264", {"g": "50", "bf": "2"}),
    ("h264.ts", "libx264", {"g": "50", "bf": "2"}),
    ("hevc.mp4", "libx265", {"x265-params": "keyint=50:pools=none:log-level=none"}),
    ("mpeg4.avi", "mpeg4", {"g": "50"}),
    ("vp9.webm", "libvpx-vp9", {"g": "50", "deadline": "realtime", "cpu-used": "8"}),
)
# Runs in a process of each checkout: reads a file's name, answers with the least CPU seconds of one probe and of one
# round of segments. It uses no more than what all versions have.
WORKER = """
import json, sys, time
import numpy as np
from raypipe.video.decode import decode_at
from raypipe.video.probe import probe_video

def least(call, count):
    times = []
    for _ in range(count):
        began = time.process_time()
        call()
        times.append(time.process_time() - began)
    return min(times)

for line in sys.stdin:
    path, starts, length, count = json.loads(line)
    index = probe_video(path)
    segments = [np.arange(start, min(start + length, index.num_frames)) for start in starts]
    probe = least(lambda: probe_video(path), count)
    decode = least(lambda: [decode_at(path, index, segment) for segment in segments], 1)
    print(json.dumps([index.num_frames, probe, decode]), flush=True)
"""
Reader = Callable[[str, NDArray[np.int64]], NDArray[np.uint8]]


def main(argv: Sequence[str] | None = None) -> int:
    """Print the table; return 1 where a ratio to the baseline is above `--most`."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("files", nargs="*", help="videos, instead of clips made on the spot")
    parser.add_argument("--baseline", type=Path, help="another checkout of raypipe to compare with")
    parser.add_argument("--most", type=float, help="the largest ratio to the baseline that is right")
    parser.add_argument("--frames", type=int, default=250, help="frames of a clip made on the spot (default: 250)")
    arguments = parser.parse_args(argv)
    if arguments.most is not None and arguments.baseline is None:
        parser.error("--most needs --baseline")
    with tempfile.TemporaryDirectory() as folder:
        files = arguments.files or make_clips(Path(folder), arguments.frames)
        worst = _against_baseline(files, arguments.baseline)
        _against_others(files)
    return int(arguments.most is not None and worst > arguments.most)


def make_clips(folder: Path, num_frames: int, size: tuple[int, int] = (320, 240)) -> list[str]:
    """Write the clips of `CLIPS` into a folder and return their paths."""
    pictures = moving_textures(num_frames, *size)
    paths = []
    for name, encoder, options in CLIPS:
        with av.open(str(folder / name), "w") as container:
            stream: Any = container.add_stream(encoder, rate=25, options=options)
            stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
            for number, picture in enumerate(pictures):
                frame = av.VideoFrame.from_ndarray(picture, format="gray").reformat(format="yuv420p")
                frame.pts, frame.time_base = number, Fraction(1, 25)
                container.mux(stream.encode(frame))
            container.mux(stream.encode(None))
        paths.append(str(folder / name))
    return paths


def _starts(num_frames: int) -> list[int]:
    starts: list[int] = np.random.default_rng(0).integers(0, max(1, num_frames - SEGMENT_FRAMES), NUM_SEGMENTS).tolist()
    return starts


def _against_baseline(files: Sequence[str], baseline: Path | None) -> float:
    """Print probing and decoding, beside the baseline's where there is one; return the largest ratio."""
    here = Path(__file__).resolve().parents[2]
    workers = [_worker(here), *([_worker(baseline.resolve())] if baseline else [])]
    worst = 0.0
    print(
        f"{'file':<24} {'frames':>7} {'probe ms':>9} {'decode ms a frame':>18}"
        + "  baseline: probe, decode" * bool(baseline)
    )
    for file in files:
        starts = _starts(probe_video(file).num_frames)
        # In turns, so that what else the machine does meets both; the least of all rounds counts.
        rounds = [[_ask(worker, file, starts) for worker in workers] for _ in range(NUM_ROUNDS)]
        least = np.array([[result[1:] for result in one] for one in rounds]).min(0)
        num_frames = rounds[0][0][0]
        decoded = sum(min(SEGMENT_FRAMES, num_frames - start) for start in starts)
        line = f"{Path(file).name:<24} {num_frames:7d} {least[0, 0] * 1000:9.2f} {least[0, 1] * 1000 / decoded:18.2f}"
        if baseline:
            ratios = least[0] / least[1]
            worst = max(worst, float(ratios.max()))
            line += f"  x {ratios[0]:.2f}, x {ratios[1]:.2f}"
        print(line)
    for worker in workers:
        worker.communicate("")
    if baseline:
        print(f"largest ratio to the baseline: {worst:.2f}")
    return worst


def _worker(checkout: Path) -> "subprocess.Popen[str]":
    environment = os.environ | {"PYTHONPATH": str(checkout)}
    command = [sys.executable, "-c", WORKER]
    return subprocess.Popen(
        command, cwd=checkout, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def _ask(worker: "subprocess.Popen[str]", file: str, starts: list[int]) -> tuple[int, float, float]:
    asked, answered = cast(IO[str], worker.stdin), cast(IO[str], worker.stdout)
    print(json.dumps([str(Path(file).resolve()), starts, SEGMENT_FRAMES, 3]), file=asked, flush=True)
    num_frames, probe, decode = json.loads(answered.readline())
    return num_frames, probe, decode


def _against_others(files: Sequence[str]) -> None:
    """Print decoding of segments by other libraries: time relative to ours, and the mean difference of pixels."""
    readers = {"torchcodec": _read_by_torchcodec, "decord": _read_by_decord}
    for name, reader in readers.items():
        if importlib.util.find_spec(name) is None:
            print(f"{name}: not installed, not compared")
            continue
        print(f"{name}: file, its time relative to raypipe's, mean difference of pixels (0 to 255)")
        for file in files:
            try:
                ratio, difference = _compare(file, reader)
            except Exception as error:  # noqa: BLE001 - whatever another library has to say of a file
                print(f"  {Path(file).name:<24} failed: {str(error).splitlines()[0][:80]}")
                continue
            print(f"  {Path(file).name:<24} x {ratio:.2f}  {difference:.3f}")


def _compare(file: str, reader: Reader) -> tuple[float, float]:
    index = probe_video(file)
    segments = [np.arange(start, min(start + SEGMENT_FRAMES, index.num_frames)) for start in _starts(index.num_frames)]
    ours, theirs, differences = [], [], []
    for number in range(3):
        began = time.process_time()
        frames = [decode_at(file, index, segment) for segment in segments]
        ours.append(time.process_time() - began)
        began = time.process_time()
        others = [reader(file, segment) for segment in segments]
        theirs.append(time.process_time() - began)
        if number == 0:
            pairs = zip(frames, others, strict=True)
            differences = [float(np.abs(a.astype(int) - b).mean()) for a, b in pairs]
    return min(theirs) / min(ours), float(np.mean(differences))


def _read_by_torchcodec(file: str, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    # As a segment of a run: opened anew, no threads, approximate seeking as the file is not to be read as a whole.
    decoders = importlib.import_module("torchcodec.decoders")
    decoder = decoders.VideoDecoder(file, dimension_order="NHWC", num_ffmpeg_threads=1, seek_mode="approximate")
    frames: NDArray[np.uint8] = decoder.get_frames_at(numbers.tolist()).data.numpy()
    return frames


def _read_by_decord(file: str, numbers: NDArray[np.int64]) -> NDArray[np.uint8]:
    decord = importlib.import_module("decord")
    frames: NDArray[np.uint8] = decord.VideoReader(file, num_threads=1).get_batch(numbers.tolist()).asnumpy()
    return frames


if __name__ == "__main__":
    sys.exit(main())
