"""How fast the world is drawn: frames a second of one core, drawn alone and written as H.264.

python -m jobs.benchmarks.bench_world --clips 4
"""

import argparse
import tempfile
import time
from pathlib import Path

import cv2

from raypipe.video.encode import write_video
from raypipe.world.clips import WorldConfig, make_clip


def main(argv: list[str] | None = None) -> int:
    """Time test clips by the processor's time, which other processes do not lengthen; return the exit code."""
    parser = argparse.ArgumentParser(description="Time the drawing of the world.")
    parser.add_argument("--clips", type=int, default=4, help="(default: 4)")
    parser.add_argument("--width", type=int, default=320, help="(default: 320)")
    parser.add_argument("--height", type=int, default=240, help="(default: 240)")
    arguments = parser.parse_args(argv)
    cv2.setNumThreads(1)
    config = WorldConfig(width=arguments.width, height=arguments.height)
    seconds = {"scene": 0.0, "draw": 0.0, "draw and write": 0.0}
    objects = frames = 0
    with tempfile.TemporaryDirectory() as folder:
        for number in range(arguments.clips):
            started = time.process_time()
            clip = make_clip(config, "test", number)
            seconds["scene"] += time.process_time() - started
            started = time.process_time()
            for frame in clip.frames():
                frames += 1
                objects += len(frame.seen)
            seconds["draw"] += time.process_time() - started
            started = time.process_time()
            write_video(Path(folder) / f"{number}.mp4", (frame.image for frame in clip.frames()), config.fps)
            seconds["draw and write"] += time.process_time() - started
    print(f"{config.width}x{config.height}, {objects / frames:.1f} objects a frame, {frames} frames, one core")
    print(f"scene: {seconds['scene'] / arguments.clips:.2f} s each")
    for part in ("draw", "draw and write"):
        print(f"{part}: {frames / seconds[part]:.0f} frames/s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
