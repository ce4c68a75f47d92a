"""Measure BLIP-2 with random weights against the naive way, on the device at hand.

A GPU gets the full ViT-g in bf16, a CPU a tiny model in fp32. Writes `bench_blip2.json` and `bench_blip2.md`.

    python jobs/benchmarks/bench_blip2.py --out bench
"""

import argparse
import datetime
import json
import platform
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import torch
import transformers
from torch import Tensor

from jobs.benchmarks import naive_blip2 as naive
from raypipe.models.attention import cross_modality_attention
from raypipe.models.blip2.config import PRETRAIN, Blip2Sizes, CaptionRules, Precision
from raypipe.models.blip2.model import Blip2
from raypipe.models.blip2.preprocess import crop_resize_normalise

TINY = Blip2Sizes(
    image_size=56, vit_width=64, vit_depth=3, vit_heads=4, num_query=8, hidden=48, layers=4, heads=4, intermediate=96,
    max_position=64, vocab_size=121, embed_dim=24, max_txt_len=16, unk_id=1, cls_id=2, sep_id=3, mask_id=4, bos_id=120,
)  # fmt: skip
# Dense bf16 peaks of the makers' data sheets, FLOP/s, by a part of the device's name.
PEAK_FLOPS = {"H200": 989.4e12, "H100": 989.4e12, "A100": 312e12, "L40S": 362e12, "L4": 121e12}
GREEDY_12 = CaptionRules(num_beams=1, max_length=13, min_length=13)
BEAMS_3 = CaptionRules()
GREEDY = CaptionRules(num_beams=1)
_FRAME_SIZE = (480, 640)
_NUM_FRAMES = 16


def random_weights(config: Blip2Sizes, device: str = "cpu", std: float = 0.02, seed: int = 0) -> dict[str, Tensor]:
    """Return weights of the right names and shapes: normal with `std`, norms around 1."""
    generator = torch.Generator(device).manual_seed(seed)
    weights = {}
    for name, empty in Blip2.empty(config).state_dict().items():
        noise = torch.randn(empty.shape, generator=generator, device=device) * std
        is_norm = name.endswith(".weight") and any(
            part in name.lower() for part in ("layer_norm", "layernorm", "layrnorm")
        )
        weights[name] = noise + 1 if is_norm else noise
    return weights


def flops_per_crop(config: Blip2Sizes) -> dict[str, float]:
    """Return the arithmetic of one crop by part: two operations for each multiplication of a matrix product."""
    S, W, mlp = config.num_vision_tokens, config.vit_width, config.vit_intermediate
    Q, D, ffn, L = config.num_query, config.hidden, config.intermediate, config.max_txt_len
    block = 8 * S * W**2 + 4 * S**2 * W + 4 * S * W * mlp
    vision = config.vit_depth * block + 2 * config.num_patches * W * 3 * config.patch_size**2
    crossing = sum(config.has_cross_attention(layer) for layer in range(config.layers))
    queries = config.layers * (8 * Q * D**2 + 4 * Q**2 * D + 4 * Q * D * ffn)
    queries += crossing * (4 * Q * D**2 + 4 * S * W * D + 4 * Q * S * D)
    step = config.layers * (8 * D**2 + 4 * D * ffn + 4 * (Q + L // 2) * D) + 2 * D**2 + 2 * D * config.vocab_size
    return {
        "vision": float(vision),
        "tokens": float(queries),
        "caption_12": float(12 * step),
        "caption_3_beams": float(3 * (BEAMS_3.max_length - 1) * step),
        "sentence": float(config.layers * (8 * L * D**2 + 4 * L**2 * D + 4 * L * D * ffn)),
    }


def seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Return the median wall time of `work` after one run to warm up."""
    work()
    times = []
    for _ in range(repeats):
        _wait(device)
        start = time.perf_counter()
        work()
        _wait(device)
        times.append(time.perf_counter() - start)
    return float(np.median(times))


def sentence_ids(caption_ids_NL: Tensor, config: Blip2Sizes) -> tuple[Tensor, Tensor]:
    """Return ids and mask of captions as sentences, (N, max_txt_len): [CLS] in place of [DEC].

    Stands in for decoding to words and back, for which random weights have no vocabulary.
    """
    ids = caption_ids_NL[:, : config.max_txt_len].clone()
    ids[:, 0] = config.cls_id
    ids = torch.nn.functional.pad(ids, (0, config.max_txt_len - ids.shape[1]), value=config.pad_id)
    mask = (ids != config.pad_id).long()
    mask[:, 0] = 1
    return ids, mask


def fast_way(model: Blip2, frames: Tensor, offsets: Tensor, rectangles: Tensor, rules: CaptionRules) -> Tensor:
    """Return G of all crops, (N, H_d): crop, encode, caption, embed the caption, attend."""
    pixels = crop_resize_normalise(frames, offsets, rectangles, model.config.image_size)
    encoding = model.encode_images(pixels)
    ids, mask = sentence_ids(model.caption_ids(encoding.prefix, rules), model.config)
    return cross_modality_attention(model.encode_text(ids, mask)[:, 0], encoding.image_tokens)


def naive_way(model: Blip2, frames: Tensor, offsets: Tensor, rectangles: Tensor, rules: CaptionRules) -> Tensor:
    """Return the same, crop by crop, see `naive_blip2`."""
    arrays = frames.cpu().numpy()
    rows = []
    for offset, rectangle in zip(offsets.tolist(), rectangles.tolist(), strict=True):
        pixels = naive.preprocess(arrays[offset], tuple(rectangle), model.config.image_size)
        tokens = naive.image_tokens(model, naive.vision(model, pixels))
        caption = torch.tensor([naive.caption_ids(model, pixels, rules)], device=model.device)
        ids, mask = sentence_ids(caption, model.config)
        rows.append(naive.cross_modality(naive.sentence_vector(model, ids, mask), tokens[0]))
    return torch.stack(rows)


def random_crops(count: int, device: torch.device, seed: int = 0) -> tuple[Tensor, Tensor, Tensor]:
    """Return smooth random frames (T, 480, 640, 3), and offsets and rectangles of figures 60-120 pixels high."""
    generator = torch.Generator().manual_seed(seed)
    coarse = torch.rand((_NUM_FRAMES, 3, 30, 40), generator=generator)
    frames = torch.nn.functional.interpolate(coarse, _FRAME_SIZE, mode="bicubic").clamp(0, 1).mul(255).byte()
    heights = torch.randint(60, 121, (count,), generator=generator)
    x1 = torch.randint(0, _FRAME_SIZE[1] - 60, (count,), generator=generator)
    y1 = torch.randint(0, _FRAME_SIZE[0] - 120, (count,), generator=generator)
    rectangles = torch.stack((x1, y1, x1 + heights // 2, y1 + heights), dim=1)
    offsets = torch.randint(0, _NUM_FRAMES, (count,), generator=generator)
    return frames.permute(0, 2, 3, 1).contiguous().to(device), offsets, rectangles


def measure_batch(model: Blip2, batch: int, repeats: int, peak: float | None) -> dict[str, Any]:
    """Return milliseconds per crop of every part at one batch size, crops/s of the whole, and peak memory."""
    device, config = model.device, model.config
    on_gpu = device.type == "cuda"
    if on_gpu:
        torch.cuda.reset_peak_memory_stats(device)
    frames, offsets, rectangles = random_crops(batch, device)
    pixels = crop_resize_normalise(frames, offsets, rectangles, config.image_size)
    hidden = model.encode_vision(pixels)
    _, prefix = model.encode_queries(hidden)
    ids, mask = sentence_ids(model.caption_ids(prefix, GREEDY_12), config)
    parts: dict[str, Callable[[], object]] = {
        "crop": lambda: crop_resize_normalise(frames, offsets, rectangles, config.image_size),
        "vision": lambda: model.encode_vision(pixels),
        "tokens": lambda: model.encode_queries(hidden),
        "caption_greedy": lambda: model.caption_ids(prefix, GREEDY),
        "caption_3_beams": lambda: model.caption_ids(prefix, BEAMS_3),
        "sentence": lambda: model.encode_text(ids, mask),
    }
    milliseconds = {name: 1e3 * seconds(work, device, repeats) / batch for name, work in parts.items()}
    whole = seconds(lambda: fast_way(model, frames, offsets, rectangles, GREEDY_12), device, repeats)
    flops = flops_per_crop(config)
    used = flops["vision"] / (milliseconds["vision"] / 1e3)
    return {
        "batch": batch,
        "milliseconds_per_crop": milliseconds,
        "crops_per_second": batch / whole,
        "vision_flops_per_second": used,
        "vision_utilisation": used / peak if peak else None,
        "peak_bytes": torch.cuda.max_memory_allocated(device) if on_gpu else None,
    }


def compare_with_naive(model: Blip2, count: int, rules: CaptionRules) -> dict[str, Any]:
    """Return crops/s of both ways over the same crops in fp32, their ratio, and the largest difference of G."""
    frames, offsets, rectangles = random_crops(count, model.device)
    fast_way(model, frames, offsets[:8], rectangles[:8], rules)
    naive_way(model, frames, offsets[:2], rectangles[:2], rules)
    times, results = [], []
    for way in (fast_way, naive_way):
        _wait(model.device)
        start = time.perf_counter()
        results.append(way(model, frames, offsets, rectangles, rules))
        _wait(model.device)
        times.append(time.perf_counter() - start)
    return {
        "crops": count,
        "rules": asdict(rules),
        "fast_crops_per_second": count / times[0],
        "naive_crops_per_second": count / times[1],
        "ratio": times[1] / times[0],
        "largest_difference_of_G": float((results[0] - results[1]).abs().max()),
    }


def cosine_of_precisions(weights: dict[str, Tensor], config: Blip2Sizes, device: torch.device) -> float:
    """Return the smallest cosine between G in bf16 and in fp32 over 64 crops, given the same sentences."""
    frames, offsets, rectangles = random_crops(64, device)
    pixels = crop_resize_normalise(frames, offsets, rectangles, config.image_size)
    reference = Blip2.from_weights(config, dict(weights), "random").to(device)
    encoding = reference.encode_images(pixels)
    ids, mask = sentence_ids(reference.caption_ids(encoding.prefix, GREEDY_12), config)
    exact = cross_modality_attention(reference.encode_text(ids, mask)[:, 0], encoding.image_tokens)
    rounded = reference.set_precision("bf16")
    tokens = rounded.encode_images(pixels).image_tokens
    rough = cross_modality_attention(rounded.encode_text(ids, mask)[:, 0], tokens)
    return float(torch.nn.functional.cosine_similarity(exact, rough).min())


def markdown(result: dict[str, Any]) -> str:
    """Return the result as a Markdown section."""
    lines = [
        f"Device: {result['device']}; {result['model']} model, {result['precision']}"
        f"{', compiled' if result['compiled'] else ''}; {result['date']}; "
        + ", ".join(f"{name} {version}" for name, version in result["versions"].items()),
        "",
        "| batch | crops/s | crop | vision | tokens | caption, greedy | caption, 3 beams | sentence | ViT utilisation "
        "| peak memory |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in result["batches"]:
        cells = [f"{value:.3f}" for value in row["milliseconds_per_crop"].values()]
        share, peak = row["vision_utilisation"], row["peak_bytes"]
        cells += [
            f"{share:.1%}" if share else f"{row['vision_flops_per_second'] / 1e9:.1f} GFLOP/s",
            f"{peak / 2**30:.1f} GiB" if peak else "not measured",
        ]
        lines.append(f"| {row['batch']} | {row['crops_per_second']:.0f} | {' | '.join(cells)} |")
    lines += [
        "",
        "Parts in ms per crop; crops/s is crop + image tokens + greedy caption of 12 tokens + sentence + Eq. (1).",
    ]
    for naive_result in result["naive"]:
        rules = naive_result["rules"]
        lines.append(
            f"Against the naive way ({naive_result['crops']} crops, {rules['num_beams']} beam(s), lengths "
            f"{rules['min_length']}-{rules['max_length']}): {naive_result['fast_crops_per_second']:.1f} and "
            f"{naive_result['naive_crops_per_second']:.2f} crops/s, ratio {naive_result['ratio']:.1f}; largest "
            f"difference of G {naive_result['largest_difference_of_G']:.1e}."
        )
    lines.append(f"Smallest cosine of G in bf16 with G in fp32, 64 random crops: {result['cosine_bf16_fp32']:.6f}.")
    return "\n".join(lines) + "\n"


def run(args: argparse.Namespace) -> dict[str, Any]:
    """Measure everything and return the result."""
    on_gpu = torch.cuda.is_available()
    device = torch.device("cuda" if on_gpu else "cpu")
    if args.threads:
        torch.set_num_threads(args.threads)
    full = args.model == "full" or (args.model == "auto" and on_gpu)
    config = PRETRAIN if full else TINY
    precision: Precision = "bf16" if on_gpu else "fp32"
    name = torch.cuda.get_device_name(device) if on_gpu else f"CPU, {torch.get_num_threads()} thread(s)"
    peak = next((flops for part, flops in PEAK_FLOPS.items() if part in name.replace("-", " ").split()), None)
    weights = random_weights(config, device.type, 0.02 if full else 0.2)
    model = Blip2.from_weights(config, dict(weights), "random")
    crops = args.naive_crops or (16 if full else 256)
    comparison = [compare_with_naive(model, crops, rules) for rules in (GREEDY, BEAMS_3)]
    cosine = cosine_of_precisions(weights, config, device)
    del model
    model = Blip2.from_weights(config, weights, "random").set_precision(precision)
    if args.compile:
        model.compile_images()
    return {
        "device": name,
        "model": "full ViT-g" if full else "tiny",
        "precision": precision,
        "compiled": args.compile,
        "date": datetime.datetime.now(datetime.UTC).date().isoformat(),
        "versions": {
            "Python": platform.python_version(),
            "torch": torch.__version__,
            "transformers": transformers.__version__,
            "Pillow": PIL.__version__,
        },
        "config": asdict(config),
        "flops_per_crop": flops_per_crop(config),
        "naive": comparison,
        "cosine_bf16_fp32": cosine,
        "batches": [measure_batch(model, batch, args.repeats, peak) for batch in args.batches],
    }


def main(argv: list[str] | None = None) -> int:
    """Parse the command line, measure, print and write the results."""
    parser = argparse.ArgumentParser(description="Benchmark of BLIP-2 against the naive way.")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where bench_blip2.json and .md go")
    parser.add_argument("--model", choices=("auto", "full", "tiny"), default="auto", help="auto: full on a GPU")
    parser.add_argument("--batches", type=int, nargs="+", default=[64, 128, 256, 512, 1024], metavar="N")
    parser.add_argument("--naive-crops", type=int, metavar="N", help="crops of the comparison (256; full size 16)")
    parser.add_argument("--repeats", type=int, default=5, metavar="N", help="runs of which the median is taken")
    parser.add_argument("--threads", type=int, metavar="N", help="CPU threads (default: torch's)")
    parser.add_argument("--compile", action="store_true", help="compile the image pass")
    args = parser.parse_args(argv)
    result = run(args)
    args.out.mkdir(parents=True, exist_ok=True)
    (args.out / "bench_blip2.json").write_text(json.dumps(result, indent=1) + "\n", encoding="utf-8")
    table = markdown(result)
    (args.out / "bench_blip2.md").write_text(table, encoding="utf-8")
    print(table)
    return 0


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


if __name__ == "__main__":
    sys.exit(main())
