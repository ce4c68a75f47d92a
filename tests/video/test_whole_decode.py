import av
import numpy as np
import pytest

from raypipe.errors import CorruptVideoError
from raypipe.video.container import open_video
from raypipe.video.decode import decode_at
from raypipe.video.probe import probe_video
from raypipe.video.whole_decode import Reading, _Trial, decode_sequence, numbered_packets, strict_options
from tests.helpers.clips import moving_squares, write_clip


def sequence_of(path):
    return decode_sequence(str(path), 0)


def test_safe_starts_are_keyframes_that_lie_apart(tmp_path):
    # Groups of 12: each trial compares 32 frames, and the next one begins at the first keyframe after it.
    path = write_clip(tmp_path / "a.mp4", moving_squares(120, 96, 64), options={"g": "12", "bf": "0"})
    sequence = sequence_of(path)
    assert sequence.starts == [(12, 12), (48, 48), (84, 84)]
    assert (len(sequence.pts), sequence.num_packets, sequence.num_errors) == (120, 120, 0)


def test_the_first_frame_from_a_start_is_known_where_others_are_dropped(tmp_path):
    options = {"x264-params": "open-gop=1:keyint=20:min-keyint=20:bframes=3:scenecut=0:b-adapt=0"}
    path = write_clip(tmp_path / "a.ts", moving_squares(100, 96, 64), options=options)
    for packet, first in sequence_of(path).starts:
        with av.open(str(path)) as container:
            stream = container.streams.video[0]
            packets = [p for p in container.demux(stream) if p.size][packet:]
            shown = [f.pts for p in [*packets, None] for f in stream.codec_context.decode(p)]
        assert shown[0] == sequence_of(path).pts[first]


@pytest.mark.parametrize(("packet", "expected"), [(12, True), (5, False), (13, False)])
def test_a_start_that_gives_other_pictures_is_none(tmp_path, packet, expected):
    # Frames of MPEG-4 come out of the decoder whether or not there is anything that they refer to.
    path = write_clip(tmp_path / "a.avi", moving_squares(60, 96, 64), codec="mpeg4", options={"g": "12"})
    trial = _Trial(str(path), 0, packet)
    with open_video(str(path)) as (container, stream):
        for _, one in numbered_packets(container, stream, Reading()):
            for frame in stream.codec_context.decode(one):
                if frame.pts >= packet:
                    trial.expect(frame.pts, frame.pts, frame)
            if one.pts >= packet:
                trial.feed(one)
    trial.close()
    assert (trial.verdict, trial.start) == ((True, (packet, packet)) if expected else (False, trial.start))


def test_codecs_that_keep_pictures_from_before_have_no_starts(tmp_path):
    path = write_clip(tmp_path / "a.avi", moving_squares(50, 96, 64), codec="cinepak", pix_fmt="rgb24")
    assert sequence_of(path).starts == []


def test_packets_at_the_end_that_are_cut_off_are_left_out(tmp_path):
    how = {"options": {"bf": "0"}, "muxer_options": {"movflags": "faststart"}}
    path = write_clip(tmp_path / "a.mp4", moving_squares(60, 96, 64), **how)
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 7 // 10])
    reading = Reading()
    with open_video(str(path)) as (container, stream):
        numbers = [packet.pts for _, packet in numbered_packets(container, stream, reading)]
    assert reading.num_cut == 1
    assert numbers == list(range(len(numbers)))
    assert 0 < len(numbers) < 60


@pytest.mark.parametrize("name", ["mpeg1video", "mpeg2video"])
def test_stuffing_is_no_damage(name):
    assert "bitstream" not in strict_options(name)["err_detect"]
    assert "bitstream" in strict_options("h264")["err_detect"]


def test_a_numbered_file_that_changed_since_is_told(tmp_path):
    recipe = {"codec": "mpeg2video", "options": {"g": "12"}}
    path = write_clip(tmp_path / "a.mkv", moving_squares(60, 96, 64), **recipe)
    index = probe_video(str(path))
    assert index.is_numbered
    write_clip(tmp_path / "a.mkv", moving_squares(60, 96, 64), pts=[0, *range(2, 61)], **recipe)
    with pytest.raises(CorruptVideoError, match="another frame than when the file was probed"):
        decode_at(str(path), index, np.arange(20, 30))
