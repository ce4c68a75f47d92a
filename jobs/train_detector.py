"""Train a small YOLO from nothing on pictures with boxes; an interrupted training goes on.

python jobs/train_detector.py --config jobs/world/detector.yaml --set key=value
"""

from functools import partial

from raypipe.cli.main import run_script
from raypipe.pretraining.detector import DetectorTrainingConfig, load_detector_config, plan_detector, train_detector
from raypipe.tracking.experiment import track
from raypipe.tracking.server import ui_command

TITLES = {"ap50": "AP50", "ap50_95": "AP50-95", "precision": "precision", "recall": "recall"}


def main(config: DetectorTrainingConfig) -> int:
    """Train, record it and say what came of it; return the exit code."""
    plan = plan_detector(config)
    for part, title in (("train", "training data"), ("val", "held out")):
        print(f"{title}: {plan.num_pictures[part]:,} pictures, {plan.num_boxes[part]:,} boxes", flush=True)
    params = config.model_dump(mode="json")
    with track(config.tracking, config.output, "train_detector", params=params) as experiment:
        experiment.log_dataset(
            "pictures", plan.training_hash, config.data, context="train", num_images=plan.num_pictures["train"]
        )
        card, is_new = train_detector(plan, partial(print, flush=True), experiment.metric_logger())
    told = "trained" if is_new else "was trained already"
    print(f"detector of {', '.join(plan.class_names)}: {told}, {card['steps']:,} steps")
    print(
        "on held-out pictures: " + ", ".join(f"{title} {card['metrics'][name]:.3f}" for name, title in TITLES.items())
    )
    print(f"result: {config.output}/yolo, for detector.yolo.weights of a run")
    if experiment.tracking_uri:
        print(f"look at the training: {ui_command(experiment.tracking_uri)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_script(__doc__, main, load=load_detector_config))
