"""Tiny models of random weights in the places of those that are shipped, and a demo small enough for tests."""

import sys
from pathlib import Path

import torch

from raypipe.demo import Demo, run_demo
from raypipe.models.detection.yolo_weights import save_yolo
from tests.helpers.spatial_weights import write_weights
from tests.helpers.yolo_checkpoints import tiny_yolo


def write_models(folder):
    """Write a detector, a BLIP-2 and a state machine; return their folders as `Demo.models` has them."""
    (folder / "yolo").mkdir(parents=True)
    model = tiny_yolo(names=["person", "vehicle", "tree", "post"])
    _find_a_handful(model.model[-1])
    save_yolo(model, folder / "yolo", {})
    return {"yolo": str(folder / "yolo")} | write_weights(folder / "spatial")


@torch.no_grad()
def _find_a_handful(head):
    """Let the head find some large boxes in any picture: none at fine scales, and at the coarsest one ten cells wide.

    NMS leaves few of boxes that large; their classes and confidences are still those of the random weights.
    """
    *fine, coarse = range(len(head.cv3))
    for scale in fine:
        head.cv3[scale][-1].weight.zero_()
        head.cv3[scale][-1].bias.fill_(-50)
    head.cv3[coarse][-1].weight.mul_(0.02)
    head.cv3[coarse][-1].bias.zero_()
    head.cv2[coarse][-1].weight.mul_(0.01)
    head.cv2[coarse][-1].bias.zero_().view(4, -1)[:, 10] = 20


def small_demo(models):
    return Demo(num_train=2, train_frames=12, num_test=2, num_frames=12, models=models)


if __name__ == "__main__":
    # What the tests of killed demos start: python -m tests.helpers.demo_models OUT SEED MODELS_FOLDER
    out, seed, models = sys.argv[1:]
    names = {"yolo": "yolo", "blip2": "spatial/blip2", "smm": "spatial/smm"}
    places = {name: str(Path(models) / place) for name, place in names.items()}
    sys.exit(run_demo(Path(out), int(seed), print, small_demo(places)))
