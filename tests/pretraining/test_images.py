import io
import uuid

import fsspec
import fsspec.implementations.memory
import numpy as np
import pytest
import torch
from PIL import Image

from raypipe.pretraining import images as training_images
from raypipe.pretraining.images import (
    UNREADABLE_NAMED,
    NotGiven,
    StoreError,
    TrainingImages,
    image_batches,
    read_image,
    read_picture,
    store_failure,
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


class FailingStore(fsspec.implementations.memory.MemoryFileSystem):
    """A store in memory that fails to open files: `failures` times each, with `error`."""

    protocol = "failing"
    store, pseudo_dirs = {}, [""]
    failures, error, opened = 0, OSError("503 Slow Down"), []

    def _open(self, path, mode="rb", **options):
        if mode == "rb":
            FailingStore.opened.append(path)
            if FailingStore.opened.count(path) <= FailingStore.failures:
                raise FailingStore.error
        return super()._open(path, mode, **options)


@pytest.fixture
def store(monkeypatch):
    """The address of a folder of three images; how often each fails is set as `FailingStore.failures`."""
    fsspec.register_implementation("failing", FailingStore, clobber=True)
    monkeypatch.setattr(training_images.time, "sleep", lambda seconds: None)
    monkeypatch.setattr(FailingStore, "failures", 0)
    monkeypatch.setattr(FailingStore, "error", OSError("503 Slow Down"))
    monkeypatch.setattr(FailingStore, "opened", [])
    folder = f"failing://{uuid.uuid4().hex}"
    for number in range(3):
        content = io.BytesIO()
        Image.new("RGB", (8, 8), (number, 0, 0)).save(content, "png")
        with fsspec.open(f"{folder}/{number}.png", "wb") as file:
            file.write(content.getvalue())
    return folder


@pytest.mark.parametrize("failures", [1, 3])
def test_a_store_that_fails_for_a_moment_is_asked_again(store, monkeypatch, failures):
    monkeypatch.setattr(FailingStore, "failures", failures)
    image = try_image(f"{store}/1.png", 8)
    assert image[0].tolist() == [[1] * 8] * 8
    assert len(FailingStore.opened) == failures + 1


@pytest.mark.parametrize("error", [OSError("503 Slow Down"), TimeoutError("no answer"), ConnectionResetError(104)])
def test_a_store_that_goes_on_failing_makes_no_image_unreadable(store, monkeypatch, error):
    monkeypatch.setattr(FailingStore, "failures", 4)
    monkeypatch.setattr(FailingStore, "error", error)
    outcome = try_picture(f"{store}/1.png")
    assert isinstance(outcome, NotGiven)
    assert len(FailingStore.opened) == 4
    told = store_failure({"a": "cut short", "b": outcome, "c": outcome})
    assert told.startswith("data: the store did not give an image, asked 4 times (")
    assert f"{store}/1.png" in told
    assert type(error).__name__ in told
    assert "start again once it answers" in told
    with pytest.raises(StoreError, match=type(error).__name__):
        read_image(f"{store}/2.png", 8)


@pytest.mark.parametrize("error", [FileNotFoundError("gone"), PermissionError("403")])
def test_what_is_not_there_is_not_asked_for_again(store, monkeypatch, error):
    monkeypatch.setattr(FailingStore, "failures", 4)
    monkeypatch.setattr(FailingStore, "error", error)
    outcome = try_image(f"{store}/1.png", 8)
    assert (len(FailingStore.opened), store_failure({"1": outcome})) == (1, None)
    assert outcome.startswith(type(error).__name__)


def test_bytes_that_are_no_image_are_no_failure_of_the_store(store):
    with fsspec.open(f"{store}/1.png", "wb") as file:
        file.write(b"no image")
    outcome = try_image(f"{store}/1.png", 8)
    assert (len(FailingStore.opened), store_failure({"1": outcome})) == (1, None)
    assert "UnidentifiedImageError" in outcome


def test_a_local_file_that_cannot_be_read_is_unreadable_as_ever(folder):
    assert store_failure({"": try_image(str(folder / ("x" * 300)), 8)}) is None


def test_after_a_store_has_failed_no_more_is_asked_of_it(store, monkeypatch):
    monkeypatch.setattr(FailingStore, "failures", 4)
    monkeypatch.setattr(training_images, "MAX_THREADS", 1)
    images = TrainingImages([f"{store}/{number}.png" for number in range(3)], 8, 10**6)
    assert len(FailingStore.opened) == 4
    assert images.readable == []
    assert store_failure(images.unreadable) is not None
    assert store_failure({}) is None
