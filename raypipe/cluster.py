"""Connecting to a Ray cluster: the one that is running, or one started on this machine."""

import logging
import os
from typing import TYPE_CHECKING

import ray

if TYPE_CHECKING:
    from raypipe.config import RayConfig


def connect(config: "RayConfig") -> None:
    """Connect this process to a cluster, once: the address in the config, RAY_ADDRESS, or a new local one.

    The local one has no dashboard and listens on loopback only.
    """
    if ray.is_initialized():
        return
    # Ray's C++ side warns of what every actor pool of Ray Data does; what fails is raised in Python all the same.
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    # Workers' own logs stay in Ray's session folder, unless --debug asks for them: what matters of them is returned
    # or raised, and Ray Train alone writes a line a second where there is no dashboard.
    is_debugging = logging.getLogger().isEnabledFor(logging.INFO)
    quiet = {"logging_level": logging.ERROR, "log_to_driver": is_debugging}
    address = config.address or os.environ.get("RAY_ADDRESS")
    if address:
        ray.init(address=address, **quiet)
    else:
        ray.init(
            num_cpus=config.num_cpus,
            object_store_memory=config.object_store_bytes,
            include_dashboard=False,
            _node_ip_address="127.0.0.1",
            **quiet,
        )
    quieten_data()


def quieten_data() -> None:
    """Leave the display of progress to raypipe and the order of segments to the plan."""
    from ray.data import DataContext

    context = DataContext.get_current()
    context.enable_progress_bars = False
    context.print_on_execution_start = False
    logging.getLogger("ray.data").setLevel(logging.ERROR)
