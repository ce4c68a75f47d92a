"""Ask a vision-language model what holds of captioned images: `raypipe pretrain labels`.

ray job submit --working-dir . -- python jobs/label_vqa.py --config jobs/label_vqa.yaml --set key=value
"""

import sys

from raypipe.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main(["pretrain", "labels", *sys.argv[1:]]))
