"""UCF-Crime: 1,900 surveillance videos, 13 kinds of crime and accident (Sultani et al., CVPR 2018).

    <Class>/Abuse028_x264.mp4, Training_Normal_Videos_Anomaly/..., Testing_Normal_Videos_Anomaly/...
    Anomaly_Train.txt, Anomaly_Test.txt          Abuse/Abuse028_x264.mp4
    Temporal_Anomaly_Annotation*.txt             Abuse028_x264.mp4  Abuse  165  240  -1  -1

Folders above these do not matter. The end of an interval is inclusive: its last frame is abnormal; some readers leave
that frame out. Abnormal training videos are known by their class alone, and are in the split `train_abnormal`.
"""

from raypipe.datasets.annotations import read_lines, whole_numbers
from raypipe.datasets.listing import NORMAL_CLASS, Listing, some
from raypipe.datasets.listing_draft import Draft
from raypipe.datasets.tree import open_tree, without_suffix
from raypipe.errors import UserError
from raypipe.ops.intervals import Interval

TITLE = "UCF-Crime"
LAYOUT = "folders of classes (Abuse/Abuse028_x264.mp4), Anomaly_Train.txt, Anomaly_Test.txt and the temporal annotation"
TEMPORAL = "Temporal_Anomaly_Annotation*.txt"
NORMAL_FOLDERS = ("Training_Normal_Videos_Anomaly", "Testing_Normal_Videos_Anomaly")


def read_ucf_crime(root: str) -> Listing:
    """List UCF-Crime below `root`; a video's id is its line of the split list (`Abuse/Abuse028_x264`).

    Raises UserError where a list is missing or contradicts another one, naming the line.
    """
    draft = Draft(open_tree(root))
    splits = {
        "train": draft.names("Anomaly_Train.txt", "the list of training videos"),
        "test": draft.names("Anomaly_Test.txt", "the list of test videos"),
    }
    if both := set(splits["train"]) & set(splits["test"]):
        raise UserError(f"{draft.tree.root}: {min(both)} is in both Anomaly_Train.txt and Anomaly_Test.txt")
    temporal = draft.tree.document(TEMPORAL, "the temporal annotation of test videos")
    intervals = parse_temporal(read_lines(draft.tree, temporal, draft.notes), draft.tree.place(temporal))
    for split, names in splits.items():
        for name in names:
            is_normal = name.partition("/")[0] in NORMAL_FOLDERS
            found = draft.tree.find(name)
            if found is None:
                draft.missing.append(name)
                continue
            own_split = split if is_normal or split == "test" else "train_abnormal"
            draft.add(found, name, own_split, NORMAL_CLASS if is_normal else name.partition("/")[0])
            if split == "test":
                draft.label(name, _intervals_of(name, intervals, is_normal, temporal), draft.tree.place(temporal))
    unused = sorted(set(intervals) - {name.rpartition("/")[2] for name in splits["test"]})
    if unused:
        draft.notes.append(f"videos in {temporal} but not in Anomaly_Test.txt: {len(unused)} ({some(unused)})")
    return draft.listing(TITLE, f"{temporal.rpartition('/')[2]}, ends inclusive", LAYOUT)


def parse_temporal(lines: list[tuple[int, str]], where: str) -> dict[str, list[Interval]]:
    """Return the abnormal intervals of every video by its name, half open, from numbered lines of the annotation.

    A line holds name, class, and the first and last frame of two intervals; both are -1 if there is none. Raises
    UserError on anything else, naming `where` and the line.
    """
    intervals: dict[str, list[Interval]] = {}
    for number, line in lines:
        fields = line.split()
        if len(fields) != 6:
            raise UserError(f"{where}:{number}: expected name, class and four frame numbers, found {line!r}")
        name = without_suffix(fields[0])
        if name in intervals:
            raise UserError(f"{where}:{number}: {name} is annotated twice")
        frames = whole_numbers(fields[2:], f"{where}:{number}")
        own: list[Interval] = []
        for first, last in ((frames[0], frames[1]), (frames[2], frames[3])):
            if (first, last) == (-1, -1):
                continue
            if not 0 <= first <= last:
                raise UserError(f"{where}:{number}: {first} to {last} are not a first and a last frame")
            own.append((first, last + 1))
        if (fields[1].lower() == "normal") == bool(own):
            raise UserError(f"{where}:{number}: {name} is of class {fields[1]} and has {len(own)} abnormal intervals")
        intervals[name] = own
    return intervals


def _intervals_of(name: str, intervals: dict[str, list[Interval]], is_normal: bool, temporal: str) -> list[Interval]:
    own = intervals.get(name.rpartition("/")[2])
    if own is None:
        raise UserError(f"{name} is a test video, but {temporal} does not mention it")
    if bool(own) == is_normal:
        raise UserError(f"{name}: {temporal} gives it {len(own)} abnormal intervals, but its folder says otherwise")
    return own
