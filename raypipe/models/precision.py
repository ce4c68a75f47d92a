"""Which matrix products a processor does fast."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, Literal

import torch
from torch.nn import functional
from torch.overrides import TorchFunctionMode

# What a processor says of itself that multiplies bf16 in its hardware: Intel's and AMD's, Arm's.
BF16_CAPABILITIES = ("avx512_bf16", "amx_bf16", "bf16")


def products_here(precision: Literal["fp32", "bf16"], *, on_gpu: bool) -> Literal["fp32", "bf16"]:
    """Return the precision to multiply in, on this machine, where `precision` is asked for.

    A processor without bf16 takes it apart in software: a training step of the reconstruction module took 1.5 s with
    AVX2 alone, 0.02 s with AMX, and 0.06 s in fp32 on either. fp32 is the more exact, so it is what is taken there.
    """
    if precision == "bf16" and not on_gpu and not any(map(torch.cpu.get_capabilities().get, BF16_CAPABILITIES)):
        return "fp32"
    return precision


class Fp32Attention(TorchFunctionMode):
    """Where it is entered, attention is computed in fp32 and its result given in the precision of its query.

    torch's fused attention takes bf16 apart in software on the way back, also where the processor multiplies it: of a
    training step of the small BLIP-2 of docs/world.md that was 57 %.
    """

    def __torch_function__(
        self, func: Callable[..., Any], types: Any, args: tuple[Any, ...] = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Call a function of torch, attention with autocast off."""
        kwargs = kwargs or {}
        if func is not functional.scaled_dot_product_attention:
            return func(*args, **kwargs)
        with torch.autocast("cpu", enabled=False):
            context = func(*map(_fp32, args), **{name: _fp32(value) for name, value in kwargs.items()})
        return context.to((args[0] if args else kwargs["query"]).dtype)


def _fp32(value: Any) -> Any:
    return value.float() if isinstance(value, torch.Tensor) and value.is_floating_point() else value


@contextmanager
def products_in(precision: Literal["fp32", "bf16"], device: torch.device) -> Iterator[None]:
    """Multiply matrices in this precision, as fast as the device can; weights and what is kept stay as they are."""
    if precision == "fp32":
        yield
        return
    with torch.autocast(device.type, torch.bfloat16):
        if device.type == "cpu":
            with Fp32Attention():
                yield
        else:
            yield
