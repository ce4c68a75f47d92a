"""The whole path of a segment on one page: its stages, their configs, and what each takes of a GPU.

    catalogue -> segments -> decode -> motion -> detect -> pool -> encode -> caption -> attend -> commit

One row is one segment. A stage is a callable class that maps a row. `extraction` runs the stages on Ray: layout `fused`
puts all stages of a row into one actor (with GPUs: those from the first that uses one), so that frames never leave its
memory; layout `staged` gives every stage a pool of actors. The stages are the same, and so is the output.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from raypipe.config.run import RunConfig
from raypipe.run_folder.folder import RunFolder
from raypipe.stages.commit import CommitFeatures
from raypipe.stages.decode import DecodeFrames
from raypipe.stages.detect import DetectObjects
from raypipe.stages.motion import ExtractMotion, PoolMotion


@dataclass(frozen=True)
class Stage:
    """One stage: its name, its class, and the arguments that each actor makes it with.

    `gpu_tenths` is what it takes of a GPU where all stages have pools of their own, in tenths; 0 is a CPU stage. A
    stage may also have what `extraction.stage_runner` asks for: `timeout_seconds` and `find_committed`.
    """

    name: str
    make: Callable[..., Callable[[dict[str, Any]], dict[str, Any]]]
    arguments: tuple[Any, ...] = ()
    gpu_tenths: int = 0


def stages_of(config: RunConfig, folder: RunFolder) -> list[Stage]:
    """Return the stages of a segment in order."""
    detects = config.detector.kind in ("yolo", "vlm")
    encodes = config.encode.device != "cpu"
    stages = [Stage("decode", DecodeFrames, (config.decode,))]
    with_motion = "motion" in config.features.extracted
    if with_motion:
        stages.append(Stage("motion", ExtractMotion))
    stages.append(Stage("detect", DetectObjects, (config.detector, config.tracks), gpu_tenths=2 if detects else 0))
    if with_motion:
        stages.append(Stage("pool", PoolMotion, (config.motion,)))
    spatial = [name for name in config.features.extracted if name != "motion"]
    if spatial:
        # Here, because a run on motion alone need not wait for torch, neither in the driver nor in its actors.
        from raypipe.stages.attend import AttendFeatures
        from raypipe.stages.caption import TellSentences
        from raypipe.stages.encode import EncodeObjects

        blip2, smm = str(config.weights.blip2), config.weights.smm
        rules = config.sentence.rules if config.needs_sentences else None
        encode = (config.encode_resolved(), blip2, rules, "backbone" in spatial)
        # The ViT needs most (Table 6).
        stages.append(Stage("encode", EncodeObjects, encode, gpu_tenths=6 if encodes else 0))
        if rules:
            reach = None if config.segment_bytes is None else config.warmup_frames
            caption = (config.sentence, config.encode, blip2, smm, reach)
            stages.append(Stage("caption", TellSentences, caption, gpu_tenths=2 if encodes else 0))
        stages.append(Stage("attend", AttendFeatures, (spatial, config.encode.device)))
    stages.append(Stage("commit", CommitFeatures, (folder, config.feature_hash())))
    return stages


def gpu_tenths_of(stages: list[Stage]) -> dict[str, int]:
    """Return the tenths of a GPU of the stages that run on one where there is one, by name."""
    return {stage.name: stage.gpu_tenths for stage in stages if stage.gpu_tenths}
