"""The strongest findings of a run on their own, as many as are wanted, without a report's pictures."""

import logging
from typing import TYPE_CHECKING

from raypipe.anomaly_model.score import made_by
from raypipe.errors import UserError
from raypipe.extraction.catalog import list_videos, read_catalogue
from raypipe.report.findings import Finding, Objects, Peak, load_scorer, read_objects, strongest_peaks
from raypipe.report.videos import VideoView, view_of, were_scored
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.tables import read_scores

if TYPE_CHECKING:
    from raypipe.config.run import RunConfig
    from raypipe.ops.intervals import Interval

logger = logging.getLogger(__name__)

Box = tuple[float, float, float, float]


def strongest_findings(config: "RunConfig", count: int) -> list[tuple[Finding, Box]]:
    """Return the `count` strongest findings, and the box (x1, y1, x2, y2) of each one's object, as a report has them.

    Videos without scores are left out, and so are those whose features have changed since they were scored. Raises
    UserError where there is no trained model, or no video has scores.
    """
    folder = RunFolder(config.output, config.variation)
    scorer = load_scorer(config, folder)
    if scorer is None:
        raise UserError(f"{folder.root} holds no trained {config.score.model!r} model: run `raypipe train` first")
    views = _views(config, folder, made_by(config.score, scorer.model))
    committed = folder.committed()
    known: dict[str, Objects] = {}
    while True:
        peaks = {name: [view.peak for view in views[name].peaks] for name in views}
        chosen = strongest_peaks(peaks, count)
        new = {peak.video_id for peak in chosen} - set(known)
        if not new:
            return [_finding(views[peak.video_id], peak, known[peak.video_id], config) for peak in chosen]
        for name in new:
            objects = read_objects(folder, name, committed.get(name, set()), config.feature_hash(), scorer)
            if objects is None or not were_scored(views[name], objects, config.decode.stride):
                logger.warning("The features of %s have changed since they were scored; run raypipe score again.", name)
                del views[name]
            else:
                known[name] = objects


def _views(config: "RunConfig", folder: RunFolder, made: dict[str, object]) -> dict[str, VideoView]:
    labels = _labels(config)
    entries = read_catalogue(folder)
    tests = sorted(name for name, entry in entries.items() if entry.video.split == "test" and entry.index is not None)
    scored = [name for name in tests if folder.filesystem.exists(folder.score_path(name))]
    # Without any the first one's absence is told.
    return {name: view_of(name, read_scores(folder, name, made), labels, None) for name in scored or tests[:1]}


def _labels(config: "RunConfig") -> "dict[str, list[Interval]] | None":
    try:
        return list_videos(config).labels
    except UserError as error:
        logger.warning("The labels cannot be read, so findings say nothing of them: %s", error)
        return None


def _finding(view: VideoView, peak: Peak, objects: Objects, config: "RunConfig") -> tuple[Finding, Box]:
    row = objects.row_of(peak.track_id, peak.frame_index)
    label = next(shown.is_abnormal for shown in view.peaks if shown.peak == peak)
    left, top, right, bottom = objects.boxes[row].tolist()
    return Finding(peak, objects.words(row, config.motion), label), (left, top, right, bottom)
