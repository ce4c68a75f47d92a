"""Small YOLO models of random weights that find boxes all the same, and `.pt` files as Ultralytics saves them."""

import torch

from raypipe.models.detection.quiet_ultralytics import DetectionModel

NAMES = ["person", "bicycle", "car", "skateboard"]


def tiny_yolo(architecture="yolov8n.yaml", *, names=None, seed=0, model_class=DetectionModel):
    """Return a model of four classes whose confidences spread over 0..1 instead of staying near 0."""
    torch.manual_seed(seed)
    model = model_class(architecture, nc=len(NAMES), verbose=False)
    generator = torch.Generator().manual_seed(seed)
    # Random networks fade: statistics of one batch of noise bring the signal back, so places differ from each other.
    layers = [layer for layer in model.modules() if isinstance(layer, torch.nn.BatchNorm2d)]
    for layer in layers:
        layer.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.rand(2, 3, 160, 160, generator=generator))
    for layer in layers:
        layer.momentum = 0.03
    head = model.model[-1]
    for branch, spread in ((head.cv2, 1.0), (head.cv3, 0.5)):
        for scale in branch:
            scale[-1].weight.data.normal_(0, spread / scale[-1].in_channels ** 0.5, generator=generator)
    for scale in head.cv3:
        scale[-1].bias.data.fill_(-3)
    model.names = dict(enumerate(names or NAMES))
    return model.eval()


def save_pt(model, path, **fields):
    """Save as `ultralytics` does after training: the whole module in half precision, pickled."""
    torch.save({"model": model.half(), "ema": None, "train_args": {"task": "detect"}} | fields, path)
    return path
