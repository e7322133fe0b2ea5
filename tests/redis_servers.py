"""Real Redis servers for tests: with a password, with TLS, and three Sentinels over two of them."""

from __future__ import annotations

import signal
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import redis

from app.broker import AWAY, redis_client
from tests.certificates import Authority
from tests.cloud import eventually, free_port

PASSWORD = "pass/wörd"
ENCODED = "pass%2Fw%C3%B6rd"
MASTER = "novella"


@dataclass
class RedisServer:
    """One server without anything on disk; `url` is how it is reached."""

    directory: Path
    port: int
    url: str
    options: Sequence[str]
    mode: Sequence[str] = ()
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start the server, empty, and wait until it answers."""
        self.directory.mkdir(exist_ok=True)
        path = self.directory / "redis.conf"
        path.write_text(
            "\n".join(["bind 127.0.0.1", f"dir {self.directory}", *self.options]) + "\n"
        )
        with (self.directory / "log").open("ab") as log:
            command = ["redis-server", str(path), *self.mode]
            self._process = subprocess.Popen(command, stdout=log, stderr=log)
        eventually(self._answers, 10, f"Redis on port {self.port} answers")

    def kill(self, how: int = signal.SIGKILL) -> None:
        """End the server with all that it held."""
        if self._process is not None:
            self._process.send_signal(how)
            self._process.wait(10)
            self._process = None

    def _answers(self) -> bool:
        try:
            with redis_client(self.url) as client:
                return bool(client.ping())
        except AWAY:
            return False


@contextmanager
def password_redis(directory: Path) -> Iterator[RedisServer]:
    """A server that wants a password."""
    port = free_port()
    url = f"redis://:{ENCODED}@127.0.0.1:{port}/1"
    yield from _running(RedisServer(directory, port, url, [*_plain(port), _asks()]))


@contextmanager
def tls_redis(directory: Path) -> Iterator[RedisServer]:
    """A server that speaks TLS alone, and wants a certificate of its clients."""
    directory.mkdir(exist_ok=True)
    authority, port = Authority(directory), free_port()
    own, client = authority.issue("127.0.0.1"), authority.issue("client")
    files = f"ssl_ca_certs={authority.certificate}"
    files += f"&ssl_certfile={client.certificate}&ssl_keyfile={client.key}"
    options = [*_plain(0), f"tls-port {port}", _asks(), f"tls-ca-cert-file {authority.certificate}"]
    options += [f"tls-cert-file {own.certificate}", f"tls-key-file {own.key}"]
    url = f"rediss://:{ENCODED}@127.0.0.1:{port}/1?{files}"
    yield from _running(RedisServer(directory, port, url, options))


@dataclass
class Sentinels:
    """A master, its replica, and three Sentinels that watch them."""

    directory: Path
    servers: list[RedisServer] = field(default_factory=list)
    sentinels: list[RedisServer] = field(default_factory=list)

    @property
    def url(self) -> str:
        """What NOVELLA_BROKER_URL takes."""
        first, *others = [f"127.0.0.1:{sentinel.port}" for sentinel in self.sentinels]
        where = [f":{ENCODED}@{first}", *others]
        return ";".join(f"sentinel://{one}" for one in where) + f"/1?master_name={MASTER}"

    def master(self) -> RedisServer:
        """Who is the master by the Sentinels' word."""
        with redis.Redis(port=self.sentinels[0].port) as client:
            port = int(client.sentinel_get_master_addr_by_name(MASTER)[1])
        return next(server for server in self.servers if server.port == port)

    def start(self) -> None:
        """Start all, and wait until a failover would work."""
        ports = [free_port() for _ in range(5)]
        for number, port in enumerate(ports[:2]):
            options = [*_plain(port), _asks(), f'masterauth "{PASSWORD}"']
            if number:
                options.append(f"replicaof 127.0.0.1 {ports[0]}")
            url = f"redis://:{ENCODED}@127.0.0.1:{port}/1"
            self.servers.append(RedisServer(self.directory / f"r{number}", port, url, options))
        for number, port in enumerate(ports[2:]):
            options = [
                f"port {port}",
                f"sentinel monitor {MASTER} 127.0.0.1 {ports[0]} 2",
                f'sentinel auth-pass {MASTER} "{PASSWORD}"',
                f"sentinel down-after-milliseconds {MASTER} 1000",
                f"sentinel failover-timeout {MASTER} 5000",
            ]
            where = self.directory / f"s{number}"
            url = f"redis://127.0.0.1:{port}/0"
            self.sentinels.append(RedisServer(where, port, url, options, ["--sentinel"]))
        for server in [*self.servers, *self.sentinels]:
            server.start()
        eventually(self._ready, 30, "the Sentinels know each other and the replica")

    def _ready(self) -> bool:
        for sentinel in self.sentinels:
            with redis.Redis(port=sentinel.port, decode_responses=True) as client:
                known = client.sentinel_master(MASTER)
                replicas = client.sentinel_slaves(MASTER)
            if known["num-other-sentinels"] != 2 or len(replicas) != 1:
                return False
            if replicas[0]["master-link-status"] != "ok":
                return False
        return True

    def stop(self) -> None:
        """End all."""
        for server in [*self.sentinels, *self.servers]:
            server.kill()


@contextmanager
def sentinels(directory: Path) -> Iterator[Sentinels]:
    """Two servers under three Sentinels."""
    directory.mkdir(exist_ok=True)
    made = Sentinels(directory)
    with ExitStack() as stack:
        stack.callback(made.stop)
        made.start()
        yield made


def _running(server: RedisServer) -> Iterator[RedisServer]:
    try:
        server.start()
        yield server
    finally:
        server.kill()


def _plain(port: int) -> list[str]:
    return [f"port {port}", 'save ""', "appendonly no"]


def _asks() -> str:
    return f'requirepass "{PASSWORD}"'
