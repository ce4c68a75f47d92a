"""Train the state machine on captioned images, BLIP-2 frozen (Sections 3.4 and 4.1); an interrupted training goes on.

ray job submit --working-dir . -- python jobs/train_smm.py --config jobs/train_smm.yaml --set key=value
"""

from raypipe.cli.main import run_script
from raypipe.pretraining.state_machine import plan_smm, train_smm
from raypipe.pretraining.state_machine_config import SmmConfig, load_smm_config
from raypipe.tracking.experiment import track
from raypipe.tracking.server import ui_command

COPY_FIRST = " (copy it to a folder that every node has)"


def main(config: SmmConfig) -> int:
    """Train, record it and say what came of it; return the exit code."""
    plan = plan_smm(config)
    print(f"training data: {plan.fit.report()}\nheld out: {plan.held_out.report()}", flush=True)
    if plan.labels:
        print(f"labels: {plan.labels.report()}", flush=True)
    params = config.model_dump(mode="json")
    with track(config.tracking, config.output, "train_smm", params=params) as experiment:
        experiment.log_dataset(
            "captions", plan.training_hash, config.data.annotations, context="train", num_images=len(plan.fit.images)
        )
        card, is_new = train_smm(plan, experiment.metric_logger())
    figures = card["metrics"]
    told = "trained" if is_new else "was trained already"
    unreadable = card["unreadable"]["count"]
    lost = f", {unreadable} images unreadable (named in card.json)" if unreadable else ""
    print(f"state machine: {told}, {card['steps']:,} steps, loss {figures['loss']:.4f}{lost}")
    parts = ", ".join(
        f"{word} {figures[f'held_out_{word}']:.3f}" for word in ("yes", "no") if f"held_out_{word}" in figures
    )
    accuracy = figures.get("held_out_accuracy")
    told = "too few held-out images to say" if accuracy is None else f"{accuracy:.3f}"
    print(f"held-out pairs answered rightly: {told} ({parts}; chance 0.5)")
    print(f"result: {config.output}/smm, for weights.smm of a run{COPY_FIRST if '://' in config.output else ''}")
    if experiment.tracking_uri:
        print(f"look at the training: {ui_command(experiment.tracking_uri)}")
    return 0


if __name__ == "__main__":
    raise SystemExit(run_script(__doc__, main, load=load_smm_config))
