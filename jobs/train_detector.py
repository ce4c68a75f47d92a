"""Train a small YOLO from nothing on pictures with boxes: `raypipe pretrain detector`.

python jobs/train_detector.py --config jobs/world/detector.yaml --set key=value
"""

import sys

from raypipe.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["pretrain", "detector", *sys.argv[1:]]))
