"""A small folder data set with boxes, and a data set in which everything is broken in its own way."""

from pathlib import Path
from typing import Any

import av
import numpy as np

from raypipe.config.run import RunConfig, parse_config
from tests.helpers.clips import moving_squares, write_clip

WIDTH, HEIGHT = 64, 48


def write_boxes(root: Path, video_id: str, num_frames: int) -> None:
    """Write two boxes a frame in MOT text, one that moves and one that stays."""
    lines = []
    for frame in range(num_frames):
        lines.append(f"{frame + 1},-1,{2 + abs(frame % 80 - 40) * 0.5:.2f},4,16,24,0.9,-1,-1,-1")
        lines.append(f"{frame + 1},-1,40,10,12,30,0.8,-1,-1,-1")
    path = root / "boxes" / f"{video_id}.txt"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n")


def write_data(root: Path, lengths: dict[str, int]) -> Path:
    """Write a clip and its boxes for every video id, and labels for the test split: its second half is abnormal."""
    labels = ["video,start_frame,end_frame"]
    for seed, (video_id, num_frames) in enumerate(lengths.items()):
        path = root / f"{video_id}.mp4"
        path.parent.mkdir(parents=True, exist_ok=True)
        write_clip(path, moving_squares(num_frames, WIDTH, HEIGHT, seed), options={"g": "12"})
        write_boxes(root, video_id, num_frames)
        if video_id.startswith("test/"):
            labels.append(f"{video_id},{num_frames // 2},{num_frames}")
    (root / "labels.csv").write_text("\n".join(labels) + "\n")
    return root


def make_config(root: Path, output: Path, **changes: Any) -> RunConfig:
    """Return a config without tracking whose segments are as short as the config allows, unless `changes` say more."""
    document: dict[str, Any] = {
        "dataset": {"name": "folder", "root": str(root)},
        "output": str(output),
        "segment_bytes": 2**20,
        "warmup_frames": 8,
        "detector": {"kind": "boxes", "boxes_root": str(root / "boxes")},
        "tracking": {"enabled": False},
    }
    return parse_config(document | changes, "test")


def contents(output: Path) -> dict[str, bytes]:
    """Return the bytes of every committed file of features, by its path below features/."""
    base = output / "features"
    return {str(path.relative_to(base)): path.read_bytes() for path in sorted(base.rglob("*.parquet"))}


def damage(path: Path, start: float, stop: float) -> None:
    """Overwrite a part of a file, given in fractions of its length, with noise."""
    content = bytearray(path.read_bytes())
    first, last = int(len(content) * start), int(len(content) * stop)
    content[first:last] = np.random.default_rng(0).bytes(last - first)
    path.write_bytes(bytes(content))


def write_bad_data(root: Path) -> dict[str, str | None]:
    """Write one video of every kind of damage below train/ and return {video_id: a word of its dead letter}.

    None marks a video that is fine. Every video has boxes, so that nothing but the video is wrong.
    """
    folder = root / "train"
    folder.mkdir(parents=True)
    (root / "test").mkdir()
    good = write_clip(folder / "good.mp4", moving_squares(40, WIDTH, HEIGHT), options={"g": "12"})
    whole = good.read_bytes()
    expected: dict[str, str | None] = {"train/good": None}

    def add(name: str, content: bytes, word: str | None) -> None:
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
        expected["train/" + name.rpartition(".")[0]] = word

    add("zero.mp4", b"", "empty")
    add("text.mp4", b"this is a letter, not a video\n" * 100, "not a video")
    add("no_moov.mp4", whole.replace(b"moov", b"xxxx"), "moov")
    add("half.mp4", whole[: len(whole) // 2], "moov")
    add("a b/ü ' \" 100%=x.mp4", whole, None)
    add("...mp4", whole, None)
    add("other/good.mp4", whole, None)
    with av.open(str(folder / "sound.mp4"), "w") as container:
        stream: Any = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    expected["train/sound"] = "video stream"
    write_clip(folder / "one.mp4", moving_squares(1, WIDTH, HEIGHT))
    write_clip(folder / "tiny.mp4", moving_squares(10, 8, 8))
    expected |= {"train/one": None, "train/tiny": None}
    write_clip(folder / "middle.mkv", moving_squares(200, 160, 120), options={"g": "12"})
    damage(folder / "middle.mkv", 0.5, 0.52)
    expected["train/middle"] = "frames"
    for video_id in expected:
        write_boxes(root, video_id, 1)
    return expected
