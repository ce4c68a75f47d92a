"""All steps of a run: extract, train, score, evaluate.

ray job submit --working-dir . -- python jobs/run.py --config FILE --set key=value
"""

from raypipe.cli.main import run_script
from raypipe.cli.steps import do_step
from raypipe.config.run import RunConfig
from raypipe.ops.shards import WHOLE, Shard


def main(config: RunConfig, shard: Shard = WHOLE) -> int:
    """Do the step and return the exit code: 0, or 3 with dead letters."""
    return do_step("run", config, shard=shard)


if __name__ == "__main__":
    raise SystemExit(run_script(__doc__, main, with_shard=True))
