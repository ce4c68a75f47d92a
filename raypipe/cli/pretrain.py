"""`raypipe pretrain`: train the models behind a run's features, or make what they are trained on.

Nothing heavy is imported before a command runs, so `--help` is quick.
"""

import argparse
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raypipe.cli.options import add_command, add_config, add_debug, add_example, add_group, require_config
from raypipe.errors import EXIT_DEAD_LETTERS

if TYPE_CHECKING:
    from collections.abc import Iterator

    from raypipe.config.run import RunConfig
    from raypipe.pretraining.blip2_config import Blip2TrainingConfig
    from raypipe.pretraining.detector import DetectorTrainingConfig
    from raypipe.pretraining.labelling import LabelVqaConfig
    from raypipe.pretraining.recipe import TrainingConfig
    from raypipe.pretraining.state_machine_config import SmmConfig
    from raypipe.tracking.experiment import Experiment

GOES_ON = "An interrupted training goes on after its last whole epoch."
CAPTIONS = {"annotations": "data/captions.json", "images": "data/images"}
COPY_FIRST = " (copy it to a folder that every node has)"


def add_pretrain_parser(commands: Any) -> None:
    """Add `pretrain` and its commands to the subparsers of an argparse parser."""
    text = "train the models behind the features, or make what they are trained on"
    examples = "raypipe pretrain smm --example > smm.yaml\nraypipe pretrain smm --config smm.yaml"
    kinds = add_group(commands, "pretrain", text, examples, "kind")
    for name, (text, more, _, examples) in KINDS.items():
        command = add_command(kinds, name, text, partial(_run_kind, name), examples, more)
        add_config(command, "the YAML file of the " + ("labelling" if name == "labels" else "training"))
        add_example(command)
        add_debug(command)
    text = "cut the objects of a run's normal training videos out, with their captions"
    command = add_command(
        kinds,
        "crops",
        text,
        _crops,
        "raypipe pretrain crops --config run.yaml --out data/crops --every 1.0",
        "`raypipe pretrain blip2` trains on them, as the paper does with its own crops (D. 2).",
    )
    add_config(command)
    command.add_argument(
        "--out", type=Path, default=Path("data/crops"), metavar="DIR", help="where they go (default: %(default)s)"
    )
    command.add_argument(
        "--every", type=float, default=1.0, metavar="SECONDS", help="use one frame in this time (default: %(default)s)"
    )
    add_debug(command)


def _run_kind(name: str, options: argparse.Namespace) -> int:
    """Train or label with the config that the options name, or print an example of one."""
    work = KINDS[name][2]
    if options.example:
        from raypipe.cli.example import example_yaml

        model, values = _model_of(name)
        print(f"# raypipe pretrain {name} --config FILE\n{example_yaml(model, values)}", end="")
        return 0
    from raypipe.pretraining.recipe import load_config

    path = require_config(options, f"pretrain {name}")
    return work(load_config(_model_of(name)[0], name, path, options.overrides))


def _model_of(name: str) -> tuple[Any, dict[str, Any]]:
    """Return the config of a kind, and an example of what it cannot do without."""
    if name == "smm":
        from raypipe.pretraining.state_machine_config import SmmConfig

        return SmmConfig, {"output": "weights/train_smm", "data": CAPTIONS, "model": {"blip2": "weights/blip2"}}
    if name == "blip2":
        from raypipe.pretraining.blip2_config import Blip2TrainingConfig

        start = {"start": "weights/blip2"}
        return Blip2TrainingConfig, {"output": "weights/train_blip2", "data": CAPTIONS, "model": start}
    if name == "detector":
        from raypipe.pretraining.detector import DetectorTrainingConfig

        return DetectorTrainingConfig, {"output": "weights/train_detector", "data": "data/detection/data.yaml"}
    from raypipe.pretraining.labelling import LabelVqaConfig

    return LabelVqaConfig, {"output": "weights/vqa_labels", "model": {"folder": "weights/vlm"}} | CAPTIONS


@contextmanager
def _tracked(config: "TrainingConfig", name: str, data: Sequence[Any], num_images: int) -> "Iterator[Experiment]":
    """Record a training, and its data by name, hash and place; say in the end how to look at it."""
    from raypipe.tracking.experiment import track
    from raypipe.tracking.server import ui_command

    with track(config.tracking, config.output, name, params=config.model_dump(mode="json")) as experiment:
        experiment.log_dataset(*data, context="train", num_images=num_images)
        yield experiment
    if experiment.tracking_uri:
        print(f"look at the training: {ui_command(experiment.tracking_uri)}")


def _smm(config: "SmmConfig") -> int:
    from raypipe.pretraining.state_machine import plan_smm, train_smm

    plan = plan_smm(config)
    print(f"training data: {plan.fit.report()}\nheld out: {plan.held_out.report()}", flush=True)
    if plan.labels:
        print(f"labels: {plan.labels.report()}", flush=True)
    data = ("captions", plan.training_hash, config.data.annotations)
    with _tracked(config, "train_smm", data, len(plan.fit.images)) as experiment:
        card, is_new = train_smm(plan, experiment.metric_logger())
        figures = card["metrics"]
        print(f"state machine: {_told(card, is_new)}, loss {figures['loss']:.4f}{_lost(card)}")
        parts = ", ".join(
            f"{word} {figures[f'held_out_{word}']:.3f}" for word in ("yes", "no") if f"held_out_{word}" in figures
        )
        accuracy = figures.get("held_out_accuracy")
        told = "too few held-out images to say" if accuracy is None else f"{accuracy:.3f}"
        print(f"held-out pairs answered rightly: {told} ({parts}; chance 0.5)")
        print(f"result: {config.output}/smm, for weights.smm of a run{_copied(config.output)}")
    return 0


BLIP2_TITLES = {
    "held_out_recall_image_to_text": "caption found by its image",
    "held_out_recall_text_to_image": "image found by its caption",
    "held_out_matching_accuracy": "matching head right (chance 0.5)",
    "held_out_caption_exact": "captions right word for word",
    "held_out_caption_tokens": "next tokens right",
}


def _blip2(config: "Blip2TrainingConfig") -> int:
    from raypipe.pretraining.blip2 import plan_blip2, train_blip2

    plan = plan_blip2(config)
    print(f"training data: {plan.fit.report()}\nheld out: {plan.held_out.report()}", flush=True)
    data = ("captions", plan.training_hash, config.data.annotations)
    with _tracked(config, "train_blip2", data, len(plan.fit.images)) as experiment:
        card, is_new = train_blip2(plan, experiment.metric_logger())
        figures = card["metrics"]
        is_slower = (config.train.precision, card.get("precision")) == ("bf16", "fp32")
        lost = (" (in fp32: the CPU has no bf16)" if is_slower else "") + _lost(card)
        print(f"BLIP-2: {_told(card, is_new)}, loss {figures['loss']:.3f}{lost}")
        shown = ", ".join(f"{title} {figures[name]:.3f}" for name, title in BLIP2_TITLES.items())
        print(f"on held-out images: {shown}")
        print(f"result: {config.output}/blip2, for weights.blip2 of a run{_copied(config.output)}")
    return 0


DETECTOR_TITLES = {"ap50": "AP50", "ap50_95": "AP50-95", "precision": "precision", "recall": "recall"}


def _detector(config: "DetectorTrainingConfig") -> int:
    from raypipe.pretraining.detector import plan_detector, train_detector

    plan = plan_detector(config)
    for part, title in (("train", "training data"), ("val", "held out")):
        print(f"{title}: {plan.num_pictures[part]:,} pictures, {plan.num_boxes[part]:,} boxes", flush=True)
    data = ("pictures", plan.training_hash, config.data)
    with _tracked(config, "train_detector", data, plan.num_pictures["train"]) as experiment:
        card, is_new = train_detector(plan, partial(print, flush=True), experiment.metric_logger())
        print(f"detector of {', '.join(plan.class_names)}: {_told(card, is_new)}")
        shown = ", ".join(f"{title} {card['metrics'][name]:.3f}" for name, title in DETECTOR_TITLES.items())
        print(f"on held-out pictures: {shown}")
        print(f"result: {config.output}/yolo, for detector.yolo.weights of a run")
    return 0


def _told(card: dict[str, Any], is_new: bool) -> str:
    return f"{'trained' if is_new else 'was trained already'}, {card['steps']:,} steps"


def _lost(card: dict[str, Any]) -> str:
    unreadable = card["unreadable"]["count"]
    return f", {unreadable} images unreadable (named in card.json)" if unreadable else ""


def _copied(output: str) -> str:
    return COPY_FIRST if "://" in output else ""


def _labels(config: "LabelVqaConfig") -> int:
    from raypipe.pretraining.coco_captions import read_captions
    from raypipe.pretraining.labelling import label_vqa
    from raypipe.pretraining.vqa_labels import read_labels

    captions = read_captions(config.annotations, config.images)
    print(f"data: {captions.report()}", flush=True)
    result = label_vqa(config, captions)
    print(
        f"asked {result.num_labels:,} questions: {result.num_yes:,} yes, {result.num_unread:,} answers say neither; "
        f"{result.num_done_before:,} of {result.num_parts:,} parts were there already"
    )
    for path, reason in list(result.unreadable.items())[:5]:
        print(f"unreadable: {path}: {reason}")
    if len(result.unreadable) > 5:
        print(f"unreadable: {len(result.unreadable) - 5:,} more images")
    for letter in result.dead:
        print(f"dead: part {letter.segment_index}: {letter.message}")
    if len(result.dead) < result.num_parts:
        print(f"labels: {read_labels(config.output).report()}")
        print(f"result: {config.output}, for targets.labels of `raypipe pretrain smm`")
    return EXIT_DEAD_LETTERS if result.dead else 0


def _crops(options: argparse.Namespace) -> int:
    from raypipe.config.run import load_config
    from raypipe.pretraining.crops import ANNOTATIONS_NAME, IMAGES_FOLDER, export_crops

    config: RunConfig = load_config(require_config(options, "pretrain crops"), options.overrides)
    count, left_out = export_crops(config, options.out, options.every)
    print(f"crops: {count:,}, in {options.out / IMAGES_FOLDER}; captions: {options.out / ANNOTATIONS_NAME}")
    for video_id, reason in left_out.items():
        print(f"left out: {video_id}: {reason}")
    return EXIT_DEAD_LETTERS if left_out else 0


# What is trained or labelled: a line, the rest of the help, the work, and examples.
KINDS: dict[str, tuple[str, str, Callable[[Any], int], str]] = {
    "smm": (
        "train the state machine on captioned images, with BLIP-2 frozen",
        f"{GOES_ON} The result is for weights.smm of a run.",
        _smm,
        """
        raypipe pretrain smm --example > smm.yaml
        raypipe pretrain smm --config smm.yaml
        raypipe pretrain smm --config smm.yaml --set model.num_machines=5 --set output=weights/smm_5
        """,
    ),
    "blip2": (
        "train BLIP-2 on captioned images, from trained weights or from nothing",
        f"{GOES_ON} The result is for weights.blip2 of a run.",
        _blip2,
        """
        raypipe pretrain blip2 --example > blip2.yaml
        raypipe pretrain blip2 --config blip2.yaml
        raypipe pretrain blip2 --config blip2.yaml --set model.num_query=64 --set output=weights/blip2_q64
        """,
    ),
    "detector": (
        "train a small YOLO from nothing on pictures with boxes",
        f"{GOES_ON} The result is for detector.yolo.weights of a run.",
        _detector,
        """
        raypipe pretrain detector --example > detector.yaml
        raypipe pretrain detector --config detector.yaml --set train.use_gpu=true
        """,
    ),
    "labels": (
        "ask a vision-language model what holds of captioned images",
        "An interrupted labelling goes on. The result is for targets.labels of `raypipe pretrain smm`.",
        _labels,
        """
        raypipe pretrain labels --example > labels.yaml
        raypipe pretrain labels --config labels.yaml
        """,
    ),
}
