"""Checkpoints for tests: the recorded LAVIS fixtures, and random LAVIS-format ones of any sizes."""

import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from jobs.benchmarks.bench_blip2 import TINY, random_weights
from raypipe.models.blip2.config import CLIP_VIT_L, EVA_VIT_G, Blip2Sizes, read_config
from raypipe.models.blip2.keys import TIED_KEYS, lavis_sources
from raypipe.models.blip2.model import Blip2
from raypipe.models.blip2.tokenizer import SentenceTokenizer, read_vocab
from raypipe.models.blip2.weights import read_tensors, translate_lavis

ORACLES = Path(__file__).parents[3] / "shared" / "oracles" / "blip2"
CASES = ("tiny_vitg", "tiny_vitl")
needs_oracles = pytest.mark.skipif(not ORACLES.exists(), reason=f"no recorded LAVIS outputs at {ORACLES}")
TINY_VITL = replace(TINY, vit=CLIP_VIT_L, vit_depth=2, vit_mlp_ratio=4)
# Word pieces for the tiny vocabulary of 120: five special tokens, words, letters and continuations.
WORDS = ["a", "man", "is", "riding", "bike", "the", "street", "walk", "##ing", "two", "people", ".", ",", "?"]
VOCAB = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *WORDS, *(f"word{i}" for i in range(120 - 5 - len(WORDS)))]


def figure(text: str) -> None:
    """Print what a test measured; `pytest -s` or `-rP` shows it."""
    sys.stdout.write(f"{text}\n")


def load_case(case: str) -> tuple[Blip2, dict[str, torch.Tensor]]:
    """Return the model of a fixture and its recorded arrays."""
    config, _ = read_config(ORACLES / f"{case}.json")
    state = read_tensors(ORACLES / f"{case}.lavis.safetensors")
    model = Blip2.from_weights(config, translate_lavis(state, config, case).weights, case)
    model.tokenizer = SentenceTokenizer(read_vocab(ORACLES / "vocab.txt"), config)
    with np.load(ORACLES / f"{case}.npz") as archive:
        return model, {name: torch.from_numpy(archive[name]) for name in archive.files}


def random_model(config: Blip2Sizes = TINY, std: float = 0.3, seed: int = 0) -> Blip2:
    return Blip2.from_weights(config, random_weights(config, std=std, seed=seed), "random")


def random_pixels(count: int, config: Blip2Sizes = TINY, seed: int = 1) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randn((count, 3, config.image_size, config.image_size), generator=generator)


def lavis_state(config: Blip2Sizes = TINY, seed: int = 0, std: float = 0.1) -> dict[str, torch.Tensor]:
    """Return a random state dict as LAVIS saves it, ViT inside."""
    rng = np.random.default_rng(seed)
    shapes = {name: tuple(tensor.shape) for name, tensor in Blip2.empty(config).state_dict().items()}
    state = {
        key: std * torch.from_numpy(rng.standard_normal(source.shape_of(shapes[name]), dtype=np.float32))
        for name, source in lavis_sources(config).items()
        for key in source.keys
    }
    state |= {copy: state[original].clone() for copy, original in TIED_KEYS.items()}
    return state | {
        "temp": torch.tensor(0.07),
        "Qformer.bert.embeddings.position_ids": torch.arange(config.max_position)[None],
    }


def split_vit(state: dict[str, torch.Tensor], config: Blip2Sizes) -> tuple[dict, dict]:
    """Return a state dict as LAVIS publishes it: without ViT, and the ViT's file with what lies behind its blocks."""
    vit = {key.removeprefix("visual_encoder."): value for key, value in state.items() if key.startswith("visual_")}
    blocks = "blocks" if config.vit == EVA_VIT_G else "transformer.resblocks"
    last = f"{blocks}.{config.vit_depth - 1}."
    vit |= {
        key.replace(last, f"{blocks}.{config.vit_depth}."): vit[key].clone()
        for key in list(vit)
        if key.startswith(last)
    }
    behind = ("norm.weight", "head.bias") if config.vit == EVA_VIT_G else ("ln_post.weight", "proj")
    vit |= {key: torch.zeros(3) for key in behind}
    return {key: value for key, value in state.items() if not key.startswith("visual_")}, vit
