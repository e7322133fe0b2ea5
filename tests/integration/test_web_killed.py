"""Web is killed, and started again at once."""

from __future__ import annotations

import socket
from pathlib import Path

import psutil

from tests.cloud import Cloud, eventually, running
from tests.http_client import Client


def test_a_killed_web_leaves_nobody_on_its_port(tmp_path: Path) -> None:
    with running(Cloud(tmp_path)) as cloud:
        cloud.start_web()
        eventually(
            lambda: Client(f"http://127.0.0.1:{cloud.web_port}").token, 10, "the first one answers"
        )
        workers = psutil.Process(cloud.processes["web"].pid).children(recursive=True)
        with socket.create_connection(("127.0.0.1", cloud.web_port)) as slow:
            slow.sendall(b"POST /identity/v3/auth/tokens HTTP/1.1\r\nContent-Length: 99\r\n\r\n")
            assert Client(f"http://127.0.0.1:{cloud.web_port}").token, "the slow one is being read"
            cloud.kill("web")
            eventually(lambda: not any(map(runs, workers)), 5, "web's workers end with it")
        assert workers
        cloud.start_web()
        assert Client(f"http://127.0.0.1:{cloud.web_port}").token
        assert "in use" not in cloud.log("web")


def runs(process: psutil.Process) -> bool:
    """Whether it holds its sockets yet: one that ended and that nobody reaped has no threads."""
    try:
        return process.status() != psutil.STATUS_ZOMBIE or process.num_threads() > 1
    except psutil.NoSuchProcess:
        return False
