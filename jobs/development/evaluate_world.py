"""Measures small models, and the whole method with them, on worlds that nobody has seen.

    python -m jobs.development.evaluate_world --seeds 961,962,963 --models DIR --json figures.json

A seed is a world of its own: train and test clips as those of the demo, and clips of people who go away from the
camera. Each is extracted once, by the ordinary pipeline, with all the features that any model is given. Printed are

* AP50 of the detector: every fifth frame of the test clips, boxes from a confidence of 0.001 up; all clear objects must
  be found, and boxes of objects that are hardly seen are no mistake;
* how many clear objects in the same frames a box of at least 0.25 is of, by what they do;
* how many captions name the right action, of whole objects taller than 48 pixels in the test clips;
* the same of the Q-Former's captions and of the sentences, in the frames of the shrinking clips in which the object is
  less than 30 pixels tall;
* the micro-AUC of the full method and of its parts, each a model of its own.

A caption is right where the one action that it names is the true one. What is done stays done: with the same --out, a
call that was stopped goes on.
"""

import argparse
import json
import statistics
import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from pydantic import ValidationError

from jobs.development.world_figures import (
    FarFractions,
    Fraction,
    Told,
    average_precisions,
    caption_shares,
    far_shares,
    found_shares,
)
from raypipe.config.run import RunConfig, parse_config
from raypipe.demo import Demo, demo_config, draw
from raypipe.errors import UserError
from raypipe.extraction.catalog import Catalogue, require_features
from raypipe.models.detection.yolo import YoloDetector
from raypipe.ops.boxes import Detections
from raypipe.report.pictures import read_frames
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.record import versions
from raypipe.run_folder.store import write_json
from raypipe.run_folder.tables import read_features
from raypipe.tracking.experiment import Experiment
from raypipe.weights.identity import models_of, require_weights
from raypipe.workflow import evaluate_step, extract_step, score_step, train_step
from raypipe.world.clips import WorldConfig
from raypipe.world.folder import FolderPlan, open_folder
from raypipe.world.truth import Truth, read_truth

DETECTOR_STEP, DETECTOR_CONFIDENCE = 5, 0.001
KEPT = ("motion", "image", "text", "cross")
# What each model is given: the spatial feature, and whether motion.
METHODS: dict[str, tuple[str, bool]] = {
    "full": ("cross", True),
    "motion": ("none", True),
    "image": ("image", False),
    "text": ("text", False),
    "cross": ("cross", False),
}
# By how much the full method is asked to be above the parts that it is made of.
GAIN_OVER = ("motion", "image", "text")


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--seeds", type=_seeds, default=[961, 962, 963], help="(default: 961,962,963)")
    parser.add_argument("--out", type=Path, default=Path("runs/worlds"), help="(default: %(default)s)")
    parser.add_argument("--models", type=Path, metavar="DIR", required=True, help="a folder of yolo/, blip2/ and smm/")
    parser.add_argument("--train-clips", type=int, default=Demo().num_train, help="(default: %(default)s)")
    parser.add_argument("--train-frames", type=int, default=Demo().train_frames, help="(default: %(default)s)")
    parser.add_argument("--test-clips", type=int, default=Demo().num_test, help="(default: %(default)s)")
    parser.add_argument("--frames", type=int, default=Demo().num_frames, help="of test clips (default: %(default)s)")
    parser.add_argument("--shrinking-clips", type=int, default=8, help="(default: %(default)s)")
    parser.add_argument("--shrinking-frames", type=int, default=400, help="of these clips (default: %(default)s)")
    parser.add_argument("--json", type=Path, metavar="FILE", help="where to write the figures")
    return parser


def _seeds(text: str) -> list[int]:
    return [int(seed) for seed in text.split(",")]


def main(argv: Sequence[str] | None = None) -> int:
    """Measure every seed, print the table, and return the exit code: 0, or 2 for a mistake in the call."""
    arguments = build_parser().parse_args(argv)
    try:
        found = {seed: measure_seed(seed, arguments) for seed in arguments.seeds}
        print("\n".join(["", *table(found)]))
        document = {"versions": versions(), "seeds": found}
        write_json(json.loads(json.dumps(document, default=asdict)), arguments.json)
    except ValidationError as error:
        for one in error.errors():
            print(f"evaluate_world: {one['loc'][-1]}: {one['msg']}", file=sys.stderr)
        return 2
    except UserError as error:
        print(f"evaluate_world: {error}", file=sys.stderr)
        return 2
    return 0


def measure_seed(seed: int, arguments: argparse.Namespace) -> dict[str, Any]:
    """Return the figures of one world."""
    started = time.monotonic()
    models = {name: str(arguments.models / name) for name in ("yolo", "blip2", "smm")}
    out = arguments.out / f"seed-{seed}"
    world = FolderPlan(
        WorldConfig(seed=seed, num_frames=arguments.frames),
        arguments.train_clips,
        arguments.test_clips,
        train_frames=arguments.train_frames,
    )
    shrinking = FolderPlan(
        WorldConfig(seed=seed, num_frames=arguments.shrinking_frames), 0, arguments.shrinking_clips, shrinking=True
    )
    config, catalogue = _extract(world, out / "world", seed, models)
    shrinking_config, shrinking_catalogue = _extract(shrinking, out / "shrinking", seed, models)
    far: dict[str, FarFractions] = {}
    for name, (truth, told) in zip(
        _names(shrinking_catalogue), _told(shrinking_config, shrinking_catalogue), strict=True
    ):
        far[name] = far_shares(truth, told)
    detections = _detections(config, catalogue)
    figures: dict[str, Any] = {
        "ap50": average_precisions(detections),
        "found": _together(found_shares(*pair) for pair in detections),
        "captions": _together(caption_shares(*pair) for pair in _told(config, catalogue)),
        "far": far,
        "micro_auc": {name: _micro_auc(config, name) for name in METHODS},
        "seconds": time.monotonic() - started,
    }
    print(f"seed {seed}: {figures['seconds']:.0f} s", flush=True)
    return figures


def _together(clips: Iterable[dict[str, Fraction]]) -> dict[str, Fraction]:
    """Return the shares of all clips, by action."""
    together: dict[str, Fraction] = {}
    for shares in clips:
        for action, share in shares.items():
            together[action] = together.get(action, Fraction()) + share
    return together


def _extract(plan: FolderPlan, out: Path, seed: int, models: dict[str, str]) -> tuple[RunConfig, Catalogue]:
    document = demo_config(out / "data", out / "run", seed, models)
    document["features"]["keep"] = KEPT
    document["evaluate"] = {"bootstrap_samples": 0}
    document["tracking"] = {"enabled": False}
    config = parse_config(document, "evaluate_world")
    # Before minutes of drawing.
    require_weights(config.detector)
    models_of(config)
    open_folder(out / "data", plan)
    draw(out / "data", plan, config.ray, print)
    for line in extract_step(config, Experiment()):
        print(line, flush=True)
    folder = RunFolder(config.output)
    if dead := folder.dead():
        # Without them the figures would be of other frames than those of other models.
        raise UserError(f"{folder.root}: {len(dead)} clips have dead letters, so no figures; remove it, or see why")
    return config, require_features(config, folder)


def _names(catalogue: Catalogue) -> list[str]:
    """Return the test clips."""
    return [entry.video.video_id for entry in catalogue.entries if entry.video.split == "test"]


def _truth(config: RunConfig, name: str) -> Truth:
    return read_truth(Path(config.dataset.root) / "truth" / f"{name}.csv")


def _told(config: RunConfig, catalogue: Catalogue) -> list[tuple[Truth, Told]]:
    """Return, for each test clip, what is true of it and what was found."""
    folder = RunFolder(config.output)
    committed = folder.committed()
    found = []
    for name in _names(catalogue):
        table = read_features(folder, name, committed.get(name, set()), config.feature_hash()).table
        boxes = np.stack([table[side].to_numpy() for side in ("x1", "y1", "x2", "y2")], axis=1).astype(np.float64)
        words = (table["caption"].to_pylist(), table["sentence"].to_pylist())
        found.append((_truth(config, name), Told(table["frame_index"].to_numpy(), boxes, *words)))
    return found


def _detections(config: RunConfig, catalogue: Catalogue) -> list[tuple[Truth, Detections]]:
    """Return, for some frames of each test clip, what is true of them and all boxes, however uncertain."""
    yolo = config.detector.yolo
    detector = YoloDetector.load(
        Path(str(yolo.weights)),
        image_size=yolo.image_size,
        max_overlap=yolo.max_overlap,
        min_confidence=DETECTOR_CONFIDENCE,
    )
    found = []
    for entry in catalogue.entries:
        if entry.video.split != "test" or entry.index is None:
            continue
        frames = np.arange(0, entry.index.num_frames, DETECTOR_STEP)
        boxes = detector(read_frames(entry, frames), (entry.index.width, entry.index.height))
        of_source = Detections(frames[boxes.frame_offset], boxes.boxes, boxes.confidence, boxes.class_name)
        found.append((_truth(config, entry.video.video_id).of_frames(frames), of_source))
    return found


def _micro_auc(base: RunConfig, name: str) -> float | None:
    """Train, score and evaluate a method on the features that are there."""
    spatial, motion = METHODS[name]
    features = base.features.model_copy(update={"spatial": spatial, "motion": motion})
    config = base.model_copy(update={"variation": name, "features": features})
    for step in (train_step, score_step, evaluate_step):
        step(config, Experiment())
    folder = RunFolder(config.output, name)
    results = folder.read_json(folder.product("results.json")) or {}
    value: float | None = results["metrics"]["micro_auc"]["value"]
    return value


def rows_of(figures: dict[str, Any]) -> dict[str, float | None]:
    """Return the figures of a seed that the table has, by what they are of."""
    captions: dict[str, Fraction] = figures["captions"]
    far: list[FarFractions] = list(figures["far"].values())
    all_far = sum(far, FarFractions(Fraction(), Fraction(), Fraction()))
    auc: dict[str, float | None] = figures["micro_auc"]
    rows: dict[str, float | None] = {f"AP50, {name}": value for name, value in figures["ap50"].items()}
    found: dict[str, Fraction] = figures["found"]
    rows["found"] = sum(found.values(), Fraction()).value
    rows |= {f"found, {action}": found[action].value for action in sorted(found)}
    rows["caption right"] = sum(captions.values(), Fraction()).value
    rows |= {f"caption right, {action}": captions[action].value for action in sorted(captions)}
    rows["far: object found"] = all_far.found.value
    rows["far: caption right"], rows["far: sentence right"] = all_far.caption.value, all_far.sentence.value
    for name, one in figures["far"].items():
        clip = name.partition("_")[2]
        rows |= {f"far, {clip}: caption": one.caption.value, f"far, {clip}: sentence": one.sentence.value}
    rows |= {f"micro-AUC, {name}": auc[name] for name in METHODS}
    full = auc["full"]
    for name in GAIN_OVER:
        part = auc[name]
        rows[f"full above {name}"] = None if full is None or part is None else full - part
    rows["seconds"] = figures["seconds"]
    return rows


# What the figures are asked to be, as the mean over the seeds.
ASKED: dict[str, float] = {
    "AP50, mean": 0.85,
    "caption right": 0.85,
    "far: sentence right": 0.80,
    "micro-AUC, full": 0.90,
    **{f"full above {name}": 0.01 for name in GAIN_OVER},
}


def table(found: dict[int, dict[str, Any]]) -> list[str]:
    """Return the lines of one table: a row a figure, a column a seed, the mean, the spread, and what is asked."""
    columns = [rows_of(figures) for figures in found.values()]
    names = list(dict.fromkeys(name for rows in columns for name in rows))
    header = ["figure", *(f"seed {seed}" for seed in found), "mean", "spread", "asked"]
    lines = [header]
    for name in names:
        values = [rows.get(name) for rows in columns]
        there = [value for value in values if value is not None]
        mean = statistics.mean(there) if there else None
        spread = f"{max(there) - min(there):.3f}" if len(there) > 1 else "-"
        asked = ASKED.get(name)
        verdict = ""
        if asked is not None and mean is not None:
            verdict = f">= {asked:g} " + ("met" if mean >= asked else "MISSED")
        lines.append([name, *map(_figure, values), _figure(mean), spread, verdict])
    widths = [max(len(line[column]) for line in lines) for column in range(len(header))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines]


def _figure(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}" if abs(value) < 10 else f"{value:.0f}"


if __name__ == "__main__":
    raise SystemExit(main())
