"""Train BLIP-2 on captioned images: `raypipe pretrain blip2`.

ray job submit --working-dir . -- python jobs/train_blip2.py --config jobs/train_blip2.yaml --set key=value
"""

import sys

from raypipe.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["pretrain", "blip2", *sys.argv[1:]]))
