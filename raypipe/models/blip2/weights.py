"""Checkpoints of others, read and translated with every key accounted for.

`.pth` files are pickles. They are loaded with `weights_only=True`, which builds tensors and plain containers and
runs nothing that the file names; a file that needs more is refused.
"""

import json
import pickle
import struct
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from raypipe.errors import UserError
from raypipe.models.blip2.config import EVA_VIT_G, Blip2Sizes
from raypipe.models.blip2.keys import (
    TIED_KEYS,
    UNUSED_KEYS,
    VISUAL_PREFIX,
    is_surplus_of_vit_file,
    lavis_sources,
)
from raypipe.models.blip2.model import Blip2
from raypipe.text import first_line, named_line

# What safetensors, zipfile and torch's restricted unpickler raise on bytes that are no checkpoint.
_DAMAGED = (
    OSError,
    SafetensorError,
    RuntimeError,
    EOFError,
    ValueError,
    LookupError,
    TypeError,
    AttributeError,
    AssertionError,
    struct.error,
)
# How many keys a message names before it counts the rest.
_KEYS_NAMED = 12


@dataclass
class Translation:
    """A checkpoint in our names, complete, and the keys of the source that were left out on purpose."""

    config: Blip2Sizes
    weights: dict[str, Tensor]
    dropped: list[str] = field(default_factory=list)


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the state dict of a .safetensors, .pth, .pt or .bin file; LAVIS nests it under "model".

    Raises UserError, naming the file, for what is no such file, damaged, or holds anything but tensors.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such file")
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        state = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        # Of torch's long message only what was asked for; the rest tells how to run it all the same.
        wish = next((line for line in str(error).splitlines() if "nsupported" in line), "no state dict")
        raise UserError(
            f"{path}: refused, nothing of it was run: it is damaged, or it is a pickle that asks for more than "
            f"tensors ({wish})"
        ) from error
    except _DAMAGED as error:
        raise UserError(f"{path}: cannot be read, it is damaged or no checkpoint ({named_line(error)})") from error
    if isinstance(state, Mapping) and isinstance(state.get("model"), Mapping):
        state = state["model"]
    if not isinstance(state, Mapping):
        raise UserError(f"{path}: holds a {type(state).__name__}, expected a state dict")
    odd = [str(key) for key, value in state.items() if not (isinstance(key, str) and isinstance(value, Tensor))]
    if odd:
        raise UserError(f"{path}: holds entries that are no tensors: {_listed(odd)}")
    return dict(state)


def prefix_vit(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict of a ViT file under LAVIS's `visual_encoder.` names."""
    return {key if key.startswith(VISUAL_PREFIX) else VISUAL_PREFIX + key: value for key, value in state.items()}


def translate_lavis(
    state: Mapping[str, Tensor], config: Blip2Sizes, where: str, vit_state: Mapping[str, Tensor] | None = None
) -> Translation:
    """Translate a LAVIS state dict, with its ViT inside or in `vit_state`, whose keys are prefixed.

    A published ViT file goes on behind the last block that LAVIS uses; that surplus is dropped. Anything else
    that is missing, extra, of another shape or not tied as it should be raises UserError naming `where` and the
    keys.
    """
    dropped = [key for key in state if key in UNUSED_KEYS]
    merged = {key: value for key, value in state.items() if key not in UNUSED_KEYS}
    if vit_state is not None:
        twice = sorted(merged.keys() & vit_state.keys())
        if twice:
            raise UserError(f"{where}: both files hold {_listed(twice)}")
        surplus = [key for key in vit_state if is_surplus_of_vit_file(key, config.vit_depth)]
        dropped += surplus
        merged |= {key: value for key, value in vit_state.items() if key not in set(surplus)}
    sources = lavis_sources(config)
    shapes = {name: tuple(tensor.shape) for name, tensor in Blip2.empty(config).state_dict().items()}
    expected = {key: source.shape_of(shapes[name]) for name, source in sources.items() for key in source.keys}
    expected |= {copy: expected[original] for copy, original in TIED_KEYS.items()}
    _check_keys(merged, expected, where)
    untied = [copy for copy, original in TIED_KEYS.items() if not torch.equal(merged[copy], merged[original])]
    if untied:
        raise UserError(f"{where}: {_listed(untied)} should be a copy of the weight that it is tied to, and is not")
    weights = {name: source.assemble(merged) for name, source in sources.items()}
    return Translation(config, weights, sorted(dropped))


def read_huggingface(folder: Path) -> Translation:
    """Read a Hugging Face `blip2-itm-*` folder. It has no language-model head, so the result cannot caption.

    Raises UserError naming the folder or file.
    """
    config = _huggingface_config(folder / "config.json")
    state: dict[str, Tensor] = {}
    for path in huggingface_files(folder):
        state |= read_tensors(path)
    dropped = [key for key in state if key.endswith("position_ids") or key == "temp"]
    weights = {key: value for key, value in state.items() if key not in set(dropped)}
    shapes = {name: tuple(tensor.shape) for name, tensor in Blip2.empty(config).state_dict().items()}
    _check_keys(weights, shapes, str(folder))
    return Translation(config, weights, sorted(dropped))


def huggingface_files(folder: Path) -> list[Path]:
    """Return the weight files of a Hugging Face folder: one, or the shards that its index names."""
    for name in ("model.safetensors", "pytorch_model.bin"):
        index = folder / f"{name}.index.json"
        if index.is_file():
            try:
                names = sorted(set(json.loads(index.read_text(encoding="utf-8"))["weight_map"].values()))
            except (ValueError, KeyError, AttributeError) as error:
                raise UserError(f"{index}: is no index of shards ({first_line(error)})") from error
            outside = [part for part in names if Path(part).name != part]
            if outside:
                raise UserError(f"{index}: names files outside its folder: {_listed(outside)}")
            return [folder / part for part in names]
        if (folder / name).is_file():
            return [folder / name]
    raise UserError(f"{folder}: holds no model.safetensors and no pytorch_model.bin")


def huggingface_vocab(folder: Path) -> list[str] | None:
    """Return the word pieces of a Hugging Face folder from its tokenizer.json, without added tokens, if it has one."""
    path = folder / "tokenizer.json"
    if not path.is_file():
        return None
    try:
        vocab = json.loads(path.read_text(encoding="utf-8"))["model"]["vocab"]
        return sorted(vocab, key=vocab.__getitem__)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"{path}: holds no word pieces ({first_line(error)})") from error


def _check_keys(state: Mapping[str, Tensor], expected: Mapping[str, tuple[int, ...]], where: str) -> None:
    missing = sorted(expected.keys() - state.keys())
    extra = sorted(state.keys() - expected.keys())
    wrong = [
        f"{key} {list(state[key].shape)}, expected {list(shape)}"
        for key, shape in sorted(expected.items())
        if key in state and tuple(state[key].shape) != shape
    ]
    not_floats = sorted(key for key in expected if key in state and not state[key].is_floating_point())
    faults = [
        f"{title} {len(keys)}: {_listed(keys)}"
        for title, keys in (
            ("missing", missing),
            ("not of this model", extra),
            ("of another shape", wrong),
            ("not floating point", not_floats),
        )
        if keys
    ]
    if faults:
        raise UserError(f"{where}: the keys do not fit the config; {'; '.join(faults)}")


def _huggingface_config(path: Path) -> Blip2Sizes:
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({error.strerror})") from error
    except ValueError as error:
        raise UserError(f"{path}: is no JSON ({error})") from error
    if not isinstance(values, dict) or values.get("model_type") != "blip-2":
        raise UserError(f"{path}: is not the config of a BLIP-2 model (model_type blip-2)")
    vision, qformer = values.get("vision_config") or {}, values.get("qformer_config") or {}
    if not qformer.get("use_qformer_text_input"):
        raise UserError(f"{path}: a BLIP-2 without a text branch (use_qformer_text_input), so not blip2-itm")
    if vision.get("qkv_bias") is False:
        raise UserError(f"{path}: a ViT without biases for q and v is not BLIP-2's")
    width = vision.get("hidden_size", 1408)
    base = Blip2Sizes()
    try:
        return Blip2Sizes(
            vit=EVA_VIT_G,
            image_size=vision.get("image_size", base.image_size),
            patch_size=vision.get("patch_size", base.patch_size),
            vit_width=width,
            vit_depth=vision.get("num_hidden_layers", base.vit_depth),
            vit_heads=vision.get("num_attention_heads", base.vit_heads),
            # A hair more than the quotient, so that truncation gives the size back.
            vit_mlp_ratio=(vision.get("intermediate_size", base.vit_intermediate) + 1e-3) / width,
            num_query=values.get("num_query_tokens", base.num_query),
            hidden=qformer.get("hidden_size", base.hidden),
            layers=qformer.get("num_hidden_layers", base.layers),
            heads=qformer.get("num_attention_heads", base.heads),
            intermediate=qformer.get("intermediate_size", base.intermediate),
            cross_attention_freq=qformer.get("cross_attention_frequency", base.cross_attention_freq),
            max_position=qformer.get("max_position_embeddings", base.max_position),
            vocab_size=qformer.get("vocab_size", 30522),
            embed_dim=values.get("image_text_hidden_size", base.embed_dim),
            bos_id=qformer.get("vocab_size", 30522) - 1,
            can_caption=False,
        )
    except (ValueError, TypeError) as error:
        raise UserError(f"{path}: {error}") from error


def _listed(keys: list[str]) -> str:
    more = f" and {len(keys) - _KEYS_NAMED} more" if len(keys) > _KEYS_NAMED else ""
    return ", ".join(keys[:_KEYS_NAMED]) + more
