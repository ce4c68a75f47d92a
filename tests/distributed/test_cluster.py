"""A RAY_ADDRESS at which nobody, or somebody else, answers; and a machine on which Ray cannot start."""

import os
import socket
import subprocess
import sys
import threading
import time
from contextlib import contextmanager

import pytest
import ray

from raypipe.config.runtime import RayConfig
from raypipe.distributed import cluster as module
from raypipe.distributed.cluster import connect, require_answer
from raypipe.errors import UserError


@contextmanager
def listening(answer):
    """A port of this machine's where every connection is given some bytes, or None: nothing, and is not ended."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        held = []

        def serve():
            try:
                while True:
                    connection, _ = server.accept()
                    held.append(connection)
                    if answer is not None:
                        connection.recv(1024)
                        connection.sendall(answer)
                        connection.close()
            except OSError:
                return

        threading.Thread(target=serve, daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"
        for connection in held:
            connection.close()


def closed_port():
    with socket.create_server(("127.0.0.1", 0)) as server:
        return f"127.0.0.1:{server.getsockname()[1]}"


@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        (None, "nothing is said there within 0.3 s"),
        (b"", "what listens there is not Ray"),
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", "what listens there is not Ray"),
    ],
)
@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_who_answers_otherwise_is_no_cluster(monkeypatch, answer, reason, scheme):
    monkeypatch.setattr(module, "ANSWER_SECONDS", 0.3)
    with listening(answer) as address, pytest.raises(UserError, match=reason):
        require_answer(scheme + address)


@pytest.mark.parametrize(
    ("address", "reason"),
    [("none.invalid:6379", "no cluster answers there: "), ("127.0.0.1:99999", "Port out of range")],
)
def test_addresses_that_cannot_be_asked(address, reason):
    with pytest.raises(UserError, match=reason) as caught:
        require_answer(address)
    assert "\n" not in str(caught.value)


def test_a_cluster_answers(cluster):
    require_answer(cluster.get_runtime_context().gcs_address)


@pytest.mark.parametrize("address", ["auto", "local", ""])
def test_addresses_without_a_port_are_left_to_ray(address):
    require_answer(address)


@pytest.mark.parametrize("silent", [False, True])
def test_a_wrong_address_is_told_within_ten_seconds(tmp_path, silent):
    """Through the command line, as its own process: another has a cluster already."""
    (tmp_path / "data" / "train").mkdir(parents=True)
    (tmp_path / "data" / "test").mkdir()
    (tmp_path / "data" / "train" / "a.mp4").write_bytes(b"?")
    (tmp_path / "c.yaml").write_text(
        f"dataset: {{root: {tmp_path / 'data'}}}\noutput: {tmp_path / 'run'}\ndetector: {{kind: sliding_window}}\n"
        "tracking: {enabled: false}\n"
    )
    with listening(None) as address:
        address = address if silent else closed_port()
        script = f"import os; os.environ['RAY_ADDRESS'] = {address!r}; import raypipe.cli.main as m; import sys; "
        script += f"sys.exit(m.main(['extract', '--config', {str(tmp_path / 'c.yaml')!r}]))"
        began = time.monotonic()
        done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, timeout=60, check=False)
        seconds = time.monotonic() - began
    assert done.returncode == 2, done.stderr
    assert done.stderr.splitlines()[-1].startswith(f"raypipe: RAY_ADDRESS={address}: no cluster answers there: ")
    assert "unset it to work on this machine" in done.stderr
    assert "Traceback" not in done.stderr
    assert seconds < 10, f"{seconds:.1f} s"


def test_a_machine_on_which_ray_cannot_start_is_one_line(monkeypatch):
    def fail(**_):
        raise OSError("AF_UNIX path length cannot exceed 107 bytes: /a/long/place\nand more")

    monkeypatch.delenv("RAY_ADDRESS", raising=False)
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", fail)
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    monkeypatch.setenv("TMPDIR", "/a/long")
    with pytest.raises(UserError) as caught:
        connect(RayConfig())
    assert str(caught.value) == (
        "Ray cannot be started on this machine: AF_UNIX path length cannot exceed 107 bytes: /a/long/place. TMPDIR is "
        "too long for Ray's sockets: set RAY_TMPDIR to a folder with a short name, such as /tmp/ray"
    )


@pytest.mark.slow
def test_starting_ray_writes_no_line_of_its_own():
    code = (
        "from raypipe.config.runtime import RayConfig\n"
        "from raypipe.distributed.cluster import connect\n"
        "connect(RayConfig(num_cpus=1, object_store_bytes=2**27))\n"
        "import os; os.write(2, b'ours')\n"
    )
    environment = {name: value for name, value in os.environ.items() if name != "RAY_ADDRESS"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=120)
    assert (done.returncode, done.stderr) == (0, "ours")
