import pickle
from copy import deepcopy
from types import SimpleNamespace

import pytest
import torch

from raypipe.models.detection.quiet_ultralytics import DetectionModel, train_in_bf16
from raypipe.pretraining.detector import DetectorModelConfig, scaled_architecture


def model_of(architecture):
    torch.manual_seed(0)
    config = DetectorModelConfig(architecture=architecture, depth=0.33, width=0.0625)
    model = DetectionModel(scaled_architecture(config, 2), verbose=False)
    model.args = SimpleNamespace(box=7.5, cls=0.5, dfl=1.5, epochs=1)
    return model.train()


@pytest.fixture
def batch():
    return {
        "img": torch.rand(2, 3, 640, 640),
        "batch_idx": torch.tensor([0.0, 1.0]),
        "cls": torch.tensor([[0.0], [1.0]]),
        # Beyond the 64th cell of eight pixels, where bf16 knows a place to half a cell only.
        "bboxes": torch.tensor([[0.93, 0.93, 0.05, 0.1], [0.9, 0.95, 0.1, 0.05]]),
    }


@pytest.mark.parametrize("architecture", ["v8/yolov8-p2", "11/yolo11", "26/yolo26"])
def test_every_architecture_trains_in_bf16_and_may_be_copied_into_a_pickle(architecture, batch):
    model = model_of(architecture)
    train_in_bf16(SimpleNamespace(model=model, device=torch.device("cpu")))
    criterion = model.criterion
    loss, _ = model(batch)
    assert loss.dtype == torch.float32
    loss.sum().backward()
    assert any(weight.grad.abs().max() > 0 for weight in model.parameters() if weight.grad is not None)
    # What a resumed training made before is kept.
    train_in_bf16(SimpleNamespace(model=model, device=torch.device("cpu")))
    assert model.criterion is criterion
    model.criterion = None
    assert pickle.dumps(deepcopy(model))


def test_weights_and_pictures_of_a_network_in_bf16_are_laid_out_by_pixels(batch):
    model = model_of("11/yolo11")
    pictures = []
    model.model[0].conv.register_forward_hook(lambda conv, given, made: pictures.append(given[0]))
    train_in_bf16(SimpleNamespace(model=model, device=torch.device("cpu")))
    model(batch)
    by_pixels = [pictures[0], model.model[0].conv.weight]
    assert all(tensor.stride(1) == 1 and not tensor.is_contiguous() for tensor in by_pixels)


def test_the_loss_of_a_network_in_bf16_is_that_of_its_predictions_in_fp32(batch):
    model = model_of("11/yolo11")
    plain = model.init_criterion()
    train_in_bf16(SimpleNamespace(model=model, device=torch.device("cpu")))
    with torch.autocast("cpu", dtype=torch.bfloat16):
        predictions = model(batch["img"].contiguous(memory_format=torch.channels_last))
        rough, _ = plain(predictions, batch)
    assert predictions["boxes"].dtype == torch.bfloat16
    loss, _ = model(batch)
    exact, _ = plain(
        {"boxes": predictions["boxes"].float(), "scores": predictions["scores"].float()}
        | {"feats": [feature.float() for feature in predictions["feats"]]},
        batch,
    )
    assert loss.dtype == torch.float32
    assert torch.equal(loss, exact)
    assert not torch.allclose(rough.float(), exact, rtol=1e-3)
    loss.sum().backward()
    assert all(torch.isfinite(weight.grad).all() for weight in model.parameters() if weight.grad is not None)
