"""Score every frame of the test split.

ray job submit --working-dir . -- python jobs/score.py --config FILE --set key=value
"""

from raypipe.cli.main import run_script
from raypipe.cli.steps import do_step
from raypipe.config.run import RunConfig


def main(config: RunConfig) -> int:
    """Do the step and return the exit code: 0, or 3 with dead letters."""
    return do_step("score", config)


if __name__ == "__main__":
    raise SystemExit(run_script(__doc__, main))
