import numpy as np
import pytest
import torch
from PIL import Image

from raypipe.training_images import (
    UNREADABLE_NAMED,
    TrainingImages,
    image_batches,
    read_image,
    read_picture,
    try_image,
    try_picture,
    unreadable_note,
)


@pytest.fixture
def folder(tmp_path):
    rng = np.random.default_rng(0)
    for number in range(5):
        Image.fromarray(rng.integers(0, 256, (20 + number, 30, 3), dtype=np.uint8)).save(tmp_path / f"{number}.png")
    Image.new("L", (9, 7), 100).save(tmp_path / "grey.png")
    whole = (tmp_path / "0.png").read_bytes()
    (tmp_path / "cut.png").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "text.png").write_text("no image")
    (tmp_path / "empty.png").write_bytes(b"")
    return tmp_path


def test_an_image_is_resized_as_pillow_does(folder):
    image = read_image(str(folder / "0.png"), 16)
    expected = Image.open(folder / "0.png").convert("RGB").resize((16, 16), Image.Resampling.BICUBIC)
    assert image.dtype == torch.uint8
    assert np.array_equal(image.permute(1, 2, 0).numpy(), np.array(expected))


def test_a_picture_stays_as_it_is(folder):
    assert read_picture(str(folder / "3.png")).shape == (23, 30, 3)
    grey = read_picture(str(folder / "grey.png"))
    assert grey.shape == (7, 9, 3)
    assert (grey == 100).all()


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("cut.png", "truncated"),
        ("text.png", "UnidentifiedImageError"),
        ("empty.png", "UnidentifiedImageError"),
        ("absent.png", "FileNotFoundError"),
    ],
)
def test_what_cannot_be_read_has_a_reason_in_one_line(folder, name, reason):
    for outcome in (try_image(str(folder / name), 8), try_picture(str(folder / name))):
        assert isinstance(outcome, str)
        assert reason in outcome
        assert "\n" not in outcome


@pytest.mark.parametrize("keep_bytes", [0, 10**6])
def test_unreadable_images_are_known_before_training(folder, keep_bytes):
    names = ["0.png", "cut.png", "1.png", "absent.png"]
    images = TrainingImages([str(folder / name) for name in names], 8, keep_bytes)
    assert images.readable == [0, 2]
    assert sorted(images.unreadable) == sorted(str(folder / name) for name in ("cut.png", "absent.png"))
    batch = images.read([2, 0])
    assert torch.equal(batch[0], read_image(str(folder / "1.png"), 8))
    assert torch.equal(batch[1], read_image(str(folder / "0.png"), 8))


@pytest.mark.parametrize(("batch_size", "sizes"), [(1, [1] * 6), (4, [4, 2]), (6, [6]), (100, [6])])
def test_batches_come_in_order_with_what_cannot_be_read(folder, batch_size, sizes):
    paths = [str(folder / name) for name in ("0.png", "1.png", "text.png", "2.png", "3.png", "4.png")]
    batches = list(image_batches(paths, 8, batch_size))
    assert [len(batch) for batch in batches] == sizes
    outcomes = [outcome for batch in batches for outcome in batch]
    assert [isinstance(outcome, str) for outcome in outcomes] == [False, False, True, False, False, False]
    assert torch.equal(outcomes[3], read_image(paths[3], 8))


def test_no_images_are_no_batches():
    assert list(image_batches([], 8, 4)) == []


def test_a_note_names_the_first_ones():
    note = unreadable_note({f"{number:04d}": "why" for number in range(UNREADABLE_NAMED + 20)})
    assert note["count"] == UNREADABLE_NAMED + 20
    assert list(note["named"]) == [f"{number:04d}" for number in range(UNREADABLE_NAMED)]
