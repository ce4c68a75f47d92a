"""The device that `auto` in a config stands for."""

import torch


def resolve_device(device: str) -> str:
    """Return a device of torch: the GPU for "auto" if there is one, else the CPU; any other device as it is."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "cpu"
