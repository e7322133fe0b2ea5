"""A Redis to be killed and started again."""

from __future__ import annotations

import signal
import subprocess
from dataclasses import dataclass, field
from pathlib import Path

import redis

from tests.cloud import eventually, free_port

SECONDS = 30.0


@dataclass
class Redis:
    """A Redis without a disk: killed, it comes back empty."""

    directory: Path
    addresses: tuple[str, ...] = ("127.0.0.1",)
    port: int = field(default_factory=free_port)
    process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it and wait until it answers."""
        argv = ["redis-server", "--port", str(self.port), "--bind", *self.addresses]
        argv += ["--protected-mode", "no", "--save", "", "--appendonly", "no"]
        with (self.directory / "redis.log").open("ab") as log:
            self.process = subprocess.Popen(argv, cwd=self.directory, stdout=log, stderr=log)
        eventually(self.answers, SECONDS, "Redis answers")

    def client(self) -> redis.Redis:
        """A client with short time limits."""
        return redis.Redis(port=self.port, socket_timeout=2, socket_connect_timeout=1)

    def answers(self) -> bool:
        """Whether it answers now."""
        try:
            with self.client() as client:
                return bool(client.ping())
        except redis.RedisError:
            return False

    def signal(self, how: int) -> None:
        """Send it a signal."""
        assert self.process is not None
        self.process.send_signal(how)
        if how == signal.SIGKILL:
            self.process.wait(10)

    def stop(self) -> None:
        """End it."""
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.signal(signal.SIGKILL)
