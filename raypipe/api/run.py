"""A run in a script or notebook: started, or opened again, and what it made."""

import html
import logging
import os
from collections.abc import Collection, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, get_args

import pyarrow as pa

from raypipe.api.config import config_of_run, config_of_source
from raypipe.api.features import Features
from raypipe.api.results import Results
from raypipe.config.run import RunConfig, as_claimed
from raypipe.credentials import without_credentials
from raypipe.distributed.in_notebook import own_display_only
from raypipe.errors import UserError
from raypipe.run_folder.folder import DeadLetter, RunFolder
from raypipe.text import counted

if TYPE_CHECKING:
    from raypipe.extraction.catalog import Entry
    from raypipe.report.gather import Report

logger = logging.getLogger(__name__)

Step = Literal["run", "extract", "train", "score", "evaluate"]


@dataclass(frozen=True)
class RunVideo:
    """A video of a run. Its size, length and rate are None where it could not be read, and `failure` says why."""

    video_id: str
    uri: str
    split: str
    fps: float | None
    num_frames: int | None
    width: int | None
    height: int | None
    failure: str | None = None


@dataclass(frozen=True)
class Finding:
    """A peak of a video's score and the object behind it.

    `sentence` says what the object does: the sentence that was made of it, or its class and motion. `box` is
    x1, y1, x2, y2 in pixels of the video. `is_abnormal` tells how the frame is labelled, None without labels.
    """

    video_id: str
    frame_index: int
    time_seconds: float
    score: float
    sentence: str
    track_id: int
    box: tuple[float, float, float, float]
    is_abnormal: bool | None

    def __str__(self) -> str:
        from raypipe.report.findings import Finding as Reported
        from raypipe.report.findings import Peak

        peak = Peak(self.video_id, self.frame_index, self.time_seconds, self.score, self.track_id)
        return Reported(peak, self.sentence, self.is_abnormal).line()


class ReportPath(str):
    """The path or URI of a report that was written; a notebook shows a link to it and the lines that it begins with."""

    lines: tuple[str, ...] = ()

    def _repr_html_(self) -> str:
        here = Path.cwd()
        path = Path(self)
        link = path.relative_to(here).as_posix() if path.is_relative_to(here) else str(self)
        rows = "".join(f"<li>{html.escape(line)}</li>" for line in self.lines)
        return f'<a href="{html.escape(link)}" target="_blank">{html.escape(link)}</a><ul>{rows}</ul>'


class Run:
    """A run: its config, and what its folder holds. Everything is read from the folder when it is asked for."""

    def __init__(self, config: RunConfig) -> None:
        self._config = config
        self._folder = RunFolder(config.output, config.variation)

    @property
    def config(self) -> RunConfig:
        """The config, validated and with all defaults."""
        return self._config

    @property
    def path(self) -> str:
        """The folder by which `open_run` opens the run, an absolute path or a URI."""
        return self._folder.name(self._folder.product("")).rstrip("/")

    @property
    def videos(self) -> list[RunVideo]:
        """The videos of the run, in the order of their ids."""
        from raypipe.extraction.catalog import read_catalogue

        entries = read_catalogue(self._folder)
        return [_video_of(entries[name]) for name in sorted(entries)]

    @property
    def dead_letters(self) -> list[DeadLetter]:
        """The segments and videos that could not be processed, and why; those of `max_attempts` deaths too."""
        names = {video.video_id for video in self.videos}
        return [letter for letter in self._folder.read_dead() if letter.video_id in names]

    def features(self, columns: Collection[str] | None = None, split: str | None = None) -> Features:
        """Return the features of the run: of all splits, or one ("train", "test"), in all columns or those named.

        Raises UserError on a column or a split that the run does not have.
        """
        from raypipe.extraction.committed_features import committed_features

        return Features(committed_features(self._config, columns, split), self._config.ray)

    def scores(self, video_id: str) -> pa.Table:
        """Return the scores of a test video, a row per frame; the score is null where a frame was not scored.

        Raises UserError where the video has no scores, or its scores were made with other settings.
        """
        from raypipe.anomaly_model.score import made_by
        from raypipe.anomaly_model.trained_model import read_model
        from raypipe.run_folder.tables import read_scores

        model = read_model(self._folder, self._config.score.model)
        if model is None:
            self._require_test_video(video_id)
            kind = self._config.score.model
            raise UserError(f"{self._folder.root} holds no trained {kind!r} model: run `raypipe train` first")
        try:
            return read_scores(self._folder, video_id, made_by(self._config.score, model))
        except UserError:
            self._require_test_video(video_id)
            raise

    def _require_test_video(self, video_id: str) -> None:
        from raypipe.extraction.committed_features import unknown

        splits = {video.video_id: video.split for video in self.videos}
        if video_id not in splits:
            raise UserError(unknown("video", video_id, splits))
        if splits[video_id] != "test":
            raise UserError(f"{video_id} is in the split {splits[video_id]!r}: videos of the split 'test' have scores")

    @property
    def results(self) -> Results:
        """The figures of the scores against the labels. Raises UserError where they were not evaluated."""
        document = self._folder.read_json(self._folder.product("results.json"))
        if document is None:
            raise UserError(f"{self.path} holds no results: run `raypipe evaluate` first")
        return Results(document)

    def findings(self, k: int = 3) -> list[Finding]:
        """Return the `k` strongest findings, of different videos as far as there are any; the report shows the same.

        Raises UserError where there is no trained model, or no video has scores.
        """
        from raypipe.report.strongest_findings import strongest_findings

        if k < 0:
            raise UserError(f"k: {k} is not a number of findings")
        findings = []
        for finding, box in strongest_findings(self._config, k):
            peak = finding.peak
            where = (peak.video_id, peak.frame_index, peak.time_seconds, peak.score)
            findings.append(Finding(*where, finding.words, peak.track_id, box, finding.is_abnormal))
        return findings

    def report(self, out: str | os.PathLike[str] | None = None) -> ReportPath:
        """Write the report, one HTML file, and return its path: by default report/index.html of the run folder.

        A run that is not complete has a report too, which says what is missing.
        """
        from raypipe.report.write import write_report

        with _quiet(progress=False):
            report, where, _ = write_report(self._config, None if out is None else Path(out))
        path = ReportPath(where)
        path.lines = _headlines(report)
        return path

    def __repr__(self) -> str:
        videos = self.videos
        splits = [video.split for video in videos]
        counts = ", ".join(f"{splits.count(split):,} {split}" for split in sorted(set(splits)))
        told = [counted(len(videos), "video") + (f" ({counts})" if counts else "")]
        names = {video.video_id for video in videos}
        num_dead = sum(len(indices) for name, indices in self._folder.dead().items() if name in names)
        told += [counted(num_dead, "dead letter")] if num_dead else []
        results = self._folder.read_json(self._folder.product("results.json"))
        auc = None if results is None else (results.get("metrics") or {}).get("micro_auc", {}).get("value")
        told += [] if auc is None else [f"micro-AUC {auc:.3f}"]
        return f"<Run {self.path}: {', '.join(told)}>"


def _video_of(entry: "Entry") -> RunVideo:
    video, index = entry.video, entry.index
    reason = None if entry.failure is None else entry.failure.message
    if index is None:
        return RunVideo(video.video_id, video.uri, video.split, None, None, None, None, reason)
    size = (index.width, index.height)
    return RunVideo(video.video_id, video.uri, video.split, index.fps, index.num_frames, *size, reason)


def _headlines(report: "Report") -> tuple[str, ...]:
    found = [finding.line() for finding, _ in report.findings]
    metrics = [f"{row.title}: {row.value:.3f}" for row in report.metrics if row.value is not None]
    return (*metrics, *found, *report.notes)


def run(
    config: str | os.PathLike[str] | Mapping[str, Any] | RunConfig,
    /,
    *,
    step: Step = "run",
    retry_dead: bool = False,
    progress: bool = False,
    **overrides: Any,
) -> Run:
    """Do a run, or go on with it, and return it: extract features, train, score, evaluate, or one `step` of these.

    `config` is a YAML file, a dict of the same keys, or the config of another run. Overrides change its values, as in
    `output="runs/x"`, `score={"model": "knn"}` or `**{"score.model": "knn"}`. What the run folder already holds is not
    computed again; `retry_dead` tries segments again that failed before.

    Nothing is printed. With `progress` the work is shown on stderr, and what each step did is logged at level INFO in
    any case (logger `raypipe.api.run`). Ray is used where it is initialised, and started on this machine otherwise; it
    is left running. Segments that cannot be processed do not raise, they are in `Run.dead_letters`.

    Raises UserError for a mistake in the config or the data, with the words of the command line.
    """
    if step not in get_args(Step):
        raise UserError(f"step: {step!r} is none of {', '.join(get_args(Step))}")
    made = as_claimed(config_of_source(config, overrides))
    with _quiet(progress=progress), own_display_only():
        # Ray is imported with it, and has something to say where it is shown.
        from raypipe.workflow import run_step

        run_step(step, made, lambda line: logger.info("%s", without_credentials(line)), retry_dead=retry_dead)
    return Run(made)


def open_run(path: str | os.PathLike[str], /) -> Run:
    """Open a run by its folder, a path or any fsspec URI, or by `variations/NAME` below it.

    A run can be opened while it is under way. Raises UserError where there is no run.
    """
    return Run(config_of_run(os.fspath(path)))


@contextmanager
def _quiet(*, progress: bool) -> Iterator[None]:
    """Hide progress unless it is wanted, and the credentials in a user's mistake, which a notebook keeps."""
    from raypipe.monitoring.progress import hidden_progress

    with ExitStack() as stack:
        if not progress:
            stack.enter_context(hidden_progress())
        try:
            yield
        except UserError as error:
            error.args = (without_credentials(str(error)),)
            raise
