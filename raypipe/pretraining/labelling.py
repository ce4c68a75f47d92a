"""Labels for the state machine from a vision-language model: a Ray Data job over captioned images, resumable (Eq. 6).

Every image is asked about its own captions and about those of other images. The job is cut into parts of images; the
labels of a part are one file, which is there whole or not at all, and a new start asks only what is missing.
"""

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, Self

import numpy as np
import pyarrow as pa
import ray
from pydantic import Field, field_validator, model_validator

from raypipe.config.base import Config
from raypipe.config.file import absolute, digest, local_folder
from raypipe.config.runtime import RayConfig
from raypipe.distributed.cluster import connect
from raypipe.errors import UserError
from raypipe.extraction.pools import plan_pools
from raypipe.language.vlm_answers import parse_yes_no
from raypipe.models.state_machine.questioner import Questioner
from raypipe.models.vlm import Image, Precision, VisionLanguageModel, require_vlm
from raypipe.monitoring.progress import progress
from raypipe.pretraining.coco_captions import CaptionSet, read_captions
from raypipe.pretraining.images import store_failure, try_picture
from raypipe.pretraining.recipe import load_config
from raypipe.pretraining.vqa_labels import LABEL, LABELS_FOLDER, serialise_labels
from raypipe.run_folder.folder import DeadLetter, RunFolder, new_session
from raypipe.run_folder.record import differences
from raypipe.weights.identity import fingerprint, require_files

REQUEST = "{question} Answer yes or no."


# A yes or no stands at the start; models that think before they answer need more.
MAX_NEW_TOKENS = 64


# Pictures of their own size that are in memory at once.
PICTURES_AT_ONCE = 32


class VqaModelConfig(Config):
    """The model that is asked."""

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

        from raypipe.models.state_machine.questioner import Questioner

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


LABELLING_NAME = "labelling.json"
IMAGES_PER_PART = 64
# A part whose process died so often is given up: an image may crash a decoder.
MAX_ATTEMPTS = 3
MIN_FREE_BYTES = 64 * 2**20


class LabelVqaConfig(Config):
    """Everything that the labels depend on."""

    output: str = Field(min_length=1, description="folder for the labels, a path or URI")
    seed: int = Field(0, ge=0, lt=2**32, description="of the captions that are drawn")
    annotations: str = Field(min_length=1, description="captions in COCO's format, a path or URI")
    images: str = Field(min_length=1, description="folder of the images, a path or URI")
    model: VqaModelConfig
    own_captions: int = Field(1, ge=0, description="captions of its own that an image is asked about, the first ones")
    other_captions: int = Field(2, ge=0, description="captions of other images, drawn at random")
    questions: Literal["repaired", "literal"] = Field("repaired", description="as sentence.questions of a run")
    ray: RayConfig = RayConfig()

    @field_validator("output", "annotations", "images")
    @classmethod
    def _is_absolute(cls, path: str) -> str:
        return absolute(path)

    @model_validator(mode="after")
    def _asks_something(self) -> Self:
        if self.own_captions + self.other_captions == 0:
            raise ValueError("own_captions and other_captions are both 0: nothing is asked")
        return self


def load_label_config(path: str | Path, overrides: Iterable[str] = ()) -> LabelVqaConfig:
    """Read a YAML file and apply `key=value` overrides. Raises UserError with one line per mistake."""
    return load_config(LabelVqaConfig, "labels", path, overrides)


@dataclass
class LabelResult:
    """What a start of the job did; `num_parts` counts all parts, `num_done_before` those that were there already."""

    num_parts: int
    num_done_before: int
    num_labels: int = 0
    num_yes: int = 0
    num_unread: int = 0
    unreadable: dict[str, str] = field(default_factory=dict)
    dead: list[DeadLetter] = field(default_factory=list)


def plan_parts(captions: CaptionSet, config: LabelVqaConfig) -> list[dict[str, Any]]:
    """Return the parts of the job, each with its pairs; decided by the captions and the config alone."""
    generator = np.random.default_rng(config.seed)
    images = captions.images
    parts = []
    num_parts = -(-len(images) // IMAGES_PER_PART)
    for part in range(num_parts):
        row: dict[str, Any] = {"part": part, "num_parts": num_parts, "image_ids": [], "paths": [], "captions": []}
        for image in images[part * IMAGES_PER_PART : (part + 1) * IMAGES_PER_PART]:
            own = {caption.casefold() for caption in image.captions}
            drawn = (images[n].captions for n in generator.integers(len(images), size=config.other_captions))
            others = [captions[int(generator.integers(len(captions)))] for captions in drawn]
            asked = [*image.captions[: config.own_captions], *(o for o in others if o.casefold() not in own)]
            for caption in dict.fromkeys(asked):
                row["image_ids"].append(str(image.image_id))
                row["paths"].append(image.path)
                row["captions"].append(caption)
        parts.append(row)
    return parts


class LabelParts:
    """The stage with its attempts counted: a part that killed its process too often becomes a dead letter.

    What is the user's to mend is returned as `refused`: Ray would wrap it, raised in an actor, into a traceback.
    """

    def __init__(self, config: LabelVqaConfig, folder: RunFolder, config_hash: str, session: str) -> None:
        self.folder, self.session = folder, session
        self.answer: Callable[[dict[str, Any]], dict[str, Any]] | None = None
        self.refused = ""
        try:
            self.answer = AnswerQuestions(config.model, config.questions, folder, config_hash)
        except UserError as error:
            self.refused = f"model.folder: {error}"

    def __call__(self, row: dict[str, Any]) -> dict[str, Any]:
        """Return what `AnswerQuestions` returns, `num_pairs`, `is_dead` and `refused` added."""
        part = int(row["part"])
        nothing: dict[str, Any] = {"num_labels": 0, "num_yes": 0, "num_unread": 0}
        nothing |= {"unreadable_paths": [], "unreadable_reasons": []}
        nothing |= {"num_pairs": len(row["captions"]), "is_dead": False, "refused": self.refused}
        if self.answer is None:
            return nothing
        if self.folder.begin_attempt(self.session, LABELS_FOLDER, part) > MAX_ATTEMPTS:
            message = f"its process died {MAX_ATTEMPTS} times; one of its images may crash a decoder"
            self.folder.commit_dead(DeadLetter(LABELS_FOLDER, part, "label", "crashed", message, MAX_ATTEMPTS))
            return nothing | {"is_dead": True}
        try:
            return nothing | self.answer(row)
        except UserError as error:
            return nothing | {"refused": str(error)}


def label_vqa(config: LabelVqaConfig, captions: CaptionSet | None = None) -> LabelResult:
    """Ask what has not been asked yet; safe to kill and to start again. Dead parts are tried again.

    Raises UserError for data and models that cannot be used, and for an output that holds labels of another config.
    """
    folder = RunFolder(config.output)
    folder.require_space(MIN_FREE_BYTES)
    model = Path(config.model.folder)
    require_files("model.folder", model, "transformers' save_pretrained", ["config.json"])
    require_vlm(model, "model.folder")
    captions = captions or read_captions(config.annotations, config.images)
    parts = plan_parts(captions, config)
    settings = config.model_dump(mode="json", include={"seed", "own_captions", "other_captions", "questions"})
    # The same labels, wherever they are computed.
    settings |= {
        "model": fingerprint(model, [path.name for path in model.iterdir()]),
        "tagger": Questioner(config.questions).tagger_name,
        "model.precision": config.model.precision,
        "annotations": digest([[image.image_id, image.captions] for image in captions.images]),
    }
    config_hash = digest(settings)
    _claim(folder, settings)
    folder.sweep()
    folder.clear_dead()
    done = {path.rpartition("/")[2] for path in folder.filesystem.find(folder.path(LABELS_FOLDER))}
    todo = [part for part in parts if part_path(folder, part["part"]).rpartition("/")[2] not in done]
    result = LabelResult(len(parts), len(parts) - len(todo))
    if todo:
        connect(config.ray)
        session = new_session()
        try:
            _run(config, folder, config_hash, session, todo, result)
        finally:
            folder.end_session(session)
    result.dead = folder.read_dead()
    return result


def _claim(folder: RunFolder, settings: dict[str, Any]) -> None:
    before = folder.read_json(LABELLING_NAME)
    if before is not None and before != settings:
        changes = differences(before, settings)
        raise UserError(f"{folder.root} holds labels of another config: {changes}. Use another output.")
    folder.commit_json(LABELLING_NAME, settings)


def _run(
    config: LabelVqaConfig,
    folder: RunFolder,
    config_hash: str,
    session: str,
    todo: list[dict[str, Any]],
    result: LabelResult,
) -> None:
    have = ray.cluster_resources()
    if config.model.device == "cuda" and not have.get("GPU"):
        raise UserError("model.device: cuda, but the cluster has no GPU; use auto or cpu")
    (pool,) = plan_pools(
        ["label"],
        {"label": 10} if config.model.device != "cpu" else {},
        "fused",
        num_rows=len(todo),
        num_cpus=have.get("CPU", 1.0),
        num_gpus=have.get("GPU", 0.0),
        # Each holds a whole model: one on a machine without GPUs, unless there is known to be room for more.
        actors=config.ray.actors or 1,
    )
    dataset = ray.data.from_items(todo, override_num_blocks=len(todo)).map(
        LabelParts,
        fn_constructor_args=(config, folder, config_hash, session),
        num_cpus=pool.num_cpus,
        num_gpus=pool.num_gpus,
        compute=ray.data.ActorPoolStrategy(size=pool.size, max_tasks_in_flight_per_actor=1),
    )
    with progress("label", sum(len(part["captions"]) for part in todo), "questions") as advance:
        for row in dataset.iter_rows():
            if row["refused"]:
                raise UserError(row["refused"])
            advance(row["num_pairs"], dead=int(row["is_dead"]))
            result.num_labels += row["num_labels"]
            result.num_yes += row["num_yes"]
            result.num_unread += row["num_unread"]
            result.unreadable |= dict(zip(row["unreadable_paths"], row["unreadable_reasons"], strict=True))
