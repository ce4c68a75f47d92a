"""The config of a run: one YAML file, validated into frozen models."""

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, Field, field_validator, model_validator

from raypipe.config.base import Config
from raypipe.config.file import absolute, digest, local_folder, read_document, validate
from raypipe.config.old_keys import ADDED_KEYS
from raypipe.config.runtime import RayConfig, TrackingConfig
from raypipe.config.shipped_models import shipped_name
from raypipe.config.stages import DecodeConfig, DetectorConfig, EncodeConfig, MotionConfig, SentenceConfig, TracksConfig
from raypipe.config.workflow import EvaluateConfig, ScoreConfig, TrainConfig
from raypipe.datasets.specs import SPECS, DatasetName
from raypipe.schema import SPATIAL

# The parts of a config that decide what is in the features; a run folder holds features of one of these only.
FEATURE_PARTS = (
    "dataset",
    "segment_bytes",
    "warmup_frames",
    "decode",
    "detector",
    "tracks",
    "motion",
)
# Names that any file system takes for a folder.
VARIATION_PATTERN = r"^[A-Za-z0-9][A-Za-z0-9._-]*$"
# Keys of these parts that decide how fast features are made, or when they are given up, but not what they are.
SPEED_KEYS = ("encode.device", "encode.compile", "encode.microbatch_bytes", "decode.timeout_seconds")
# Keys that decide which videos have features, but not what the features are.
CHOICE_KEYS = ("dataset.abnormal_training",)


class DatasetConfig(Config):
    """Which videos."""

    name: DatasetName = Field("folder", description="layout of the data: folder, or the layout of a public data set")
    root: str = Field(min_length=1, description="folder that holds the data set; a path or an fsspec URI")
    frames_fps: float | None = Field(
        None,
        gt=0,
        allow_inf_nan=False,
        description="frames per second of videos that are folders of images; null is the data set's own rate, and 25 "
        "for folder",
    )
    abnormal_training: bool = Field(
        False, description="also extract features of abnormal training videos; no model is ever trained on them"
    )

    @model_validator(mode="after")
    def _has_abnormal_training(self) -> Self:
        if self.abnormal_training and not SPECS[self.name].has_abnormal_training:
            known = ", ".join(name for name, spec in SPECS.items() if spec.has_abnormal_training)
            raise ValueError(f"abnormal_training is for {known}; {self.name} has no such videos")
        return self

    def frame_rate(self) -> float:
        """Return the frame rate of videos that are folders of images, in Hz."""
        return SPECS[self.name].frames_fps if self.frames_fps is None else self.frames_fps


class FeaturesConfig(Config):
    """Which features describe an object (the switches of Table 3)."""

    spatial: Literal["none", "backbone", "image", "text", "cross"] = Field(
        "none",
        description="what the model is given of an object's look: a row of Table 3. cross is the paper's; text and "
        "cross need captions",
    )
    motion: bool = Field(True, description="give the model the motion histogram")
    keep: tuple[Literal["motion", "backbone", "image", "text", "cross"], ...] = Field(
        (),
        strict=False,
        description="more features to extract, so that other models can be trained without another extraction",
    )

    @model_validator(mode="after")
    def _something_is_on(self) -> Self:
        if self.spatial == "none" and not self.motion:
            raise ValueError("spatial is none and motion is false: nothing is left to describe an object")
        return self

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of the features that the model is given, the spatial one first."""
        return (*(() if self.spatial == "none" else (self.spatial,)), *(("motion",) if self.motion else ()))

    @property
    def extracted(self) -> tuple[str, ...]:
        """Names of all features that are extracted, in the order of the table."""
        wanted = {*self.columns, *self.keep}
        return tuple(name for name in ("motion", *SPATIAL) if name in wanted)


class WeightsConfig(Config):
    """Folders of model weights."""

    blip2: str | None = Field(
        None, description="folder written by `raypipe weights convert`; needed by spatial features"
    )
    smm: str | None = Field(
        None, description="folder of a trained state machine; needed where sentences are carried along tracks"
    )

    @field_validator("blip2", "smm")
    @classmethod
    def _is_on_this_machine(cls, path: str | None) -> str | None:
        if path:
            local_folder(path)
        return path


class RunConfig(Config):
    """Everything that a run depends on."""

    dataset: DatasetConfig
    output: str = Field(description="run folder; a path or an fsspec URI. Everything is written below it")
    variation: str | None = Field(
        None,
        pattern=VARIATION_PATTERN,
        description="write models, scores and results to <output>/variations/<variation>, beside those of other "
        "variations; null writes them to the output itself",
    )
    seed: int = Field(0, ge=0, lt=2**32, description="seed of everything random: training, sampling, intervals")
    layout: Literal["fused", "staged"] = Field(
        "fused", description="fused: one actor takes a segment through all stages; staged: a pool of actors per stage"
    )
    segment_bytes: int | None = Field(
        128 * 2**20, ge=2**20, description="bytes of decoded frames in a segment; null does not cut videos"
    )
    warmup_frames: int = Field(
        16, ge=0, description="used frames before a segment that carry its tracks over; more than tracks.max_gap_frames"
    )
    max_attempts: int = Field(3, ge=1, description="a segment is given up after its process has died this many times")
    decode: DecodeConfig = DecodeConfig()
    detector: DetectorConfig
    tracks: TracksConfig = TracksConfig()
    motion: MotionConfig = MotionConfig()
    weights: WeightsConfig = WeightsConfig()
    encode: EncodeConfig = EncodeConfig()
    sentence: SentenceConfig = SentenceConfig()
    features: FeaturesConfig = FeaturesConfig()
    train: TrainConfig = TrainConfig()
    score: ScoreConfig = ScoreConfig()
    evaluate: EvaluateConfig = EvaluateConfig()
    tracking: TrackingConfig = TrackingConfig()
    ray: RayConfig = RayConfig()

    @field_validator("output")
    @classmethod
    def _output_is_absolute(cls, output: str) -> str:
        if not output.strip():
            raise ValueError("is empty")
        return absolute(output)

    @model_validator(mode="after")
    def _warmup_spans_a_gap(self) -> Self:
        if self.segment_bytes is not None and self.warmup_frames <= self.tracks.max_gap_frames:
            raise ValueError(
                f"warmup_frames ({self.warmup_frames}) must exceed tracks.max_gap_frames "
                f"({self.tracks.max_gap_frames}): else tracks are lost at the border of a segment"
            )
        return self

    @model_validator(mode="after")
    def _mixtures_are_for_motion(self) -> Self:
        if self.score.model == "gmm" and self.features.spatial != "none":
            raise ValueError(
                f"score.model gmm is for motion features only, but features.spatial is {self.features.spatial}. "
                "Likelihoods of hundreds of dimensions cannot be compared with those of motion; use rm or knn"
            )
        return self

    @model_validator(mode="after")
    def _weights_are_named(self) -> Self:
        spatial = [name for name in self.features.extracted if name != "motion"]
        if spatial and not self.weights.blip2:
            raise ValueError(f"weights.blip2 is needed for the features {', '.join(spatial)}")
        if self.needs_sentences and self.sentence.memory != "off" and not self.weights.smm:
            raise ValueError("weights.smm is needed to carry sentences; set it, or set sentence.memory to off")
        return self

    @property
    def needs_sentences(self) -> bool:
        """Whether objects are captioned: features of text, and of image and text, are made of sentences."""
        return bool({"text", "cross"} & set(self.features.extracted))

    def encode_resolved(self) -> EncodeConfig:
        """Return how objects are encoded; unless the config says otherwise, sliding windows are not widened."""
        if self.encode.box_expansion is None and self.detector.kind == "sliding_window":
            return self.encode.model_copy(update={"box_expansion": 0.0})
        return self.encode

    def flat(self, parts: Iterable[str] | None = None) -> dict[str, Any]:
        """Return the values under dotted keys, of the named top-level parts or of all."""
        document = self.model_dump(mode="json")
        return dict(_flatten({name: document[name] for name in parts or document}))

    def flat_features(self) -> dict[str, Any]:
        """Return the values that decide what the features are, under dotted keys."""
        parts = [*FEATURE_PARTS]
        if any(name != "motion" for name in self.features.extracted):
            parts += ["encode", "sentence"] if self.needs_sentences else ["encode"]
        flat = self.flat(parts)
        values = {key: shipped_name(value) for key, value in flat.items() if key not in (*SPEED_KEYS, *CHOICE_KEYS)}
        # Features do not depend on whether the rate is named, only on what it is.
        values["dataset.frames_fps"] = self.dataset.frame_rate()
        # Left out where it is what earlier versions did, so that the features of a run of theirs are the same still.
        values = {key: value for key, value in values.items() if key not in ADDED_KEYS or ADDED_KEYS[key] != value}
        return values | {"features": list(self.features.extracted)}

    def feature_hash(self) -> str:
        """Return the hash of everything that decides what the features are."""
        return digest(self.flat_features())


def _flatten(document: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, Any]]:
    for key, value in document.items():
        if isinstance(value, Mapping):
            yield from _flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def load_config(path: str | Path, overrides: Iterable[str] = ()) -> RunConfig:
    """Read a run's YAML file and apply `key=value` overrides, as in `score.model=knn` (values are YAML too).

    What the config does not say and its output folder does, see `as_claimed`, is taken from there. Raises UserError
    with one line per mistake: file, key, what is wrong, what is allowed.
    """
    return as_claimed(parse_config(read_document(path, overrides, "`raypipe run --example`"), str(path)))


def as_claimed(config: RunConfig) -> RunConfig:
    """Return a config that goes on in its output folder: with the folder's value of a new key that it does not name.

    A run of an earlier version so goes on with the config that it was begun with. Raises UserError where the folder's
    run.json is damaged.
    """
    from raypipe.run_folder.folder import RunFolder

    if "unit" in config.motion.model_fields_set:
        return config
    document = RunFolder(config.output).read_json("run.json")
    if document is None:
        return config
    keys = document.get("feature_keys", {})
    unit = keys.get("motion.unit", ADDED_KEYS["motion.unit"])
    return config.model_copy(update={"motion": config.motion.model_copy(update={"unit": unit})})


def parse_config(document: Mapping[str, Any], where: str) -> RunConfig:
    """Validate a config given as nested dicts. Raises UserError, naming `where` and every wrong key."""
    config = validate(RunConfig, document, where)
    weights = {name: absolute(path) for name, path in config.weights.model_dump().items() if path}
    roots: dict[str, BaseModel] = {
        "dataset": config.dataset.model_copy(update={"root": absolute(config.dataset.root)}),
        "detector": config.detector.with_paths(absolute),
        "weights": config.weights.model_copy(update=weights),
    }
    return config.model_copy(update=roots)
