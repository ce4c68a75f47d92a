"""Published figures of the benchmarks, to stand beside ours: as printed in the tables of the paper, in percent.

Tables 1 and 2 of "Local Patterns Generalize Better for Novel Anomalies"; the figures of others are as it cites them.
Macro-AUC is that of Reiss & Hoshen (2022), which is our `macro_auc_anchored`. A paper's figure says nothing of the
smoothing, the labels and the lengths of videos behind it.
"""

from collections.abc import Sequence
from typing import NamedTuple

OURS = "Local Patterns (2025), the paper"


class Published(NamedTuple):
    """A method's figures on one data set, in 0..1; None where it has none."""

    method: str
    micro_auc: float | None = None
    macro_auc_anchored: float | None = None
    average_precision: float | None = None


# (macro-AUC, micro-AUC) by data set, Table 1.
_TABLE_1: dict[str, dict[str, tuple[float | None, float | None]]] = {
    "Georgescu et al. (2021)": {
        "shanghaitech": (89.3, 82.7),
        "avenue": (92.3, 90.4),
        "ubnormal": (None, 61.3),
        "ped2": (99.7, 98.7),
    },
    "Reiss & Hoshen (2022)": {"shanghaitech": (89.6, 85.9), "avenue": (96.2, 93.3), "ped2": (99.9, 99.1)},
    "Acsintoae et al. (2022)": {"shanghaitech": (90.5, 83.7), "avenue": (93.2, 93.0)},
    "Lu et al. (2022)": {"shanghaitech": (85.9, 77.6), "avenue": (88.6, 87.4), "nwpu_campus": (None, 62.2)},
    "Hirschorn & Avidan (2023), STG-NF": {"shanghaitech": (None, 85.9), "ubnormal": (None, 79.2)},
    "Cao et al. (2023)": {"shanghaitech": (None, 79.2), "avenue": (None, 86.8), "nwpu_campus": (None, 68.2)},
    "Zhang et al. (2024)": {"shanghaitech": (93.0, 87.5), "avenue": (94.5, 94.3), "nwpu_campus": (72.2, 70.1)},
    "Micorek et al. (2024)": {
        "shanghaitech": (91.5, 86.7),
        "avenue": (96.1, 94.3),
        "ubnormal": (85.5, 72.8),
        "ped2": (99.9, 99.7),
    },
    "Yang et al. (2024)": {
        "shanghaitech": (None, 85.2),
        "avenue": (None, 89.7),
        "ubnormal": (None, 71.9),
        "ped2": (None, 97.9),
    },
    OURS: {
        "shanghaitech": (92.7, 88.9),
        "avenue": (94.9, 94.5),
        "ubnormal": (86.8, 81.5),
        "ped2": (99.8, 99.1),
        "nwpu_campus": (73.5, 71.6),
    },
}
# (micro-AUC on UCF-Crime, average precision on XD-Violence), Table 2.
_TABLE_2 = {
    "Joo et al. (2023)": (87.58, 82.19),
    "Tan et al. (2024)": (86.71, 82.10),
    "Zanella et al. (2024), LAVAD": (80.28, 85.36),
    "Chen et al. (2024)": (86.83, 88.21),
    "Yang et al. (2024)": (87.79, 83.68),
    "Wu et al. (2024)": (88.02, 84.51),
    OURS: (88.83, 86.96),
}


def published(dataset: str) -> Sequence[Published]:
    """Return the published figures of a data set by its name in a config, the paper's first; empty for others."""
    rows = [
        Published(method, micro_auc=_share(figures[dataset][1]), macro_auc_anchored=_share(figures[dataset][0]))
        for method, figures in _TABLE_1.items()
        if dataset in figures
    ]
    if dataset == "ucf_crime":
        rows = [Published(method, micro_auc=_share(auc)) for method, (auc, _) in _TABLE_2.items()]
    elif dataset == "xd_violence":
        rows = [Published(method, average_precision=_share(precision)) for method, (_, precision) in _TABLE_2.items()]
    return sorted(rows, key=lambda row: row.method != OURS)


def _share(percent: float | None) -> float | None:
    return None if percent is None else round(percent / 100, 6)
