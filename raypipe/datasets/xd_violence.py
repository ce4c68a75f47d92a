"""XD-Violence: 4,754 videos from films, sports and the web, six kinds of violence (Wu et al., ECCV 2020).

    1-1004/, 1005-2004/, ..., test_videos/       as the official archives unpack; or train/ and test/
    v=S-7rRLrxnVQ__#1_label_B4-0-0.mp4           the name ends in the labels: A is normal
    annotations.txt                              v=S-7rRLrxnVQ__#1_label_B4-0-0 0 1517 1970 3038

The numbers are pairs of frames, at 24 frames a second. The end of a pair is exclusive, as in the benchmark's readers. A
video of several kinds counts as the first, which is the most prominent. Violent training videos are in the split
`train_abnormal`.
"""

import re

from raypipe.datasets.annotations import read_lines, whole_numbers
from raypipe.datasets.listing import NORMAL_CLASS, Listing, some
from raypipe.datasets.listing_draft import Draft
from raypipe.datasets.tree import open_tree, without_suffix
from raypipe.datasets.video_names import same_name
from raypipe.errors import UserError
from raypipe.ops.intervals import Interval

TITLE = "XD-Violence"
LAYOUT = "1-1004/ to 3320-3954/ and test_videos/ (or train/ and test/) with videos named *_label_*, and annotations.txt"
ARCHIVES = ("1-1004", "1005-2004", "2005-2804", "2805-3319", "3320-3954")
TRAIN_FOLDERS = (*ARCHIVES, "train", "train_videos", "training")
TEST_FOLDERS = ("test_videos", "test", "testing")
CLASSES = {
    "A": NORMAL_CLASS,
    "B1": "fighting",
    "B2": "shooting",
    "B4": "riot",
    "B5": "abuse",
    "B6": "car accident",
    "G": "explosion",
}


def read_xd_violence(root: str) -> Listing:
    """List XD-Violence below `root`; ids are `train/<name>` and `test/<name>`.

    Raises UserError where the annotation is missing, is not pairs of frames, or annotates a normal video.
    """
    draft = Draft(open_tree(root))
    unnamed: list[str] = []
    for folder, split in ((TRAIN_FOLDERS, "train"), (TEST_FOLDERS, "test")):
        for name, found in draft.found_in(*folder).items():
            class_name = class_of(name)
            if class_name is None:
                unnamed.append(found.path)
                continue
            own_split = split if class_name == NORMAL_CLASS or split == "test" else "train_abnormal"
            draft.add(found, f"{split}/{name}", own_split, class_name)
    if unnamed:
        draft.notes.append(f"names that do not end in _label_ and a known label: {len(unnamed)} ({some(unnamed)})")
    relative = draft.tree.document("annotations.txt", "the annotation of test videos")
    where = draft.tree.place(relative)
    intervals = parse_annotations(read_lines(draft.tree, relative, draft.notes), where)
    by_name = {same_name(key.partition("/")[2]): key for key, video in draft.videos.items() if video.split == "test"}
    for name, own in intervals.items():
        if class_of(name) == NORMAL_CLASS:
            raise UserError(f"{where}: annotates {name}, which is normal by its name")
        if name in by_name:
            draft.label(by_name[name], own, where)
    absent = [name for name in intervals if name not in by_name]
    draft.missing += [f"test/{name}" for name in absent]
    silent = [
        key for name, key in by_name.items() if name not in intervals and draft.videos[key].class_name != NORMAL_CLASS
    ]
    if silent:
        draft.notes.append(
            f"violent test videos without a line in {relative}, all frames of which count as normal: "
            f"{len(silent)} ({some(silent)})"
        )
    return draft.listing(TITLE, f"{relative.rpartition('/')[2]}, ends exclusive", LAYOUT)


def class_of(name: str) -> str | None:
    """Return the class that a video's name tells, the first of several; None if it tells none."""
    match = re.search(r"_label_([A-Z0-9]+)(?:-[A-Z0-9]+)*$", name)
    return CLASSES.get(match[1]) if match else None


def parse_annotations(lines: list[tuple[int, str]], where: str) -> dict[str, list[Interval]]:
    """Return the abnormal intervals of every video by its name, half open, from numbered lines of the annotation.

    Raises UserError, naming `where` and the line, on what is not a name and pairs of ascending frames.
    """
    intervals: dict[str, list[Interval]] = {}
    for number, line in lines:
        fields = line.split()
        name = same_name(without_suffix(fields[0]))
        if len(fields) < 3 or len(fields) % 2 == 0:
            raise UserError(f"{where}:{number}: expected a name and pairs of frames, found {line!r}")
        if name in intervals:
            raise UserError(f"{where}:{number}: {name} is annotated twice")
        frames = whole_numbers(fields[1:], f"{where}:{number}")
        intervals[name] = list(zip(frames[::2], frames[1::2], strict=True))
        for first, stop in intervals[name]:
            if not 0 <= first < stop:
                raise UserError(f"{where}:{number}: {first} to {stop} are not a first frame and an end")
    return intervals
