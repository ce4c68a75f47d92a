"""Extracts many tiny videos, one in twenty of them broken, and checks what became of each.

python -m jobs.benchmarks.bench_poison --videos 1000

Every kind of broken video is there: files that are no video or are cut off or damaged, boxes that are wrong, videos
that hang their reader or their decoder, that kill their process, and for which the memory of the GPU is too small.
All good ones must be complete, all broken ones dead letters that say why, and the exit code 3. `raypipe extract` runs
as a user starts it, but for steps that break what no small file breaks.
"""

import argparse
import contextlib
import io
import json
import os
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from jobs.benchmarks.extra_steps import DieOn, FullGpuOn, HangingDecode
from raypipe import pipeline
from raypipe.cli.main import main as raypipe
from raypipe.config.run import RunConfig, parse_config
from raypipe.errors import EXIT_DEAD_LETTERS
from raypipe.pipeline import Stage
from raypipe.run_folder.folder import RunFolder
from raypipe.video.encode import write_video

SIDE, MIN_FRAMES, MAX_FRAMES = 64, 5, 10
POISON_EVERY = 20
TIMEOUT_SECONDS = 5.0
GOOD_BOX = "{frame},-1,{left},8,20,30,0.9,-1,-1,-1"

# A word of the dead letter of files that are broken, see `broken`.
BROKEN_FILES = {
    "empty": "empty",
    "text": "text, not a video",
    "noise": "not a video",
    "no_moov": "moov",
    "half": "moov",
    "damaged": "frames could not be decoded",
}
# What the boxes of a good video are instead, and the word.
BROKEN_BOXES = {
    "boxes_text": ("no boxes at all", "could not convert"),
    "boxes_past_end": ("999,-1,1,1,9,9,1", "has boxes in frame 999"),
}
# Videos that are good, but for a pipe in their place or a step that breaks them.
PIPE = "pipe"
BROKEN_STAGES = {"hang": "hung", "kill": "its process died 3 times", "gpu": "memory of the GPU ran out"}
KINDS = (*BROKEN_FILES, *BROKEN_BOXES, PIPE, *BROKEN_STAGES)


def broken(kind: str, whole: bytes) -> bytes:
    """Return the bytes of a whole MP4 file broken in the way of `kind`."""
    noise = np.random.default_rng(0).bytes(len(whole))
    # Behind the header that x264 writes about itself.
    media = whole.index(b"mdat") + 1000
    return {
        "empty": b"",
        "text": b"this is a letter, not a video\n" * 50,
        "noise": noise,
        "no_moov": whole.replace(b"moov", b"xxxx"),
        "half": whole[: len(whole) // 2],
        "damaged": whole[:media] + noise[:400] + whole[media + 400 :],
    }[kind]


def write_videos(root: Path, count: int, seed: int) -> dict[str, str | None]:
    """Write a `folder` data set with boxes; return for every video id its kind of poison, None for good ones."""
    generator = np.random.default_rng(seed)
    samples = [root / f"sample{number}.mp4" for number in range(8)]
    (root / "train").mkdir(parents=True)
    lengths = generator.integers(MIN_FRAMES, MAX_FRAMES, len(samples), endpoint=True).tolist()
    for sample, length in zip(samples, lengths, strict=True):
        picture = generator.integers(0, 256, (SIDE, SIDE, 3), np.uint8)
        write_video(sample, (np.roll(picture, 3 * frame, axis=1) for frame in range(length)))
    kinds = cycle(KINDS)
    poison: dict[str, str | None] = {}
    for number in range(count):
        kind = next(kinds) if number % POISON_EVERY == POISON_EVERY // 2 else None
        video_id = f"train/{number:04d}" + (f"_{kind}" if kind else "")
        poison[video_id] = kind
        sample, length = samples[number % len(samples)], lengths[number % len(samples)]
        path, boxes = root / f"{video_id}.mp4", root / "boxes" / f"{video_id}.txt"
        boxes.parent.mkdir(parents=True, exist_ok=True)
        lines = [GOOD_BOX.format(frame=frame + 1, left=2 * frame) for frame in range(length)]
        boxes.write_text(BROKEN_BOXES[kind][0] if kind in BROKEN_BOXES else "\n".join(lines))
        if kind == PIPE:
            os.mkfifo(path)
        elif kind in BROKEN_FILES:
            path.write_bytes(broken(kind, sample.read_bytes()))
        else:
            shutil.copy(sample, path)
    for sample in samples:
        sample.unlink()
    return poison


def poison_config(root: Path, output: Path, **ray: Any) -> RunConfig:
    """Return the config of the run."""
    return parse_config(
        {
            "dataset": {"root": str(root)},
            "output": str(output),
            "detector": {"kind": "boxes", "boxes_root": str(root / "boxes")},
            "decode": {"timeout_seconds": TIMEOUT_SECONDS},
            "tracking": {"enabled": False},
            "ray": ray,
        },
        "bench_poison",
    )


@contextlib.contextmanager
def breaking_stages(poison: dict[str, str | None], notes: Path) -> Iterator[None]:
    """Put among the stages of an extraction those that hang, die, or find the GPU full at the videos of these kinds."""
    places = {kind: [(video, 0) for video, own in poison.items() if own == kind] for kind in BROKEN_STAGES}
    original = pipeline.stages_of

    def stages_of(config: RunConfig, folder: RunFolder) -> list[Stage]:
        decode, *others = original(config, folder)
        hanging = replace(decode, make=HangingDecode, arguments=(*decode.arguments, str(notes), places["hang"], 99))
        dying = [
            Stage(f"die{number}", DieOn, (str(notes / f"deaths{number}"), *place, 99))
            for number, place in enumerate(places["kill"])
        ]
        return [hanging, *dying, Stage("gpu", FullGpuOn, (places["gpu"],)), *others]

    notes.mkdir(parents=True, exist_ok=True)
    for number, _ in enumerate(places["kill"]):
        (notes / f"deaths{number}").mkdir(parents=True)
    pipeline.stages_of = stages_of
    try:
        yield
    finally:
        pipeline.stages_of = original


def word_of(kind: str) -> str:
    """Return what the dead letter of a kind of poison says."""
    if kind == PIPE:
        return "hung"
    return (BROKEN_FILES | BROKEN_STAGES | {name: word for name, (_, word) in BROKEN_BOXES.items()})[kind]


def faults_of(output: Path, poison: dict[str, str | None]) -> list[str]:
    """Return what is not as it must be in the run folder: lost and doubled videos, letters without their reason."""
    folder = RunFolder(str(output))
    committed = folder.committed()
    letters = {letter.video_id: letter for letter in folder.read_dead()}
    faults = []
    for video_id, kind in poison.items():
        is_there = committed.get(video_id) == {0}
        letter = letters.get(video_id)
        if kind is None and (letter or not is_there):
            faults.append(f"{video_id} is good: {letter.message if letter else 'has no features'}")
        elif kind is not None and (is_there or letter is None or word_of(kind) not in letter.message):
            faults.append(f"{video_id}: {letter.message if letter else 'no dead letter'}")
    faults += [f"{video_id} is not of this data set" for video_id in {*committed, *letters} - set(poison)]
    return faults


def main(argv: Sequence[str] | None = None) -> int:
    """Write the videos, extract, check, print what was found, and write it as JSON where that is wanted."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--videos", type=int, default=1000, help="(default: %(default)s)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--cpus", type=int, default=os.cpu_count() or 1, help="of the cluster (default: all)")
    parser.add_argument("--json", type=Path, metavar="OUT", help="where to write the figures")
    arguments = parser.parse_args(argv)
    with tempfile.TemporaryDirectory() as directory:
        root, output, notes = (Path(directory) / name for name in ("data", "run", "notes"))
        poison = write_videos(root, arguments.videos, arguments.seed)
        config = Path(directory) / "config.yaml"
        document = poison_config(root, output, num_cpus=arguments.cpus).model_dump(mode="json")
        config.write_text(yaml.safe_dump(document))
        began = time.monotonic()
        said = io.StringIO()
        with breaking_stages(poison, notes), contextlib.redirect_stdout(said):
            code = raypipe(["extract", "--config", str(config)])
        seconds = time.monotonic() - began
        faults = faults_of(output, poison)
    counts = Counter(kind or "good" for kind in poison.values())
    for kind, number in counts.items():
        print(f"{kind:>15} {number:5}" + ("" if kind == "good" else f"  dead letter: {word_of(kind)}"))
    for fault in faults:
        print(f"FAULT: {fault}")
    print(f"{len(poison):,} videos in {seconds:.1f} s, exit code {code}, {len(faults)} not as they must be")
    if arguments.json:
        figures = {"counts": counts, "seconds": seconds, "exit_code": code, "faults": faults}
        arguments.json.write_text(json.dumps(figures, indent=2) + "\n")
    return 0 if code == EXIT_DEAD_LETTERS and not faults else 1


if __name__ == "__main__":
    raise SystemExit(main())
