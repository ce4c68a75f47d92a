"""What is known of the public data sets from their papers and pages: how much there is, and where it is to be had.

Counts stand here only where they are certain. Frame counts of papers, for one, are not always those of the files:
ShanghaiTech's paper has 42,883 test frames, the archive 40,791.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from raypipe.datasets.names import DatasetName


@dataclass(frozen=True)
class Official:
    """A data set as its authors publish it.

    `videos` are counts by split; `test_frames`, `abnormal_frames` and `train_frames` are None where not certain.
    `parts` tells what to download. `known_extra` are folders of the official archive that hold videos of no split.
    """

    title: str
    paper: str = ""
    page: str = ""
    parts: str = ""
    videos: Mapping[str, int] = field(default_factory=dict)
    train_frames: int | None = None
    test_frames: int | None = None
    abnormal_frames: int | None = None
    remark: str = ""
    known_extra: tuple[str, ...] = ()


OFFICIAL: dict[DatasetName, Official] = {
    "folder": Official("your own folder"),
    "ucf_crime": Official(
        "UCF-Crime",
        paper="Sultani, Chen, Shah: Real-world Anomaly Detection in Surveillance Videos, CVPR 2018",
        page="https://www.crcv.ucf.edu/projects/real-world/",
        parts="the archives of anomaly, training-normal and testing-normal videos, the train-test split "
        "(Anomaly_Detection_splits) and the temporal annotation of the test videos",
        videos={"train": 800, "train_abnormal": 810, "test": 290},
        abnormal_frames=84345,
        known_extra=("Normal_Videos_event", "z_Normal_Videos_event", "Normal_Videos_for_Event_Recognition"),
    ),
    "xd_violence": Official(
        "XD-Violence",
        paper="Wu, Liu, Shi, Sun, Shao, Wu, Yang: Not only Look, but also Listen, ECCV 2020",
        page="https://roc-ng.github.io/XD-Violence/",
        parts="the training archives 1-1004, 1005-2004, 2005-2804, 2805-3319 and 3320-3954, the test videos, and "
        "annotations.txt",
        videos={"train": 2049, "train_abnormal": 1905, "test": 800},
        abnormal_frames=538324,
    ),
    "shanghaitech": Official(
        "ShanghaiTech Campus",
        paper="Luo, Liu, Gao: A Revisit of Sparse Coding Based Anomaly Detection in Stacked RNN Framework, ICCV 2017",
        page="https://svip-lab.github.io/dataset/campus_dataset.html",
        parts="the one archive: training/videos, testing/frames, testing/test_frame_mask",
        videos={"train": 330, "test": 107},
        test_frames=40791,
        abnormal_frames=17326,
    ),
    "avenue": Official(
        "CUHK Avenue",
        paper="Lu, Shi, Jia: Abnormal Event Detection at 150 FPS in MATLAB, ICCV 2013",
        page="http://www.cse.cuhk.edu.hk/leojia/projects/detectabnormal/dataset.html",
        parts="the data set (training_videos, testing_videos) and the ground truth (ground_truth_demo)",
        videos={"train": 16, "test": 21},
        train_frames=15328,
        test_frames=15324,
        remark="Three versions of the labels are in the wild, with 3,712, 3,820 and 3,867 abnormal frames; name yours.",
    ),
    "ubnormal": Official(
        "UBnormal",
        paper="Acsintoae et al.: UBnormal: New Benchmark for Supervised Open-Set Video Anomaly Detection, CVPR 2022",
        page="https://github.com/lilygeorgescu/UBnormal",
        parts="the videos with their annotations (Scene1 to Scene29), and scripts/*_video_names.txt of the repository",
        videos={"train": 186, "train_abnormal": 82, "validation": 64, "test": 211},
        known_extra=("videos-supplementary",),
    ),
    "nwpu_campus": Official(
        "NWPU Campus",
        paper="Cao, Lu, Wang, Zhang: A New Comprehensive Benchmark for Semi-supervised Video Anomaly Detection and "
        "Anticipation, CVPR 2023",
        page="https://campusvad.github.io",
        parts="the videos (videos/Train, videos/Test) and the labels gt.npz",
        videos={"train": 305, "test": 242},
    ),
    "ped2": Official(
        "UCSD Ped2",
        paper="Mahadevan, Li, Bhalodia, Vasconcelos: Anomaly Detection in Crowded Scenes, CVPR 2010",
        page="http://www.svcl.ucsd.edu/projects/anomaly/dataset.html",
        parts="UCSD_Anomaly_Dataset: the folder UCSDped2 with Train, Test and Test/UCSDped2.m",
        videos={"train": 16, "test": 12},
        train_frames=2550,
        test_frames=2010,
        abnormal_frames=1648,
    ),
}
