"""What FFmpeg's decoder gives for a whole file: the truth that a video's index and its segments are compared with."""

import random
from itertools import pairwise

import av
import numpy as np

from raypipe.video.decode import decode_at
from raypipe.video.probe import probe_video


def decode_whole(path, stream_index):
    """Return a file's frames as RGB, as they come out of the decoder and so before any turning, and their times."""
    frames, times = [], []
    with av.open(f"file:{path}") as container:
        stream = next(s for s in container.streams.video if s.index == stream_index)
        for packet in container.demux(stream):
            if not packet.size and packet.dts is not None:
                # An empty chunk of AVI; for a decoder it would be the end.
                continue
            try:
                decoded = stream.codec_context.decode(packet if packet.size else None)
            except av.FFmpegError:
                decoded = []
            frames += [frame.reformat(format="rgb24").to_ndarray() for frame in decoded]
            times += [frame.pts for frame in decoded]
            if not packet.size:
                break
    return frames, times


def assert_same_as_whole(path, *, turn=lambda picture: picture, num_segments=6, seed=0):
    """Assert that count, order, times and pixels of random segments are those of the whole; return the index."""
    index = probe_video(str(path))
    frames, times = decode_whole(path, index.stream)
    assert index.num_frames == len(frames)
    if not index.is_counted:
        assert index.pts.tolist() == times
    else:
        # Nothing is thrown away that could be used.
        is_usable = all(time is not None for time in times) and all(a < b for a, b in pairwise(times))
        assert not is_usable or len(times) == 1 or path.suffix == ".avi"
    generator = random.Random(seed)
    starts = [0, index.num_frames - 1, *(generator.randrange(index.num_frames) for _ in range(num_segments - 2))]
    for start in starts:
        stop = min(index.num_frames, start + generator.randint(1, 12))
        step = generator.choice([1, 1, 3])
        numbers = np.arange(start, stop, step)
        expected = np.stack([turn(frames[number]) for number in numbers])
        np.testing.assert_array_equal(decode_at(str(path), index, numbers), expected, f"{start}:{stop}:{step}")
    return index
