"""Reports made by hand, for tests of the page: no run, no video, and text that would do harm if it were not escaped."""

import base64

import numpy as np

from raypipe.report.findings import Finding, Peak
from raypipe.report.gather import MetricRow, Report
from raypipe.report.pictures import Picture
from raypipe.report.videos import PeakView, TrackView, VideoView
from raypipe.run_folder.folder import DeadLetter

HOSTILE = "<script>alert(1)</script></script><!--<img src=x onerror=alert(2)>' \" & \u2028\u2029 end"

# One pixel.
PIXEL = base64.b64encode(
    base64.b64decode("UklGRjwAAABXRUJQVlA4IDAAAADQAQCdASoBAAEAAUAmJaACdLoB+AADsAD+8ut//NgVzXPv9//S4P0uD9Lg/9KQAAA=")
).decode()


def picture(num_bytes=0):
    """Return a picture that is there; with `num_bytes`, one as large as a real one, for sizes only."""
    content = base64.b64encode(b"\0" * num_bytes).decode() if num_bytes else PIXEL
    return Picture(f"data:image/webp;base64,{content}", 1, 1)


def video(name, *, scores, truth=((0.5, 1.0),), auc=0.75, words="a man runs", pictured=True, num_bytes=0):
    """Return a view at ten frames a second; `truth` None is a data set without labels."""
    score = np.array(scores, float)
    count = len(score)
    peak = Peak(name, int(np.nanargmax(score)), float(np.nanargmax(score)) / 10, float(np.nanmax(score)), 3)
    track = TrackView(
        3, words, 0.1, 0.9, 0.5, 4.0, 1.0, 3.0, np.array([0, 0, 0, 2, 1, 0, 0, 0], np.float32), picture(num_bytes)
    )
    time = np.arange(count) / 10
    inside = np.zeros(count, bool)
    for start, stop in truth or ():
        inside |= (time >= start - 1e-9) & (time < stop - 1e-9)
    return VideoView(
        video_id=name,
        duration_seconds=count / 10,
        num_frames=count,
        num_abnormal=None if truth is None else int(inside.sum()),
        num_unscored=int(np.isnan(score).sum()),
        auc=auc if truth else None,
        step_frame=np.arange(count),
        step_seconds=time,
        step_score=score,
        step_objects=np.full(count, 2),
        step_track=np.full(count, 3),
        truth=None if truth is None else list(truth),
        unscored=[],
        peaks=[
            PeakView(peak, None if truth is None else bool(inside[peak.frame_index]), words, picture(num_bytes))
            if pictured
            else PeakView(peak, None)
        ],
        is_pictured=pictured,
        tracks=[track] if pictured else [],
        median_motion=np.full(8, 0.3, np.float32) if pictured else None,
        words=[words] if pictured else [],
        step_words=[0] * count if pictured else [],
    )


def report(videos, **changes):
    """Return a complete report of the given videos."""
    findings = [
        (Finding(peak.peak, peak.words, peak.is_abnormal), peak.picture)
        for view in videos[:3]
        for peak in view.peaks
        if view.is_pictured
    ]
    fields = {
        "name": "run",
        "output": "/runs/run",
        "config": {
            "features.spatial": "cross",
            "features.motion": True,
            "score.model": "rm",
            "score.smoothing_seconds": 0.5,
            "dataset.root": "/data/ped2",
        },
        "config_hash": "0123456789abcdef",
        "versions": {"raypipe": "0.1.0"},
        "counts": {"videos": "9 (5 train, 4 test)", "dead letters": "1"},
        "dead": [DeadLetter("test/dead", 2, "decode", "CorruptVideoError", "frames 3 to 5 could not be decoded")],
        "damaged": {},
        "notes": [],
        "metrics": [MetricRow("micro-AUC", 0.9, 0.8, 0.95, 0.991), MetricRow("average precision", None, None, None)],
        "benchmark": "Ped2",
        "curves": {
            "roc": {"false_positive_rate": [0.0, 0.5, 1.0], "true_positive_rate": [0.0, 1.0, 1.0]},
            "precision_recall": {"recall": [0.0, 1.0], "precision": [1.0, 0.5]},
        },
        "timings": {
            "decode": {"seconds": 3.0, "frames_per_second": 10.0, "share": 0.75},
            "commit": {"seconds": 1.0, "frames_per_second": 30.0, "share": 0.25},
            "extract": {"seconds": 2.0, "frames_per_second": 15.0},
        },
        "videos": list(videos),
        "num_left_out": 0,
        "findings": findings,
    }
    return Report(**(fields | changes))


def three_videos():
    """Return an abnormal video, a normal one, and one with hostile text; scores are highest in this order."""
    return [
        video("test/02 abnormal", scores=[0, 1, 2, 3, 4, 5, 9, 5, 4, 3], words="a man rides a bike"),
        video("test/10 normal", scores=[0, 1, 2, 3, 2, 1, 1, 1, 0, 0, 0, 0], truth=(), words="a woman walks"),
        video(f"test/01 {HOSTILE}", scores=[0, 1, 0, 1, 0, 1, 2, 0, 0, np.nan], auc=0.25, words=HOSTILE),
    ]
