"""Which function reads which data set."""

from collections.abc import Callable

from raypipe.datasets.folder import Listing, read_folder
from raypipe.datasets.names import DatasetName

READERS: dict[DatasetName, Callable[[str], Listing]] = {"folder": read_folder}
