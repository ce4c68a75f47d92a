import subprocess
import sys

import numpy as np
import PIL
import pytest
import torch
from PIL import Image

from raypipe.models.blip2 import preprocess as blip2_preprocess
from raypipe.models.blip2.preprocess import CLIP_MEAN, CLIP_STD, crop_rectangles, crop_resize, crop_resize_normalise
from tests.helpers.blip2_checkpoints import figure

# Pillow 13 changed the order of the passes for tall crops that shrink.
pillow_13 = int(PIL.__version__.split(".")[0]) >= 13


def pillow_crop(frame, rectangle, size):
    crop = Image.fromarray(frame).crop(tuple(rectangle)).resize((size, size), Image.Resampling.BICUBIC)
    return np.asarray(crop).transpose(2, 0, 1)


def random_case(rng, count, height, width, binary):
    frames = rng.integers(0, 256, (2, height, width, 3), dtype=np.uint8)
    if binary:  # Edges between 0 and 255 make the filter overshoot and clip.
        frames = np.where(frames > 127, 255, 0).astype(np.uint8)
    x1, y1 = rng.integers(0, width, count), rng.integers(0, height, count)
    x2 = x1 + 1 + (rng.random(count) * (width - x1 - 1)).astype(int)
    y2 = y1 + 1 + (rng.random(count) * (height - y1 - 1)).astype(int)
    return frames, rng.integers(0, 2, count), np.stack((x1, y1, x2, y2), axis=1)


@pytest.mark.skipif(not pillow_13, reason="this Pillow resizes tall crops in the other order")
@pytest.mark.parametrize("size", [37, 56, 224])
def test_crops_equal_pillow_bit_for_bit(size):
    rng = np.random.default_rng(size)
    compared, different = 0, 0
    for trial in range(20):
        height, width = rng.integers(1, 420, 2)
        frames, offsets, rectangles = random_case(rng, 6, height, width, binary=trial % 3 == 0)
        crops = crop_resize(torch.from_numpy(frames), torch.from_numpy(offsets), torch.from_numpy(rectangles), size)
        for crop, offset, rectangle in zip(crops.numpy(), offsets, rectangles, strict=True):
            expected = pillow_crop(frames[offset], rectangle, size)
            compared, different = compared + crop.size, different + int((crop != expected).sum())
    figure(f"size {size}: {different} of {compared} values differ from Pillow {PIL.__version__}")
    assert different == 0


def test_crops_of_many_chunks_come_back_in_order(monkeypatch):
    rng = np.random.default_rng(0)
    frames, offsets, rectangles = (torch.from_numpy(array) for array in random_case(rng, 40, 300, 200, binary=False))
    at_once = crop_resize(frames, offsets, rectangles, 56)
    monkeypatch.setattr(blip2_preprocess, "_CHUNK_BYTES_CPU", 1)
    assert torch.equal(crop_resize(frames, offsets, rectangles, 56), at_once)


def test_normalisation_is_that_of_clip():
    frames = torch.full((1, 4, 4, 3), 255, dtype=torch.uint8)
    pixels = crop_resize_normalise(frames, torch.tensor([0]), torch.tensor([[0, 0, 4, 4]]), 8)
    white = [(1 - mean) / std for mean, std in zip(CLIP_MEAN, CLIP_STD, strict=True)]
    assert pixels.shape == (1, 3, 8, 8)
    assert pixels.dtype == torch.float32
    assert torch.allclose(pixels, torch.tensor(white)[None, :, None, None].expand(1, 3, 8, 8))


def test_pixels_equal_torchvisions_transforms():
    transforms = pytest.importorskip("torchvision.transforms")
    frame = np.random.default_rng(1).integers(0, 256, (90, 70, 3), dtype=np.uint8)
    transform = transforms.Compose(
        [
            transforms.Resize((56, 56), interpolation=transforms.InterpolationMode.BICUBIC),
            transforms.ToTensor(),
            transforms.Normalize(CLIP_MEAN, CLIP_STD),
        ]
    )
    expected = transform(Image.fromarray(frame))
    ours = crop_resize_normalise(torch.from_numpy(frame)[None], torch.tensor([0]), torch.tensor([[0, 0, 70, 90]]), 56)[
        0
    ]
    figure(f"largest difference from LAVIS's transform {float((ours - expected).abs().max()):.1e}")
    assert torch.equal(ours, expected)


def test_no_boxes_give_no_pixels():
    frames = torch.zeros((1, 4, 4, 3), dtype=torch.uint8)
    pixels = crop_resize_normalise(frames, torch.zeros(0, dtype=torch.int64), torch.zeros((0, 4), dtype=torch.int64), 8)
    assert pixels.shape == (0, 3, 8, 8)


@pytest.mark.parametrize(
    ("box", "expansion", "expected"),
    [
        ((10, 20, 30, 60), 0.0, (10, 20, 30, 60)),
        ((10, 20, 30, 60), 0.5, (0, 0, 40, 80)),
        ((10.2, 20.2, 29.8, 59.5), 0.0, (10, 20, 30, 60)),  # Outwards to whole pixels.
        ((80, 100, 160, 120), 0.5, (40, 90, 160, 120)),  # Clipped to the frame.
        ((100, 50, 100.25, 50.25), 0.0, (100, 50, 101, 51)),  # At least one pixel.
        ((159.9, 119.9, 160, 120), 0.0, (159, 119, 160, 120)),
    ],
)
def test_rectangles(box, expansion, expected):
    assert crop_rectangles(np.float32([box]), (160, 120), (160, 120), expansion).tolist() == [list(expected)]


def test_rectangles_of_frames_that_are_scaled_down():
    boxes = np.float32([[100, 100, 200, 300]])
    assert crop_rectangles(boxes, (640, 480), (320, 240), 0.0).tolist() == [[50, 50, 100, 150]]
    assert crop_rectangles(boxes, (640, 480), (320, 240), 0.5).tolist() == [[25, 0, 125, 200]]


def test_the_module_needs_no_pillow():
    code = "import raypipe.models.blip2.preprocess, sys; assert 'PIL' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)
