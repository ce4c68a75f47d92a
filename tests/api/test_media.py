import pickle

import numpy as np
import pytest
from PIL import Image

import raypipe
from tests.helpers.clips import moving_squares, write_clip

WIDTH, HEIGHT, LENGTH = 48, 32, 50


@pytest.fixture(scope="module")
def clip(tmp_path_factory):
    """A lossless clip with B-frames and keyframes every 12, and its frames as they decode from the start."""
    path = tmp_path_factory.mktemp("clip") / "clip.mp4"
    frames = moving_squares(LENGTH, WIDTH, HEIGHT)
    write_clip(path, frames, codec="libx264rgb", pix_fmt="rgb24", options={"g": "12", "qp": "0", "bf": "2"}, fps=20)
    return path, frames


def test_facts(clip):
    video = raypipe.read_video(clip[0])
    assert (len(video), video.fps, video.size, video.codec, video.damage) == (
        LENGTH,
        20.0,
        (WIDTH, HEIGHT),
        "h264",
        None,
    )
    assert np.allclose(video.times, np.arange(LENGTH) / 20)
    assert repr(video) == f"<Video {clip[0]}: 50 frames of 48x32 at 20 Hz, h264>"


@pytest.mark.parametrize(
    "key",
    [
        slice(None),
        slice(10, 20),
        slice(23, 26),
        slice(-3, None),
        slice(5, 40, 7),
        slice(None, None, -1),
        slice(40, 10, -9),
        slice(45, 90),
        slice(7, 7),
    ],
)
def test_slices_are_those_very_frames(clip, key):
    path, frames = clip
    found = raypipe.read_video(path)[key]
    assert found.dtype == np.uint8
    assert np.array_equal(found, frames[key])


@pytest.mark.parametrize("number", [0, 13, 49, -1, -50, np.int64(7)])
def test_one_frame(clip, number):
    path, frames = clip
    assert np.array_equal(raypipe.read_video(path)[number], frames[number])


@pytest.mark.parametrize("number", [50, -51])
def test_a_frame_that_is_not_there(clip, number):
    with pytest.raises(IndexError):
        raypipe.read_video(clip[0])[number]


@pytest.mark.parametrize(
    ("num_frames", "spans"),
    [(20, [(0, 20), (20, 40), (40, 50)]), (50, [(0, 50)]), (1000, [(0, 50)]), (None, [(0, 50)])],
)
def test_segments_cover_the_video_once(clip, num_frames, spans):
    path, frames = clip
    segments = list(raypipe.read_video(path).segments(num_frames))
    assert [(segment.start, segment.stop) for segment in segments] == spans
    assert all(np.array_equal(segment.frames, frames[segment.start : segment.stop]) for segment in segments)


def test_by_default_a_segment_is_of_bounded_size(clip, monkeypatch):
    monkeypatch.setattr("raypipe.api.media.SEGMENT_BYTES", 3 * WIDTH * HEIGHT * 12 + 5)
    path, frames = clip
    video = raypipe.read_video(path)
    assert [len(segment.frames) for segment in video.segments()] == [12, 12, 12, 12, 2]
    assert np.array_equal(np.stack(list(video)), frames)


def test_frames_scaled_down(clip):
    video = raypipe.read_video(clip[0], max_side=24)
    assert video.size == (24, 16)
    assert video[3:5].shape == (2, 16, 24, 3)
    assert raypipe.read_video(clip[0], max_side=1000).size == (WIDTH, HEIGHT)


def test_a_video_travels_to_another_process(clip):
    path, frames = clip
    assert np.array_equal(pickle.loads(pickle.dumps(raypipe.read_video(path)))[20], frames[20])  # noqa: S301


def test_a_folder_of_images(tmp_path, clip):
    _, frames = clip
    for number, frame in enumerate(frames[:12]):
        Image.fromarray(frame).save(tmp_path / f"{number}.png")
    video = raypipe.read_video(tmp_path, frames_fps=10)
    assert (len(video), video.fps, video.codec) == (12, 10.0, "frames")
    assert np.array_equal(video[9:12], frames[9:12])


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("none.mp4", None, "none.mp4: no such file"),
        ("zero.mp4", b"", "the file is empty"),
        ("letter.mp4", b"dear reader " * 50, "text, not a video"),
    ],
)
def test_what_is_no_video(tmp_path, name, content, words):
    if content is not None:
        (tmp_path / name).write_bytes(content)
    with pytest.raises(raypipe.DataError, match=words):
        raypipe.read_video(tmp_path / name)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"max_side": 0}, "max_side: 0 is not a size in pixels"),
        ({"frames_fps": float("nan")}, "frames_fps: nan is not a frame rate"),
    ],
)
def test_options_that_make_no_sense(clip, options, words):
    with pytest.raises(raypipe.UserError, match=words):
        raypipe.read_video(clip[0], **options)


def test_segments_of_no_length(clip):
    with pytest.raises(raypipe.UserError, match="num_frames: 0"):
        list(raypipe.read_video(clip[0]).segments(0))


def shifted(num_frames, dx, dy):
    """Return gray smooth noise that moves by (dx, dy) pixels a frame, uint8 (T, 64, 64)."""
    noise = np.kron(np.random.default_rng(1).integers(0, 256, (30, 30)), np.ones((4, 4)))
    smooth = np.mean([np.roll(noise, (y, x), (0, 1)) for y in range(4) for x in range(4)], axis=0)
    return np.stack([smooth[24 - dy * t : 88 - dy * t, 24 - dx * t : 88 - dx * t] for t in range(num_frames)]).astype(
        np.uint8
    )


@pytest.mark.parametrize(("dx", "dy"), [(2, 1), (-3, 0), (0, -2)])
@pytest.mark.parametrize("is_rgb", [False, True])
def test_motion_of_a_known_shift(dx, dy, is_rgb):
    gray = shifted(4, dx, dy)
    frames = np.repeat(gray[..., None], 3, axis=-1) if is_rgb else gray
    vectors, inter = found = raypipe.motion_vectors(frames)
    assert isinstance(found, raypipe.MotionVectors)
    assert (vectors.shape, vectors.dtype, inter.shape) == ((4, 8, 8, 2), np.int16, (4, 8, 8))
    assert not inter[0].any()
    inner = (vectors == (4 * dx, 4 * dy)).all(-1)[1:, 1:-1, 1:-1]
    assert inner.mean() > 0.9


@pytest.mark.parametrize(
    "frames",
    [
        np.zeros((2, 16, 16), np.float32),
        np.zeros((16, 16), np.uint8),
        np.zeros((2, 16, 16, 4), np.uint8),
        np.zeros((2, 0, 16), np.uint8),
    ],
)
def test_motion_of_what_are_no_frames(frames):
    with pytest.raises(raypipe.UserError, match=r"expected uint8 of shape \(T, H, W, 3\) or \(T, H, W\)"):
        raypipe.motion_vectors(frames)


def test_motion_of_no_frames():
    assert raypipe.motion_vectors(np.zeros((0, 16, 24), np.uint8)).vectors.shape == (0, 2, 3, 2)


@pytest.mark.parametrize("name", ["vc1", "frames"])
def test_frames_are_those_of_a_run(tmp_path, name, shared):
    """Of a file whose frames are numbered as they decode, and of a folder of frames that is given as a URI."""
    if name == "vc1":
        (path,) = (shared / "cases" / "media" / "6-vc1-order").iterdir()
        uri = str(path)
    else:
        for number, picture in enumerate(moving_squares(9, WIDTH, HEIGHT)):
            Image.fromarray(picture).save(tmp_path / f"{number}.png")
        uri = f"{tmp_path.as_uri()}/"
    video = raypipe.read_video(uri)
    whole = video[:]
    assert len(whole) == len(video) == (120 if name == "vc1" else 9)
    for start in (0, 3, len(video) - 3):
        assert np.array_equal(video[start : start + 3], whole[start : start + 3])
