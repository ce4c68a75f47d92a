"""What is known of each data set: its title, frame rate, counts, and where to get it. Importing this is light.

Counts stand here only where they are certain. The frame counts of papers are not always those of the files:
ShanghaiTech's paper has 42,883 test frames, the archive 40,791.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import Literal, get_args

DatasetName = Literal["folder", "ucf_crime", "xd_violence", "shanghaitech", "avenue", "ubnormal", "nwpu_campus", "ped2"]
DATASET_NAMES: tuple[DatasetName, ...] = get_args(DatasetName)


@dataclass(frozen=True)
class DatasetSpec:
    """A data set as its authors publish it.

    `frames_fps` is the frame rate of videos that are folders of images, in Hz, where the config does not say. `videos`
    are counts by split; `train_frames`, `test_frames` and `abnormal_frames` are None where not certain. `parts` says
    what to download. `aliases` are other names of its folder, in small letters without signs. `known_extra` are
    folders of the official archive that hold videos of no split.
    """

    title: str
    frames_fps: float
    aliases: tuple[str, ...] = ()
    paper: str = ""
    page: str = ""
    parts: str = ""
    videos: Mapping[str, int] = field(default_factory=dict)
    train_frames: int | None = None
    test_frames: int | None = None
    abnormal_frames: int | None = None
    remark: str = ""
    known_extra: tuple[str, ...] = ()

    @property
    def has_abnormal_training(self) -> bool:
        """Whether its training set has abnormal videos, each known as such but without times."""
        return "train_abnormal" in self.videos


SPECS: dict[DatasetName, DatasetSpec] = {
    "folder": DatasetSpec("your own folder", frames_fps=25.0),
    "ucf_crime": DatasetSpec(
        "UCF-Crime",
        # The rate that is commonly given.
        frames_fps=30.0,
        aliases=("ucfcrimes",),
        paper="Sultani, Chen, Shah: Real-world Anomaly Detection in Surveillance Videos, CVPR 2018",
        page="https://www.crcv.ucf.edu/projects/real-world/",
        parts="the archives of anomaly, training-normal and testing-normal videos, the train-test split "
        "(Anomaly_Detection_splits) and the temporal annotation of the test videos",
        videos={"train": 800, "train_abnormal": 810, "test": 290},
        abnormal_frames=84345,
        known_extra=("Normal_Videos_event", "z_Normal_Videos_event", "Normal_Videos_for_Event_Recognition"),
    ),
    "xd_violence": DatasetSpec(
        "XD-Violence",
        # The rate of its annotation.
        frames_fps=24.0,
        paper="Wu, Liu, Shi, Sun, Shao, Wu, Yang: Not only Look, but also Listen, ECCV 2020",
        page="https://roc-ng.github.io/XD-Violence/",
        parts="the training archives 1-1004, 1005-2004, 2005-2804, 2805-3319 and 3320-3954, the test videos, and "
        "annotations.txt",
        videos={"train": 2049, "train_abnormal": 1905, "test": 800},
        abnormal_frames=538324,
    ),
    "shanghaitech": DatasetSpec(
        "ShanghaiTech Campus",
        frames_fps=24.0,
        paper="Luo, Liu, Gao: A Revisit of Sparse Coding Based Anomaly Detection in Stacked RNN Framework, ICCV 2017",
        page="https://svip-lab.github.io/dataset/campus_dataset.html",
        parts="the one archive: training/videos, testing/frames, testing/test_frame_mask",
        videos={"train": 330, "test": 107},
        test_frames=40791,
        abnormal_frames=17326,
    ),
    "avenue": DatasetSpec(
        "CUHK Avenue",
        frames_fps=25.0,
        aliases=("cuhkavenue",),
        paper="Lu, Shi, Jia: Abnormal Event Detection at 150 FPS in MATLAB, ICCV 2013",
        page="http://www.cse.cuhk.edu.hk/leojia/projects/detectabnormal/dataset.html",
        parts="the data set (training_videos, testing_videos) and the ground truth (ground_truth_demo)",
        videos={"train": 16, "test": 21},
        train_frames=15328,
        test_frames=15324,
        remark="Three versions of the labels are in the wild, with 3,712, 3,820 and 3,867 abnormal frames; name yours.",
    ),
    "ubnormal": DatasetSpec(
        "UBnormal",
        # The rate in the official statistics script.
        frames_fps=30.0,
        paper="Acsintoae et al.: UBnormal: New Benchmark for Supervised Open-Set Video Anomaly Detection, CVPR 2022",
        page="https://github.com/lilygeorgescu/UBnormal",
        parts="the videos with their annotations (Scene1 to Scene29), and scripts/*_video_names.txt of the repository",
        videos={"train": 186, "train_abnormal": 82, "validation": 64, "test": 211},
        known_extra=("videos-supplementary",),
    ),
    "nwpu_campus": DatasetSpec(
        "NWPU Campus",
        # 1,466,073 frames in 16.3 h.
        frames_fps=25.0,
        aliases=("nwpu",),
        paper="Cao, Lu, Wang, Zhang: A New Comprehensive Benchmark for Semi-supervised Video Anomaly Detection and "
        "Anticipation, CVPR 2023",
        page="https://campusvad.github.io",
        parts="the videos (videos/Train, videos/Test) and the labels gt.npz",
        videos={"train": 305, "test": 242},
    ),
    "ped2": DatasetSpec(
        "UCSD Ped2",
        # The rate that is commonly given.
        frames_fps=10.0,
        aliases=("ucsdped2",),
        paper="Mahadevan, Li, Bhalodia, Vasconcelos: Anomaly Detection in Crowded Scenes, CVPR 2010",
        page="http://www.svcl.ucsd.edu/projects/anomaly/dataset.html",
        parts="UCSD_Anomaly_Dataset: the folder UCSDped2 with Train, Test and Test/UCSDped2.m",
        videos={"train": 16, "test": 12},
        train_frames=2550,
        test_frames=2010,
        abnormal_frames=1648,
    ),
}


def benchmark_of(dataset_name: str, root: str) -> DatasetName | None:
    """Return the public data set that is meant by a name or, where that is `folder`, by what the folder is called."""
    for name in (dataset_name, PurePosixPath(root).name):
        for benchmark, spec in SPECS.items():
            if benchmark != "folder" and _plain(name) in (_plain(benchmark), *spec.aliases):
                return benchmark
    return None


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "", name.lower())
