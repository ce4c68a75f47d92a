"""`raypipe ablate`: every variation of an ablation, over as few extractions as can be, and one table of them all.

Whatever is done stays done: features are committed by segment, models are trained once, and a variation whose results
are of the same settings, features and labels is not done again. One that fails costs only itself.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from raypipe.ablation.plan import AblationPlan, Group, Planned, plan_ablation
from raypipe.anomaly_model.training_hash import training_hash
from raypipe.config.file import digest
from raypipe.distributed.cluster import connect
from raypipe.distributed.tasks import cause_of, is_machine_failure
from raypipe.errors import EXIT_DEAD_LETTERS, DataError, UserError
from raypipe.evaluation.results import figure, markdown_table
from raypipe.extraction.catalog import Catalogue, list_videos, read_catalogue, require_features
from raypipe.ops.bootstrap import Metric
from raypipe.run_folder.digests import feature_digests
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.record import versions
from raypipe.text import first_line
from raypipe.tracking.experiment import Experiment, track
from raypipe.tracking.server import ui_command
from raypipe.workflow import RESULTS_NAME, evaluate_step, extract_step, score_step, train_step

logger = logging.getLogger(__name__)

TABLE_NAME = "ablation.md"
DOCUMENT_NAME = "ablation.json"
DONE_NAME = "variation.json"
# Parts of a config that decide how a variation is computed, not what comes of it.
WITHOUT_EFFECT = ("ray", "tracking", "output", "layout", "max_attempts")
SHOWN_METRICS = {
    "micro_auc": "micro-AUC",
    "macro_auc_anchored": "macro-AUC, anchored",
    "average_precision": "average precision",
}
EXIT_FAILED = 1


@dataclass(frozen=True)
class Outcome:
    """What became of a variation: its metrics (`value`, `low`, `high` each), or the reason why it has none."""

    name: str
    title: str
    status: Literal["done", "done before", "failed"]
    folder: str
    metrics: dict[str, dict[str, float | None]] = field(default_factory=dict)
    published: float | None = None
    reason: str = ""


def ablate(
    path: str,
    overrides: Sequence[str],
    say: Callable[[str], None],
    *,
    base: str | None = None,
    only: Sequence[str] | None = None,
) -> int:
    """Do an ablation and return the exit code: 0, 3 with dead letters, 1 where a variation failed.

    Raises UserError before any work where it cannot be done as a whole; see `ablation.plan_ablation`.
    """
    plan = plan_ablation(path, overrides, base=base, only=only)
    for group in plan.groups:
        list_videos(group.config)
    count = sum(len(group.members) for group in plan.groups)
    say(f"ablation: {count} variations over {len(plan.groups)} extractions, in {plan.output}")
    connect(plan.config.ray)
    outcomes: dict[str, Outcome] = {}
    with track(plan.config.tracking, plan.output, run_name="ablate", tags={"raypipe.step": "ablate"}) as experiment:
        for group in plan.groups:
            for outcome in _do_group(plan, group, experiment, say):
                outcomes[outcome.name] = outcome
            _write_tables(plan, outcomes)
        table = _table(plan, list(outcomes.values()))
        for line in ["", *table, ""]:
            say(line)
        folder = RunFolder(plan.output)
        say(f"tables: {folder.name(TABLE_NAME)}, {folder.name(DOCUMENT_NAME)}")
        if experiment.tracking_uri is not None:
            say(f"look at the runs: {ui_command(experiment.tracking_uri)}")
    if any(outcome.status == "failed" for outcome in outcomes.values()):
        return EXIT_FAILED
    folders = [RunFolder(group.config.output) for group in plan.groups]
    # Of videos that are gone, dead letters may be left.
    return EXIT_DEAD_LETTERS if any(folder.dead().keys() & read_catalogue(folder).keys() for folder in folders) else 0


def _do_group(plan: AblationPlan, group: Group, experiment: Experiment, say: Callable[[str], None]) -> list[Outcome]:
    """Extract the features of a group and do its variations one after another."""
    names = ", ".join(planned.variation.name for planned in group.members)
    say(f"\n{names}: features {', '.join(group.config.features.extracted)}")

    def work() -> None:
        with experiment.child(f"extract for {names}"[:250], group.config.flat()) as child:
            _say(extract_step(group.config, child), say)

    reason = _attempt(work)
    if reason:
        say(f"failed: {reason}")
        return [_outcome(plan, planned, "failed", reason=f"extraction: {reason}") for planned in group.members]
    catalogue = require_features(group.config, RunFolder(group.config.output))
    return [_do_variation(plan, planned, catalogue, experiment, say) for planned in group.members]


def _do_variation(
    plan: AblationPlan, planned: Planned, catalogue: Catalogue, experiment: Experiment, say: Callable[[str], None]
) -> Outcome:
    config, name = planned.config, planned.variation.name
    folder = RunFolder(config.output, config.variation)
    done_hash = _done_hash(planned, folder, catalogue)
    done = folder.read_json(folder.product(DONE_NAME))
    if done is not None and done["hash"] == done_hash:
        say(f"\n{name}: done before")
        return _outcome(plan, planned, "done before", metrics=done["metrics"])
    say(f"\n{name}: {planned.variation.title}")

    def work() -> None:
        with experiment.child(name, config.flat()) as child:
            for step in (train_step, score_step, evaluate_step):
                _say(step(config, child), say)

    reason = _attempt(work)
    if reason:
        say(f"failed: {reason}")
        return _outcome(plan, planned, "failed", reason=reason)
    metrics = (folder.read_json(folder.product(RESULTS_NAME)) or {})["metrics"]
    folder.commit_json(folder.product(DONE_NAME), {"hash": done_hash, "metrics": metrics})
    return _outcome(plan, planned, "done", metrics=metrics)


def _done_hash(planned: Planned, folder: RunFolder, catalogue: Catalogue) -> str:
    """Return the hash of all that decides a variation's results."""
    settings = {
        key: value for key, value in planned.config.flat().items() if key.partition(".")[0] not in WITHOUT_EFFECT
    }
    return digest(
        [
            settings,
            training_hash(planned.config, folder, catalogue),
            feature_digests(folder),
            catalogue.labels,
            versions()["raypipe"],
        ]
    )


def _attempt(work: Callable[[], None]) -> str:
    """Do some work and return why it failed, empty where it did not.

    A variation may fail without the others of its settings, its data, and the machines it ran on. Anything else is a
    fault of the program, and ends the ablation.
    """
    try:
        work()
    except Exception as error:
        cause = cause_of(error)
        if not isinstance(cause, UserError | DataError) and not is_machine_failure(error):
            raise
        logger.info("a variation failed", exc_info=error)
        reason = first_line(cause)
        return reason if isinstance(cause, UserError) else f"{type(cause).__name__}: {reason}".removesuffix(": ")
    return ""


def _say(lines: Sequence[str], say: Callable[[str], None]) -> None:
    for line in lines:
        say(line)


def _outcome(
    plan: AblationPlan,
    planned: Planned,
    status: Literal["done", "done before", "failed"],
    *,
    metrics: dict[str, dict[str, float | None]] | None = None,
    reason: str = "",
) -> Outcome:
    published = planned.variation.published.get(plan.published_as)
    folder = RunFolder(planned.config.output, planned.config.variation)
    return Outcome(
        name=planned.variation.name,
        title=planned.variation.title,
        status=status,
        folder=folder.name(folder.product("").rstrip("/")),
        metrics=metrics or {},
        published=None if published is None else published / 100,
        reason=reason,
    )


def _table(plan: AblationPlan, outcomes: Sequence[Outcome]) -> list[str]:
    has_published = any(outcome.published is not None for outcome in outcomes)
    rows = []
    for outcome in outcomes:
        row = [outcome.name, outcome.title]
        for name in SHOWN_METRICS:
            metric = outcome.metrics.get(name)
            row.append("-" if metric is None else figure(Metric(metric["value"], metric["low"], metric["high"])))
        if has_published:
            row.append("-" if outcome.published is None else f"{outcome.published:.3f}")
        rows.append([*row, outcome.status + (f": {outcome.reason}" if outcome.reason else "")])
    published = [f"micro-AUC, the paper on {plan.published_as}"] if has_published else []
    return markdown_table(["variation", "what", *SHOWN_METRICS.values(), *published, "status"], rows)


def _write_tables(plan: AblationPlan, outcomes: dict[str, Outcome]) -> None:
    """Write what is known so far, so that an ablation that is stopped leaves its tables, too."""
    folder = RunFolder(plan.output)
    config = plan.config
    sigma = f"{config.score.smoothing_seconds:g} s" if config.score.smoothing_seconds else "off"
    text = [
        "# Ablation",
        "",
        *_table(plan, list(outcomes.values())),
        "",
        f"Intervals are 95 % bootstraps over videos. Smoothing of the base: {sigma}. Data set: {config.dataset.name}, "
        f"{config.dataset.root}.",
    ]
    folder.commit(folder.path(TABLE_NAME), ("\n".join(text) + "\n").encode())
    document: dict[str, Any] = {
        "dataset": config.dataset.name,
        "published_as": plan.published_as,
        "versions": versions(),
        "variations": [asdict(outcome) for outcome in outcomes.values()],
    }
    folder.commit_json(DOCUMENT_NAME, document)
