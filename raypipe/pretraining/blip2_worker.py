"""What one Ray Train worker does to train BLIP-2 (Appendix E)."""

import math
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Literal

import numpy as np
import ray.train
import ray.train.torch
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from raypipe.distributed.worker_group import gathered, least_over_workers, mean_over_workers, refuse, said_by_first
from raypipe.models.augment import augment
from raypipe.models.blip2.config import Blip2Sizes
from raypipe.models.blip2.losses import TEMPERATURE_RANGE, Blip2Objective, Pairs
from raypipe.models.blip2.metrics import alignment_metrics
from raypipe.models.blip2.model import Blip2
from raypipe.models.blip2.preprocess import normalise
from raypipe.models.blip2.tokenizer import SentenceTokenizer
from raypipe.models.precision import products_here, products_in
from raypipe.pretraining.blip2_config import Blip2TrainConfig, Blip2TrainingConfig
from raypipe.pretraining.blip2_start import start_from
from raypipe.pretraining.caption_pairs import MIN_IMAGES, read_pairs
from raypipe.pretraining.coco_captions import CaptionSet
from raypipe.pretraining.epochs import OPTIMIZER_FILE, TRAINED_FILE, Worker, begin, is_over, run_epochs
from raypipe.pretraining.images import TrainingImages, store_failure, unreadable_note

LOSSES = ("itc", "itm", "itg")
MAX_GRADIENT_NORM = 1.0
BETAS = (0.9, 0.98)


@dataclass(frozen=True)
class _WorkerImages:
    """A worker's images, and the token ids and masks of all their captions, whose rows are `rows[position]`.

    `numbers` are the images' places among those of all workers.
    """

    images: TrainingImages
    ids: Tensor
    mask: Tensor
    rows: list[range]
    numbers: range


# Held-out images and, of those that can be read, the captions.
Pool = tuple[TrainingImages, list[tuple[str, ...]]]


def train_loop(settings: dict[str, Any]) -> None:
    """Train on one worker; rank 0 reports a checkpoint after each epoch, from which another attempt goes on.

    Worker r of W has every W-th image from r on, shuffles them anew each epoch, and leaves out what fills no batch.
    All that is random in an epoch is seeded by it, so a resumed training repeats an undisturbed one.
    """
    config = Blip2TrainingConfig.model_validate(settings["config"])
    sizes, train = Blip2Sizes(**settings["sizes"]), config.train
    worker = begin(train.threads)
    if is_over(train.epochs):
        return
    tokenizer = SentenceTokenizer(settings["vocab"], sizes)
    fit, held_out = read_pairs(config.data)
    share = _read_share(fit, worker, config.augment.stored_size(sizes.image_size), train, tokenizer)
    pool = _read_pool(held_out, sizes.image_size, train) if worker.rank == 0 else None
    unreadable = gathered(share.images.unreadable | (pool[0].unreadable if pool else {}))
    steps = least_over_workers(len(share.images.readable) // train.batch_size)
    refused = _refusal(steps, train, pool, unreadable)
    if refused:
        refuse(refused)
        return
    objective = _objective(config, sizes, settings["vocab"], tokenizer).to(worker.device)
    optimizers = make_optimizers(objective, train)
    wrapped = ray.train.torch.prepare_model(objective)
    precision = _precision(train, worker.device)

    def train_epoch(epoch: int) -> tuple[dict[str, float], int]:
        return _train_epoch(wrapped, objective, optimizers, share, config, (epoch, steps), worker), steps

    run_epochs(
        train.epochs,
        train=train_epoch,
        measure=lambda: _measure(objective, tokenizer, pool, precision, train.batch_size),
        notes=lambda: {
            "temperature": float(objective.temperature.detach()),
            "unreadable": unreadable_note(unreadable),
            "precision": precision,
        },
        unreadable=unreadable,
        save=partial(_save, objective, optimizers),
        restore=partial(_restore, objective, optimizers),
    )


def _objective(
    config: Blip2TrainingConfig, sizes: Blip2Sizes, vocab: list[str], tokenizer: SentenceTokenizer
) -> Blip2Objective:
    start = start_from(config.model, sizes, vocab, config.seed)
    model = Blip2.from_weights(sizes, start.weights, "start")
    model.tokenizer = tokenizer
    return Blip2Objective(
        model,
        train_vision=config.model.trains_vit,
        train_projections=config.model.train_projections,
        temperature=config.train.temperature,
        dropout=config.train.dropout,
    )


def _measure(
    objective: Blip2Objective,
    tokenizer: SentenceTokenizer,
    pool: Pool | None,
    precision: Literal["fp32", "bf16"],
    batch_size: int,
) -> dict[str, float]:
    """Return the figures on the held-out images, which rank 0 alone holds."""
    if pool is None:
        return {}
    objective.eval()
    model = objective.model
    with products_in(precision, model.device):
        measured = alignment_metrics(model, tokenizer, _pixels(pool[0]), pool[1], batch_size)
    return {f"held_out_{name}": value for name, value in measured.items()}


def learning_rate(step: int, num_steps: int, config: Blip2TrainConfig) -> float:
    """Return the rate of a step: rising evenly over the warm-up, then a half cosine from the peak towards 0."""
    warmup = round(config.warmup_fraction * num_steps)
    if step < warmup:
        return config.learning_rate * (step + 1) / warmup
    return config.learning_rate * 0.5 * (1 + math.cos(math.pi * (step - warmup) / max(1, num_steps - warmup)))


def make_optimizers(objective: Blip2Objective, config: Blip2TrainConfig) -> list[torch.optim.Optimizer]:
    """Return what trains the objective: AdamW, of which biases, norms and the temperature do not decay.

    With `optimizer: muon` the weights of all linear layers but the matching head, which ends in two classes, are Muon's
    instead; embeddings and the patches' convolution are not what it is made for. A ViT-g's queries, keys and values are
    one matrix to it.
    """
    trained = [parameter for parameter in objective.parameters() if parameter.requires_grad]
    layers = [module for module in objective.modules() if isinstance(module, nn.Linear)]
    weights = [layer.weight for layer in layers if layer is not objective.model.itm_head]
    hidden = [weight for weight in weights if weight.requires_grad and config.optimizer == "muon"]
    known = {id(parameter) for parameter in hidden}
    others = [parameter for parameter in trained if id(parameter) not in known]
    groups = [
        {"params": [p for p in others if p.ndim >= 2], "weight_decay": config.weight_decay},
        {"params": [p for p in others if p.ndim < 2], "weight_decay": 0.0},
    ]
    optimizers: list[torch.optim.Optimizer] = [
        torch.optim.AdamW(groups, lr=config.learning_rate, betas=BETAS, fused=True)
    ]
    if hidden:
        # Steps about as long as AdamW's, so that both take the same rate.
        muon = torch.optim.Muon(
            hidden, lr=config.learning_rate, weight_decay=config.weight_decay, adjust_lr_fn="match_rms_adamw"
        )
        optimizers.append(muon)
    return optimizers


def set_rate(optimizers: Sequence[torch.optim.Optimizer], rate: float) -> None:
    """Let the next step of all optimizers have this learning rate."""
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["lr"] = rate


def _read_share(
    fit: CaptionSet, worker: Worker, size: int, config: Blip2TrainConfig, tokenizer: SentenceTokenizer
) -> _WorkerImages:
    own = fit.images[worker.rank :: worker.world]
    images = TrainingImages([image.path for image in own], size, config.keep_image_bytes)
    ids, mask = tokenizer.encode([caption for image in own for caption in image.captions])
    ends = np.cumsum([len(image.captions) for image in own]).tolist()
    rows = [range(end - len(image.captions), end) for end, image in zip(ends, own, strict=True)]
    # As small as they can be kept: COCO has 600 thousand captions.
    numbers = range(len(fit.images))[worker.rank :: worker.world]
    return _WorkerImages(images, ids.to(torch.int32), mask.to(torch.bool), rows, numbers)


def _read_pool(held_out: CaptionSet, size: int, config: Blip2TrainConfig) -> Pool:
    images = TrainingImages([image.path for image in held_out.images], size, config.keep_image_bytes)
    return images, [held_out.images[position].captions for position in images.readable]


def _pixels(images: TrainingImages) -> Any:
    return lambda start, stop: normalise(images.read(images.readable[start:stop]))


def _refusal(steps: int, config: Blip2TrainConfig, pool: Pool | None, unreadable: Mapping[str, str]) -> str | None:
    """Return why there is nothing to train with, known to all workers alike, or None."""
    lost = f"; {len(unreadable)} images could not be read" if unreadable else ""
    refused = store_failure(unreadable)
    if not refused and steps == 0:
        refused = (
            f"train.batch_size: a worker has fewer readable images than the {config.batch_size} of a step{lost}; "
            "lower train.batch_size or train.workers"
        )
    elif not refused and pool and len(pool[1]) < MIN_IMAGES:
        refused = f"data: {len(pool[1])} held-out images can be read, {MIN_IMAGES} are needed to compare{lost}"
    return said_by_first(refused)


def _train_epoch(
    wrapped: nn.Module,
    objective: Blip2Objective,
    optimizers: Sequence[torch.optim.Optimizer],
    share: _WorkerImages,
    config: Blip2TrainingConfig,
    place: tuple[int, int],
    worker: Worker,
) -> dict[str, float]:
    """Go through the worker's images once; return the mean losses over all workers, and the temperature."""
    (epoch, steps), device = place, worker.device
    train, size = config.train, objective.model.config.image_size
    objective.train()
    seed = worker.seed(config.seed, epoch)
    torch.manual_seed(seed)
    totals = torch.zeros(len(LOSSES), dtype=torch.float64, device=device)
    for step, (images, batch) in enumerate(_batches(share, train.batch_size, steps, seed)):
        pixels = normalise(augment(images.to(device), size, config.augment, torch.default_generator))
        set_rate(optimizers, learning_rate(epoch * steps + step, train.epochs * steps, train))
        pairs = Pairs(pixels, *(tensor.to(device) for tensor in batch))
        with products_in(_precision(train, device), device):
            losses = wrapped(pairs)
            loss = sum(losses[name] for name in LOSSES)
        objective.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(objective.parameters(), MAX_GRADIENT_NORM)
        for optimizer in optimizers:
            optimizer.step()
        with torch.no_grad():
            objective.temperature.clamp_(*TEMPERATURE_RANGE)
        totals += torch.stack([losses[name].detach().double() for name in LOSSES])
    means = dict(zip(LOSSES, (mean_over_workers(totals) / steps).tolist(), strict=True))
    return {"loss": sum(means.values())} | means | {"temperature": float(objective.temperature.detach())}


def _batches(share: _WorkerImages, size: int, steps: int, seed: int) -> Iterator[tuple[Tensor, tuple[Tensor, ...]]]:
    """Yield images, and ids, masks and image ids of batches; the next images are read while one is trained on."""
    generator = np.random.default_rng(seed)
    shuffled = generator.permutation(share.images.readable)[: steps * size].tolist()
    rows = torch.tensor([generator.choice(share.rows[position]) for position in shuffled])
    parts = [slice(start, start + size) for start in range(0, steps * size, size)]
    with ThreadPoolExecutor(1) as reader:
        coming = reader.submit(share.images.read, shuffled[parts[0]])
        for number, part in enumerate(parts):
            images = coming.result()
            if number + 1 < len(parts):
                coming = reader.submit(share.images.read, shuffled[parts[number + 1]])
            chosen = rows[part]
            numbers = torch.tensor([share.numbers[position] for position in shuffled[part]])
            yield images, (share.ids[chosen].long(), share.mask[chosen].long(), numbers)


def _precision(config: Blip2TrainConfig, device: torch.device) -> Literal["fp32", "bf16"]:
    return products_here(config.precision, on_gpu=device.type != "cpu")


def _save(objective: Blip2Objective, optimizers: Sequence[torch.optim.Optimizer], directory: Path) -> None:
    named = {
        name.removeprefix("model."): parameter.detach().cpu().contiguous()
        for name, parameter in objective.named_parameters()
        if parameter.requires_grad
    }
    save_file(named, directory / TRAINED_FILE)
    torch.save([optimizer.state_dict() for optimizer in optimizers], directory / OPTIMIZER_FILE)


def _restore(objective: Blip2Objective, optimizers: Sequence[torch.optim.Optimizer], directory: Path) -> None:
    """Load what `_save` wrote."""
    saved = load_file(directory / TRAINED_FILE)
    for name, parameter in objective.named_parameters():
        if parameter.requires_grad:
            parameter.data.copy_(saved[name.removeprefix("model.")])
    states = torch.load(directory / OPTIMIZER_FILE, map_location="cpu", weights_only=True)
    for optimizer, state in zip(optimizers, states, strict=True):
        optimizer.load_state_dict(state)
