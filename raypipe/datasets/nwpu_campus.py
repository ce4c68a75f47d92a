"""NWPU Campus: 547 videos of 43 scenes (Cao et al., CVPR 2023).

    videos/Train/D001_03.avi, videos/Test/D001_01.avi         or frames/Train/D001_03/000001.jpg, ...
    gt.npz                                                    an array a test video, by its name; 1 = abnormal

The part of a name before "_" is the scene.
"""

from raypipe.datasets.annotations import read_npz
from raypipe.datasets.listing import Listing, some
from raypipe.datasets.listing_draft import Draft
from raypipe.datasets.tree import open_tree, without_suffix
from raypipe.errors import UserError
from raypipe.ops.intervals import runs

TITLE = "NWPU Campus"
LAYOUT = "videos/Train/D001_03.avi, videos/Test/D001_01.avi and gt.npz"


def read_nwpu_campus(root: str) -> Listing:
    """List NWPU Campus below `root`; ids are `train/D001_03` and `test/D001_01`.

    Raises UserError where a test video has no labels, or they are not zeros and ones.
    """
    draft = Draft(open_tree(root))
    for name, found in draft.found_in("videos/train", "frames/train").items():
        draft.add(found, f"train/{name}", "train", scene=name.partition("_")[0])
    tests = draft.found_in("videos/test", "frames/test")
    relative = draft.tree.document("gt.npz", "the labels of the test videos")
    labels = {without_suffix(key): label for key, label in read_npz(draft.tree, relative).items()}
    if unlabelled := sorted(set(tests) - set(labels)):
        raise UserError(
            f"{draft.tree.place(relative)} has no labels for {len(unlabelled)} test videos: {some(unlabelled)}"
        )
    for name, found in tests.items():
        draft.add(found, f"test/{name}", "test", scene=name.partition("_")[0])
        draft.label(f"test/{name}", runs(labels[name]), draft.tree.place(relative), len(labels[name]))
    draft.missing += [f"test/{name}" for name in sorted(set(labels) - set(tests))]
    return draft.listing(TITLE, "gt.npz, 1 = abnormal", LAYOUT)
