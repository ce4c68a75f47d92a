"""Compute the features of all videos that lack them.

ray job submit --working-dir . -- python jobs/extract.py --config FILE --set key=value

With --shard 2/8, of a share of them: for several drivers over one output.
"""

from raypipe.cli.main import run_script
from raypipe.cli.steps import do_step
from raypipe.config.run import RunConfig
from raypipe.ops.shards import WHOLE, Shard


def main(config: RunConfig, shard: Shard = WHOLE) -> int:
    """Do the step and return the exit code: 0, or 3 with dead letters."""
    return do_step("extract", config, shard=shard)


if __name__ == "__main__":
    raise SystemExit(run_script(__doc__, main, with_shard=True))
