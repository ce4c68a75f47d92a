import pytest
import torch
from torch.nn import functional

from raypipe.anomaly_model.train import with_products_here
from raypipe.models.precision import products_here, products_in

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


@pytest.mark.parametrize("is_named", [False, True])
def test_attention_in_bf16_on_a_cpu_is_that_in_fp32(is_named):
    generator = torch.Generator().manual_seed(0)
    query, key, value = (torch.randn(2, 3, 5, 8, generator=generator).bfloat16() for _ in range(3))
    mask = torch.rand(2, 1, 5, 5, generator=generator) < 0.8
    mask[..., 0] = True
    named = {"query": query, "key": key, "value": value, "attn_mask": mask}
    with products_in("bf16", torch.device("cpu")):
        result = functional.scaled_dot_product_attention(
            *([] if is_named else named.values()), **(named if is_named else {})
        )
    exact = functional.scaled_dot_product_attention(query.float(), key.float(), value.float(), mask)
    assert result.dtype == torch.bfloat16
    assert torch.equal(result, exact.bfloat16())


@pytest.mark.parametrize(("precision", "expected"), [("fp32", torch.float32), ("bf16", torch.bfloat16)])
def test_products_are_in_the_precision_and_gradients_in_that_of_the_weights(precision, expected):
    weight = torch.full((4, 4), 0.5, requires_grad=True)
    with products_in(precision, torch.device("cpu")):
        hidden = functional.linear(torch.ones(1, 3, 4), weight)
        context = functional.scaled_dot_product_attention(hidden, hidden, hidden)
    assert hidden.dtype == context.dtype == expected
    context.float().sum().backward()
    # Of three equal values attention makes the same value: its sum grows by the inputs, each at three places.
    assert weight.grad is not None
    torch.testing.assert_close(weight.grad, torch.full((4, 4), 3.0))
