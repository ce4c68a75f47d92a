"""From tokens and a sentence to the spatial features of an object, Eq. (1) and the single modalities of Table 3."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from raypipe.models.attention import cross_modality_attention, image_mean
from raypipe.models.device import resolve_device
from raypipe.models.halving_batches import Batches
from raypipe.schema import ENCODED, SPATIAL, SPOKEN, check_row

# Objects at once: 100 MB of tokens in float32.
BATCH_OBJECTS = 1024


class AttendFeatures:
    """Adds the spatial features `kept` of every object, float16 (N, width), and lets go of the tokens.

    `cross` is G, `image` the mean of the image tokens, `text` the sentence's vector; `backbone` was computed where the
    ViT ran. `cross` and `text` need a sentence. Raises FloatingPointError where a feature exceeds float16,
    GpuMemoryError where one object does not fit into the GPU's memory.
    """

    def __init__(self, kept: Sequence[str], device: str = "auto") -> None:
        self.kept = tuple(name for name in SPATIAL if name in kept)
        self.device = resolve_device(device)
        self.batches = Batches("attend", "objects", BATCH_OBJECTS)

    @torch.no_grad()
    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return the row with its spatial features, without `tokens` and `sentence_cls`."""
        needs_text = bool({"cross", "text"} & set(self.kept))
        check_row(row, SPOKEN if needs_text else ENCODED, "attend")
        tokens = row["tokens"]
        features: dict[str, Any] = {"text": row["sentence_cls"]} if "text" in self.kept else {}
        for name in {"cross", "image"} & set(self.kept):
            features[name] = np.empty((len(tokens), tokens.shape[2]), np.float16)

        def attend(batch: slice) -> None:
            part = torch.from_numpy(tokens[batch]).to(self.device).float()
            if "image" in features:
                features["image"][batch] = image_mean(part).half().cpu().numpy()
            if "cross" in features:
                text = torch.from_numpy(row["sentence_cls"][batch]).to(self.device).float()
                features["cross"][batch] = cross_modality_attention(text, part).half().cpu().numpy()

        for _ in self.batches.run(len(tokens), attend):
            pass
        for name, values in features.items():
            if not np.isfinite(values).all():
                raise FloatingPointError(f"attend: {name!r} exceeds what float16 holds")
        return {name: value for name, value in row.items() if name not in ("tokens", "sentence_cls")} | features
