"""Figures of scores against labels, of a run or of anybody's scores, and their table in text."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from raypipe.config.file import validate
from raypipe.config.workflow import EvaluateConfig
from raypipe.errors import UserError
from raypipe.evaluation.alarms import ONE_PER_HOUR, RATES, OperatingPoint
from raypipe.evaluation.evaluate import VideoResult
from raypipe.evaluation.evaluate_files import FileEvaluation, evaluate_given, labels_by_video, read_score_file
from raypipe.evaluation.results import TITLES, figure, results_document
from raypipe.evaluation.score_files import ScoreTable, read_label_arrays
from raypipe.ops.bootstrap import Metric
from raypipe.text import counted

FilePath = str | os.PathLike[str]


@dataclass(frozen=True, eq=False)
class Results:
    """The figures of frame scores against labels; `document` is what results.json holds of them.

    Without labels there are no metrics.
    """

    document: Mapping[str, Any]

    @cached_property
    def metrics(self) -> dict[str, Metric]:
        """Each metric's `value`, and the ends `low` and `high` of its 95 % interval over videos.

        The names are micro_auc, macro_auc_anchored, macro_auc_skip, average_precision and pr_auc. A value is None
        where it is not defined, and there is no interval of fewer than two videos.
        """
        left_out = self.document["evaluation"]["bootstrap_left_out"]
        errors = self.document["evaluation"]["bootstrap_error"]
        return {
            name: Metric(row["value"], row["low"], row["high"], left_out[name], errors[name])
            for name, row in self.document["metrics"].items()
        }

    @cached_property
    def videos(self) -> list[VideoResult]:
        """The figures of each video: its frames, AUC, detected events and false alarms."""
        return [VideoResult(**row) for row in self.document["videos"]]

    @cached_property
    def alarms(self) -> list[OperatingPoint]:
        """What alarms give at several thresholds: false ones per hour, events detected, and how late.

        Empty where the frame rate is not known.
        """
        figures = ("false_alarms_per_hour", "sensitivity", "mean_delay_seconds")
        points = (self.document.get("alarms") or {}).get("points", ())
        return [OperatingPoint(**(row | {name: Metric(**row[name]) for name in figures})) for row in points]

    @property
    def missing_videos(self) -> list[str]:
        """The videos that have labels but no scores (`evaluate` with `partial`)."""
        return list(self.document["evaluation"].get("missing_videos", ()))

    def __str__(self) -> str:
        counts = self.document["evaluation"]
        lines = [f"{TITLES[name]}: {figure(metric)}" for name, metric in self.metrics.items()]
        frames = f"{counts['num_frames']:,} frames, {counts['num_abnormal']:,} abnormal"
        unscored = f", {counts['num_unscored']:,} not scored" if counts["num_unscored"] else ""
        lines = lines or ["no metrics: there are no labels"]
        if self.alarms:
            point = self.alarms[RATES.index(ONE_PER_HOUR)]
            events = f"{point.num_detected:,} of {point.num_detected + point.num_missed:,} events detected"
            delay = point.median_delay_seconds
            lines.append(f"{point.rule}: {events}" + ("" if delay is None else f", {delay:.1f} s late (median)"))
        return "\n".join([*lines, f"{counted(counts['num_videos'], 'video')}, {frames}{unscored}"])

    def __repr__(self) -> str:
        return f"<Results: {str(self).replace(chr(10), '; ')}>"


def evaluate(
    scores: FilePath | ArrayLike | Mapping[str, ArrayLike],
    labels: FilePath | ArrayLike | Mapping[str, ArrayLike],
    *,
    fps: float | None = None,
    partial: bool = False,
    bootstrap_samples: int | None = None,
    seed: int = 0,
) -> Results:
    """Return the figures of frame scores, higher for more abnormal, against labels, 1 or True for abnormal frames.

    Scores and labels are each an array of all frames, shape (N,), a dict of arrays by video, (T,), or a file as
    `raypipe evaluate` takes it. One array of scores for several videos is cut in the order of the labels. In arrays a
    score of NaN says that the frame was not scored: it is left out of the figures, and counted. `fps` is the frame
    rate, for delays and false alarms per hour. With `partial` videos without scores are left out. Intervals are
    bootstraps over videos, so one array alone has none.

    Raises UserError where scores or labels are not such, or do not fit one another.
    """
    if fps is not None and not 0 < fps < float("inf"):
        raise UserError(f"fps: {fps} is not a frame rate")
    settings = {} if bootstrap_samples is None else {"bootstrap_samples": bootstrap_samples}
    found = evaluate_given(
        _scores(scores),
        _labels(labels),
        validate(EvaluateConfig, settings, "evaluate"),
        seed=seed,
        fps=fps,
        is_partial=partial,
        named=(_name(scores, "scores"), _name(labels, "labels")),
    )
    return results_of(found)


def results_of(found: FileEvaluation) -> Results:
    """Return the figures of a score file with what was left out of it."""
    document = results_document(found.evaluation)
    document["evaluation"] |= {"missing_videos": list(found.missing), "num_other_videos": found.num_other_videos}
    return Results(document)


def _name(given: object, otherwise: str) -> str:
    return os.fspath(given) if isinstance(given, str | os.PathLike) else otherwise


def _scores(given: FilePath | ArrayLike | Mapping[str, ArrayLike]) -> ScoreTable | NDArray[np.float64]:
    if isinstance(given, str | os.PathLike):
        return read_score_file(Path(given))
    if isinstance(given, Mapping):
        return ScoreTable({name: _score(values, f"scores: {name!r}") for name, values in given.items()})
    return _score(given, "scores")


def _score(values: ArrayLike, where: str) -> NDArray[np.float64]:
    score = np.asarray(values)
    if score.ndim != 1 or score.dtype.kind not in "fiu":
        raise UserError(f"{where}: scores must be one number per frame, not {score.dtype} of shape {score.shape}")
    infinite = np.flatnonzero(np.isinf(score))
    if infinite.size:
        raise UserError(f"{where}: {infinite.size:,} of {score.size:,} scores are infinite, the first is {infinite[0]}")
    return score.astype(np.float64)


def _labels(given: FilePath | ArrayLike | Mapping[str, ArrayLike]) -> dict[str, NDArray[np.bool_]]:
    if isinstance(given, str | os.PathLike):
        return labels_by_video(*read_label_arrays(Path(given)))
    if isinstance(given, Mapping):
        return {name: _label(values, f"labels: {name!r}") for name, values in given.items()}
    return {"all": _label(given, "labels")}


def _label(values: ArrayLike, where: str) -> NDArray[np.bool_]:
    label = np.asarray(values)
    if label.ndim != 1 or label.dtype.kind not in "biuf":
        raise UserError(f"{where}: must be 0 or 1 per frame, not {label.dtype} of shape {label.shape}")
    bad = np.flatnonzero(~np.isin(label, (0, 1)))
    if bad.size:
        raise UserError(f"{where}: must be 0 or 1, but label {bad[0]} is {label[bad[0]]}")
    return label.astype(bool)
