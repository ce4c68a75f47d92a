"""Train BLIP-2 stage 1 on (image, caption) pairs (Appendix E, Table 5); an interrupted training goes on.

ray job submit --working-dir . -- python jobs/train_blip2.py --config jobs/train_blip2.yaml --set key=value
"""

from raypipe.cli.main import run_script
from raypipe.pretraining.blip2 import plan_blip2, train_blip2
from raypipe.pretraining.blip2_config import Blip2TrainingConfig, load_blip2_config
from raypipe.tracking.experiment import track
from raypipe.tracking.server import ui_command

COPY_FIRST = " (copy it to a folder that every node has)"
TITLES = {
    "held_out_recall_image_to_text": "caption found by its image",
    "held_out_recall_text_to_image": "image found by its caption",
    "held_out_matching_accuracy": "matching head right (chance 0.5)",
    "held_out_caption_exact": "captions right word for word",
    "held_out_caption_tokens": "next tokens right",
}


def main(config: Blip2TrainingConfig) -> int:
    """Train, record it and say what came of it; return the exit code."""
    plan = plan_blip2(config)
    print(f"training data: {plan.fit.report()}\nheld out: {plan.held_out.report()}", flush=True)
    params = config.model_dump(mode="json")
    with track(config.tracking, config.output, "train_blip2", params=params) as experiment:
        experiment.log_dataset(
            "captions", plan.training_hash, config.data.annotations, context="train", num_images=len(plan.fit.images)
        )
        card, is_new = train_blip2(plan, experiment.metric_logger())
    figures = card["metrics"]
    unreadable = card["unreadable"]["count"]
    lost = f", {unreadable} images unreadable (named in card.json)" if unreadable else ""
    told = "trained" if is_new else "was trained already"
    if (config.train.precision, card.get("precision")) == ("bf16", "fp32"):
        told += " (in fp32: the CPU has no bf16)"
    print(f"BLIP-2 stage 1: {told}, {card['steps']:,} steps, loss {figures['loss']:.3f}{lost}")
    print("on held-out images: " + ", ".join(f"{title} {figures[name]:.3f}" for name, title in TITLES.items()))
    print(f"result: {config.output}/blip2, for weights.blip2 of a run{COPY_FIRST if '://' in config.output else ''}")
    if experiment.tracking_uri:
        print(f"look at the training: {ui_command(experiment.tracking_uri)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_script(__doc__, main, load=load_blip2_config))
