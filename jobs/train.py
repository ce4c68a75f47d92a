"""Train the model of normal behaviour on the train split.

ray job submit --working-dir . -- python jobs/train.py --config FILE --set key=value
"""

from raypipe.cli.main import run_script
from raypipe.cli.steps import do_step
from raypipe.config.run import RunConfig


def main(config: RunConfig) -> int:
    """Do the step and return the exit code: 0, or 3 with dead letters."""
    return do_step("train", config)


if __name__ == "__main__":
    raise SystemExit(run_script(__doc__, main))
