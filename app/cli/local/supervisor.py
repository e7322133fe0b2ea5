"""Talking to the cloud's own supervisord."""

from __future__ import annotations

import http.client
import os
import socket
import subprocess
import sys
import time
import xmlrpc.client
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from app.cli.local.place import Place
from app.cli.local.programs import ORDER
from app.errors import Unavailable

RPC_SECONDS = 60.0
START_SECONDS = 15.0
_ALREADY = {60, 70}  # ALREADY_STARTED, NOT_RUNNING: it is as wanted
_RUNNING = ("RUNNING", "STARTING", "BACKOFF")


@dataclass(frozen=True)
class Process:
    """A supervised process as supervisord sees it."""

    name: str
    state: str
    pid: int
    uptime: float
    log: Path

    @property
    def wanted(self) -> bool:
        """Whether supervisord keeps it running."""
        return self.state in _RUNNING


class Supervisor:
    """One supervisord; `alive` says whether it is there at all."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self._rpc = xmlrpc.client.ServerProxy(
            "http://localhost/RPC2", transport=_UnixTransport(place.supervisor_socket)
        )

    def alive(self) -> bool:
        """Whether supervisord answers."""
        if not self.place.supervisor_socket.exists():
            return False
        try:
            return bool(self._rpc.supervisor.getState())
        except (OSError, xmlrpc.client.Error, http.client.HTTPException):
            return False

    def launch(self, environ: Mapping[str, str]) -> None:
        """Start supervisord as a daemon, with no program yet. Raises Unavailable."""
        config = str(self.place.supervisor_config)
        argv = [sys.executable, "-P", "-m", "supervisor.supervisord", "-c", config]
        try:
            done = subprocess.run(
                argv,
                env=dict(environ),
                stdin=subprocess.DEVNULL,
                capture_output=True,
                text=True,
                timeout=START_SECONDS,
            )
        except subprocess.TimeoutExpired as error:
            raise Unavailable(f"supervisord did not become a daemon: {argv}") from error
        deadline = time.monotonic() + START_SECONDS
        while done.returncode == 0 and not self.alive():
            if time.monotonic() > deadline:
                raise Unavailable(f"supervisord does not answer: {self.place.logs}/supervisord.log")
            time.sleep(0.05)
        if done.returncode:
            said = (done.stderr or done.stdout).strip().splitlines() or ["it said nothing"]
            why = next((line for line in said if line.startswith("Error")), said[-1])
            raise Unavailable(f"supervisord did not start: {why}")

    def processes(self) -> list[Process]:
        """All programs, in starting order."""
        return [
            Process(
                name=one["name"],
                state=one["statename"],
                pid=one["pid"],
                uptime=float(one["now"] - one["start"]) if one["pid"] else 0.0,
                log=Path(one["stdout_logfile"]),
            )
            for one in sorted(self._call("getAllProcessInfo"), key=_position)
        ]

    def start(self, name: str) -> None:
        """Start a program, without waiting until it runs; fine when it does."""
        self._call("startProcess", name, False)

    def stop(self, name: str) -> None:
        """Tell a program to stop, and return at once; fine when it is not running."""
        self._call("stopProcess", name, False)

    def shutdown(self, seconds: float) -> None:
        """End supervisord and all that still runs under it, and wait for that."""
        pid = int(self._call("getPID"))
        self._call("shutdown")
        try:
            psutil.Process(pid).wait(seconds)
        except psutil.NoSuchProcess:
            pass
        except psutil.TimeoutExpired as error:
            raise Unavailable(f"supervisord ({pid}) did not end in {seconds:.0f} s") from error

    def _call(self, method: str, *args: Any) -> Any:
        try:
            return getattr(self._rpc.supervisor, method)(*args)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode in _ALREADY:
                return None
            what = " ".join([method, *map(str, args)])
            raise Unavailable(f"supervisord refused {what}: {fault.faultString}") from fault
        except (OSError, http.client.HTTPException, xmlrpc.client.Error) as error:
            raise Unavailable(f"supervisord is away: {error}; run bin/up") from error


class _UnixTransport(xmlrpc.client.Transport):
    """XML-RPC over a Unix socket, with a time limit."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._path = path

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _UnixConnection(self._path)


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=RPC_SECONDS)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(RPC_SECONDS)
        self.sock.connect(os.fspath(self._path))


def _position(info: Mapping[str, Any]) -> int:
    return ORDER.index(info["name"]) if info["name"] in ORDER else len(ORDER)


def tail(path: Path, lines: int = 8) -> str:
    """The last lines of a log, for an error message."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - 16_384))
            text = file.read().decode(errors="replace")
    except OSError:
        return ""
    return "\n".join(text.splitlines()[-lines:])
