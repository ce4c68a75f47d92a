"""The BLIP-2 weights on disk: convert what others publish, and check the result.

A converted folder holds model.safetensors, config.json, vocab.txt (where a vocabulary was given) and
manifest.json with the size and sha256 of every file, of the sources too. `Blip2.load` reads it.
"""

import hashlib
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors.torch import save_file
from torch import Tensor

from raypipe.errors import UserError
from raypipe.models.attention import cross_modality_attention
from raypipe.models.blip2.config import CLIP_VIT_L, PRETRAIN, PRETRAIN_VITL, Blip2Sizes, CaptionRules, read_config
from raypipe.models.blip2.keys import vit_kind
from raypipe.models.blip2.model import CONFIG_FILE, NO_CAPTIONS, VOCAB_FILE, WEIGHTS_FILE, Blip2
from raypipe.models.blip2.preprocess import crop_resize_normalise
from raypipe.models.blip2.tokenizer import SentenceTokenizer, read_vocab
from raypipe.models.blip2.weights import (
    Translation,
    huggingface_files,
    huggingface_vocab,
    prefix_vit,
    read_huggingface,
    read_tensors,
    translate_lavis,
)

MANIFEST_FILE = "manifest.json"
# Where a folder is written, inside it, before it takes the place of an earlier one.
_PARTIAL = ".partial"


def convert_lavis(
    qformer: Path, out: Path, *, vit: Path | None = None, config: Path | None = None, vocab: Path | None = None
) -> list[str]:
    """Convert LAVIS's blip2_pretrained file and its ViT file, or one LAVIS-format file with the ViT inside.

    Without `config` the sizes are those of LAVIS's `pretrain` or `pretrain_vitL`, by the kind of ViT; a JSON
    beside the checkpoint with its name is used where there is one, and so is a vocab.txt. Returns lines that say
    what was done. Raises UserError naming file and keys.
    """
    notes = []
    state = read_tensors(qformer)
    vit_state = prefix_vit(read_tensors(vit)) if vit else None
    kind = vit_kind(state if vit_state is None else vit_state)
    if kind is None:
        place = f"{vit}: holds" if vit else f"{qformer}: holds"
        raise UserError(
            f"{place} no ViT of BLIP-2; LAVIS publishes it apart: give --vit eva_vit_g.pth or clip_vit_L.pth"
        )
    config = config or _beside(qformer, ".json")
    if config:
        sizes, ignored = read_config(config)
        notes.append(f"sizes from {config}" + (f"; not used: {', '.join(ignored)}" if ignored else ""))
    else:
        sizes = PRETRAIN_VITL if kind == CLIP_VIT_L else PRETRAIN
        notes.append(f"sizes of LAVIS's {'pretrain_vitL' if kind == CLIP_VIT_L else 'pretrain'}")
    if sizes.vit != kind:
        raise UserError(f"{vit or qformer}: holds a {kind} ViT, the config says {sizes.vit}")
    where = f"{qformer} and {vit}" if vit else str(qformer)
    translation = translate_lavis(state, replace(sizes, can_caption=True), where, vit_state)
    words, word_note = _words(vocab, qformer.parent / VOCAB_FILE, sizes)
    return write_folder(out, translation, words, [path for path in (qformer, vit) if path], [*notes, word_note])


def convert_huggingface(folder: Path, out: Path, *, vocab: Path | None = None) -> list[str]:
    """Convert a Hugging Face `blip2-itm-*` folder, which cannot caption. Returns lines that say what was done.

    Raises UserError naming file and keys.
    """
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder")
    translation = read_huggingface(folder)
    words = None if vocab or (folder / VOCAB_FILE).exists() else huggingface_vocab(folder)
    # Word pieces that Hugging Face added behind the vocabulary start with [DEC].
    words, note = (
        (words[: translation.config.bos_id], "vocabulary from tokenizer.json")
        if words
        else _words(vocab, folder / VOCAB_FILE, translation.config)
    )
    return write_folder(out, translation, words, huggingface_files(folder), [note, NO_CAPTIONS])


def check(folder: Path) -> list[str]:
    """Compare a converted folder with its manifest, load it and caption one generated picture.

    Returns lines to print. Raises UserError naming the file that is missing or changed.
    """
    manifest = _read_manifest(folder / MANIFEST_FILE)
    for name, recorded in manifest["files"].items():
        path = folder / name
        if not path.is_file():
            raise UserError(f"{path}: is missing; {MANIFEST_FILE} lists it")
        if describe_file(path) != recorded:
            raise UserError(f"{path}: is not the file that was converted: size or sha256 differ from {MANIFEST_FILE}")
    model = Blip2.load(folder)
    parameters = sum(parameter.numel() for parameter in model.parameters())
    encoding = model.encode_images(_generated_picture(model.config.image_size))
    tokens = encoding.image_tokens
    lines = [
        f"files as in {MANIFEST_FILE}: {', '.join(manifest['files'])}",
        f"{model.config.vit}, {parameters / 1e6:.1f} million parameters, image tokens {tuple(tokens.shape[1:])}, "
        f"mean length {tokens.norm(dim=-1).mean():.3f}",
    ]
    if model.lm_head is None:
        return [*lines, NO_CAPTIONS]
    rules = CaptionRules(max_length=min(CaptionRules().max_length, model.config.max_position))
    if model.tokenizer is None:
        ids = model.caption_ids(encoding.prefix, rules)[0].tolist()
        return [*lines, f"caption of a generated picture, as ids for want of a vocab.txt: {ids}"]
    caption = model.caption(encoding.prefix, rules)[0]
    pattern = cross_modality_attention(model.embed_sentences([caption]), tokens)
    return [*lines, f"caption of a generated picture: {caption!r}", f"its G has length {pattern.norm():.3f}"]


def describe_file(path: Path) -> dict[str, Any]:
    """Return the size in bytes and the sha256 of a file."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {"size": path.stat().st_size, "sha256": digest}


def write_folder(
    out: Path, translation: Translation, vocab: list[str] | None, sources: list[Path], notes: list[str]
) -> list[str]:
    """Write a folder that `Blip2.load` reads, its manifest last, and return `notes` and lines that say what was done.

    Raises UserError where `out` holds something else.
    """
    partial = out / _PARTIAL
    # A folder with other things in it is not ours to write into.
    names_there = {path.name for path in out.iterdir()} - {_PARTIAL} if out.is_dir() else set()
    if (out.exists() and not out.is_dir()) or (names_there and MANIFEST_FILE not in names_there):
        raise UserError(f"{out}: is there already and is not a folder that was converted before; choose another --out")
    partial.mkdir(parents=True, exist_ok=True)
    # Copied: a pickle may let several names share memory or transpose it, which safetensors cannot.
    weights = {
        name: tensor.clone(memory_format=torch.contiguous_format) for name, tensor in translation.weights.items()
    }
    save_file(weights, partial / WEIGHTS_FILE)
    (partial / CONFIG_FILE).write_text(translation.config.to_json(), encoding="utf-8")
    names = [WEIGHTS_FILE, CONFIG_FILE]
    if vocab is not None:
        words = "".join(f"{word}\n" for word in vocab)
        (partial / VOCAB_FILE).write_text(words, encoding="utf-8", newline="\n")
        names.append(VOCAB_FILE)
    manifest = {
        "files": {name: describe_file(partial / name) for name in names},
        "sources": {path.name: describe_file(path) for path in sources},
        "dropped_keys": translation.dropped,
    }
    (partial / MANIFEST_FILE).write_text(json.dumps(manifest, indent=1) + "\n", encoding="utf-8")
    # Nothing of an earlier conversion is touched before all of this one is on disk.
    (out / VOCAB_FILE).unlink(missing_ok=True)
    for name in (*names, MANIFEST_FILE):
        (partial / name).replace(out / name)
    shutil.rmtree(partial)
    used = f"{len(weights)} weights, left out on purpose: {', '.join(translation.dropped) or 'nothing'}"
    return [*notes, used, f"wrote {out}: {', '.join([*names, MANIFEST_FILE])}"]


def _words(vocab: Path | None, beside: Path, config: Blip2Sizes) -> tuple[list[str] | None, str]:
    """Return the vocabulary that belongs to the config, and a line that says which."""
    path = vocab or beside
    if vocab is None and not beside.is_file():
        return None, "no vocab.txt: captions come as ids only; give --vocab (bert-base-uncased's for LAVIS's weights)"
    words = read_vocab(path)
    try:
        SentenceTokenizer(words, config)
    except ValueError as error:
        if vocab:
            raise UserError(f"{path}: {error}") from error
        return None, f"left {path} aside: {error}"
    return words, f"vocabulary from {path}"


def _beside(checkpoint: Path, suffix: str) -> Path | None:
    stem = checkpoint.name.removesuffix(checkpoint.suffix).removesuffix(".lavis")
    path = checkpoint.with_name(stem + suffix)
    return path if path.is_file() else None


def _read_manifest(path: Path) -> dict[str, Any]:
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise UserError(f"{path}: cannot be read; is this a folder that `raypipe weights convert` wrote?") from error
    except ValueError as error:
        raise UserError(f"{path}: is no JSON ({error})") from error
    if not isinstance(manifest, dict) or not isinstance(manifest.get("files"), dict):
        raise UserError(f"{path}: is no manifest of converted weights")
    return manifest


def _generated_picture(size: int) -> Tensor:
    """Return one picture of a dark figure before a wall on a street, as pixels of the ViT, (1, 3, size, size)."""
    picture = np.empty((240, 320, 3), dtype=np.uint8)
    picture[:140], picture[140:] = (150, 170, 190), (110, 105, 100)
    picture[60:190, 140:180] = (40, 40, 70)
    picture[35:62, 147:173] = (200, 160, 130)
    frames = torch.from_numpy(picture)[None]
    return crop_resize_normalise(frames, torch.tensor([0]), torch.tensor([[0, 0, 320, 240]]), size)
