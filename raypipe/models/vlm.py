"""A vision-language model (Qwen-VL and its like) that answers questions about pictures.

Through transformers' image-text-to-text interface, from a folder on this machine: nothing is downloaded, no code of
the model's repository is run, and weights are read from safetensors only.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors import SafetensorError

from raypipe.errors import UserError
from raypipe.models.halving_batches import Batches
from raypipe.text import one_line

Precision = Literal["fp32", "bf16", "fp16"]
DTYPES: dict[Precision, torch.dtype] = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}
Image = NDArray[np.uint8]


def require_vlm(folder: Path, key: str) -> None:
    """Raise UserError, naming the config key, where a folder's config is not of an image-text-to-text model."""
    from transformers.models.auto.modeling_auto import MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES

    try:
        model_type = json.loads((folder / "config.json").read_text(encoding="utf-8")).get("model_type")
    except (OSError, ValueError, AttributeError) as error:
        raise UserError(f"{key}: {folder / 'config.json'} cannot be read ({one_line(error)})") from error
    if model_type not in MODEL_FOR_IMAGE_TEXT_TO_TEXT_MAPPING_NAMES:
        raise UserError(f"{key}: {folder} holds a model of type {model_type!r}, which does not answer about pictures")


class VisionLanguageModel:
    """A model with its processor. `model_type` is transformers' name of the architecture, as "qwen2_5_vl"."""

    def __init__(self, model: Any, processor: Any, batch_size: int) -> None:
        self.model = model
        self.processor = processor
        self.batches = Batches("vlm", "questions", batch_size)
        self.model_type: str = model.config.model_type

    @classmethod
    def load(
        cls, folder: Path, device: str | torch.device = "cpu", precision: Precision = "fp32", batch_size: int = 8
    ) -> Self:
        """Load a folder as `huggingface-cli download` or `save_pretrained` writes it.

        `batch_size` questions go through a GPU at once; on a CPU, where that gains nothing, they go one by one, so that
        an answer cannot depend on its neighbours. Raises UserError where the folder is no such model.
        """
        # Here, because their seconds of import would be paid by every process that only reads a config.
        from transformers import AutoModelForImageTextToText, AutoProcessor, GenerationConfig
        from transformers.utils import logging as transformers_logging

        if not (folder / "config.json").is_file():
            raise UserError(
                f"{folder}: no model here (config.json is missing); download one, such as Qwen2.5-VL, first"
            )
        transformers_logging.disable_progress_bar()
        local: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        try:
            processor = AutoProcessor.from_pretrained(folder, **local)
            model = AutoModelForImageTextToText.from_pretrained(
                folder, dtype=DTYPES[precision], use_safetensors=True, **local
            )
        except (OSError, ValueError, KeyError, ImportError, RuntimeError, SafetensorError) as error:
            reason = one_line(error)[:300]
            raise UserError(
                f"{folder}: transformers cannot load it as an image-text-to-text model: {reason}"
            ) from error
        if getattr(processor, "image_processor", None) is None or not getattr(processor, "chat_template", None):
            raise UserError(
                f"{folder}: has no image processor or no chat template; it is no model that answers questions"
            )
        tokenizer = processor.tokenizer
        # Answers start where the question ends, so the shorter questions of a batch are filled up in front.
        tokenizer.padding_side = "left"
        # In place of the model's own, which samples and penalises repetition: digits of boxes repeat.
        ends = model.generation_config.eos_token_id
        model.generation_config = GenerationConfig(
            do_sample=False,
            eos_token_id=tokenizer.eos_token_id if ends is None else ends,
            pad_token_id=tokenizer.pad_token_id,
        )
        device = torch.device(device)
        return cls(model.to(device).eval(), processor, 1 if device.type == "cpu" else batch_size)

    def ask(self, images: Sequence[Image], questions: Sequence[str], max_new_tokens: int) -> list[str]:
        """Return the answer to each question about the image beside it, uint8 RGB of shape (H, W, 3).

        Greedy, without penalties for repetition: the same question gets the same answer. Where memory runs out, the
        batch is halved for good and the work goes on. Raises GpuMemoryError where a single question does not fit.
        """

        def answer(batch: slice) -> list[str]:
            return self._answer(images[batch], questions[batch], max_new_tokens)

        return [text for _, texts in self.batches.run(len(questions), answer) for text in texts]

    def input_size(self, image: Image) -> tuple[int, int]:
        """Return (width, height) of what the model is shown for an image, to which its pixel coordinates refer.

        Raises UserError for models whose processor does not say (it gives no `image_grid_thw`, as Qwen's do).
        """
        shown = self.processor.image_processor(images=[image], return_tensors="pt")
        if "image_grid_thw" not in shown:
            raise UserError(
                f"{self.model_type}: its processor does not tell how it scales pictures; pixels mean nothing"
            )
        _, rows, columns = shown["image_grid_thw"][0].tolist()
        patch = int(self.processor.image_processor.patch_size)
        return columns * patch, rows * patch

    def why_unseeable(self, image: Image) -> str | None:
        """Return why the model's processor refuses an image, as Qwen's do one that is 200 times as long as wide."""
        try:
            self.processor.image_processor(images=[image], return_tensors="pt")
        except ValueError as error:
            return one_line(error)
        return None

    @torch.inference_mode()
    def _answer(self, images: Sequence[Image], questions: Sequence[str], max_new_tokens: int) -> list[str]:
        prompts = [
            self.processor.apply_chat_template(
                [{"role": "user", "content": [{"type": "image"}, {"type": "text", "text": question}]}],
                add_generation_prompt=True,
                tokenize=False,
            )
            for question in questions
        ]
        inputs = self.processor(
            text=prompts, images=[[image] for image in images], padding=True, return_tensors="pt"
        ).to(self.model.device, self.model.dtype)
        generated = self.model.generate(**inputs, max_new_tokens=max_new_tokens)
        answers: list[str] = self.processor.tokenizer.batch_decode(
            generated[:, inputs["input_ids"].shape[1] :], skip_special_tokens=True
        )
        return answers
