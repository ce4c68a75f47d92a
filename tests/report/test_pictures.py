import base64
import io

import numpy as np
import pytest
from PIL import Image

from raypipe.datasets.folder import Video
from raypipe.errors import DataError
from raypipe.extraction.probing import probe
from raypipe.report.pictures import crop_picture, frame_picture, read_frame, read_frames
from tests.helpers.clips import moving_squares, write_clip


def decoded(picture):
    head, _, content = picture.uri.partition(",")
    assert head == "data:image/webp;base64"
    image = Image.open(io.BytesIO(base64.b64decode(content)))
    assert image.size == (picture.width, picture.height)
    return np.asarray(image.convert("RGB")).astype(int)


@pytest.mark.parametrize(
    ("size", "expected"),
    # At most 400 x 300, and twice the frame's own size.
    [((640, 480), (400, 300)), ((1920, 1080), (400, 225)), ((360, 240), (400, 267)), ((64, 48), (128, 96))],
)
def test_frames_are_made_small(size, expected):
    picture = frame_picture(np.zeros((size[1], size[0], 3), np.uint8), np.zeros((0, 4), np.float32), None)
    assert (picture.width, picture.height) == expected


def test_the_strongest_object_is_marked_more_than_the_others():
    boxes = np.array([[40, 60, 100, 160], [240, 60, 300, 160]], np.float32)
    shown = decoded(frame_picture(np.full((240, 320, 3), 60, np.uint8), boxes, 1))
    # At 400 / 320 the boxes begin at x 50 and x 300; rows in the middle of their height.
    line = shown[137]
    is_marked = np.abs(line - 60).max(axis=1) > 25
    assert 1 <= is_marked[45:56].sum() <= 4
    assert is_marked[293:304].sum() >= 5
    # Yellow: far more red and green than blue.
    assert (line[296:300, 0] - line[296:300, 2]).max() > 60


def test_crops_have_a_margin():
    image = np.zeros((100, 100, 3), np.uint8)
    image[40:60, 40:60] = 255
    shown = decoded(crop_picture(image, np.array([40, 40, 60, 60], np.float32)))
    # 20 pixels and 7 on either side, enlarged four times; the object fills the middle 20 of 34.
    assert shown.shape[:2] == (132, 132)
    assert shown[66, 66].min() > 200
    assert shown[66, 10].max() < 60


@pytest.mark.parametrize(
    ("box", "is_seen"),
    [
        ([98, 98, 140, 140], True),
        ([0, 0, 0.2, 0.2], True),
        ([-20, -20, 300, 300], True),
        ([-50, -50, -30, -30], False),
        ([200, 200, 220, 220], False),
        ([50, 0, 50, 100], False),
    ],
)
def test_crops_at_the_edge(box, is_seen):
    picture = crop_picture(np.zeros((100, 100, 3), np.uint8), np.array(box, np.float32))
    assert bool(picture.uri) == is_seen
    assert (picture.absent == "") == is_seen
    assert not is_seen or min(picture.width, picture.height) >= 1


def entry_of(path):
    return probe(Video("v", str(path), "test", path.stat().st_size if path.exists() else 0, path.is_dir()), 25.0)


def test_frames_are_those_of_the_video(tmp_path):
    frames = moving_squares(30, 64, 48)
    entry = entry_of(write_clip(tmp_path / "v.mp4", frames, options={"g": "12"}))
    for number in (0, 17, 29):
        assert np.abs(read_frame(entry, number).astype(int) - frames[number]).mean() < 12
    chosen = read_frames(entry, np.array([3, 20]))
    np.testing.assert_array_equal(chosen[1], read_frame(entry, 20))


def test_frames_of_a_folder(tmp_path):
    for number in range(3):
        Image.new("RGB", (8, 6), (number * 10, 0, 0)).save(tmp_path / f"{number}.png")
    assert read_frame(entry_of(tmp_path), 2)[0, 0].tolist() == [20, 0, 0]


def test_a_video_that_is_gone_or_another_is_refused(tmp_path):
    path = write_clip(tmp_path / "v.mp4", moving_squares(10, 64, 48))
    entry = entry_of(path)
    path.write_bytes(path.read_bytes() + b"\0")
    with pytest.raises(DataError, match=r"v\.mp4: the file has changed"):
        read_frame(entry, 0)
    path.unlink()
    with pytest.raises(DataError, match=r"v\.mp4: no such file"):
        read_frame(entry, 0)
    with pytest.raises(DataError, match=r"v\.mp4: the video could not be probed"):
        read_frame(entry_of(path), 0)
