import os
import tempfile
from pathlib import Path

import av
import numpy as np
import pytest

from raypipe.errors import DataError
from raypipe.video import hevc_analysis
from raypipe.video import hevc_encoder as hevc
from raypipe.video.hevc_analysis import parse_analysis
from raypipe.video.hevc_encoder import MotionError, encode_motion, pad_luma, to_luma

ORACLES = Path(__file__).parents[2].parent / "shared" / "oracles" / "hevc"


def smooth_noise(height, width, seed=0):
    noise = np.kron(np.random.default_rng(seed).integers(0, 256, (height // 4 + 1, width // 4 + 1)), np.ones((4, 4)))
    smooth = np.mean([np.roll(noise, (y, x), (0, 1)) for y in range(4) for x in range(4)], axis=0)
    return smooth[:height, :width]


def shifted(num_frames, height, width, dx, dy):
    """A clip whose content moves by (dx, dy) pixels a frame."""
    reach = 8 * num_frames
    large = smooth_noise(height + 2 * reach, width + 2 * reach)
    rows = [reach - dy * t for t in range(num_frames)]
    columns = [reach - dx * t for t in range(num_frames)]
    return np.stack([large[y : y + height, x : x + width] for y, x in zip(rows, columns, strict=True)]).astype(np.uint8)


@pytest.mark.skipif(not ORACLES.exists(), reason=f"no shared material at {ORACLES}")
@pytest.mark.parametrize("case", ["case_a", "case_b"])
def test_vectors_equal_the_recorded_ones(case):
    recorded = np.load(ORACLES / f"{case}.npz")
    vectors, inter = encode_motion(recorded["luma"])
    np.testing.assert_array_equal(inter, ~recorded["intra"])
    # x265 stores where a block comes from, we say where it went.
    np.testing.assert_array_equal(vectors, -recorded["mv_quarter_pixels"])


@pytest.mark.parametrize(("dx", "dy"), [(3, -2), (-5, 0), (0, 4), (0, 0)])
def test_content_that_moves_right_and_down_has_positive_vectors(dx, dy):
    vectors, inter = encode_motion(shifted(4, 64, 96, dx, dy))
    is_right = (vectors == (4 * dx, 4 * dy)).all(-1) & inter
    assert is_right[1:, 1:-1, 1:-1].mean() > 0.95
    assert not inter[0].any()
    assert not vectors[0].any()


@pytest.mark.parametrize(
    ("height", "width", "grid"),
    [(8, 8, (1, 1)), (1, 1, (1, 1)), (16, 16, (2, 2)), (17, 33, (3, 5)), (118, 158, (15, 20)), (64, 8, (8, 1))],
)
def test_grid_covers_any_size(height, width, grid):
    clip = shifted(3, height, width, 1, 0)
    vectors, inter = encode_motion(clip)
    assert vectors.shape == (3, *grid, 2)
    assert inter.shape == (3, *grid)
    assert (vectors.dtype, inter.dtype) == (np.int16, np.bool_)
    assert not vectors[~inter].any()


@pytest.mark.parametrize("num_frames", [0, 1])
def test_too_few_frames_for_motion(num_frames):
    vectors, inter = encode_motion(np.zeros((num_frames, 24, 32), np.uint8))
    assert vectors.shape == (num_frames, 3, 4, 2)
    assert not inter.any()


def test_same_clip_same_vectors():
    clip = np.random.default_rng(1).integers(0, 256, (5, 48, 64), dtype=np.uint8)
    first, second = encode_motion(clip), encode_motion(clip)
    np.testing.assert_array_equal(first[0], second[0])
    np.testing.assert_array_equal(first[1], second[1])


def test_padding_repeats_the_edges():
    padded = pad_luma(np.arange(15, dtype=np.uint8).reshape(1, 3, 5))
    assert padded.shape == (1, 16, 16)
    assert (padded[0, 2:, 4:] == 14).all()
    even = np.zeros((1, 18, 20), np.uint8)
    assert pad_luma(even) is even


def test_luma_follows_the_colours_brightness():
    colors = np.array([[0, 0, 0], [255, 255, 255], [255, 0, 0], [0, 255, 0], [0, 0, 255]], np.uint8)
    luma = to_luma(np.broadcast_to(colors[:, None, None], (5, 9, 13, 3)))
    assert luma.shape == (5, 9, 13)
    assert (luma == luma[:, :1, :1]).all()
    black, white, red, green, blue = luma[:, 0, 0].astype(int)
    assert black < blue < red < green < white


def folders(parent):
    return list(parent.glob("raypipe-x265-*"))


def test_temporary_folders_are_removed(monkeypatch, tmp_path):
    monkeypatch.setattr(hevc, "_SHARED_MEMORY", tmp_path)
    clip = np.zeros((2, 16, 16), np.uint8)
    encode_motion(clip)
    assert folders(tmp_path) == []

    def fail(padded, path):
        assert folders(tmp_path) == [path.parent]
        assert path.parent.stat().st_mode & 0o077 == 0
        raise MotionError("broken")

    monkeypatch.setattr(hevc, "_encode", fail)
    with pytest.raises(MotionError, match="broken"):
        encode_motion(clip)
    assert folders(tmp_path) == []


def test_little_room_in_shared_memory_is_left_alone(monkeypatch, tmp_path):
    shared, ordinary = tmp_path / "shared", tmp_path / "ordinary"
    shared.mkdir()
    ordinary.mkdir()
    monkeypatch.setattr(hevc, "_SHARED_MEMORY", shared)
    monkeypatch.setattr(tempfile, "tempdir", str(ordinary))
    with hevc._private_folder(1) as folder:
        assert folder.parent == shared
    with hevc._private_folder(2**60) as folder:
        assert folder.parent == ordinary


def test_what_a_killed_process_left_is_removed_when_it_is_old(monkeypatch, tmp_path):
    monkeypatch.setattr(hevc, "_SHARED_MEMORY", tmp_path)
    old, new = tmp_path / "raypipe-x265-1-a", tmp_path / "raypipe-x265-2-b"
    old.mkdir()
    new.mkdir()

    os.utime(old, (0, 0))
    hevc._remove_stale_folders()
    assert folders(tmp_path) == [new]


def analysis_of(clip):
    return hevc.encode_analysis(pad_luma(clip)), clip.shape


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda data: data[:40], "shorter than its header"),
        (lambda data: data[:-1], "ends inside frame 2"),
        (lambda data: data + b"x", "1 bytes after its last frame"),
        (lambda data: set_int(data, 4 * 17, 640), "width=640"),
        (lambda data: set_int(data, 4 * 15, 5), "reuse_level=5"),
        (lambda data: set_int(data, 80, 7), "gives frame 0 7 bytes"),
        (lambda data: set_int(data, 88, 3), "numbers frame 0 as 3"),
        (lambda data: set_int(data, 92, 3), "codes frame 0 as slice type 3"),
        (lambda data: set_int(data, 108, 99), "says 99 CTUs"),
        (lambda data: set_int(data, 112, 64), "64 parts in a CTU"),
        (lambda data: spoil_depths(data, 0), "do not tile the picture"),
        (lambda data: spoil_depths(data, 2), "below 8x8"),
    ],
)
def test_any_other_layout_is_refused(spoil, found):
    data, shape = analysis_of(shifted(3, 64, 96, 3, 1))
    parse_analysis(data, *shape)
    with pytest.raises(MotionError, match=found):
        parse_analysis(spoil(data), *shape)


def set_int(data, position, value):
    return data[:position] + value.to_bytes(4, "little") + data[position + 4 :]


def spoil_depths(data, depth):
    """Give the first P record's last coding unit another depth; the clip's corner is split."""
    record = 80 + int.from_bytes(data[80:84], "little")
    num_entries = int.from_bytes(data[record + 4 : record + 8], "little")
    depths = record + 36 + 48
    spoilt = bytearray(data)
    position = depths + bytes(data[depths : depths + num_entries]).rindex(1)
    spoilt[position] = depth
    return bytes(spoilt)


def test_largest_file_is_not_exceeded():
    clip = np.random.default_rng(0).integers(0, 256, (4, 64, 96), dtype=np.uint8)
    data, shape = analysis_of(clip)
    assert len(data) <= hevc_analysis.largest_file(*shape)


def test_broken_installation_is_named(monkeypatch):
    monkeypatch.setattr(hevc, "_is_guarded", False)
    real = hevc._encode_motion
    monkeypatch.setattr(hevc, "_encode_motion", lambda clip: tuple(part * 0 for part in real(clip)))
    with pytest.raises(
        MotionError, match=r"only 0% of its blocks.*x265 4.*build \d+.*PyAV \d+.*Known to work: PyAV 18"
    ):
        encode_motion(np.zeros((2, 16, 16), np.uint8))
    assert not issubclass(MotionError, DataError)


def test_missing_encoder_is_named(monkeypatch):
    def refuse(*args):
        raise av.codec.codec.UnknownCodecError("libx265")

    monkeypatch.setattr(hevc.av, "CodecContext", type("Missing", (), {"create": staticmethod(refuse)}))
    with pytest.raises(MotionError, match="has no libx265"):
        hevc.encode_analysis(np.zeros((1, 16, 16), np.uint8))


def test_guard_runs_once(monkeypatch):
    monkeypatch.setattr(hevc, "_is_guarded", False)
    calls = []
    real = hevc._encode_motion

    def count(clip):
        calls.append(clip.shape)
        return real(clip)

    monkeypatch.setattr(hevc, "_encode_motion", count)
    for _ in range(2):
        encode_motion(np.zeros((2, 16, 16), np.uint8))
    assert calls == [(4, 64, 64), (2, 16, 16), (2, 16, 16)]
