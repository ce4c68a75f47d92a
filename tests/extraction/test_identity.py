import numpy as np
import pytest

from raypipe.datasets.folder import Video
from raypipe.extraction.identity import NUM_PIECES, PIECE_BYTES, boxes_digest, content_digest
from tests.video.test_folder import write_frames


def video_at(path, is_frames=False):
    return Video("v", str(path), "test", 0, is_frames)


def digest_of(path, content):
    path.write_bytes(content)
    return content_digest(video_at(path))


@pytest.mark.parametrize("size", [1, 1000, NUM_PIECES * PIECE_BYTES])
def test_every_byte_of_a_small_file_counts(tmp_path, size):
    content = bytearray(np.random.default_rng(0).bytes(size))
    first = digest_of(tmp_path / "a.mp4", content)
    assert first == digest_of(tmp_path / "b c#%20[1].avi", content)
    for position in (0, size // 2, size - 1):
        other = bytearray(content)
        other[position] ^= 1
        assert digest_of(tmp_path / "a.mp4", other) != first
    assert digest_of(tmp_path / "a.mp4", content + b"x") != first


def test_of_a_large_file_pieces_count(tmp_path):
    size = 3 * NUM_PIECES * PIECE_BYTES
    content = bytearray(size)
    first = digest_of(tmp_path / "a.mp4", content)
    for position, is_seen in ((0, True), (size - 1, True), (2 * PIECE_BYTES, False), (4 * PIECE_BYTES, True)):
        other = bytearray(content)
        other[position] = 1
        assert (digest_of(tmp_path / "a.mp4", other) != first) == is_seen
    assert digest_of(tmp_path / "a.mp4", content[:-1]) != first


def test_a_place_that_cannot_be_read_has_no_digest(tmp_path):
    assert content_digest(video_at(tmp_path / "none.mp4")) == ""
    assert content_digest(video_at(tmp_path / "none", is_frames=True)) == ""
    assert boxes_digest(str(tmp_path), "none") == ""
    assert boxes_digest(None, "none") == ""


def test_frames_count_by_names_and_contents(tmp_path):
    frames = np.random.default_rng(0).integers(0, 255, (3, 48, 64, 3), dtype=np.uint8)
    for name in ("a", "b"):
        write_frames(tmp_path / name, frames)
    first = content_digest(video_at(tmp_path / "a", is_frames=True))
    assert content_digest(video_at(tmp_path / "b", is_frames=True)) == first
    (tmp_path / "b" / "notes.txt").write_text("no frame")
    assert content_digest(video_at(tmp_path / "b", is_frames=True)) == first
    last = max((tmp_path / "b").glob("*.png"))
    content = bytearray(last.read_bytes())
    content[len(content) // 2] ^= 1
    last.write_bytes(content)
    assert content_digest(video_at(tmp_path / "b", is_frames=True)) != first
    last.write_bytes(max((tmp_path / "a").glob("*.png")).read_bytes())
    assert content_digest(video_at(tmp_path / "b", is_frames=True)) == first
    last.rename(last.with_name("zzz.png"))
    assert content_digest(video_at(tmp_path / "b", is_frames=True)) != first


def test_boxes_are_read_whole_and_by_any_spelling_of_their_name(tmp_path):
    (tmp_path / "e\u0301.txt").write_text("1,-1,0,0,5,5,1\n")
    first = boxes_digest(str(tmp_path), "é")
    assert len(first) == 32
    (tmp_path / "e\u0301.txt").write_text("1,-1,0,0,5,6,1\n")
    assert boxes_digest(str(tmp_path), "é") not in ("", first)
