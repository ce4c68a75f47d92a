import pytest
import torch

from raypipe.models.precision import products_here
from raypipe.train import with_products_here

OLD = {"architecture": "x86_64", "avx2": True, "avx512_f": True, "avx512_bf16": False, "amx_bf16": False}


@pytest.mark.parametrize(
    ("capabilities", "asked", "on_gpu", "expected"),
    [
        (OLD, "bf16", False, "fp32"),
        (OLD, "bf16", True, "bf16"),
        (OLD, "fp32", False, "fp32"),
        (OLD | {"avx512_bf16": True}, "bf16", False, "bf16"),
        (OLD | {"amx_bf16": True}, "bf16", False, "bf16"),
        (OLD | {"amx_bf16": True}, "fp32", False, "fp32"),
        ({"architecture": "aarch64", "neon": True, "bf16": False}, "bf16", False, "fp32"),
        ({"architecture": "aarch64", "neon": True, "bf16": True}, "bf16", False, "bf16"),
    ],
)
def test_bf16_is_for_processors_that_have_it(monkeypatch, capabilities, asked, on_gpu, expected):
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: capabilities)
    assert products_here(asked, on_gpu=on_gpu) == expected


@pytest.mark.parametrize(
    ("has_bf16", "use_gpu", "expected"), [(False, False, "fp32"), (True, False, "bf16"), (False, True, "bf16")]
)
def test_each_worker_trains_in_the_precision_of_its_processor(monkeypatch, has_bf16, use_gpu, expected):
    given = []
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: OLD | {"avx512_bf16": has_bf16})
    settings = {"train": {"precision": "bf16", "use_gpu": use_gpu, "epochs": 3}, "seed": 1}
    with_products_here(given.append)(settings)
    assert given == [{"train": {"precision": expected, "use_gpu": use_gpu, "epochs": 3}, "seed": 1}]
    assert settings["train"]["precision"] == "bf16"
