"""Which benchmark a run is of, so that published figures can stand beside its own."""

import re
from pathlib import PurePosixPath

# By the name that a config has for it, which is its folder's name but for capitals and signs.
TITLES = {
    "ped2": "Ped2",
    "avenue": "Avenue",
    "shanghaitech": "ShanghaiTech",
    "ubnormal": "UBnormal",
    "nwpu_campus": "NWPU Campus",
    "ucf_crime": "UCF-Crime",
    "xd_violence": "XD-Violence",
}
# Other names under which their folders go.
ALIASES = {
    "ucsdped2": "ped2",
    "cuhkavenue": "avenue",
    "nwpu": "nwpu_campus",
    "ucfcrimes": "ucf_crime",
}


def benchmark_of(dataset_name: str, root: str) -> str | None:
    """Return the benchmark of a data set: by its name or, for a plain folder, by what the folder is called."""
    known = {_plain(name): name for name in TITLES} | ALIASES
    for name in (dataset_name, PurePosixPath(root).name):
        if (found := known.get(_plain(name))) is not None:
            return found
    return None


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())
