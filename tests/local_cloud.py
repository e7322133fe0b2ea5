"""A cloud that bin/up makes, in a state directory with a space in its name, on ports of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import requests

from tests.cloud import free_port

CHECKOUT = Path(__file__).resolve().parents[1]
FAKE = "app.virt.fake:FakeDriver"
Done = subprocess.CompletedProcess[str]


def within(netns: str) -> tuple[str, ...]:
    """What runs a command in that network namespace; mounts stay the machine's own."""
    return ("nsenter", f"--net=/run/netns/{netns}") if netns else ()


@dataclass
class Local:
    """`driver` is empty for the default one, libvirt; `netns` for the machine's own network."""

    directory: Path
    driver: str = FAKE
    host: str = "n1"
    netns: str = ""
    port: int = field(default_factory=free_port)
    flower_port: int = field(default_factory=free_port)

    @property
    def state(self) -> Path:
        """The state directory."""
        return self.directory / "a state"

    def run(self, *argv: str, timeout: float = 200, **environ: str) -> Done:
        """Run any command with this cloud's environment."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(("NOVELLA_", "OS_"))}
        given = {
            "NOVELLA_STATE_DIR": str(self.state),
            "NOVELLA_PORT": str(self.port),
            "NOVELLA_FLOWER_PORT": str(self.flower_port),
            "NOVELLA_HOST_NAME": self.host,
            **({"NOVELLA_DRIVER": self.driver} if self.driver else {}),
        }
        env = {**clean, **given, **environ}
        argv = (*within(self.netns), *argv)
        return subprocess.run(argv, env=env, capture_output=True, text=True, timeout=timeout)

    def novella(self, *args: str, **environ: str) -> Done:
        """Run the novella command."""
        return self.run(sys.executable, "-m", "app.cli", *args, **environ)

    def up(self, **environ: str) -> Done:
        """`bin/up --no-guest` without its bin/setup."""
        return self.novella("up", "--no-guest", **environ)

    def down(self) -> Done:
        """`bin/down`."""
        return self.novella("down")

    def processes(self) -> dict[str, tuple[str, int]]:
        """Name → (state, pid) as `bin/up --status` prints them."""
        table = self.novella("up", "--status").stdout.partition("\n\n")[0].splitlines()[1:]
        rows = [line.split() for line in table]
        return {row[0]: (row[1], int(row[2]) if row[2] != "-" else 0) for row in rows}

    def get(self, path: str) -> requests.Response:
        """GET from the API."""
        return requests.get(f"http://127.0.0.1:{self.port}{path}", timeout=10)

    def healthy(self) -> bool:
        """Whether the API answers."""
        try:
            return self.get("/healthz").ok
        except requests.ConnectionError:
            return False

    def ours(self) -> list[psutil.Process]:
        """Every process that reads this cloud's settings."""
        config = str(self.state / "novella.toml")
        found = []
        for process in psutil.process_iter():
            try:
                if process.environ().get("NOVELLA_CONFIG") == config:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def supervisord(self) -> psutil.Process:
        """Its supervisor."""
        (found,) = [p for p in self.ours() if "supervisor.supervisord" in p.cmdline()]
        return found
