"""A real RabbitMQ for tests: a throw-away node with an epmd, a cookie and data of its own."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from app.broker import AWAY, Probe
from tests.cloud import eventually, free_port

SERVER = "/usr/lib/rabbitmq/bin/rabbitmq-server"
CONFIGURATION = """
listeners.tcp.1 = 127.0.0.1:{port}
default_user = novella
default_pass = {password}
loopback_users = none
disk_free_limit.absolute = 1MB
vm_memory_high_watermark.relative = 0.9
log.file.level = warning
"""


@dataclass
class RabbitMQ:
    """One node. It is killed and started again with its data kept."""

    directory: Path
    port: int = field(default_factory=free_port)
    epmd_port: int = field(default_factory=free_port)
    dist_port: int = field(default_factory=free_port)
    password: str = field(default_factory=lambda: uuid.uuid4().hex)
    name: str = field(default_factory=lambda: f"novella-{uuid.uuid4().hex[:8]}@localhost")
    _epmd: subprocess.Popen[bytes] | None = None
    _node: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """What NOVELLA_BROKER_URL takes."""
        return f"amqp://novella:{self.password}@127.0.0.1:{self.port}//"

    def start(self) -> None:
        """Start the node (its epmd too, the first time) and wait until it takes clients."""
        (self.directory / "rabbitmq.conf").write_text(
            CONFIGURATION.format(port=self.port, password=self.password)
        )
        if self._epmd is None:
            self._epmd = self._spawn(["epmd", "-port", str(self.epmd_port)])
            eventually(lambda: _listens(self.epmd_port), 10, "epmd listens")
        self._node = self._spawn([SERVER])
        eventually(self._answers, 60, f"RabbitMQ answers (log: {self.directory / 'output'})")

    def kill(self, how: int = signal.SIGKILL) -> None:
        """End the node, by default as hard as can be; its data stays."""
        if self._node is not None:
            _end(self._node, how)
            self._node = None

    def pause(self) -> None:
        """Let the node hang: connections stand, nothing answers."""
        assert self._node is not None
        os.killpg(self._node.pid, signal.SIGSTOP)

    def go_on(self) -> None:
        """End the hang."""
        assert self._node is not None
        os.killpg(self._node.pid, signal.SIGCONT)

    def stop(self) -> None:
        """End node and epmd."""
        self.kill()
        if self._epmd is not None:
            _end(self._epmd, signal.SIGKILL)
            self._epmd = None

    def _answers(self) -> bool:
        assert self._node is not None
        assert self._node.poll() is None, (self.directory / "output").read_text()
        probe = Probe(self.url)
        try:
            probe.ping()
        except AWAY:
            return False
        finally:
            probe.close()
        return True

    def _spawn(self, argv: list[str]) -> subprocess.Popen[bytes]:
        with (self.directory / "output").open("ab") as output:
            return subprocess.Popen(
                argv,
                env=self._environment(),
                cwd=self.directory,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )

    def _environment(self) -> dict[str, str]:
        place = self.directory
        ours = {
            "NODENAME": self.name,
            "DIST_PORT": str(self.dist_port),
            "CONF_ENV_FILE": str(place / "no-such-file"),
            "CONFIG_FILE": str(place / "rabbitmq.conf"),
            "ENABLED_PLUGINS_FILE": str(place / "enabled_plugins"),
            "MNESIA_BASE": str(place / "mnesia"),
            "LOG_BASE": str(place / "log"),
            "SCHEMA_DIR": str(place / "schema"),
            "GENERATED_CONFIG_DIR": str(place / "config"),
        }
        # Two schedulers: the node shares a small machine with what it is tested with.
        ours["SERVER_ADDITIONAL_ERL_ARGS"] = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none"
        named = {f"RABBITMQ_{name}": value for name, value in ours.items()}
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("RABBITMQ_", "ERL_"))}
        # As under systemd, the script becomes the node, so that its pid is the node's.
        own = {"HOME": str(place), "RUNNING_UNDER_SYSTEMD": "true"}
        return clean | named | own | {"ERL_EPMD_PORT": str(self.epmd_port)}


def _end(process: subprocess.Popen[bytes], how: int) -> None:
    os.killpg(process.pid, signal.SIGCONT)
    os.killpg(process.pid, how)
    process.wait(30)


def _listens(port: int) -> bool:
    with socket.socket() as probe:
        probe.settimeout(0.5)
        return probe.connect_ex(("127.0.0.1", port)) == 0


@contextmanager
def rabbitmq() -> Iterator[RabbitMQ]:
    """A node that runs; it and its epmd end with the block."""
    directory = Path(tempfile.mkdtemp(prefix="novella-mq-"))
    node = RabbitMQ(directory)
    try:
        node.start()
        yield node
    finally:
        node.stop()
        shutil.rmtree(directory, ignore_errors=True)
