"""How well a BLIP-2 aligns images and captions that it was not trained on."""

from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from raypipe.models.blip2.config import CaptionRules
from raypipe.models.blip2.losses import image_features, itm_logits, similarities, text_features
from raypipe.models.blip2.model import Blip2
from raypipe.models.blip2.qformer import embed_text, vision_keys_values
from raypipe.models.blip2.tokenizer import SentenceTokenizer


@torch.no_grad()
def alignment_metrics(
    model: Blip2,
    tokenizer: SentenceTokenizer,
    read_pixels: Callable[[int, int], Tensor],
    captions: Sequence[Sequence[str]],
    batch_size: int,
) -> dict[str, float]:
    """Return shares in 0..1 over a pool of images, of which `captions` holds each one's own.

    `read_pixels(start, stop)` gives normalised pixels. recall_image_to_text: the most similar of the pool's distinct
    captions is one of the image's own; recall_text_to_image: the most similar image has the caption among its own.
    matching_accuracy: the matching head tells an image's first caption from one of another image that it does not
    have (chance 0.5). caption_exact: the greedy caption is one of its own, word for word; caption_tokens: next
    tokens of the first caption that are predicted right.
    """
    own = [tokenizer.decode(tokenizer.encode(sentences)[0]) for sentences in captions]
    images, matched, exact, tokens = [], [], [], []
    for start in range(0, len(own), batch_size):
        stop = min(start + batch_size, len(own))
        vision = model.encode_vision(read_pixels(start, stop))
        image_tokens, prefix = model.encode_queries(vision)
        images.append(image_features(model, image_tokens).float())
        matched += _matches(model, tokenizer, vision, captions, own, start, stop)
        rules = CaptionRules(num_beams=1, max_length=max(2, model.config.max_txt_len), min_length=0)
        said = tokenizer.decode(model.caption_ids(prefix, rules))
        exact += [sentence in own[start + row] for row, sentence in enumerate(said)]
        tokens += _predicted(model, tokenizer, prefix, [captions[row][0] for row in range(start, stop)])
    pool = list(dict.fromkeys(sentence for sentences in own for sentence in sentences))
    texts = [
        text_features(model, model.encode_text(*tokenizer.encode(pool[start : start + batch_size]))[:, 0]).float()
        for start in range(0, len(pool), batch_size)
    ]
    similarity = similarities(torch.cat(images), torch.cat(texts)).cpu()
    found_text, found_image = similarity.argmax(dim=1).tolist(), similarity.argmax(dim=0).tolist()
    return {
        "recall_image_to_text": _mean([pool[text] in own[row] for row, text in enumerate(found_text)]),
        "recall_text_to_image": _mean([pool[text] in own[row] for text, row in enumerate(found_image)]),
        "matching_accuracy": _mean(matched),
        "caption_exact": _mean(exact),
        "caption_tokens": _mean(tokens),
    }


def _matches(
    model: Blip2,
    tokenizer: SentenceTokenizer,
    vision_NSV: Tensor,
    captions: Sequence[Sequence[str]],
    own: Sequence[Sequence[str]],
    start: int,
    stop: int,
) -> list[bool]:
    """Return for each image's own caption, and for one that is not its own, whether the matching head is right."""
    rows, sentences, labels = [], [], []
    for row in range(start, stop):
        rows.append(row - start)
        sentences.append(captions[row][0])
        labels.append(1)
        # Half the pool away, so that neighbours in a video are not each other's negatives.
        others = ((row + len(own) // 2 + step) % len(own) for step in range(len(own)))
        other = next((o for o in others if own[o][0] not in own[row]), None)
        if other is not None:
            rows.append(row - start)
            sentences.append(captions[other][0])
            labels.append(0)
    ids, mask = (tensor.to(model.device) for tensor in tokenizer.encode(sentences))
    crossing = vision_keys_values(model.qformer, vision_NSV, model.config.heads)
    at = torch.tensor(rows, device=model.device)
    chosen = {index: (keys[at], values[at]) for index, (keys, values) in crossing.items()}
    logits = itm_logits(model, chosen, embed_text(model.qformer, model.embeddings, ids), mask)
    return [answer == label for answer, label in zip(logits.argmax(dim=1).tolist(), labels, strict=True)]


def _predicted(model: Blip2, tokenizer: SentenceTokenizer, prefix: Tensor, captions: Sequence[str]) -> list[bool]:
    ids, mask = tokenizer.encode(captions)
    length = int(mask.sum(dim=1).max())
    ids, mask = ids[:, :length].to(model.device), mask[:, :length].to(model.device)
    started = ids.clone()
    started[:, 0] = model.config.bos_id
    predicted = model.lm_logits(started, mask, prefix)[:, :-1].argmax(dim=-1)
    right: list[bool] = (predicted == ids[:, 1:])[mask[:, 1:].bool()].tolist()
    return right


def _mean(values: Sequence[bool]) -> float:
    return sum(values) / len(values)
