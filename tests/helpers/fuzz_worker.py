"""Probes and decodes the files that are named on stdin, a line each, and says what came of it; it may crash or hang."""

import sys

import numpy as np

from raypipe.errors import DataError
from raypipe.ops.segments import decoded_size
from raypipe.video.decode import decode_frames
from raypipe.video.index import seek_point
from raypipe.video.probe import probe_video

MAX_FRAMES, MAX_SIDE = 40, 64


def look_at(path):
    """Read a file as a segment of a run would be; return in a line what it is."""
    try:
        index = probe_video(path)
        first = index.num_frames // 2
        indices = np.arange(first, min(index.num_frames, first + MAX_FRAMES))
        seek_dts, seek_pts = seek_point(index, first)
        frames = decode_frames(
            path,
            frame_indices=indices,
            frame_pts=index.pts[indices],
            seek_dts=seek_dts,
            seek_pts=seek_pts,
            is_numbered=index.is_numbered,
            stream=index.stream,
            size=decoded_size(index.width, index.height, MAX_SIDE),
        )
    except DataError as error:
        return f"refused {type(error).__name__}"
    return f"decoded {len(frames)}"


if __name__ == "__main__":
    for line in sys.stdin:
        print(look_at(line.rstrip("\n")), flush=True)
