"""What a report says of a run: everything is gathered here, from the run folder, and written by `report.page`.

Any state of a run can be reported; what is missing is said in the report's notes. Videos are read one after
the other: of each a fixed number of points is kept, some 15 KB, and of a fixed number of them pictures.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from raypipe.anomaly_model.score import made_by
from raypipe.credentials import hide_credentials, without_credentials
from raypipe.datasets.specs import SPECS, benchmark_of
from raypipe.errors import UserError
from raypipe.evaluation.published import published
from raypipe.evaluation.results import TITLES
from raypipe.extraction.catalog import Entry, list_videos, read_catalogue
from raypipe.extraction.planning import plan_video
from raypipe.monitoring.progress import progress
from raypipe.monitoring.timings import stage_timings
from raypipe.report.findings import Finding, Scorer, load_scorer, read_objects, strongest_peaks
from raypipe.report.pictures import Picture
from raypipe.report.videos import VideoView, add_objects, is_result_of, view_of, were_scored
from raypipe.run_folder.folder import DeadLetter, RunFolder
from raypipe.run_folder.record import read_run
from raypipe.run_folder.tables import read_scores
from raypipe.text import counted

if TYPE_CHECKING:
    from raypipe.config.run import RunConfig
    from raypipe.ops.intervals import Interval

# What bounds the size of a report: about 12 KB for a video and 160 KB more for one with pictures, 22 MB in all.
MAX_VIDEOS = 1000
MAX_PICTURED = 60
MAX_DEAD_LETTERS = 100
NUM_FINDINGS = 3


@dataclass(frozen=True)
class MetricRow:
    """A metric with its interval, and the paper's figure where it has one."""

    title: str
    value: float | None
    low: float | None
    high: float | None
    paper: float | None = None


@dataclass
class Report:
    """All that a report shows."""

    name: str
    output: str
    config: dict[str, Any]
    config_hash: str
    versions: dict[str, str]
    counts: dict[str, str]
    dead: list[DeadLetter]
    damaged: dict[str, str]
    notes: list[str]
    metrics: list[MetricRow]
    benchmark: str | None
    curves: dict[str, dict[str, list[float]] | None]
    timings: dict[str, dict[str, float]]
    videos: list[VideoView]
    num_left_out: int
    findings: list[tuple[Finding, Picture]]


@dataclass(frozen=True)
class _Extraction:
    """What is there to be scored: all videos, how many segments of each are planned, which are done, and which dead."""

    entries: list[Entry]
    planned: dict[str, int]
    committed: dict[str, set[int]]
    dead: list[DeadLetter]

    @property
    def tests(self) -> list[Entry]:
        """The readable test videos."""
        return [entry for entry in self.entries if entry.video.split == "test" and entry.index is not None]

    @property
    def damaged(self) -> dict[str, str]:
        """What is wrong with videos that can be used in part."""
        indices = {entry.video.video_id: entry.index for entry in self.entries}
        return {name: index.damage for name, index in indices.items() if index is not None and index.damage}

    def notes(self) -> list[str]:
        """Return what is missing, in words."""
        total = sum(self.planned.values())
        missing = total - sum(map(len, self.committed.values()))
        if not self.entries:
            return ["No video is known yet: the run was stopped while it looked at them. Run raypipe extract."]
        if not missing:
            return []
        num_dead = sum(letter.stage != "probe" for letter in self.dead)
        dead_too = f", {num_dead:,} of them as dead letters" if num_dead else ""
        what = f"{missing:,} of {total:,} segments have no features{dead_too}"
        return [f"{what}: their frames have no scores. raypipe extract goes on with what is left."]


def gather(config: "RunConfig") -> Report:
    """Return all that there is to say of a run, complete or not.

    Raises UserError where the output folder holds no run, or that of another config.
    """
    folder = RunFolder(config.output, config.variation)
    document = read_run(folder, config.flat_features(), config.feature_hash())
    extraction = _read_extraction(config, folder)
    notes = extraction.notes()
    scorer = load_scorer(config, folder)
    if extraction.entries and scorer is None:
        notes.append(f"There is no trained {config.score.model} model yet: run raypipe train.")
    videos, results = _read_results(config, folder, scorer, extraction.tests, notes)
    if config.score.min_max and videos:
        notes.append("Scores were scaled to 0..1 within each video, which uses the future and raises micro-AUC.")
    videos.sort(key=lambda video: (-video.max_score, video.video_id))
    shown = videos[:MAX_VIDEOS]
    by_name = {entry.video.video_id: entry for entry in extraction.tests}
    pictured = [(video, by_name[video.video_id]) for video in shown if video.peaks][:MAX_PICTURED]
    _add_pictures(folder, config, scorer, pictured, extraction.committed, notes)
    benchmark = benchmark_of(config.dataset.name, config.dataset.root)
    metrics = _metrics(results, benchmark)
    return Report(
        name=config.variation or folder.root.rstrip("/").rpartition("/")[2] or folder.root,
        output=without_credentials(folder.root),
        # A report is handed on more easily than a run folder.
        config=hide_credentials(config.flat()),
        config_hash=config.feature_hash(),
        versions=document.get("versions", {}),
        counts=_counts(extraction, videos),
        dead=extraction.dead,
        damaged=extraction.damaged,
        notes=notes,
        metrics=metrics,
        benchmark=SPECS[benchmark].title if benchmark else None,
        curves=results.get("curves", {}) if metrics else {},
        timings=stage_timings(folder),
        videos=shown,
        num_left_out=len(videos) - len(shown),
        findings=_findings(shown),
    )


def _read_extraction(config: "RunConfig", folder: RunFolder) -> _Extraction:
    entries = sorted(read_catalogue(folder).values(), key=lambda entry: entry.video.video_id)
    planned = {entry.video.video_id: len(plan_video(config, entry)) for entry in entries}
    committed = {video: indices for video, indices in folder.committed().items() if video in planned}
    dead = [letter for letter in folder.read_dead() if letter.video_id in planned]
    return _Extraction(entries, planned, committed, dead)


def _read_results(
    config: "RunConfig", folder: RunFolder, scorer: Scorer | None, tests: Sequence[Entry], notes: list[str]
) -> tuple[list[VideoView], dict[str, Any]]:
    """Return the scored videos and the content of results.json, which is empty if it is of other scores or labels."""
    labels, are_labels_known = _labels(config, notes)
    results = folder.read_json(folder.product("results.json")) or {}
    rows = {row["video_id"]: row for row in results.get("videos", [])}
    videos, is_stale = _read_videos(folder, config, scorer, tests, labels, rows, notes)
    if labels is not None and videos and not results:
        notes.append("The scores have not been compared with the labels yet: run raypipe evaluate.")
    if is_stale or (are_labels_known and labels is None and results.get("metrics")):
        notes.append("results.json is of other scores or labels and is left out: run raypipe evaluate again.")
        results = {}
    return videos, results


def _metrics(results: Mapping[str, Any], benchmark: str | None) -> list[MetricRow]:
    # The paper's own figures come first.
    paper = published(benchmark)[0] if benchmark else None
    return [
        MetricRow(TITLES.get(name, name), row["value"], row["low"], row["high"], getattr(paper, name, None))
        for name, row in results.get("metrics", {}).items()
    ]


def _labels(config: "RunConfig", notes: list[str]) -> "tuple[dict[str, list[Interval]] | None, bool]":
    """Return the labels of the data set as it is now, since the run folder keeps none, and whether they could be read.

    They are None where they could not, and where the data set has none.
    """
    try:
        labels = list_videos(config).labels
    except UserError as error:
        notes.append(f"The labels cannot be read, so no truth is shaded: {error}")
        return None, False
    if labels is None:
        notes.append("The data set has no labels: there are no metrics, and no truth is shaded.")
    return labels, True


def _read_videos(
    folder: RunFolder,
    config: "RunConfig",
    scorer: Scorer | None,
    tests: Sequence[Entry],
    labels: "dict[str, list[Interval]] | None",
    results: dict[str, dict[str, Any]],
    notes: list[str],
) -> tuple[list[VideoView], bool]:
    """Return the videos that have scores, and whether the results are of other scores or labels than these."""
    videos: list[VideoView] = []
    if scorer is None:
        return videos, bool(results)
    made, without, refused, agreeing = made_by(config.score, scorer.model), 0, [], set()
    for entry in tests:
        name = entry.video.video_id
        if not folder.filesystem.exists(folder.score_path(name)):
            without += 1
            continue
        try:
            table = read_scores(folder, name, made)
        except UserError as error:
            refused.append(str(error))
            continue
        row = results.get(name)
        view = view_of(name, table, labels, row)
        if row is not None and is_result_of(name, table, labels, row):
            agreeing.add(name)
        videos.append(view)
    if without:
        notes.append(f"{without:,} of {counted(len(tests), 'test video')} have no scores yet: run raypipe score.")
    if refused:
        notes.append(f"{len(refused):,} of {counted(len(tests), 'test video')} are left out: {refused[0]}")
    names = {view.video_id for view in videos}
    return videos, bool(results) and not set(results) == agreeing == names


def _add_pictures(
    folder: RunFolder,
    config: "RunConfig",
    scorer: Scorer | None,
    videos: Sequence[tuple[VideoView, Entry]],
    committed: dict[str, set[int]],
    notes: list[str],
) -> None:
    """Add to videos what needs their objects and frames: words, pictures of peaks, and the strongest tracks."""
    if not videos:
        return
    outdated, absent = [], []
    with progress("report", len(videos), "videos") as advance:
        for view, entry in videos:
            segments = committed.get(view.video_id, set())
            objects = read_objects(folder, view.video_id, segments, config.feature_hash(), scorer)
            if objects is None or not were_scored(view, objects, config.decode.stride):
                outdated.append(view.video_id)
            else:
                add_objects(view, entry, objects, config)
                absent += [peak.picture.absent for peak in view.peaks[:1] if peak.picture.absent]
            advance(1)
    if outdated:
        notes.append(
            f"The features of {counted(len(outdated), 'video')} have changed since they were scored, the first: "
            f"{outdated[0]}. Their objects are not shown; run raypipe score again."
        )
    if absent:
        notes.append(f"{counted(len(absent), 'video')} could not be opened for pictures, the first: {absent[0]}")


def _findings(videos: Sequence[VideoView]) -> list[tuple[Finding, Picture]]:
    """Return the strongest peaks whose objects are known, in words."""
    views = {view.video_id: {peak.peak: peak for peak in view.peaks} for view in videos if view.is_pictured}
    found = []
    for peak in strongest_peaks({name: list(peaks) for name, peaks in views.items()}, NUM_FINDINGS):
        view = views[peak.video_id][peak]
        found.append((Finding(peak, view.words, view.is_abnormal), view.picture))
    return found


def _counts(extraction: _Extraction, videos: Sequence[VideoView]) -> dict[str, str]:
    entries = extraction.entries
    splits = [entry.video.split for entry in entries]
    num_scored = sum(view.num_frames - view.num_unscored for view in videos)
    frames = sum(entry.index.num_frames for entry in entries if entry.index is not None)
    num_done, num_planned = sum(map(len, extraction.committed.values())), sum(extraction.planned.values())
    return {
        "videos": f"{len(entries):,} ({splits.count('train'):,} train, {splits.count('test'):,} test)",
        "frames": f"{frames:,}",
        "segments done": f"{num_done:,} of {num_planned:,}",
        "dead letters": f"{len(extraction.dead):,}",
        "scored test videos": f"{len(videos):,} of {splits.count('test'):,} ({num_scored:,} frames)",
    }
