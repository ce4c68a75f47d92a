"""What BLIP-2 is trained by: contrast, matching and captioning of (image, caption) pairs.

The three losses of BLIP-2, Section 3.1, as LAVIS's `Blip2Qformer` has them, on the passes of `blip2_qformer`. What
differs, and why:

* Pairs with the same image or the same caption are no negatives of each other, neither in contrast nor in matching:
  captions of a surveillance camera repeat, and a repeated caption is as right for one image as for the other.
* Hard negatives come from the worker's own share of the batch, so the ViT's feature maps need not travel; the
  contrast is over the shares of all workers, and its gradient reaches the features of all of them.
* The keys and values of H are projected once for the query pass and all three matching passes.

Shapes: N pairs, M pairs over all workers, Q queries, L text tokens, D = H_d, E the width of the contrastive space.
"""

from dataclasses import dataclass
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.nn import functional

from raypipe.models.blip2.model import NO_CAPTIONS, Blip2
from raypipe.models.blip2.qformer import (
    Crossing,
    LanguageHead,
    embed_text,
    joint_pass,
    query_pass,
    text_pass,
    vision_keys_values,
)
from raypipe.models.blip2.vision import vision_hidden

LABEL_SMOOTHING = 0.1
INITIAL_TEMPERATURE = 0.07
TEMPERATURE_RANGE = (0.001, 0.5)
# So that a negative far from the image is drawn now and then, too.
_NEGATIVE_FLOOR = 1e-4


@dataclass(frozen=True)
class Pairs:
    """A batch: normalised pixels (N, 3, S, S), token ids and mask (N, L) from [CLS] to [SEP], and image ids (N,)."""

    pixels: Tensor
    ids: Tensor
    mask: Tensor
    image_ids: Tensor


class Blip2Objective(nn.Module):
    """A Blip2 module that can be trained, and the temperature of its contrast.

    Trains everything but the ViT, and the ViT too with `train_vision`; LAVIS's ln_vision is trained either way. Without
    `train_projections`, those into the contrastive space stay as they are: where both are one orthogonal matrix, what
    contrast then trains is the very cosine of tokens and sentence that Eq. (1) takes. A `temperature` stays as it is,
    None is trained from LAVIS's 0.07. `dropout` is that of the Q-Former's residual branches (attention weights have
    none); evaluation has none.
    """

    def __init__(
        self,
        model: Blip2,
        *,
        train_vision: bool,
        train_projections: bool = True,
        temperature: float | None = None,
        dropout: float = 0.0,
    ) -> None:
        super().__init__()
        if model.lm_head is None:
            raise ValueError(NO_CAPTIONS)
        self.model = model.requires_grad_(True)
        model.vision_model.requires_grad_(train_vision)
        model.vision_model.post_layernorm.requires_grad_(True)
        model.vision_projection.requires_grad_(train_projections)
        model.text_projection.requires_grad_(train_projections)
        for module in model.qformer.modules():
            if isinstance(module, nn.Dropout):
                module.p = dropout
        start = INITIAL_TEMPERATURE if temperature is None else temperature
        self.temperature = nn.Parameter(torch.tensor(start), requires_grad=temperature is None)

    def forward(self, pairs: Pairs) -> dict[str, Tensor]:
        """Return the losses `itc`, `itm` and `itg` of a batch; their sum is what is trained."""
        model, heads = self.model, self.model.config.heads
        vision = vision_hidden(model.vision_model, pairs.pixels)
        crossing = vision_keys_values(model.qformer, vision, heads)
        tokens, prefix = query_pass(model.qformer, model.query_tokens, vision, heads, crossing)
        # Padding that no caption of the batch needs costs time and changes nothing.
        length = int(pairs.mask.sum(dim=1).max())
        ids, mask = pairs.ids[:, :length], pairs.mask[:, :length]
        text = embed_text(model.qformer, model.embeddings, ids)
        text_cls = text_pass(model.qformer, text, mask, heads)[:, 0]
        image, sentence = image_features(model, tokens), text_features(model, text_cls)
        temperature = self.temperature.clamp(*TEMPERATURE_RANGE)
        itc = itc_loss(
            image,
            sentence,
            gather(image),
            gather(sentence),
            temperature,
            same_pairs(pairs.image_ids, pairs.ids, gather(pairs.image_ids), gather(pairs.ids)),
        )
        with torch.no_grad():
            similarity = similarities(image.float(), sentence.float()) / temperature
        negatives = draw_negatives(similarity, same_pairs(pairs.image_ids, pairs.ids))
        itm = itm_loss(model, crossing, text, mask, negatives)
        return {"itc": itc, "itm": itm, "itg": caption_loss(model, prefix, ids, mask)}


def image_features(model: Blip2, image_tokens_NQD: Tensor) -> Tensor:
    """Return the unit vectors of the image tokens in the contrastive space, (N, Q, E)."""
    return functional.normalize(model.vision_projection(image_tokens_NQD), dim=-1)


def text_features(model: Blip2, text_cls_ND: Tensor) -> Tensor:
    """Return the unit vectors of sentence vectors F^T[0] in the contrastive space, (N, E)."""
    return functional.normalize(model.text_projection(text_cls_ND), dim=-1)


def similarities(image_NQE: Tensor, text_ME: Tensor) -> Tensor:
    """Return the similarity of every image with every text, (N, M): the cosine of the query that fits best."""
    return torch.einsum("nqe,me->nmq", image_NQE, text_ME).amax(dim=-1)


def same_pairs(
    image_ids_N: Tensor, ids_NL: Tensor, image_ids_M: Tensor | None = None, ids_ML: Tensor | None = None
) -> Tensor:
    """Return which pairs belong to each other, bool (N, M): those with the same image or the same caption."""
    image_ids_M = image_ids_N if image_ids_M is None else image_ids_M
    ids_ML = ids_NL if ids_ML is None else ids_ML
    return (image_ids_N[:, None] == image_ids_M) | (ids_NL[:, None] == ids_ML).all(dim=-1)


def itc_loss(
    image_NQE: Tensor,
    text_NE: Tensor,
    all_image_MQE: Tensor,
    all_text_ME: Tensor,
    temperature: Tensor,
    same_NM: Tensor,
) -> Tensor:
    """Return the contrastive loss of N pairs among M: images choose texts, texts images, each among all.

    With one partner each (`same_NM` an identity) it is LAVIS's cross-entropy with label smoothing 0.1; several
    partners share the target evenly. Computed in float32.
    """
    image_to_text = similarities(image_NQE.float(), all_text_ME.float()) / temperature
    text_to_image = similarities(all_image_MQE.float(), text_NE.float()).T / temperature
    targets = same_NM.float() / same_NM.sum(dim=1, keepdim=True)
    losses = [
        functional.cross_entropy(logits, targets, label_smoothing=LABEL_SMOOTHING)
        for logits in (image_to_text, text_to_image)
    ]
    return (losses[0] + losses[1]) / 2


@dataclass(frozen=True)
class Negatives:
    """A text for each image and an image for each text that do not belong to it, rows (N,); where there are any."""

    text_of_image: Tensor
    image_of_text: Tensor
    exists: Tensor


def draw_negatives(similarity_NN: Tensor, same_NN: Tensor) -> Negatives:
    """Draw hard negatives: the more similar (over the temperature), the likelier. Uses torch's global generator.

    Where a pair's row holds no other pair, `exists` is False and the drawn row means nothing.
    """
    exists = ~same_NN.all(dim=1)
    drawn = []
    for logits in (similarity_NN, similarity_NN.T):
        weights = (logits.softmax(dim=1) + _NEGATIVE_FLOOR).masked_fill(same_NN, 0.0)
        drawn.append(torch.multinomial(weights.masked_fill(~exists[:, None], 1.0), 1)[:, 0])
    return Negatives(drawn[0], drawn[1], exists)


def itm_logits(model: Blip2, crossing: Crossing, text_NLD: Tensor, mask_NL: Tensor) -> Tensor:
    """Return the matching head's logits of N (image, text) pairs, (N, 2): no, yes; the mean over the queries.

    `text_NLD` is embedded text that starts with [CLS].
    """
    queries = joint_pass(model.qformer, model.query_tokens, text_NLD, mask_NL, crossing, model.config.heads)
    logits: Tensor = model.itm_head(queries).mean(dim=1)
    return logits


def itm_loss(model: Blip2, crossing: Crossing, text_NLD: Tensor, mask_NL: Tensor, negatives: Negatives) -> Tensor:
    """Return the matching loss: every pair, and for each image and each text a negative, in one pass of 3 N rows."""
    own = torch.arange(len(text_NLD), device=text_NLD.device)
    images = torch.cat((own, own, negatives.image_of_text))
    texts = torch.cat((own, negatives.text_of_image, own))
    rows = {index: (keys[images], values[images]) for index, (keys, values) in crossing.items()}
    logits = itm_logits(model, rows, text_NLD[texts], mask_NL[texts]).float()
    labels = torch.zeros_like(images)
    labels[: len(own)] = 1
    counts = torch.cat((torch.ones_like(negatives.exists), negatives.exists, negatives.exists))
    losses = functional.cross_entropy(logits, labels, reduction="none")
    return (losses * counts).sum() / counts.sum()


def caption_loss(model: Blip2, prefix: Tensor, ids_NL: Tensor, mask_NL: Tensor) -> Tensor:
    """Return the cross-entropy of each caption's next tokens, up to [SEP], on the queries' keys and values.

    The text starts with [DEC] in place of [CLS]; label smoothing 0.1; padding does not count.
    """
    if model.lm_head is None:
        raise ValueError(NO_CAPTIONS)
    head: LanguageHead = model.lm_head
    started = ids_NL.clone()
    started[:, 0] = model.config.bos_id
    text = embed_text(model.qformer, model.embeddings, started)
    hidden = text_pass(model.qformer, text, mask_NL, model.config.heads, prefix)
    # The head is the widest product of all: only where there is something to predict.
    counts = mask_NL[:, 1:].bool()
    logits = head(hidden[:, :-1][counts], model.embeddings.word_embeddings.weight)
    return functional.cross_entropy(logits.float(), ids_NL[:, 1:][counts], label_smoothing=LABEL_SMOOTHING)


class _Gather(torch.autograd.Function):
    """All workers' rows in the order of their ranks; a row's gradient is the sum of what all workers want of it."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        ctx.start, ctx.stop = dist.get_rank() * len(rows), (dist.get_rank() + 1) * len(rows)
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> Tensor:
        total = gradients[0].contiguous().clone()
        dist.all_reduce(total)
        return total[ctx.start : ctx.stop]


def gather(rows: Tensor) -> Tensor:
    """Return the rows of all workers, (M, ...), with gradients; all workers must have as many. Alone: the rows."""
    if not dist.is_initialized() or dist.get_world_size() == 1:
        return rows
    gathered: Tensor = _Gather.apply(rows)
    return gathered
