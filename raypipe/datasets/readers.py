"""Which function reads which data set."""

from collections.abc import Callable

from raypipe.datasets.avenue import read_avenue
from raypipe.datasets.folder import Listing, read_folder
from raypipe.datasets.names import DatasetName
from raypipe.datasets.nwpu_campus import read_nwpu_campus
from raypipe.datasets.ped2 import read_ped2
from raypipe.datasets.shanghaitech import read_shanghaitech
from raypipe.datasets.ubnormal import read_ubnormal
from raypipe.datasets.ucf_crime import read_ucf_crime
from raypipe.datasets.xd_violence import read_xd_violence

READERS: dict[DatasetName, Callable[[str], Listing]] = {
    "folder": read_folder,
    "ucf_crime": read_ucf_crime,
    "xd_violence": read_xd_violence,
    "shanghaitech": read_shanghaitech,
    "avenue": read_avenue,
    "ubnormal": read_ubnormal,
    "nwpu_campus": read_nwpu_campus,
    "ped2": read_ped2,
}
