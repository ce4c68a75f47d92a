"""The cluster files, checked without a cloud: by Ray's own validation, and by the fields that KubeRay documents."""

import re
import stat
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml
from ray.autoscaler._private.util import prepare_config, validate_config

from raypipe import __version__
from raypipe.ops.run_time import Resources, parse_cluster

ROOT = Path(__file__).parents[2]
CLUSTER = ROOT / "jobs" / "cluster"
FAKE_AWS = """#!/usr/bin/env bash
echo "$@" >> "$(dirname "$0")/calls"
case "$1 $2" in
  "sts get-caller-identity") echo 123456789012 ;;
  "ssm get-parameter") echo ami-0123456789abcdef0 ;;
  "s3api head-bucket" | "iam get-role" | "iam get-instance-profile") exit 1 ;;
esac
"""


@pytest.fixture
def my_cluster(tmp_path):
    """What aws_setup.sh makes of cluster.yaml, and the calls that it made to AWS."""
    (tmp_path / "bin").mkdir()
    aws = tmp_path / "bin" / "aws"
    aws.write_text(FAKE_AWS)
    aws.chmod(aws.stat().st_mode | stat.S_IXUSR)
    command = [CLUSTER / "aws_setup.sh", "videos", "us-west-2"]
    path = f"{tmp_path / 'bin'}:/usr/bin:/bin"
    subprocess.run(command, cwd=tmp_path, env={"PATH": path}, check=True, capture_output=True)
    return yaml.safe_load((tmp_path / "my-cluster.yaml").read_text()), (tmp_path / "bin" / "calls").read_text()


def test_the_aws_cluster_is_valid_and_grows_from_none(my_cluster):
    config = prepare_config(my_cluster[0])
    validate_config(config)
    types = config["available_node_types"]
    assert config["provider"] | {"region": "us-west-2", "type": "aws"} == config["provider"]
    assert {node["node_config"]["ImageId"] for node in types.values()} == {"ami-0123456789abcdef0"}
    workers = {name: node for name, node in types.items() if name != config["head_node_type"]}
    assert {node["min_workers"] for node in workers.values()} == {0}
    assert all(node["node_config"]["InstanceMarketOptions"] == {"MarketType": "spot"} for node in workers.values())
    assert "InstanceMarketOptions" not in types["head"]["node_config"]
    assert types["head"]["resources"] == {"CPU": 0}
    assert sum(node["max_workers"] for node in workers.values()) == config["max_workers"]
    assert "aws s3 sync --only-show-errors s3://videos/weights ~/weights" in config["setup_commands"]
    assert not re.search("AMI_ID|REGION|BUCKET", str(config))


def grown(node_types):
    """Return what is there when every node type has as many nodes as it may."""
    return Resources(
        sum(node["max_workers"] * node["resources"]["CPU"] for node in node_types),
        sum(node["max_workers"] * node["resources"].get("GPU", 0) for node in node_types),
        "L40S",
    )


def test_the_files_say_what_their_clusters_grow_to(my_cluster):
    types = my_cluster[0]["available_node_types"]
    everything = grown([types["gpu"], types["decode"]])
    assert f"this grows to: {everything}." in (ROOT / "cluster.yaml").read_text()
    assert f"ray.cluster={everything}" in (ROOT / "docs" / "running.md").read_text()
    spec = rayjob()["spec"]
    asked = parse_cluster(re.search(r"ray\.cluster=(\S+)", spec["entrypoint"])[1])
    groups = spec["rayClusterSpec"]["workerGroupSpecs"]
    limits = [(g["maxReplicas"], g["template"]["spec"]["containers"][0]["resources"]["limits"]) for g in groups]
    assert asked.num_cpus == sum(count * int(limit["cpu"]) for count, limit in limits)
    assert asked.num_gpus == sum(count * int(limit.get("nvidia.com/gpu", 0)) for count, limit in limits)


def test_the_roles_that_the_cluster_names_are_made(my_cluster):
    config, calls = my_cluster
    profiles = {node["node_config"]["IamInstanceProfile"]["Name"] for node in config["available_node_types"].values()}
    assert profiles == set(re.findall(r"create-instance-profile --instance-profile-name (\S+)", calls))
    # Only the head may start nodes.
    assert re.findall(r"attach-role-policy --role-name (\S+) .*AmazonEC2FullAccess", calls) == ["raypipe-head"]
    assert "arn:aws:iam::123456789012:role/raypipe-worker" in calls
    assert "s3 mb s3://videos --region us-west-2" in calls


def test_a_wrong_call_of_the_setup_says_how(tmp_path):
    done = subprocess.run([CLUSTER / "aws_setup.sh", "videos"], cwd=tmp_path, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (2, "usage: jobs/cluster/aws_setup.sh BUCKET REGION\n")


def on_premises():
    return yaml.safe_load((CLUSTER / "on_premises.yaml").read_text())


def test_the_cluster_on_premises_is_valid():
    config = prepare_config(on_premises())
    validate_config(config)
    assert config["provider"]["worker_ips"] == ["WORKER_1", "WORKER_2"]
    assert config["max_workers"] == 2


@pytest.mark.parametrize("change", [{"max_worker": 1}, {"max_workers": "many"}])
def test_the_validation_finds_mistakes(change):
    with pytest.raises(jsonschema.ValidationError):
        validate_config(prepare_config(yaml.safe_load((ROOT / "cluster.yaml").read_text()) | change))


def test_nodes_install_what_the_lock_pins(my_cluster):
    locked = dict(re.findall(r"^([a-z0-9-]+)==(\S+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE))
    assert rayjob()["spec"]["rayClusterSpec"]["rayVersion"] == locked["ray"]
    for config in (my_cluster[0], on_premises()):
        commands = "\n".join(config["setup_commands"])
        assert "-r ~/raypipe/requirements.lock" in commands
        assert "--no-deps ~/raypipe" in commands
        assert config["file_mounts"]["~/raypipe"] == "."
    # s3:// needs it on every node.
    assert "s3fs" in locked
    copied = re.findall(r"^COPY (.+) \S+$", (CLUSTER / "Dockerfile").read_text(), re.MULTILINE)
    assert all((ROOT / name).exists() for line in copied for name in line.split())


def objects(required=(), **properties):
    """Return a schema of an object that has these fields and no others."""
    return {
        "type": "object",
        "properties": properties,
        "required": list(required),
        "additionalProperties": False,
    }


def lists(items):
    return {"type": "array", "items": items, "minItems": 1}


TEXT, WHOLE, TRUTH = {"type": "string"}, {"type": "integer", "minimum": 0}, {"type": "boolean"}
TEXTS = {"type": "object", "additionalProperties": TEXT}
QUANTITY = {"type": "string", "pattern": r"^\d+(m|Ki|Mi|Gi|Ti)?$"}
QUANTITIES = {"type": "object", "additionalProperties": QUANTITY}
POD = objects(
    ["spec"],
    spec=objects(
        ["containers"],
        containers=lists(
            objects(
                ["name", "image", "resources"],
                name=TEXT,
                image=TEXT,
                resources=objects(["requests", "limits"], requests=QUANTITIES, limits=QUANTITIES),
                volumeMounts=lists(objects(["name", "mountPath"], name=TEXT, mountPath=TEXT)),
            )
        ),
        volumes=lists(
            objects(["name"], name=TEXT, persistentVolumeClaim=objects(["claimName"], claimName=TEXT)),
        ),
    ),
)
# The fields of the API reference of KubeRay (ray.io/v1), as far as they are used here.
RAY_JOB = objects(
    ["apiVersion", "kind", "metadata", "spec"],
    apiVersion={"const": "ray.io/v1"},
    kind={"const": "RayJob"},
    metadata=objects(["name"], name={"type": "string", "pattern": "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"}),
    spec=objects(
        ["entrypoint", "rayClusterSpec"],
        entrypoint=TEXT,
        runtimeEnvYAML=TEXT,
        backoffLimit=WHOLE,
        shutdownAfterJobFinishes=TRUTH,
        ttlSecondsAfterFinished=WHOLE,
        rayClusterSpec=objects(
            ["headGroupSpec"],
            rayVersion=TEXT,
            authOptions=objects(["mode"], mode={"enum": ["token", "disabled"]}),
            enableInTreeAutoscaling=TRUTH,
            autoscalerOptions=objects(
                upscalingMode={"enum": ["Default", "Aggressive", "Conservative"]}, idleTimeoutSeconds=WHOLE
            ),
            headGroupSpec=objects(["rayStartParams", "template"], rayStartParams=TEXTS, template=POD),
            workerGroupSpecs=lists(
                objects(
                    ["groupName", "rayStartParams", "template"],
                    groupName=TEXT,
                    replicas=WHOLE,
                    minReplicas=WHOLE,
                    maxReplicas=WHOLE,
                    rayStartParams=TEXTS,
                    template=POD,
                )
            ),
        ),
    ),
)


def rayjob():
    return yaml.safe_load((CLUSTER / "rayjob.yaml").read_text())


def test_the_job_on_kubernetes_has_the_documented_fields():
    job = rayjob()
    jsonschema.validate(job, RAY_JOB)
    spec = job["spec"]
    # It starts a script of the image, and its environment is YAML.
    script = re.search(r"/home/ray/raypipe/(\S+\.py)", spec["entrypoint"])[1]
    assert (ROOT / script).exists()
    assert yaml.safe_load(spec["runtimeEnvYAML"]) == {"env_vars": {"RAY_USAGE_STATS_ENABLED": "0"}}
    cluster = spec["rayClusterSpec"]
    assert [group["minReplicas"] for group in cluster["workerGroupSpecs"]] == [0, 0]
    for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"]):
        pod = group["template"]["spec"]
        mounted = {mount["name"] for container in pod["containers"] for mount in container["volumeMounts"]}
        assert mounted == {volume["name"] for volume in pod["volumes"]}
        # GPUs cannot be overcommitted, and Ray counts a pod's CPUs by its limits.
        assert all(c["resources"]["requests"] == c["resources"]["limits"] for c in pod["containers"])


def test_the_image_is_of_this_version():
    cluster = rayjob()["spec"]["rayClusterSpec"]
    pods = [group["template"]["spec"] for group in (cluster["headGroupSpec"], *cluster["workerGroupSpecs"])]
    images = {container["image"] for pod in pods for container in pod["containers"]}
    assert images == {f"REGISTRY/raypipe:{__version__}"}
    built = re.findall(r"REGISTRY/raypipe:(\S+)", (CLUSTER / "Dockerfile").read_text())
    assert built == [__version__] * 2


def test_the_schema_finds_mistakes():
    job = rayjob()
    job["spec"]["rayClusterSpec"]["workerGroupSpecs"][0]["maxReplica"] = 8
    with pytest.raises(jsonschema.ValidationError, match="maxReplica"):
        jsonschema.validate(job, RAY_JOB)
