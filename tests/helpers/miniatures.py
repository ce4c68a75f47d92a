"""Miniature copies of the public data sets: their folders, names and annotation formats, with tiny videos.

Each writer returns the abnormal frames of every test video by id, as sets, written down beside what it writes.
"""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image
from scipy.io import savemat

from tests.helpers.clips import moving_squares, write_clip

WIDTH, HEIGHT = 64, 48
Truth = dict[str, set[int]]


def clip(path: Path, num_frames: int, seed: int = 0) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    codec = {"codec": "mpeg4"} if path.suffix == ".avi" else {}
    write_clip(path, moving_squares(num_frames, WIDTH, HEIGHT, seed), **codec)


def frames(folder: Path, num_frames: int, suffix: str = ".jpg", first: int = 0, seed: int = 0) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for index, image in enumerate(moving_squares(num_frames, WIDTH, HEIGHT, seed)):
        Image.fromarray(image).save(folder / f"{first + index:03d}{suffix}")


def text(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


def write_ucf_crime(root: Path) -> Truth:
    videos = {
        "Abuse/Abuse001_x264": 12,
        "Abuse/Abuse028_x264": 30,
        "Arson/Arson011_x264": 20,
        "Training_Normal_Videos_Anomaly/Normal_Videos001_x264": 14,
        "Training_Normal_Videos_Anomaly/Normal_Videos002_x264": 14,
        "Testing_Normal_Videos_Anomaly/Normal_Videos_003_x264": 16,
    }
    for seed, (name, num_frames) in enumerate(videos.items()):
        clip(root / "Videos" / f"{name}.mp4", num_frames, seed)
    # The same video a second time, as in the official archive, for another task.
    clip(root / "Videos" / "Normal_Videos_event" / "Normal_Videos_003_x264.mp4", 16, 5)
    train, test = [name for name in videos if "001" in name or "002" in name], []
    test = [name for name in videos if name not in train]
    splits = root / "Anomaly_Detection_splits"
    text(splits / "Anomaly_Train.txt", "".join(f"{name}.mp4\r\n" for name in train))
    text(splits / "Anomaly_Test.txt", "\n".join(f"{name}.mp4" for name in test))
    text(
        root / "Temporal_Anomaly_Annotation.txt",
        "Abuse028_x264.mp4  Abuse  5  9  20  24  \n"
        "Arson011_x264  Arson  18  40  -1  -1  \n"
        "Normal_Videos_003_x264.mp4  Normal  -1  -1  -1  -1  \n",
    )
    return {
        "Abuse/Abuse028_x264": {5, 6, 7, 8, 9, 20, 21, 22, 23, 24},
        "Arson/Arson011_x264": set(range(18, 41)),
        "Testing_Normal_Videos_Anomaly/Normal_Videos_003_x264": set(),
    }


def write_xd_violence(root: Path) -> Truth:
    for seed, name in enumerate(
        [
            "1-1004/v=aaa__#1_label_A",
            "1-1004/v=bbb__#1_label_B6-0-0",
            "3320-3954/v=ddd__#1_label_A",
            "test_videos/v=S-7rRLrxnVQ__#1_label_B4-0-0",
            "test_videos/Fast.2001__#00-29-00_00-29-52_label_B2-G-0",
            "test_videos/v=ccc__#1_label_A",
        ]
    ):
        clip(root / f"{name}.mp4", 20, seed)
    text(
        root / "annotations.txt",
        "v=S-7rRLrxnVQ__#1_label_B4-0-0 0 3 10 12\nFast.2001__#00-29-00_00-29-52_label_B2-G-0.mp4 15 18\n",
    )
    return {
        "test/v=S-7rRLrxnVQ__#1_label_B4-0-0": {0, 1, 2, 10, 11},
        "test/Fast.2001__#00-29-00_00-29-52_label_B2-G-0": {15, 16, 17},
        "test/v=ccc__#1_label_A": set(),
    }


def write_shanghaitech(root: Path) -> Truth:
    clip(root / "training/videos/01_001.avi", 12)
    clip(root / "training/videos/12_003.avi", 12, 1)
    frames(root / "testing/frames/01_0014", 10)
    frames(root / "testing/frames/12_0142", 8)
    masks = {"01_0014": [0, 0, 1, 1, 0, 0, 0, 1, 0, 1], "12_0142": [0] * 9}
    (root / "testing/test_frame_mask").mkdir()
    for name, mask in masks.items():
        np.save(root / f"testing/test_frame_mask/{name}.npy", np.array(mask, np.uint8))
    return {"test/01_0014": {2, 3, 7, 9}, "test/12_0142": set()}


def write_avenue(root: Path) -> Truth:
    clip(root / "training_videos/01.avi", 12)
    clip(root / "training_videos/02.avi", 12, 1)
    clip(root / "testing_videos/01.avi", 14, 2)
    clip(root / "testing_videos/02.avi", 9, 3)
    truth = {1: {3, 4, 5, 13}, 2: {0}}
    for number, num_frames in ((1, 14), (2, 9)):
        cells = np.empty((1, num_frames), object)
        for frame in range(num_frames):
            cells[0, frame] = np.zeros((36, 64), np.uint8)
            cells[0, frame][10:12, 20] = frame in truth[number]
        path = root / f"ground_truth_demo/testing_label_mask/{number}_label.mat"
        path.parent.mkdir(parents=True, exist_ok=True)
        savemat(path, {"volLabel": cells}, do_compression=True)
    return {f"test/{number:02d}": frames for number, frames in truth.items()}


def write_ubnormal(root: Path) -> Truth:
    lists = {
        "normal_training": ["normal_scene_1_scenario1_9", "normal_scene_10_scenario_4"],
        "abnormal_training": ["abnormal_scene_10_scenario_6"],
        "normal_validation": ["normal_scene_1_scenario2_1"],
        "abnormal_validation": ["abnormal_scene_1_scenario_3"],
        "normal_test": ["normal_scene_10_scenario_7"],
        "abnormal_test": ["abnormal_scene_10_scenario_2", "abnormal_scene_1_scenario_1_fog"],
    }
    for kind, names in lists.items():
        text(root / f"scripts/{kind}_video_names.txt", "".join(f"{name}\n" for name in names))
        for name in names:
            folder = root / f"Scene{name.split('_')[2]}"
            clip(folder / f"{name}.mp4", 16, seed=sum(name.encode()))
            # A map of objects for every frame, which is no video.
            frames(folder / f"{name}_annotations", 2, ".png")
    tracks = {
        "abnormal_scene_10_scenario_2": "1,0,4\r\n3,3,6\r\n",
        "abnormal_scene_1_scenario_1_fog": "2.000e+00,8.000e+00,1.000e+01\r\n",
        "abnormal_scene_10_scenario_6": "1,2,3\r\n",
        "abnormal_scene_1_scenario_3": "1,2,3\r\n",
    }
    for name, content in tracks.items():
        text(root / f"Scene{name.split('_')[2]}/{name}_annotations/{name}_tracks.txt", content)
    # What a clone of the official code brings along: a clip of the same name.
    clip(root / "videos-supplementary/abnormal_scene_10_scenario_2.mp4", 5)
    return {
        "Scene10/abnormal_scene_10_scenario_2": {0, 1, 2, 3, 4, 5, 6},
        "Scene1/abnormal_scene_1_scenario_1_fog": {8, 9, 10},
        "Scene10/normal_scene_10_scenario_7": set(),
    }


def write_nwpu_campus(root: Path) -> Truth:
    clip(root / "videos/Train/D001_03.avi", 12)
    clip(root / "videos/Train/D204_01.avi", 12, 1)
    clip(root / "videos/Test/D001_01.avi", 10, 2)
    clip(root / "videos/Test/D204_02.avi", 10, 3)
    np.savez(root / "gt.npz", D001_01=np.array([0, 0, 1, 1, 1, 0, 0, 0, 0, 0]), D204_02=np.zeros(10, np.int8))
    return {"test/D001_01": {2, 3, 4}, "test/D204_02": set()}


def write_ped2(root: Path) -> Truth:
    frames(root / "Train/Train001", 12, ".tif", first=1)
    frames(root / "Train/Train002", 12, ".tif", first=1, seed=1)
    frames(root / "Test/Test001", 10, ".tif", first=1, seed=2)
    frames(root / "Test/Test002", 10, ".tif", first=1, seed=3)
    truth = {1: {3, 4, 5, 6}, 2: {0, 1, 7}}
    for number, abnormal in truth.items():
        folder = root / f"Test/Test{number:03d}_gt"
        folder.mkdir()
        for frame in range(10):
            mask = np.zeros((HEIGHT, WIDTH), np.uint8)
            mask[10:20, 10:20] = 255 * (frame in abnormal)
            Image.fromarray(mask).save(folder / f"{frame + 1:03d}.bmp")
    text(
        root / "Test/UCSDped2.m",
        "TestVideoFile = {};\r\n"
        "TestVideoFile{end+1}.gt_frame = [4:7];\r\n"
        "TestVideoFile{end+1}.gt_frame = [1:2, 8];\r\n",
    )
    return {f"test/Test{number:03d}": frames for number, frames in truth.items()}


WRITERS: dict[str, Callable[[Path], Truth]] = {
    "ucf_crime": write_ucf_crime,
    "xd_violence": write_xd_violence,
    "shanghaitech": write_shanghaitech,
    "avenue": write_avenue,
    "ubnormal": write_ubnormal,
    "nwpu_campus": write_nwpu_campus,
    "ped2": write_ped2,
}
