"""The obvious way to use BLIP-2 on crops, one at a time: what `bench_blip2` compares with, and a test's reference.

Pillow for every crop, transformers' own forward passes, a second vision pass for the caption, decoding without
a cache (queries, cross-attention and all text again for every token), beam search on Python lists, a Python loop
over tokens for Eq. (1). Shares no code with the fast way but the weights.
"""

from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from raypipe.models.blip2.config import EVA_VIT_G, CaptionRules
from raypipe.models.blip2.model import Blip2
from raypipe.models.blip2.preprocess import CLIP_MEAN, CLIP_STD


def preprocess(frame_HW3: NDArray[np.uint8], rectangle: tuple[int, int, int, int], size: int) -> Tensor:
    """Return one crop as pixels of the ViT, (1, 3, size, size), by Pillow."""
    crop = Image.fromarray(frame_HW3).crop(rectangle).resize((size, size), Image.Resampling.BICUBIC)
    pixels = torch.from_numpy(np.array(crop)).permute(2, 0, 1).float().div(255)
    mean, std = torch.tensor(CLIP_MEAN)[:, None, None], torch.tensor(CLIP_STD)[:, None, None]
    return ((pixels - mean) / std)[None]


@torch.no_grad()
def vision(model: Blip2, pixels_13HW: Tensor) -> Tensor:
    """Return H of one crop."""
    hidden: Tensor = model.vision_model(pixel_values=pixels_13HW.to(model.device)).last_hidden_state
    return hidden if model.config.vit == EVA_VIT_G else model.vision_model.post_layernorm(hidden)


@torch.no_grad()
def image_tokens(model: Blip2, vision_1SV: Tensor) -> Tensor:
    """Return F^I of one crop by transformers' Q-Former."""
    tokens: Tensor = model.qformer(
        query_embeds=model.query_tokens, encoder_hidden_states=vision_1SV.to(model.query_tokens.dtype)
    ).last_hidden_state
    return tokens


@torch.no_grad()
def caption_ids(model: Blip2, pixels_13HW: Tensor, rules: CaptionRules) -> list[int]:
    """Return the caption of one crop, [DEC] first, and [SEP] last where it ended."""
    hidden = vision(model, pixels_13HW)
    ids = torch.tensor([[model.config.bos_id]] * rules.num_beams, device=model.device)
    search = _greedy if rules.num_beams == 1 else _beams
    return search(model, hidden.expand(rules.num_beams, -1, -1), ids, rules)


@torch.no_grad()
def sentence_vector(model: Blip2, ids_1L: Tensor, mask_1L: Tensor) -> Tensor:
    """Return F^T[0] of one sentence by transformers' Q-Former, (H_d,)."""
    text = model.embeddings(input_ids=ids_1L)
    hidden: Tensor = model.qformer(query_embeds=text, query_length=0, attention_mask=mask_1L).last_hidden_state
    return hidden[0, 0]


def cross_modality(text_D: Tensor, image_tokens_QD: Tensor) -> Tensor:
    """Return G of one crop, Eq. (1), token by token."""
    total = torch.zeros_like(text_D)
    for token in image_tokens_QD:
        total += (text_D @ token) / (text_D.norm() * token.norm()) * token
    return total


def _next_logits(model: Blip2, hidden: Tensor, ids: Tensor) -> Tensor:
    config = model.config
    length, width = ids.shape[1], config.num_query + ids.shape[1]
    keep = torch.zeros(width, width, dtype=torch.bool, device=ids.device)
    keep[:, : config.num_query] = True
    keep[config.num_query :, config.num_query :] = torch.ones(length, length, dtype=torch.bool).tril()
    queries = model.query_tokens.expand(len(ids), -1, -1)
    output: Any = model.qformer(
        query_embeds=model.embeddings(input_ids=ids, query_embeds=queries),
        query_length=config.num_query,
        attention_mask=keep[None, None].expand(len(ids), 1, -1, -1),
        encoder_hidden_states=hidden.to(model.query_tokens.dtype),
    )
    if model.lm_head is None:
        raise ValueError("the model has no language-model head")
    logits: Tensor = model.lm_head(output.last_hidden_state[:, -1], model.embeddings.word_embeddings.weight)
    return logits.float()


def _greedy(model: Blip2, hidden: Tensor, ids: Tensor, rules: CaptionRules) -> list[int]:
    while ids.shape[1] < rules.max_length:
        logits = _next_logits(model, hidden, ids)
        if ids.shape[1] < rules.min_length:
            logits[:, model.config.sep_id] = -torch.inf
        token = int(logits.argmax())
        ids = torch.cat((ids, torch.tensor([[token]], device=ids.device)), dim=1)
        if token == model.config.sep_id:
            break
    return [int(token) for token in ids[0]]


def _beams(model: Blip2, hidden: Tensor, ids: Tensor, rules: CaptionRules) -> list[int]:
    """The lists and rules of transformers 4.26's BeamSearchScorer, for one crop."""
    num_beams, end = rules.num_beams, model.config.sep_id
    scores = torch.tensor([0.0] + [-1e9] * (num_beams - 1), device=ids.device)
    kept: list[tuple[float, list[int]]] = []

    def keep(tokens: list[int], log_p: float, length: int) -> None:
        score = log_p / length
        if len(kept) < num_beams or score > min(kept)[0]:
            kept.append((score, tokens))
            if len(kept) > num_beams:
                kept.remove(min(kept, key=lambda hypothesis: hypothesis[0]))

    while ids.shape[1] < rules.max_length:
        length = ids.shape[1]
        log_p = torch.log_softmax(_next_logits(model, hidden, ids), dim=-1)
        if length < rules.min_length:
            log_p[:, end] = -torch.inf
        best, flat = (log_p + scores[:, None]).flatten().topk(2 * num_beams)
        going_on = []
        for rank, (score, index) in enumerate(zip(best.tolist(), flat.tolist(), strict=True)):
            beam, token = divmod(index, log_p.shape[1])
            if token != end:
                going_on.append((beam, token, score))
            elif rank < num_beams:
                keep([*ids[beam].tolist(), end], score, length)
            if len(going_on) == num_beams:
                break
        rows = torch.tensor([beam for beam, _, _ in going_on], device=ids.device)
        tokens = torch.tensor([[token] for _, token, _ in going_on], device=ids.device)
        ids = torch.cat((ids[rows], tokens), dim=1)
        scores = torch.tensor([score for _, _, score in going_on], device=ids.device)
        if len(kept) == num_beams and min(kept)[0] >= float(best.max()) / length:
            break
    else:
        for row, score in zip(ids.tolist(), scores.tolist(), strict=True):
            keep(row, score, ids.shape[1])
    return max(kept, key=lambda hypothesis: hypothesis[0])[1]
