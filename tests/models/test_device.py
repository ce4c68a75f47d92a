import pytest
import torch

from raypipe.models.device import resolve_device


@pytest.mark.parametrize(
    ("device", "has_gpu", "expected"),
    [
        ("auto", True, "cuda"),
        ("auto", False, "cpu"),
        ("cpu", True, "cpu"),
        ("cuda", False, "cuda"),
    ],
)
def test_auto_is_the_gpu_where_there_is_one(monkeypatch, device, has_gpu, expected):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: has_gpu)
    assert resolve_device(device) == expected
