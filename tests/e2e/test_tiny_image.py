"""The tiny guest image, booted by plain QEMU without any of Novella's own code.

Builds the image, unless NOVELLA_TINY_IMAGE names one that is built already.
"""

import base64
import hashlib
import io
import json
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from pathlib import Path

import pycdlib
import pytest

BUILD = Path(__file__).parents[2] / "bin" / "tiny-image"
START_LIMIT = 30  # seconds, as all limits here
BOOT_LIMIT = 120  # it takes 5 on an idle machine, emulated
OFF_LIMIT = 20
KEY_BLOB = b"\0\0\0\x0bssh-ed25519\0\0\0\x20" + bytes(range(32))
KEY = f"ssh-ed25519 {base64.b64encode(KEY_BLOB).decode()} AAAAlice@example"
FINGERPRINT = "SHA256:" + base64.b64encode(hashlib.sha256(KEY_BLOB).digest()).decode().rstrip("=")
IDE_CDROM = "if=ide,media=cdrom,readonly=on"
VIRTIO_DISK = "if=virtio,readonly=on"

pytestmark = pytest.mark.skipif(
    not (shutil.which("qemu-system-x86_64") and shutil.which("syslinux")),
    reason="needs qemu-system-x86 and syslinux: bin/setup installs them",
)


class Guest:
    """A running QEMU: its serial line goes to a log and takes typing, its monitor is a socket."""

    def __init__(self, directory: Path, image: Path, *options: str):
        self.log = directory / "serial.log"
        monitor = directory / "monitor"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([
                "qemu-system-x86_64", "-machine", "pc,accel=tcg", "-m", "128",
                "-display", "none", "-device", "virtio-rng-pci",
                "-drive", f"file={image},if=virtio,snapshot=on", "-serial", "stdio",
                "-monitor", f"unix:{monitor},server=on,wait=off", *options,
            ], stdin=subprocess.PIPE, stdout=log)  # fmt: skip
        self.connection = self._connect(monitor)

    def marks(self) -> list[str]:
        text = self.log.read_text(errors="replace")
        return re.findall(r"^NOVELLA-GUEST (.*?)\r?$", text, re.MULTILINE)

    def wait_for(self, pattern: str, seconds: float = BOOT_LIMIT) -> None:
        """Until the serial log matches; fail with the log when it does not in time."""
        deadline = time.monotonic() + seconds
        while not re.search(pattern, self.log.read_text(errors="replace"), re.MULTILINE):
            if time.monotonic() > deadline or self.process.poll() is not None:
                pytest.fail(f"no {pattern!r} on the serial line:\n{self.log.read_text()}")
            time.sleep(0.1)

    def wait_until_off(self) -> None:
        assert self.process.wait(timeout=OFF_LIMIT) == 0

    def monitor(self, command: str) -> None:
        self.connection.sendall(command.encode() + b"\n")

    def type(self, line: str) -> None:
        self.process.stdin.write(line.encode() + b"\n")
        self.process.stdin.flush()

    def close(self) -> None:
        self.process.kill()
        self.process.wait(timeout=OFF_LIMIT)
        self.process.stdin.close()
        self.connection.close()

    def _connect(self, path: Path) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX)
        connection.settimeout(5)
        deadline = time.monotonic() + START_LIMIT
        while connection.connect_ex(str(path)) != 0:
            if time.monotonic() > deadline or self.process.poll() is not None:
                self.process.kill()
                pytest.fail("QEMU did not start")
            time.sleep(0.05)
        return connection


@pytest.fixture(scope="module")
def image(tmp_path_factory):
    if ready := os.environ.get("NOVELLA_TINY_IMAGE"):
        return Path(ready)
    output = tmp_path_factory.mktemp("tiny image") / "tiny.qcow2"
    subprocess.run([BUILD, output], check=True, timeout=600)
    return output


@pytest.fixture
def boot(image):
    """Start guests; what still runs at the end of the test is killed."""
    guests, directories = [], []

    def start(*options: str) -> Guest:
        directory = tempfile.mkdtemp(prefix="guest-")  # short: socket paths end at 108 bytes
        directories.append(directory)
        guests.append(Guest(Path(directory), image, *options))
        return guests[-1]

    yield start
    for guest in guests:
        guest.close()
    for directory in directories:
        shutil.rmtree(directory)


def config_drive(path: Path, user_data: str, kind: str = IDE_CDROM) -> tuple[str, str]:
    """QEMU's options for a config drive in the shape that Nova writes it."""
    metadata = {
        "uuid": "83679162-1378-4288-a2d4-70e13ec132aa",
        "meta": {"hostname": "not-this-one", "public_keys": {"k": "nor this"}},
        "hostname": "web-1.novalocal",
        "name": 'the "web"',
        "public_keys": {"my {key}": KEY + "\n"},
        "keys": [{"name": "my {key}", "type": "ssh", "data": KEY, "hostname": "nor this"}],
    }
    iso = pycdlib.PyCdlib()
    iso.new(interchange_level=3, joliet=3, rock_ridge="1.09", vol_ident="config-2")
    iso.add_directory("/OPENSTACK", rr_name="openstack", joliet_path="/openstack")
    iso.add_directory("/OPENSTACK/LATEST", rr_name="latest", joliet_path="/openstack/latest")
    for short, name, text in (
        ("META", "meta_data.json", json.dumps(metadata)),
        ("USER", "user_data", user_data),
    ):
        content = text.encode()
        iso.add_fp(
            io.BytesIO(content), len(content), f"/OPENSTACK/LATEST/{short}.;1",
            rr_name=name, joliet_path=f"/openstack/latest/{name}",
        )  # fmt: skip
    iso.write(str(path))
    iso.close()
    return "-drive", f"file={path},format=raw,{kind}"


USER_NETWORK = ("-netdev", "user,id=n", "-device", "virtio-net-pci,netdev=n")


def test_the_guest_reports_what_it_found_and_the_power_button_turns_it_off(boot, tmp_path):
    user_data = '#!/bin/sh\necho "two  words"\necho oops >&2\ncat /root/.ssh/authorized_keys\n'
    user_data += "stat -c %a /root/.ssh /root/.ssh/authorized_keys\nprintf end"
    guest = boot(*config_drive(tmp_path / "config.iso", user_data), *USER_NETWORK)
    guest.wait_for("^NOVELLA-GUEST ready")
    assert guest.marks() == [
        "hostname=web-1.novalocal",
        f"ssh-key={FINGERPRINT}",
        "address=10.0.2.15/24",
        "user-data: two  words",
        "user-data: oops",
        f"user-data: {KEY}",
        "user-data: 700",
        "user-data: 600",
        "user-data: end",
        "ready",
    ]
    guest.monitor("system_powerdown")
    guest.wait_until_off()


def test_the_shell_on_the_serial_line_answers_and_comes_back_when_it_ends(boot, tmp_path):
    guest = boot(*config_drive(tmp_path / "config.iso", "no script"), *USER_NETWORK)
    guest.wait_for("~ # ")
    guest.type("ping -c 1 10.0.2.2; exit")
    # The next shell throws away what was typed before it had the line, so its prompt is waited for.
    guest.wait_for(r"1 packets received(?s:.*)~ # ")
    guest.type("echo $((6 * 7)) again")
    guest.wait_for("^42 again")
    assert not [mark for mark in guest.marks() if mark.startswith("user-data")]


def test_user_data_on_a_virtio_disk_can_power_the_guest_off(boot, tmp_path):
    user_data = "#!/bin/sh\nsleep 1; poweroff -f\n"
    guest = boot(*config_drive(tmp_path / "config.iso", user_data, VIRTIO_DISK), "-nic", "none")
    guest.wait_for("^NOVELLA-GUEST hostname=web-1.novalocal")
    guest.wait_until_off()
    assert "ready" not in guest.marks()


def test_a_guest_reboots_when_it_is_told_to(boot):
    guest = boot("-nic", "none")
    guest.wait_for("~ # ")
    guest.type("reboot")
    guest.wait_for(r"ready[\s\S]*NOVELLA-GUEST ready")


def test_a_guest_without_config_drive_and_without_network_gets_ready(boot):
    guest = boot("-nic", "none")
    guest.wait_for("^NOVELLA-GUEST ready")
    assert guest.marks() == ["hostname=novella-guest", "ssh-key=none", "ready"]


def test_an_interface_that_is_plugged_in_later_gets_an_address(boot):
    guest = boot("-nic", "none")
    guest.wait_for("^NOVELLA-GUEST ready")
    guest.monitor("netdev_add user,id=late")
    guest.monitor("device_add virtio-net-pci,netdev=late")
    guest.wait_for("^NOVELLA-GUEST address=10.0.2.15/24")


@pytest.mark.skipif("NOVELLA_TINY_IMAGE" in os.environ, reason="somebody else's image")
def test_building_again_changes_nothing_until_an_input_changes(image):
    before = image.stat()
    again = subprocess.run([BUILD, image], check=True, timeout=60, capture_output=True, text=True)
    assert "up to date" in again.stdout
    assert image.stat().st_mtime_ns == before.st_mtime_ns
    left = sorted(path.name for path in image.parent.iterdir())
    assert left == ["tiny.qcow2", "tiny.qcow2.inputs"]
    (image.parent / "tiny.qcow2.inputs").write_text("an older kernel\n")
    subprocess.run([BUILD, image], check=True, timeout=600)
    assert image.stat().st_ino != before.st_ino


def test_a_missing_directory_is_refused_by_name(tmp_path):
    done = subprocess.run(
        [BUILD, tmp_path / "nowhere" / "x.qcow2"], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 1
    assert "nowhere" in done.stderr
    assert "create it first" in done.stderr
