"""Every container and codec that can be written here, each compared with a decode of the whole file."""

import pytest

from tests.media.whole import assert_same_as_whole
from tests.media.zoo import ALL, write


@pytest.mark.parametrize(("codec", "container"), ALL)
def test_segments_are_those_of_the_whole(tmp_path, codec, container):
    path = write(tmp_path, codec, container)
    index = assert_same_as_whole(path)
    assert index.damage is None


def test_ordinary_files_are_not_decoded_to_be_probed(tmp_path):
    ordinary = [
        *(("h264", name) for name in ("mp4", "fragmented", "mov", "matroska", "mpegts", "m2ts", "flv", "3gp")),
        *(("h264 without B", name) for name in ("mp4", "matroska", "mpegts", "flv")),
        *(("h264 open", name) for name in ("mp4", "matroska", "mpegts")),
        *(("hevc", name) for name in ("mp4", "mov", "matroska", "mpegts")),
        *(("hevc open", name) for name in ("mp4", "matroska", "mpegts")),
        *((codec, name) for codec in ("vp8", "vp9", "av1") for name in ("matroska", "webm")),
        *(("mpeg4", name) for name in ("mp4", "mov", "matroska", "avi")),
        *(("msmpeg4", name) for name in ("avi", "mov", "matroska")),
        *(("mjpeg", name) for name in ("avi", "mov", "mp4")),
        *((codec, "avi") for codec in ("msmpeg4v2", "wmv1", "huffyuv", "utvideo", "raw")),
        *((codec, "mov") for codec in ("prores", "dnxhd")),
    ]
    from raypipe.video.probe import probe_video

    decoded = [pair for pair in ordinary if probe_video(str(write(tmp_path, *pair))).is_numbered]
    assert decoded == []
