"""Fixtures for driver tests: build plans, an image server, our own libvirtd."""

from __future__ import annotations

import hashlib
import itertools
import os
import shutil
import subprocess
import tempfile
import threading
import time
import uuid
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import psutil
import pytest

from app.config import Settings
from app.domain.message import BuildPlan, ImageSource, Nic
from app.domain.resources import Resources
from app.virt.driver import Driver
from app.virt.libvirt import daemon
from app.virt.loader import load_driver

TOKEN = "image-token-for-tests"
DRIVERS = {
    "fake": "app.virt.fake:FakeDriver",
    "test": "app.virt.libvirt.driver:LibvirtDriver",
    "qemu": "app.virt.libvirt.driver:LibvirtDriver",
}


class ImageServer:
    """Serves one file; `hold` makes it stop after the first half until it is set again."""

    def __init__(self, path: Path) -> None:
        self.content = path.read_bytes()
        self.requests = 0
        self.refuse_next = 0
        self.flow = threading.Event()
        self.flow.set()
        self.half_sent = threading.Event()
        server = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                server.requests += 1
                if self.headers.get("Authorization") != f"Bearer {TOKEN}":
                    self.send_error(401)
                elif server.refuse_next:
                    server.refuse_next -= 1
                    self.send_error(503)
                else:
                    server.send(self)

            def log_message(self, *args: Any) -> None:
                pass

        self._http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        # It looks for its end as often: half a second more for each test with the default.
        threading.Thread(target=self._http.serve_forever, args=(0.02,), daemon=True).start()

    def send(self, handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(200)
        handler.send_header("Content-Length", str(len(self.content)))
        handler.end_headers()
        half = len(self.content) // 2
        try:
            handler.wfile.write(self.content[:half])
            handler.wfile.flush()
            self.half_sent.set()
            self.flow.wait(30)
            handler.wfile.write(self.content[half:])
        except OSError:
            pass

    def source(self, **changes: Any) -> ImageSource:
        """How a plan names the image."""
        host, port = self._http.server_address[:2]
        source = ImageSource(
            id=str(uuid.uuid4()),
            url=f"http://{host}:{port}/image",
            token=TOKEN,
            size=len(self.content),
            checksum_algorithm="sha512",
            checksum=hashlib.sha512(self.content).hexdigest(),
            disk_format="qcow2",
        )
        return replace(source, **changes)

    def close(self) -> None:
        self.flow.set()
        self._http.shutdown()
        self._http.server_close()


@pytest.fixture(scope="session")
def blank_image(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A small qcow2 with 2 MiB of data and nothing to boot."""
    folder = tmp_path_factory.mktemp("image")
    raw, image = folder / "blank.raw", folder / "blank.qcow2"
    raw.write_bytes(os.urandom(2 << 20))
    os.truncate(raw, 64 << 20)
    subprocess.run(
        ["qemu-img", "convert", "-f", "raw", "-O", "qcow2", raw, image], check=True, timeout=60
    )
    return image


@pytest.fixture
def images(blank_image: Path) -> Iterator[ImageServer]:
    """A server of the blank image."""
    server = ImageServer(blank_image)
    yield server
    server.close()


@dataclass
class Hypervisor:
    """One kind of driver to test; makes drivers and plans, and cleans up after them."""

    kind: str
    folder: Path
    images: ImageServer
    uri: str = ""
    subnet: str = "10.77.1"
    cloud_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    network_id: str = field(default_factory=lambda: str(uuid.uuid4()))
    made: list[Any] = field(default_factory=list)
    numbers: Iterator[int] = field(default_factory=lambda: itertools.count(10))

    @property
    def is_libvirt(self) -> bool:
        return self.kind != "fake"

    @property
    def is_qemu(self) -> bool:
        return self.kind == "qemu"

    def driver(self, cloud_id: str = "", state: str = "state of n1", **changes: Any) -> Driver:
        """An open driver; `state` names its state directory."""
        values: dict[str, Any] = {
            "state_dir": self.folder / state,
            "driver": DRIVERS[self.kind],
            "libvirt_uri": self.uri,
            "virt_type": "qemu",
            "shutdown_seconds": 1,
            **changes,
        }
        driver = load_driver(Settings(**values), "n1", cloud_id or self.cloud_id)
        driver.open()
        self.made.append(driver)
        return driver

    def plan(self, **changes: Any) -> BuildPlan:
        """A build plan with one NIC, at fence 5."""
        nic = Nic(
            port_id=str(uuid.uuid4()),
            mac=f"fa:16:3e:{os.urandom(3).hex(':')}",
            address=f"{self.subnet}.{next(self.numbers)}",
            network_id=self.network_id,
            network_name="default",
            cidr=f"{self.subnet}.0/24",
            gateway=f"{self.subnet}.1",
        )
        plan = BuildPlan(
            server_id=str(uuid.uuid4()),
            project_id="project",
            user_id="user",
            fence=5,
            name="Web & more <1>",
            hostname="web-1",
            flavor_name="tiny",
            resources=Resources(1, 64, 1),
            image=self.images.source() if self.is_libvirt else None,
            nics=(nic,),
            availability_zone="nova",
        )
        return replace(plan, **changes)

    def close(self) -> None:
        for driver in self.made:
            for guest in driver.inventory().guests:
                driver.destroy(guest.server_id, 1 << 30)
            driver.remove_networks()
            driver.close()


class OwnLibvirtd:
    """libvirtd and virtlogd of our own, in a network namespace of their own."""

    def __init__(self, folder: Path, runtime: Path, netns: str = "", hostname: str = "") -> None:
        self.netns = netns or f"novtest{os.getpid()}"
        subprocess.run(["ip", "netns", "add", self.netns], check=True, timeout=10)
        subprocess.run(["ip", "-n", self.netns, "link", "set", "lo", "up"], check=True, timeout=10)
        self.daemon = daemon.prepare(
            folder / "libvirt state", runtime, hostname=hostname, netns=self.netns
        )
        self._log = (folder / "libvirtd.log").open("ab")
        self._virtlogd = self._run(self.daemon.virtlogd)
        self.libvirtd = self._run(self.daemon.libvirtd)
        daemon.wait_ready(self.daemon, 30)

    @property
    def uri(self) -> str:
        return self.daemon.uri

    def process(self) -> psutil.Process:
        """libvirtd itself: the oldest child of its reaper, for what it forks has its name at first
        and may become the reaper's."""
        children = psutil.Process(self.libvirtd.pid).children()
        return min(children, key=lambda one: (one.create_time(), one.pid))

    def restart(self, pause: float = 0.0) -> None:
        """Kill libvirtd with SIGKILL, and start it again after `pause` seconds."""
        self.kill()
        time.sleep(pause)
        self.libvirtd = self._run(self.daemon.libvirtd)
        daemon.wait_ready(self.daemon, 30)

    def kill(self) -> None:
        """Kill libvirtd with SIGKILL: its reaper, which it outlives by a moment."""
        self.libvirtd.kill()
        self.libvirtd.wait(10)
        deadline = time.monotonic() + 10
        while daemon.listening(self.daemon):
            assert time.monotonic() < deadline, "libvirtd outlived its reaper"
            time.sleep(0.01)

    def close(self) -> list[str]:
        """End it all; returns what was left to end."""
        from app.virt.libvirt import leftovers  # needs libvirt-python

        did = leftovers.teardown(self.daemon)
        for process in (self.libvirtd, self._virtlogd):
            process.terminate()
            process.wait(20)
        self._log.close()
        assert not leftovers.find(self.daemon)
        subprocess.run(["ip", "netns", "delete", self.netns], check=True, timeout=10)
        return did

    def _run(self, argv: list[str]) -> subprocess.Popen[bytes]:
        return subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=self._log, stderr=self._log)


def require_libvirtd() -> None:
    """Skip where our own libvirtd cannot run."""
    pytest.importorskip("libvirt")
    if os.geteuid() != 0 or shutil.which("libvirtd") is None:
        pytest.skip("needs root and libvirtd")


@pytest.fixture(scope="session")
def own_libvirtd(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OwnLibvirtd]:
    """One libvirtd for the whole run."""
    require_libvirtd()
    runtime = Path(tempfile.mkdtemp(prefix="nv-"))
    own = OwnLibvirtd(tmp_path_factory.mktemp("libvirtd"), runtime)
    yield own
    own.close()
    shutil.rmtree(runtime)


@pytest.fixture(params=["fake", "test", "qemu"])
def hypervisor(
    request: pytest.FixtureRequest, tmp_path: Path, images: ImageServer
) -> Iterator[Hypervisor]:
    """Each kind of hypervisor in turn."""
    uri = ""
    if request.param == "test":
        pytest.importorskip("libvirt")
        uri = "test:///default"
    elif request.param == "qemu":
        uri = request.getfixturevalue("own_libvirtd").uri
    made = Hypervisor(request.param, tmp_path, images, uri)
    yield made
    made.close()
