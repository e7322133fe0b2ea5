"""The host that joined: its files, its processes, and what it remembers of the cloud."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis

from app.cli.local import files
from app.cli.local.cloud import settle_libvirt
from app.cli.local.place import Place, find_place
from app.cli.local.programs import ORDER, Program, host_program, libvirt_programs
from app.cli.local.running import stop
from app.cli.local.supervisor import Supervisor
from app.config import Settings, load
from app.config import settings as configured
from app.errors import Invalid, NotFound, Unavailable
from app.tasks import board
from app.tasks.board import Beat
from app.virt.libvirt.daemon import Daemon

DEFAULT_STATE_DIR = Path("/var/lib/novella")
SHUTDOWN_SECONDS = 60.0


@dataclass(frozen=True)
class Joined:
    """All there is to know about the host in a place. `daemon`: the libvirtd of its own."""

    place: Place
    settings: Settings
    name: str
    daemon: Daemon | None

    @property
    def programs(self) -> list[Program]:
        """What supervisord runs here."""
        return [*libvirt_programs(self.daemon), host_program(self.name)]


def place_of(state_dir: Path, environ: Mapping[str, str]) -> Place:
    """The place of a joined host. Raises Invalid when it cannot be, or holds a whole cloud."""
    place = find_place({**environ, "NOVELLA_STATE_DIR": str(state_dir.expanduser().absolute())})
    place.require_owner()
    kept = files.read_settings(place)
    if kept.get("runtime_dir"):
        place = Place(place.state, Path(kept["runtime_dir"]))
    if kept and not kept.get("cloud_url"):
        raise Invalid(
            f"{place.state} is the state directory of a cloud (bin/up), and of no host that "
            "joined: give --state-dir"
        )
    return place


def read(place: Place) -> Joined | None:
    """The host that joined from here, if one did."""
    kept = files.read_settings(place)
    if not kept:
        return None
    settings = load({"NOVELLA_CONFIG": str(place.config)})
    name = (place.state / "host_name").read_text().strip()
    own = settings.libvirt_uri.endswith(f"={place.runtime}/libvirt/libvirt-sock")
    return Joined(place, settings, name, settle_libvirt(place, dict(kept)) if own else None)


def require(place: Place) -> Joined:
    """The host that joined from here. Raises NotFound."""
    joined = read(place)
    if joined is None:
        raise NotFound(
            f"no host has joined from {place.state}: run novella host join, or give --state-dir"
        )
    return joined


def write(place: Place, name: str, values: Mapping[str, Any]) -> Joined:
    """Write the host's settings, private to this user."""
    files.write_settings(place, values)
    (place.state / "host_name").write_text(name + "\n")
    return require(place)


def forget(place: Place, guests_run: bool = False) -> None:
    """Remove settings and credentials; journal, images and disks stay.

    Sockets go too, unless `guests_run` under a libvirtd of our own: it keeps their state there.
    """
    for path in (place.config, place.state / "host_name", place.supervisor_config, ca_file(place)):
        path.unlink(missing_ok=True)
    for folder in (place.state / "run", place.secrets, *([] if guests_run else [place.runtime])):
        shutil.rmtree(folder, ignore_errors=True)


def ca_file(place: Place) -> Path:
    """Where the CA certificates are kept that `--cacert` gave."""
    return place.state / "cloud-ca.pem"


def let_qemu_in(place: Place, settings: Settings, own: bool) -> None:
    """A libvirtd that is not ours runs QEMU as another user, who must reach the disks."""
    if settings.driver.startswith("app.virt.libvirt.") and not own:
        place.state.chmod(0o711)


def end(joined: Joined, supervisor: Supervisor) -> None:
    """Stop all processes; guests run on."""
    stop(supervisor, [name for name in ORDER if name not in ("virtlogd", "libvirtd")])
    stop(supervisor, ["libvirtd"])
    stop(supervisor, ["virtlogd"])
    supervisor.shutdown(SHUTDOWN_SECONDS)


def adopt(joined: Joined) -> None:
    """Let this process's settings be the host's, of its file alone, as they are its worker's."""
    for name in [name for name in os.environ if name.startswith("NOVELLA_")]:
        del os.environ[name]
    os.environ["NOVELLA_CONFIG"] = str(joined.place.config)
    configured.cache_clear()


def beat(joined: Joined) -> Beat | None:
    """The host's newest heartbeat, after `adopt`. Raises Unavailable when Redis is away."""
    try:
        return next((one for one in board.beats() if one.host == joined.name), None)
    except redis.RedisError as error:
        raise Unavailable(f"the cloud's Redis does not answer ({type(error).__name__})") from error


def refusal(joined: Joined, host_uuid: str) -> str | None:
    """Why the cloud refuses this machine, if it does, after `adopt`."""
    try:
        return board.refusal(joined.name, host_uuid)
    except redis.RedisError:
        return None  # whoever asks waits for a heartbeat too, and learns of Redis there
