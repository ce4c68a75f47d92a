"""Where a run works and where it is recorded: Ray and MLflow."""

from typing import Annotated

from pydantic import Field, field_validator

from raypipe.config.base import Config
from raypipe.ops.run_time import Resources, parse_cluster


class RayConfig(Config):
    """How Ray is used: a cluster started on this machine, or the one that the variable RAY_ADDRESS names."""

    num_cpus: int | None = Field(None, ge=1, description="CPUs of the cluster started here; null takes all")
    object_store_bytes: int | None = Field(
        None, ge=78643200, description="bytes of the object store of the cluster started here; null is Ray's choice"
    )
    actors: int | None = Field(None, ge=1, description="actors of every CPU stage; null is one per CPU")
    pools: dict[str, Annotated[int, Field(ge=1)]] = Field(
        {}, description="number of actors by stage, as {decode: 12}; other stages get as many as planned"
    )
    cluster: str | None = Field(
        None,
        description="what a driver may use, as 8xH100,128cpu: the size an autoscaling cluster grows to, or this "
        "driver's part of a shared cluster; null is what the cluster has at the start",
    )

    @field_validator("cluster")
    @classmethod
    def _cluster_is_one(cls, cluster: str | None) -> str | None:
        if cluster is not None:
            parse_cluster(cluster)
        return cluster

    @property
    def resources(self) -> Resources | None:
        """The resources that `cluster` names; None if what the cluster has at the start counts."""
        return parse_cluster(self.cluster) if self.cluster is not None else None


class TrackingConfig(Config):
    """Whether and where runs are recorded."""

    enabled: bool = Field(default=True, description="record the run in MLflow")
    uri: str | None = Field(
        default=None, min_length=1, description="MLflow tracking URI; null is the SQLite file <output>/mlflow.db"
    )
    experiment: str = Field(
        default="raypipe", min_length=1, max_length=500, description="name of the MLflow experiment"
    )
    run_name: str | None = Field(
        default=None, min_length=1, max_length=250, description="name of the MLflow run; null is the command's name"
    )
