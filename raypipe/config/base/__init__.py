"""The base of every config model. It is a room of its own, below all that has a config."""

from pydantic import BaseModel, ConfigDict


class Config(BaseModel):
    """A config cannot change once it is made, takes no unknown keys, and takes values of its own types only."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True)
