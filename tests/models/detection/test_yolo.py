import socket

import numpy as np
import pytest
import torch
from PIL import Image

from raypipe.errors import GpuMemoryError, UserError
from raypipe.models.detection.yolo import YoloDetector
from tests.helpers.yolo_checkpoints import NAMES, save_pt, tiny_yolo

FRAMES = np.random.default_rng(0).integers(0, 256, (3, 90, 120, 3), dtype=np.uint8)
SIZE = (120, 90)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory):
    return save_pt(tiny_yolo(), tmp_path_factory.mktemp("yolo") / "tiny.pt")


@pytest.fixture
def same_threads():
    """`predict` sets how many threads there are, on which the last bits depend: ours runs after it."""
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)


def load(path, **options):
    return YoloDetector.load(path, trust_pickle=True, **({"image_size": 160} | options))


@pytest.fixture(scope="module")
def detector(checkpoint):
    return load(checkpoint)


def same(first, second):
    assert len(first.boxes) == len(second.boxes) > 0
    for name in ("frame_offset", "boxes", "confidence", "class_name"):
        assert (getattr(first, name) == getattr(second, name)).all(), name


@pytest.mark.parametrize(
    ("architecture", "options"),
    [
        ("yolov8n.yaml", {}),
        ("yolov8n.yaml", {"classes": ["car", "person"], "min_confidence": 0.5, "max_overlap": 0.3}),
        ("yolov8n.yaml", {"image_size": 96}),
        ("yolo11n.yaml", {}),
        ("yolo26n.yaml", {}),
        ("yolov3-tiny.yaml", {"min_confidence": 0.01}),
    ],
)
def test_boxes_are_those_of_ultralytics_predict(tmp_path, same_threads, architecture, options):
    from ultralytics import YOLO

    checkpoint = save_pt(tiny_yolo(architecture), tmp_path / "tiny.pt")
    reference = YOLO(checkpoint)
    arguments = {"imgsz": options.get("image_size", 160), "conf": options.get("min_confidence", 0.25)}
    arguments |= {"iou": options.get("max_overlap", 0.7), "verbose": False, "device": "cpu"}
    arguments["classes"] = [0, 2] if "classes" in options else None
    predicted = [reference.predict(np.ascontiguousarray(frame[..., ::-1]), **arguments)[0] for frame in FRAMES]
    found = load(checkpoint, **options)(FRAMES, SIZE)
    for number, expected in enumerate(predicted):
        here = found.frame_offset == number
        assert here.sum() == len(expected.boxes) > 0
        np.testing.assert_array_equal(found.boxes[here], expected.boxes.xyxy.numpy())
        np.testing.assert_array_equal(found.confidence[here], expected.boxes.conf.numpy())
        assert found.class_name[here].tolist() == [NAMES[int(index)] for index in expected.boxes.cls]


@pytest.mark.parametrize("architecture", ["yolov8n.yaml", "yolov3-tiny.yaml"])
def test_boxes_of_a_frame_do_not_depend_on_its_neighbours(tmp_path, architecture):
    detector = load(save_pt(tiny_yolo(architecture), tmp_path / "tiny.pt"), min_confidence=0.01)
    together = detector(FRAMES, SIZE)
    for number in range(len(FRAMES)):
        alone = detector(FRAMES[number : number + 1], SIZE)
        np.testing.assert_array_equal(together.boxes[together.frame_offset == number], alone.boxes)


def test_boxes_are_in_pixels_of_the_source(detector):
    decoded, source = detector(FRAMES, SIZE), detector(FRAMES, (480, 180))
    np.testing.assert_array_equal(source.boxes, decoded.boxes * np.array([4, 2, 4, 2], np.float32))
    assert source.boxes.dtype == source.confidence.dtype == np.float32
    assert (source.boxes >= 0).all()
    assert (source.boxes <= [480, 180, 480, 180]).all()
    assert (np.diff(source.frame_offset) >= 0).all()
    assert source.confidence.min() > 0.25


def test_pillow_stays_as_it_is(detector):
    # Ultralytics puts its own in place, which wants to install a plugin for what is no image.
    assert Image.open.__module__ == "PIL.Image"


def test_no_frames_and_frames_without_boxes(checkpoint):
    assert load(checkpoint)(FRAMES[:0], SIZE).boxes.shape == (0, 4)
    nothing = load(checkpoint, min_confidence=1.0)(FRAMES, SIZE)
    assert nothing.boxes.shape == (0, 4)
    assert len(nothing.frame_offset) == len(nothing.confidence) == len(nothing.class_name) == 0


def test_batches_are_filled_up_and_give_the_same(detector, monkeypatch):
    alone = detector(FRAMES, SIZE)
    sizes = []
    backend = detector.backend
    monkeypatch.setattr(detector.batches, "size", 2)
    forward = backend.forward
    monkeypatch.setattr(backend, "forward", lambda images: (sizes.append(len(images)), forward(images))[1])
    together = detector(FRAMES, SIZE)
    # Equal but for the last bits, which is why a CPU takes frames one by one.
    assert together.frame_offset.tolist() == alone.frame_offset.tolist()
    np.testing.assert_allclose(together.boxes, alone.boxes, atol=1e-2)
    assert sizes == [2, 2]


def test_lack_of_memory_halves_the_batch_for_good(checkpoint, monkeypatch, caplog):
    detector = load(checkpoint)
    alone = detector(FRAMES, SIZE)
    sizes, forward = [], detector.backend.forward

    def forward_one_at_most(images):
        sizes.append(len(images))
        if len(images) > 1:
            raise torch.OutOfMemoryError
        return forward(images)

    monkeypatch.setattr(detector.backend, "forward", forward_one_at_most)
    detector.batches.size = 4
    same(detector(FRAMES, SIZE), alone)
    assert sizes == [4, 2, 1, 1, 1]
    assert caplog.text.count("do not fit into memory") == 1
    monkeypatch.setattr(detector.backend, "forward", lambda _: (_ for _ in ()).throw(torch.OutOfMemoryError))
    with pytest.raises(GpuMemoryError, match=r"yolo: .* batch of one of frames"):
        detector(FRAMES, SIZE)


def test_a_class_that_the_model_lacks_is_named(checkpoint):
    with pytest.raises(UserError) as caught:
        load(checkpoint, classes=["person", "skatebord"])
    message = str(caught.value)
    assert "has no class 'skatebord'; did you mean 'skateboard'? it has: person, bicycle, car, skateboard" in message


def test_the_size_must_fit_the_stride(checkpoint):
    with pytest.raises(UserError, match="image_size 100 is no multiple of 32"):
        load(checkpoint, image_size=100)


def test_nothing_is_printed_and_nothing_reaches_the_network(checkpoint, monkeypatch, capfd):
    def refuse(*_, **__):
        raise AssertionError("the network was reached for")

    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    monkeypatch.setattr(socket.socket, "connect", refuse)
    load(checkpoint)(FRAMES, SIZE)
    with pytest.raises(UserError, match=r"yolo11n\.pt: No such file or directory; weights are never downloaded"):
        load(checkpoint.with_name("yolo11n.pt"))
    assert capfd.readouterr() == ("", "")
