"""A libvirtd of our own: configuration, sockets and state apart from the distribution's.

libvirt's system paths are compiled in, so the daemons run in private mount namespaces in which
our directories lie over `/run/libvirt`, `/etc/libvirt` and the three under `/var`. A restarted
libvirtd gets the same directories and so finds its guests and networks again; guests, dnsmasq
and bridges live on in the network namespace it was started in. Needs root. See `docs/virt.md`.
"""

from __future__ import annotations

import os
import shutil
import socket
import sys
import time
import uuid
from dataclasses import dataclass
from pathlib import Path

from app.errors import HostFault
from app.virt.libvirt import footprint

SOCKET_PATH_LIMIT = 107
_BINDS = {
    "etc": "/etc/libvirt",
    "lib": "/var/lib/libvirt",
    "cache": "/var/cache/libvirt",
    "log": "/var/log/libvirt",
}
_FOLDERS = ("etc/qemu/networks", "etc/secrets", "etc/nwfilter", "lib/qemu", "cache/qemu")

_LIBVIRTD = """\
# Written by novella at each start; changes are lost.
auth_unix_rw = "none"
auth_unix_ro = "none"
unix_sock_rw_perms = "0700"
unix_sock_ro_perms = "0700"
host_uuid = "{host_uuid}"
keepalive_interval = 5
keepalive_count = 5
max_workers = 64
max_client_requests = 64
log_outputs = "3:stderr"
"""
_QEMU = """\
# Written by novella at each start; changes are lost. QEMU as root: with an own user, disks under
# a private home cannot be read, and each create probes a closed /dev/kvm for seconds.
user = "root"
group = "root"
security_driver = "none"
dynamic_ownership = 0
remember_owner = 0
namespaces = []
stdio_handler = "logd"
vnc_listen = "127.0.0.1"
"""
_VIRTLOGD = """\
# Written by novella at each start; changes are lost. Consoles: 3 files of 2 MiB for each guest.
log_outputs = "3:stderr"
max_size = 2097152
max_backups = 2
"""
# "$1" is our run directory, "$2" our state directory, "$3" a host name or empty; then the daemon.
_SCRIPT = """\
set -e
mount --bind "$1" /run/libvirt
mount --bind "$2/etc" /etc/libvirt
mount --bind "$2/lib" /var/lib/libvirt
mount --bind "$2/cache" /var/cache/libvirt
mount --bind "$2/log" /var/log/libvirt
if [ -n "$3" ]; then hostname "$3"; fi
shift 3
export LC_ALL=C
exec "$@"
"""


@dataclass(frozen=True)
class Daemon:
    """Where our libvirtd lives. `libvirtd` and `virtlogd` run it in the foreground.

    `hostname` gives it a host name of its own and `netns` a network namespace, for several
    hypervisors on one machine.
    """

    state: Path
    run: Path
    host_uuid: str
    hostname: str = ""
    netns: str = ""

    @property
    def socket(self) -> Path:
        """libvirtd's socket, as seen from outside of its mount namespace."""
        return self.run / "libvirt-sock"

    @property
    def uri(self) -> str:
        """What to set `libvirt_uri` to."""
        return f"qemu+unix:///system?socket={self.socket}"

    @property
    def virtlogd(self) -> list[str]:
        """The command of virtlogd; start it first and stop it last: it holds the consoles."""
        return self._command("virtlogd", "-f", "/etc/libvirt/virtlogd.conf")

    @property
    def libvirtd(self) -> list[str]:
        """The command of libvirtd; killed and started again it finds its guests."""
        reaper = (sys.executable, "-I", str(Path(__file__).with_name("reaper.py")))
        return self._command("libvirtd", "-f", "/etc/libvirt/libvirtd.conf", before=reaper)

    def _command(self, name: str, *args: str, before: tuple[str, ...] = ()) -> list[str]:
        inside = ["ip", "netns", "exec", self.netns] if self.netns else []
        apart = ["unshare", "-m", *(["-u"] if self.hostname else [])]
        script = ["sh", "-c", _SCRIPT, name, str(self.run), str(self.state), self.hostname]
        program = shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") or name
        daemon = [*before, program, *args]
        return [*inside, *apart, *script, *daemon, "-p", f"/run/libvirt/{name}.pid"]


def prepare(
    state_dir: Path,
    runtime_dir: Path,
    host_uuid: str = "",
    hostname: str = "",
    netns: str = "",
) -> Daemon:
    """Write configuration and directories; idempotent, also while the daemons run.

    `state_dir` keeps definitions and consoles' logs and may have any name; `runtime_dir` keeps
    sockets and must be short, and neither may lie under one of libvirt's own directories.
    `host_uuid` is made once and kept in `state_dir` unless given. Raises HostFault
    code="libvirtd_setup" when this cannot work here.
    """
    state, run = state_dir.absolute(), runtime_dir.absolute() / "libvirt"
    _check(state, run)
    for folder in _FOLDERS:
        (state / folder).mkdir(parents=True, exist_ok=True)
    for name in _BINDS:
        (state / name).mkdir(parents=True, exist_ok=True)
        (state / name).chmod(0o755)  # dnsmasq reads its files as nobody
    (state / "log/qemu").mkdir(parents=True, exist_ok=True)
    for target in ("/run/libvirt", *_BINDS.values()):
        Path(target).mkdir(parents=True, exist_ok=True)
    _forget_other_boot(run)
    footprint.remember(run / "before.json")
    daemon = Daemon(state, run, _host_uuid(state / "host_uuid", host_uuid), hostname, netns)
    _write(state / "etc/libvirtd.conf", _LIBVIRTD.format(host_uuid=daemon.host_uuid))
    _write(state / "etc/qemu.conf", _QEMU)
    _write(state / "etc/virtlogd.conf", _VIRTLOGD)
    return daemon


def wait_ready(daemon: Daemon, timeout: float) -> None:
    """Wait until libvirtd's socket takes connections, at most `timeout` seconds.

    Raises HostFault code="hypervisor_away" when it does not.
    """
    deadline = time.monotonic() + timeout
    while not listening(daemon):
        if time.monotonic() > deadline:
            message = f"libvirtd does not listen on {daemon.socket} after {timeout:.0f} s"
            raise HostFault(message, code="hypervisor_away")
        time.sleep(0.05)


def listening(daemon: Daemon) -> bool:
    """Whether somebody listens on libvirtd's socket."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as client:
        client.settimeout(1)
        try:
            client.connect(str(daemon.socket))
        except OSError:
            return False
    return True


def _check(state: Path, run: Path) -> None:
    if os.geteuid() != 0:
        raise _setup("an own libvirtd needs root (mounts, bridges)")
    if len(os.fsencode(run / "libvirt-admin-sock")) > SOCKET_PATH_LIMIT:
        raise _setup(f"runtime directory {run.parent} is too long for a Unix socket")
    for target in ("/run/libvirt", *_BINDS.values()):
        for path in (state, run):
            if path.is_relative_to(target):
                raise _setup(f"{path} lies under {target}, which libvirtd will not see")
    for program in ("libvirtd", "virtlogd", "unshare", "mount"):
        if shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin") is None:
            raise _setup(f"{program} is not installed")


def _setup(message: str) -> HostFault:
    return HostFault(message, code="libvirtd_setup", retriable=False)


def _forget_other_boot(run: Path) -> None:
    """Status files of another boot name processes and bridges that are no more: remove them."""
    boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    mark = run / "boot_id"
    if run.exists() and (not mark.exists() or mark.read_text().strip() != boot_id):
        shutil.rmtree(run)
    run.mkdir(parents=True, exist_ok=True)
    run.chmod(0o755)
    _write(mark, boot_id)


def _host_uuid(path: Path, given: str) -> str:
    if not given and path.exists():
        return path.read_text().strip()
    made = given or str(uuid.uuid4())
    _write(path, made)
    return made


def _write(path: Path, text: str) -> None:
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    temporary.write_text(text)
    temporary.rename(path)
