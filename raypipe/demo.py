"""`raypipe demo`: the rendered world (docs/world.md) through a whole run, by the models that are shipped.

    <out>/data/       the clips, with labels and truth        <out>/run/        an ordinary run folder, with its report
    <out>/demo.json   what was said when all was done: a second call says it again

Everything can be killed and started again: clips are kept one by one, and the run goes on as any run.
"""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from raypipe.config.file import digest
from raypipe.config.run import RunConfig, parse_config
from raypipe.config.shipped_models import BLIP2, SMM, YOLO
from raypipe.distributed.cluster import connect
from raypipe.distributed.tasks import run_tasks
from raypipe.errors import EXIT_DEAD_LETTERS
from raypipe.monitoring.progress import progress
from raypipe.report.write import REPORT_PATH, finding_lines, write_report
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.record import versions
from raypipe.text import counted
from raypipe.weights.identity import models_of, require_weights
from raypipe.world.clips import WorldConfig
from raypipe.world.folder import FolderPlan, finish_folder, missing_clips, open_folder, write_clip

if TYPE_CHECKING:
    from raypipe.config.runtime import RayConfig

DONE_NAME = "demo.json"
# Clips, features and what Ray writes beside them come to less.
FREE_BYTES = 256 * 2**20


@dataclass(frozen=True)
class Demo:
    """What a demo is made of: clips, and the models that watch them.

    Train clips are short and many: what is normal is learned from different people, not from more frames of the same.
    """

    num_train: int = 40
    train_frames: int = 75
    num_test: int = 14
    num_frames: int = 150
    models: dict[str, str] = field(default_factory=lambda: {"yolo": YOLO, "blip2": BLIP2, "smm": SMM})

    def world(self, seed: int) -> FolderPlan:
        """Return what is drawn; with a multiple of seven test clips, every novelty is shown as often."""
        config = WorldConfig(seed=seed, num_frames=self.num_frames)
        return FolderPlan(config, self.num_train, self.num_test, train_frames=self.train_frames)


def demo_config(root: Path, output: Path, seed: int, models: dict[str, str]) -> dict[str, Any]:
    """Return the config of a run over the world below `root`, as nested dicts."""
    return {
        "dataset": {"name": "folder", "root": str(root)},
        "output": str(output),
        "seed": seed,
        # Clips are short enough to be whole: a sentence is then carried for as long as it holds.
        "segment_bytes": None,
        "detector": {"kind": "yolo", "yolo": {"weights": models["yolo"], "image_size": 320}},
        # The paper's own words, of the frame alone. A runner crosses his width in some ten frames: what moves inside
        # his box before and after is less and less his.
        "motion": {"pooling": "mean_per_bin", "window_seconds": 0.0},
        # Narrow, or else what is novel is reconstructed with the rest: the few dimensions that the small BLIP-2 uses go
        # through the paper's 512 whatever they hold (docs/world.md).
        "train": {"batch_size": 256, "epochs": 25, "hidden_size": 16, "learning_rate": 0.003},
        # What is novel in a clip of six seconds is over in two, which half a second of smoothing blurs. `joint` is the
        # paper's, and on worlds 501 to 503 a little above `balanced` (docs/world.md).
        "score": {"weighting": "joint", "smoothing_seconds": 0.12},
        "weights": {"blip2": models["blip2"], "smm": models["smm"]},
        # The world's sentences are four words and more, and its grammar leaves a beam little to find.
        "sentence": {"num_beams": 1, "min_length": 5, "max_length": 20},
        "features": {"spatial": "cross"},
    }


def run_demo(out: Path, seed: int, say: Callable[[str], None], demo: Demo | None = None) -> int:
    """Draw, extract, train, score, evaluate and report whatever of it is not done yet; return the exit code.

    Raises UserError where a model is missing, and where `out` cannot be written or holds something else.
    """
    from raypipe.workflow import run_step

    demo = demo or Demo()
    started = time.monotonic()
    root = out / "data"
    config = parse_config(demo_config(root, out / "run", seed, demo.models), "demo")
    plan = demo.world(seed)
    require_weights(config.detector)
    models = models_of(config)
    was_begun = (out / "run").exists() or len(missing_clips(root, plan)) < len(plan.clips())
    open_folder(root, plan)
    folder = RunFolder(str(out.absolute()))
    folder.require_space(FREE_BYTES)
    done = folder.read_json(DONE_NAME)
    if done is not None and done["hash"] == demo_state(config, plan, models):
        say(f"{out}: this demo is done, and this is what it said; to do it anew, remove the folder")
        for line in done["lines"]:
            say(line)
        return int(done["exit_code"])
    lines: list[str] = []

    def keep(line: str) -> None:
        lines.append(line)
        say(line)

    draw(root, plan, config.ray, keep)
    num_dead = run_step("run", config, keep)
    report, where, size = write_report(config)
    for line in ["", *(f"note: {note}" for note in report.notes), *finding_lines(report), f"report: {where} ({size})"]:
        keep(line)
    whole = "what was left of the demo" if was_begun else "the whole demo"
    keep(f"{whole} took {time.monotonic() - started:.0f} s")
    exit_code = EXIT_DEAD_LETTERS if num_dead else 0
    document = {"hash": demo_state(config, plan, models), "exit_code": exit_code, "lines": lines}
    folder.commit_json(DONE_NAME, document)
    return exit_code


def draw(root: Path, plan: FolderPlan, config: "RayConfig", say: Callable[[str], None]) -> None:
    """Draw the clips of a folder that are not whole yet, on all cores. Raises UserError where one cannot be written."""
    places = missing_clips(root, plan)
    if places:
        whole = counted(len(plan.clips()), "clip")
        say(f"world: drawing {len(places)} of {whole}, {plan.num_frames(places)} frames, in {root}")
        connect(config)
        calls = {place: (root.absolute(), plan, *place) for place in places}
        with progress("draw", plan.num_frames(places)) as advance:
            for _, num_frames in run_tasks(write_clip, calls, num_cpus=1, max_retries=2):
                advance(num_frames)
    finish_folder(root, plan)


def demo_state(config: RunConfig, plan: FolderPlan, models: dict[str, str]) -> str:
    """Return the hash of all that a finished demo is made of and has written."""
    folder, data = RunFolder(config.output), RunFolder(str(config.dataset.root))
    there = [folder.exists(name) for name in (REPORT_PATH, "results.json")]
    stamps = [folder.stamps(kind) for kind in ("features", "scores", "models")]
    stamps += [data.stamps(kind) for kind in ("train", "test", "labels", "labels.csv")]
    return digest([config.model_dump(mode="json"), plan.document(), models, versions(), there, stamps])
