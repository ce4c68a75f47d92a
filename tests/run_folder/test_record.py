import json
import uuid

import pytest

from raypipe.errors import UserError
from raypipe.run_folder.folder import RunFolder
from raypipe.run_folder.record import claim_run_folder, read_run


@pytest.fixture(params=["local", "memory"])
def folder(request, tmp_path):
    return RunFolder(str(tmp_path / "run") if request.param == "local" else f"memory://{uuid.uuid4().hex}")


def claim(folder, **keys):
    claim_run_folder(
        folder,
        config={},
        feature_keys=keys,
        config_hash=json.dumps(keys),
        versions={"raypipe": "1"},
        catalogue_hash="c",
    )


def test_a_run_folder_belongs_to_one_config(folder):
    claim(folder, stride=1, root="x")
    claim(folder, stride=1, root="x")
    with pytest.raises(UserError, match=r"features of another config: stride \(was 1, now 2\)\. Use another output"):
        claim(folder, stride=2, root="x")
    document = folder.read_json("run.json")
    assert document["feature_keys"] == {"stride": 1, "root": "x"}
    assert document["versions"] == {"raypipe": "1"}


def test_what_is_read_is_a_run_of_this_config(folder):
    with pytest.raises(UserError, match=r"holds no run .*raypipe extract"):
        read_run(folder, {"stride": 1}, "x")
    claim(folder, stride=1)
    assert read_run(folder, {"stride": 1}, json.dumps({"stride": 1}))["catalogue_hash"] == "c"
    with pytest.raises(UserError, match=r"stride \(was 1, now 2\)"):
        read_run(folder, {"stride": 2}, json.dumps({"stride": 2}))
