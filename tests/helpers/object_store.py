"""An S3-compatible server on loopback that fails some of its requests, in every way that a store fails."""

import json
import logging
import random
import socket
import threading
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import s3fs
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import make_server

BUCKET = "bucket"
FAULTS = ("error", "slow down", "lost", "cut off", "stalled")
# Clients wait this long for an answer; a stalled request takes longer.
READ_SECONDS, STALL_SECONDS = 2, 4
ERROR = b'<?xml version="1.0" encoding="UTF-8"?><Error><Code>%s</Code><Message>Please try again.</Message></Error>'


@dataclass
class Faults:
    """Passes requests on to `application`; `share` of them fail, drawn by a seeded generator.

    A request that fails is refused (500, or 503 Slow Down) before anything is done, or done and its answer lost, or
    its connection is cut off, or the answer comes later than the client waits: it cannot tell what was done, and must
    be able to repeat it.
    """

    application: Callable[..., Any]
    share: float
    seed: int = 0
    kinds: tuple[str, ...] = FAULTS
    counts: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.random, self.lock = random.Random(self.seed), threading.Lock()

    def __call__(self, environment: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        with self.lock:
            fault = self.random.choice(self.kinds) if self.random.random() < self.share else "none"
            self.counts[fault] += 1
        if fault == "none":
            return self.application(environment, start_response)
        if fault in ("lost", "cut off", "stalled"):
            for _ in self.application(environment, lambda *arguments: None):
                pass
        if fault == "stalled":
            time.sleep(STALL_SECONDS)
        if fault == "cut off":
            environment["werkzeug.socket"].shutdown(socket.SHUT_RDWR)
        code, status = (b"SlowDown", "503 Slow Down") if fault == "slow down" else (b"InternalError", "500 Error")
        body = ERROR % code
        start_response(status, [("Content-Type", "application/xml"), ("Content-Length", str(len(body)))])
        return [body]


@contextmanager
def object_store(seed: int = 0) -> Iterator[tuple[dict[str, str], Any, Faults]]:
    """Serve an empty bucket on loopback; yield the environment by which clients find it, a client, and the faults.

    No request fails until `share` of the faults is set.
    """
    logging.getLogger("werkzeug").setLevel(logging.CRITICAL)
    faults = Faults(DomainDispatcherApplication(create_backend_app), 0.0, seed)
    server = make_server("127.0.0.1", 0, faults, threaded=True)
    serving = threading.Thread(target=server.serve_forever, daemon=True)
    serving.start()
    environment = {
        "AWS_ENDPOINT_URL": f"http://127.0.0.1:{server.port}",
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_DEFAULT_REGION": "us-east-1",
        "FSSPEC_S3": json.dumps({"config_kwargs": {"read_timeout": READ_SECONDS}}),
    }
    client = s3fs.S3FileSystem(
        key=environment["AWS_ACCESS_KEY_ID"],
        secret=environment["AWS_SECRET_ACCESS_KEY"],
        endpoint_url=environment["AWS_ENDPOINT_URL"],
        skip_instance_cache=True,
    )
    # What an earlier store of this process held would still be there.
    urllib.request.urlopen(f"{environment['AWS_ENDPOINT_URL']}/moto-api/reset", data=b"").close()  # noqa: S310
    client.mkdir(BUCKET)
    try:
        yield environment, client, faults
    finally:
        server.shutdown()
        serving.join()
