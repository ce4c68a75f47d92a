"""Real files that were read wrongly once, each with the value that is right; see `cases/README.md` in ../shared."""

import numpy as np
import pytest

from tests.media.whole import assert_same_as_whole


def as_it_is(picture):
    return picture


def transposed(picture):
    return picture.transpose(1, 0, 2)


# file, frames, width, height, whether frames are found by counting, note; the picture of a player of the decoder's.
FILES = [
    # An end code behind the last picture and stuffing inside; the second packet is outside the edit list.
    ("media/1-mpeg2/hdv2.mov", 1, 1440, 1080, True, "1 of 2 packets", as_it_is),
    ("media/1-mpeg2/last_frames.mpg", 19, 160, 120, True, None, as_it_is),
    # Two packets a picture.
    ("media/2-avchd-fields/avchd.mts", 7, 1920, 1080, True, "7 of 14 packets", as_it_is),
    ("reports/02-field-pictures/data/test/field_pes.ts", 50, 64, 64, True, "50 of 100 packets", as_it_is),
    ("reports/02-field-pictures/data/test/frame_pes.ts", 50, 64, 64, True, "50 of 100 packets", as_it_is),
    ("reports/02-field-pictures/data/test/raw.h264", 50, 64, 64, True, "50 of 100 packets", as_it_is),
    # After a seek AVI counts other chunks.
    ("media/3-avi-empty-chunks/cars.avi", 1801, 600, 360, True, None, as_it_is),
    ("media/4-avi-xvid-delay/video02.avi", 198, 320, 240, True, "198 of 200 packets", as_it_is),
    ("media/5-vp9-hidden/ax__roadtrip-vp92-10bit.webm", 72, 426, 240, False, None, as_it_is),
    # Its timestamps are in the order of storage.
    ("media/6-vc1-order/fate__vc1_vc1-wmapro.mp4", 120, 240, 104, True, "timestamps jump back", as_it_is),
    ("media/7-mirrored/ax__sample_rotate_and_reflect.mp4", 30, 720, 1080, False, None, transposed),
    ("media/8-leading-b/opf__xdcam-ex-720p50.mov", 25, 1280, 720, True, None, as_it_is),
    ("media/11-dead-letter/broken.mts", 7, 1920, 1080, True, "7 of 14 packets", as_it_is),
    ("media/11-dead-letter/repaired.mp4", 7, 640, 360, False, None, as_it_is),
    ("media/12-endings/cam.gif", 1, 200, 133, True, None, as_it_is),
    ("media/12-endings/dvr.asf", 153, 160, 120, True, None, as_it_is),
    (
        "reports/03-cover-track-first/data/test/drone.mp4",
        50,
        128,
        96,
        False,
        "1 (h264 128x96) is used, not 0",
        as_it_is,
    ),
]


@pytest.fixture
def cases(shared):
    """The folder of cases; skips where it is absent."""
    folder = shared / "cases"
    if not folder.is_dir():
        pytest.skip("needs ../shared/cases, which is not there")
    return folder


@pytest.mark.parametrize(("name", "num_frames", "width", "height", "is_numbered", "note", "turn"), FILES)
def test_real_files_are_as_the_decoder_gives_them(cases, name, num_frames, width, height, is_numbered, note, turn):
    index = assert_same_as_whole(cases / name, turn=turn, num_segments=8)
    assert (index.num_frames, index.width, index.height) == (num_frames, width, height)
    assert index.is_numbered == is_numbered
    assert note in index.note if note else index.note is None


def test_field_pictures_keep_their_rate(cases):
    index = assert_same_as_whole(cases / "media/2-avchd-fields/avchd.mts")
    assert index.fps == pytest.approx(30000 / 1001, rel=1e-4)
    fields = assert_same_as_whole(cases / "reports/02-field-pictures/data/test/field_pes.ts")
    assert fields.fps == pytest.approx(25)
    np.testing.assert_allclose(fields.time_seconds, np.arange(50) / 25, atol=1e-9)


@pytest.mark.parametrize(
    ("name", "note"),
    [
        ("steady", None),
        ("gap", "a pause of 3,600.0 s after frame 79: motion and smoothing do not reach across"),
        ("ticks", "its timestamps say 90,000 frames a second; 25 are assumed, and times follow from that"),
    ],
)
def test_a_pause_or_odd_timestamps_are_no_rate(cases, name, note):
    index = assert_same_as_whole(cases / f"reports/04-average-frame-rate/data/test/{name}.mp4")
    assert index.fps == pytest.approx(25)
    assert (index.num_frames, index.damage, index.note) == (100, None, note)
