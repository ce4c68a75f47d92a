"""UBnormal: 543 rendered videos of 29 virtual scenes (Acsintoae et al., CVPR 2022).

    Scene10/abnormal_scene_10_scenario_2.mp4
    Scene10/abnormal_scene_10_scenario_2_annotations/abnormal_scene_10_scenario_2_tracks.txt      object,start,end
    {normal,abnormal}_{training,validation,test}_video_names.txt      a name a line; `scripts/` of the official code

Frames count from 0, the end is inclusive; a frame is abnormal where any object is. Abnormal training videos are in the
split `train_abnormal`, the validation set in `validation`.
"""

from raypipe.datasets.annotations import read_lines, whole_numbers
from raypipe.datasets.listing import Listing
from raypipe.datasets.listing_draft import Draft
from raypipe.datasets.tree import open_tree
from raypipe.errors import UserError
from raypipe.ops.intervals import Interval, join

TITLE = "UBnormal"
LAYOUT = "Scene1/ to Scene29/ and the six lists *_video_names.txt of the official repository"
SPLITS = {"training": "train", "validation": "validation", "test": "test"}


def read_ubnormal(root: str) -> Listing:
    """List UBnormal below `root`; ids are `Scene10/abnormal_scene_10_scenario_2`.

    Raises UserError where a list is missing, and where an abnormal test video has no tracks.
    """
    draft = Draft(open_tree(root))
    tracks = draft.tree.documents_like("*_tracks.txt")
    listed: set[str] = set()
    for kind in ("normal", "abnormal"):
        for word, split in SPLITS.items():
            names = draft.names(f"{kind}_{word}_video_names.txt", "a list of the official repository (scripts/)")
            if both := listed & set(names):
                raise UserError(f"{draft.tree.root}: {min(both)} is in two of the lists *_video_names.txt")
            listed |= set(names)
            for name in names:
                _add(draft, name, split if kind == "normal" or split != "train" else "train_abnormal", kind, tracks)
    annotations = {path for path in draft.tree.videos if path.endswith("_annotations")}
    return draft.listing(TITLE, "*_tracks.txt of all objects, ends inclusive", LAYOUT, annotations)


def _add(draft: Draft, name: str, split: str, kind: str, tracks: dict[str, str]) -> None:
    parts = name.split("_")
    if len(parts) < 3 or not parts[2].isdigit():
        raise UserError(f"{draft.tree.root}: the lists name {name!r}, which is not the name of a scene's video")
    scene = f"Scene{parts[2]}"
    found = draft.tree.find(f"{scene}/{name}")
    if found is None:
        draft.missing.append(name)
        return
    video_id = f"{scene}/{name}"
    draft.add(found, video_id, split, scene=scene)
    if kind == "normal" or split == "train_abnormal":
        return
    relative = tracks.get(f"{name}_tracks.txt")
    if relative is None:
        raise UserError(f"{draft.tree.root}: the abnormal video {name} has no {name}_annotations/{name}_tracks.txt")
    where = draft.tree.place(relative)
    intervals = parse_tracks(read_lines(draft.tree, relative, draft.notes), where)
    if not intervals:
        raise UserError(f"{where}: holds no track, but the video is abnormal by its name")
    draft.label(video_id, join(intervals), where)


def parse_tracks(lines: list[tuple[int, str]], where: str) -> list[Interval]:
    """Return the half open interval of every abnormal object from numbered lines `object,start,end`.

    Raises UserError, naming `where` and the line, on anything else.
    """
    intervals = []
    for number, line in lines:
        numbers = whole_numbers(line.split(","), f"{where}:{number}")
        if len(numbers) != 3 or not 0 <= numbers[1] <= numbers[2]:
            raise UserError(f"{where}:{number}: expected object,start,end with the end last, found {line!r}")
        intervals.append((numbers[1], numbers[2] + 1))
    return intervals
