"""Writing video: H.264 files whose bytes depend on the frames alone."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray


def write_video(path: Path, frames: Iterator[NDArray[np.uint8]], fps: int = 25) -> None:
    """Write uint8 (H, W, 3) RGB frames as an H.264 file; it appears under its name when it is complete."""
    import av

    temporary = path.with_name(f".{path.name}")
    with av.open(str(temporary), "w", format="mp4") as container:
        # With x264's macroblock tree the same frames give another file now and then, even on one thread.
        options = {"crf": "20", "preset": "veryfast", "x264-params": "mbtree=0"}
        stream: Any = container.add_stream("libx264", rate=fps, options=options)
        stream.codec_context.thread_count = 1
        stream.pix_fmt = "yuv420p"
        for number, image in enumerate(frames):
            if number == 0:
                # The first packet opens the codec, and after that PyAV refuses any size, the same one too.
                stream.height, stream.width = image.shape[:2]
            container.mux(stream.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(stream.encode(None))
    temporary.replace(path)
