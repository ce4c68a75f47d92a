"""What the state machine is trained on: image tokens, what is known of each image, and grids of what to ask (Eq. 6)."""

import math
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raypipe.models.blip2.model import Blip2
from raypipe.models.blip2.preprocess import normalise
from raypipe.models.state_machine.targets import (
    Described,
    Labels,
    caption_targets,
    describe,
    grid_targets,
    label_targets,
)
from raypipe.pretraining.coco_captions import CaptionedImage, CaptionSet
from raypipe.pretraining.images import image_batches, store_failure
from raypipe.pretraining.state_machine_config import SmmConfig
from raypipe.pretraining.vqa_labels import read_labels

# Other captions that each held-out image is asked about.
HELD_OUT_OTHERS = 4


@dataclass(frozen=True)
class EncodedImages:
    """Readable images: tokens, float16 (N, N_q, H_d), what is known of each, and the captions to ask about each."""

    tokens: NDArray[np.float16]
    described: list[Described]
    asked: list[tuple[str, ...]]


def answers_of(config: SmmConfig) -> Labels | None:
    """Return the answer of every labelled pair, by image id and caption; None where captions alone say what holds."""
    if config.targets.labels is None:
        return None
    read = read_labels(config.targets.labels)
    return dict(zip(zip(read.image_ids, read.captions, strict=True), read.answers.tolist(), strict=True))


def encode_share(
    captions: CaptionSet, rank: int, world: int, blip2: Blip2, config: SmmConfig, labels: Labels | None, place: Path
) -> tuple[EncodedImages, dict[str, str]]:
    """Return every `world`-th image that can be asked about, encoded, and the unreadable ones with the reason.

    After the first one that its store does not give (see `store_failure`), no more are asked for. Tokens that would
    take more memory than `train.keep_token_bytes` are kept in the file `place`.
    """
    train, sizes = config.train, blip2.config
    labelled: dict[str, list[str]] = defaultdict(list)
    for image_id, caption in labels or ():
        labelled[image_id].append(caption)
    chosen = [image for image in captions.images if labels is None or str(image.image_id) in labelled][rank::world]
    shape = (len(chosen), sizes.num_query, sizes.hidden)
    tokens: NDArray[np.float16]
    if 2 * math.prod(shape) <= train.keep_token_bytes:
        tokens = np.empty(shape, np.float16)
    else:
        tokens = np.memmap(place, np.float16, "w+", shape=shape)
    kept: list[CaptionedImage] = []
    unreadable: dict[str, str] = {}
    read = image_batches([image.path for image in chosen], sizes.image_size, train.encode_batch_size)
    for number, images in enumerate(read):
        start, pixels = number * train.encode_batch_size, []
        for image, outcome in zip(chosen[start : start + len(images)], images, strict=True):
            if isinstance(outcome, str):
                unreadable[image.path] = outcome
            else:
                kept.append(image)
                pixels.append(outcome)
        if store_failure(unreadable):
            break
        if pixels:
            encoded = blip2.encode_images(normalise(torch.stack(pixels).to(blip2.device)))
            tokens[len(kept) - len(pixels) : len(kept)] = encoded.image_tokens.half().cpu().numpy()
    described = [describe(image.image_id, image.captions) for image in kept]
    asked = [image.captions if labels is None else tuple(labelled[str(image.image_id)]) for image in kept]
    return EncodedImages(tokens[: len(kept)], described, asked), unreadable


class Batch(NamedTuple):
    """A step's image tokens, float16 (N, N_q, H_d), the questions, and which hold and are known, bool (N, N)."""

    tokens: Tensor
    questions: list[str]
    holds: Tensor
    known: Tensor


def epoch_pairs(share: EncodedImages, most_per_caption: int | None, seed: int) -> list[tuple[int, str]]:
    """Return the images of an epoch in random order, each with one of the captions to ask about it.

    At most `most_per_caption` images have the same. Yes weighs as much as no in the loss, so where a caption holds of
    many images, saying yes to it pays even for those of a rarer caption that look a little like them.
    """
    generator = np.random.default_rng(seed)
    order = generator.permutation(len(share.described)).tolist()
    pairs = [(position, str(generator.choice(share.asked[position]))) for position in order]
    if most_per_caption is None:
        return pairs
    counts: Counter[str] = Counter()
    kept = []
    for position, caption in pairs:
        counts[caption] += 1
        if counts[caption] <= most_per_caption:
            kept.append((position, caption))
    # What is common was taken from the front: batches at the end would have only what is rare.
    return [kept[place] for place in generator.permutation(len(kept)).tolist()]


def grid_batches(
    share: EncodedImages,
    pairs: Sequence[tuple[int, str]],
    config: SmmConfig,
    labels: Labels | None,
    ask: Callable[[str], str],
    steps: int,
) -> Iterator[Batch]:
    """Yield the batches of an epoch's first steps; the next is made during a step."""
    size = config.train.batch_size

    def make(step: int) -> Batch:
        chosen, captions = zip(*pairs[step * size : (step + 1) * size], strict=True)
        images = [share.described[position] for position in chosen]
        holds, known = grid_targets(images, captions, config.targets.different_below, labels)
        questions = [ask(caption) for caption in captions]
        tokens = torch.from_numpy(share.tokens[list(chosen)])
        return Batch(tokens, questions, torch.from_numpy(holds), torch.from_numpy(known))

    with ThreadPoolExecutor(1) as maker:
        coming = maker.submit(make, 0)
        for step in range(steps):
            batch = coming.result()
            if step + 1 < steps:
                coming = maker.submit(make, step + 1)
            yield batch


class HeldOutPairs(NamedTuple):
    """Pairs of an image, as its row of the pool, and a caption; and which of them hold, bool (P,)."""

    rows: list[int]
    captions: list[str]
    holds: NDArray[np.bool_]


def held_out_pairs(pool: EncodedImages, config: SmmConfig, labels: Labels | None) -> HeldOutPairs:
    """Return the labelled pairs; without labels each image's first caption, and others' that do not hold of it."""
    rows, captions, holds = [], [], []
    generator = np.random.default_rng(config.seed)
    for row, image in enumerate(pool.described):
        if labels is not None:
            asked = list(pool.asked[row])
            answers = label_targets([image], asked, labels)[0][0].tolist()
        else:
            others = (pool.asked[other][0] for other in generator.permutation(len(pool.described)).tolist())
            asked = [pool.asked[row][0], *_which_do_not_hold(image, others, config.targets.different_below)]
            answers = [True] + [False] * (len(asked) - 1)
        rows += [row] * len(asked)
        captions += asked
        holds += answers
    return HeldOutPairs(rows, captions, np.array(holds, dtype=bool))


def _which_do_not_hold(image: Described, captions: Iterable[str], different_below: float) -> list[str]:
    """Return the first few captions that are known not to hold of an image."""
    found: dict[str, None] = {}
    for caption in captions:
        (holds,), (known,) = (cells[0] for cells in caption_targets([image], [caption], different_below))
        if known and not holds:
            found[caption] = None
        if len(found) == HELD_OUT_OTHERS:
            break
    return list(found)
