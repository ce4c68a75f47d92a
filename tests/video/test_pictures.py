import av
import numpy as np
import pytest
from PIL import Image

from raypipe.errors import CorruptVideoError
from raypipe.video.folder import decode_folder, probe_folder
from raypipe.video.pictures import in_order


@pytest.mark.parametrize(
    "ordered",
    [
        ["frame2.png", "frame10.png"],
        ["0.04.png", "0.2.png", "10.png"],
        # time.time() writes no zeros at the end.
        ["1700000000.0.png", "1700000000.04.png", "1700000000.2.png", "1700000000.24.png", "1700000001.0.png"],
        ["left_0.04.jpg", "left_0.2.jpg", "left_10.0.jpg"],
        ["0,04.png", "0,2.png", "1,0.png"],
        ["-2.png", "-1.5.png", "0.png", "3.png"],
        ["1e-05.png", "0.0001.png", "0.02.png"],
        # Counters behind a point: the camera, then the frame.
        ["1.8.png", "1.9.png", "1.10.png", "1.11.png", "2.1.png"],
        ["cam1.000.png", "cam1.001.png", "cam1.010.png"],
        ["a1b9.tif", "a1b10.tif"],
    ],
)
def test_names_are_in_the_order_of_their_numbers(ordered):
    assert in_order(reversed(ordered)) == ordered


def ramp(top, dtype):
    """Return three pictures of which the last alone reaches `top`."""
    return [np.full((4, 6), value, dtype) for value in (0, top / 2, top)]


def levels(folder, count=3):
    frames = decode_folder(folder, frame_indices=np.arange(count), size=(6, 4))
    return frames[:, 0, 0, 0].tolist()


@pytest.mark.parametrize(
    ("pictures", "suffix", "expected"),
    [
        (ramp(2**10 - 1, np.uint16), "png", [0, 127, 255]),
        (ramp(2**12 - 1, np.uint16), "png", [0, 127, 255]),
        (ramp(3000, np.uint16), "png", [0, 93, 187]),  # of 12 bits: / 16
        (ramp(2**14 - 1, np.uint16), "tif", [0, 127, 255]),
        (ramp(2**16 - 1, np.uint16), "tif", [0, 127, 255]),
        (ramp(200, np.uint16), "png", [0, 100, 200]),  # 8 bits in 16
        (ramp(2**12 - 1, np.int32), "tif", [0, 127, 255]),
        (ramp(1, np.float32), "tif", [0, 128, 255]),
        (ramp(0.5, np.float32), "tif", [0, 64, 128]),
        (ramp(255, np.float32), "tif", [0, 128, 255]),
        (ramp(4095, np.float32), "tif", [0, 127, 255]),
    ],
)
def test_deep_pictures_have_one_scale_in_a_folder(tmp_path, pictures, suffix, expected):
    for number, picture in enumerate(pictures):
        Image.fromarray(picture).save(tmp_path / f"{number}.{suffix}")
    assert probe_folder(tmp_path, 25).num_frames == 3
    assert levels(tmp_path) == expected
    # A segment is scaled as the whole.
    assert decode_folder(tmp_path, frame_indices=np.array([1]), size=(6, 4))[0, 0, 0, 0] == expected[1]


def test_colour_of_16_bits_is_scaled_by_what_it_holds(tmp_path):
    """Written by FFmpeg, since Pillow has no such pictures: red, green and blue of 12 bits in 16."""
    for number, level in enumerate((0, 2048, 4095)):
        values = np.zeros((4, 6, 3), np.uint16)
        values[..., 1] = level
        with av.open(str(tmp_path / f"{number}.png"), "w", format="image2") as container:
            stream = container.add_stream("png", rate=25)
            stream.width, stream.height, stream.pix_fmt = 6, 4, "rgb48be"
            frame = av.VideoFrame.from_ndarray(values, format="rgb48le")
            for packet in [*stream.encode(frame.reformat(format="rgb48be")), *stream.encode(None)]:
                container.mux(packet)
    frames = decode_folder(tmp_path, frame_indices=np.arange(3), size=(6, 4))
    assert frames[:, 0, 0].tolist() == [[0, 0, 0], [0, 128, 0], [0, 255, 0]]


@pytest.mark.parametrize(
    ("picture", "message"),
    [
        (np.full((4, 6), -3.0, np.float32), "holds -3, and pictures have no negative values"),
        (np.full((4, 6), np.nan, np.float32), "holds values that are no numbers"),
        (np.full((4, 6), 1e6, np.float32), r"holds values up to 1e\+06; save pictures of 8 or 16 bits"),
        (np.full((4, 6), 70000, np.int32), "holds values up to 70000"),
    ],
)
def test_values_without_a_scale_are_refused(tmp_path, picture, message):
    Image.fromarray(picture).save(tmp_path / "0.tif")
    with pytest.raises(CorruptVideoError, match=message):
        probe_folder(tmp_path, 25)


def test_a_picture_of_another_depth_is_refused(tmp_path):
    Image.fromarray(np.zeros((4, 6), np.uint8)).save(tmp_path / "0.png")
    Image.fromarray(np.full((4, 6), 9999, np.uint16)).save(tmp_path / "1.png")
    with pytest.raises(CorruptVideoError, match=r"1\.png: the frame is of more than 8 bits, the first .* of 8 bits"):
        decode_folder(tmp_path, frame_indices=np.arange(2), size=(6, 4))


def stack(path, values, **options):
    pages = [Image.fromarray(np.full((4, 6), value, np.uint8)) for value in values]
    pages[0].save(path, save_all=True, append_images=pages[1:], **options)


@pytest.mark.parametrize(("suffix", "options"), [("tif", {}), ("webp", {"lossless": True}), ("png", {})])
def test_pages_are_frames(tmp_path, suffix, options):
    stack(tmp_path / f"a2.{suffix}", (10, 20, 30), **options)
    stack(tmp_path / f"a10.{suffix}", (40, 50), **options)
    assert probe_folder(tmp_path, 25).num_frames == 5
    assert levels(tmp_path, 5) == [10, 20, 30, 40, 50]
    assert decode_folder(tmp_path, frame_indices=np.array([2, 4]), size=(6, 4))[:, 0, 0, 0].tolist() == [30, 50]


def test_a_later_file_with_pages_is_refused_not_cut(tmp_path):
    stack(tmp_path / "0.tif", (1,))
    stack(tmp_path / "1.tif", (2, 3))
    with pytest.raises(CorruptVideoError, match=r"1\.tif: holds 2 pages, the first of its folder one"):
        decode_folder(tmp_path, frame_indices=np.arange(2), size=(6, 4))


@pytest.mark.parametrize(
    ("picture", "name", "expected"),
    [
        (Image.new("CMYK", (6, 4), (0, 255, 255, 0)), "0.tif", [255, 0, 0]),
        (Image.new("RGBA", (6, 4), (9, 8, 7, 0)), "0.png", [9, 8, 7]),
        (Image.new("LA", (6, 4), (9, 3)), "0.png", [9, 9, 9]),
        (Image.new("RGB", (6, 4), (200, 0, 0)).convert("P"), "0.png", [204, 0, 0]),
        (Image.new("RGB", (6, 4), (9, 8, 7)), "0.webp", [9, 8, 7]),
        (Image.new("RGB", (6, 4), (9, 8, 7)), "0.ppm", [9, 8, 7]),
    ],
)
def test_colours_become_rgb(tmp_path, picture, name, expected):
    picture.save(tmp_path / name, **({"lossless": True} if name.endswith("webp") else {}))
    frames = decode_folder(tmp_path, frame_indices=np.array([0]), size=(6, 4))
    assert np.abs(frames[0, 0, 0].astype(int) - expected).max() <= 4


@pytest.mark.parametrize(("folder", "num_frames"), [("times", 7), ("stack", 10), ("exif", 10)])
def test_reported_folders(shared, folder, num_frames):
    path = shared / "cases" / "reports" / "09-pictures-read-wrong" / "data" / "test" / folder
    if not path.is_dir():
        pytest.skip("needs ../shared/cases")
    assert probe_folder(path, 25).num_frames == num_frames
