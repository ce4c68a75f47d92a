"""Recompute recorded outputs of a BLIP-2 model and compare: the proof that converted weights are equal to LAVIS."""

import re
import zipfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from raypipe.errors import UserError
from raypipe.models.attention import cross_modality_attention, cross_modality_weights
from raypipe.models.blip2.config import Blip2Sizes, CaptionRules
from raypipe.models.blip2.model import Blip2

# Largest absolute differences from LAVIS that `verify` accepts in fp32; captions must be the same.
TOLERANCES = {
    "vision_hidden": 1e-5,
    "image_tokens": 1e-5,
    "text_hidden": 1e-5,
    "text_cls": 1e-5,
    "cos": 1e-5,
    "cmam": 1e-5,
    "lm_logits": 1e-4,
}
_GENERATED = re.compile(r"gen_b(\d+)_max(\d+)_min(\d+)")


def verify(folder: Path, reference: Path, device: str = "cpu") -> dict[str, Any]:
    """Recompute the outputs recorded in an .npz and return the largest absolute difference of each.

    `reference` holds inputs (images, text_ids, text_mask, lm_input_ids) and any of the outputs in `TOLERANCES`,
    and `gen_b<beams>_max<length>_min<length>`. LM logits are compared where the mask is 1, captions up to their
    [SEP]; a caption case counts the captions that differ. Returns {"passed", "outputs": {name:
    {"largest_difference", "tolerance", "passed"}}}; a difference that is not finite is None and has not passed.
    Raises UserError naming what is missing or does not fit the model.
    """
    arrays = _read_reference(reference)
    model = Blip2.load(folder, device)
    outputs = {}
    for name, difference in _differences(model, arrays, reference):
        tolerance = TOLERANCES.get(name, 0.0)
        outputs[name] = {
            "largest_difference": difference if np.isfinite(difference) else None,
            "tolerance": tolerance,
            "passed": bool(difference <= tolerance),
        }
    if not outputs:
        raise UserError(f"{reference}: holds no recorded output, expected any of {', '.join(TOLERANCES)}, gen_b*")
    return {"passed": all(output["passed"] for output in outputs.values()), "outputs": outputs}


def _read_reference(path: Path) -> dict[str, NDArray[Any]]:
    try:
        with np.load(path, allow_pickle=False) as archive:
            return {name: archive[name] for name in archive.files}
    except (OSError, ValueError, EOFError, TypeError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: cannot be read as an .npz of arrays ({error})") from error


def _differences(model: Blip2, arrays: dict[str, NDArray[Any]], path: Path) -> Iterator[tuple[str, float]]:
    """Yield (output, largest difference) for every recorded output, in the order of the computation."""
    config = model.config
    images = _input(arrays, "images", path)
    if len(images) == 0 or images.shape[1:] != (3, config.image_size, config.image_size):
        raise UserError(f"{path}: images are {tuple(images.shape)}, the model's are 3 x {config.image_size} squared")
    encoding = model.encode_images(images.float())
    yield from _compare(arrays, path, vision_hidden=encoding.vision_hidden, image_tokens=encoding.image_tokens)
    if arrays.keys() & {"text_hidden", "text_cls", "cos", "cmam"}:
        text = model.encode_text(*_text(arrays, "text_ids", len(images), path, config))
        yield from _compare(arrays, path, text_hidden=text, text_cls=text[:, 0])
        if arrays.keys() & {"cos", "cmam"}:
            pair = (text[:, 0], encoding.image_tokens)
            yield from _compare(arrays, path, cos=cross_modality_weights(*pair), cmam=cross_modality_attention(*pair))
    if "lm_logits" in arrays:
        ids, mask = _text(arrays, "lm_input_ids", len(images), path, config)
        logits = model.lm_logits(ids, mask, encoding.prefix)
        yield from _compare(arrays, path, mask.bool(), lm_logits=logits)
    for name in sorted(arrays):
        if matched := _GENERATED.fullmatch(name):
            beams, longest, shortest = (int(number) for number in matched.groups())
            try:
                ids = model.caption_ids(encoding.prefix, CaptionRules(beams, longest, shortest))
            except ValueError as error:
                raise UserError(f"{path}: {name} cannot be generated: {error}") from error
            recorded = torch.from_numpy(arrays[name])
            if len(recorded) != len(ids):
                raise UserError(f"{path}: {name} has {len(recorded)} rows for {len(ids)} images")
            ours, theirs = (_up_to_end(rows, config.sep_id) for rows in (ids.cpu(), recorded))
            yield name, float(sum(a != b for a, b in zip(ours, theirs, strict=True)))


def _compare(
    arrays: dict[str, NDArray[Any]], path: Path, mask: Tensor | None = None, **outputs: Tensor
) -> Iterator[tuple[str, float]]:
    for name, output in outputs.items():
        if name not in arrays:
            continue
        recorded = torch.from_numpy(arrays[name])
        if recorded.shape != output.shape:
            raise UserError(f"{path}: {name} is {tuple(recorded.shape)}, the model gives {tuple(output.shape)}")
        difference = (output.cpu().double() - recorded.double()).abs()
        yield name, float((difference if mask is None else difference[mask]).max())


def _input(arrays: dict[str, NDArray[Any]], name: str, path: Path) -> Tensor:
    if name not in arrays:
        raise UserError(f"{path}: holds no {name}, from which the outputs are recomputed")
    return torch.from_numpy(arrays[name])


def _text(
    arrays: dict[str, NDArray[Any]], name: str, count: int, path: Path, config: Blip2Sizes
) -> tuple[Tensor, Tensor]:
    """Return token ids and their mask, both (count, L)."""
    ids, mask = _input(arrays, name, path), _input(arrays, "text_mask", path)
    if ids.ndim != 2 or len(ids) != count or ids.shape != mask.shape or ids.is_floating_point():
        raise UserError(
            f"{path}: {name} {tuple(ids.shape)} and text_mask {tuple(mask.shape)} are no token ids of {count} images"
        )
    if ids.min() < 0 or ids.max() >= config.vocab_size or ids.shape[1] > config.max_position:
        raise UserError(
            f"{path}: {name} {tuple(ids.shape)} does not fit a vocabulary of {config.vocab_size} and "
            f"{config.max_position} positions"
        )
    return ids, mask


def _up_to_end(ids: Tensor, end: int) -> list[list[int]]:
    """Return each row up to its first [SEP]: files differ in how wide they pad."""
    rows = ids.tolist()
    return [row[: row.index(end) + 1] if end in row else row for row in rows]
