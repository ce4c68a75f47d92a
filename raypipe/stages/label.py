"""Whether sentences hold of pictures, by asking a vision-language model (Eq. 6, Section 3.4: labels for the SMM)."""

from pathlib import Path
from typing import Any, Literal

import numpy as np
import pyarrow as pa
from pydantic import BaseModel, ConfigDict, Field, field_validator

from raypipe.config_file import local_folder
from raypipe.datasets.vqa_labels import LABEL, LABELS_FOLDER, serialise_labels
from raypipe.errors import UserError
from raypipe.models.vlm import Image, Precision, VisionLanguageModel
from raypipe.ops.vlm_answers import parse_yes_no
from raypipe.storage import RunFolder
from raypipe.training_images import store_failure, try_picture

REQUEST = "{question} Answer yes or no."
# A yes or no stands at the start; models that think before they answer need more.
MAX_NEW_TOKENS = 64
# Pictures of their own size that are in memory at once.
PICTURES_AT_ONCE = 32


class VqaModelConfig(BaseModel):
    """The model that is asked."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)

    folder: str = Field(min_length=1, description="folder of a vision-language model in transformers' format")
    precision: Precision = Field("fp32", description="fp32, bf16 or fp16")
    batch_size: int = Field(8, ge=1, description="questions at once on a GPU; halved where memory runs out")
    device: Literal["auto", "cpu", "cuda"] = Field("auto", description="auto is the GPU where there is one")

    @field_validator("folder")
    @classmethod
    def _is_on_this_machine(cls, path: str) -> str:
        return local_folder(path)


class AnswerQuestions:
    """Asks about every pair of a part and commits the answers as one file of `vqa_labels.LABEL` rows.

    A row has `part`, `num_parts`, and for each pair its `image_ids`, `paths` and `captions`, those of one image
    together. An answer that says neither yes nor no is kept as unknown. An image that cannot be read has no labels,
    and is named in what returns. Raises UserError, when it is made, for a model that cannot be loaded, and when it is
    called, for an image that its store fails to give.
    """

    def __init__(
        self, config: VqaModelConfig, rule: Literal["repaired", "literal"], folder: RunFolder, config_hash: str
    ) -> None:
        import torch

        from raypipe.models.questions import Questioner

        device = config.device if config.device != "auto" else "cuda" if torch.cuda.is_available() else "cpu"
        self.model = VisionLanguageModel.load(Path(config.folder), device, config.precision, config.batch_size)
        self.questioner = Questioner(rule)
        self.folder, self.config_hash = folder, config_hash

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return how many labels were written, how many of them yes and unread, and the images not readable."""
        labels: list[dict[str, Any]] = []
        unreadable: dict[str, str] = {}
        paths = list(dict.fromkeys(row["paths"]))
        for start in range(0, len(paths), PICTURES_AT_ONCE):
            outcomes = {path: self._look(path) for path in paths[start : start + PICTURES_AT_ONCE]}
            unreadable |= {path: outcome for path, outcome in outcomes.items() if isinstance(outcome, str)}
            pictures: dict[str, Image] = {
                p: picture for p, picture in outcomes.items() if isinstance(picture, np.ndarray)
            }
            labels += self._answers(row, pictures)
        table = pa.Table.from_pylist(labels, schema=LABEL)
        content = serialise_labels(table, self.config_hash, int(row["part"]), int(row["num_parts"]))
        self.folder.commit(part_path(self.folder, int(row["part"])), content)
        answers = [label["answer"] for label in labels]
        return {
            "num_labels": len(labels),
            "num_yes": answers.count(True),
            "num_unread": answers.count(None),
            "unreadable_paths": list(unreadable),
            "unreadable_reasons": list(unreadable.values()),
        }

    def _look(self, path: str) -> Image | str:
        """Return a picture that the model can be shown, or the reason why there is none."""
        picture = try_picture(path)
        failure = store_failure({path: picture}) if isinstance(picture, str) else None
        if failure:
            raise UserError(failure)
        return picture if isinstance(picture, str) else self.model.why_unseeable(picture) or picture

    def _answers(self, row: dict[str, Any], pictures: dict[str, Image]) -> list[dict[str, Any]]:
        pairs = [
            (image_id, path, caption)
            for image_id, path, caption in zip(row["image_ids"], row["paths"], row["captions"], strict=True)
            if path in pictures
        ]
        questions = [self.questioner(caption) for _, _, caption in pairs]
        requests = [REQUEST.format(question=question) for question in questions]
        said = self.model.ask([pictures[path] for _, path, _ in pairs], requests, MAX_NEW_TOKENS)
        return [
            {
                "image_id": image_id,
                "caption": caption,
                "question": question,
                "answer": parse_yes_no(answer),
                "raw_answer": answer,
            }
            for (image_id, _, caption), question, answer in zip(pairs, questions, said, strict=True)
        ]


def part_path(folder: RunFolder, part: int) -> str:
    """Return where the labels of a part are committed."""
    return folder.path(LABELS_FOLDER, f"{part:05d}.parquet")
