"""Cut the objects of a run's normal training videos out, with their captions: `raypipe pretrain crops`.

python jobs/export_crops.py --config run.yaml --out data/crops --every 1.0
"""

import sys

from raypipe.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["pretrain", "crops", *sys.argv[1:]]))
