"""The data sets that `dataset.name` takes. Importing this is light, so the command line can name them."""

from typing import TYPE_CHECKING, Literal, get_args

if TYPE_CHECKING:
    from raypipe.config import DatasetConfig
    from raypipe.datasets.folder import Listing

DatasetName = Literal["folder"]
DATASET_NAMES: tuple[DatasetName, ...] = get_args(DatasetName)


def read_dataset(config: "DatasetConfig") -> "Listing":
    """Return the videos, splits and labels of the data set that a config names.

    Raises UserError where the folder does not hold the data set, or its annotations make no sense.
    """
    from raypipe.datasets.readers import READERS

    return READERS[config.name](config.root)
