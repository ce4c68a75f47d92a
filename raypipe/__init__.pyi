"""Ray-distributed video anomaly detection."""

from raypipe.api.features import Features as Features
from raypipe.api.media import MotionVectors as MotionVectors
from raypipe.api.media import Video as Video
from raypipe.api.media import motion_vectors as motion_vectors
from raypipe.api.media import read_video as read_video
from raypipe.api.results import Results as Results
from raypipe.api.results import evaluate as evaluate
from raypipe.api.run import Finding as Finding
from raypipe.api.run import Run as Run
from raypipe.api.run import open_run as open_run
from raypipe.api.run import run as run
from raypipe.errors import DataError as DataError
from raypipe.errors import UserError as UserError

__version__: str
__all__ = [
    "DataError",
    "Features",
    "Finding",
    "MotionVectors",
    "Results",
    "Run",
    "UserError",
    "Video",
    "__version__",
    "evaluate",
    "motion_vectors",
    "open_run",
    "read_video",
    "run",
]
