"""`raypipe evaluate` on anybody's scores: its options, and what it prints and writes."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from raypipe.datasets.specs import DATASET_NAMES
from raypipe.errors import UserError

if TYPE_CHECKING:
    from raypipe.evaluation.evaluate_files import FileEvaluation

USAGE = "evaluate takes --config (and --set), or --scores with either --labels or --dataset and --root"
OPTIONS = ("scores", "labels", "dataset", "root", "lengths", "fps", "repeat", "partial", "json", "out")


def add_evaluate_options(command: argparse.ArgumentParser) -> None:
    """Add the options of a score file."""
    group = command.add_argument_group("scores of any method, higher for more abnormal")
    kinds = ".npy or .npz, .csv (video,frame,score), .parquet (video_id, frame_index, score) or a folder of these"
    group.add_argument("--scores", type=Path, metavar="FILE", help=kinds)
    group.add_argument("--labels", type=Path, metavar="FILE", help=".npz: labels, video_names, num_frames")
    text = f"or the labels of a data set, and its test videos: {', '.join(DATASET_NAMES)}"
    group.add_argument("--dataset", metavar="NAME", help=text)
    group.add_argument("--root", metavar="DIR", help="where the data set lies")
    text = "frames of each test video (CSV: video,num_frames), for scores that do not name their videos"
    group.add_argument("--lengths", type=Path, metavar="FILE", help=text)
    group.add_argument(
        "--fps", type=float, metavar="N", help="frame rate, for delays and alarms, where it is not known"
    )
    text = "frames that each score stands for, as 16 of features of snippets; it is repeated for them"
    group.add_argument("--repeat", type=int, metavar="N", help=text)
    group.add_argument("--partial", action="store_true", help="evaluate what is scored where videos are missing")
    group.add_argument("--json", type=Path, metavar="OUT", help="where to write the figures")
    text = "folder for results.json, results.parquet (a row per video) and results.md"
    group.add_argument("--out", type=Path, metavar="DIR", help=text)


def is_of_scores(options: argparse.Namespace) -> bool:
    """Whether `evaluate` is asked for the scores of a file rather than those of a run. Raises UserError on both."""
    given = [name for name in OPTIONS if getattr(options, name) not in (None, False)]
    if options.config and given:
        raise UserError(f"{USAGE}; a run's figures are in its output folder")
    return bool(given)


def evaluate_scores(options: argparse.Namespace) -> int:
    """Evaluate a score file, print the figures and write what is asked for. Raises UserError on a mistake."""
    has_dataset = bool(options.dataset or options.root)
    if options.overrides or not options.scores or has_dataset == bool(options.labels):
        raise UserError(USAGE)
    if has_dataset and not (options.dataset and options.root):
        raise UserError("--dataset and --root go together: the name of the data set, and the folder that holds it")
    if options.lengths and options.labels:
        raise UserError("--lengths goes with --dataset; labels tell their lengths themselves")
    if options.fps is not None and not 0 < options.fps < float("inf"):
        raise UserError(f"--fps: {options.fps} is not a frame rate")
    if options.repeat is not None and options.repeat < 1:
        raise UserError(f"--repeat: {options.repeat} is no number of frames")
    from raypipe.datasets.specs import benchmark_of
    from raypipe.evaluation.results import metric_table, per_video_table, results_document, results_page
    from raypipe.run_folder.record import versions
    from raypipe.run_folder.store import write_file, write_json
    from raypipe.run_folder.tables import serialise_table

    found = _evaluate(options)
    remarks = _remarks(found)
    print(metric_table(found.evaluation))
    for remark in remarks:
        print(remark)
    document = results_document(found.evaluation, versions=versions())
    document["evaluation"] |= {"missing_videos": list(found.missing), "num_other_videos": found.num_other_videos}
    document["labels"] = {"notes": list(found.notes)}
    write_json(document, options.json)
    if options.out:
        benchmark = benchmark_of(options.dataset, options.root) if options.dataset else None
        page = results_page(
            found.evaluation, title=f"Results of {options.scores.name}", dataset=benchmark or "", remarks=remarks
        )
        write_json(document, options.out / "results.json")
        write_file(options.out / "results.parquet", serialise_table(per_video_table(found.evaluation)))
        write_file(options.out / "results.md", page.encode())
        print(f"\nresults: {options.out}/results.json, results.parquet, results.md")
    return 0


def _evaluate(options: argparse.Namespace) -> "FileEvaluation":
    from raypipe.config.file import validate
    from raypipe.config.run import DatasetConfig
    from raypipe.config.workflow import EvaluateConfig
    from raypipe.evaluation.evaluate_files import evaluate_dataset, evaluate_labelled

    config = EvaluateConfig()
    if options.labels:
        return evaluate_labelled(
            options.scores,
            options.labels,
            config,
            seed=0,
            fps=options.fps,
            is_partial=options.partial,
            repeat=options.repeat or 1,
        )
    dataset = validate(DatasetConfig, {"name": options.dataset, "root": options.root}, "--dataset")
    return evaluate_dataset(
        options.scores,
        dataset,
        config,
        seed=0,
        lengths=options.lengths,
        fps=options.fps,
        is_partial=options.partial,
        repeat=options.repeat or 1,
    )


def _remarks(found: "FileEvaluation") -> list[str]:
    lines = [f"note: {note}" for note in found.notes]
    if found.missing:
        named = ", ".join(found.missing[:3]) + (", ..." if len(found.missing) > 3 else "")
        lines.append(f"partial: {len(found.missing):,} test videos have no scores: {named}")
    if found.num_other_videos:
        lines.append(f"left out: scores of {found.num_other_videos:,} videos outside the test split")
    return lines
