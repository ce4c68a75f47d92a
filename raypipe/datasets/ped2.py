"""UCSD Ped2: 28 clips of one walkway, as numbered TIFF frames (Mahadevan et al., CVPR 2010).

    Train/Train001/001.tif, Test/Test001/001.tif     or training/frames/01/..., testing/frames/01/...
    Test/UCSDped2.m                                  TestVideoFile{end+1}.gt_frame = [61:180];
    Test/Test001_gt/001.bmp                          a mask a frame

Frames in the .m file count from 1 with inclusive ends, and its entries are the test clips in order. Masks are read only
where there is no .m file; a frame is then abnormal where its mask has any pixel set.
"""

import io
import re

import numpy as np
from numpy.typing import NDArray

from raypipe.datasets.annotations import read_lines
from raypipe.datasets.listing import Listing, some
from raypipe.datasets.listing_draft import Draft
from raypipe.datasets.tree import Found, Tree, by_number, open_tree
from raypipe.errors import UserError
from raypipe.ops.intervals import Interval, runs

TITLE = "UCSD Ped2"
LAYOUT = "Train/Train001/001.tif, Test/Test001/001.tif and Test/UCSDped2.m"
INTERVALS = "UCSDped2.m"
MASKS_END = "_gt"


def read_ped2(root: str) -> Listing:
    """List Ped2 below `root`; ids are `train/Train001` and `test/Test001`.

    Raises UserError where a test clip has no labels, or they are not what the layout says.
    """
    draft = Draft(open_tree(root))
    for number, found in by_number(draft.found_in("train", "training/frames", "training/videos")).items():
        draft.add(found, f"train/Train{number:03d}", "train")
    tests = by_number(draft.found_in("test", "testing/frames", "testing/videos"))
    for number, found in tests.items():
        draft.add(found, f"test/Test{number:03d}", "test")
    masks = {path: found for path, found in draft.tree.videos.items() if path.lower().endswith(MASKS_END)}
    source = f"{INTERVALS}, ends inclusive"
    if any(path.rpartition("/")[2].lower() == INTERVALS.lower() for path in draft.tree.documents):
        _label_by_intervals(draft, tests)
    else:
        _label_by_masks(draft, tests, masks)
        source = "masks in Test*_gt, any pixel"
    return draft.listing(TITLE, source, LAYOUT, masks)


def parse_intervals(lines: list[tuple[int, str]], where: str) -> list[list[Interval]]:
    """Return the half open abnormal intervals of every test clip in order, from numbered lines of MATLAB.

    Raises UserError, naming `where` and the line, on a range that is none.
    """
    clips = []
    for number, line in lines:
        match = re.search(r"gt_frame\s*=\s*\[([^\]]*)\]", line.partition("%")[0])
        if match is None:
            continue
        own: list[Interval] = []
        for part in re.split(r"[,;\s]+", match[1].strip()):
            ends = re.fullmatch(r"(\d+)(?::(\d+))?", part)
            if part and ends is None:
                raise UserError(f"{where}:{number}: {part!r} is no range of frames")
            if ends is not None:
                first, last = int(ends[1]), int(ends[2] or ends[1])
                if not 1 <= first <= last:
                    raise UserError(f"{where}:{number}: {part!r} is no range of frames (from 1, end inclusive)")
                own.append((first - 1, last))
        clips.append(own)
    return clips


def _label_by_intervals(draft: Draft, tests: dict[int, Found]) -> None:
    relative = draft.tree.document(INTERVALS, "the intervals of the test clips")
    where = draft.tree.place(relative)
    clips = parse_intervals(read_lines(draft.tree, relative, draft.notes), where)
    if tests and max(tests) > len(clips):
        raise UserError(f"{where}: labels {len(clips)} clips, but there is a Test{max(tests):03d}")
    for number, intervals in enumerate(clips, start=1):
        video_id = f"test/Test{number:03d}"
        if number in tests:
            draft.label(video_id, intervals, where)
        else:
            draft.missing.append(video_id)


def _label_by_masks(draft: Draft, tests: dict[int, Found], masks: dict[str, Found]) -> None:
    by_clip = by_number({path.rpartition("/")[2][: -len(MASKS_END)]: found for path, found in masks.items()})
    if unlabelled := sorted(set(tests) - set(by_clip)):
        raise UserError(
            f"dataset.root: {draft.tree.root} holds neither {INTERVALS} nor masks for {len(unlabelled)} test clips: "
            f"{some([f'Test{number:03d}{MASKS_END}' for number in unlabelled])}"
        )
    for number in tests:
        label = _any_pixel(draft.tree, by_clip[number].path)
        draft.label(f"test/Test{number:03d}", runs(label), by_clip[number].path, len(label))


def _any_pixel(tree: Tree, folder: str) -> NDArray[np.bool_]:
    """Return whether each mask of a folder has a pixel set, in the natural order of their names, as frames are."""
    from PIL import Image, UnidentifiedImageError

    from raypipe.video.pictures import in_order

    flags = []
    named = {path.rpartition("/")[2]: path for path in tree.filesystem.ls(folder, detail=False)}
    for name in in_order(named):
        path = named[name]
        if not name.lower().endswith((".bmp", ".png")) or name.startswith("."):
            continue
        try:
            with Image.open(io.BytesIO(tree.filesystem.cat_file(path))) as image:
                flags.append(bool(np.asarray(image).any()))
        except (UnidentifiedImageError, OSError, SyntaxError, ValueError, Image.DecompressionBombError) as error:
            raise UserError(f"{path}: is no mask that can be read ({error})") from error
    return np.array(flags, bool)
