"""Label (image, caption) pairs by a vision-language model, for jobs/train_smm.py; an interrupted job goes on.

ray job submit --working-dir . -- python jobs/label_vqa.py --config jobs/label_vqa.yaml --set key=value
"""

from raypipe.cli.main import run_script
from raypipe.errors import EXIT_DEAD_LETTERS
from raypipe.pretraining.coco_captions import read_captions
from raypipe.pretraining.labelling import LabelVqaConfig, label_vqa, load_label_config
from raypipe.pretraining.vqa_labels import read_labels


def main(config: LabelVqaConfig) -> int:
    """Label what is not labelled yet and say what came of it; return the exit code: 0, or 3 with dead letters."""
    captions = read_captions(config.annotations, config.images)
    print(f"data: {captions.report()}", flush=True)
    result = label_vqa(config, captions)
    print(
        f"asked {result.num_labels:,} questions: {result.num_yes:,} yes, {result.num_unread:,} answers say neither; "
        f"{result.num_done_before:,} of {result.num_parts:,} parts were there already"
    )
    for path, reason in list(result.unreadable.items())[:5]:
        print(f"unreadable: {path}: {reason}")
    if len(result.unreadable) > 5:
        print(f"unreadable: {len(result.unreadable) - 5:,} more images")
    for letter in result.dead:
        print(f"dead: part {letter.segment_index}: {letter.message}")
    if len(result.dead) < result.num_parts:
        print(f"labels: {read_labels(config.output).report()}")
        print(f"result: {config.output}, for targets.labels of jobs/train_smm.py")
    return EXIT_DEAD_LETTERS if result.dead else 0


if __name__ == "__main__":
    raise SystemExit(run_script(__doc__, main, load=load_label_config))
