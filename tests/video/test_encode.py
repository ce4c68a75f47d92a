import numpy as np

from raypipe.video.encode import write_video
from raypipe.world.clips import WorldConfig, make_clip


def test_coding_the_same_frames_again_gives_the_same_file(tmp_path):
    # Memory is used differently each time; with x264's macroblock tree that showed in the file.
    frames = [frame.image for frame in make_clip(WorldConfig(num_frames=60), "train", 0).frames()]
    rng = np.random.default_rng(0)

    def coded(attempt):
        def feed():
            for frame in frames:
                junk = rng.random(int(rng.integers(1000, 300_000)))
                yield frame
                del junk

        path = tmp_path / f"{attempt}.mp4"
        write_video(path, feed())
        return path.read_bytes()

    assert len({coded(attempt) for attempt in range(6)}) == 1
