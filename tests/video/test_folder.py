import numpy as np
import pytest
from PIL import ExifTags, Image

from raypipe.errors import CorruptVideoError
from raypipe.video.decode import decode_frames
from raypipe.video.folder import decode_folder, list_frames, probe_folder
from raypipe.video.index import FILE_START, seek_point
from tests.helpers.clips import moving_squares


def write_frames(folder, clip, pattern="{}.png", first=0):
    folder.mkdir(parents=True, exist_ok=True)
    for number, picture in enumerate(clip):
        Image.fromarray(picture).save(folder / pattern.format(number + first))


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["10.jpg", "9.jpg", "1.jpg"], ["1.jpg", "9.jpg", "10.jpg"]),
        (["f2.png", "f10.png", "f1.png"], ["f1.png", "f2.png", "f10.png"]),
        (["a1b10.tif", "a1b9.tif", "a01b1.tif"], ["a01b1.tif", "a1b9.tif", "a1b10.tif"]),
        (["001.JPG", "002.jpeg", "003.bmp", "004.tiff"], ["001.JPG", "002.jpeg", "003.bmp", "004.tiff"]),
        (["x².png", "x2.png"], ["x2.png", "x².png"]),
        (["8.2.png", "8.04.png", "8.0.png", "10.1.png"], ["8.0.png", "8.04.png", "8.2.png", "10.1.png"]),
        (["v1.10.0001.png", "v1.9.0001.png"], ["v1.9.0001.png", "v1.10.0001.png"]),
        (["2.webp", "10.webp"], ["2.webp", "10.webp"]),
        (["x.png", "1.png", "notes.txt", "Thumbs.db", "._1.png"], ["1.png", "x.png"]),
        ([], []),
    ],
)
def test_frames_are_listed_in_natural_order(tmp_path, names, expected):
    for name in names:
        (tmp_path / name).touch()
    assert [file.name for file in list_frames(tmp_path)] == expected


def test_index_and_segments_equal_the_pictures(tmp_path):
    clip = moving_squares(12, 33, 25)
    write_frames(tmp_path / "a video", clip)
    index = probe_folder(tmp_path / "a video", fps=10)
    assert (index.num_frames, index.width, index.height, index.codec) == (12, 33, 25, "frames")
    assert index.is_counted
    np.testing.assert_allclose(index.time_seconds, np.arange(12) / 10)
    assert seek_point(index, 5) == (FILE_START, FILE_START)
    parts = []
    for start in range(0, 12, 5):
        indices = np.arange(start, min(start + 5, 12))
        parts.append(
            decode_frames(
                str(tmp_path / "a video"),
                frame_indices=indices,
                frame_pts=index.pts[indices],
                seek_dts=FILE_START,
                seek_pts=FILE_START,
                size=(33, 25),
            )
        )
    np.testing.assert_array_equal(np.concatenate(parts), clip)


@pytest.mark.parametrize(
    ("picture", "expected"),
    [
        (Image.fromarray(np.full((4, 4), 100, np.uint8)), 100),
        (Image.fromarray(np.full((4, 4), 100 * 256 + 7, np.uint16)), 100),
        (Image.fromarray(np.full((4, 4), 100 * 256 + 7, np.int32)), 100),
        (Image.fromarray(np.full((4, 4, 3), 100, np.uint8)).quantize(4), 100),
        (Image.fromarray(np.full((4, 4, 4), 100, np.uint8)), 100),
        (Image.fromarray(np.ones((4, 4), bool)), 255),
    ],
    ids=["gray", "gray16", "gray32", "palette", "alpha", "bits"],
)
def test_every_kind_of_picture_becomes_rgb(tmp_path, picture, expected):
    picture.save(tmp_path / ("0.tif" if picture.mode == "I" else "0.png"))
    frames = decode_folder(tmp_path, frame_indices=np.array([0]), size=(4, 4))
    np.testing.assert_array_equal(frames, np.full((1, 4, 4, 3), expected))


@pytest.mark.parametrize("orientation", range(1, 9))
def test_pictures_are_shown_as_exif_says(tmp_path, orientation):
    stored = moving_squares(3, 48, 32)
    exif = Image.Exif()
    exif[ExifTags.Base.Orientation] = orientation
    for number, picture in enumerate(stored):
        Image.fromarray(picture).save(tmp_path / f"{number}.png", exif=exif)
    # Where the first row and the first column of what is stored are shown (EXIF 2.3, orientation).
    shown = {
        1: lambda p: p,
        2: lambda p: p[:, ::-1],
        3: lambda p: p[::-1, ::-1],
        4: lambda p: p[::-1],
        5: lambda p: p.transpose(1, 0, 2),
        6: lambda p: np.rot90(p, -1),
        7: lambda p: np.rot90(p, 2).transpose(1, 0, 2),
        8: lambda p: np.rot90(p, 1),
    }[orientation]
    index = probe_folder(tmp_path, 10)
    assert (index.width, index.height) == ((32, 48) if orientation >= 5 else (48, 32))
    frames = decode_folder(tmp_path, frame_indices=np.arange(3), size=(index.width, index.height))
    np.testing.assert_array_equal(frames, np.stack([shown(picture) for picture in stored]))


def test_cmyk_becomes_rgb(tmp_path):
    Image.new("CMYK", (4, 4), (0, 255, 255, 0)).save(tmp_path / "0.jpg", quality=100)
    red, green, blue = decode_folder(tmp_path, frame_indices=np.array([0]), size=(4, 4))[0, 0, 0].tolist()
    assert red > 250
    assert max(green, blue) < 5


def test_scaling_averages_over_boxes(tmp_path):
    clip = moving_squares(2, 48, 32)
    write_frames(tmp_path, clip)
    frames = decode_folder(tmp_path, frame_indices=np.array([0, 1]), size=(12, 8))
    expected = clip.reshape(2, 8, 4, 12, 4, 3).mean((2, 4))
    assert np.abs(frames - expected).max() <= 1


def test_bad_folders_are_named(tmp_path):
    with pytest.raises(CorruptVideoError, match="none: the folder cannot be read"):
        probe_folder(tmp_path / "none", 10)
    with pytest.raises(CorruptVideoError, match="no frames in the folder"):
        probe_folder(tmp_path, 10)
    write_frames(tmp_path, moving_squares(2, 16, 16))
    with pytest.raises(CorruptVideoError, match="frame 2 is wanted, the folder holds 2"):
        decode_folder(tmp_path, frame_indices=np.array([1, 2]), size=(16, 16))


@pytest.mark.parametrize(
    ("spoil", "found"),
    [
        (lambda file: file.write_bytes(b""), "not an image"),
        (lambda file: file.write_text("hello"), "not an image"),
        (lambda file: file.write_bytes(file.read_bytes()[:200]), "cannot be decoded"),
        (lambda file: Image.new("RGB", (10, 16)).save(file), "the frame is 10x16, the first of its folder 16x16"),
    ],
)
def test_bad_frames_are_named(tmp_path, spoil, found):
    write_frames(tmp_path, np.random.default_rng(0).integers(0, 256, (3, 16, 16, 3), dtype=np.uint8))
    spoil(tmp_path / "1.png")
    with pytest.raises(CorruptVideoError, match=rf"1\.png: .*{found}"):
        decode_folder(tmp_path, frame_indices=np.arange(3), size=(16, 16))
    assert decode_folder(tmp_path, frame_indices=np.array([0, 2]), size=(16, 16)).shape == (2, 16, 16, 3)


def test_frames_that_were_replaced_are_read_anew(tmp_path):
    """In one process: the scale of deep pictures and the size are those of the files that are there now."""
    for top, expected in ((65535, 255), (4095, 255)):
        for number, value in enumerate((0, top)):
            Image.fromarray(np.full((4, 6), value, np.uint16)).save(tmp_path / f"{number}.png")
        frames = decode_folder(tmp_path, frame_indices=np.arange(2), size=(6, 4))
        assert frames[:, 0, 0, 0].tolist() == [0, expected]
    for number in range(2):
        Image.new("RGB", (8, 2)).save(tmp_path / f"{number}.png")
    index = probe_folder(tmp_path, 10)
    assert (index.width, index.height) == (8, 2)
