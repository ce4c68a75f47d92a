"""Train the state machine on captioned images, with BLIP-2 frozen: `raypipe pretrain smm`.

ray job submit --working-dir . -- python jobs/train_smm.py --config jobs/train_smm.yaml --set key=value
"""

import sys

from raypipe.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["pretrain", "smm", *sys.argv[1:]]))
