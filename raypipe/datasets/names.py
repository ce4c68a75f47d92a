"""The data sets that `dataset.name` takes. Importing this is light, so the command line can name them."""

from typing import Literal, get_args

DatasetName = Literal["folder", "ucf_crime", "xd_violence", "shanghaitech", "avenue", "ubnormal", "nwpu_campus", "ped2"]
DATASET_NAMES: tuple[DatasetName, ...] = get_args(DatasetName)

# Frames a second of videos that are folders of images, where the config does not say. Those of ShanghaiTech, Avenue and
# NWPU Campus are their videos' own (NWPU: 1,466,073 frames in 16.3 h), UBnormal's is that of the official statistics
# script, XD-Violence's that of its annotation; UCF-Crime's and Ped2's are those commonly given.
FRAMES_FPS: dict[DatasetName, float] = {
    "folder": 25.0,
    "ucf_crime": 30.0,
    "xd_violence": 24.0,
    "shanghaitech": 24.0,
    "avenue": 25.0,
    "ubnormal": 30.0,
    "nwpu_campus": 25.0,
    "ped2": 10.0,
}
# Data sets that have abnormal videos in their training set, known by the video alone.
WITH_ABNORMAL_TRAINING: tuple[DatasetName, ...] = ("ucf_crime", "xd_violence", "ubnormal")
