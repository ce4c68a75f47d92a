"""CUHK Avenue: 37 videos of one walkway (Lu et al., ICCV 2013).

    training_videos/01.avi, testing_videos/01.avi             or training/frames/01/0000.jpg, testing/frames/01/...
    ground_truth_demo/testing_label_mask/1_label.mat          volLabel: a mask a frame; no leading zero

A frame is abnormal where its mask has any pixel set. Three versions of the labels are in the wild, with 3,712, 3,820
and 3,867 abnormal frames; these are counted from the masks, and figures on other labels do not compare.
"""

from raypipe.datasets.listing import Listing, some
from raypipe.datasets.listing_draft import Draft
from raypipe.datasets.mat_cells import any_pixel
from raypipe.datasets.tree import by_number, open_tree
from raypipe.errors import UserError
from raypipe.ops.intervals import runs

TITLE = "CUHK Avenue"
LAYOUT = "training_videos/01.avi, testing_videos/01.avi and ground_truth_demo/testing_label_mask/1_label.mat"
MASKS = "testing_label_mask"
TRAIN_FOLDERS = ("training_videos", "training/videos", "training/frames")
TEST_FOLDERS = ("testing_videos", "testing/videos", "testing/frames")


def read_avenue(root: str) -> Listing:
    """List Avenue below `root`; ids are `train/01` and `test/01`.

    Raises UserError where a test video has no labels, or their file holds another variable than `volLabel`.
    """
    draft = Draft(open_tree(root))
    for number, found in by_number(draft.found_in(*TRAIN_FOLDERS)).items():
        draft.add(found, f"train/{number:02d}", "train")
    named = draft.tree.documents_like(f"*{MASKS}/*_label.mat")
    masks = {int(name.partition("_")[0]): path for name, path in named.items() if name.partition("_")[0].isdigit()}
    tests = by_number(draft.found_in(*TEST_FOLDERS))
    if unlabelled := sorted(set(tests) - set(masks)):
        raise UserError(
            f"{draft.tree.root}: {len(unlabelled)} test videos have no labels in {MASKS}: "
            f"{some([f'{number}_label.mat' for number in unlabelled])}"
        )
    for number, found in tests.items():
        draft.add(found, f"test/{number:02d}", "test")
        label = any_pixel(draft.tree.read(masks[number]), "volLabel", draft.tree.place(masks[number]))
        draft.label(f"test/{number:02d}", runs(label), masks[number], len(label))
    draft.missing += [f"test/{number:02d}" for number in sorted(set(masks) - set(tests))]
    return draft.listing(TITLE, f"volLabel masks of {MASKS}, any pixel", LAYOUT)
