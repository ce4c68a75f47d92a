"""ShanghaiTech Campus: 437 videos of 13 cameras (Luo et al., ICCV 2017).

    training/videos/01_001.avi                   or training/frames/01_001/000.jpg
    testing/frames/01_0014/000.jpg               or testing/videos/01_0014.avi
    testing/test_frame_mask/01_0014.npy          a number a frame, 1 = abnormal

The part of a name before "_" is the camera.
"""

from raypipe.datasets.annotations import read_npy
from raypipe.datasets.listing import Listing, some
from raypipe.datasets.listing_draft import Draft
from raypipe.datasets.tree import open_tree
from raypipe.errors import UserError
from raypipe.ops.intervals import runs

TITLE = "ShanghaiTech"
LAYOUT = "training/videos/01_001.avi, testing/frames/01_0014/000.jpg and testing/test_frame_mask/01_0014.npy"
MASKS = "test_frame_mask"


def read_shanghaitech(root: str) -> Listing:
    """List ShanghaiTech below `root`; ids are `train/01_001` and `test/01_0014`.

    Raises UserError where a test video has no labels, or they are not zeros and ones.
    """
    draft = Draft(open_tree(root))
    for name, found in draft.found_in("training/videos", "training/frames").items():
        draft.add(found, f"train/{name}", "train", scene=name.partition("_")[0])
    named = draft.tree.documents_like(f"*{MASKS}/*.npy")
    masks = {name.removesuffix(".npy"): path for name, path in named.items()}
    tests = draft.found_in("testing/frames", "testing/videos")
    if unlabelled := sorted(set(tests) - set(masks)):
        raise UserError(
            f"{draft.tree.root}: {len(unlabelled)} test videos have no labels in testing/{MASKS}: {some(unlabelled)}"
        )
    for name, found in tests.items():
        draft.add(found, f"test/{name}", "test", scene=name.partition("_")[0])
        label = read_npy(draft.tree, masks[name])
        draft.label(f"test/{name}", runs(label), masks[name], len(label))
    draft.missing += [f"test/{name}" for name in sorted(set(masks) - set(tests))]
    return draft.listing(TITLE, f"{MASKS}/*.npy, 1 = abnormal", LAYOUT)
